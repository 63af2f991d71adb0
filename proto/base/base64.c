/* Base64, strict: one text for the same bytes. */
#include "proto/base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void fb_base64_put(struct fb_buf *out, struct fb_bytes in)
{
    for (size_t i = 0; i < in.n; i += 3) {
        size_t left = in.n - i;
        uint32_t v = (uint32_t)in.p[i] << 16 | (left > 1 ? (uint32_t)in.p[i + 1] << 8 : 0) |
                     (left > 2 ? (uint32_t)in.p[i + 2] : 0);
        fb_buf_put_u8(out, (uint8_t)digits[v >> 18]);
        fb_buf_put_u8(out, (uint8_t)digits[v >> 12 & 63]);
        fb_buf_put_u8(out, (uint8_t)(left > 1 ? digits[v >> 6 & 63] : '='));
        fb_buf_put_u8(out, (uint8_t)(left > 2 ? digits[v & 63] : '='));
    }
}

static bool digit(uint8_t c, uint32_t *v)
{
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    if (at == NULL)
        return false;
    *v = *v << 6 | (uint32_t)(at - digits);
    return true;
}

bool fb_base64_take(struct fb_buf *out, struct fb_bytes text)
{
    if (text.n % 4 != 0)
        return false;
    for (size_t i = 0; i < text.n; i += 4) {
        const uint8_t *p = text.p + i;
        bool last = i + 4 == text.n;
        unsigned pad = last && p[3] == '=' ? (p[2] == '=' ? 2 : 1) : 0;
        uint32_t v = 0;
        for (unsigned d = 0; d < 4 - pad; d++)
            if (!digit(p[d], &v))
                return false;
        v <<= 6 * pad;
        if ((v & (pad == 2 ? 0xffffu : pad == 1 ? 0xffu : 0)) != 0)
            return false;
        fb_buf_put_u8(out, (uint8_t)(v >> 16));
        if (pad < 2)
            fb_buf_put_u8(out, (uint8_t)(v >> 8));
        if (pad < 1)
            fb_buf_put_u8(out, (uint8_t)v);
    }
    return true;
}
