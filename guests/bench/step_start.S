/* The program that step.c follows: one call of bench_workload(STEP_ROUNDS) between two INT3. */
    .text
    .globl _start
_start:
    pushl $STEP_ROUNDS
    int3
    call bench_workload
    int3

    .section .note.GNU-stack, "", @progbits
