/*
 * alu: a loop over registers only (and the round counter on the stack). Instructions, counted in the text below: 11 before the outer loop,
 * 2 + 16 * 18 + 2 in each round, 11 after it with the RET: 22 + 292 * rounds. verify.sh compares the
 * measured count with this.
 */
    .text
    .balign 16
    .globl bench_workload
bench_workload:
    pushl %ebx
    pushl %esi
    pushl %edi
    pushl %ebp
    movl 20(%esp), %eax
    pushl %eax
    movl $1, %eax
    movl $0x9e3779b9, %ebx
    movl $0x7f4a7c15, %edx
    xorl %esi, %esi
    xorl %edi, %edi

outer:
    movl %eax, %ebp
    xorl %ecx, %ecx
inner:
    addl %ebx, %eax
    xorl %eax, %edx
    roll $5, %edx
    leal 1(%esi, %edx, 4), %esi
    subl %esi, %edi
    adcl %edi, %ebp
    movl %ebp, %ebx
    shrl $3, %ebx
    orl $1, %ebx
    imull %ebx, %eax
    andl $0x7fffffff, %edi
    notl %edx
    sarl $1, %ebp
    bswap %ebx
    negl %esi
    incl %ecx
    cmpl $16, %ecx
    jl inner
    decl (%esp)
    jnz outer

    addl %ebx, %eax
    addl %edx, %eax
    addl %esi, %eax
    addl %edi, %eax
    addl %ebp, %eax
    popl %ecx
    popl %ebp
    popl %edi
    popl %esi
    popl %ebx
    ret

    .section .note.GNU-stack, "", @progbits
