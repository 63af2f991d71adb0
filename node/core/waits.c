/* Replies that wait for fsync or for PostgreSQL. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

#include <stdlib.h>

/* A transaction waits for PostgreSQL to have each of its objects, maybe in several feeds: one reply
 * for all. */
struct rep_group {
    struct rep_wait *reply;
    uint32_t left;
    uint8_t level;         /* the least that one of them reached */
    uint64_t rejected_ver; /* the first that was parked, 0 = none */
    struct fb_buf rejected;
};

struct rep_wait {
    struct rep_wait *next;
    struct rep_group *group; /* this is one of its objects; NULL: a reply of its own */
    struct reply_dest *dest;
    uint64_t at; /* log sequence, or version */
    uint64_t
        log_seq; /* database: the log sequence of the write, for the level reached at a time-out */
    uint64_t hash;
    uint64_t deadline_ns;
    uint64_t since_ns;
    uint8_t on; /* enum fb_wait_on */
    bool synced;
    bool late_is_nil;
    struct fb_rep rep;
    uint8_t payload[];
};

static struct rep_wait *wait_new(const struct lane *l, struct reply_dest *dest,
                                 const struct fb_rep *rep, enum fb_wait_on on)
{
    struct rep_wait *w = fb_xmalloc(sizeof *w + rep->payload.n);
    *w = (struct rep_wait){.dest = dest, .rep = *rep, .since_ns = l->mono_ns, .on = (uint8_t)on};
    if (rep->payload.n > 0)
        memcpy(w->payload, rep->payload.p, rep->payload.n);
    w->rep.payload.p = w->payload;
    dest->held++;
    return w;
}

static void append(struct wait_list *list, struct rep_wait *w)
{
    if (list->tail != NULL)
        list->tail->next = w;
    else
        list->head = w;
    list->tail = w;
}

static void finish(struct lane *l, struct rep_wait *w);

/* It may have waited for a load before: the longer of the two names the cause. */
static void tell_wait(const struct lane *l, const struct rep_wait *w, struct fb_rep *rep)
{
    uint32_t us = (uint32_t)((l->mono_ns - w->since_ns) / 1000);

    if (us >= rep->wait_us && us > 0)
        rep->wait_on = w->on;
    rep->wait_us += us;
}

/* PostgreSQL was asked for and did not get it in time: the answer is no success, and says how far
 * it came (I13). */
static void level_missed(struct fb_rep *rep, uint8_t reached)
{
    rep->level = reached;
    if (FB_MUTANT(level_missed_ok))
        return;
    rep->type = FB_REP_ERR;
    rep->num = FB_REP_ERR_UNKNOWN;
    rep->payload = fb_bytes_str(
        reached >= FB_LEVEL_DURABLE
            ? "it was carried out and is on disk; whether PostgreSQL gets it is not known yet"
        : reached >= FB_LEVEL_LOCAL
            ? "it was carried out and is in the log; whether PostgreSQL gets it is not known yet"
            : "it was carried out; whether other copies and PostgreSQL get it is not known");
}

static void group_one_less(struct lane *l, struct rep_group *g, uint8_t level)
{
    struct fb_rep *rep = &g->reply->rep;

    fb_assert(g->left > 0);
    if (level < g->level)
        g->level = level;
    if (--g->left > 0)
        return;
    rep->level = g->level;
    if (g->rejected_ver != 0)
        *rep = (struct fb_rep){.seq = rep->seq,
                               .queue_us = rep->queue_us,
                               .type = FB_REP_ERR,
                               .ver = g->rejected_ver,
                               .payload = fb_buf_view(&g->rejected)};
    else if (g->level < FB_LEVEL_DATABASE)
        level_missed(rep, g->level);
    finish(l, g->reply);
    fb_buf_fini(&g->rejected);
    free(g);
}

static void finish(struct lane *l, struct rep_wait *w)
{
    if (w->group != NULL) {
        group_one_less(l, w->group, w->rep.level);
        free(w);
        return;
    }
    fb_assert(w->dest->held > 0);
    w->dest->held--;
    if (w->dest->closed) {
        dest_touch(l, w->dest); /* so that the caller sees held reach 0 */
    } else {
        tell_wait(l, w, &w->rep);
        reply_now(l, w->dest, &w->rep);
    }
    free(w);
}

void wait_durable(struct lane *l, struct reply_dest *dest, const struct fb_rep *rep)
{
    struct rep_wait *w = wait_new(l, dest, rep, FB_WAIT_FSYNC);
    w->at = l->fx.log_seq;
    append(&l->durable, w);
    l->fx.sync_wanted = true;
}

