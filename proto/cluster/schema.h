/* What is known of a mapped table, as read from pg_catalog by a sync process and shared through the
 * coordinator
 * ("schema/<ns>"), so that nodes refuse what PostgreSQL would refuse before they acknowledge it
 * (PROTOCOL 11.1). Pure.
 */
#ifndef FB_PROTO_CLUSTER_SCHEMA_H_
#define FB_PROTO_CLUSTER_SCHEMA_H_

#include "proto/base/bounds.h"
#include "proto/base/buf.h"

/* How a value's text is checked; OTHER is left to PostgreSQL (which may then park the row). */
enum fb_type_check {
    FB_TYPE_OTHER,
    FB_TYPE_INT2,
    FB_TYPE_INT4,
    FB_TYPE_INT8,
    FB_TYPE_BOOL,
    FB_TYPE_UUID,
    FB_TYPE_NUMERIC,
    FB_TYPE_FLOAT,
    FB_TYPE_TEXT,
    FB_TYPE_VARCHAR,
    FB_TYPE_CHAR,
    FB_TYPE_JSON,
    FB_TYPE_JSONB,
    FB_TYPE_ENUM,
    FB_TYPE_BYTEA,
    FB_TYPE_DATE,
};

struct fb_column {
    char name[FB_NAME_BYTES_MAX + 1];
    char type[128]; /* format_type(oid, typmod), for messages and casts */
    uint16_t attnum;
    enum fb_type_check check;
    int32_t length; /* varchar(n), char(n) in characters; numeric precision; -1 = none */
    int32_t scale;  /* numeric; -1 = none */
    bool not_null;
    bool has_default;     /* or identity */
    bool generated;       /* GENERATED ALWAYS, stored or identity: cannot be written */
    bool is_key;          /* part of the mapped key */
    uint32_t label_count; /* enum */
    char (*labels)[FB_NAME_BYTES_MAX + 1];
};

struct fb_table_name {
    char schema[FB_NAME_BYTES_MAX + 1];
    char table[FB_NAME_BYTES_MAX + 1];
};

#define FB_SCHEMA_PARENTS_MAX 256u

struct fb_namespace;

struct fb_schema {
    char ns[FB_NAME_BYTES_MAX + 1];
    uint64_t mapping;    /* fb_schema_mapping of the namespace it was read for; 0 = not said */
    uint64_t config_rev; /* of the cluster file it was read for */
    char problem[512];   /* why the namespace cannot be served (table missing, ...); "" = usable */
    uint32_t column_count;
    struct fb_column *columns; /* by attnum */
    uint32_t key_count;
    uint16_t key_columns[16]; /* indexes into columns, in the order of the mapping's `key` */
    uint32_t parent_count;
    struct fb_table_name
        *parents; /* what its foreign keys refer to (it may be one of them), each once */
};

void fb_schema_free(struct fb_schema *s);
/* JSON text. Decode checks everything; a schema from a foreign hand must not be able to break a
 * node. */
void fb_schema_encode(struct fb_buf *out, const struct fb_schema *s);
FB_MUST_USE enum fb_status fb_schema_decode(struct fb_bytes in, struct fb_schema **out,
                                            struct fb_err *err);

/* Number of table, key and columns that a namespace names; never 0, and 1 = it has no table. What
 * was read or written for another one must not be used: config apply may have pointed the namespace
 * elsewhere since. */
uint64_t fb_schema_mapping(const struct fb_namespace *ns);
/* Was it read for the namespace as it is configured now? */
bool fb_schema_is_of(const struct fb_schema *s, const struct fb_namespace *ns);

/* Column by name, NULL if none. */
const struct fb_column *fb_schema_column(const struct fb_schema *s, struct fb_bytes name);
/* Bit of a column in masks of changed columns: attnum-1, everything from 64 on shares bit 63. */
static inline uint64_t fb_column_bit(const struct fb_column *c)
{
    return UINT64_C(1) << (c->attnum > 63 ? 63 : c->attnum - 1);
}
/* Would PostgreSQL accept this text for the column? Else FB_EINVAL with a message that names type,
 * column and reason, such as: invalid input for column "age" of type integer: "abc" is not an
 * integer */
FB_MUST_USE enum fb_status fb_column_check(const struct fb_column *c, struct fb_bytes text,
                                           struct fb_err *err);
/* Is `id` byte-equal to PostgreSQL's text of the key (int2/4/8, uuid, text, varchar, date;
 * composite parts percent-escaped and joined by '/')? Else FB_EINVAL with the cure. */
FB_MUST_USE enum fb_status fb_schema_check_id(const struct fb_schema *s, struct fb_bytes id,
                                              struct fb_err *err);
/* Split an id into the texts of its key columns (unescaped into `scratch`). count = s->key_count.
 */
FB_MUST_USE enum fb_status fb_schema_split_id(const struct fb_schema *s, struct fb_bytes id,
                                              struct fb_buf *scratch, struct fb_bytes *parts);

#endif
