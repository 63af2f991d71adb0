/* See rows_util.h. */
#include "tests/unit/pg/rows_util.h"

#include <stdio.h>
#include <stdlib.h>

struct fb_namespace rows_mapping(const char *name, const char *table, const char *key)
{
    struct fb_namespace ns = {.mapped = true,
                              .value = FB_VALUE_ROW,
                              .external = FB_EXTERNAL_DETECT,
                              .on_delete = FB_ON_DELETE_DELETE};
    snprintf(ns.name, sizeof(ns.name), "%s", name);
    snprintf(ns.table_schema, sizeof(ns.table_schema), "app");
    snprintf(ns.table_name, sizeof(ns.table_name), "%s", table);
    snprintf(ns.key, sizeof(ns.key), "%s", key);
    return ns;
}

struct fb_schema *rows_schema(struct fixture *f, const struct fb_namespace *ns)
{
    struct fb_schema *s;
    struct pg_error err;
    if (pg_read_schema(f->pg, ns, &s, &err) != PG_OK)
        fail_msg("%s %s", err.sqlstate, err.message);
    return s;
}

struct fb_schema *rows_usable(struct fixture *f, const struct fb_namespace *ns)
{
    struct fb_schema *s = rows_schema(f, ns);
    assert_string_equal(s->problem, "");
    return s;
}

uint64_t rows_bit(const struct fb_schema *s, const char *name)
{
    const struct fb_column *c = fb_schema_column(s, fb_bytes_str(name));
    assert_non_null(c);
    return fb_column_bit(c);
}

void rows_put(struct fb_buf *h, const char *name, const char *value)
{
    fb_hash_put(h, fb_bytes_str(name), fb_bytes_str(value));
}

const char *rows_field(struct fb_bytes hash, const char *name)
{
    static char text[8][512];
    static unsigned at;
    struct fb_bytes v;
    char *out = text[at++ % 8];
    if (!fb_hash_get(hash, fb_bytes_str(name), &v))
        return "(null)";
    snprintf(out, 512, "%.*s", (int)v.n, (const char *)v.p);
    return out;
}

/* Checkpoints only grow: one counter for the whole program. */
enum pg_class rows_apply(struct fixture *f, struct pg_batch *b, const struct fb_namespace *ns,
                         const struct fb_schema *s, const struct fb_feed_object *o, size_t n,
                         struct pg_error *err)
{
    char sql[128];
    uint64_t prev;
    struct pg_feed *feed = malloc(sizeof(*feed));
    enum pg_class c;
    assert_non_null(feed);
    snprintf(sql, sizeof(sql), "select ver from forebay.checkpoint where ns = '%s'", ns->name);
    prev = strtoull(fixture_text(f, sql), NULL, 10);
    *feed = fixture_feed(ns, s, prev, prev + 1, o, n);
    c = fixture_apply(f, b, feed, err);
    free(feed);
    return c;
}

void rows_must(enum pg_class c, const struct pg_error *err)
{
    if (c != PG_OK)
        fail_msg("class %d %s %s", (int)c, err->sqlstate, err->message);
}

int rows_start(void **state)
{
    int rc = fixture_start(state);
    fixture_sql(*state, "create schema app");
    return rc;
}
