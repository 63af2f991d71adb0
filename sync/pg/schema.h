/* Inside sync/pg: a table with what `db check` says about it besides its columns. */
#ifndef FB_SYNC_PG_SCHEMA_H_
#define FB_SYNC_PG_SCHEMA_H_

#include "sync/pg/internal.h"

struct pg_table_facts {
    uint32_t oid; /* 0: no such table */
    bool row_security;
    bool triggers; /* made by users */
};

enum pg_class pg_read_table(struct pg *pg, const struct fb_namespace *ns, struct fb_schema **out,
                            struct pg_table_facts *facts, struct pg_error *err);

#endif
