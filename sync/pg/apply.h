/* Inside sync/pg: the statements of one batch. */
#ifndef FB_SYNC_PG_APPLY_H_
#define FB_SYNC_PG_APPLY_H_

#include "sync/pg/internal.h"

#define PG_COLUMN_WORDS ((FB_COLUMNS_MAX + 63) / 64)

enum pg_op_kind { /* in the order they are sent within a namespace: what is freed (unique values)
                     before it is taken */
                  PG_OP_OBJECT_DELETE,
                  PG_OP_OBJECT_PUT,
                  PG_OP_ROW_DELETE,
                  PG_OP_ROW_NULL, /* on_delete = null:<column> */
                  PG_OP_ROW_UPDATE,
                  PG_OP_ROW_INSERT,
                  PG_OP_ROW_PUT, /* blind_writes */
};

struct pg_ref {
    uint32_t feed, object;
    const struct fb_feed_object *o;
    enum pg_op_kind kind;
    uint32_t set;   /* which set of columns, see pg_plan.sets */
    bool by_length; /* sorts shorter ids first: the order of numbers, hence of their index */
    bool done;      /* the statement reached the row */
};

struct pg_set {
    uint64_t bits[PG_COLUMN_WORDS]; /* by index in schema->columns */
};

/* One statement: refs[0..count) of one namespace, kind and set, sorted by id. */
struct pg_op {
    enum pg_op_kind kind;
    const struct pg_feed *feed; /* any feed of the namespace */
    struct pg_ref *refs;
    uint32_t count;
    const struct pg_set *set;
    uint32_t depth, number; /* pg_plan_order's: below its parents, place before it was moved */
    struct pg_statement *prepares;
};

struct pg_plan {
    struct pg_ref *refs;
    size_t ref_count;
    struct pg_set *sets;
    uint32_t set_count, set_cap;
    struct pg_op *ops;
    size_t op_count, op_cap;
};

/* apply_row.c: kind and set of columns of one object of a mapped namespace. *skip: nothing to do.
 * Errors: PG_ROW for what can never be written. */
enum pg_class pg_row_plan(struct pg_plan *plan, const struct pg_feed *f, struct pg_ref *r,
                          bool *skip, struct pg_error *err);
/* Text and arguments of the statement of an op. */
void pg_row_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args);
/* Marks refs done; appends refreshes. */
void pg_row_result(struct pg_batch *b, struct pg_op *op, const PGresult *res);
/* Does the op need its missing rows read? */
bool pg_row_missing(const struct pg_op *op);
/* Statement that reads the current rows of the refs not done, and its result as conflicts. PG_ROW:
 * a trigger keeps the row from being written. */
void pg_row_read_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args);
enum pg_class pg_row_read_result(struct pg_batch *b, struct pg_op *op, const PGresult *res,
                                 struct pg_error *err);

/* apply_order.c: parents before children, deletes the other way round. The ops of one namespace are
 * next to each other on entry. */
void pg_plan_order(struct pg_plan *plan);

/* apply_object.c */
void pg_object_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args);

#endif
