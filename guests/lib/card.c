#include "card.h"

#include <stddef.h>

#include "interrupts.h"
#include "options.h"
#include "rtl8029.h"

#define ISA_PORTS 0x300
#define ISA_IRQ 9
#define PCI_IRQ 11 /* when no firmware has chosen one */

const char *card_find(struct card *found)
{
    uint32_t io = ISA_PORTS, irq = ISA_IRQ;
    struct rtl8029 pci;
    if (!option_number("io", &io) || io > 0xffe0 || !option_number("irq", &irq) || irq >= IRQS)
        return "io= and irq= need the numbers of a port and of an interrupt line";
    found->is_pci = option_text("io") == NULL && rtl8029_find(option_text("irq") != NULL ? (uint8_t)irq : PCI_IRQ, &pci);
    if (found->is_pci) {
        found->slot = pci.device;
        io = pci.io;
        irq = pci.irq;
    }
    found->io = (uint16_t)io;
    found->irq = irq == 2 ? 9 : (uint8_t)irq; /* where the AT has put it */
    return nic_find(found->io, found->address) ? NULL : "no NE2000 at its ports";
}
