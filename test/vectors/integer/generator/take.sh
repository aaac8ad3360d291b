#!/bin/sh
# Builds the generator and takes the vectors on this machine's processor. Needs gcc with -m32 code generation (no 32-bit libraries) and root.
set -eu
cd "$(dirname "$0")"
program=$(mktemp)
vectors=$(mktemp)
trap 'rm -f "$program" "$vectors"' EXIT
gcc -m32 -march=i686 -O2 -Wall -Wextra -Werror -std=gnu11 -ffreestanding -fno-builtin -fno-pie -no-pie -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
  -fno-tree-loop-distribute-patterns -nostdlib -static -o "$program" ./*.c
"$program" > "$vectors"
gzip -9n < "$vectors" > ../integer.vectors.gz
ls -l ../integer.vectors.gz
