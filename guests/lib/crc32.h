/* CRC-32 (IEEE 802.3, reflected polynomial EDB88320h), four bytes a step by four tables of 256 entries. */
#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Fills the tables; call once before crc32. */
void crc32_prepare(void);

/* The CRC of `count` bytes that follow bytes whose CRC is `crc` (0 for none). */
uint32_t crc32(uint32_t crc, const void *bytes, size_t count);

#endif
