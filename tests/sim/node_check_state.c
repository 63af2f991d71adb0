/* The state of the lanes against the records of their log (node_check.h). */
#include "tests/sim/node_check_impl.h"

#include "node/io/worker.h"
#include "proto/base/hash.h"

#include <stdlib.h>

static void check_object(struct node_check *c, struct lane *l, struct part *p, struct part_view *v,
                         uint32_t key, const struct seen *last, bool refreshed,
                         const struct feed *f)
{
    struct fb_bytes name = fb_buf_view(&v->keys->k[key].key);
    const struct object *o = store_find(l->store, name, v->keys->k[key].hash);
    uint64_t ckpt = f == NULL ? 0 : f->ckpt;
    bool waits = last->ver > ckpt, must = last->ver > (f == NULL ? 0 : f->dsafe);

    if (must && (o == NULL || o->ver != last->ver))
        sim_violation(c->sim, waits ? "I26" : "I25",
                      "partition %u: \"%.*s\" is at version %u/%llu in the log and %s (checkpoint "
                      "%u/%llu)",
                      p->id, (int)name.n, (const char *)name.p, fb_ver_epoch(last->ver),
                      (unsigned long long)fb_ver_counter(last->ver),
                      o == NULL ? "not in memory" : "another version is in memory",
                      fb_ver_epoch(ckpt), (unsigned long long)fb_ver_counter(ckpt));
    if ((o == NULL || fb_ver_epoch(o->ver) == 0) && last->ver > f->purge_ver)
        sim_violation(
            c->sim, "I28",
            "partition %u: \"%.*s\" was dropped at version %u/%llu, and purge_ver is %u/%llu",
            p->id, (int)name.n, (const char *)name.p, fb_ver_epoch(last->ver),
            (unsigned long long)fb_ver_counter(last->ver), fb_ver_epoch(f->purge_ver),
            (unsigned long long)fb_ver_counter(f->purge_ver));
    if (o == NULL)
        return;
    if (o->ver > v->written && fb_ver_epoch(o->ver) != 0)
        sim_violation(c->sim, "I11",
                      "partition %u: \"%.*s\" is visible at a version that is not in "
                      "the log",
                      p->id, (int)name.n, (const char *)name.p);
    if (o->ver != last->ver)
        return;
    if (waits && !(object_flags(o) & OBJECT_DIRTY))
        sim_violation(c->sim, "I26", "partition %u: \"%.*s\" is not in PostgreSQL and not dirty",
                      p->id, (int)name.n, (const char *)name.p);
    if (!refreshed && last->type == FB_RECORD_PUT &&
        fb_hash64(object_value(o).p, object_value(o).n, 7) != last->value_hash)
        sim_violation(c->sim, "I32", "partition %u: \"%.*s\" has another value than its record",
                      p->id, (int)name.n, (const char *)name.p);
    if ((last->type == FB_RECORD_PUT) != (o->kind != FB_KIND_NONE))
        sim_violation(c->sim, "I32", "partition %u: \"%.*s\" is %s, its record says otherwise",
                      p->id, (int)name.n, (const char *)name.p,
                      o->kind == FB_KIND_NONE ? "a tombstone" : "there");
}

struct view_key {  /* of a key, while the records are walked */
    uint32_t last; /* index + 1 of its last write */
    bool refreshed;
};

static void check_objects(struct node_check *c, struct lane *l, struct part *p, struct part_view *v)
{
    struct view_key *k = fb_xcalloc(v->keys->n + 1, sizeof *k);
    for (uint32_t i = 0; i < v->n; i++) {
        const struct seen *s = &v->r[i];
        if (s->key == 0 || s->type == FB_RECORD_SYNCED || s->type == FB_RECORD_PARK)
            continue;
        if (s->type == FB_RECORD_REFRESH) {
            k[s->key - 1].refreshed = true;
            continue;
        }
        k[s->key - 1].last = i + 1;
        k[s->key - 1].refreshed = false;
    }
    for (uint32_t i = 0; i < v->keys->n; i++) {
        uint8_t ns_len;
        uint16_t nsid;
        const struct feed *f;
        if (k[i].last == 0)
            continue;
        nsid = nsid_of_key(l, fb_buf_view(&v->keys->k[i].key), &ns_len);
        f = feed_find(p, nsid);
        check_object(c, l, p, v, i, &v->r[k[i].last - 1], k[i].refreshed, f);
    }
    free(k);
}

