/*
 * Entry of the 32 exceptions (SDM vol. 3A table 6-1) and of one interrupt. Each stub pushes an error code where the processor does not,
 * then its vector, so that every frame looks alike (struct trap_frame).
 */
    .macro stub vector, has_error
    .balign 16
stub_\vector:
    .if \has_error == 0
    pushl $0
    .endif
    pushl $\vector
    jmp trap_common
    .endm

    .text
    .balign 16
    .globl exception_stubs
exception_stubs:
    stub 0, 0
    stub 1, 0
    stub 2, 0
    stub 3, 0
    stub 4, 0
    stub 5, 0
    stub 6, 0
    stub 7, 0
    stub 8, 1
    stub 9, 0
    stub 10, 1
    stub 11, 1
    stub 12, 1
    stub 13, 1
    stub 14, 1
    stub 15, 0
    stub 16, 0
    stub 17, 1
    stub 18, 0
    stub 19, 0
    stub 20, 0
    stub 21, 1
    stub 22, 0
    stub 23, 0
    stub 24, 0
    stub 25, 0
    stub 26, 0
    stub 27, 0
    stub 28, 0
    stub 29, 1
    stub 30, 1
    stub 31, 0

trap_common:
    pushal
    cld
    pushl %esp
    call trap
    /* trap does not return: an exception here is the end */
1:  cli
    hlt
    jmp 1b

    .balign 16
    .globl interrupt_stub
interrupt_stub:
    pushal
    cld
    call *interrupt_handler
    popal
    iret

    .section .note.GNU-stack, "", @progbits
