/* Which NE2000 a program drives: the one that the options io= and irq= name, else a RTL8029 on PCI, else the ISA card as delivered. */
#ifndef CARD_H
#define CARD_H

#include <stdbool.h>
#include <stdint.h>

#include "nic.h"

struct card {
    bool is_pci;
    uint8_t slot, irq;
    uint16_t io;
    uint8_t address[ADDRESS_BYTES];
};

/* Finds it, by nic_find at last; NULL, or what is wrong. */
const char *card_find(struct card *found);

#endif
