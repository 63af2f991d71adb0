/* Inside of the object table: for node/core/ and node/store/ only.
 *
 * An object is one allocation: header, key, value. After publication it is immutable but for the
 * atomic fields. A change is a new object that takes the old one's place in the table and in its
 * slot, then the old one is retired.
 *
 * The slab index of a partition gives every resident key a slot that never moves and stays with the
 * key over updates, so that scans, eviction and snapshots can walk by number while the table
 * changes. A slot is in one list at most: the SIEVE list of its partition when the object is clean,
 * else a list of its feed.
 *
 * Thread: one writer per partition changes its slots, lists and objects; everything that takes a
 * store_part or a store_writer to change something asserts it. Readers use
 * store_read_lock, store_find and slab_object inside a read section, on any registered thread.
 */
#ifndef FB_NODE_STORE_OBJECT_H_
#define FB_NODE_STORE_OBJECT_H_

#include "node/store/store.h"
#include "proto/base/bytes.h"
#include "proto/base/owner.h"

#include <stdatomic.h>
#include <stddef.h>

enum object_flag {
    OBJECT_DIRTY = 1 << 0,       /* not known to be in PostgreSQL */
    OBJECT_NEGATIVE = 1 << 1,    /* a hint: no such row when we asked; kind is NONE */
    OBJECT_MAPPED = 1 << 2,      /* expires_ms is the age limit of a clean copy, not an expiry */
    OBJECT_HAS_BASE = 1 << 3,    /* a row exists */
    OBJECT_TOKEN_KNOWN = 1 << 4, /* base_xid is the row's xmin */
    OBJECT_BLIND = 1 << 5,       /* unknown whether a row exists */
    OBJECT_PARKED = 1 << 6,      /* PostgreSQL refused this version */
};

struct object {
    void *link[2]; /* struct cds_lfht_node */
    uint64_t ver;
    _Atomic int64_t
        expires_ms; /* 0 = never; changed after publication only when OBJECT_MAPPED; writer */
    uint32_t slot;  /* writer, before publication */
    _Atomic uint32_t base_xid; /* writer */
    uint32_t vlen;
    uint16_t klen;
    uint16_t ns;             /* the lane's number of the namespace */
    uint8_t kind;            /* enum fb_kind; NONE = tombstone or negative */
    uint8_t ns_len;          /* bytes of the key that name the namespace, 0 = default */
    _Atomic uint8_t flags;   /* enum object_flag; writer */
    _Atomic uint8_t visited; /* readers set it, the eviction hand clears it */
    uint16_t part;
    uint8_t bytes[]; /* key, value */
};

static inline struct fb_bytes object_key(const struct object *o)
{
    return fb_bytes(o->bytes, o->klen);
}
static inline struct fb_bytes object_value(const struct object *o)
{
    return fb_bytes(o->bytes + o->klen, o->vlen);
}
static inline uint8_t object_flags(const struct object *o)
{
    return atomic_load_explicit(&o->flags, memory_order_relaxed);
}
static inline int64_t object_expires(const struct object *o)
{
    return atomic_load_explicit(&o->expires_ms, memory_order_relaxed);
}
static inline uint32_t object_xid(const struct object *o)
{
    return atomic_load_explicit(&o->base_xid, memory_order_relaxed);
}
/* One store per use at most: a line that many readers share is not written again and again. */
static inline void object_visit(const struct object *o)
{
    _Atomic uint8_t *v = (_Atomic uint8_t *)&o->visited;
    if (!atomic_load_explicit(v, memory_order_relaxed))
        atomic_store_explicit(v, 1, memory_order_relaxed);
}
/* What the object costs: allocation, allocator's header, slot and bucket. */
size_t object_bytes(const struct object *o);
#define OBJECT_PLACE_BYTES 40u /* of these: slot (24) and bucket */
/* Not published yet; the value's bytes are for the caller to fill. Given to store_publish or
 * object_free. */
struct object *object_new(struct fb_bytes key, uint8_t ns_len, uint16_t ns, uint16_t part,
                          uint8_t kind, size_t vlen);
void object_free(struct object *o);

