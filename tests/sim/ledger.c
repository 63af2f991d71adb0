/* The records of all nodes' logs (ledger.h). */
#include "tests/sim/ledger.h"

#include "node/store/object.h"
#include "proto/base/hash.h"
#include "proto/wire/version.h"

#include <stdlib.h>

struct aside { /* a record that did not count when it was written */
    uint64_t ver;
    struct fb_buf bytes;
};

struct path {       /* of one partition */
    struct seen *e; /* open addressing by version */
    uint32_t n, cap;
    uint64_t last;  /* of what counts */
    uint32_t epoch; /* the newest that has opened */
    struct aside *aside;
    uint32_t aside_n, aside_cap;
    struct known_keys keys;
};

struct ledger {
    struct sim *sim;
    uint32_t partitions;
    bool copies;
    struct path *paths;
    struct ledger_observer observer[4];
    uint32_t observer_n;
};

struct ledger *ledger_new(struct sim *s, uint32_t partitions, bool copies)
{
    struct ledger *l = fb_xcalloc(1, sizeof *l);
    l->sim = s;
    l->partitions = partitions;
    l->copies = copies;
    l->paths = fb_xcalloc(partitions, sizeof *l->paths);
    return l;
}

void ledger_free(struct ledger *l)
{
    for (uint32_t i = 0; i < l->partitions; i++) {
        struct path *p = &l->paths[i];
        for (uint32_t k = 0; k < p->keys.n; k++)
            fb_buf_fini(&p->keys.k[k].key);
        for (uint32_t k = 0; k < p->aside_n; k++)
            fb_buf_fini(&p->aside[k].bytes);
        free(p->aside);
        free(p->keys.k);
        free(p->e);
    }
    free(l->paths);
    free(l);
}

bool ledger_copies(const struct ledger *l)
{
    return l->copies;
}

void ledger_observe(struct ledger *l, const struct ledger_observer *o)
{
    fb_assert(l->observer_n < FB_COUNT_OF(l->observer));
    l->observer[l->observer_n++] = *o;
}

const struct known_keys *ledger_keys(const struct ledger *l, uint16_t part)
{
    return &l->paths[part].keys;
}

static struct seen *place(const struct path *p, uint64_t ver)
{
    uint32_t at = (uint32_t)(ver * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (p->cap - 1);
    while (p->e[at].ver != 0 && p->e[at].ver != ver)
        at = (at + 1) & (p->cap - 1);
    return &p->e[at];
}

static void grow(struct path *p)
{
    struct path old = *p;
    p->cap = old.cap == 0 ? 256 : old.cap * 2;
    p->e = fb_xcalloc(p->cap, sizeof *p->e);
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.e[i].ver != 0)
            *place(p, old.e[i].ver) = old.e[i];
    free(old.e);
}

const struct seen *ledger_find(const struct ledger *l, uint16_t part, uint64_t ver)
{
    const struct path *p = &l->paths[part];
    const struct seen *s = p->cap == 0 || ver == 0 ? NULL : place(p, ver);
    return s == NULL || s->ver == 0 ? NULL : s;
}

bool ledger_past(const struct ledger *l, uint16_t part, uint64_t ver, uint64_t of)
{
    while (of > ver) {
        const struct seen *s = ledger_find(l, part, of);
        if (s == NULL)
            return false;
        of = s->prev;
    }
    return of == ver;
}

uint64_t ledger_counted(const struct ledger *l, uint16_t part, uint64_t ver)
{
    while (!ledger_past(l, part, ver, l->paths[part].last))
        ver = ledger_find(l, part, ver)->prev;
    return ver;
}

static uint32_t key_index(struct known_keys *keys, struct fb_bytes key)
{
    uint64_t hash = object_hash(key);
    for (uint32_t i = 0; i < keys->n; i++)
        if (keys->k[i].hash == hash && fb_bytes_equal(fb_buf_view(&keys->k[i].key), key))
            return i + 1;
    if (keys->n == keys->cap) {
        keys->cap = keys->cap == 0 ? 64 : keys->cap * 2;
        keys->k = fb_xrealloc(keys->k, keys->cap * sizeof *keys->k);
    }
    keys->k[keys->n] = (struct known_key){.hash = hash};
    fb_buf_put_bytes(&keys->k[keys->n].key, key);
    return ++keys->n;
}

static void tell_record(struct ledger *l, const struct fb_record *r)
{
    for (uint32_t i = 0; i < l->observer_n; i++)
        if (l->observer[i].record != NULL)
            l->observer[i].record(l->observer[i].arg, r);
}

