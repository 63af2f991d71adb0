/* Read-through: what the row becomes that PostgreSQL has answered with, and what it may not replace
 * (PROTOCOL 13). */
#include "node/core/load_impl.h"

#include "proto/base/mutant.h"

bool load_fits(const struct ns_state *ns, const struct fb_load_rep *rep)
{
    switch (rep->kind) {
    case FB_KIND_STRING:
        return rep->value.n <= FB_VALUE_BYTES_MAX;
    case FB_KIND_HASH:
        return rep->value.n <= FB_VALUE_BYTES_MAX && fb_hash_valid(rep->value);
    case FB_KIND_NONE:
        return rep->value.n == 0 && ns->conf->mapped && ns->conf->value == FB_VALUE_COLUMN;
    default:
        return false;
    }
}

void load_install(struct lane *l, struct part *p, const struct load_entry *e,
                  const struct fb_load_rep *rep)
{
    struct ns_state *ns = &l->ns[e->nsid];
    bool mapped = ns->conf->mapped, row = rep->status == FB_LOAD_FOUND,
         found = row && rep->kind != FB_KIND_NONE;
    struct feed *f = feed_get(p, e->nsid);
    const struct object *old = store_find_own(l->store, entry_key(e), e->hash);
    struct object *o;
    uint8_t flags = mapped ? OBJECT_MAPPED : 0;

    /* written meanwhile is impossible: writes queue behind the load. Only an old clean copy or hint
     * may be there. */
    if (old != NULL && slot_extra(p, old) != NULL)
        return;
    if (pending_find(l, entry_key(e), e->hash) != NULL)
        return;
    /* A copy that is too old stays when PostgreSQL may still lose what it holds (I25): it is asked
     * for again until that is safe. */
    if (old != NULL && !(object_flags(old) & OBJECT_NEGATIVE) && fb_ver_epoch(old->ver) != 0 &&
        old->ver > f->dsafe && !FB_MUTANT(reload_unsafe))
        return;
    if (found && !mapped && rep->expires_ms != 0 && (uint64_t)rep->expires_ms <= part_now(l, p))
        found = false;
    o = object_new(entry_key(e), e->ns_len, e->nsid, p->id, found ? rep->kind : FB_KIND_NONE,
                   found ? rep->value.n : 0);
    if (found) {
        if (rep->value.n > 0)
            memcpy(o->bytes + o->klen, rep->value.p, rep->value.n);
        o->ver = rep->xmin; /* epoch 0: never the version of a record */
        if (!mapped) {
            /* the version of the record that wrote the row, when it is one of this history and
             * cannot be taken back: purge_ver follows it (I28) */
            if (rep->stored_ver != 0 && rep->stored_ver <= rep->ckpt_ver &&
                rep->stored_ver <= f->dsafe)
                o->ver = rep->stored_ver;
            atomic_store_explicit(&o->expires_ms, rep->expires_ms, memory_order_relaxed);
        }
    } else {
        uint64_t ttl = ns->conf->negative_ttl_ms;
        flags |= OBJECT_NEGATIVE;
        atomic_store_explicit(&o->expires_ms, (int64_t)(part_now(l, p) + ttl),
                              memory_order_relaxed);
    }
    if (found ||
        (row &&
         mapped)) { /* a row whose column is NULL: no value, but an UPDATE when there comes one */
        flags |= OBJECT_HAS_BASE | (rep->xmin != 0 ? OBJECT_TOKEN_KNOWN : 0);
        atomic_store_explicit(&o->base_xid, rep->xmin, memory_order_relaxed);
    }
    atomic_store_explicit(&o->flags, flags, memory_order_relaxed);
    feed_purged(f, o->ver); /* it does not enter the list */
    if (old != NULL && !FB_MUTANT(reload_forgets))
        feed_purged(f, old->ver); /* it is dropped */
    if (found && mapped)
        mapped_deadline(l, p, o);
    part_install(l, p, o, NULL, e->hash);
    if (found)
        STAT_ADD(l, loads_found, 1);
    else
        STAT_ADD(l, loads_absent, 1);
}

bool load_is_older(struct lane *l, struct part *p, const struct load_entry *e, const struct feed *f,
                   const struct fb_load_rep *rep)
{
    const struct object *old = store_find_own(l->store, entry_key(e), e->hash);

    return old != NULL && slot_extra(p, old) == NULL && fb_ver_epoch(old->ver) != 0 &&
           old->ver <= f->dsafe && rep->ckpt_ver < old->ver;
}
