/* forebay.objects: ids and hashes as SQL users read them, and back. */
#include "sync/pg/internal.h"

#include <jansson.h>
#include <stdlib.h>

bool pg_utf8_valid(struct fb_bytes v)
{
    size_t i = 0;
    while (i < v.n) {
        uint8_t c = v.p[i];
        size_t more;
        uint8_t low = 0x80, high = 0xbf; /* of the second byte: no overlong forms, no surrogates, at
                                            most U+10FFFF */
        if (c == 0)
            return false;
        if (c < 0x80) {
            i++;
            continue;
        }
        if (c < 0xc2 || c > 0xf4)
            return false;
        more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if (v.n - i <= more)
            return false;
        if (c == 0xe0)
            low = 0xa0;
        else if (c == 0xed)
            high = 0x9f;
        else if (c == 0xf0)
            low = 0x90;
        else if (c == 0xf4)
            high = 0x8f;
        if (v.p[i + 1] < low || v.p[i + 1] > high)
            return false;
        for (size_t k = 2; k <= more; k++)
            if ((v.p[i + k] & 0xc0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}

static void put_hex(struct fb_buf *b, struct fb_bytes v)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *p = fb_buf_grow(b, v.n * 2);
    for (size_t i = 0; i < v.n; i++) {
        p[2 * i] = (uint8_t)digits[v.p[i] >> 4];
        p[2 * i + 1] = (uint8_t)digits[v.p[i] & 15];
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool pg_take_hex(struct fb_buf *b, const char *text, size_t n)
{
    if (n < 2 || n % 2 != 0 || text[0] != '\\' || text[1] != 'x')
        return false;
    for (size_t i = 2; i < n; i += 2) {
        int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        fb_buf_put_u8(b, (uint8_t)(high << 4 | low));
    }
    return true;
}

void pg_put_id(struct fb_buf *b, struct fb_bytes id)
{
    bool escaped = id.n >= 2 && id.p[0] == '\\' && id.p[1] == 'x';
    if (!escaped && pg_utf8_valid(id)) {
        fb_buf_put_bytes(b, id);
        return;
    }
    fb_buf_put_str(b, "\\x");
    put_hex(b, id);
}

bool pg_take_id(struct fb_buf *b, const char *text)
{
    size_t n = strlen(text);
    if (n >= 2 && text[0] == '\\' && text[1] == 'x')
        return pg_take_hex(b, text, n);
    fb_buf_put(b, text, n);
    return true;
}

bool pg_hash_is_text(struct fb_bytes hash)
{
    struct fb_field f;
    while (fb_hash_next(&hash, &f))
        if (!pg_utf8_valid(f.name) || !pg_utf8_valid(f.value))
            return false;
    return true;
}

void pg_put_json_string(struct fb_buf *b, struct fb_bytes v)
{
    size_t from = 0;
    fb_buf_put_u8(b, '"');
    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];
        if (c != '"' && c != '\\' && c >= 0x20)
            continue;
        fb_buf_put(b, v.p + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\') {
            fb_buf_put_u8(b, '\\');
            fb_buf_put_u8(b, c);
        } else {
            fb_buf_put_str(b, "\\u00");
            put_hex(b, fb_bytes(&c, 1));
        }
    }
    fb_buf_put(b, v.p + from, v.n - from);
    fb_buf_put_u8(b, '"');
}

void pg_put_hash_json(struct fb_buf *b, struct fb_bytes hash)
{
    struct fb_field f;
    bool first = true;
    fb_buf_put_u8(b, '{');
    while (fb_hash_next(&hash, &f)) {
        if (!first)
            fb_buf_put_u8(b, ',');
        first = false;
        pg_put_json_string(b, f.name);
        fb_buf_put_u8(b, ':');
        pg_put_json_string(b, f.value);
    }
    fb_buf_put_u8(b, '}');
}

bool pg_take_hash_json(struct fb_buf *b, const char *text, size_t n)
{
    json_t *j = json_loadb(text, n, 0, NULL), *value;
    const char *name;
    bool ok = json_is_object(j);
    if (ok) {
        /* Ours are strings; what somebody put there by SQL is taken as its text, null as no field.
         */
        json_object_foreach(j, name, value)
        {
            char *dump = NULL;
            if (json_is_null(value))
                continue;
            if (strlen(name) > FB_FIELD_BYTES_MAX) {
                ok = false;
                break;
            }
            if (!json_is_string(value)) {
                dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
                fb_assert(dump != NULL); /* it was parsed, and memory ends the process */
            }
            fb_hash_put(b, fb_bytes_str(name),
                        dump != NULL
                            ? fb_bytes_str(dump)
                            : fb_bytes(json_string_value(value), json_string_length(value)));
            free(dump);
        }
    }
    json_decref(j);
    return ok;
}
