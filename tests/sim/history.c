/* The shadow history: objects, commands under way, records (history.h). */
#include "tests/sim/history_impl.h"

#include "proto/base/hash.h"
#include "proto/cluster/slot.h"
#include "proto/wire/version.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define VERSIONS_SHOWN 14u
#define OPS_SHOWN 12u

struct history *history_new(const struct history_config *config)
{
    struct history *h = fb_xcalloc(1, sizeof *h);
    h->config = *config;
    h->parts = fb_xcalloc(config->partitions, sizeof *h->parts);
    return h;
}

static void object_free(struct history *h, struct object *o)
{
    while (o->first != NULL)
        op_end(h, o->first);
    for (uint32_t i = 0; i < o->n; i++)
        shadow_fini(&o->v[i].state);
    for (uint32_t i = 0; i < o->lost_n; i++) {
        shadow_fini(&o->lost[i].state);
        shadow_fini(&o->lost[i].before);
    }
    free(o->lost);
    free(o->v);
    free(o);
}

void history_free(struct history *h)
{
    while (h->txns != NULL) {
        struct history_txn *t = h->txns;
        h->txns = t->next;
        history_txn_free(t);
    }
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (h->bucket[i] != NULL) {
            struct object *o = h->bucket[i];
            h->bucket[i] = o->next;
            object_free(h, o);
        }
    for (uint32_t i = 0; i < h->config.partitions; i++)
        free(h->parts[i].group.items);
    free(h->parts);
    free(h);
}

const struct history_counts *history_counts(const struct history *h)
{
    return &h->counts;
}

bool history_failed(const struct history *h)
{
    return h->failed;
}

void history_wall(struct history *h, uint64_t wall_ms, uint64_t seen_ms)
{
    h->wall_ms = wall_ms;
    if (seen_ms > h->wall_max_ms)
        h->wall_max_ms = seen_ms;
}

void history_wall_set_back(struct history *h, uint64_t ms)
{
    if (ms == UINT64_MAX)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++)
        for (struct object *o = h->bucket[i]; o != NULL; o = o->next)
            for (struct history_op *op = o->first; op != NULL; op = op->next)
                if (ms < op->wall_ms)
                    op->wall_ms = ms;
}

static void tell_object(struct fb_buf *b, const struct object *o)
{
    uint32_t shown = 0, from = o->n > VERSIONS_SHOWN ? o->n - VERSIONS_SHOWN : 0;
    fb_buf_printf(b, "\n  %s in partition %u, versions (known up to the %u.):", o->key, o->part,
                  o->known);
    for (uint32_t i = from; i < o->n; i++) {
        const struct version *v = &o->v[i];
        fb_buf_printf(b, "\n    %3u. %u/%llu at %.6f s promised %u: ", i, fb_ver_epoch(v->rec_ver),
                      (unsigned long long)fb_ver_counter(v->rec_ver), (double)v->at_ns / 1e9,
                      v->promised);
        shadow_text(&v->state, b);
    }
    for (const struct history_op *op = o->first; op != NULL && shown < OPS_SHOWN; op = op->next) {
        fb_buf_printf(b, "\n    client %u %s since %.6f s%s: ", op->client,
                      op->state == OP_OPEN ? "waits" : "never knew", (double)op->sent_ns / 1e9,
                      op->made != NONE ? " (made one of them)" : "");
        shadow_cmd_text(&op->cmd, b);
        shown++;
    }
}

void fail(struct history *h, const struct object *o, const char *what, const char *fmt, ...)
{
    struct fb_buf b = {0};
    char text[1024];
    va_list ap;
    if (h->failed)
        return;
    h->failed = true;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fb_buf_put_str(&b, text);
    if (o != NULL)
        tell_object(&b, o);
    fb_buf_put_u8(&b, 0);
    h->config.violation(h->config.arg, what, (const char *)b.p);
    fb_buf_fini(&b);
}

/* --- objects --- */

static struct version *version_add(struct object *o)
{
    if (o->n == o->cap) {
        o->cap = o->cap == 0 ? 8 : o->cap * 2;
        o->v = fb_xrealloc(o->v, o->cap * sizeof *o->v);
    }
    o->v[o->n] = (struct version){0};
    return &o->v[o->n++];
}

