#!/bin/sh
# Makes the disk of a small Debian 12 in the folder $1, with systemd, nftables,
# an ssh server, sudo and Debian's cloud kernel, from the Debian archive that
# this machine itself uses. Needs root and mmdebstrap.
set -eu
out=$1
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
root=$out/root

mmdebstrap --variant=apt --include="
  systemd systemd-sysv systemd-resolved dbus udev kmod procps iproute2 iputils-ping
  nftables openssh-server sudo qemu-guest-agent initramfs-tools zstd
  linux-image-cloud-amd64" bookworm "$root" "$sources"

# Machines know which one they are by the address of their interface.
network() { # name, MAC, lines
  printf '[Match]\nMACAddress=%s\n\n[Network]\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\nIPv6DuplicateAddressDetection=0\n%s\n' "$2" "$3" \
    >"$root/etc/systemd/network/50-$1.network"
}
network gate 52:54:00:00:00:01 'Address=198.51.100.1/24
Address=2001:db8:a::1/64
Gateway=198.51.100.254
Gateway=2001:db8:a::fe
DNS=203.0.113.1'
network home 52:54:00:00:00:02 'Address=192.168.1.10/24
Gateway=192.168.1.1
DNS=203.0.113.1'

# One key for all machines: home may go to the gate as root, and as an owner
# with sudo. The sshd of a VPS is often on a port of its own, besides.
mkdir -p "$root/root/.ssh"
chmod 700 "$root/root/.ssh"
ssh-keygen -q -t ed25519 -N '' -C home -f "$root/root/.ssh/id_ed25519"
cp "$root/root/.ssh/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
for user in owner asked; do # asked must give a password to sudo
  chroot "$root" useradd -m -s /bin/bash "$user"
  install -d -m 700 "$root/home/$user/.ssh"
  cp "$root/root/.ssh/authorized_keys" "$root/home/$user/.ssh/"
  chroot "$root" chown -R "$user:$user" "/home/$user/.ssh"
done
echo 'asked:secret' | chroot "$root" chpasswd
echo 'root:root' | chroot "$root" chpasswd
printf 'owner ALL=(ALL) NOPASSWD: ALL\nasked ALL=(ALL) ALL\n' >"$root/etc/sudoers.d/owners"
chmod 440 "$root/etc/sudoers.d/owners"
printf 'Port 22\nPort 2222\n' >"$root/etc/ssh/sshd_config.d/ports.conf"

# What a machine of tests does not need, or must not do by itself.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  systemd-timesyncd.service systemd-pstore.service getty@tty1.service dev-hugepages.mount dev-mqueue.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount systemd-logind.service \
  systemd-networkd-wait-online.service serial-getty@ttyS0.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
chroot "$root" systemctl enable systemd-networkd systemd-resolved ssh
ln -sf /run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# The agent starts first of all, whatever else fails.
mkdir -p "$root/etc/systemd/system/qemu-guest-agent.service.d"
printf '[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\n[Service]\nRestart=always\n' \
  >"$root/etc/systemd/system/qemu-guest-agent.service.d/early.conf"
mkdir -p "$root/etc/systemd/system/sysinit.target.wants" "$root/payload"
ln -sf /lib/systemd/system/qemu-guest-agent.service "$root/etc/systemd/system/sysinit.target.wants/"
printf '[Journal]\nForwardToConsole=yes\nMaxLevelConsole=info\nStorage=volatile\n' >"$root/etc/systemd/journald.conf"
printf '/dev/vda / ext4 errors=remount-ro 0 1\n/dev/vdb /payload ext4 ro,nofail 0 0\n' >"$root/etc/fstab"
# What visitors come for, at home.
cat >"$root/etc/systemd/system/lab-services.service" <<'END'
[Unit]
ConditionHost=home
RequiresMountsFor=/payload
[Service]
ExecStart=/payload/services
Restart=always
[Install]
WantedBy=multi-user.target
END
chroot "$root" systemctl enable lab-services
rm -f "$root/etc/hostname" "$root/etc/machine-id"
: >"$root/etc/machine-id"

# The first file system holds only what finds the disk.
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$root/etc/initramfs-tools/conf.d/small"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u >/dev/null
cp "$root"/boot/vmlinuz-* "$out/kernel"
cp "$root"/boot/initrd.img-* "$out/initrd"
cp "$root/root/.ssh/id_ed25519" "$out/key"
rm -rf "$root"/boot/vmlinuz-* "$root"/boot/initrd.img-* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin

truncate -s 1500M "$out/disk"
mke2fs -q -t ext4 -m 0 -d "$root" "$out/disk"
rm -rf "$root"