void wait_database(struct lane *l, struct part *p, struct feed *f, struct reply_dest *dest,
                   const struct fb_rep *rep, uint64_t ver, uint64_t hash, uint64_t timeout_ns,
                   bool late_is_nil)
{
    struct rep_wait *w = wait_new(l, dest, rep, FB_WAIT_DATABASE);
    w->at = ver;
    w->hash = hash;
    w->log_seq = l->fx.log_seq;
    w->deadline_ns = l->mono_ns + timeout_ns;
    w->late_is_nil = late_is_nil;
    append(&f->waits, w);
    feed_due(l, p, f);
}

void wait_database_group(struct lane *l, struct part *p, struct reply_dest *dest,
                         const struct fb_rep *rep, uint64_t first, uint64_t timeout_ns)
{
    struct rep_group *g = fb_xcalloc(1, sizeof *g);
    const struct pending_set *s = &l->pending;

    g->reply = wait_new(l, dest, rep, FB_WAIT_DATABASE);
    g->level = FB_LEVEL_DATABASE;
    for (uint32_t i = s->n == 0 ? UINT32_MAX : s->newest; i != UINT32_MAX; i = s->e[i].older) {
        const struct object *o = s->e[i].next;
        struct rep_wait *w;
        struct feed *f;
        if (s->e[i].log_seq != l->fx.log_seq)
            break;
        if (o->part != p->id)
            continue;
        if (o->ver < first)
            break;
        w = fb_xcalloc(1, sizeof *w);
        w->group = g;
        w->dest = dest;
        w->at = o->ver;
        w->hash = s->e[i].hash;
        w->deadline_ns = l->mono_ns + timeout_ns;
        f = feed_get(p, o->ns);
        append(&f->waits, w);
        feed_due(l, p, f);
        g->left++;
    }
    fb_assert(g->left > 0);
}

/* Due times never go back, so the list is in order and the replies of one connection stay in
 * theirs. */
void wait_throttled(struct lane *l, struct reply_dest *dest, const struct fb_rep *rep,
                    uint64_t delay_ns)
{
    struct rep_wait *w = wait_new(l, dest, rep, FB_WAIT_THROTTLE);
    if (l->mono_ns + delay_ns > l->throttled_until_ns)
        l->throttled_until_ns = l->mono_ns + delay_ns;
    w->deadline_ns = l->throttled_until_ns;
    append(&l->throttled, w);
    STAT_ADD(l, throttled, 1);
}

void waits_throttled(struct lane *l)
{
    while (l->throttled.head != NULL && l->throttled.head->deadline_ns <= l->mono_ns) {
        struct rep_wait *w = l->throttled.head;
        l->throttled.head = w->next;
        if (l->throttled.head == NULL)
            l->throttled.tail = NULL;
        finish(l, w);
    }
}

uint64_t waits_throttled_ns(const struct lane *l)
{
    return l->throttled.head != NULL ? l->throttled.head->deadline_ns : UINT64_MAX;
}

void waits_synced(struct lane *l, uint64_t log_seq)
{
    while (l->durable.head != NULL && l->durable.head->at <= log_seq) {
        struct rep_wait *w = l->durable.head;
        l->durable.head = w->next;
        if (l->durable.head == NULL)
            l->durable.tail = NULL;
        w->rep.level = FB_LEVEL_DURABLE; /* I13: the caller's fsync covers the write */
        finish(l, w);
    }
}

/* Take out every waiter for which fate() gives a verdict. The lists are short: people wait for
 * PostgreSQL one by one. */
static void filter(struct lane *l, struct wait_list *list,
                   bool (*fate)(struct lane *, struct rep_wait *, const void *), const void *arg)
{
    struct rep_wait *w = list->head;
    *list = (struct wait_list){0};
    while (w != NULL) {
        struct rep_wait *next = w->next;
        w->next = NULL;
        if (fate(l, w, arg))
            finish(l, w);
        else
            append(list, w);
        w = next;
    }
}

static bool fate_dsafe(struct lane *l, struct rep_wait *w, const void *arg)
{
    const uint64_t *dsafe = arg;
    (void)l;
    if (w->at > *dsafe)
        return false;
    w->rep.level = FB_LEVEL_DATABASE;
    return true;
}

void waits_rewritten(struct feed *f, uint64_t hash, uint64_t ver, uint64_t emitted_ver)
{
    if (FB_MUTANT(wait_replaced))
        return;
    for (struct rep_wait *w = f->waits.head; w != NULL; w = w->next)
        if (w->hash == hash && w->at > f->ckpt && w->at > emitted_ver && w->at < ver)
            w->at = ver;
}