struct object *object_of(struct history *h, const char *key, bool make)
{
    struct object **at = &h->bucket[fb_hash64(key, strlen(key), 1) % BUCKETS], *o;
    for (; *at != NULL; at = &(*at)->next)
        if (strcmp((*at)->key, key) == 0)
            return *at;
    if (!make)
        return NULL;
    o = fb_xcalloc(1, sizeof *o);
    snprintf(o->key, sizeof o->key, "%s", key);
    o->part = fb_key_partition(fb_bytes_str(key), h->config.partitions);
    o->others = h->config.others_write != NULL && h->config.others_write(h->config.arg, o->key);
    version_add(o);
    *at = o;
    return o;
}

const struct shadow *history_newest(const struct history *h, const char *key, uint64_t *ver)
{
    const struct object *o = object_of((struct history *)(uintptr_t)h, key, false);
    if (o == NULL)
        return NULL;
    *ver = o->v[o->n - 1].ver;
    return &o->v[o->n - 1].state;
}

void history_each(const struct history *h, void (*fn)(void *arg, const struct history_final *f),
                  void *arg)
{
    for (uint32_t i = 0; i < BUCKETS; i++)
        for (const struct object *o = h->bucket[i]; o != NULL; o = o->next) {
            struct history_final f = {.key = o->key,
                                      .state = &o->v[o->n - 1].state,
                                      .ver = o->v[o->n - 1].ver,
                                      .others_write = o->others};
            fn(arg, &f);
        }
}

/* --- commands under way --- */

/* Which of them wrote what either writes cannot be told from now on. */
static void mark_again(struct object *o, const struct shadow_cmd *cmd)
{
    for (struct history_op *op = o->first; op != NULL; op = op->next) {
        if (op->txn != NULL || !shadow_cmd_equal(&op->cmd, cmd))
            continue;
        op->cmd.flags |= SHADOW_AGAIN;
        if (op->made != NONE)
            o->v[op->made].guessed = true;
    }
}

struct history_op *history_invoke(struct history *h, uint64_t now_ns, uint32_t client,
                                  uint64_t conn, struct shadow_cmd *cmd, uint8_t level)
{
    struct history_op *op = fb_xcalloc(1, sizeof *op);
    struct object *o = object_of(h, cmd->key, true);
    fb_assert(client < HISTORY_CLIENTS_MAX);
    h->counts.commands++;
    if (cmd->flags & SHADOW_AGAIN)
        mark_again(o, cmd);
    op->cmd = *cmd;
    *cmd = (struct shadow_cmd){0};
    op->o = o;
    op->sent_ns = now_ns;
    op->wall_ms = h->wall_ms;
    op->client = client;
    op->conn = conn;
    op->level = level;
    op->floor = o->known;
    op->made = NONE;
    op->prev = o->last;
    if (o->last != NULL)
        o->last->next = op;
    else
        o->first = op;
    o->last = op;
    return op;
}

const char *history_op_key(const struct history_op *op)
{
    return op->cmd.key;
}

const struct shadow_cmd *history_op_cmd(const struct history_op *op)
{
    return &op->cmd;
}

/* Whatever command of its kind it is. */
static bool has_no_name(const struct shadow_cmd *c)
{
    return c->op == SHADOW_DEL || c->op == SHADOW_GETDEL || c->op == SHADOW_HDEL ||
           c->op == SHADOW_PERSIST || c->op == SHADOW_PEXPIREAT ||
           ((c->flags & (SHADOW_PX | SHADOW_PXAT)) && !(c->flags & SHADOW_FUTURE)) ||
           ((c->op == SHADOW_SET || c->op == SHADOW_SETIF || c->op == SHADOW_HSET ||
             c->op == SHADOW_APPEND) &&
            c->value.n == 0);
}

bool history_nameless(const struct shadow_cmd *c)
{
    return (c->flags & SHADOW_AGAIN) || has_no_name(c);
}

bool history_has_twin(struct history *h, const struct shadow_cmd *cmd, bool strict)
{
    const struct object *o = object_of(h, cmd->key, false);
    if (o == NULL || !has_no_name(cmd))
        return false;
    for (const struct history_op *op = o->first; op != NULL; op = op->next)
        if (has_no_name(&op->cmd) && op->until_ns == 0 && (op->state == OP_OPEN || strict))
            return true;
    return false;
}

