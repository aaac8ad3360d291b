/*
 * first-light: the guest that ringback runs by default. It brings up a PVH domain, then does what the command line's mode says.
 * Every way out is a shutdown that Xen sees: poweroff when all went well, crash when not.
 */
#include "../lib/console.h"
#include "../lib/domain.h"
#include "../lib/hypercall.h"
#include "../lib/options.h"
#include "../lib/x86.h"
#include "../lib/xenstore.h"
#include "../blkfront/disk.h"
#include "modes.h"

extern char read_only_start[];

static void spin(void)
{
    print("spinning\n");
    for (;;)
        barrier();
}

/* Writes to our own text, which CR0.WP forbids: a page fault whose handler prints the registers. */
static void crash_mode(void)
{
    print("writing to read-only text at 0x%x\n", (uint32_t)read_only_start);
    *(volatile uint32_t *)read_only_start = 0;
    panic("the write to read-only text was allowed");
}

/* Without an IDT a breakpoint cannot be delivered, nor the fault that follows, nor the double fault (SDM vol. 3A 6.15, vector 8). */
static void triple_fault(void)
{
    static const uint8_t no_idt[6];
    print("a breakpoint without an IDT\n");
    __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
}

static const struct {
    const char *name;
    void (*run)(void);
} modes[] = {
    { "disk", disk_mode },       { "console", console_mode },           { "spin", spin },
    { "crash", crash_mode },     { "triple-fault", triple_fault },      { "ring-nonsense", nonsense_mode },
};

void guest_main(const struct hvm_start_info *start)
{
    domain_start("first-light", start);
    xenstore_start();
    void (*run)(void) = disk_mode;
    bool chosen = false;
    for (uint32_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (option_is("mode", modes[i].name)) {
            run = modes[i].run;
            chosen = true;
        }
    if (!chosen && option_text("mode") != NULL)
        panic("this mode is not known");
    run();
    print("done\n");
    sched_shutdown(SHUTDOWN_poweroff);
}
