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
/* Is it compared with the row's token? Does it return the row, as what is stored may differ from
 * what was sent? */
bool pg_row_has_token(const struct pg_op *op);
bool pg_row_wants_row(const struct pg_op *op);
/* apply_row_result.c: marks refs done; appends refreshes. */
void pg_row_result(struct pg_batch *b, struct pg_op *op, const PGresult *res);
/* Does the op need its missing rows read? */
bool pg_row_missing(const struct pg_op *op);
/* Statement that reads the current rows of the refs not done, and its result as conflicts. PG_ROW:
 * a trigger keeps the row from being updated or deleted. */
void pg_row_read_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args);
enum pg_class pg_row_read_result(struct pg_batch *b, struct pg_op *op, const PGresult *res,
                                 struct pg_error *err);
/* The refs of an INSERT that were neither inserted nor found when read, as an operation of their
 * own (count 0: none); they are moved to the end of op's. The row that was in the way was deleted
 * before it was read, or something keeps the row out: to insert it once more tells which. */
struct pg_op pg_row_not_inserted(struct pg_op *op);
/* It was not inserted twice, with no row in the way: *err says so, as PG_ROW. */
enum pg_class pg_row_not_inserted_again(const struct pg_op *op, struct pg_error *err);

/* apply_settle.c: is there anything in forebay.dead_letter (column 0), anything open in
 * forebay.conflict_log (column 1) of the batch's namespaces? */
extern const char pg_settle_open_sql[];
void pg_settle_open_args(const struct pg_batch *b, const uint8_t cluster[16], struct pg_args *a);
/* Parked objects that have no letter, as numbers from 1 in the order of the batch. False: it has no
 * parked object. */
bool pg_letters_missing_statement(const struct pg_batch *b, const uint8_t cluster[16],
                                  struct fb_buf *sql, struct pg_args *args);
/* Its result as conflicts: feed and object. */
void pg_letters_missing_result(struct pg_batch *b, const PGresult *res);
/* Deletes the letters, closes the conflicts. False: the batch has no object that could. */
enum pg_settle { PG_SETTLE_LETTERS, PG_SETTLE_CONFLICTS, PG_SETTLE_COUNT };
bool pg_settle_statement(enum pg_settle what, const struct pg_batch *b, const uint8_t cluster[16],
                         struct fb_buf *sql, struct pg_args *args);

/* apply_order.c: parents before children, deletes the other way round. The ops of one namespace are
 * next to each other on entry. */
void pg_plan_order(struct pg_plan *plan);

/* apply_object.c */
void pg_object_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args);

/* apply.c: the arguments by which a statement names feeds: cluster, partitions, namespaces; behind
 * them their histories. `a` is emptied first. */
void pg_args_feeds(struct pg_args *a, const uint8_t cluster[16], const struct pg_feed *feeds,
                   uint32_t n);
void pg_args_histories(struct pg_args *a, const struct pg_feed *feeds, uint32_t n);

#endif
