/* Inside of read-through: what load.c (loads and the queues behind them), load_table.c (finding
 * them) and load_install.c (what an answer becomes) share. */
#ifndef FB_NODE_CORE_LOAD_IMPL_H_
#define FB_NODE_CORE_LOAD_IMPL_H_

#include "node/core/lane_impl.h"

struct place { /* of a waiter in the queue of one key */
    struct place *next;
    struct waiter *waiter;
    struct load_entry *entry;
};

struct waiter {
    struct reply_dest *dest;
    uint64_t since_ns;
    uint32_t queue_us;
    struct fb_req req; /* views into bytes */
    uint16_t part;
    uint32_t place_n;
    struct place *places;
    uint8_t *bytes;
};

struct load_entry {
    struct load_entry *prev, *next, *chain;
    uint64_t hash, token, deadline_ns, retry_ns;
    uint32_t index, epoch;
    uint32_t retries;
    uint16_t part, nsid;
    uint8_t ns_len;
    bool loading;
    bool drains; /* on loads.drain_head */
    struct load_entry *drain_next;
    struct place *head, *tail;
    uint16_t klen;
    uint8_t key[];
};

static inline struct fb_bytes entry_key(const struct load_entry *e)
{
    return fb_bytes(e->key, e->klen);
}

/* load_table.c. NULL when the key is not being loaded. */
struct load_entry *load_entry_find(struct loads *q, struct fb_bytes key, uint64_t hash);
/* For a key that has no entry; it is not loading and its queue is empty. */
struct load_entry *load_entry_new(struct lane *l, struct part *p, struct fb_bytes key,
                                  uint64_t hash);
/* Its queue must be empty. */
void load_entry_free(struct lane *l, struct load_entry *e);

/* load_install.c. Is it nothing but a string or a hash, or the NULL of a mapped column? */
bool load_fits(const struct ns_state *ns, const struct fb_load_rep *rep);
/* Was the row read before the version that it would replace got into PostgreSQL? A copy that may be
 * lost, or that has changed, is not replaced at all (load_install). */
bool load_is_older(struct lane *l, struct part *p, const struct load_entry *e, const struct feed *f,
                   const struct fb_load_rep *rep);
/* The answer becomes a clean copy or a negative hint, unless what is there has to stay. The load
 * has been judged (I27). */
void load_install(struct lane *l, struct part *p, const struct load_entry *e,
                  const struct fb_load_rep *rep);

#endif
