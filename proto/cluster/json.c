/* Strict fields over jansson. */
#include "proto/cluster/json.h"

#include "proto/base/utf8.h"

#include <jansson.h>

#include <stdlib.h>

/* A parser that gets no memory says that the text is malformed, at some place or other: "restore it
 * from a backup" would be told of a store that is fine. So jansson's memory is ours, and ends the
 * process when there is none (proto/base/README.md); what it parses is bounded. Before main, since
 * every program that links this file parses. */
__attribute__((constructor)) void fb_json_memory(void)
{
    json_set_alloc_funcs(fb_xmalloc, free);
}

enum fb_status fb_json_parse_object(struct fb_bytes in, size_t max, json_t **out,
                                    struct fb_err *err)
{
    json_error_t e;
    *out = NULL;
    if (in.n > max)
        return fb_err_set(err, FB_EPROTO, "%zu bytes are more than the %zu allowed", in.n, max);
    *out = json_loadb(in.p ? (const char *)in.p : "", in.n, JSON_REJECT_DUPLICATES, &e);
    if (*out == NULL)
        return fb_err_set(err, FB_EPROTO, "not JSON: %s at byte %d", e.text, e.position);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return fb_err_set(err, FB_EPROTO, "not a JSON object");
    }
    return FB_OK;
}

static enum fb_status field_of(const json_t *obj, const char *field, json_t **out,
                               struct fb_err *err)
{
    *out = json_object_get(obj, field);
    return *out ? FB_OK : fb_err_set(err, FB_EPROTO, "field \"%s\" is missing", field);
}

enum fb_status fb_json_text(const json_t *obj, const char *field, size_t max, char *out,
                            struct fb_err *err)
{
    json_t *v;
    size_t n;
    enum fb_status st = field_of(obj, field, &v, err);
    if (st != FB_OK)
        return st;
    if (!json_is_string(v))
        return fb_err_set(err, FB_EPROTO, "field \"%s\" is not a string", field);
    n = json_string_length(v);
    if (n > max)
        return fb_err_set(err, FB_EPROTO, "field \"%s\" has %zu bytes, at most %zu are allowed",
                          field, n, max);
    memcpy(out, json_string_value(v), n);
    out[n] = '\0';
    return FB_OK;
}

enum fb_status fb_json_int(const json_t *obj, const char *field, int64_t min, int64_t max,
                           int64_t *out, struct fb_err *err)
{
    json_t *v;
    enum fb_status st = field_of(obj, field, &v, err);
    if (st != FB_OK)
        return st;
    if (!json_is_integer(v))
        return fb_err_set(err, FB_EPROTO, "field \"%s\" is not a whole number", field);
    *out = json_integer_value(v);
    if (*out < min || *out > max)
        return fb_err_set(err, FB_EPROTO, "field \"%s\" is out of range: %lld", field,
                          (long long)*out);
    return FB_OK;
}

enum fb_status fb_json_uint(const json_t *obj, const char *field, uint64_t max, uint64_t *out,
                            struct fb_err *err)
{
    int64_t v = 0;
    enum fb_status st =
        fb_json_int(obj, field, 0, max > INT64_MAX ? INT64_MAX : (int64_t)max, &v, err);
    *out = (uint64_t)v;
    return st;
}

enum fb_status fb_json_bool(const json_t *obj, const char *field, bool *out, struct fb_err *err)
{
    json_t *v;
    enum fb_status st = field_of(obj, field, &v, err);
    if (st != FB_OK)
        return st;
    if (!json_is_boolean(v))
        return fb_err_set(err, FB_EPROTO, "field \"%s\" is neither true nor false", field);
    *out = json_is_true(v);
    return FB_OK;
}

enum fb_status fb_json_hex64(const json_t *obj, const char *field, uint64_t *out,
                             struct fb_err *err)
{
    char text[17];
    uint64_t v = 0;
    enum fb_status st = fb_json_text(obj, field, 16, text, err);
    if (st != FB_OK)
        return st;
    if (strlen(text) != 16)
        return fb_err_set(err, FB_EPROTO, "field \"%s\" is not 16 hexadecimal digits", field);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c >= '0' && *c <= '9')
            v = v << 4 | (uint64_t)(*c - '0');
        else if (*c >= 'a' && *c <= 'f')
            v = v << 4 | (uint64_t)(*c - 'a' + 10);
        else
            return fb_err_set(err, FB_EPROTO, "field \"%s\" is not 16 hexadecimal digits", field);
    }
    *out = v;
    return FB_OK;
}

enum fb_status fb_json_array(const json_t *obj, const char *field, size_t max, json_t **out,
                             struct fb_err *err)
{
    enum fb_status st = field_of(obj, field, out, err);
    if (st != FB_OK)
        return st;
    if (!json_is_array(*out))
        return fb_err_set(err, FB_EPROTO, "field \"%s\" is not a list", field);
    if (json_array_size(*out) > max)
        return fb_err_set(err, FB_EPROTO, "field \"%s\" has %zu items, at most %zu are allowed",
                          field, json_array_size(*out), max);
    return FB_OK;
}

void fb_json_put_text(struct fb_buf *out, const char *s)
{
    size_t n = strlen(s);
    fb_buf_put_u8(out, '"');
    for (size_t i = 0; i < n;) {
        size_t c = fb_utf8_char((const uint8_t *)s + i, n - i);
        if (c == 0) {
            fb_buf_put_u8(out, '?');
            c = 1;
        } else if (c > 1) {
            fb_buf_put(out, s + i, c);
        } else if (s[i] == '"' || s[i] == '\\') {
            fb_buf_put_u8(out, '\\');
            fb_buf_put_u8(out, (uint8_t)s[i]);
        } else if ((uint8_t)s[i] < 0x20 || s[i] == 0x7f) {
            fb_buf_printf(out, "\\u%04x", (unsigned)(uint8_t)s[i]);
        } else {
            fb_buf_put_u8(out, (uint8_t)s[i]);
        }
        i += c;
    }
    fb_buf_put_u8(out, '"');
}
