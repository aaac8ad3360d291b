#include "pci.h"

#include "interrupts.h"
#include "x86.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u
#define DEVICES 32

/* Configuration space, PCI 2.1 section 6.1 */
#define ID 0x00
#define INTERRUPT 0x3c /* line, pin */

#define ID_PIIX3 0x70008086u
#define PIIX3_ROUTES 0x60 /* PIRQRC A to D; bit 7 off means routed (82371SB data sheet, 2.5.7) */

uint32_t pci_read(uint32_t device, uint32_t offset)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | device << 11 | offset);
    return inl(CONFIG_DATA);
}

void pci_write(uint32_t device, uint32_t offset, uint32_t value)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | device << 11 | offset);
    outl(CONFIG_DATA, value);
}

bool pci_find(uint32_t id, uint32_t *device)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE);
    if (inl(CONFIG_ADDRESS) != CONFIG_ENABLE)
        return false;
    for (*device = 0; *device < DEVICES; ++*device)
        if (pci_read(*device, ID) == id)
            return true;
    return false;
}

/* A device's pins are wired to the four routes in turn, each slot beginning one further; slot 1 begins with A (QEMU's i440FX board). */
static void route(uint32_t device, uint32_t pin, uint8_t irq)
{
    uint32_t bridge;
    if (!pci_find(ID_PIIX3, &bridge))
        return;
    uint32_t shift = (device - 1 + pin - 1) % 4 * 8;
    pci_write(bridge, PIIX3_ROUTES, (pci_read(bridge, PIIX3_ROUTES) & ~(0xffu << shift)) | (uint32_t)irq << shift);
    interrupt_is_level(irq);
}

uint8_t pci_interrupt_line(uint32_t device, uint8_t irq_otherwise)
{
    uint32_t interrupt = pci_read(device, INTERRUPT), irq = interrupt & 0xff;
    if (irq == 0 || irq >= IRQS) {
        irq = irq_otherwise;
        pci_write(device, INTERRUPT, (interrupt & ~0xffu) | irq);
        route(device, interrupt >> 8 & 0xff, (uint8_t)irq);
    }
    return (uint8_t)irq;
}
