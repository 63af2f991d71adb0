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
    free(o->v);
    free(o);
}

void history_free(struct history *h)
{
    while (h->txns != NULL) {
        struct history_txn *t = h->txns;
        h->txns = t->next;
        txn_free(t);
    }
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (h->bucket[i] != NULL) {
            struct object *o = h->bucket[i];
            h->bucket[i] = o->next;
            object_free(h, o);
        }
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

void history_wall(struct history *h, uint64_t wall_ms)
{
    h->wall_ms = wall_ms;
    if (wall_ms > h->wall_max_ms)
        h->wall_max_ms = wall_ms;
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

struct history_op *history_invoke(struct history *h, uint64_t now_ns, uint32_t client,
                                  uint64_t conn, struct shadow_cmd *cmd, uint8_t level)
{
    struct history_op *op = fb_xcalloc(1, sizeof *op);
    struct object *o = object_of(h, cmd->key, true);
    fb_assert(client < HISTORY_CLIENTS_MAX);
    h->counts.commands++;
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
    bool makes =
        (e != SHADOW_NOTHING && shadow_equal(&after, &v->state)) ||
        (e == SHADOW_MAY_DELETE && v->state.kind == FB_KIND_NONE && before->kind != FB_KIND_NONE);
    shadow_fini(&after);
    return makes;
}

/* Of the commands that may have made version i: one that still waits, else the one sent last, so
 * that those sent earlier are left for earlier versions. */
static struct history_op *maker_of(struct object *o, uint32_t i, const struct history_op *but)
{
    struct history_op *best = NULL;
    for (struct history_op *op = o->first; op != NULL; op = op->next) {
        if (op == but || op->made != NONE || op->burned || op->txn != NULL ||
            op->sent_ns > o->v[i].at_ns || !op_makes(op, i))
            continue;
        if (op->state == OP_OPEN)
            return op;
        best = op;
    }
    return best;
}

bool version_regive(struct history *h, struct object *o, uint32_t i)
{
    struct history_op *was = o->v[i].by, *op = maker_of(o, i, was);
    (void)h;
    if (op == NULL)
        return false;
    was->made = NONE;
    op->made = i;
    o->v[i].by = op;
    return true;
}

/* The transaction that the records of this GROUP are of: known after its first one. */
static struct history_op *group_maker(struct history *h, struct partition *p, struct object *o,
                                      uint32_t i)
{
    for (struct history_op *op = o->first; op != NULL; op = op->next) {
        struct history_txn *t = op->txn;
        if (t == NULL || t->burned || op->made != NONE)
            continue;
        if (p->group_txn != NULL ? t != p->group_txn : t->group != 0)
            continue;
        for (uint32_t k = t->at; k < t->n; k++) {
            if (t->ops[k] != op || !op_makes(op, i))
                continue;
            t->at = k + 1;
            t->group = p->group;
            t->group_prev = p->group_prev;
            p->group_txn = t;
            return op;
        }
    }
    (void)h;
    return NULL;
}

static void record_write(struct history *h, uint64_t now_ns, struct partition *p, struct object *o,
                         const struct fb_record *r)
{
    struct version *v = version_add(o);
    uint32_t i = o->n - 1;
    struct history_op *op;
    struct fb_buf text = {0};

    v->ver = v->rec_ver = r->ver;
    v->cut = p->group_left > 0 ? p->group_end : r->ver;
    v->at_ns = now_ns;
    v->ptime_ms = r->ptime_ms;
    v->state = (struct shadow){.kind = r->type == FB_RECORD_PUT ? r->kind : FB_KIND_NONE,
                               .expires_ms = r->type == FB_RECORD_PUT ? r->expires_ms : 0};
    if (r->type == FB_RECORD_PUT)
        fb_buf_put_bytes(&v->state.value, r->value);
    if (o->others)
        return;
    op = p->group_left > 0 ? group_maker(h, p, o, i) : maker_of(o, i, NULL);
    if (op != NULL) {
        op->made = i;
        v->by = op;
        return;
    }
    shadow_text(&v->state, &text);
    fail(h, o, "I15",
         "a record that no command explains%s: %s %s %u/%llu = %.*s (a command's second record, a "
         "value computed from another version, or one of a command that was refused)",
         p->group_left > 0 ? ", within a GROUP" : "", fb_record_type_name(r->type), o->key,
         fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver),
         (int)(text.n > 200 ? 200 : text.n), text.n > 0 ? (const char *)text.p : "");
    fb_buf_fini(&text);
}

static void record_expire(struct history *h, uint64_t now_ns, const struct partition *p,
                          struct object *o, const struct fb_record *r)
{
    const struct version *was = &o->v[o->n - 1];
    struct version *v;
    if (!o->others && (was->ver != r->obj_ver || was->state.kind == FB_KIND_NONE ||
                       was->state.expires_ms == 0 || (uint64_t)was->state.expires_ms > r->ptime_ms))
        fail(h, o, "I26", "EXPIRE of version %u/%llu at time %llu: not due, or not the newest",
             fb_ver_epoch(r->obj_ver), (unsigned long long)fb_ver_counter(r->obj_ver),
             (unsigned long long)r->ptime_ms);
    v = version_add(o);
    v->ver = v->rec_ver = r->ver;
    v->cut = p->group_left > 0 ? p->group_end : r->ver;
    v->at_ns = now_ns;
    v->ptime_ms = r->ptime_ms;
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
    if (p->group_left > 0 && --p->group_left == 0)
        txn_group_end(h, p);
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
        p->group = r->ver;
        p->group_prev = r->prev;
        p->group_end = r->ver + r->count;
        p->group_left = r->count;
        p->group_txn = NULL;
        break;
    case FB_RECORD_PUT:
    case FB_RECORD_DEL:
    case FB_RECORD_EXPIRE:
        record_key(h, now_ns, p, r, key);
        break;
    default:
        break;
    }
    p->last_ver = r->ver;
}
