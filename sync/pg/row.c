/* Rows of mapped tables as texts: their columns, keys and values. */
#include "sync/pg/internal.h"

#include <stdlib.h>

const struct fb_column *pg_value_column(const struct fb_namespace *ns,
                                        const struct fb_schema *schema)
{
    return ns->value == FB_VALUE_COLUMN ? fb_schema_column(schema, fb_bytes_str(ns->value_column))
                                        : NULL;
}

void pg_put_columns(struct fb_buf *sql, const struct fb_namespace *ns,
                    const struct fb_schema *schema)
{
    for (uint32_t i = 0; i < schema->column_count; i++) {
        const struct fb_column *c = &schema->columns[i];
        if (ns->value == FB_VALUE_COLUMN && strcmp(c->name, ns->value_column) != 0)
            continue;
        fb_buf_put_str(sql, ", t.");
        pg_put_ident(sql, c->name);
        fb_buf_put_str(sql, "::text");
    }
}

uint8_t pg_take_row(struct fb_buf *out, const struct fb_namespace *ns,
                    const struct fb_schema *schema, const PGresult *res, int row, int at)
{
    if (ns->value == FB_VALUE_COLUMN) {
        const struct fb_column *c = pg_value_column(ns, schema);
        const char *text = PQgetvalue(res, row, at);
        size_t n = (size_t)PQgetlength(res, row, at);
        bool bytea = c != NULL && c->check == FB_TYPE_BYTEA;
        if (PQgetisnull(res, row, at))
            return FB_KIND_NONE;
        if (!bytea || !pg_take_hex(out, text, n))
            fb_buf_put(out, text, n);
        return FB_KIND_STRING;
    }
    for (uint32_t i = 0; i < schema->column_count; i++) {
        int col = at + (int)i;
        if (!PQgetisnull(res, row, col))
            fb_hash_put(out, fb_bytes_str(schema->columns[i].name),
                        fb_bytes(PQgetvalue(res, row, col), (size_t)PQgetlength(res, row, col)));
    }
    return FB_KIND_HASH;
}

bool pg_args_keys(struct pg_args *a, const struct fb_schema *schema, const struct fb_bytes *ids,
                  size_t count, struct fb_err *err, size_t *bad)
{
    uint32_t keys = schema->key_count;
    struct fb_buf texts = {0}, scratch = {0};
    size_t *ends =
        fb_xcalloc(count * keys + 1, sizeof(*ends)); /* ends[k]: end of the k-th text in texts */
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        struct fb_bytes parts[16];
        fb_buf_clear(&scratch);
        if (fb_schema_split_id(schema, ids[i], &scratch, parts) != FB_OK) {
            fb_err_set(err, FB_EINVAL, "the key is not %u parts joined by '/'", keys);
            *bad = i;
            ok = false;
            break;
        }
        for (uint32_t k = 0; k < keys; k++) {
            fb_buf_put_bytes(&texts, parts[k]);
            ends[i * keys + k] = texts.n;
        }
    }
    for (uint32_t k = 0; k < keys && ok; k++) {
        pg_args_array(a, PG_TYPE_TEXT, (uint32_t)count);
        for (size_t i = 0; i < count; i++) {
            size_t at = i * keys + k, from = at == 0 ? 0 : ends[at - 1];
            pg_item(a, fb_bytes(texts.p + from, ends[at] - from));
        }
        pg_args_end(a);
    }
    fb_buf_fini(&texts);
    fb_buf_fini(&scratch);
    free(ends);
    return ok;
}

void pg_put_key_types(struct fb_buf *sql, const struct fb_schema *schema, const char *from)
{
    for (uint32_t k = 0; k < schema->key_count; k++) {
        fb_buf_printf(sql, ", %sk%u::", from, k);
        pg_put_cast_type(sql, &schema->columns[schema->key_columns[k]]);
        fb_buf_printf(sql, " as k%u", k);
    }
}

void pg_put_key_match(struct fb_buf *sql, const struct fb_schema *schema)
{
    for (uint32_t k = 0; k < schema->key_count; k++) {
        fb_buf_put_str(sql, k == 0 ? "t." : " and t.");
        pg_put_ident(sql, schema->columns[schema->key_columns[k]].name);
        fb_buf_printf(sql, " = u.k%u", k);
    }
}
