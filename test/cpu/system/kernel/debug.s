# Debug registers: breakpoints on execution and data, single-stepping. Reports, loading and building are those of
# kernel.s.

        .set IDT, 0x30000

        .macro LOG value
        pushl   %eax
        movl    \value, %eax
        call    log
        popl    %eax
        .endm

        .text
        .code16
        .globl  _start
_start:
        cli
        movw    %cs, %ax
        movw    %ax, %ds
        lgdtl   gdt_pointer - _start
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x08, $protected

        .code32
log:
        outb    %al, $0xe9
        rorl    $8, %eax
        outb    %al, $0xe9
        rorl    $8, %eax
        outb    %al, $0xe9
        rorl    $8, %eax
        outb    %al, $0xe9
        ret

# Reports DR6, EIP and TF; clears DR6, sets RF in the image so that a breakpoint on execution does not come again, and
# clears TF.
debug:
        pushl   %eax
        pushl   %ebx
        movl    %dr6, %ebx
        LOG     %ebx
        LOG     12(%esp)
        movl    16(%esp), %eax
        andl    $0x100, %eax
        call    log
        movl    $0xffff0ff0, %eax
        movl    %eax, %dr6
        orl     $0x10000, 16(%esp)
        andl    $0xfffffeff, 16(%esp)
        popl    %ebx
        popl    %eax
        iret

protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x60000, %esp
        movl    $debug, %eax
        movw    %ax, IDT+8
        movw    $0x08, IDT+10
        movw    $0x8e00, IDT+12
        shrl    $16, %eax
        movw    %ax, IDT+14
        lidt    idt_pointer
        movl    $0xffff0ff0, %eax
        movl    %eax, %dr6

# Execution: a fault before the instruction.
        movl    $1f, %eax
        movl    %eax, %dr0
        movl    $0x00000402, %eax
        movl    %eax, %dr7
        xorl    %ecx, %ecx
1:      incl    %ecx
        LOG     %ecx

# Data: traps after a write of 4 bytes, a read or write of 2; neighbours do not trap.
        movl    $0x40000, %eax
        movl    %eax, %dr1
        movl    $0x40012, %eax
        movl    %eax, %dr2
        movl    $0x07d00428, %eax
        movl    %eax, %dr7
        movl    $0x11223344, 0x40000
        movb    %al, 0x40003
        movl    0x40000, %eax
        movb    %al, 0x40004
        movl    $1, 0x3fffd
        movw    0x40012, %ax
        movb    0x40013, %al
        movb    0x40011, %al
        movl    %eax, 0x40010
        pushl   0x40012
        popl    %eax

# Single-stepping, without breakpoints: QEMU mixes the two up, and knows no general detection.
        movl    $0x00000400, %eax
        movl    %eax, %dr7
        pushl   $0x102
        popf
        incl    %ebx
        incl    %ebx
        LOG     $0x0000d02e
        movw    $0xf4, %dx
        outb    %al, %dx
        cli
        hlt

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt
idt_pointer:
        .word   8*2 - 1
        .long   IDT
