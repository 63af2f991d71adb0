/* The mapped tables of the model of PostgreSQL. */
#ifndef FB_TESTS_SIM_PG_ROWS_H_
#define FB_TESTS_SIM_PG_ROWS_H_

#include "tests/sim/pg_impl.h"

struct pg_column {
    const char *name;
    const char *default_text;
    bool key, not_null, generated, integer;
};
uint32_t pg_table_columns(enum pg_table t, const struct pg_column **out);

/* The locked row r gets a new version: of the columns in the mask (bit i: column i) the texts in
 * `values`, null where they are missing; the others as in `old`, or their defaults (NULL: it is an
 * insert). False: a constraint says no. */
bool pg_table_write(struct pg_session *s, struct pg_row *r, const struct pg_image *old,
                    uint64_t columns, struct fb_bytes values);
bool pg_table_delete(struct pg_session *s, struct pg_row *r);
/* The row as an object's value: enum fb_kind, NONE when the column is null. */
uint8_t pg_table_take(const struct pg_image *i, const struct fb_namespace *ns, struct fb_buf *out);

#endif
