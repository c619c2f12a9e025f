#!/bin/sh
# Brings Debian packages into the folder $1, for machines that have no network:
# a folder for each of the words behind $2, with that package and all it needs
# beyond what the disk $2 has. NAME=A,B takes the packages A and B into NAME.
# They come from the Debian archive that this machine itself uses.
set -eu
out=$1 disk=$2
shift 2
mkdir -p "$out/apt/archives/partial"
debugfs -R 'cat /var/lib/dpkg/status' "$disk" >"$out/apt/status" 2>/dev/null
[ -s "$out/apt/status" ]
apt-get -qq update
for word; do
  name=${word%%=*} list=$(echo "${word#*=}" | tr , ' ')
  mkdir -p "$out/$name"
  rm -f "$out"/apt/archives/*.deb
  # shellcheck disable=SC2086 # a list of packages
  apt-get -qq -y --no-install-recommends --download-only -o APT::Sandbox::User=root \
    -o Dir::State::status="$out/apt/status" -o Dir::Cache::archives="$out/apt/archives" install $list >/dev/null
  mv "$out"/apt/archives/*.deb "$out/$name/"
done
rm -r "$out/apt"
