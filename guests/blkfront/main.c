/*
 * blkfront: the block front end by itself, in a PVH domain or on a PC with Xen: every writable disk is written, read back and verified, with the
 * events by the callback and with the features of the ring that the command line names.
 */
#include "../lib/console.h"
#include "../lib/domain.h"
#include "../lib/hypercall.h"
#include "../lib/xenstore.h"
#include "disk.h"

void guest_main(const struct hvm_start_info *start)
{
    domain_start("blkfront", start);
    xenstore_start();
    disk_mode();
    print("done\n");
    sched_shutdown(SHUTDOWN_poweroff);
}
