/* The keys that are being loaded: found by key, by token index, and walked in the order of their
 * coming. */
#include "node/core/load_impl.h"

#include <stdlib.h>

struct load_entry *load_entry_find(struct loads *q, struct fb_bytes key, uint64_t hash)
{
    struct load_entry *e = q->count == 0 ? NULL : q->table[hash & (q->table_cap - 1)];
    while (e != NULL && !(e->hash == hash && fb_bytes_equal(entry_key(e), key)))
        e = e->chain;
    return e;
}

bool key_is_loading(struct lane *l, struct fb_bytes key, uint64_t hash)
{
    return load_entry_find(&l->loads, key, hash) != NULL;
}

bool loads_awaited(const struct lane *l, uint16_t part)
{
    for (uint32_t i = 0; i < l->loads.index_n; i++)
        if (l->loads.by_index[i] != NULL && l->loads.by_index[i]->part == part)
            return true;
    return false;
}

static void table_grow(struct loads *q)
{
    if (q->count < q->table_cap)
        return;
    q->table_cap = q->table_cap ? q->table_cap * 2 : 256;
    free(q->table);
    q->table = fb_xcalloc(q->table_cap, sizeof *q->table);
    struct load_entry *e = q->entries;
    for (uint32_t i = 0; i < q->count; i++, e = e->next) {
        e->chain = q->table[e->hash & (q->table_cap - 1)];
        q->table[e->hash & (q->table_cap - 1)] = e;
    }
}

struct load_entry *load_entry_new(struct lane *l, struct part *p, struct fb_bytes key,
                                  uint64_t hash)
{
    struct loads *q = &l->loads;
    struct load_entry *e = fb_xcalloc(1, sizeof *e + key.n);

    e->hash = hash;
    e->part = p->id;
    e->klen = (uint16_t)key.n;
    memcpy(e->key, key.p, key.n);
    e->nsid = nsid_of_key(l, key, &e->ns_len);
    table_grow(q);
    e->chain = q->table[hash & (q->table_cap - 1)];
    q->table[hash & (q->table_cap - 1)] = e;
    if (q->entries == NULL) {
        q->entries = e->prev = e->next = e;
    } else {
        e->next = q->entries;
        e->prev = q->entries->prev;
        e->prev->next = e->next->prev = e;
    }
    if (q->index_n > q->count) { /* there are holes, and the hint is one most times */
        e->index = q->index_hint < q->index_n ? q->index_hint : 0;
        while (q->by_index[e->index] != NULL)
            e->index = e->index + 1 < q->index_n ? e->index + 1 : 0;
        q->index_hint = e->index + 1;
    } else {
        if (q->index_n == q->index_cap) {
            q->index_cap = q->index_cap ? q->index_cap * 2 : 64;
            q->by_index = fb_xrealloc(q->by_index, q->index_cap * sizeof(struct load_entry *));
        }
        e->index = q->index_n++;
    }
    q->by_index[e->index] = e;
    q->count++;
    return e;
}

void load_entry_free(struct lane *l, struct load_entry *e)
{
    struct loads *q = &l->loads;
    struct load_entry **at = &q->table[e->hash & (q->table_cap - 1)];

    fb_assert(e->head == NULL);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    q->by_index[e->index] = NULL;
    q->index_hint = e->index;
    while (q->index_n > 0 && q->by_index[q->index_n - 1] == NULL)
        q->index_n--;
    if (e->next == e) {
        q->entries = NULL;
    } else {
        e->prev->next = e->next;
        e->next->prev = e->prev;
        if (q->entries == e)
            q->entries = e->next;
    }
    q->count--;
    free(e);
}
