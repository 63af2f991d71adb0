/* dsafe: the checkpoint that survives a fail-over of PostgreSQL (PROTOCOL 11). Nodes drop nothing
 * above it.
 *
 *   single  the checkpoint, at COMMIT
 *   sync    the checkpoint, when COMMIT was confirmed by a synchronous standby. What was not (the
 *           wait was cancelled, or the checkpoint was only read) is safe once a later transaction
 *           is: the write-ahead log is one line. If none comes, a barrier is one.
 *   lag(T)  the checkpoint of T ago, where the same server is known to have been alive after T:
 * only then had the standby T of time to get it
 *
 * What is not safe yet is kept per feed twice, as version and number of operations for `sync`, and
 * in buckets of time for `lag`. */
#include "proto/base/mutant.h"
#include "sync/core/state.h"

#include <stdio.h>

/* While nobody confirms, one transaction asks again and again. */
#define BARRIER_BACKOFF_MIN 1000u
#define BARRIER_BACKOFF_MAX 30000u

enum sync_safety sync_safe_mode(const struct sync_core *s)
{
    switch (s->safety) {
    case FB_SAFETY_SINGLE:
        return SYNC_SAFETY_SINGLE;
    case FB_SAFETY_SYNC:
        return SYNC_SAFETY_SYNC;
    case FB_SAFETY_LAG:
        return SYNC_SAFETY_LAG;
    case FB_SAFETY_AUTO:
        break;
    }
    if (s->standbys.sync_names)
        return SYNC_SAFETY_SYNC;
    return s->standby_seen ? SYNC_SAFETY_LAG : SYNC_SAFETY_SINGLE;
}

static void unsafe_add(struct sync_core *s, struct feed *f)
{
    if (f->unsafe)
        return;
    f->unsafe = true;
    f->unsafe_prev = NULL;
    f->unsafe_next = s->unsafe;
    if (s->unsafe != NULL)
        s->unsafe->unsafe_prev = f;
    s->unsafe = f;
    s->unsafe_count++;
}

void sync_safe_forget(struct sync_core *s, struct feed *f)
{
    f->bucket_n = 0;
    if (!f->unsafe)
        return;
    *(f->unsafe_prev != NULL ? &f->unsafe_prev->unsafe_next : &s->unsafe) = f->unsafe_next;
    if (f->unsafe_next != NULL)
        f->unsafe_next->unsafe_prev = f->unsafe_prev;
    f->unsafe_prev = f->unsafe_next = NULL;
    f->unsafe = false;
    s->unsafe_count--;
}

/* Everything up to ver is safe. */
static void release(struct sync_core *s, struct feed *f, uint64_t ver)
{
    fb_assert(ver <= f->ckpt);
    if (ver > f->dsafe)
        f->dsafe = ver;
    if (f->dsafe >= f->ckpt)
        sync_safe_forget(s, f);
}

static void bucket_add(struct sync_core *s, struct feed *f, uint64_t ver)
{
    uint64_t width = s->safety_lag_ms / SAFE_BUCKETS_A_LAG;
    struct safe_bucket *last = f->bucket_n > 0 ? &f->bucket[f->bucket_n - 1] : NULL;

    if (last != NULL && s->now <= last->since + width) {
        last->ver = ver;
    } else if (f->bucket_n < SAFE_BUCKETS) {
        f->bucket[f->bucket_n++] = (struct safe_bucket){.ver = ver, .since = s->now};
    } else { /* nobody has told for long that the server is alive: the newest one waits longer */
        *last = (struct safe_bucket){.ver = ver, .since = s->now};
    }
}

/* The checkpoint is f->ckpt now, and that is not safe yet. */
static void hold(struct sync_core *s, struct feed *f)
{
    if (f->ckpt <= f->dsafe)
        return;
    unsafe_add(s, f);
    f->unsafe_ver = f->ckpt;
    f->unsafe_mark = s->op_number;
    f->unsafe_server = s->lanes[f->lane].server;
    bucket_add(s, f, f->ckpt);
}

/* A transaction that began after `number - 1` operations were known is on a standby. */
static void confirmed(struct sync_core *s, const struct sync_op *op)
{
    struct feed *next;

    for (struct feed *f = s->unsafe; f != NULL; f = next) {
        next = f->unsafe_next;
        if (f->unsafe_mark >= op->number || f->unsafe_server != s->lanes[op->lane].server)
            continue;
        release(s, f, f->unsafe_ver);
        sync_feed_tell(s, f, 0);
    }
    s->barrier_backoff = 0;
    s->unconfirmed = false;
}

void sync_safe_barrier_later(struct sync_core *s)
{
    s->barrier_at =
        s->now + sync_backoff(s, &s->barrier_backoff, BARRIER_BACKOFF_MIN, BARRIER_BACKOFF_MAX);
}

void sync_safe_outcome(struct sync_core *s, const struct sync_op *op)
{
    if (sync_safe_mode(s) != SYNC_SAFETY_SYNC || op->class != PG_OK)
        return;
    if (op->batch.replicated) {
        confirmed(s, op);
        return;
    }
    sync_safe_barrier_later(s);
    if (!s->unconfirmed)
        sync_event_put(s, SYNC_EVENT_UNCONFIRMED, NULL, 0,
                       op->batch.sync_cancelled
                           ? "PostgreSQL cancelled the wait for its synchronous standby"
                           : "synchronous_standby_names is empty or synchronous_commit is below "
                             "remote_write, but database_safety is sync");
    s->unconfirmed = true;
}

