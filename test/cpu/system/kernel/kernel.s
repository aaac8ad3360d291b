# A kernel of a few hundred instructions that walks through what system software does to an i686: real mode, protected
# mode, paging, rings, gates, faults, SYSENTER, single-stepping, virtual-8086 mode. It reports 32-bit words on port E9H.
# Built by build.sh into kernel.bin, linked for and loaded at 10000H, entered in real mode at 1000H:0000H.

        .set BASE, 0x10000
        .set IDT, 0x30000
        .set DIRECTORY, 0x20000
        .set TABLE, 0x21000
        .set SECOND_TABLE, 0x22000

# Reports a word; ESP is 4 lower while the operand is read.
        .macro LOG value
        pushl   %eax
        movl    \value, %eax
        call    log
        popl    %eax
        .endm

        .macro GATE vector, handler, rights
        movl    $\handler, %eax
        movw    %ax, IDT+8*\vector
        movw    $0x08, IDT+8*\vector+2
        movw    $(\rights << 8), IDT+8*\vector+4
        shrl    $16, %eax
        movw    %ax, IDT+8*\vector+6
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
        movw    $0x7000, %sp
        movw    $(real_handler - _start), %es:0x100
        movw    %cs, %es:0x102
        int     $0x40
        lgdtl   gdt_pointer - _start
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x08, $protected

real_handler:
        movw    %sp, %ax
        call    log16
        movw    $0x4040, %ax
        call    log16
        iret

log16:
        outb    %al, $0xe9
        xchgb   %al, %ah
        outb    %al, $0xe9
        ret

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

# Exception stubs: (error code,) vector.
        .macro STUB vector, errorcode
stub\vector:
        .if \errorcode == 0
        pushl   $0xeeee
        .endif
        pushl   $\vector
        jmp     report
        .endm
        STUB    1, 0
        STUB    3, 0
        STUB    4, 0
        STUB    6, 0
        STUB    10, 1
        STUB    11, 1
        STUB    12, 1
        STUB    13, 1
        STUB    48, 0
        STUB    128, 0

# Reports vector, error code, CS, EFLAGS without arithmetic flags and RF (which QEMU 7.2 does not set), and the bytes ESI says to skip; ends a #GP out of
# virtual-8086 mode with ESI = 0.
report:
        pusha
        pushl   %ds
        pushl   %es
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        LOG     $0xfa170000
        LOG     44(%esp)
        LOG     48(%esp)
        LOG     56(%esp)
        movl    56(%esp), %eax
        andl    $0xfffef72a, %eax
        call    log
        movzwl  12(%esp), %eax
        addl    %eax, 48(%esp)
        andl    $0xfffffeff, 56(%esp)
        testl   $0x20000, 56(%esp)
        jz      1f
        testl   %eax, %eax
        jz      finish
1:      popl    %es
        popl    %ds
        popa
        addl    $8, %esp
        iret

# Reports error code and CR2, makes the page present, writable and user, drops its translation, tries again.
page_fault:
        pusha
        pushl   %ds
        movw    $0x10, %ax
        movw    %ax, %ds
        LOG     $0xfa17000e
        LOG     40(%esp)
        movl    %cr2, %ebx
        LOG     %ebx
        movl    %ebx, %ecx
        shrl    $12, %ecx
        andl    $0x3ff, %ecx
        LOG     "TABLE(,%ecx,4)"
        movl    $0x80007, TABLE(,%ecx,4)
        invlpg  (%ebx)
        popl    %ds
        popa
        addl    $4, %esp
        iret

protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x60000, %esp
        xorl    %eax, %eax
        movw    %ax, %fs
        movw    %ax, %gs
        GATE    1, stub1, 0x8e
        GATE    3, stub3, 0xee
        GATE    4, stub4, 0xee
        GATE    6, stub6, 0x8e
        GATE    10, stub10, 0x8e
        GATE    11, stub11, 0x8e
        GATE    12, stub12, 0x8e
        GATE    13, stub13, 0x8e
        GATE    14, page_fault, 0x8e
        GATE    48, stub48, 0x8f
        GATE    49, stub48, 0x8e
        GATE    50, stub48, 0x6e
        GATE    128, stub128, 0xee
        GATE    129, enter_v86, 0xee
        lidt    idt_pointer
        movw    $0x28, %ax
        ltr     %ax
        LOG     tss_descriptor+4

# Interrupts at the same level; selectors that fault.
        xorl    %esi, %esi
        int     $48
        movl    $2, %esi
        int     $50
        int     $200
        movw    $0x1234, %ax
        movw    %ax, %es
        movw    $0x28, %ax
        movw    %ax, %es
        movw    $0x40, %ax
        movw    %ax, %es
        movw    $0x40, %ax
        movw    %ax, %ss
        movl    $7, %esi
        ljmp    $0x10, $0
        ljmp    $0x40, $0
        ljmp    $0, $0
        movl    $2, %esi
        ud2

# Paging: 4-KByte pages for the first 4 MBytes, then one 4-MByte page.
        movl    $DIRECTORY, %edi
        xorl    %eax, %eax
        movl    $1024, %ecx
        cld
        rep stosl
        movl    $TABLE+7, DIRECTORY
        movl    $0x83, DIRECTORY+4
        movl    $TABLE, %edi
        movl    $7, %eax
        movl    $0x300, %ecx
