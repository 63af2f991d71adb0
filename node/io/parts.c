/* What the coordinator's records mean for the partitions of a lane (parts.h). */
#include "node/io/parts.h"

#include "node/core/copies.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/wire/version.h"

#include <stdlib.h>

#define PARTS_TOLD 30u /* in a line of the log */

void parts_tell(struct parts_told *t, uint16_t part)
{
    if (t->count < PARTS_TOLD)
        fb_buf_printf(&t->list, "%s%u", t->count ? " " : "", part);
    else if (t->count == PARTS_TOLD)
        fb_buf_put_str(&t->list, " ...");
    t->count++;
}

void parts_told(struct parts_told *t, const char *text, const struct worker *w)
{
    if (t->count > 0) {
        fb_buf_put_u8(&t->list, 0);
        fb_log_emit(FB_LOG_INFO, text,
                    (const struct fb_kv[]){FB_KU("count", t->count), FB_KU("worker", w->index),
                                           FB_KS("partitions", (const char *)t->list.p)},
                    3);
    }
    fb_buf_fini(&t->list);
    t->count = 0;
}

void parts_serve(struct worker *w, uint16_t part, uint32_t epoch)
{
    /* pairs with the acquire load in requests.c: whoever sees the epoch may ask this lane */
    uint32_t was = atomic_load_explicit(&w->node->open_epoch[part], memory_order_relaxed);

    atomic_store_explicit(&w->node->open_epoch[part], epoch, memory_order_release);
    if (was == 0 && epoch != 0)
        atomic_fetch_add(&w->node->open_count, 1);
    else if (was != 0 && epoch == 0)
        atomic_fetch_sub(&w->node->open_count, 1);
}

struct changes {
    struct parts_told opened, closed;
    struct fb_buf open; /* {u16 part, u32 epoch, u64 history} */
};

static void open_parts(struct worker *w, struct changes *c)
{
    struct fb_reader r = fb_reader(fb_buf_view(&c->open)), again = r;

    if (r.n == 0)
        return;
    while (r.n > 0) {
        uint16_t part = fb_take_u16(&r);
        uint32_t epoch = fb_take_u32(&r);
        uint64_t history = fb_take_u64(&r);
        lane_open_partition(w->lane, part, epoch, history, fb_wall_ms());
    }
    /* other workers answer reads of an epoch that they see: its start is in the log by then (I9) */
    if (!FB_MUTANT(open_unwritten))
        worker_write_out(w);
    while (again.n > 0) {
        uint16_t part = fb_take_u16(&again);
        uint32_t epoch = fb_take_u32(&again);
        (void)fb_take_u64(&again);
        parts_serve(w, part, epoch);
        parts_tell(&c->opened, part);
    }
}

static void close_part(struct worker *w, struct changes *c, uint16_t part)
{
    if (!lane_partition_open(w->lane, part))
        return;
    parts_serve(w, part, 0);
    lane_close_partition(w->lane, part);
    parts_tell(&c->closed, part);
}

/* One copy is all that there is, and all that is wanted: nobody needs the replica stream. */
static bool single(const struct fb_part_record *rec)
{
    return rec->isr_count == 1 && rec->learner_count == 0 && rec->min_isr == 1;
}

static void single_record(struct worker *w, struct changes *c, uint16_t part,
                          const struct fb_part_record *rec)
{
    const struct fb_member me = node_self(w->node);
    bool mine = fb_member_same(&rec->primary, &me);

    if (!mine || (lane_partition_open(w->lane, part) &&
                  atomic_load(&w->node->open_epoch[part]) != rec->epoch))
        close_part(w, c, part);
    /* an epoch that the log has already was opened before, and closed for a reason */
    if (!mine || lane_partition_open(w->lane, part) ||
        fb_ver_epoch(lane_last_ver(w->lane, part)) >= rec->epoch)
        return;
    fb_buf_put_u16(&c->open, part);
    fb_buf_put_u32(&c->open, rec->epoch);
    fb_buf_put_u64(&c->open, rec->history);
}

