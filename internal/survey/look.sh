# What this machine is, as lines KEY=VALUE. It changes nothing. Before it comes
# a line that sets root_prefix, and one that sets skip_network if the caller knows
# better ways to look at that: ss makes the kernel load a module.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
exec 2>/dev/null

say() { printf '%s=%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null; }

# A sudo that asks nothing lets us see which programs hold ports.
sudo=
look_at_user() {
	say uid "$(id -u)"
	if [ "$(id -u)" != 0 ] && sudo -k -n true </dev/null; then sudo='sudo -n'; fi
}

look_at_system() {
	say system "$(uname -s)"
	say machine "$(uname -m)"
	say kernel "$(uname -r)"
	(. /etc/os-release && say distribution "$ID $ID_LIKE" && say distribution_name "$PRETTY_NAME")
	if [ -d /run/systemd/system ]; then say init systemd; else say init "$(cat /proc/1/comm)"; fi
	has systemctl && say systemctl yes
	if [ -e /proc/vz ] && [ ! -e /proc/bc ]; then
		say virtual openvz
	elif [ -s /run/systemd/container ]; then
		say virtual "$(cat /run/systemd/container)"
	elif $sudo grep -qa container=lxc /proc/1/environ; then
		say virtual lxc
	elif has systemd-detect-virt; then
		say virtual "$(systemd-detect-virt)"
	fi
}

look_at_tools() {
	has nft && say nft "$(nft --version)"
	has apt-get && say apt yes
	has dpkg-query && say nft_package "$(dpkg-query -W -f '${db:Status-Status}' nftables)"
	# To open the device loads its module, so a module that is not loaded yet is
	# asked for by name.
	if [ -e /sys/class/misc/tun ]; then
		$sudo sh -c '[ -c /dev/net/tun ] && exec 3<>/dev/net/tun' && say tun yes
	elif [ -c /dev/net/tun ] && [ -n "$($sudo modprobe -n -v tun 2>/dev/null)" ]; then
		say tun yes
	fi
	# By the name that the kernel itself asks for it by: what is blacklisted is
	# not loaded then, which modprobe takes for no failure.
	if [ -d /sys/module/wireguard ] || [ -n "$($sudo modprobe -n -v rtnl-link-wireguard 2>/dev/null)" ]; then say wireguard yes; fi
}

look_at_network() {
	[ -n "$skip_network" ] && return
	say ssh_connection "$SSH_CONNECTION"
	has ip && ip -o address show scope global | while read -r _ _ _ address _; do say address "${address%/*}"; done
	if has ss; then
		$sudo ss -lntuHpe | while read -r protocol _ _ _ local _ users; do say listen "$protocol $local $users"; done
		return
	fi
	for protocol in tcp tcp6 udp udp6; do
		tail -n +2 /proc/net/$protocol | while read -r _ local _ state _; do
			case $state in 0A | 07) say socket "$protocol $local $state" ;; esac
		done
	done
}

look_at_firewalls() {
	read -r forwarding </proc/sys/net/ipv4/ip_forward
	[ "$forwarding" = 1 ] && say forwarding yes
	has dockerd && say docker yes
	[ -f /etc/ufw/ufw.conf ] && grep -qi '^ENABLED=yes' /etc/ufw/ufw.conf && say firewall ufw
	has systemctl || return
	for unit in firewalld nftables iptables netfilter-persistent docker; do
		systemctl --quiet is-active $unit.service && say firewall $unit
	done
}

# Free space of the nearest folder that exists.
free_at() {
	folder=$1
	while [ ! -d "$folder" ]; do folder=${folder%/*}/; folder=${folder%/}; [ -n "$folder" ] || folder=/; done
	df -Pk "$folder" | { read -r _; read -r _ _ _ free _; echo "$free"; }
}

look_at_space() {
	say disk_kib "$(free_at "$root_prefix/usr/local")"
	say state_kib "$(free_at "$root_prefix/var/lib")"
	while read -r name amount _; do
		[ "$name" = MemTotal: ] && say memory_kib "$amount"
	done </proc/meminfo
}

look_at_gatelodge() {
	for place in /usr/local/bin /usr/bin; do
		program=$root_prefix$place/gatelodge
		[ -e "$program" ] || continue
		say program "$place/gatelodge"
		say version "$("$program" --version </dev/null)"
	done
	for unit in /lib/systemd/system /usr/lib/systemd/system /etc/systemd/system; do
		[ -e "$root_prefix$unit/gatelodge.service" ] && say unit "$unit/gatelodge.service"
	done
	for role in gate home; do
		[ -e "$root_prefix/etc/gatelodge/$role.toml" ] && say role $role
	done
	[ -n "$root_prefix" ] && return
	[ -d /run/systemd/system ] && ! systemctl --quiet is-enabled gatelodge.service && say disabled yes
	[ "$(dpkg-query -W -f '${db:Status-Status}' gatelodge)" = installed ] && say package deb
	rpm -q gatelodge >/dev/null && say package rpm
	apk info -e gatelodge >/dev/null && say package apk
}

# On a line of its own, whatever a login script has printed.
printf '\nlook=1\n'
look_at_user
look_at_system
look_at_tools
look_at_network
look_at_firewalls
look_at_space
look_at_gatelodge
echo done=1
