/*
 * The registers of the DP8390D/NS32490D (National Semiconductor, data sheet July 1995, section 10.0) as offsets from a NE2000's first port,
 * and what Novell's card adds: the data port, the reset port and the map of its memory.
 */
#ifndef DP8390_H
#define DP8390_H

#define CR 0x00 /* command, in every page */
#define CR_STP 0x01
#define CR_STA 0x02
#define CR_TXP 0x04
#define CR_REMOTE_READ 0x08
#define CR_REMOTE_WRITE 0x10
#define CR_REMOTE_ABORT 0x20
#define CR_PAGE_1 0x40

/* Page 0; some offsets are one register to read and another to write. */
#define PSTART 0x01
#define PSTOP 0x02
#define BNRY 0x03
#define TPSR 0x04 /* write */
#define TSR 0x04  /* read */
#define NCR 0x05  /* read */
#define TBCR0 0x05
#define TBCR1 0x06
#define ISR 0x07
#define RSAR0 0x08
#define RSAR1 0x09
#define RBCR0 0x0a
#define RBCR1 0x0b
#define RCR 0x0c
#define TCR 0x0d   /* write */
#define CNTR0 0x0d /* read: frames with alignment errors */
#define DCR 0x0e   /* write */
#define CNTR1 0x0e /* read: frames with CRC errors */
#define IMR 0x0f   /* write */
#define CNTR2 0x0f /* read: frames missed */

/* Page 1 */
#define PAR0 0x01
#define CURR 0x07
#define MAR0 0x08

/* Behind the chip */
#define DATA_PORT 0x10
#define RESET_PORT 0x1f

/* ISR, and IMR without RST */
#define ISR_PRX 0x01
#define ISR_PTX 0x02
#define ISR_RXE 0x04
#define ISR_TXE 0x08
#define ISR_OVW 0x10
#define ISR_CNT 0x20
#define ISR_RDC 0x40
#define ISR_RST 0x80

#define DCR_WTS 0x01       /* word-wide remote DMA */
#define DCR_LS 0x08        /* no loopback */
#define DCR_FIFO_8 0x40    /* FIFO threshold of 8 bytes */
#define TCR_NORMAL 0x00
#define TCR_LOOPBACK_1 0x02
#define RCR_AB 0x04        /* broadcasts too */
#define RCR_MON 0x20       /* look, do not store */
#define NCR_COUNT 0x0f
#define RECEIVE_STATUS_PRX 0x01

#define PROM_BYTES 32 /* 16 bytes, each in a word of its own: the address is the first six, "W" in the last two tells of a 16-bit card */
#define PAGE_BYTES 256u
#define FIRST_PAGE 0x40 /* 16 KiB of packet memory */
#define END_PAGE 0x80

#endif