static void wait_later(struct worker *w, struct job *j)
{
    j->mail.next = NULL;
    if (w->later_head == NULL)
        w->later_head = j;
    else
        w->later_tail->mail.next = &j->mail;
    w->later_tail = j;
}

/* Copies begin with what is on disk: again when fsync has returned. */
static void when_synced(struct worker *w, uint16_t part, struct fb_cluster_state *s)
{
    struct job *j = job_new(JOB_RECORD);

    j->state = fb_cluster_state_get(s);
    fb_buf_put_u16(&j->items, part);
    wait_later(w, j);
    log_sync_soon(w->node->log, w->index);
}

/* This node leads it alone, and others are wanted now: a new epoch begins with the replica stream.
 */
static void from_one_to_several(struct worker *w, struct changes *c, uint16_t part, uint32_t epoch)
{
    close_part(w, c, part);
    log_sync_soon(w->node->log, w->index);
    atomic_store(&w->node->anew_epoch[part], epoch);
    node_cluster_poke(w->node);
}

static void copied_record(struct worker *w, struct changes *c, uint16_t part,
                          struct fb_cluster_state *state)
{
    const struct fb_part_record *rec = &state->map->parts[part];
    uint64_t rev = state->map->part_revs[part];
    enum fb_status s;
    struct lane_copy now;

    lane_boot_now(w->lane, fb_boot_ns());
    s = lane_copy_record(w->lane, part, rec, rev);
    w->copied = w->copied || lane_copy_status(w->lane, part, &now);
    if (s == FB_EBUSY)
        from_one_to_several(w, c, part, rec->epoch);
    else if (s == FB_EAGAIN)
        when_synced(w, part, state);
    else if (s != FB_OK)
        FB_LOG(ERROR,
               "the coordinator's record of a partition is refused: it is behind what this node "
               "has; was the coordinator restored?",
               FB_KU("part", part), FB_KU("epoch", rec->epoch), FB_KS("error", fb_status_text(s)));
}

static void carry_out(struct worker *w, const struct job *j)
{
    const struct fb_map *map = j->state->map;
    struct fb_reader r = fb_reader(fb_buf_view(&j->items));
    struct changes c = {0};

    while (r.n > 0) {
        uint16_t part = fb_take_u16(&r);
        const struct fb_part_record *rec = &map->parts[part];
        struct lane_copy now;
        if (single(rec) && !lane_copy_status(w->lane, part, &now)) {
            single_record(w, &c, part, rec);
            if (strcmp(rec->primary.node, w->node->name) != 0)
                copied_record(w, &c, part, j->state); /* of a copy that was moved there is a rest */
        } else {
            copied_record(w, &c, part, j->state);
        }
    }
    open_parts(w, &c);
    parts_told(&c.opened, "partitions opened", w);
    parts_told(&c.closed, "partitions closed", w);
    fb_buf_fini(&c.open);
}

static void job_end(struct job *j)
{
    fb_cluster_state_put(j->state);
    fb_buf_fini(&j->items);
    free(j);
}

void parts_record(struct worker *w, struct job *j)
{
    if (w->later_head == NULL && lane_clock_ready(w->lane) && !w->stop) {
        carry_out(w, j);
        job_end(j);
        return;
    }
    wait_later(w, j);
}

static struct job *take_later(struct worker *w)
{
    struct job *j = w->later_head;

    w->later_head = j->mail.next == NULL ? NULL : FB_CONTAINER_OF(j->mail.next, struct job, mail);
    return j;
}

void parts_later(struct worker *w)
{
    struct job *last = w->later_tail;
    bool more = w->later_head != NULL && lane_clock_ready(w->lane);

    while (more) { /* those that wait now: one may wait again */
        struct job *j = take_later(w);
        more = j != last;
        carry_out(w, j);
        job_end(j);
    }
}

void parts_drop_later(struct worker *w)
{
    while (w->later_head != NULL)
        job_end(take_later(w));
}
