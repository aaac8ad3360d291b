#include "rtl8029.h"

#include "pci.h"

/* Configuration space, PCI 2.1 section 6.1 */
#define COMMAND 0x04
#define COMMAND_IO 0x01u
#define BAR0 0x10
#define BAR_IO 0x01u

#define ID_RTL8029 0x802910ecu
#define PORTS_OTHERWISE 0xc000u

bool rtl8029_find(uint8_t irq_otherwise, struct rtl8029 *found)
{
    uint32_t device;
    if (!pci_find(ID_RTL8029, &device))
        return false;
    uint32_t ports = pci_read(device, BAR0) & 0xfffffffcu;
    if (ports == 0) {
        ports = PORTS_OTHERWISE;
        pci_write(device, BAR0, ports | BAR_IO);
    }
    pci_write(device, COMMAND, (pci_read(device, COMMAND) & 0xffff) | COMMAND_IO);
    *found = (struct rtl8029){ (uint8_t)device, pci_interrupt_line(device, irq_otherwise), (uint16_t)ports };
    return true;
}
