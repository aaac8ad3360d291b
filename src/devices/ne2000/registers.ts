// Part: the register map of the DP8390 (National Semiconductor, DP8390D/NS32490D data sheet TL/F/8582, July 1995, section 10) and of page 3 of the
// RTL8029AS (Realtek, RTL8029AS data sheet LS009.0, January 1997, section 5.1). The chip's reads and writes, the dump and the names in event
// listings are all made from this table.

/** The chip's registers by their names in the data sheet, as they are kept. */
export interface Registers {
  CR: number;
  PSTART: number;
  PSTOP: number;
  BNRY: number;
  TPSR: number;
  /** 16 bits, as are RBCR, CRDA and CLDA. */
  TBCR: number;
  TSR: number;
  NCR: number;
  ISR: number;
  IMR: number;
  /** The current remote DMA address; writing RSAR sets it. */
  CRDA: number;
  RBCR: number;
  CLDA: number;
  RCR: number;
  RSR: number;
  TCR: number;
  DCR: number;
  CNTR0: number;
  CNTR1: number;
  CNTR2: number;
  CURR: number;
  /** Remote and local next packet pointers of page 2. */
  RNPP: number;
  LNPP: number;
  PAR: number[];
  MAR: number[];
  /** RTL8029AS. */
  EECR: number;
  CONFIG2: number;
  CONFIG3: number;
}

/** Named bits of a register, from bit 7 down; "" is a reserved bit. */
type Bits = readonly [string, string, string, string, string, string, string, string];

export interface RegisterRow {
  /** Pages on which the register appears. */
  readonly pages: readonly number[];
  readonly offset: number;
  readonly access: "r" | "w" | "rw";
  readonly name: string;
  /** What is kept: a register, a byte of it, or an element of it. Rows without one are read and written by the chip in their own way. */
  readonly field?: keyof Registers;
  readonly byte?: 0 | 1;
  readonly element?: number;
  readonly section: string;
  readonly bits?: Bits;
  /** Reserved bits that read as ones (RTL8019AS specification of 2001, section 5.1.2.1; the DP8390's data sheet leaves them open). */
  readonly ones?: number;
  /** On the RTL8029AS only. */
  readonly realtek?: true;
}

const CR_BITS = ["PS1", "PS0", "RD2", "RD1", "RD0", "TXP", "STA", "STP"] as const;
const ISR_BITS = ["RST", "RDC", "CNT", "OVW", "TXE", "RXE", "PTX", "PRX"] as const;
const IMR_BITS = ["", "RDCE", "CNTE", "OVWE", "TXEE", "RXEE", "PTXE", "PRXE"] as const;
const DCR_BITS = ["", "FT1", "FT0", "ARM", "LS", "LAS", "BOS", "WTS"] as const;
const TCR_BITS = ["", "", "", "OFST", "ATD", "LB1", "LB0", "CRC"] as const;
const TSR_BITS = ["OWC", "CDH", "FU", "CRS", "ABT", "COL", "", "PTX"] as const;
const RCR_BITS = ["", "", "MON", "PRO", "AM", "AB", "AR", "SEP"] as const;
const RSR_BITS = ["DFR", "DIS", "PHY", "MPA", "FO", "FAE", "CRC", "PRX"] as const;

const row = (
  page: number | readonly number[],
  offset: number,
  access: RegisterRow["access"],
  name: string,
  section: string,
  rest: Omit<RegisterRow, "pages" | "offset" | "access" | "name" | "section"> = {},
): RegisterRow => ({ pages: typeof page === "number" ? [page] : page, offset, access, name, section, ...rest });

