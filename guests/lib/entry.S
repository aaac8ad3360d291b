/*
 * The PVH entry point (Xen's docs/misc/pvh.pandoc, elfnote.h XEN_ELFNOTE_PHYS32_ENTRY): 32-bit protected mode, flat segments,
 * paging off, interrupts off, EBX = physical address of hvm_start_info.
 */
#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define STACK_BYTES 32768

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry

    .section .text.entry, "ax"
    .globl pvh_entry
pvh_entry:
    cld
    movl $boot_stack_top, %esp
    xorl %ebp, %ebp
    pushl %ebx
    call guest_main
1:  cli
    hlt
    jmp 1b

    .section .bss.stack, "aw", @nobits
    .balign 4096
    .globl boot_stack_bottom
boot_stack_bottom:
    .skip STACK_BYTES
    .globl boot_stack_top
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
