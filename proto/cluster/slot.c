/* CRC16/XMODEM by table, and the hash-tag rule. */
#include "proto/cluster/slot.h"

static uint16_t crc_step(uint16_t crc, uint8_t byte)
{
    /* two nibbles with a 16-entry table: small and quick enough for keys */
    static const uint16_t nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5,
                                        0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b,
                                        0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    crc = (uint16_t)((crc << 4) ^ nibble[(crc >> 12) ^ (byte >> 4)]);
    return (uint16_t)((crc << 4) ^ nibble[(crc >> 12) ^ (byte & 15)]);
}

uint16_t fb_key_slot(struct fb_bytes key)
{
    const uint8_t *open = key.n ? memchr(key.p, '{', key.n) : NULL;
    uint16_t crc = 0;
    if (open != NULL) {
        const uint8_t *from = open + 1;
        const uint8_t *close = memchr(from, '}', key.n - (size_t)(from - key.p));
        if (close != NULL && close > from)
            key = fb_bytes(from, (size_t)(close - from));
    }
    for (size_t i = 0; i < key.n; i++)
        crc = crc_step(crc, key.p[i]);
    return crc & 16383;
}
