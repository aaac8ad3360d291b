#include "xen_console.h"

#include "hypercall.h"
#include "x86.h"

static struct xencons_interface *ring;
static evtchn_port_t port;

bool xen_console_open(void)
{
    uint64_t frame, channel;
    if (hvm_get_param(HVM_PARAM_CONSOLE_PFN, &frame) != 0 || hvm_get_param(HVM_PARAM_CONSOLE_EVTCHN, &channel) != 0 || frame == 0)
        return false;
    ring = (struct xencons_interface *)((uint32_t)frame << PAGE_SHIFT);
    port = (evtchn_port_t)channel;
    return true;
}

evtchn_port_t xen_console_port(void)
{
    return port;
}

void xen_console_write(const char *text, size_t length)
{
    while (length > 0) {
        uint32_t produced = ring->out_prod, room = XENCONS_OUT_SIZE - (produced - READ_ONCE(ring->out_cons));
        if (room == 0 || room > XENCONS_OUT_SIZE) {
            event_send(port);
            sched_yield();
            continue;
        }
        for (; room > 0 && length > 0; room--, length--)
            ring->out[produced++ % XENCONS_OUT_SIZE] = *text++;
        barrier(); /* the text is there before the index says so */
        WRITE_ONCE(ring->out_prod, produced);
        event_send(port);
    }
}

size_t xen_console_read(char *to, size_t size)
{
    uint32_t consumed = ring->in_cons, available = READ_ONCE(ring->in_prod) - consumed;
    size_t count = 0;
    barrier();
    if (available > XENCONS_IN_SIZE)
        return 0;
    for (; count < size && available > 0; count++, available--)
        to[count] = READ_ONCE(ring->in[consumed++ % XENCONS_IN_SIZE]);
    full_barrier(); /* the text is taken before the index says so, and the index is out before we ask Xen to tell */
    WRITE_ONCE(ring->in_cons, consumed);
    if (count > 0)
        event_send(port);
    return count;
}
