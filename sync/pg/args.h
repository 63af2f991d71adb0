/* Arguments of one statement. Arrays travel in PostgreSQL's binary format: nothing is escaped and
 * bytea is not doubled. */
#ifndef FB_SYNC_PG_ARGS_H_
#define FB_SYNC_PG_ARGS_H_

#include "proto/base/buf.h"

enum pg_type { /* oids fixed by PostgreSQL's catalog */
               PG_TYPE_BOOL = 16,
               PG_TYPE_BYTEA = 17,
               PG_TYPE_INT8 = 20,
               PG_TYPE_INT4 = 23,
               PG_TYPE_TEXT = 25,
               PG_TYPE_XID = 28,
};

struct pg_arg {
    size_t at, n;  /* in bytes */
    uint32_t type; /* oid of the argument, of the array for arrays */
    bool binary;
};

/* All-zero is empty; reset keeps the memory. */
struct pg_args {
    struct fb_buf bytes;
    struct pg_arg *v;
    uint32_t count, cap;
};

void pg_args_reset(struct pg_args *a);
void pg_args_fini(struct pg_args *a);
void pg_args_text(struct pg_args *a, const char *text);
void pg_args_bytea(struct pg_args *a, struct fb_bytes v);
void pg_args_i64(struct pg_args *a, int64_t v);
/* An array of exactly `count` items (at least one), which follow by pg_item calls, then
 * pg_args_end. */
void pg_args_array(struct pg_args *a, enum pg_type item, uint32_t count);
void pg_item(struct pg_args *a, struct fb_bytes v);
void pg_item_null(struct pg_args *a);
void pg_item_i64(struct pg_args *a, int64_t v);
void pg_item_u32(struct pg_args *a, uint32_t v);
void pg_item_bool(struct pg_args *a, bool v);
void pg_args_end(struct pg_args *a);

#endif
