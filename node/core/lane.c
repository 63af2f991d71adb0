/* A lane: making, configuring, the ends of a tick. */
#include "node/core/lane_impl.h"
#include "proto/base/hash.h"

#include <stdlib.h>

struct lane *lane_new(const struct lane_config *config, struct store *store)
{
    struct lane *l = fb_xcalloc(1, sizeof *l);
    fb_assert(config->partitions > 0 && config->partitions <= FB_PARTITIONS_MAX);
    fb_assert(store_partitions(store) == config->partitions);
    l->config = *config;
    l->store = store;
    l->writer = store_writer_new(store);
    l->parts = fb_xcalloc(config->partitions, sizeof *l->parts);
    l->fx.log_seq = 1;
    l->log_to = &l->fx.log;
    nsid_by_name(l, fb_bytes_str("default"), true);
    return l;
}

void lane_bind(struct lane *l)
{
    lane_check_writer(l);
    fb_owner_take(&l->owner);
    for (uint32_t i = 0; i < l->config.partitions; i++)
        if (l->parts[i] != NULL)
            l->parts[i]->sp->owner = l->owner;
}

void lane_unbind(struct lane *l)
{
    lane_check_writer(l);
    fb_owner_leave(&l->owner);
    for (uint32_t i = 0; i < l->config.partitions; i++)
        if (l->parts[i] != NULL)
            l->parts[i]->sp->owner = l->owner;
}

void lane_free(struct lane *l)
{
    if (l == NULL)
        return;
    lane_check_writer(l);
    copies_fini(l);
    loads_fini(l);
    feed_held_fini(l);
    count_fini(l);
    waits_fini(&l->durable);
    waits_fini(&l->throttled);
    pending_fini(l);
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct part *p = l->parts[i];
        if (p == NULL)
            continue;
        for (uint32_t n = 0; n < atomic_load_explicit(&p->sp->used, memory_order_relaxed); n++) {
            struct slot *slot = slab_slot(p->sp, n);
            extra_free(slot->extra);
            slot->extra = NULL;
        }
        for (uint32_t f = 0; f < p->feed_cap; f++) {
            if (p->feeds[f] == NULL)
                continue;
            waits_fini(&p->feeds[f]->waits);
            free(p->feeds[f]->rewritten);
            free(p->feeds[f]);
        }
        free(p->feeds);
        log_tail_fini(p);
        free(p);
    }
    store_writer_free(l->writer);
    free(l->parts);
    free(l->ns);
    free(l->nsid_of_conf);
    free(l->marks);
    free(l->fx.loads);
    fb_buf_fini(&l->fx.log);
    fb_buf_fini(&l->fx.load_bytes);
    fb_buf_fini(&l->fx.refused);
    fb_buf_fini(&l->fx.regressed);
    fb_buf_fini(&l->fx.notes);
    fb_buf_fini(&l->txn_log);
    fb_buf_fini(&l->payload);
    fb_buf_fini(&l->value);
    fb_buf_fini(&l->txn_reps);
    free(l);
}

struct lane_effects *lane_effects(struct lane *l)
{
    lane_check_writer(l);
    return &l->fx;
}

const struct lane_stats *lane_stats(const struct lane *l)
{
    return &l->stats;
}

void lane_effects_clear(struct lane *l)
{
    lane_check_writer(l);
    struct lane_effects *fx = &l->fx;
    fb_assert(l->pending.n == l->pending.copies_n); /* lane_written comes first */
    if (fx->log.n > 0)
        fx->log_seq++;
    fb_buf_clear(&fx->log);
    fb_buf_shrink(&fx->log, 4u << 20);
    for (struct reply_dest *d = fx->touched; d != NULL; d = d->next_touched)
        d->touched = false;
    for (struct feed_dest *d = fx->feeds_touched; d != NULL; d = d->next_touched)
        d->touched = false;
    fx->touched = NULL;
    fx->feeds_touched = NULL;
    fx->load_count = 0;
    fb_buf_clear(&fx->load_bytes);
    fb_buf_clear(&fx->refused);
    fb_buf_clear(&fx->regressed);
    fb_buf_clear(&fx->notes);
    fx->note_count = 0;
    fx->sync_wanted = false;
    copies_events_clear(l);
}

static uint64_t columns_hash(const struct fb_schema *s)
{
    uint64_t h = 1;
    for (uint32_t i = 0; s != NULL && i < s->column_count; i++)
        h = fb_hash64(s->columns[i].name, strlen(s->columns[i].name), h + s->columns[i].attnum);
    return s == NULL || s->column_count == 0 ? 0 : h | 1;
}

/* Namespaces that now are another table's: what is known of rows is void. Where a column came or
 * went, clean copies are of the table as it was. */
static void note_moved(struct lane *l)
{
    for (uint16_t i = 0; i < l->ns_n; i++) {
        struct ns_state *ns = &l->ns[i];
        uint64_t mapping = ns->conf != NULL ? fb_schema_mapping(ns->conf) : 0;
        uint64_t columns = columns_hash(ns->schema);
        ns->moved = ns->moved || (ns->mapping != 0 && mapping != 0 && mapping != ns->mapping) ||
                    (ns->columns != 0 && columns != 0 && columns != ns->columns);
        ns->columns = columns != 0 ? columns : ns->columns;
        ns->mapping = mapping;
    }
}

