#!/bin/bash
# Finds and checks the facts in counts.sh: guests/bench/verify.sh. Needs what build.sh needs, and qemu-system-i386; takes a minute.
#
#  1. Counts: under QEMU with -icount shift=0 one tick of the time-stamp counter is one instruction, so the guest itself reads the count of
#     its workload. A second build counts REP instructions, iterations and early exits (strings.h), from which measure.S's fields follow.
#  2. The method: for a few rounds the count by QEMU is compared with the steps that the host's own processor takes (step.c).
#  3. alu is also counted by hand in its source.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
declare -A step_rounds=([alu]=200 [mem]=1 [mixed]=2)
overhead=5 # instructions from one RDTSC of measure.S to the other that are not the workload's
failed=0

"$here/../build.sh" "$work/plain"
BENCH_EXTRA=-DCOUNT_REP "$here/../build.sh" "$work/counting"
gcc -O1 -Wall -Wextra -o "$work/step" "$here/step.c"
. "$here/counts.sh"

# run IMAGE [OPTION]: what the guest prints in QEMU
run() {
  timeout 300 qemu-system-i386 -kernel "$1" ${2:+-append "$2"} -m 64 -icount shift=0,sleep=off -display none -serial null -debugcon stdio \
    -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=1 | tr -d '\r' || true
}
ticks() { sed -n 's/.*advanced by 0*//p'; }

# expect WHAT FOUND WANTED: complains, and has the script fail, when they differ
expect() {
  if [ "$2" != "$3" ]; then
    echo "$1: $2, expected $3"
    failed=1
  fi
}

for name in alu mem mixed; do
  image=bench-$name.elf
  facts=facts_$name
  read -r paging rounds instructions reps iterations early checksum <<<"${!facts}"

  plain=$(run "$work/plain/$image")
  counting=$(run "$work/counting/$image")
  count=$(($(ticks <<<"$plain") - overhead))
  read -r found_reps found_iterations found_early < <(sed -n 's/.*rep instructions \([0-9]*\), iterations \([0-9]*\), early exits \([0-9]*\)/\1 \2 \3/p' <<<"$counting")
  found_instructions=$((count - found_iterations + found_early))
  found_checksum=0x$(sed -n 's/.*checksum \([0-9a-f]*\),.*/\1/p' <<<"$plain")
  echo "facts_$name=\" $paging $rounds $found_instructions $found_reps $found_iterations $found_early $found_checksum\""
  expect "$name, instructions" "$found_instructions" "$instructions"
  expect "$name, REP instructions" "$found_reps $found_iterations $found_early" "$reps $iterations $early"
  expect "$name, checksum" "$found_checksum" "$checksum"
  [ "$name" != alu ] || expect "alu, counted by hand" "$found_instructions" $((22 + 292 * rounds))

  few=${step_rounds[$name]}
  source=$(ls "$here/$name".[cS])
  gcc -m32 -march=i686 -mtune=generic -std=gnu11 -O2 -ffreestanding -fno-pic -no-pie -nostdlib -static -fno-builtin -fno-stack-protector \
    -fno-asynchronous-unwind-tables -fcf-protection=none -fno-strict-aliasing -fno-tree-loop-distribute-patterns -mgeneral-regs-only \
    -mpreferred-stack-boundary=2 -DSTEP_ROUNDS="$few" -o "$work/$name-steps" "$here/step_start.S" "$source"
  steps=$("$work/step" "$work/$name-steps")
  count=$(($(run "$work/plain/$image" "rounds=$few" | ticks) - overhead))
  read -r r i e < <(run "$work/counting/$image" "rounds=$few" | sed -n 's/.*rep instructions \([0-9]*\), iterations \([0-9]*\), early exits \([0-9]*\)/\1 \2 \3/p')
  echo "  $few rounds: the host's processor took $steps steps"
  expect "$name, $few rounds by QEMU in steps" $((count - i + e - r + i)) "$steps"
done
exit $failed