void op_end(struct history *h, struct history_op *op)
{
    struct object *o = op->o;
    (void)h;
    if (op->made != NONE)
        o->v[op->made].by = NULL;
    if (op->prev != NULL)
        op->prev->next = op->next;
    else
        o->first = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    else
        o->last = op->prev;
    shadow_cmd_fini(&op->cmd);
    free(op);
}

void history_unknown(struct history *h, struct history_op *op, uint64_t now_ns)
{
    (void)now_ns;
    h->counts.unknown++;
    op->state = OP_UNKNOWN;
    /* what cannot write, or has written, will explain no further record */
    if (!shadow_op_writes(op->cmd.op) || op->burned)
        op_end(h, op);
}

/* --- records --- */

static const struct shadow absent;

const struct shadow *state_before(const struct object *o, uint32_t i, uint64_t now_ms)
{
    const struct shadow *s = &o->v[i - 1].state;
    bool due = s->kind != FB_KIND_NONE && s->expires_ms != 0 && (uint64_t)s->expires_ms <= now_ms;
    return due ? &absent : s;
}

bool op_makes(const struct history_op *op, uint32_t i)
{
    const struct version *v = &op->o->v[i];
    const struct shadow *before = state_before(op->o, i, v->ptime_ms);
    struct shadow after;
    enum shadow_effect e = shadow_apply(&op->cmd, before, op->o->v[i - 1].ver, v->ptime_ms, &after);
    bool makes = (e != SHADOW_NOTHING && shadow_equal(&after, &v->state)) ||
                 (e == SHADOW_MAY_DELETE && v->state.kind == FB_KIND_NONE);
    shadow_fini(&after);
    return makes;
}

/* How likely `op` is the one that made version i: 0 = it did not. What writes bytes or amounts of
 * its own is sure. Of equal ones first one that still waits, else the one sent last, so that those
 * sent earlier are left for earlier versions; a SET that found its time to be over is the last
 * guess. */
static int likely(const struct history_op *op, uint32_t i)
{
    const struct version *v = &op->o->v[i];
    if (op->burned || op->txn != NULL || op->sent_ns > v->at_ns ||
        (op->until_ns != 0 && op->until_ns < v->at_ns) || !op_makes(op, i))
        return 0;
    if (op->cmd.op == SHADOW_SET && v->state.kind == FB_KIND_NONE)
        return op->state == OP_OPEN ? 2 : 1;
    if (!history_nameless(&op->cmd))
        return 5;
    return op->state == OP_OPEN ? 4 : 3;
}

static void give(struct object *o, uint32_t i, struct history_op *op)
{
    op->made = i;
    o->v[i].by = op;
    o->v[i].guessed = history_nameless(&op->cmd);
}

/* Find a maker for version i, `but` being none of any: the most likely one that is free, else one
 * that made another version for which a maker is found in turn (an augmenting path). `stamp`:
 * versions looked at in this search. */
static bool assign(struct object *o, uint32_t i, const struct history_op *but, uint64_t stamp)
{
    struct history_op *best = NULL;
    int best_rank = 0;
    o->v[i].stamp = stamp;
    for (struct history_op *op = o->first; op != NULL; op = op->next) {
        int rank = op == but || op->made != NONE ? 0 : likely(op, i);
        if (rank == 0 || rank < best_rank || (rank == best_rank && rank == 4))
            continue;
        best = op;
        best_rank = rank;
    }
    for (struct history_op *op = o->first; op != NULL && best == NULL; op = op->next) {
        uint32_t j = op->made;
        if (op == but || j == NONE || j == i || o->v[j].stamp == stamp || likely(op, i) == 0)
            continue;
        if (assign(o, j, but, stamp))
            best = op;
    }
    if (best != NULL)
        give(o, i, best);
    return best != NULL;
}

/* Is r what a client is told whose command made version i? */
static bool answers(const struct history_op *op, uint32_t i, const struct reply *r)
{
    const struct version *v = &op->o->v[i];
    if (op->cmd.op == SHADOW_SETIF && r->type == ':' && (uint64_t)r->num != v->ver)
        return false;
    return shadow_reply_fits(&op->cmd, state_before(op->o, i, v->ptime_ms), true, &v->state, r);
}

bool version_may_be(const struct history_op *op, uint32_t i, const struct reply *r)
{
    const struct version *v = &op->o->v[i];
    if (i == 0 ||
        (i != op->made && (!v->guessed || !history_nameless(&op->cmd) || likely(op, i) == 0)))
        return false;
    return answers(op, i, r);
}

