/* Shared by the files of the translator: one context, and helpers that add operations or refuse. */
#ifndef FB_ROUTER_RESP_TRANSLATE_PRIV_H_
#define FB_ROUTER_RESP_TRANSLATE_PRIV_H_

#include "router/resp/translate.h"

struct tr {
    struct resp_plan *plan;
    struct resp_arena *arena;
    struct fb_buf *out;
    const struct fb_bytes *argv;
    uint32_t argc;
    int64_t now_ms;
};

/* What a unit of time in an argument means. */
enum tr_time { TR_SECONDS = 1, TR_MS = 2, TR_RELATIVE = 4 };

/* One group of commands each. False: not a command of this group. */
bool tr_string(struct tr *t, enum resp_cmd id);
bool tr_hash(struct tr *t, enum resp_cmd id);
bool tr_key(struct tr *t, enum resp_cmd id);

/* Refuse: the reply is written, the plan becomes an error. Constant text, without '-'. */
void tr_refuse(struct tr *t, const char *text);
void tr_refuse_arity(struct tr *t);
void tr_refuse_expire(struct tr *t);
void tr_refuse_syntax(struct tr *t);

bool tr_word(struct fb_bytes arg, const char *upper); /* equal, whatever the case */
/* Each of these refuses and returns false when the argument is not what it must be. */
bool tr_i64(struct tr *t, struct fb_bytes arg, int64_t *out);
/* `infinite`: the text that refuses "inf". */
bool tr_float(struct tr *t, struct fb_bytes arg, const char *infinite);
bool tr_value_fits(struct tr *t, struct fb_bytes value);
bool tr_field_fits(struct tr *t, struct fb_bytes field);
/* Time of expiry in ms; must lie after 0, as SET and GETEX ask. `units`: enum tr_time bits. */
bool tr_expiry(struct tr *t, struct fb_bytes arg, unsigned units, int64_t *at_ms);
/* COUNT and MATCH (and TYPE where `type` is given) of the SCAN family, from argv[from]. */
bool tr_scan_options(struct tr *t, uint32_t from, int64_t *count, struct fb_bytes *match,
                     struct fb_bytes *type);
bool tr_scan_cursor(struct tr *t, struct fb_bytes arg, uint64_t *out);

/* Room in the arena for `n` operations whose arguments are argv[from..]; before the first tr_op.
 * Refuses too many. */
bool tr_ops_reserve(struct tr *t, uint32_t n, uint32_t from);
/* Add an operation on `key`; NULL when the key was refused. */
struct fb_req *tr_op(struct tr *t, enum fb_op op, struct fb_bytes key);
/* Add one argument to the operation added last; room was reserved. */
void tr_arg(struct tr *t, struct fb_req *r, struct fb_bytes arg);
/* After a refusal of an argument that Redis judges only when it has found the key: the plan goes to
 * the node all the same, and the refusal (in `out` from `mark` on) waits. */
void tr_refuse_late(struct tr *t, size_t mark, enum resp_form form);
/* The plan of a command with one operation on argv[1] and no arguments; NULL when refused. */
struct fb_req *tr_single(struct tr *t, enum fb_op op, enum resp_form form);

#endif
