/* Lines of `forebayctl deadletter export` (letter_line.h). */
#include "tools/ctl/letter_line.h"

#include "proto/base/bounds.h"
#include "proto/wire/value.h"

#include <jansson.h>

static int hex_digit(char h)
{
    return h >= '0' && h <= '9' ? h - '0' : h >= 'a' && h <= 'f' ? h - 'a' + 10 : -1;
}

static bool put_hex(struct fb_buf *out, const char *hex)
{
    for (; hex[0] != '\0'; hex += 2) {
        int hi = hex_digit(hex[0]), lo = hex[1] ? hex_digit(hex[1]) : -1;
        if (hi < 0 || lo < 0)
            return false;
        fb_buf_put_u8(out, (uint8_t)(hi << 4 | lo));
    }
    return true;
}

static void add_arg(struct letter_line *l, struct fb_bytes b)
{
    fb_list_put(&l->args, fb_bytes(b.p != NULL ? b.p : (const uint8_t *)"", b.n));
    l->nargs++;
}

/* {"hex": "..."}: the bytes as they are stored. */
static bool take_stored(struct letter_line *l, const char *hex)
{
    struct fb_buf raw = {0};
    struct fb_bytes rest;
    struct fb_field f;
    bool ok = put_hex(&raw, hex) && (l->kind == FB_KIND_STRING || fb_hash_valid(fb_buf_view(&raw)));

    rest = fb_buf_view(&raw);
    if (ok && l->kind == FB_KIND_STRING)
        add_arg(l, rest);
    while (ok && l->kind == FB_KIND_HASH && fb_hash_next(&rest, &f)) {
        add_arg(l, f.name);
        add_arg(l, f.value);
    }
    fb_buf_fini(&raw);
    return ok;
}

static bool take_fields(struct letter_line *l, json_t *value)
{
    const char *name;
    json_t *item;

    json_object_foreach(value, name, item)
    {
        if (!json_is_string(item))
            return false;
        add_arg(l, fb_bytes_str(name));
        add_arg(l, fb_bytes(json_string_value(item), json_string_length(item)));
    }
    return true;
}

static bool take_value(struct letter_line *l, json_t *value)
{
    const char *hex = json_string_value(json_object_get(value, "hex"));
    bool ok = false;

    if (hex != NULL && json_object_size(value) == 1)
        ok = take_stored(l, hex);
    else if (l->kind == FB_KIND_HASH && json_is_object(value))
        ok = take_fields(l, value);
    else if (l->kind == FB_KIND_STRING && json_is_string(value)) {
        add_arg(l, fb_bytes(json_string_value(value), json_string_length(value)));
        ok = true;
    }
    return ok && l->nargs > 0;
}

static bool take_kind(struct letter_line *l, const char *kind)
{
    static const char *const kinds[] = {
        [FB_KIND_NONE] = "none", [FB_KIND_STRING] = "string", [FB_KIND_HASH] = "hash"};
    for (size_t i = 0; kind != NULL && i < FB_COUNT_OF(kinds); i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            l->kind = (uint8_t)i;
            return true;
        }
    }
    return false;
}

static enum fb_status take_letter(struct letter_line *l, json_t *o, struct fb_err *err)
{
    json_t *key = json_object_get(o, "key"), *expires = json_object_get(o, "expires_ms");

    if (!json_is_string(key))
        return fb_err_set(err, FB_EINVAL, "it has no \"key\"");
    if (json_string_length(key) == 0 || json_string_length(key) > FB_KEY_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL, "a key has 1 to %u bytes", FB_KEY_BYTES_MAX);
    if (json_is_true(json_object_get(o, "id_lossy")))
        return fb_err_set(err, FB_EINVAL,
                          "its id is not text, so the \"key\" here is another one; write it with a "
                          "client");
    fb_buf_put_bytes(&l->key, fb_bytes(json_string_value(key), json_string_length(key)));
    if (expires != NULL && (!json_is_integer(expires) || json_integer_value(expires) < 0))
        return fb_err_set(err, FB_EINVAL, "\"expires_ms\" is no time");
    l->expires_ms = json_integer_value(expires);
    if (!take_kind(l, json_string_value(json_object_get(o, "kind"))))
        return fb_err_set(err, FB_EINVAL, "\"kind\" is not none, string or hash");
    if (l->kind != FB_KIND_NONE && !take_value(l, json_object_get(o, "value")))
        return fb_err_set(err, FB_EINVAL, "its \"value\" is not one of an export");
    return FB_OK;
}

enum fb_status letter_line_read(struct fb_bytes line, struct letter_line *out, struct fb_err *err)
{
    json_error_t why;
    json_t *o = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, &why);
    enum fb_status s;

    *out = (struct letter_line){0};
    if (o == NULL)
        return fb_err_set(err, FB_EINVAL, "%s", why.text);
    s = take_letter(out, o, err);
    json_decref(o);
    return s;
}

void letter_line_fini(struct letter_line *l)
{
    fb_buf_fini(&l->key);
    fb_buf_fini(&l->args);
}
