/*
 * The multiboot (version 1) header and entry point, for machines that know no PVH: 32-bit protected mode, paging and interrupts off,
 * EBX = address of the multiboot information. GNU multiboot specification 0.6.96, 3.1 and 3.2.
 */
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0

    .section .multiboot, "a"
    .balign 4
    .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

    .section .text.entry, "ax"
    .globl multiboot_entry
multiboot_entry:
    cld
    movl $boot_stack_top, %esp
    xorl %ebp, %ebp
    pushl %ebx
    call multiboot_main
1:  cli
    hlt
    jmp 1b

    .section .note.GNU-stack, "", @progbits
