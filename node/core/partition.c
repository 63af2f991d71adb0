/* Partitions, feeds and the lane's numbers of namespaces. */
#include "node/core/lane_impl.h"

#include <stdlib.h>

struct part *part_get(struct lane *l, uint16_t id)
{
    fb_assert(id < l->config.partitions);
    if (l->parts[id] == NULL) {
        struct part *p = fb_xcalloc(1, sizeof *p);
        p->id = id;
        p->sp = store_part(l->store, id);
        p->sp->owner = l->owner;
        l->parts[id] = p;
    }
    return l->parts[id];
}

struct feed *feed_find(struct part *p, uint16_t nsid)
{
    return nsid < p->feed_cap ? p->feeds[nsid] : NULL;
}

struct feed *feed_get(struct part *p, uint16_t nsid)
{
    if (nsid >= p->feed_cap) {
        uint32_t cap = nsid + 4u;
        p->feeds = fb_xrealloc(p->feeds, cap * sizeof *p->feeds);
        memset(p->feeds + p->feed_cap, 0, (cap - p->feed_cap) * sizeof *p->feeds);
        p->feed_cap = cap;
    }
    if (p->feeds[nsid] == NULL) {
        struct feed *f = fb_xcalloc(1, sizeof *f);
        f->nsid = nsid;
        f->dirty = f->parked = f->graves = SLOT_LIST_EMPTY;
        p->feeds[nsid] = f;
    }
    return p->feeds[nsid];
}

uint64_t part_now(const struct lane *l, const struct part *p)
{
    return p->ptime > l->wall_ms ? p->ptime : l->wall_ms; /* I30 */
}

uint16_t nsid_by_name(struct lane *l, struct fb_bytes name, bool add)
{
    for (uint16_t i = 0; i < l->ns_n; i++)
        if (fb_bytes_is(name, l->ns[i].name))
            return i;
    if (!add || name.n == 0 || name.n > FB_NAME_BYTES_MAX)
        return NSID_NONE;
    l->ns = fb_xrealloc(l->ns, (l->ns_n + 1u) * sizeof *l->ns);
    l->ns[l->ns_n] = (struct ns_state){.conf_index = UINT32_MAX};
    memcpy(l->ns[l->ns_n].name, name.p, name.n);
    return l->ns_n++;
}

uint16_t nsid_of_key(struct lane *l, struct fb_bytes key, uint8_t *ns_len)
{
    *ns_len = 0;
    if (l->nsset == NULL)
        return 0;
    if (l->nsset->count == 1)
        return l->nsid_of_conf[0];
    return l->nsid_of_conf[fb_nsset_of_key(l->nsset, key, ns_len)];
}

void key_of_id(struct fb_buf *out, const struct ns_state *ns, struct fb_bytes id, uint8_t *ns_len)
{
    if (strcmp(ns->name, "default") == 0) {
        *ns_len = 0;
    } else {
        *ns_len = (uint8_t)strlen(ns->name);
        fb_buf_put_str(out, ns->name);
        fb_buf_put_u8(out, ':');
    }
    fb_buf_put_bytes(out, id);
}

void part_gap(struct part *p, uint64_t after, uint64_t before)
{
    if (after == 0)
        return; /* the first epoch of a partition follows nothing */
    p->gaps[p->gap_n++ % VER_GAPS_MAX] = (struct ver_gap){after, before};
}

bool part_in_gap(const struct part *p, uint64_t ver)
{
    for (uint32_t i = 0; i < p->gap_n && i < VER_GAPS_MAX; i++)
        if (ver > p->gaps[i].after && ver < p->gaps[i].before)
            return true;
    return false;
}

void part_epoch_start(struct lane *l, struct part *p, uint32_t epoch, uint64_t history)
{
    struct fb_record r = {.type = FB_RECORD_EPOCH_START, .history = history};

    fb_assert(epoch > fb_ver_epoch(p->last_ver)); /* I2: a version is never given twice */
    fb_assert(history >= p->history);
    p->epoch = epoch;
    p->history = history;
    if (p->copy == NULL && !l->config.accept_database_ahead)
        part_gap(p, p->last_ver, fb_ver(epoch, 0)); /* else when it is committed */
    log_record(l, p, &r);
    fb_assert(p->last_ver == fb_ver(epoch, 0));
}

void part_open(struct lane *l, struct part *p)
{
    for (uint32_t i = 0; i < p->feed_cap; i++)
        if (p->feeds[i] != NULL) {
            p->feeds[i]->reopened = true;
            p->feeds[i]->given_ver = p->last_ver; /* by whoever led before */
            p->feeds[i]->asker = 0;
        }
    feeds_verify(l, p);
    p->open = true;
}

void part_outdated(struct lane *l, struct part *p)
{
    p->reconcile = p->drop_mapped = true;
    reconcile_soon(l);
}

void lane_open_partition(struct lane *l, uint16_t part, uint32_t epoch, uint64_t history,
                         uint64_t wall_ms)
{
    struct part *p = part_get(l, part);

    lane_check_writer(l);
    fb_assert(p->copy == NULL);
    snapshot_sort(p);
    wall_ms = clock_held(l, l->mono_ns, wall_ms);
    if (wall_ms > l->wall_ms)
        l->wall_ms = wall_ms;
    if (p->tail.kept) { /* it had several copies: nobody can take any of this back now */
        if (p->tail.filling != 0)
            part_wipe(l, p); /* half a copy is none */
        log_tail_apply(l, p, UINT64_MAX, true);
        p->tail.kept = false;
        log_tail_note(l, p, p->last_ver == 0 ? LOG_NOTE_WIPED : LOG_NOTE_COMMITTED);
    }
    p->led_alone = true;
    part_outdated(l, p);
    part_epoch_start(l, p, epoch, history);
    part_open(l, p); /* one copy: the record is committed before anything of this tick is answered
                        (I9) */
}

void part_close(struct lane *l, struct part *p)
{
    p->open = false;
    loads_close_partition(l, p->id);
    waits_close(l, p);
}

void lane_close_partition(struct lane *l, uint16_t part)
{
    lane_check_writer(l);
    struct part *p = l->parts[part];
    if (p != NULL && p->open)
        part_close(l, p);
}

bool lane_partition_open(const struct lane *l, uint16_t part)
{
    lane_check_writer(l);
    return part < l->config.partitions && l->parts[part] != NULL && l->parts[part]->open;
}

uint64_t lane_last_ver(const struct lane *l, uint16_t part)
{
    lane_check_writer(l);
    return l->parts[part] == NULL ? 0 : l->parts[part]->last_ver;
}

uint64_t lane_history(const struct lane *l, uint16_t part)
{
    lane_check_writer(l);
    return l->parts[part] == NULL ? 0 : l->parts[part]->history;
}