void sync_safe_committed(struct sync_core *s, struct feed *f, bool replicated)
{
    enum sync_safety mode = sync_safe_mode(s);

    if (FB_MUTANT(safe_at_once) || mode == SYNC_SAFETY_SINGLE ||
        (mode == SYNC_SAFETY_SYNC && replicated))
        release(s, f, f->ckpt);
    else
        hold(s, f);
}

void sync_safe_read(struct sync_core *s, struct feed *f, bool other_server)
{
    if (f->dsafe >= f->ckpt) {
        f->dsafe = f->ckpt;
        sync_safe_forget(s, f);
        return;
    }
    if (f->unsafe_ver > f->ckpt)
        f->unsafe_ver = f->ckpt;
    if (other_server || (f->bucket_n > 0 && f->bucket[f->bucket_n - 1].ver > f->ckpt))
        f->bucket_n = 0; /* the time that counts begins anew */
    if (sync_safe_mode(s) == SYNC_SAFETY_SINGLE)
        release(s, f, f->ckpt);
    else if (f->bucket_n == 0 || f->bucket[f->bucket_n - 1].ver < f->ckpt)
        hold(s, f);
}

/* LAG: what is old enough, as seen by the server's sign of life. */
static void mature(struct sync_core *s, struct feed *f, uint64_t alive_ms)
{
    uint64_t wait = s->safety_lag_ms + s->safety_lag_ms / SAFE_BUCKETS_A_LAG, ver = 0;
    uint32_t n = 0;

    while (n < f->bucket_n && f->bucket[n].since + wait <= alive_ms)
        ver = f->bucket[n++].ver;
    if (n == 0)
        return;
    memmove(f->bucket, f->bucket + n, (f->bucket_n - n) * sizeof(f->bucket[0]));
    f->bucket_n -= n;
    release(s, f, ver);
    sync_feed_tell(s, f, 0);
}

void sync_safe_standbys(struct sync_core *s, const struct pg_standbys *seen)
{
    enum sync_safety was = sync_safe_mode(s), mode;
    char text[200];

    s->standby_seen = s->standby_seen || seen->streaming > 0;
    s->standbys = *seen;
    mode = sync_safe_mode(s);
    if (mode == was && s->standbys_known)
        return;
    s->standbys_known = true;
    (void)snprintf(text, sizeof(text), "%s", sync_safety_word(mode));
    sync_event_put(s, SYNC_EVENT_SAFETY, NULL, s->standbys.streaming, text);
}

void sync_core_standbys(struct sync_core *s, const struct pg_standbys *seen, uint64_t asked_ms)
{
    enum sync_safety mode;
    struct feed *next;

    sync_safe_standbys(s, seen);
    mode = sync_safe_mode(s);
    /* Another server: what this one knew of the checkpoints may be lost, also of feeds that have
     * nothing to write. */
    for (uint32_t i = 0; i < s->config.lanes; i++)
        if (s->lanes[i].state == LANE_READY && s->lanes[i].server != seen->server)
            s->lanes[i].want_attach = true;
    for (struct feed *f = s->unsafe; f != NULL; f = next) {
        next = f->unsafe_next;
        if (mode == SYNC_SAFETY_SINGLE) {
            release(s, f, f->ckpt);
            sync_feed_tell(s, f, 0);
        } else if (mode == SYNC_SAFETY_LAG && s->lanes[f->lane].server == seen->server) {
            mature(s, f, asked_ms);
        }
    }
}

struct feed *sync_safe_barrier(struct sync_core *s, uint32_t lane)
{
    if (sync_safe_mode(s) != SYNC_SAFETY_SYNC || s->now < s->barrier_at)
        return NULL;
    for (struct feed *f = s->unsafe; f != NULL; f = f->unsafe_next)
        if (f->lane == lane && f->ckpt_known && f->ns->cfg != NULL)
            return f;
    return NULL;
}

uint64_t sync_safe_deadline(const struct sync_core *s)
{
    return sync_safe_mode(s) == SYNC_SAFETY_SYNC && s->unsafe != NULL && s->barrier_at > s->now
               ? s->barrier_at
               : UINT64_MAX;
}

const char *sync_safety_word(enum sync_safety mode)
{
    return mode == SYNC_SAFETY_SINGLE ? "single" : mode == SYNC_SAFETY_SYNC ? "sync" : "lag";
}

void sync_core_safety(const struct sync_core *s, struct sync_safety_status *out)
{
    *out = (struct sync_safety_status){.mode = sync_safe_mode(s),
                                       .automatic = s->safety == FB_SAFETY_AUTO,
                                       .lag_ms = s->safety_lag_ms,
                                       .sync_names = s->standbys.sync_names,
                                       .standbys = s->standbys.streaming,
                                       .unsafe_feeds = s->unsafe_count,
                                       .unconfirmed = s->unconfirmed};
}
