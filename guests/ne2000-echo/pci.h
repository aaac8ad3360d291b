/* The RTL8029 on PCI bus 0, by configuration mechanism #1 (PCI Local Bus Specification 2.1, 3.7.4.1). */
#ifndef PCI_H
#define PCI_H

#include <stdbool.h>
#include <stdint.h>

struct pci_card {
    uint8_t device, irq;
    uint16_t io;
};

/*
 * Looks for 10ec:8029 on bus 0 and turns its ports on. What no firmware has set, we set: the ports at C000h, and by the PIIX3's routing
 * registers the interrupt line, `irq_otherwise`.
 */
bool pci_find_rtl8029(uint8_t irq_otherwise, struct pci_card *found);

#endif
