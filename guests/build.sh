#!/bin/sh
# Builds the guest images: guests/build.sh [output folder], by default guests/images. The same compiler gives the same bytes;
# guests/images/toolchain.txt names the one that made the images kept there. Needs gcc with -m32 and GNU ld, no 32-bit C library.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
out=${1:-images}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

# No floating point, no SSE: a guest must not depend on state it does not set up. No identification of the build: bytes must be stable.
flags="-m32 -march=i686 -mtune=generic -std=gnu11 -O2 -ffreestanding -fno-pic -no-pie -nostdlib -fno-builtin -fno-stack-protector
  -fno-asynchronous-unwind-tables -fno-ident -fcf-protection=none -fno-strict-aliasing -fno-tree-loop-distribute-patterns
  -mgeneral-regs-only -mpreferred-stack-boundary=2 -Wall -Wextra -Werror"

# build NAME ENTRY SOURCE...: compiles the sources and links them to NAME.elf with that ELF entry point
build() {
  name=$1 entry=$2
  shift 2
  # shellcheck disable=SC2086
  gcc $flags ${BENCH_EXTRA:-} -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-s -T lib/guest.ld -Wl,-e,$entry -o "$work/$name.elf" "$@"
  mv "$work/$name.elf" "$out/$name.elf"
}

runtime="lib/entry.S lib/console.c lib/text.c lib/crc32.c lib/hypercall.c lib/xen_console.c lib/paging.c"

# What needs Xen: event channels by every kind of callback, grants, xenstore.
xen="lib/exceptions.S lib/descriptors.c lib/options.c lib/interrupts.c lib/pci.c lib/domain.c lib/events.c lib/grants.c lib/xenstore.c
  lib/xenbus.c"

# shellcheck disable=SC2086
build first-light pvh_entry $runtime $xen blkfront/blkfront.c blkfront/disk.c first-light/*.c

# shellcheck disable=SC2086
build blkfront pvh_entry $runtime $xen blkfront/*.c

# shellcheck disable=SC2086
build netfront-echo pvh_entry $runtime $xen lib/echo.c netfront-echo/*.c

# What drives a NE2000 on any PC.
nic="lib/exceptions.S lib/descriptors.c lib/multiboot.S lib/options.c lib/program.c lib/interrupts.c lib/pci.c lib/rtl8029.c lib/card.c
  lib/nic.c"

# shellcheck disable=SC2086
build ne2000-echo multiboot_entry $runtime $nic lib/echo.c ne2000-echo/*.c

# shellcheck disable=SC2086
build ne2000-bench multiboot_entry $runtime $nic ne2000-bench/*.c

# shellcheck disable=SC2086
build hvm-interrupts pvh_entry $runtime lib/exceptions.S lib/descriptors.c hvm-interrupts/*.c

# The benchmark guests, each with the facts about its workload as constants. BENCH_EXTRA: further flags, for verify.sh.
. bench/counts.sh

# bench NAME SOURCE PAGING ROUNDS INSTRUCTIONS REP_INSTRUCTIONS REP_ITERATIONS REP_EARLY_EXITS CHECKSUM
bench() {
  build "bench-$1" multiboot_entry $runtime lib/exceptions.S lib/descriptors.c lib/multiboot.S bench/measure.S bench/main.c "$2" \
    "-DBENCH_NAME=\"$1\"" "-DBENCH_PAGING=$3" "-DBENCH_ROUNDS=$4" "-DBENCH_INSTRUCTIONS=$5" "-DBENCH_REP_INSTRUCTIONS=$6" \
    "-DBENCH_REP_ITERATIONS=$7" "-DBENCH_REP_EARLY_EXITS=$8" "-DBENCH_CHECKSUM=$9"
}

# shellcheck disable=SC2086
{
  bench alu bench/alu.S $facts_alu
  bench mem bench/mem.c $facts_mem
  bench mixed bench/mixed.c $facts_mixed
}

{ gcc --version | head -n 1; ld --version | head -n 1; } > "$out/toolchain.txt"