bool version_in_doubt(struct object *o, uint32_t i)
{
    struct version *v = &o->v[i];
    bool rivals = false;
    for (const struct history_op *op = o->first; op != NULL && v->guessed; op = op->next)
        rivals = rivals || (op != v->by && likely(op, i) != 0);
    if (!rivals)
        return false;
    for (struct history_op *op = o->first; op != NULL; op = op->next)
        op->doubt = op->doubt || likely(op, i) != 0;
    v->by->made = NONE;
    v->by = NULL;
    shadow_copy(&v->before, state_before(o, i, v->ptime_ms));
    return true;
}

bool version_is_named(const struct history_op *op)
{
    return likely(op, op->made) == 5;
}

bool version_regive(struct history *h, struct object *o, uint32_t i)
{
    struct history_op *was = o->v[i].by;
    was->made = NONE;
    if (assign(o, i, was, ++h->stamp))
        return true;
    give(o, i, was);
    return false;
}

bool version_take(struct history *h, struct history_op *op, const struct reply *r)
{
    struct object *o = op->o;
    uint32_t mine = op->made;
    for (uint32_t i = lowest(h, op); i < o->n; i++) {
        struct history_op *other = o->v[i].by;
        if (i == 0 || other == NULL || other == op || other->txn != NULL || op_is_answered(other) ||
            likely(op, i) == 0 || !answers(op, i, r))
            continue;
        other->made = NONE;
        give(o, i, op);
        if (mine == NONE || assign(o, mine, op, ++h->stamp))
            return true;
        give(o, i, other);
        give(o, mine, op);
    }
    return false;
}

static void fail_record(struct history *h, struct object *o, const struct fb_record *r)
{
    struct fb_buf text = {0};
    shadow_text(&o->v[o->n - 1].state, &text);
    fail(h, o, "I15",
         "a record that no command explains: %s %s %u/%llu = %.*s (a command's second record, a "
         "value computed from another version, or one of a command that was refused)",
         fb_record_type_name(r->type), o->key, fb_ver_epoch(r->ver),
         (unsigned long long)fb_ver_counter(r->ver), (int)(text.n > 200 ? 200 : text.n),
         text.n > 0 ? (const char *)text.p : "");
    fb_buf_fini(&text);
}

/* What was parked is tried again under a fresh version. */
static bool is_retry(const struct object *o, uint32_t i)
{
    return o->parked_ver != 0 && o->v[i - 1].ver == o->parked_ver &&
           shadow_equal(&o->v[i - 1].state, &o->v[i].state);
}

static void record_write(struct history *h, uint64_t now_ns, struct partition *p, struct object *o,
                         const struct fb_record *r)
{
    struct version *v = version_add(o);
    uint32_t i = o->n - 1;

    v->ver = v->rec_ver = r->ver;
    v->cut = p->group_left > 0 ? p->group.end : r->ver;
    v->at_ns = now_ns;
    v->ptime_ms = r->ptime_ms;
    v->state = (struct shadow){.kind = r->type == FB_RECORD_PUT ? r->kind : FB_KIND_NONE,
                               .expires_ms = r->type == FB_RECORD_PUT ? r->expires_ms : 0};
    if (r->type == FB_RECORD_PUT)
        fb_buf_put_bytes(&v->state.value, r->value);
    if (o->others || p->group_left > 0) /* a GROUP is judged as a whole */
        return;
    if (!assign(o, i, NULL, ++h->stamp) && !is_retry(o, i))
        fail_record(h, o, r);
}

static void record_expire(struct history *h, uint64_t now_ns, const struct partition *p,
                          struct object *o, const struct fb_record *r)
{
    const struct version *was = &o->v[o->n - 1];
    struct version *v;
    /* a copy that was loaded may have the row's token for a version: epoch 0 */
    bool same = was->ver == r->obj_ver || fb_ver_epoch(r->obj_ver) == 0;
    if (!o->others && (!same || was->state.kind == FB_KIND_NONE || was->state.expires_ms == 0 ||
                       (uint64_t)was->state.expires_ms > r->ptime_ms))
        fail(h, o, "I26", "EXPIRE of version %u/%llu at time %llu: not due, or not the newest",
             fb_ver_epoch(r->obj_ver), (unsigned long long)fb_ver_counter(r->obj_ver),
             (unsigned long long)r->ptime_ms);
    v = version_add(o);
    v->ver = v->rec_ver = r->ver;
    v->cut = p->group_left > 0 ? p->group.end : r->ver;
    v->at_ns = now_ns;
    v->ptime_ms = r->ptime_ms;
    v->expiry = true;
}