static void tell_recovered(struct ledger *l, uint16_t part, uint64_t last, enum node_loss loss)
{
    for (uint32_t i = 0; i < l->observer_n; i++)
        if (l->observer[i].recovered != NULL)
            l->observer[i].recovered(l->observer[i].arg, part, last, loss);
}

static void put_aside(struct path *p, const struct fb_record *r)
{
    struct aside *a;
    if (p->aside_n == p->aside_cap) {
        p->aside_cap = p->aside_cap == 0 ? 16 : p->aside_cap * 2;
        p->aside = fb_xrealloc(p->aside, p->aside_cap * sizeof *p->aside);
    }
    a = &p->aside[p->aside_n++];
    *a = (struct aside){.ver = r->ver};
    fb_record_encode(&a->bytes, r);
}

/* A record that nobody had written so far, with several copies: does it count? What the primary of
 * the open epoch adds does. A start of an epoch waits until that opens, for another may open
 * without it; and so does what somebody still writes in an epoch that is over. */
static void follow(struct ledger *l, struct path *p, const struct fb_record *r)
{
    uint32_t epoch = fb_ver_epoch(r->ver);
    if (epoch != p->epoch || r->type == FB_RECORD_EPOCH_START) {
        put_aside(p, r);
        return;
    }
    if (r->prev != p->last)
        sim_violation(l->sim, "I3", "partition %u: record %u/%llu follows %u/%llu, not %u/%llu",
                      r->part, epoch, (unsigned long long)fb_ver_counter(r->ver),
                      fb_ver_epoch(r->prev), (unsigned long long)fb_ver_counter(r->prev),
                      fb_ver_epoch(p->last), (unsigned long long)fb_ver_counter(p->last));
    p->last = r->ver;
    tell_record(l, r);
}

static void tell_aside(struct ledger *l, const struct path *p, uint64_t ver)
{
    for (uint32_t i = 0; i < p->aside_n; i++) {
        struct fb_reader in = fb_reader(fb_buf_view(&p->aside[i].bytes));
        struct fb_record r;
        if (p->aside[i].ver == ver && fb_record_decode(&in, &r) == FB_OK)
            tell_record(l, &r);
    }
}

void ledger_opened(struct ledger *l, uint16_t part, uint32_t epoch, uint64_t written)
{
    struct path *p = &l->paths[part];
    uint64_t common = written;

    if (!l->copies || epoch <= p->epoch)
        return;
    while (!ledger_past(l, part, common, p->last))
        common = ledger_find(l, part, common)->prev;
    if (common != p->last)
        tell_recovered(l, part, common, NODE_LOSS_LEADER);
    while (common != written) { /* upwards: each is found from above */
        uint64_t next = written;
        while (ledger_find(l, part, next)->prev != common)
            next = ledger_find(l, part, next)->prev;
        tell_aside(l, p, next);
        common = next;
    }
    p->epoch = epoch;
    p->last = written;
    for (uint32_t i = 0; i < l->observer_n; i++)
        if (l->observer[i].opened != NULL)
            l->observer[i].opened(l->observer[i].arg, part);
}

void ledger_record(struct ledger *l, const struct fb_record *r, uint64_t content, struct seen *out)
{
    struct path *p = &l->paths[r->part];
    bool keyed = r->type == FB_RECORD_PUT || r->type == FB_RECORD_DEL ||
                 r->type == FB_RECORD_EXPIRE || r->type == FB_RECORD_PARK ||
                 r->type == FB_RECORD_REFRESH || r->type == FB_RECORD_SYNCED;
    struct seen *s;

    if ((p->n + 1) * 2 > p->cap)
        grow(p);
    s = place(p, r->ver);
    if (s->ver != 0 && (!l->copies || s->content != content))
        sim_violation(l->sim, "I3", "partition %u: version %u/%llu is given to a second record",
                      r->part, fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver));
    if (s->ver != 0) {
        *out = *s;
        return;
    }
    *s = (struct seen){.ver = r->ver,
                       .prev = r->prev,
                       .ptime = r->ptime_ms,
                       .obj_ver = r->obj_ver,
                       .dsafe = r->changed,
                       .content = content,
                       .type = r->type,
                       .group = r->count,
                       .expires_ms = r->expires_ms,
                       .key = keyed ? key_index(&p->keys, r->key) : 0,
                       .value_hash = fb_hash64(r->value.p, r->value.n, 7)};
    p->n++;
    *out = *s;
    if (l->copies)
        follow(l, p, r);
    else
        tell_record(l, r);
}

void ledger_recovered(struct ledger *l, uint16_t part, uint64_t last_ver, enum node_loss loss)
{
    if (!l->copies)
        tell_recovered(l, part, last_ver, loss);
}
