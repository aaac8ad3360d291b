/* See host.h. Signal frame layout: Linux arch/x86/include/uapi/asm/sigcontext.h (struct sigcontext_32) and ucontext.h. */
#include "host.h"

#define SYS_EXIT 1
#define SYS_WRITE 4
#define SYS_RT_SIGACTION 174
#define SYS_SIGALTSTACK 186
#define SYS_MMAP2 192

#define SIGILL 4
#define SIGTRAP 5
#define SIGBUS 7
#define SIGFPE 8
#define SIGSEGV 11

#define SA_SIGINFO 4u
#define SA_RESTORER 0x04000000u
#define SA_ONSTACK 0x08000000u
#define SA_NODEFER 0x40000000u

#define VECTOR_BREAKPOINT 3

struct sigcontext_32 {
  u32 gs, fs, es, ds;
  u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
  u32 trapno, err, eip, cs, eflags, esp_at_signal, ss, fpstate, oldmask, cr2;
};

struct ucontext_32 {
  u32 flags, link;
  u32 stack[3];
  struct sigcontext_32 context;
};

struct sigaction_32 {
  void (*handler)(int, void *, struct ucontext_32 *);
  u32 flags;
  void (*restorer)(void);
  u32 mask[2];
};

static int syscall6(int number, u32 a, u32 b, u32 c, u32 d, u32 e, u32 f) {
  int result;
  __asm__ volatile("push %%ebp\n\tmov %7, %%ebp\n\tint $0x80\n\tpop %%ebp"
                   : "=a"(result)
                   : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "m"(f)
                   : "memory");
  return result;
}

void *memcpy(void *to, const void *from, u32 length) {
  u8 *t = to;
  const u8 *f = from;
  while (length--) *t++ = *f++;
  return to;
}

void *memset(void *to, int value, u32 length) {
  u8 *t = to;
  while (length--) *t++ = (u8)value;
  return to;
}

void host_exit(int code) {
  for (;;) syscall6(SYS_EXIT, (u32)code, 0, 0, 0, 0, 0);
}

static void write_all(u32 descriptor, const void *bytes, u32 length) {
  const u8 *p = bytes;
  while (length) {
    int n = syscall6(SYS_WRITE, descriptor, (u32)p, length, 0, 0, 0);
    if (n <= 0) host_exit(1);
    p += n;
    length -= (u32)n;
  }
}

static u32 length_of(const char *s) {
  u32 n = 0;
  while (s[n]) n++;
  return n;
}

void host_write(const void *bytes, u32 length) { write_all(1, bytes, length); }

void host_fail(const char *message, const char *detail) {
  write_all(2, message, length_of(message));
  write_all(2, ": ", 2);
  write_all(2, detail, length_of(detail));
  write_all(2, "\n", 1);
  host_exit(1);
}

/* The runner enters the handler by an INT3 of its own; the handler parks the runner's context here and returns into the vector. */
static struct sigcontext_32 runner;
static int vector_is_running;
static struct state start;
static struct outcome *finish;

static void on_signal(int signal, void *info, struct ucontext_32 *u) {
  struct sigcontext_32 *c = &u->context;
  (void)signal;
  (void)info;
  if (!vector_is_running) {
    runner = *c;
    c->eax = start.gpr[EAX], c->ecx = start.gpr[ECX], c->edx = start.gpr[EDX], c->ebx = start.gpr[EBX];
    c->esp = start.gpr[ESP], c->ebp = start.gpr[EBP], c->esi = start.gpr[ESI], c->edi = start.gpr[EDI];
    c->eip = start.eip;
    c->eflags = start.eflags;
    vector_is_running = 1;
    return;
  }
  struct state *s = &finish->state;
  s->gpr[EAX] = c->eax, s->gpr[ECX] = c->ecx, s->gpr[EDX] = c->edx, s->gpr[EBX] = c->ebx;
  s->gpr[ESP] = c->esp, s->gpr[EBP] = c->ebp, s->gpr[ESI] = c->esi, s->gpr[EDI] = c->edi;
  s->eip = c->eip;
  s->eflags = c->eflags & ~0x10000u;            /* RF belongs to how the fault was delivered, not to the instruction */
  finish->exception = (int)c->trapno;
  finish->error_code = c->err;
  if (c->trapno == VECTOR_BREAKPOINT) {
    finish->exception = -1;
    finish->error_code = 0;
    s->eip -= 1;
  }
  *c = runner;
  vector_is_running = 0;
}

__asm__(".text\nreturn_from_signal:\n\tmov $173, %eax\n\tint $0x80\n");
extern void return_from_signal(void);

void host_run(const struct state *initial, struct outcome *outcome) {
  start = *initial;
  finish = outcome;
  __asm__ volatile("int3" ::: "memory");
}

static void map(u32 address, u32 length) {
  /* PROT_READ|WRITE|EXEC; MAP_PRIVATE|FIXED|ANONYMOUS. Below vm.mmap_min_addr this needs CAP_SYS_RAWIO. */
  if ((u32)syscall6(SYS_MMAP2, address, length, 7, 0x32, 0xffffffffu, 0) != address)
    host_fail("cannot map the fixed addresses", "run as root, or with vm.mmap_min_addr at most 0x6000");
}

static u8 signal_stack[65536];

void host_prepare(void) {
  map(WINDOW, WINDOW_SIZE);
  map(CODE_PAGE, PAGE);
  map(LANDING_PAGE, PAGE);
  memset((void *)CODE_PAGE, 0xcc, PAGE);
  memset((void *)LANDING_PAGE, 0xcc, PAGE);
  u32 stack[3] = {(u32)signal_stack, 0, sizeof signal_stack};
  if (syscall6(SYS_SIGALTSTACK, (u32)stack, 0, 0, 0, 0, 0)) host_fail("sigaltstack", "failed");
  static const u8 signals[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV};
  for (u32 i = 0; i < sizeof signals; i++) {
    struct sigaction_32 action = {on_signal, SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_NODEFER, return_from_signal, {0, 0}};
    if (syscall6(SYS_RT_SIGACTION, signals[i], (u32)&action, 0, 8, 0, 0)) host_fail("rt_sigaction", "failed");
  }
}