1:      stosl
        addl    $0x1000, %eax
        loop    1b
        xorl    %eax, %eax
        movl    $0x100, %ecx
        rep stosl
        movl    $0x80005, TABLE+4*0x301
        movl    $0x80003, TABLE+4*0x302
        movl    $DIRECTORY, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x10, %eax
        movl    %eax, %cr4
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        jmp     1f
1:      movl    $0x11223344, 0x300004
        LOG     TABLE+4*0x300
        LOG     0x480004
        LOG     DIRECTORY+4
# INVLPG anywhere in a 4-MByte page drops all of it.
        movl    $0x81007, SECOND_TABLE+4*0x80
        movl    $SECOND_TABLE+7, DIRECTORY+4
        movl    $0x12ab34cd, 0x81004
        invlpg  0x400000
        LOG     0x480004
        movl    $0x55667788, 0x301008
        LOG     TABLE+4*0x301
        movl    %cr0, %eax
        orl     $0x10000, %eax
        movl    %eax, %cr0
        movl    $0x80005, TABLE+4*0x301
        invlpg  0x301000
        movl    $0x99aabbcc, 0x301008
        LOG     0x80008

# SYSENTER registers, then ring 3.
        movl    $0x174, %ecx
        movl    $0x08, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $0x175, %ecx
        movl    $0x5f000, %eax
        wrmsr
        movl    $0x176, %ecx
        movl    $sysenter_entry, %eax
        wrmsr
        rdmsr
        LOG     %edx
        pushl   $0x23
        pushl   $0x50000
        pushl   $0x202
        pushl   $0x1b
        pushl   $user
        iret

user:
        movw    %ds, %ax
        movzwl  %ax, %eax
        call    log
        movw    $0x23, %ax
        movw    %ax, %ds
        movw    %ax, %es
        xorl    %esi, %esi
        int     $128
        int3
        movl    $0x7fffffff, %eax
        incl    %eax
        into
        movl    $1, %esi
        cli
        hlt
        movl    $2, %esi
        int     $49
        int     $50
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    $0x22, %ax
        movw    %ax, %ss
        clts
        rdmsr
        movl    %cr0, %eax
        movl    $1, %esi
        movw    $0x400, %dx
        inb     %dx, %al
        LOG     0x302010
        movl    $7, %esi
        ljmp    $0x08, $0
        lcall   $0x28, $0
        str     %eax
        movzwl  %ax, %eax
        call    log
        movl    $0x23, %ecx
        larl    %ecx, %eax
        call    log
        lsll    %ecx, %eax
        call    log
        movl    $0x10, %ecx
        verr    %cx
        setz    %al
        movzbl  %al, %eax
        call    log
        movl    $0x20, %eax
        movl    $3, %ecx
        arpl    %cx, %ax
        call    log

# A call gate with one parameter.
        pushl   $0x9ab1
        lcall   $0x33, $0
        LOG     %esp
        pushl   %cs
        popl    %eax
        call    log

# POPF in ring 3 changes neither IOPL nor IF; TF traps after the next instruction.
        pushl   $0x3002
        popf
        pushf
        popl    %eax
        call    log
        xorl    %esi, %esi
        pushl   $0x102
        popf
        nop
        LOG     $0x57e9
        movl    %esp, %ebp
        movl    $after_sysexit, %edi
        sysenter
after_sysexit:
        pushl   %cs
        popl    %eax
        call    log
        LOG     %esp
        int     $129

gate_target:
        LOG     12(%esp)
        movl    4(%esp), %eax
        call    log
        movl    12(%esp), %eax
        call    log
        pushl   %ss
        popl    %eax
        call    log
        lret    $4

sysenter_entry:
        LOG     %esp
        pushl   %cs
        popl    %eax
        call    log
        movl    %edi, %edx
        movl    %ebp, %ecx
        sysexit

# IRET into virtual-8086 mode with IOPL 0.
enter_v86:
        pushl   $0x6666
        pushl   $0x5555
        pushl   $0x4444
        pushl   $0x3333
        pushl   $0x0000
        pushl   $0x7000
        pushl   $0x20202
        pushl   $0x1000
        pushl   $(v86 - _start)
        iret

        .code16
v86:
        movw    %gs, %ax
        call    log16
        movw    %ds, %ax
        call    log16
        movw    %sp, %ax
        call    log16
        movw    $0x1000, %ax
        movw    %ax, %ds
        movw    (gdt - _start) + 8, %ax
        call    log16
        movw    $1, %si
        cli
        pushf
        movw    $2, %si
        int     $0x20
        int3
        movw    %ss, %ax
        call    log16
        movw    %cs, %ax
        call    log16
        xorl    %esi, %esi
        sti

        .code32
# The frame out of virtual-8086 mode: ESP, SS, ES, DS, FS, GS above EFLAGS; the segment registers are null by now.
finish:
        LOG     64(%esp)
        LOG     68(%esp)
        LOG     80(%esp)
        LOG     84(%esp)
        movw    %fs, %ax
        movzwl  %ax, %eax
        call    log
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
        .quad   0x00cffb000000ffff
        .quad   0x00cff3000000ffff
tss_descriptor:
        .word   0x67 + 33
        .word   tss - _start
        .byte   1
        .byte   0x89
        .word   0
call_gate:
        .word   gate_target - _start
        .word   0x08
        .byte   1
        .byte   0xec
        .word   1
        .quad   0
        .quad   0x00cf13000000ffff
        .quad   0x00cffb000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt
idt_pointer:
        .word   8*130 - 1
        .long   IDT
        .balign 16
tss:
        .long   0, 0x58000, 0x10
        .fill   23, 4, 0
        .word   0, 0x68
        .fill   32, 1, 0
        .byte   0xff
