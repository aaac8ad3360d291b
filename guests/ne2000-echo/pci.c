#include "pci.h"

#include "../lib/x86.h"
#include "interrupts.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u
#define DEVICES 32

/* Configuration space, PCI 2.1 section 6.1 */
#define ID 0x00
#define COMMAND 0x04
#define COMMAND_IO 0x01u
#define BAR0 0x10
#define BAR_IO 0x01u
#define INTERRUPT 0x3c /* line, pin */

#define ID_RTL8029 0x802910ecu
#define ID_PIIX3 0x70008086u
#define PIIX3_ROUTES 0x60 /* PIRQRC A to D; bit 7 off means routed (82371SB data sheet, 2.5.7) */
#define PORTS_OTHERWISE 0xc000u

static uint32_t config_read(uint32_t device, uint32_t offset)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | device << 11 | offset);
    return inl(CONFIG_DATA);
}

static void config_write(uint32_t device, uint32_t offset, uint32_t value)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | device << 11 | offset);
    outl(CONFIG_DATA, value);
}

static bool find(uint32_t id, uint32_t *device)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE);
    if (inl(CONFIG_ADDRESS) != CONFIG_ENABLE)
        return false;
    for (*device = 0; *device < DEVICES; ++*device)
        if (config_read(*device, ID) == id)
            return true;
    return false;
}

/* A device's pins are wired to the four routes in turn, each slot beginning one further; slot 1 begins with A (QEMU's i440FX board). */
static void route(uint32_t device, uint32_t pin, uint8_t irq)
{
    uint32_t bridge;
    if (!find(ID_PIIX3, &bridge))
        return;
    uint32_t shift = (device - 1 + pin - 1) % 4 * 8;
    config_write(bridge, PIIX3_ROUTES, (config_read(bridge, PIIX3_ROUTES) & ~(0xffu << shift)) | (uint32_t)irq << shift);
    interrupt_is_level(irq);
}

bool pci_find_rtl8029(uint8_t irq_otherwise, struct pci_card *found)
{
    uint32_t device;
    if (!find(ID_RTL8029, &device))
        return false;
    uint32_t ports = config_read(device, BAR0) & 0xfffffffcu;
    if (ports == 0) {
        ports = PORTS_OTHERWISE;
        config_write(device, BAR0, ports | BAR_IO);
    }
    config_write(device, COMMAND, (config_read(device, COMMAND) & 0xffff) | COMMAND_IO);
    uint32_t interrupt = config_read(device, INTERRUPT), irq = interrupt & 0xff;
    if (irq == 0 || irq >= IRQS) {
        irq = irq_otherwise;
        config_write(device, INTERRUPT, (interrupt & ~0xffu) | irq);
        route(device, interrupt >> 8 & 0xff, (uint8_t)irq);
    }
    *found = (struct pci_card){ (uint8_t)device, (uint8_t)irq, (uint16_t)ports };
    return true;
}
