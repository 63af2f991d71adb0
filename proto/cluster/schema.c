/* A schema's memory and lookups; ids of mapped rows. */
#include "proto/cluster/schema.h"

#include "proto/base/hash.h"
#include "proto/cluster/namespace.h"
#include "proto/cluster/type_input.h"

#include <stdlib.h>

void fb_schema_free(struct fb_schema *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; s->columns != NULL && i < s->column_count; i++)
        free(s->columns[i].labels);
    free(s->columns);
    free(s->parents);
    free(s);
}

uint64_t fb_schema_mapping(const struct fb_namespace *ns)
{
    const char *const texts[] = {ns->table_schema, ns->table_name,     ns->key,
                                 ns->value_column, ns->expires_column, ns->delete_column};
    uint64_t h = (uint64_t)ns->value * 16 + (uint64_t)ns->on_delete;
    if (!ns->mapped)
        return 1;
    for (size_t i = 0; i < FB_COUNT_OF(texts); i++)
        h = fb_hash64(texts[i], strlen(texts[i]) + 1, h);
    return h > 1 ? h : 2;
}

bool fb_schema_is_of(const struct fb_schema *s, const struct fb_namespace *ns)
{
    return s->mapping == 0 || s->mapping == fb_schema_mapping(ns);
}

const struct fb_column *fb_schema_column(const struct fb_schema *s, struct fb_bytes name)
{
    for (uint32_t i = 0; i < s->column_count; i++)
        if (fb_bytes_is(name, s->columns[i].name))
            return &s->columns[i];
    return NULL;
}

static const struct fb_column *key_column(const struct fb_schema *s, uint32_t i)
{
    return &s->columns[s->key_columns[i]];
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Only '%' and '/' are escaped, in upper case: one spelling for each key. */
static enum fb_status unescape(struct fb_bytes in, struct fb_buf *out, struct fb_err *err)
{
    for (size_t i = 0; i < in.n; i++) {
        int high, low;
        uint8_t c = in.p[i];
        if (c == '%') {
            high = in.n - i > 2 ? hex_digit(in.p[i + 1]) : -1;
            low = in.n - i > 2 ? hex_digit(in.p[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : (uint8_t)(high << 4 | low);
            if (c != '%' && c != '/')
                return fb_err_set(
                    err, FB_EINVAL,
                    "in an id of several columns only %% and / are escaped, as %%25 and %%2F");
            i += 2;
        }
        fb_buf_put_u8(out, c);
    }
    return FB_OK;
}

static enum fb_status wrong_count(const struct fb_schema *s, size_t got, struct fb_err *err)
{
    char names[256];
    size_t n = 0;
    names[0] = '\0';
    for (uint32_t i = 0; i < s->key_count && n < sizeof(names); i++) {
        const char *name = key_column(s, i)->name;
        size_t len = strlen(name);
        if (n + len + 2 > sizeof(names))
            break;
        if (i > 0)
            names[n++] = '/';
        memcpy(names + n, name, len + 1);
        n += len;
    }
    return fb_err_set(err, FB_EINVAL, "the id has %zu parts and the key %u columns; write %s:%s",
                      got, s->key_count, s->ns, names);
}

enum fb_status fb_schema_split_id(const struct fb_schema *s, struct fb_bytes id,
                                  struct fb_buf *scratch, struct fb_bytes *parts)
{
    struct fb_bytes rest = id;
    uint32_t count = 0;

    if (s->key_count == 0)
        return FB_EINVAL;
    /* unescaping never makes longer: with the room reserved here views stay where they are */
    (void)fb_buf_reserve(scratch, id.n + 1);
    if (s->key_count == 1) {
        parts[0] = fb_bytes(scratch->p + scratch->n, id.n);
        fb_buf_put_bytes(scratch, id);
        return FB_OK;
    }
    for (bool more = true; more;) {
        const uint8_t *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
        struct fb_bytes part = slash ? fb_bytes(rest.p, (size_t)(slash - rest.p)) : rest;
        size_t at = scratch->n;
        if (count == s->key_count || unescape(part, scratch, NULL) != FB_OK)
            return FB_EINVAL;
        parts[count++] = fb_bytes(scratch->p + at, scratch->n - at);
        more = slash != NULL;
        if (more)
            rest = fb_bytes(slash + 1, rest.n - part.n - 1);
    }
    return count == s->key_count ? FB_OK : FB_EINVAL;
}

static enum fb_status check_part(const struct fb_column *c, struct fb_bytes part,
                                 struct fb_err *err)
{
    enum fb_status st = fb_column_check(c, part, err);
    if (st != FB_OK)
        return st;
    switch (c->check) {
    case FB_TYPE_INT2:
    case FB_TYPE_INT4:
    case FB_TYPE_INT8:
        if (fb_canonical_int(part))
            return FB_OK;
        return fb_err_set(err, FB_EINVAL,
                          "id: column \"%s\" of type %s: write the integer without blanks, plus "
                          "sign or leading zeros",
                          c->name, c->type);
    case FB_TYPE_UUID:
        if (fb_canonical_uuid(part))
            return FB_OK;
        return fb_err_set(err, FB_EINVAL,
                          "id: column \"%s\" of type uuid: write it in lower case with dashes, "
                          "such as 0b1f2c3d-0000-4000-8000-000000000001",
                          c->name);
    case FB_TYPE_DATE:
        if (fb_canonical_date(part))
            return FB_OK;
        return fb_err_set(err, FB_EINVAL, "id: column \"%s\" of type date: write it as YYYY-MM-DD",
                          c->name);
    case FB_TYPE_TEXT:
    case FB_TYPE_VARCHAR:
    case FB_TYPE_ENUM:
        return FB_OK;
    default:
        return fb_err_set(
            err, FB_EINVAL,
            "id: column \"%s\" of type %s cannot be a key; smallint, integer, bigint, uuid, text, "
            "varchar, date and enums can",
            c->name, c->type);
    }
}

static size_t count_parts(const struct fb_schema *s, struct fb_bytes id)
{
    size_t n = 1;
    for (size_t i = 0; s->key_count > 1 && i < id.n; i++)
        n += id.p[i] == '/';
    return n;
}

enum fb_status fb_schema_check_id(const struct fb_schema *s, struct fb_bytes id, struct fb_err *err)
{
    struct fb_bytes rest = id;
    struct fb_buf scratch = {0};
    enum fb_status st = FB_OK;
    size_t parts = count_parts(s, id);

    if (s->key_count == 0)
        return fb_err_set(err, FB_EINVAL, "namespace %s cannot be served: %s", s->ns,
                          s->problem[0] ? s->problem : "no key is known");
    if (parts != s->key_count)
        return wrong_count(s, parts, err);
    if (s->key_count == 1)
        return check_part(key_column(s, 0), id, err);
    for (uint32_t i = 0; st == FB_OK && i < s->key_count; i++) {
        const uint8_t *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
        struct fb_bytes part = slash ? fb_bytes(rest.p, (size_t)(slash - rest.p)) : rest;
        fb_buf_clear(&scratch);
        st = unescape(part, &scratch, err);
        if (st == FB_OK)
            st = check_part(key_column(s, i), fb_buf_view(&scratch), err);
        if (slash != NULL)
            rest = fb_bytes(slash + 1, rest.n - part.n - 1);
    }
    fb_buf_fini(&scratch);
    return st;
}