export const REGISTERS: readonly RegisterRow[] = [
  row([0, 1, 2, 3], 0x0, "rw", "CR", "10.3", { field: "CR", bits: CR_BITS }),

  row(0, 0x1, "r", "CLDA0", "10.6", { field: "CLDA", byte: 0 }),
  row(0, 0x2, "r", "CLDA1", "10.6", { field: "CLDA", byte: 1 }),
  row(0, 0x3, "r", "BNRY", "10.6", { field: "BNRY" }),
  row(0, 0x4, "r", "TSR", "10.3", { field: "TSR", bits: TSR_BITS }),
  row(0, 0x5, "r", "NCR", "10.10", { field: "NCR" }),
  row(0, 0x6, "r", "FIFO", "10.10"),
  row(0, 0x7, "r", "ISR", "10.3", { field: "ISR", bits: ISR_BITS }),
  row(0, 0x8, "r", "CRDA0", "10.7", { field: "CRDA", byte: 0 }),
  row(0, 0x9, "r", "CRDA1", "10.7", { field: "CRDA", byte: 1 }),
  row(0, 0xa, "r", "8029ID0", "RTL8029AS 5.1", { realtek: true }),
  row(0, 0xb, "r", "8029ID1", "RTL8029AS 5.1", { realtek: true }),
  row(0, 0xc, "r", "RSR", "10.3", { bits: RSR_BITS }),
  row(0, 0xd, "r", "CNTR0", "10.10"),
  row(0, 0xe, "r", "CNTR1", "10.10"),
  row(0, 0xf, "r", "CNTR2", "10.10"),

  row(0, 0x1, "w", "PSTART", "10.6", { field: "PSTART" }),
  row(0, 0x2, "w", "PSTOP", "10.6", { field: "PSTOP" }),
  row(0, 0x3, "w", "BNRY", "10.6", { field: "BNRY" }),
  row(0, 0x4, "w", "TPSR", "10.5", { field: "TPSR" }),
  row(0, 0x5, "w", "TBCR0", "10.5", { field: "TBCR", byte: 0 }),
  row(0, 0x6, "w", "TBCR1", "10.5", { field: "TBCR", byte: 1 }),
  row(0, 0x7, "w", "ISR", "10.3", { bits: ISR_BITS }),
  row(0, 0x8, "w", "RSAR0", "10.7", { field: "CRDA", byte: 0 }),
  row(0, 0x9, "w", "RSAR1", "10.7", { field: "CRDA", byte: 1 }),
  row(0, 0xa, "w", "RBCR0", "10.7", { field: "RBCR", byte: 0 }),
  row(0, 0xb, "w", "RBCR1", "10.7", { field: "RBCR", byte: 1 }),
  row(0, 0xc, "w", "RCR", "10.3", { field: "RCR", bits: RCR_BITS, ones: 0xc0 }),
  row(0, 0xd, "w", "TCR", "10.3", { field: "TCR", bits: TCR_BITS, ones: 0xe0 }),
  row(0, 0xe, "w", "DCR", "10.3", { field: "DCR", bits: DCR_BITS, ones: 0x80 }),
  row(0, 0xf, "w", "IMR", "10.3", { field: "IMR", bits: IMR_BITS, ones: 0x80 }),

  ...Array.from({ length: 6 }, (_, index) =>
    row(1, 0x1 + index, "rw", `PAR${index}`, "10.8", { field: "PAR", element: index }),
  ),
  row(1, 0x7, "rw", "CURR", "10.6", { field: "CURR" }),
  ...Array.from({ length: 8 }, (_, index) =>
    row(1, 0x8 + index, "rw", `MAR${index}`, "10.9", { field: "MAR", element: index }),
  ),

  row(2, 0x1, "r", "PSTART", "10.6", { field: "PSTART" }),
  row(2, 0x2, "r", "PSTOP", "10.6", { field: "PSTOP" }),
  row(2, 0x3, "rw", "RNPP", "10.7", { field: "RNPP" }),
  row(2, 0x4, "r", "TPSR", "10.5", { field: "TPSR" }),
  row(2, 0x5, "rw", "LNPP", "10.6", { field: "LNPP" }),
  row(2, 0x6, "r", "AC1", "10.6", { field: "CLDA", byte: 1 }),
  row(2, 0x7, "r", "AC0", "10.6", { field: "CLDA", byte: 0 }),
  row(2, 0xc, "r", "RCR", "10.3", { field: "RCR", bits: RCR_BITS, ones: 0xc0 }),
  row(2, 0xd, "r", "TCR", "10.3", { field: "TCR", bits: TCR_BITS, ones: 0xe0 }),
  row(2, 0xe, "r", "DCR", "10.3", { field: "DCR", bits: DCR_BITS, ones: 0x80 }),
  row(2, 0xf, "r", "IMR", "10.3", { field: "IMR", bits: IMR_BITS, ones: 0x80 }),
  row(2, 0x1, "w", "CLDA0", "10.6", { field: "CLDA", byte: 0 }),
  row(2, 0x2, "w", "CLDA1", "10.6", { field: "CLDA", byte: 1 }),
  row(2, 0x6, "w", "AC1", "10.6", { field: "CLDA", byte: 1 }),
  row(2, 0x7, "w", "AC0", "10.6", { field: "CLDA", byte: 0 }),

  row(3, 0x1, "rw", "9346CR", "RTL8029AS 5.1", {
    field: "EECR",
    bits: ["EEM1", "EEM0", "", "", "EECS", "EESK", "EEDI", "EEDO"],
    realtek: true,
  }),
  row(3, 0x3, "r", "CONFIG0", "RTL8029AS 5.1", { realtek: true }),
  row(3, 0x5, "rw", "CONFIG2", "RTL8029AS 5.1", {
    field: "CONFIG2",
    bits: ["PL1", "PL0", "FCE", "PF", "", "", "BS1", "BS0"],
    realtek: true,
  }),
  row(3, 0x6, "rw", "CONFIG3", "RTL8029AS 5.1", {
    field: "CONFIG3",
    bits: ["", "FUDUP", "LEDS1", "LEDS0", "", "SLEEP", "PWRDN", ""],
    realtek: true,
  }),
  row(3, 0xe, "r", "8029ASID0", "RTL8029AS 5.1", { realtek: true }),
  row(3, 0xf, "r", "8029ASID1", "RTL8029AS 5.1", { realtek: true }),
];

/** The masks of a register's named bits: `mask(ISR_BITS).OVW` is 0x10. */
function masks<const B extends Bits>(bits: B): Readonly<Record<Exclude<B[number], "">, number>> {
  const named = bits.map((name, index) => [name, 0x80 >> index] as const).filter(([name]) => name !== "");
  return Object.fromEntries(named) as Record<Exclude<B[number], "">, number>;
}

export const CR = masks(CR_BITS);
export const ISR = masks(ISR_BITS);
export const DCR = masks(DCR_BITS);
export const TCR = masks(TCR_BITS);
export const TSR = masks(TSR_BITS);
export const RCR = masks(RCR_BITS);
export const RSR = masks(RSR_BITS);
