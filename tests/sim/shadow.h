/* What commands mean, told a second time and independently of node/core: one key's state before and
 * after a command, and the reply a client may get. The shadow history judges with it. Pure. */
#ifndef FB_TESTS_SIM_SHADOW_H_
#define FB_TESTS_SIM_SHADOW_H_

#include "proto/wire/value.h"

/* A reply as a client reads it: RESP2 or RESP3 alike. */
struct reply {
    char type; /* '+' '-' ':' '$' '*' '%' or 'N' for any null */
    int64_t num;
    struct fb_bytes text; /* owned: allocated with malloc; NULL for none */
    struct reply *items;  /* of a map: field, value, ... */
    size_t n;
};
void reply_fini(struct reply *r);
/* Takes one reply off the front of p[0..n): bytes used, 0 = more are needed, SIZE_MAX = not RESP.
 */
size_t reply_parse(const uint8_t *p, size_t n, struct reply *out);
/* For people, cut short. */
void reply_text(const struct reply *r, struct fb_buf *out);

/* One version of a key. The bytes are owned. */
struct shadow {
    uint8_t kind;       /* enum fb_kind */
    int64_t expires_ms; /* 0 = never */
    struct fb_buf value;
};
#define SHADOW_SOME_TIME INT64_C(-1) /* an expiry that is not known exactly */
void shadow_fini(struct shadow *s);
void shadow_copy(struct shadow *to, const struct shadow *from);
/* Fields in any order; SHADOW_SOME_TIME equals every expiry. */
bool shadow_equal(const struct shadow *a, const struct shadow *b);
void shadow_text(const struct shadow *s, struct fb_buf *out);

/* X(name, word, writes) */
#define SHADOW_OP_LIST(X)                                                                          \
    X(SHADOW_GET, "GET", false)                                                                    \
    X(SHADOW_STRLEN, "STRLEN", false)                                                              \
    X(SHADOW_EXISTS, "EXISTS", false)                                                              \
    X(SHADOW_TYPE, "TYPE", false)                                                                  \
    X(SHADOW_PEXPIRETIME, "PEXPIRETIME", false)                                                    \
    X(SHADOW_FBGET, "FB.GET", false)                                                               \
    X(SHADOW_HGET, "HGET", false)                                                                  \
    X(SHADOW_HGETALL, "HGETALL", false)                                                            \
    X(SHADOW_HLEN, "HLEN", false)                                                                  \
    X(SHADOW_EVICT, "FB.EVICT", false)                                                             \
    X(SHADOW_SYNC, "FB.SYNC", false)                                                               \
    X(SHADOW_SET, "SET", true)                                                                     \
    X(SHADOW_SETIF, "FB.SETIF", true)                                                              \
    X(SHADOW_GETDEL, "GETDEL", true)                                                               \
    X(SHADOW_APPEND, "APPEND", true)                                                               \
    X(SHADOW_INCRBY, "INCRBY", true)                                                               \
    X(SHADOW_HSET, "HSET", true)                                                                   \
    X(SHADOW_HDEL, "HDEL", true)                                                                   \
    X(SHADOW_HINCRBY, "HINCRBY", true)                                                             \
    X(SHADOW_DEL, "DEL", true)                                                                     \
    X(SHADOW_PEXPIREAT, "PEXPIREAT", true)                                                         \
    X(SHADOW_PERSIST, "PERSIST", true)

enum shadow_op {
#define X(name, word, writes) name,
    SHADOW_OP_LIST(X)
#undef X
        SHADOW_OPS
};
const char *shadow_op_word(enum shadow_op op);
bool shadow_op_writes(enum shadow_op op);

enum shadow_flag {
    SHADOW_NX = 1 << 0,
    SHADOW_XX = 1 << 1,
    SHADOW_GIVE_OLD = 1 << 2, /* SET ... GET */
    SHADOW_KEEPTTL = 1 << 3,
    SHADOW_PX = 1 << 4,     /* b: ms from now by the router's clock */
    SHADOW_PXAT = 1 << 5,   /* b: absolute ms */
    SHADOW_FUTURE = 1 << 7, /* whatever clock it is compared with, b has not passed */
    SHADOW_ONE_OF = 1 << 6, /* GET as a part of MGET: a wrong type is nil */
    SHADOW_AGAIN = 1 << 8,  /* sent more than once: each of them may take effect */
};

#define SHADOW_TEXT_MAX 48u
struct shadow_cmd {
    enum shadow_op op;
    uint16_t flags;
    char key[SHADOW_TEXT_MAX];
    char field[SHADOW_TEXT_MAX]; /* HSET, HGET, HDEL, HINCRBY */
    struct fb_buf value;         /* owned: SET, SETIF, APPEND, HSET */
    int64_t a;                   /* INCRBY, HINCRBY: by; SETIF: the version expected */
    uint64_t value_max;          /* of the key's namespace, 0 = none below the client's sizes */
    int64_t b;                   /* ms: see flags; PEXPIREAT: absolute; SYNC: how long */
};
void shadow_cmd_fini(struct shadow_cmd *c);
void shadow_cmd_copy(struct shadow_cmd *to, const struct shadow_cmd *from);
/* The same command, sent again or not. */
bool shadow_cmd_equal(const struct shadow_cmd *a, const struct shadow_cmd *b);
void shadow_cmd_text(const struct shadow_cmd *c, struct fb_buf *out);
/* As a client sends it (RESP). */
void shadow_cmd_encode(const struct shadow_cmd *c, struct fb_buf *out);

enum shadow_effect {
    SHADOW_NOTHING,    /* no new version */
    SHADOW_WRITES,     /* `after` is the new version */
    SHADOW_MAY_DELETE, /* its time may lie in the past where it is evaluated: `after`, or a delete,
                          or nothing when there was nothing */
};
/* `cmd` on `before` (not expired), at the node's time `now_ms`. `after` is made anew (fini it) in
 * any case. `ver`: the version of `before`. */
enum shadow_effect shadow_apply(const struct shadow_cmd *cmd, const struct shadow *before,
                                uint64_t ver, uint64_t now_ms, struct shadow *after);
/* Would what `cmd` makes of `before` be larger than its namespace takes? */
bool shadow_oversize(const struct shadow_cmd *cmd, const struct shadow *before);
/* May `r` be the answer when the command found `before`, and did (`wrote`) or did not make a
 * version? Versions in replies are the history's to judge. */
bool shadow_reply_fits(const struct shadow_cmd *cmd, const struct shadow *before, bool wrote,
                       const struct shadow *after, const struct reply *r);

#endif
