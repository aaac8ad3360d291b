/* PCI bus 0 of a PC, by configuration mechanism #1 (PCI Local Bus Specification 2.1, 3.7.4.1). */
#ifndef PCI_H
#define PCI_H

#include <stdbool.h>
#include <stdint.h>

/* Four bytes of configuration space, of function 0 of a device. */
uint32_t pci_read(uint32_t device, uint32_t offset);
void pci_write(uint32_t device, uint32_t offset, uint32_t value);

/* Looks for a device by its identity, device in the upper half and vendor in the lower; false when there is none, or no PCI. */
bool pci_find(uint32_t id, uint32_t *device);

/* The device's interrupt line. What no firmware has set, we set by the PIIX3's routing registers: `irq_otherwise`, as a level. */
uint8_t pci_interrupt_line(uint32_t device, uint8_t irq_otherwise);

#endif
