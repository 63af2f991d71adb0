/* Inside of the clients: connections (clients.c), what they ask for (client_load.c). */
#ifndef FB_TESTS_SIM_CLIENTS_IMPL_H_
#define FB_TESTS_SIM_CLIENTS_IMPL_H_

#include "tests/sim/clients.h"
#include "tests/sim/router_proc.h"

#define CLIENTS_MAX 8u
#define KEYS_MAX 96u
#define DEPTH_MAX 32u
#define MULTI_MAX 8u
#define AGAIN_MAX 8u
#define TRIES_MAX 4u

/* What the next reply of a connection is to. */
enum expect_kind {
    EXPECT_OK,     /* HELLO, FB.REQUIRE: anything but an error */
    EXPECT_ONE,    /* ops[0] */
    EXPECT_EACH,   /* MGET: an item each */
    EXPECT_ALL,    /* MSET: one for all */
    EXPECT_SUM,    /* DEL of several: their number */
    EXPECT_WATCH,  /* of txn */
    EXPECT_QUEUED, /* MULTI, and the commands inside */
    EXPECT_EXEC    /* of txn */
};

struct expect {
    enum expect_kind kind;
    struct history_op *ops[MULTI_MAX];
    uint32_t n;
    struct history_txn *txn;
    bool watching;  /* QUEUED, EXEC: of a transaction with WATCH */
    uint32_t tries; /* ONE, EACH, ALL: how often the same was sent before */
    uint64_t number, sent_ns;
};

/* To be sent again. */
struct again {
    enum expect_kind kind; /* ONE, EACH, ALL */
    struct shadow_cmd cmds[MULTI_MAX];
    uint32_t n, tries;
};

struct key_info {
    char name[SHADOW_TEXT_MAX];
    char family; /* 's'tring, 'n'umber, 'h'ash, 'm'ixed */
    uint32_t tag;
    uint8_t level;      /* of its namespace */
    uint64_t value_max; /* of its namespace */
};

struct client_set;
struct sim_client {
    struct client_set *set;
    uint32_t number;
    struct router_tcp *tcp;
    uint32_t router;
    uint64_t conn; /* counts its connections */
    uint8_t level; /* FB.REQUIRE, NONE */
    uint32_t depth;
    struct expect pending[DEPTH_MAX * 2 + MULTI_MAX + 4];
    uint32_t pending_n, pending_cap;
    struct fb_buf out, in;
    uint64_t sent, asked; /* commands of this client; of this connection's trace */
    /* of the last FB.GET */
    char seen_key[SHADOW_TEXT_MAX];
    int64_t seen_ver;
    /* a client that retries: what was not answered, or INDETERMINATE */
    struct again again[AGAIN_MAX];
    uint32_t again_n, again_max; /* at most so many at a time; 0: it does not */
    bool reconnects;             /* before it sends them */
    bool paused, done;           /* done: after the storm, everything asked and answered */
    uint32_t calm_left, final_at;
    uint64_t turn_tag;
};

struct client_set {
    struct world *world;
    struct sim *sim;
    struct history *history;
    struct sim_client c[CLIENTS_MAX];
    uint32_t n;
    struct key_info keys[KEYS_MAX];
    uint32_t key_n, tags;
    uint32_t weight[SHADOW_OPS]; /* of the operations in this run; 0: not in it */
    uint32_t weight_sum, txn_percent, multi_percent, skew, big_percent, ttl_percent;
    uint64_t gap_ns; /* between two turns of a client, about */
    uint64_t quota;  /* commands a client sends in the storm */
    uint64_t unique;
    bool healed;
};

/* client_load.c */
void load_plan(struct client_set *set);
/* Appends one command, or a transaction, to c->out and what its replies are to c->pending. */
void load_one(struct sim_client *c);
/* What was sent before, once more; nothing when that cannot be judged. */
void load_again(struct sim_client *c, struct again *a);
/* A read of the whole key. */
void load_read(struct sim_client *c, const struct key_info *k);
/* clients.c */
struct expect *client_expect(struct sim_client *c, enum expect_kind kind);
struct history_op *client_invoke(struct sim_client *c, struct shadow_cmd *cmd, uint8_t level);
void client_trace(struct sim_client *c, const char *fmt, ...) FB_PRINTF(2, 3);

#endif