struct object_extra; /* what the core keeps beside an object that is not clean */

#define SLOT_NONE UINT32_MAX
#define SLAB_CHUNKS 26
#define SLAB_FIRST_SHIFT 6

struct slot {
    struct object *_Atomic obj; /* NULL = free */
    struct object_extra *extra; /* writer; NULL for clean objects */
    uint32_t prev, next;        /* writer */
};
struct slot_list {
    uint32_t head, tail, count;
};
#define SLOT_LIST_EMPTY ((struct slot_list){SLOT_NONE, SLOT_NONE, 0})

struct store_part {
    struct fb_owner owner; /* its writer: everything that changes slots and lists asserts it */
    struct slot *_Atomic chunks[SLAB_CHUNKS]; /* chunk k holds 64 << k slots; they never move */
    _Atomic uint32_t used;                    /* slots ever handed out */
    uint32_t free_head;                       /* writer */
    struct slot_list clean;                   /* SIEVE list: head = newest */
    uint32_t hand;                            /* SIEVE hand */
    _Atomic uint32_t live;                    /* keys with a value, for DBSIZE */
};

struct store_part *store_part(struct store *s, uint16_t part);
uint32_t store_partitions(const struct store *s);

/* Slots. slab_slot: `index` was handed out. slab_object: any thread, inside a read section; NULL
 * when free. */
struct slot *slab_slot(struct store_part *p, uint32_t index);
struct object *slab_object(struct store_part *p, uint32_t index);
void slot_list_append(struct store_part *p, struct slot_list *l, uint32_t index);
void slot_list_prepend(struct store_part *p, struct slot_list *l, uint32_t index);
void slot_list_remove(struct store_part *p, struct slot_list *l, uint32_t index);

/* Clean list and eviction by SIEVE (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024): new
 * objects enter at the head, the hand walks from tail to head, clears visited bits and stops at the
 * first object that was not visited. */
void sieve_add(struct store_part *p, uint32_t index);
void sieve_remove(struct store_part *p, uint32_t index);
/* The next victim for which ok() holds, looking at no more than `steps` objects; NULL = none found.
 * It stays in the list. */
struct object *sieve_victim(struct store_part *p, bool (*ok)(void *arg, const struct object *o),
                            void *arg, uint32_t steps);

/* Table. Read sections nest; at most 64 lookups in one. */
void store_read_lock(void);
void store_read_unlock(void);
uint64_t object_hash(struct fb_bytes key);
/* Inside a read section. */
struct object *store_find(struct store *s, struct fb_bytes key, uint64_t hash);
/* Partition writer, outside a read section: what it finds in its own partition stays valid until it
 * retires it itself. */
struct object *store_find_own(struct store *s, struct fb_bytes key, uint64_t hash);

/* One per writer thread: collects retired objects. */
struct store_writer;
struct store_writer *store_writer_new(struct store *s);
void store_writer_free(struct store_writer *w);
/* Hand collected objects to the reclaim thread (call once a tick). Waits only when the limit on
 * retired objects is reached, which means that a reader has been inside a section for seconds. */
void store_writer_flush(struct store_writer *w);
/* Make `next` the current object of its key. Takes `next`. Replaces and retires the one before,
 * whose slot it keeps; without one it gets a new slot. Lists are the caller's affair. */
void store_publish(struct store_writer *w, struct object *next, uint64_t hash);
/* Take the object out of table and slot and retire it. The slot must be in no list and have no
 * extra. */
void store_remove(struct store_writer *w, struct object *o);

/* Shared counters. Dirty bytes are added and taken by the core. now_ms is what readers hold expiry
 * against: the greatest time any writer published. */
void store_dirty_add(struct store *s, int64_t bytes);
uint64_t store_dirty_bytes(const struct store *s);
uint64_t store_resident_bytes(const struct store *s);
void store_now_set(struct store *s, uint64_t wall_ms);
uint64_t store_now(const struct store *s);

_Static_assert(offsetof(struct object, bytes) == 54, "header grew: check the bytes per object");
_Static_assert(sizeof(struct slot) == 24, "slot grew: check the bytes per object");

#endif