static void trace_record(struct history *h, const struct fb_record *r, const char *key)
{
    struct fb_buf b = {0};
    struct shadow s = {.kind = r->kind, .expires_ms = r->expires_ms};
    if (h->config.trace == NULL)
        return;
    fb_buf_printf(&b, "log p%u %u/%llu %s %s", r->part, fb_ver_epoch(r->ver),
                  (unsigned long long)fb_ver_counter(r->ver), fb_record_type_name(r->type), key);
    if (r->type == FB_RECORD_PUT) {
        fb_buf_put_str(&b, " = ");
        s.value = (struct fb_buf){.p = (uint8_t *)(uintptr_t)r->value.p, .n = r->value.n};
        shadow_text(&s, &b);
    } else if (r->type == FB_RECORD_GROUP) {
        fb_buf_printf(&b, " of %u", r->count);
    } else if (r->type == FB_RECORD_REFRESH) {
        fb_buf_printf(&b, " of %u/%llu, kind %u, base %u, changed %llx", fb_ver_epoch(r->obj_ver),
                      (unsigned long long)fb_ver_counter(r->obj_ver), r->kind, r->base_xid,
                      (unsigned long long)r->changed);
    } else if (r->type == FB_RECORD_SYNCED) {
        fb_buf_printf(&b, " %u/%llu", fb_ver_epoch(r->obj_ver),
                      (unsigned long long)fb_ver_counter(r->obj_ver));
    }
    fb_buf_put_u8(&b, 0);
    h->config.trace(h->config.arg, (const char *)b.p);
    fb_buf_fini(&b);
}

static void record_key(struct history *h, uint64_t now_ns, struct partition *p,
                       const struct fb_record *r, const char *key)
{
    struct object *o = object_of(h, key, true);
    if (r->type == FB_RECORD_EXPIRE)
        record_expire(h, now_ns, p, o, r);
    else
        record_write(h, now_ns, p, o, r);
    if (p->group_left > 0) {
        struct group *g = &p->group;
        if (g->n == g->cap) {
            g->cap = g->cap == 0 ? 8 : g->cap * 2;
            g->items = fb_xrealloc(g->items, g->cap * sizeof *g->items);
        }
        g->items[g->n++] = (struct group_item){o, o->n - 1};
        if (--p->group_left == 0)
            group_done(h, p);
    }
}

void history_others(struct history *h, const char *key)
{
    object_of(h, key, true)->others = true;
}

void history_opened(struct history *h, uint64_t now_ns, uint16_t part)
{
    h->parts[part].opened_ns = now_ns;
}

void history_record(struct history *h, uint64_t now_ns, const struct fb_record *r)
{
    struct partition *p = &h->parts[r->part];
    char key[SHADOW_TEXT_MAX];

    if (h->failed)
        return;
    h->counts.records++;
    snprintf(key, sizeof key, "%.*s", (int)r->key.n, r->key.n > 0 ? (const char *)r->key.p : "");
    trace_record(h, r, key);
    if (r->prev != p->last_ver || r->ver <= r->prev)
        fail(h, NULL, "I3",
             "partition %u: record %u/%llu follows %u/%llu, the last one was %u/%llu", r->part,
             fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver),
             fb_ver_epoch(r->prev), (unsigned long long)fb_ver_counter(r->prev),
             fb_ver_epoch(p->last_ver), (unsigned long long)fb_ver_counter(p->last_ver));
    switch (r->type) {
    case FB_RECORD_EPOCH_START:
        p->opened_ns = now_ns;
        break;
    case FB_RECORD_GROUP:
        p->group.ver = r->ver;
        p->group.prev = r->prev;
        p->group.end = r->ver + r->count;
        p->group.n = 0;
        p->group_left = r->count;
        break;
    case FB_RECORD_PUT:
    case FB_RECORD_DEL:
    case FB_RECORD_EXPIRE:
        record_key(h, now_ns, p, r, key);
        break;
    case FB_RECORD_PARK:
        object_of(h, key, true)->parked_ver = r->obj_ver;
        break;
    default:
        break;
    }
    p->last_ver = r->ver;
}
