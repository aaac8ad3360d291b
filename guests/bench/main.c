/*
 * What all benchmark guests have in common: find out where we run, run the measured work, say the checksum, end.
 *
 * Under Xen the text goes to the console ring and the end is a shutdown. Elsewhere it goes to the serial port and the debug port, and the
 * end is a write to QEMU's isa-debug-exit (port 0xf4: 0 right, 1 wrong), then HLT with interrupts off.
 * The option rounds=N on the command line shortens the work; the checksum is then only printed, as nothing is known to compare it with.
 */
#include "../lib/console.h"
#include "../lib/descriptors.h"
#include "../lib/hypercall.h"
#include "../lib/paging.h"
#include "../lib/text.h"
#include "../lib/x86.h"
#include "../lib/xen_console.h"
#include "bench.h"
#include "strings.h"

#define DEBUG_EXIT_PORT 0xf4
#define MULTIBOOT_INFO_CMDLINE 4 /* flags, bit 2: the command line is there */

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
};

#ifdef COUNT_REP /* verify.sh's build: what strings.h counts */
uint64_t rep_instructions, rep_iterations, rep_early_exits;
#endif

static bool on_xen;

static void leave(bool right)
{
    if (on_xen)
        sched_shutdown(right ? SHUTDOWN_poweroff : SHUTDOWN_crash);
    outb(DEBUG_EXIT_PORT, right ? 0 : 1);
    halt_forever();
}

static void crash(void)
{
    leave(false);
}

static uint32_t rounds_from(const char *command_line)
{
    static const char name[] = "rounds=";
    uint32_t rounds;
    for (; *command_line != 0; command_line++)
        if (text_starts_with(command_line, name)) {
            command_line += sizeof name - 1;
            return parse_u32(&command_line, &rounds) ? rounds : BENCH_ROUNDS;
        }
    return BENCH_ROUNDS;
}

static void run(const char *command_line)
{
    uint32_t rounds = rounds_from(command_line);
    struct xen_identity xen;
    on_xen = xen_find(&xen);
    console_use(on_xen && xen_console_open() ? xen_console_write : serial_write);
    descriptors_load(crash);
    if (BENCH_PAGING && !paging_enable()) {
        print(BENCH_NAME ": the processor has no 4 MiB pages\n");
        leave(false);
    }
    uint64_t ticks;
    uint32_t checksum = measure(rounds, &ticks), low;
    uint32_t billions = (uint32_t)divide64(ticks, 1000000000u, &low);
    print(BENCH_NAME ": %u rounds, checksum %08x, time-stamp counter advanced by %u%09u\n", rounds, checksum, billions, low);
#ifdef COUNT_REP
    print(BENCH_NAME ": rep instructions %u, iterations %u, early exits %u\n", (uint32_t)rep_instructions, (uint32_t)rep_iterations,
          (uint32_t)rep_early_exits);
#endif
    bool right = checksum == (uint32_t)BENCH_CHECKSUM || rounds != BENCH_ROUNDS;
    print(BENCH_NAME ": %s\n", right ? "done" : "WRONG checksum");
    leave(right);
}

void guest_main(const struct hvm_start_info *start)
{
    run(start->cmdline_paddr != 0 ? (const char *)(uint32_t)start->cmdline_paddr : "");
}

void multiboot_main(const struct multiboot_info *info)
{
    run(info->flags & MULTIBOOT_INFO_CMDLINE ? (const char *)info->cmdline : "");
}
