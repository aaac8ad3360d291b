#!/bin/bash
# Builds NAME.bin of NAME.s; with "qemu" also runs it there, as a BIOS that copies it to 10000H, and writes what it
# reports to NAME.expected, one word a line. That is where the expectations of kernel.test.ts come from.
# usage: build.sh NAME [qemu [QEMU OPTIONS]]
set -euo pipefail
cd "$(dirname "$0")"
name=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
as --32 "$name.s" -o "$work/$name.o"
ld -m elf_i386 -Ttext 0x10000 --oformat binary "$work/$name.o" -o "$name.bin"
[ "${2:-}" = qemu ] || exit 0
cat > "$work/bios.s" <<'BIOS'
        .code16
        .globl _start
_start: cli
        cld
        movw $0xf000, %ax
        movw %ax, %ds
        movw $0x1000, %ax
        movw %ax, %es
        xorw %si, %si
        xorw %di, %di
        movw $0x4000, %cx
        rep movsw
        ljmp $0x1000, $0
        .org 0x7ff0
        ljmp $0xf000, $0x8000
        .org 0x8000
BIOS
as --32 "$work/bios.s" -o "$work/bios.o"
ld -m elf_i386 -Ttext 0x8000 --oformat binary "$work/bios.o" -o "$work/bios.bin"
cp "$name.bin" "$work/image"
truncate -s 32K "$work/image"
cat "$work/bios.bin" >> "$work/image"
timeout 10 qemu-system-i386 -cpu pentium3,+nx -m 16 -display none -no-reboot -net none -bios "$work/image" \
  -device isa-debug-exit,iobase=0xf4 -debugcon "file:$work/log" "${@:3}" || true
od -An -v -tx4 -w4 "$work/log" | tr -d ' ' > "$name.expected"
