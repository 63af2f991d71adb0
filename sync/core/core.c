/* The sync core's life: configuration, members, events, what others may ask about it. */
#include "sync/core/core.h"

#include "proto/base/hash.h"
#include "sync/core/state.h"

#include <stdio.h>
#include <stdlib.h>

struct sync_core *sync_core_new(const struct sync_core_config *config)
{
    struct sync_core *s = fb_xcalloc(1, sizeof(*s));

    fb_assert(config->lanes >= 1 && config->lanes <= SYNC_LANES_MAX);
    s->config = *config;
    s->random = config->seed | 1;
    sync_core_members(s, NULL, 0);
    return s;
}

static void ns_free(struct sync_core *s, struct sync_ns *ns)
{
    for (uint32_t p = 0; p < FB_PARTITIONS_MAX; p++) {
        struct feed *f = ns->feeds[p];
        if (f == NULL)
            continue;
        sync_safe_forget(s, f);
        fb_buf_fini(&f->bytes);
        free(f->objects);
        free(f->verdict_object);
        free(f);
    }
    free(ns->feeds);
    free(ns);
}

void sync_core_free(struct sync_core *s)
{
    for (uint32_t i = 0; i < s->config.lanes; i++) {
        fb_assert(!s->lanes[i].busy || s->lanes[i].op != NULL);
        if (s->lanes[i].op != NULL) {
            sync_resolved_free(s->lanes[i].op->resolved);
            free(s->lanes[i].op->batch.feeds);
            free(s->lanes[i].op);
        }
        sync_resolved_free(s->lanes[i].resolved);
    }
    for (size_t i = 0; i < s->ns_count; i++)
        ns_free(s, s->ns[i]);
    for (uint32_t i = 0; i < s->peer_count; i++) {
        fb_buf_fini(&s->peers[i]->out);
        free(s->peers[i]);
    }
    free(s);
}

void sync_core_now(struct sync_core *s, uint64_t now_ms)
{
    if (now_ms > s->now)
        s->now = now_ms;
}

void sync_core_drain(struct sync_core *s)
{
    s->draining = true;
}

bool sync_core_quiet(const struct sync_core *s)
{
    for (uint32_t i = 0; i < s->config.lanes; i++)
        if (s->lanes[i].busy)
            return false;
    return true;
}

bool sync_core_db_up(const struct sync_core *s)
{
    return s->db_up;
}

const struct sync_core_stats *sync_core_stats(const struct sync_core *s)
{
    return &s->stats;
}

/* xorshift64*: the jitter needs no more. */
static uint64_t next_random(struct sync_core *s)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return s->random * UINT64_C(2685821657736338717);
}

/* Doubles *backoff within [min, max]; gives it with up to a quarter taken off, so that processes
 * spread out. */
uint64_t sync_backoff(struct sync_core *s, uint64_t *backoff, uint64_t min, uint64_t max)
{
    *backoff = *backoff == 0 ? min : *backoff * 2;
    if (*backoff > max)
        *backoff = max;
    return *backoff - (next_random(s) >> 32) % (*backoff / 4 + 1);
}

struct sync_ns *sync_ns_find(struct sync_core *s, struct fb_bytes name)
{
    for (size_t i = 0; i < s->ns_count; i++)
        if (fb_bytes_is(name, s->ns[i]->name))
            return s->ns[i];
    return NULL;
}

/* Namespaces are never forgotten while the process lives, only marked as gone: an operation may
 * still name them. When more than the limit of names were seen over time, the oldest idle entry
 * that is gone makes room. */
static struct sync_ns *ns_add(struct sync_core *s, const char *name)
{
    struct sync_ns *ns = fb_xcalloc(1, sizeof(*ns));

    (void)snprintf(ns->name, sizeof(ns->name), "%s", name);
    ns->feeds = fb_xcalloc(FB_PARTITIONS_MAX, sizeof(struct feed *));
    if (s->ns_count < FB_NAMESPACES_MAX) {
        s->ns[s->ns_count++] = ns;
        return ns;
    }
    for (size_t i = 0; i < s->ns_count; i++) {
        bool idle = s->ns[i]->cfg == NULL;
        for (uint32_t p = 0; idle && p < FB_PARTITIONS_MAX; p++)
            idle = s->ns[i]->feeds[p] == NULL || s->ns[i]->feeds[p]->state == FEED_IDLE;
        if (idle) {
            ns_free(s, s->ns[i]);
            s->ns[i] = ns;
            return ns;
        }
    }
    free(ns->feeds);
    free(ns);
    return NULL;
}

/* Its batches are let go; what PostgreSQL is doing goes on to its end. */
static void ns_gone(struct sync_core *s, struct sync_ns *ns)
{
    for (uint32_t p = 0; p < FB_PARTITIONS_MAX; p++) {
        struct feed *f = ns->feeds[p];
        if (f == NULL || f->state == FEED_IDLE)
            continue;
        if (f->state == FEED_APPLYING || f->state == FEED_PARKING)
            f->stray = true;
        else
            sync_feed_state(s, f, FEED_IDLE);
    }
}

