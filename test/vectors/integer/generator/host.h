/*
 * The part of the generator that touches the host: a freestanding 32-bit Linux program without a C library, which runs
 * one instruction at a time on the real processor and reads the processor's state back from the signal frame.
 */
#ifndef HOST_H
#define HOST_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;

/* Fixed addresses. All below 64 KiB except the code, so that 16-bit addresses and 16-bit branch targets reach them. */
#define WINDOW 0x8000u          /* the data window: all that a vector may read or write, the stack included */
#define WINDOW_SIZE 0x4000u
#define CODE_PAGE 0x16000u      /* filled with INT3; the instruction stands at CODE */
#define CODE 0x16800u
#define LANDING_PAGE 0x6000u    /* CODE_PAGE truncated to 16 bits: where branches with a 16-bit operand size land */
#define PAGE 0x1000u

enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };

struct state {
  u32 gpr[8];
  u32 eip;
  u32 eflags;
};

struct outcome {
  struct state state;
  int exception;                /* vector, or -1 when the instruction completed */
  u32 error_code;
};

void host_prepare(void);
/* Runs the instruction at CODE from the given state until the INT3 after it (or at a branch's target), or until it faults. */
void host_run(const struct state *initial, struct outcome *outcome);
void host_write(const void *bytes, u32 length);   /* to standard output */
void host_fail(const char *message, const char *detail);
void host_exit(int code);

#endif
