/*
 * Counts the instructions of a workload on the host's own processor, one step at a time (ptrace, the trap flag): an oracle that shares
 * nothing with any emulator. Usage: step PROGRAM, a static 32-bit program that executes INT3 right before the call of bench_workload and
 * right after its return. Prints the steps in between: each iteration of a REP instruction is one (SDM vol. 3B 17.3.1.4), and the
 * processor stops once for every other instruction. The CALL itself is not counted.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void wait_for_trap(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) < 0)
        fail("waitpid");
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
        fprintf(stderr, "step: the program did not stop at a trap (status %x)\n", status);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: step PROGRAM\n"), 2;
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execl(argv[1], argv[1], (char *)NULL);
        fail(argv[1]);
    }
    wait_for_trap(child); /* the exec */
    ptrace(PTRACE_CONT, child, NULL, NULL);
    wait_for_trap(child); /* INT3 before */
    uint64_t steps = 0;
    for (;; steps++) {
        struct user_regs_struct registers;
        if (ptrace(PTRACE_GETREGS, child, NULL, &registers) < 0)
            fail("ptrace");
        long code = ptrace(PTRACE_PEEKTEXT, child, (void *)registers.rip, NULL);
        if ((code & 0xff) == 0xcc)
            break; /* INT3 after */
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0)
            fail("ptrace");
        wait_for_trap(child);
    }
    ptrace(PTRACE_KILL, child, NULL, NULL);
    printf("%llu\n", (unsigned long long)(steps - 1));
    return 0;
}
