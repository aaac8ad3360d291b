/* The RTL8029 on PCI bus 0. */
#ifndef RTL8029_H
#define RTL8029_H

#include <stdbool.h>
#include <stdint.h>

struct rtl8029 {
    uint8_t device, irq;
    uint16_t io;
};

/*
 * Looks for 10ec:8029 on bus 0 and turns its ports on. What no firmware has set, we set: the ports at C000h, and by the PIIX3's routing
 * registers the interrupt line, `irq_otherwise`.
 */
bool rtl8029_find(uint8_t irq_otherwise, struct rtl8029 *found);

#endif
