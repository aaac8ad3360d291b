/*
 * The measured part, and the note that states what is known of it.
 *
 * uint32_t measure(uint32_t rounds, uint64_t *ticks): runs bench_workload(rounds) between two readings of the time-stamp counter. Where one
 * tick is one instruction (QEMU with -icount shift=0), the difference is the workload's count, RET included, plus OVERHEAD.
 *
 * The note "ringback", type 1, describes bench_workload(BENCH_ROUNDS), from its first instruction to its RET:
 *   u64 instructions      a REP instruction counting as one, however often it repeats
 *   u64 rep_instructions  how many of them were REP string instructions
 *   u64 rep_iterations    how often those repeated in all
 *   u64 rep_early_exits   how many REPE/REPNE instructions ended by the zero flag
 *   u32 begin, end        addresses of the workload's first instruction and of the one executed after its return
 *   u32 rounds, checksum  its argument and its result
 * A machine that counts each iteration of REP as an instruction, as ringback and a stepped processor do, counts
 * instructions - rep_instructions + rep_iterations (no REP has ECX = 0 here). QEMU with -icount looks at ECX once more at the end of a REP
 * that ECX ends: it counts instructions + rep_iterations - rep_early_exits.
 */
    .section .note.ringback, "a", @note
    .balign 4
    .long 9, 48, 1
    .asciz "ringback"
    .balign 4
    .quad BENCH_INSTRUCTIONS, BENCH_REP_INSTRUCTIONS, BENCH_REP_ITERATIONS, BENCH_REP_EARLY_EXITS
    .long bench_workload, measure_end, BENCH_ROUNDS, BENCH_CHECKSUM

    .text
    .globl measure
measure:
    pushl %ebx
    pushl %esi
    pushl %edi
    movl 16(%esp), %ebx
    pushl %ebx
    rdtsc
    movl %eax, %esi
    movl %edx, %edi
    call bench_workload
measure_end:
    movl %eax, %ebx
    rdtsc
    subl %esi, %eax
    sbbl %edi, %edx
    addl $4, %esp
    movl 20(%esp), %ecx
    movl %eax, (%ecx)
    movl %edx, 4(%ecx)
    movl %ebx, %eax
    popl %edi
    popl %esi
    popl %ebx
    ret

    .section .note.GNU-stack, "", @progbits
