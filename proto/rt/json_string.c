/* The one thing all hand-written JSON here shares. */
#include "proto/rt/admin.h"

void fb_json_string(struct fb_buf *out, const char *s)
{
    fb_buf_put_u8(out, '"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            fb_buf_put_u8(out, '\\');
        if ((unsigned char)*s < 0x20)
            fb_buf_printf(out, "\\u%04x", (unsigned)*s);
        else
            fb_buf_put_u8(out, (uint8_t)*s);
    }
    fb_buf_put_u8(out, '"');
}
