# The rest of what kernel.s leaves out: flat real mode, 16-bit protected mode with a 16-bit TSS, gates and stacks, ring 1,
# conforming code, an LDT, PAE paging with execute-disable. Reports, loading and building are those of kernel.s.

        .set IDT, 0x30000
        .set PDPT, 0x20000
        .set DIRECTORY, 0x21000
        .set TABLE, 0x22000

        .macro LOG value
        pushl   %eax
        movl    \value, %eax
        call    log
        popl    %eax
        .endm

        .macro GATE vector, selector, offset, rights
        movw    $(\offset - _start), IDT+8*\vector
        movw    $\selector, IDT+8*\vector+2
        movw    $(\rights << 8), IDT+8*\vector+4
        movw    $1, IDT+8*\vector+6
        .endm

        .text
        .code16
        .globl  _start
_start:
        cli
        movw    %cs, %ax
        movw    %ax, %ds
        xorw    %ax, %ax
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7000, %esp

# 32-bit far calls and IRET in real mode.
        pushfl
        popl    %eax
        andl    $0x3000, %eax
        call    log16
        pushl   $0x3046
        pushl   $0x1000
        pushl   $(1f - _start)
        iretl
1:      pushfw
        popw    %ax
        call    log16
        lcalll  $0x1000, $(far_return - _start)
        movw    %sp, %ax
        call    log16
        lcallw  *(far_pointer - _start)
        movw    %sp, %ax
        call    log16

# A limit of 4 GBytes survives the way back to real mode, and a load of another selector.
        lgdtl   gdt_pointer - _start
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        movw    $0x10, %bx
        movw    %bx, %es
        andb    $0xfe, %al
        movl    %eax, %cr0
        movw    $0x1234, %bx
        movw    %bx, %es
        xorw    %bx, %bx
        movw    %bx, %es
        movl    $0x110000, %ebx
        movl    $0x5a5aa5a5, %es:(%ebx)
        movw    %es:2(%ebx), %ax
        call    log16
        movw    %cs, %ax
        call    log16

# 16-bit protected mode: code at 1000H × 16, a 16-bit stack with rubbish above SP.
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpw   $0x48, $(protected16 - _start)

far_return:
        movw    %sp, %ax
        call    log16
        cmpw    $0x6ffc, %sp
        je      2f
        lretl
2:      lretw

protected16:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    $0x50, %ax
        movw    %ax, %ss
        movl    $0xabcd6000, %esp
        addr32 movw    $(3f - _start), IDT+8*33
        addr32 movw    $0x48, IDT+8*33+2
        addr32 movw    $0x8600, IDT+8*33+4
        addr32 movw    $(flat - _start), IDT+8*34
        addr32 movw    $0x08, IDT+8*34+2
        addr32 movw    $0xae00, IDT+8*34+4
        addr32 movw    $1, IDT+8*34+6
        movw    %cs, %ax
        call    log16
        lidtl   %cs:(idt_pointer - _start)
        movw    $0x28, %ax
        ltr     %ax
        movw    $0x30, %ax
        lldt    %ax
        pushl   $0x11112222
        int     $33
        popl    %eax
        call    log16
        movl    %esp, %eax
        call    log16
        shrl    $16, %eax
        call    log16
        jmp     4f
3:      movw    %sp, %ax
        call    log16
        iretw

# To ring 1 by a far return with a 16-bit frame; its segments are in the LDT.
4:      pushw   $0x15
        pushw   $0x5000
        pushw   $0x0d
        pushw   $(ring1 - _start)
        lretw

ring1:
        movw    %ss, %ax
        call    log16
        movw    %sp, %ax
        call    log16
        movw    %ds, %ax
        call    log16
# A 16-bit call gate with a parameter to ring 0, whose stack is in the 16-bit TSS.
        pushw   $0x7788
        lcallw  $0x59, $0
        movw    %sp, %ax
        call    log16
# Conforming code at ring 0's level keeps the CPL.
        lcallw  $0x60, $(conforming - _start)
        movw    $0x15, %ax
        movw    %ax, %ds
        movw    %ax, %es
        verw    %ax
        setzb   %al
        movb    $0, %ah
        call    log16
        movw    %cs, %ax
        call    log16
        int     $34

gate16:
        movw    %sp, %bp
        movw    4(%bp), %ax
        call    log16
        movw    2(%bp), %ax
        call    log16
        movw    8(%bp), %ax
        call    log16
        movw    %cs, %ax
        call    log16
        lretw   $2