void waits_dsafe(struct lane *l, struct feed *f)
{
    if (f->waits.head != NULL)
        filter(l, &f->waits, fate_dsafe, &f->dsafe);
}

struct parked_arg {
    uint64_t hash, ver;
    struct fb_bytes text;
};

static bool fate_parked(struct lane *l, struct rep_wait *w, const void *arg)
{
    const struct parked_arg *a = arg;
    if (w->hash != a->hash || w->at > a->ver)
        return false;
    if (w->group != NULL) {
        if (w->group->rejected_ver == 0)
            fb_buf_put_bytes(&w->group->rejected, a->text);
        w->group->rejected_ver = a->ver;
        group_one_less(l, w->group, FB_LEVEL_LOCAL);
        return true;
    }
    struct fb_rep rep = {.seq = w->rep.seq,
                         .type = FB_REP_ERR,
                         .level = FB_LEVEL_LOCAL, /* it was written: others tell by this */
                         .ver = a->ver,
                         .payload = a->text};
    rep.queue_us = w->rep.queue_us;
    tell_wait(l, w, &rep);
    if (!w->dest->closed)
        reply_now(l, w->dest, &rep);
    else
        dest_touch(l, w->dest);
    w->dest->held--;
    return true;
}

void waits_parked(struct lane *l, struct feed *f, uint64_t hash, uint64_t ver,
                  const struct park_info *park)
{
    struct parked_arg a = {.hash = hash, .ver = ver};
    struct fb_buf text = {0};
    struct rep_wait *w = f->waits.head;

    if (w == NULL)
        return;
    fb_buf_printf(&text, "REJECTED %s %.*s (version %llu is parked)", park->sqlstate, (int)park->n,
                  park->message, (unsigned long long)ver);
    for (size_t i = 0; i < text.n; i++) /* one line: a reply cannot hold a line end */
        if (text.p[i] == '\r' || text.p[i] == '\n')
            text.p[i] = ' ';
    a.text = fb_buf_view(&text);
    f->waits = (struct wait_list){0};
    while (w != NULL) {
        struct rep_wait *next = w->next;
        w->next = NULL;
        if (fate_parked(l, w, &a))
            free(w);
        else
            append(&f->waits, w);
        w = next;
    }
    fb_buf_fini(&text);
}

static uint8_t level_of(const struct part *p, uint64_t ver)
{
    if (p->copy != NULL)
        return copy_level(p, ver);
    return p->synced_ver >= ver ? FB_LEVEL_DURABLE : FB_LEVEL_LOCAL;
}

static bool fate_late(struct lane *l, struct rep_wait *w, const void *arg)
{
    const struct part *p = arg;
    if (w->deadline_ns > l->mono_ns)
        return false;
    w->rep.level = level_of(p, w->at);
    if (w->late_is_nil)
        w->rep.type = FB_REP_NIL;
    else if (w->group == NULL)
        level_missed(&w->rep, w->rep.level);
    return true;
}

void waits_tick(struct lane *l, struct part *p, struct feed *f)
{
    if (f->waits.head != NULL)
        filter(l, &f->waits, fate_late, p);
}

static bool fate_closed(struct lane *l, struct rep_wait *w, const void *arg)
{
    const struct part *p = arg;
    (void)l;
    w->rep.level = level_of(p, w->at);
    if (w->late_is_nil)
        w->rep.type = FB_REP_NIL;
    else if (w->group == NULL)
        level_missed(&w->rep, w->rep.level);
    return true;
}

void waits_close(struct lane *l, struct part *p)
{
    for (uint32_t i = 0; i < p->feed_cap; i++)
        if (p->feeds[i] != NULL && p->feeds[i]->waits.head != NULL)
            filter(l, &p->feeds[i]->waits, fate_closed, p);
}

void waits_fini(struct wait_list *list)
{
    while (list->head != NULL) {
        struct rep_wait *w = list->head;
        list->head = w->next;
        if (w->group != NULL && --w->group->left == 0) {
            free(w->group->reply);
            fb_buf_fini(&w->group->rejected);
            free(w->group);
        }
        free(w);
    }
    list->tail = NULL;
}

uint64_t waits_bytes(const struct wait_list *list)
{
    uint64_t n = 0;
    for (const struct rep_wait *w = list->head; w != NULL; w = w->next)
        n += sizeof(*w) + w->rep.payload.n + 16;
    return n;
}