static void check_part(struct node_check *c, struct lane *l, uint16_t part)
{
    struct part_view *v = &c->parts[part];
    struct part *p = l->parts[part];
    bool settled; /* of several copies: all is known to be committed */

    if (p == NULL || v->n == 0)
        return;
    settled = !p->tail.kept || p->tail.ver == v->written;
    if ((p->tail.kept ? p->last_ver > v->written : p->last_ver != v->written) && l->fx.log.n == 0)
        sim_violation(c->sim, "I11", "partition %u: the lane is at %u/%llu, its log at %u/%llu",
                      part, fb_ver_epoch(p->last_ver),
                      (unsigned long long)fb_ver_counter(p->last_ver), fb_ver_epoch(v->written),
                      (unsigned long long)fb_ver_counter(v->written));
    if (p->open && p->synced_ver > v->durable)
        sim_violation(c->sim, "I18", "partition %u: the lane takes for synced what is not", part);
    if (settled)
        check_objects(c, l, p, v);
    /* I28, I33 and the order of the lists */
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        const struct feed *f = p->feeds[i];
        uint64_t prev = 0;
        if (f == NULL)
            continue;
        /* (the end of a snapshot may know of a checkpoint that recovery keeps back) */
        if (settled && (f->purge_ver > f->ckpt || f->dsafe > f->ckpt))
            sim_violation(c->sim, "I28", "partition %u: purge_ver or dsafe is above the checkpoint",
                          part);
        if (f->ckpt > v->written && c->loss != NODE_LOSS_ANY)
            sim_violation(c->sim, "I24", "partition %u: the checkpoint %u/%llu is above the log",
                          part, fb_ver_epoch(f->ckpt), (unsigned long long)fb_ver_counter(f->ckpt));
        if (p->unsorted)
            continue;
        for (uint32_t s = f->dirty.head; s != SLOT_NONE; s = slab_slot(p->sp, s)->next) {
            const struct object *o = slab_object(p->sp, s);
            if (o == NULL || o->ver <= prev)
                sim_violation(c->sim, "I21",
                              "partition %u: the list of dirty objects is out of "
                              "order",
                              part);
            prev = o->ver;
        }
    }
}

/* I33: the limits refuse by what a lane has counted; is it what its lists hold? */
static void check_dirty(const struct node_check *c, const struct lane *l)
{
    for (uint16_t ns = 0; ns < l->ns_n; ns++) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < c->partitions; i++) {
            struct part *p = l->parts[i];
            const struct feed *f = p == NULL ? NULL : feed_find(p, ns);
            const struct slot_list *lists[] = {f == NULL ? NULL : &f->dirty,
                                               f == NULL ? NULL : &f->parked,
                                               f == NULL ? NULL : &f->graves};
            for (size_t k = 0; f != NULL && k < FB_COUNT_OF(lists); k++)
                for (uint32_t s = lists[k]->head; s != SLOT_NONE; s = slab_slot(p->sp, s)->next)
                    bytes += object_bytes(slab_object(p->sp, s)) + sizeof(struct object_extra);
        }
        if (bytes != l->ns[ns].dirty_bytes)
            sim_violation(c->sim, "I33",
                          "lane %u counts %llu bytes of namespace %s as dirty, its lists have %llu",
                          l->config.lane, (unsigned long long)l->ns[ns].dirty_bytes, l->ns[ns].name,
                          (unsigned long long)bytes);
    }
}

void node_check_open(struct node_check *c)
{
    for (uint32_t p = 0; c->node != NULL && c->node->open_epoch != NULL && p < c->partitions; p++) {
        uint32_t open = atomic_load(&c->node->open_epoch[p]);
        if (open != 0 && open != c->parts[p].epoch_started)
            sim_violation(c->sim, "I9",
                          "partition %u is open in epoch %u, and the last epoch whose start this "
                          "process wrote is %u",
                          p, open, c->parts[p].epoch_started);
        if (open != 0 && open != c->parts[p].open)
            ledger_opened(c->ledger, (uint16_t)p, open, c->parts[p].written);
        c->parts[p].open = open;
    }
}

void node_check_state(struct node_check *c)
{
    if (node_check_node(c) == NULL || !c->proc->alive)
        return;
    node_check_open(c);
    for (uint32_t p = 0; p < c->partitions; p++) {
        struct worker *w = c->node->workers[node_check_lane_of(c->node, p)];
        if (w == NULL || w->lane == NULL || w->lane->pending.n > 0)
            continue; /* in the middle of a tick: in a write to the log */
        if (w->lane->fx.log.n > 0)
            continue;
        check_part(c, w->lane, (uint16_t)p);
        if (p < c->node->worker_count)
            check_dirty(c, w->lane);
    }
}