conforming:
        movw    %cs, %ax
        call    log16
        lretw

log16:
        outb    %al, $0xe9
        xchgb   %al, %ah
        outb    %al, $0xe9
        xchgb   %al, %ah
        ret

# An interrupt of ring 1 through a 32-bit gate to flat 32-bit ring 0.
        .code32
flat:
        movzwl  %sp, %esp
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        LOG     4(%esp)
        LOG     8(%esp)
        LOG     16(%esp)
        movw    %ax, %ss
        movl    $0x60000, %esp
        LOG     gdt+0x28+4
        GATE    14, 0x08, page_fault, 0x8e

# PAE: 2 MBytes by 4-KByte pages, the next 2 MBytes as one page, then pages for faults.
        xorl    %eax, %eax
        movl    $PDPT, %edi
        movl    $0xc00, %ecx
        cld
        rep stosl
        movl    $DIRECTORY+1, PDPT
        movl    $TABLE+7, DIRECTORY
        movl    $0xe7, DIRECTORY+8
        movl    $7, %eax
        movl    $TABLE, %edi
        movl    $0x180, %ecx
5:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x1000, %eax
        loop    5b
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x800, %eax
        wrmsr
        movl    $PDPT, %eax
        movl    %eax, %cr3
        movl    $0x20, %eax
        movl    %eax, %cr4
        movl    %cr0, %eax
        orl     $0x80010000, %eax
        movl    %eax, %cr0
        jmp     6f
6:      LOG     DIRECTORY+8+0x200000
        LOG     DIRECTORY+8
        movb    $0xc3, 0x80000
        movl    $0x80000000, TABLE+8*0x80+4
        movl    %cr3, %eax
        movl    %eax, %cr3
        movl    $0x80000, %eax
        call    *%eax
        movl    $0, TABLE+8*0x82
        movl    $0x80000000, TABLE+8*0x82+4
        movl    %eax, 0x82000
        LOG     $0x0000d02e
        movw    $0xf4, %dx
        outb    %al, %dx
        cli
        hlt

log:
        outb    %al, $0xe9
        rorl    $8, %eax
        outb    %al, $0xe9
        rorl    $8, %eax
        outb    %al, $0xe9
        rorl    $8, %eax
        outb    %al, $0xe9
        ret

# Reports error code and CR2, mends what is wrong with the page and tries again.
page_fault:
        pushl   %eax
        pushl   %ebx
        LOG     $0xfa17000e
        LOG     12(%esp)
        movl    %cr2, %ebx
        LOG     %ebx
        movl    $0x80007, TABLE+8*0x80
        movl    $0, TABLE+8*0x80+4
        movl    $0x82007, TABLE+8*0x82
        invlpg  (%ebx)
        popl    %ebx
        popl    %eax
        addl    $4, %esp
        iret

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      # 08: flat 32-bit code
        .quad   0x00cf93000000ffff      # 10: flat data
        .quad   0
        .quad   0
        .word   0x2b, tss - _start      # 28: 16-bit TSS
        .byte   1, 0x81, 0, 0
        .word   0x17, ldt - _start      # 30: LDT
        .byte   1, 0x82, 0, 0
        .quad   0
        .quad   0
        .word   0xffff, 0               # 48: 16-bit code at 10000H
        .byte   1, 0x9b, 0, 0
        .word   0xffff, 0               # 50: 16-bit data at 0
        .byte   0, 0x93, 0, 0
        .word   gate16 - _start, 0x48   # 58: 16-bit call gate, one parameter, DPL 1
        .byte   1, 0xa4, 0, 0
        .word   0xffff, 0               # 60: conforming 16-bit code at 10000H
        .byte   1, 0x9f, 0, 0
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt
        .balign 8
ldt:
        .quad   0
        .word   0xffff, 0               # 0d: 16-bit code at 10000H, DPL 1
        .byte   1, 0xbb, 0, 0
        .word   0xffff, 0               # 15: 16-bit data at 0, DPL 1
        .byte   0, 0xb3, 0, 0
idt_pointer:
        .word   8*64 - 1
        .long   IDT
far_pointer:
        .word   far_return - _start, 0x1000
        .balign 4
tss:
        .word   0, 0x5800, 0x50
        .fill   19, 2, 0
