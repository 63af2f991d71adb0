/* UTF-8 by the table of well-formed byte sequences (Unicode standard, table 3-7). */
#include "proto/base/utf8.h"

static bool tail(const uint8_t *p, size_t from, size_t n)
{
    for (size_t i = from; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

size_t fb_utf8_char(const uint8_t *p, size_t n)
{
    if (n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return n >= 2 && tail(p, 1, 2) ? 2 : 0;
    if (p[0] >= 0xe0 && p[0] <= 0xef) {
        uint8_t low = p[0] == 0xe0 ? 0xa0 : 0x80, high = p[0] == 0xed ? 0x9f : 0xbf;
        return n >= 3 && p[1] >= low && p[1] <= high && tail(p, 2, 3) ? 3 : 0;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        uint8_t low = p[0] == 0xf0 ? 0x90 : 0x80, high = p[0] == 0xf4 ? 0x8f : 0xbf;
        return n >= 4 && p[1] >= low && p[1] <= high && tail(p, 2, 4) ? 4 : 0;
    }
    return 0;
}

bool fb_utf8_valid(struct fb_bytes s, size_t *chars)
{
    size_t count = 0;
    for (size_t i = 0; i < s.n; count++) {
        size_t n = fb_utf8_char(s.p + i, s.n - i);
        if (n == 0)
            return false;
        i += n;
    }
    if (chars != NULL)
        *chars = count;
    return true;
}