void sync_core_configure(struct sync_core *s, const struct fb_nsset *namespaces,
                         const struct fb_schema *const *schemas, const bool *paused)
{
    for (size_t i = 0; i < s->ns_count; i++) {
        s->ns[i]->cfg = NULL;
        s->ns[i]->schema = NULL;
    }
    s->safety = namespaces->safety;
    s->safety_lag_ms = namespaces->safety_lag_ms;
    for (uint32_t i = 0; i < namespaces->count; i++) {
        struct sync_ns *ns = sync_ns_find(s, fb_bytes_str(namespaces->ns[i].name));
        uint64_t mapping;
        if (ns == NULL)
            ns = ns_add(s, namespaces->ns[i].name);
        if (ns == NULL)
            continue;
        mapping = fb_schema_mapping(&namespaces->ns[i]);
        if (ns->mapping != 0 && ns->mapping != mapping)
            ns_gone(s, ns); /* what is in hand was meant for another table */
        ns->mapping = mapping;
        ns->cfg = &namespaces->ns[i];
        ns->schema = schemas[i];
        ns->paused = paused[i];
        ns->not_before = 0; /* whatever stopped it may be mended by the change */
    }
    for (size_t i = 0; i < s->ns_count; i++)
        if (s->ns[i]->cfg == NULL)
            ns_gone(s, s->ns[i]);
}

void sync_core_members(struct sync_core *s, const char (*names)[FB_NAME_BYTES_MAX + 1],
                       size_t count)
{
    char next[SYNC_MEMBERS_MAX][FB_NAME_BYTES_MAX + 1];
    size_t n = 0;

    memset(next, 0, sizeof(next));
    memcpy(next[n++], s->config.name, sizeof(next[0]));
    for (size_t i = 0; i < count && n < SYNC_MEMBERS_MAX; i++)
        if (strcmp(names[i], s->config.name) != 0)
            (void)snprintf(next[n++], sizeof(next[0]), "%s", names[i]);
    if (n == s->member_count && memcmp(next, s->members, sizeof(next)) == 0)
        return;
    memcpy(s->members, next, sizeof(next));
    s->member_count = n;
    sync_feeds_forget_checkpoints(s);
}

/* A full ring drops the oldest: the log is not worth more than that. */
static struct sync_event *event_add(struct sync_core *s, enum sync_event_kind kind,
                                    const char *text)
{
    struct sync_event *e;

    if (s->event_count == EVENTS_MAX) {
        s->event_head = (s->event_head + 1) % EVENTS_MAX;
        s->event_count--;
    }
    e = &s->events[(s->event_head + s->event_count++) % EVENTS_MAX];
    memset(e, 0, sizeof(*e));
    e->kind = kind;
    (void)snprintf(e->text, sizeof(e->text), "%s", text);
    return e;
}

void sync_event_put(struct sync_core *s, enum sync_event_kind kind, const struct feed *f,
                    uint64_t ver, const char *text)
{
    struct sync_event *e = event_add(s, kind, text);

    e->ver = ver;
    if (f != NULL) {
        e->part = f->part;
        memcpy(e->ns, f->ns->name, sizeof(e->ns));
    }
}

void sync_event_ns(struct sync_core *s, enum sync_event_kind kind, const struct sync_ns *ns,
                   const char *text)
{
    memcpy(event_add(s, kind, text)->ns, ns->name, sizeof(ns->name));
}

bool sync_core_take_event(struct sync_core *s, struct sync_event *out)
{
    if (s->event_count == 0)
        return false;
    *out = s->events[s->event_head];
    s->event_head = (s->event_head + 1) % EVENTS_MAX;
    s->event_count--;
    return true;
}

void sync_core_flush(struct sync_core *s, const char *ns)
{
    for (uint32_t i = 0; i < s->config.lanes; i++)
        for (struct feed *f = s->lanes[i].head; f != NULL; f = f->next)
            if (f->state == FEED_WAITING && (ns == NULL || strcmp(ns, f->ns->name) == 0))
                f->until = s->now;
}

size_t sync_core_busy(const struct sync_core *s, const char *ns)
{
    size_t n = 0;

    for (uint32_t i = 0; i < s->config.lanes; i++)
        for (const struct feed *f = s->lanes[i].head; f != NULL; f = f->next)
            n += ns == NULL || strcmp(ns, f->ns->name) == 0;
    return n;
}

size_t sync_core_ns_count(const struct sync_core *s)
{
    return s->ns_count;
}

void sync_core_ns_status(const struct sync_core *s, size_t i, struct sync_ns_status *out)
{
    const struct sync_ns *ns = s->ns[i];

    fb_assert(i < s->ns_count);
    *out = (struct sync_ns_status){.name = ns->name,
                                   .rows = ns->rows,
                                   .batches = ns->batches,
                                   .parked = ns->parked,
                                   .conflicts = ns->conflicts,
                                   .lost = ns->lost,
                                   .paused = ns->paused,
                                   .stopped = ns->stopped,
                                   .last_error = ns->last_error};
    if (ns->schema != NULL && ns->schema->problem[0] != '\0') {
        out->stopped = true;
        out->last_error = ns->schema->problem;
    }
    for (uint32_t l = 0; l < s->config.lanes; l++)
        for (const struct feed *f = s->lanes[l].head; f != NULL; f = f->next) {
            uint64_t age = s->now - f->oldest_ms;
            if (f->ns != ns)
                continue;
            out->feeds++;
            out->dirty += f->dirty;
            if (f->dirty > 0 && f->oldest_ms <= s->now && age > out->oldest_age_ms)
                out->oldest_age_ms = age;
        }
}

uint32_t sync_feed_rank(const char (*members)[FB_NAME_BYTES_MAX + 1], size_t count,
                        const char *self, uint16_t part, const char *ns)
{
    uint64_t seed = fb_hash64(ns, strlen(ns), part), mine = fb_hash64(self, strlen(self), seed);
    uint32_t rank = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t theirs = fb_hash64(members[i], strlen(members[i]), seed);
        int order = strcmp(members[i], self);
        if (order != 0 && (theirs > mine || (theirs == mine && order < 0)))
            rank++;
    }
    return rank;
}
