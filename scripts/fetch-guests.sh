#!/usr/bin/env bash
# Fetches what ringback is tried on and must not keep in its repository, from Debian's package archive into
# guests/.cache: GRUB built as a Xen PVH guest, SeaBIOS and iPXE for PCs, and Xen's public headers to check the ABI
# tables against.
set -euo pipefail

packages=(grub-xen-host libxen-dev seabios ipxe ipxe-qemu)
cache="$(cd "$(dirname "$0")/.." && pwd)/guests/.cache"

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "fetch-guests: there is no apt here." >&2
  echo "Get the packages ${packages[*]} of Debian 12 from https://packages.debian.org/bookworm" >&2
  echo "and unpack each into $cache (dpkg-deb -x, or ar and tar)." >&2
  exit 2
fi

mkdir -p "$cache/packages"
cd "$cache/packages"
for package in "${packages[@]}"; do
  rm -f "${package}"_*.deb
  apt-get download --quiet "$package"
  for file in "${package}"_*.deb; do
    dpkg-deb -x "$file" "$cache"
    echo "$package $(dpkg-deb -f "$file" Version)"
  done
done

cd "$cache"
files=(
  usr/lib/grub-xen/grub-i386-xen_pvh.bin usr/include/xen/xen.h
  usr/share/seabios/bios-256k.bin boot/ipxe.lkrn
)
for file in "${files[@]}"; do
  [ -f "$file" ] || { echo "fetch-guests: the packages hold no $file" >&2; exit 1; }
  sha256sum "$file"
done