void lane_configure(struct lane *l, const struct fb_nsset *namespaces,
                    const struct fb_schema *const *schemas)
{
    lane_check_writer(l);
    for (uint16_t i = 0; i < l->ns_n; i++) {
        l->ns[i].conf = NULL;
        l->ns[i].schema = NULL;
        l->ns[i].conf_index = UINT32_MAX;
    }
    l->nsset = namespaces;
    l->nsid_of_conf = fb_xrealloc(l->nsid_of_conf, namespaces->count * sizeof *l->nsid_of_conf);
    for (uint32_t i = 0; i < namespaces->count; i++) {
        uint16_t id = nsid_by_name(l, fb_bytes_str(namespaces->ns[i].name), true);
        fb_assert(id != NSID_NONE);
        l->nsid_of_conf[i] = id;
        l->ns[id].conf = &namespaces->ns[i];
        l->ns[id].schema = schemas == NULL ? NULL : schemas[i];
        l->ns[id].conf_index = i;
    }
    fb_assert(l->nsid_of_conf[0] == 0); /* "default" is always first, here and there */
    note_moved(l);
    loads_configure(l);
    for (uint32_t i = 0; i < l->config.partitions; i++)
        if (l->parts[i] != NULL && l->parts[i]->open)
            l->parts[i]->reconcile = true;
    reconcile_soon(l);
}

void lane_now(struct lane *l, uint64_t mono_ns, uint64_t wall_ms)
{
    lane_check_writer(l);
    if (mono_ns > l->mono_ns)
        l->mono_ns = mono_ns;
    wall_ms = clock_held(l, l->mono_ns, wall_ms);
    if (wall_ms > l->wall_ms) {
        l->wall_ms = wall_ms;
        store_now_set(l->store, wall_ms);
    }
}

void lane_tick(struct lane *l)
{
    lane_check_writer(l);
    waits_throttled(l);
    count_run(l);
    loads_drain_rest(l);
    if (l->mono_ns < l->next_tick_ns)
        return;
    l->next_tick_ns = l->mono_ns + TICK_PERIOD_NS;
    loads_tick(l);
    expire_tick(l);
    evict_tick(l, 1024);
    feeds_tick(l);
    ages_tick(l);
    copies_tick(l);
    store_writer_flush(l->writer);
}

uint64_t lane_deadline_ns(const struct lane *l)
{
    lane_check_writer(l);
    uint64_t throttled =
        l->loads.drain_head != NULL || copies_busy(l) ? l->mono_ns : waits_throttled_ns(l);
    return throttled < l->next_tick_ns ? throttled : l->next_tick_ns;
}

void lane_written(struct lane *l)
{
    lane_check_writer(l);
    uint32_t published;

    fb_assert(l->log_to == &l->fx.log);
    published = pending_publish(l);
    /* versions of the partitions that wrote in this tick become feedable when this log sequence is
     * synced */
    for (size_t i = l->mark_n; i > l->mark_first && l->marks[i - 1].log_seq == l->fx.log_seq; i--) {
        const struct part *p = l->parts[l->marks[i - 1].part];
        l->marks[i - 1].ver = p->tail.filling != 0 ? 0 : p->last_ver; /* half a copy is none */
    }
    if (l->reconcile_due)
        reconcile_soon(l);
    if (published > 0)
        evict_tick(l, published * 4 + 16);
}

void lane_synced(struct lane *l, uint64_t log_seq)
{
    lane_check_writer(l);
    while (l->mark_first < l->mark_n && l->marks[l->mark_first].log_seq <= log_seq) {
        struct synced_mark m = l->marks[l->mark_first++];
        struct part *p = l->parts[m.part];
        fb_assert(m.ver >= p->synced_ver && m.ver <= p->last_ver); /* I18 */
        p->synced_ver = m.ver;
        if (p->copy != NULL)
            copy_synced(l, p, m.ver);
        if (p->open)
            for (uint32_t f = 0; f < p->feed_cap; f++) {
                struct feed *feed = p->feeds[f];
                if (feed != NULL && feed->dirty.count > 0 && (!feed->announced || feed->due))
                    feed_note(l, p, feed);
            }
    }
    if (l->mark_first == l->mark_n)
        l->mark_first = l->mark_n = 0;
    feed_held_synced(l);
    waits_synced(l, log_seq);
    count_run(l);
}

void lane_flush(struct lane *l, uint32_t ns)
{
    lane_check_writer(l);
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct part *p = l->parts[i];
        if (p == NULL || !p->open)
            continue;
        for (uint32_t f = 0; f < p->feed_cap; f++)
            if (p->feeds[f] != NULL && p->feeds[f]->dirty.count > 0 &&
                (ns == UINT32_MAX || l->ns[f].conf_index == ns))
                feed_due(l, p, p->feeds[f]);
    }
}

void lane_notes_all(struct lane *l)
{
    lane_check_writer(l);
    fb_buf_clear(&l->fx.notes); /* they are among those, and several may connect in one tick */
    l->fx.note_count = 0;
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct part *p = l->parts[i];
        if (p == NULL || !p->open)
            continue;
        for (uint32_t f = 0; f < p->feed_cap; f++)
            if (p->feeds[f] != NULL && p->feeds[f]->dirty.count > 0)
                feed_note(l, p, p->feeds[f]);
            else if (p->feeds[f] != NULL)
                p->feeds[f]->verified_epoch = 0; /* who comes looks at all of them */
        feeds_verify(l, p);
    }
}
