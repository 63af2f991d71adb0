/* Arguments of statements: scalars as text, arrays in binary. */
#include "sync/pg/args.h"

#include <stdlib.h>

static const struct {
    enum pg_type item;
    uint32_t array;
} pg_array_types[] = {
    {PG_TYPE_BOOL, 1000}, {PG_TYPE_BYTEA, 1001}, {PG_TYPE_INT4, 1007},
    {PG_TYPE_TEXT, 1009}, {PG_TYPE_XID, 1011},   {PG_TYPE_INT8, 1016},
};

/* PostgreSQL's binary formats are big-endian. */
static void put_be32(struct fb_buf *b, uint32_t v)
{
    uint8_t *p = fb_buf_grow(b, 4);
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static struct pg_arg *pg_args_add(struct pg_args *a, uint32_t type, bool binary)
{
    struct pg_arg *arg;
    if (a->count == a->cap) {
        a->cap = a->cap == 0 ? 16 : a->cap * 2;
        a->v = fb_xrealloc(a->v, a->cap * sizeof(*a->v));
    }
    arg = &a->v[a->count++];
    *arg = (struct pg_arg){.at = a->bytes.n, .type = type, .binary = binary};
    return arg;
}

void pg_args_reset(struct pg_args *a)
{
    fb_buf_clear(&a->bytes);
    a->count = 0;
}

void pg_args_fini(struct pg_args *a)
{
    fb_buf_fini(&a->bytes);
    free(a->v);
    *a = (struct pg_args){0};
}

void pg_args_text(struct pg_args *a, const char *text)
{
    struct pg_arg *arg = pg_args_add(a, PG_TYPE_TEXT, false);
    fb_buf_put(&a->bytes, text, strlen(text) + 1);
    arg->n = a->bytes.n - arg->at;
}

void pg_args_bytea(struct pg_args *a, struct fb_bytes v)
{
    struct pg_arg *arg = pg_args_add(a, PG_TYPE_BYTEA, true);
    fb_buf_put_bytes(&a->bytes, v);
    fb_buf_put_u8(&a->bytes,
                  0); /* a pointer to send even where v is empty at the end of the buffer */
    arg->n = v.n;
}

void pg_args_i64(struct pg_args *a, int64_t v)
{
    struct pg_arg *arg = pg_args_add(a, PG_TYPE_INT8, true);
    put_be32(&a->bytes, (uint32_t)((uint64_t)v >> 32));
    put_be32(&a->bytes, (uint32_t)(uint64_t)v);
    arg->n = 8;
}

void pg_args_array(struct pg_args *a, enum pg_type item, uint32_t count)
{
    uint32_t type = 0;
    fb_assert(count > 0);
    for (size_t i = 0; i < FB_COUNT_OF(pg_array_types); i++)
        if (pg_array_types[i].item == item)
            type = pg_array_types[i].array;
    fb_assert(type != 0);
    (void)pg_args_add(a, type, true);
    put_be32(&a->bytes, 1); /* dimensions */
    put_be32(&a->bytes, 1); /* may hold nulls */
    put_be32(&a->bytes, item);
    put_be32(&a->bytes, count);
    put_be32(&a->bytes, 1); /* lower bound */
}

void pg_item(struct pg_args *a, struct fb_bytes v)
{
    fb_assert(v.n <= INT32_MAX);
    put_be32(&a->bytes, (uint32_t)v.n);
    fb_buf_put_bytes(&a->bytes, v);
}

void pg_item_null(struct pg_args *a)
{
    put_be32(&a->bytes, UINT32_MAX);
}

void pg_item_i64(struct pg_args *a, int64_t v)
{
    put_be32(&a->bytes, 8);
    put_be32(&a->bytes, (uint32_t)((uint64_t)v >> 32));
    put_be32(&a->bytes, (uint32_t)(uint64_t)v);
}

void pg_item_u32(struct pg_args *a, uint32_t v)
{
    put_be32(&a->bytes, 4);
    put_be32(&a->bytes, v);
}

void pg_item_bool(struct pg_args *a, bool v)
{
    put_be32(&a->bytes, 1);
    fb_buf_put_u8(&a->bytes, v);
}

void pg_args_end(struct pg_args *a)
{
    struct pg_arg *arg = &a->v[a->count - 1];
    arg->n = a->bytes.n - arg->at;
}
