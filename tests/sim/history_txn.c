/* The shadow history: transactions (history.h). */
#include "tests/sim/history_impl.h"

#include "proto/wire/version.h"

#include <stdlib.h>

struct history_watch history_watched(struct history *h, const char *key)
{
    const struct object *o = object_of(h, key, true);
    return (struct history_watch){.object = o, .seen = o->v[o->n - 1].rec_ver};
}

struct history_txn *history_txn(struct history *h, uint64_t now_ns, uint32_t client, uint64_t conn,
                                struct shadow_cmd *cmds, uint32_t n,
                                const struct history_watch *watches, uint32_t watch_n,
                                uint8_t level)
{
    struct history_txn *t = fb_xcalloc(1, sizeof *t);
    h->counts.transactions++;
    t->ops = fb_xcalloc(n + 1, sizeof(*t->ops));
    t->watches = fb_xcalloc(watch_n + 1, sizeof *t->watches);
    if (watch_n > 0)
        memcpy(t->watches, watches, watch_n * sizeof *watches);
    t->watch_n = watch_n;
    t->n = n;
    for (uint32_t i = 0; i < n; i++) {
        t->ops[i] = history_invoke(h, now_ns, client, conn, &cmds[i], level);
        t->ops[i]->txn = t;
    }
    t->next = h->txns;
    h->txns = t;
    return t;
}

void txn_free(struct history_txn *t)
{
    free(t->ops);
    free(t->watches);
    free(t);
}

static void txn_end(struct history *h, struct history_txn *t)
{
    struct history_txn **at = &h->txns;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    for (uint32_t i = 0; i < h->config.partitions; i++)
        if (h->parts[i].group_txn == t)
            h->parts[i].group_txn = NULL;
    for (uint32_t i = 0; i < t->n; i++)
        op_end(h, t->ops[i]);
    txn_free(t);
}

/* The version of `o` that a transaction finds whose last record before it is `cut`. */
static uint32_t version_at(const struct object *o, uint64_t cut)
{
    uint32_t i = o->n - 1;
    while (i > 0 && o->v[i].rec_ver > cut)
        i--;
    return i;
}

/* The version that operation k of `t` finds: of an earlier operation of the transaction, or the one
 * at `cut`. An expiry within the group is a version of its own. */
static uint32_t found_by(const struct history_txn *t, uint32_t k, uint64_t cut)
{
    uint32_t i = version_at(t->ops[k]->o, cut);
    for (uint32_t j = 0; j < k; j++)
        if (t->ops[j]->o == t->ops[k]->o && t->ops[j]->made != NONE)
            i = t->ops[j]->made;
    return i;
}

/* Does operation k, which made no record, find a state on which it makes none (and answers r)? An
 * EXPIRE record may stand between what was there and what it found. */
static bool nothing_fits(const struct history *h, const struct history_txn *t, uint32_t k,
                         uint64_t cut, const struct reply *r)
{
    const struct object *o = t->ops[k]->o;
    uint32_t i = found_by(t, k, cut);
    if (fits_without(h, t->ops[k], i, r))
        return true;
    return t->group != 0 && i + 1 < o->n && o->v[i + 1].state.kind == FB_KIND_NONE &&
           o->v[i + 1].by == NULL && fits_without(h, t->ops[k], i + 1, r);
}

void txn_group_end(struct history *h, struct partition *p)
{
    struct history_txn *t = p->group_txn;
    if (t == NULL || h->failed)
        return;
    for (uint32_t k = 0; k < t->n; k++)
        if (t->ops[k]->made == NONE && shadow_op_writes(t->ops[k]->cmd.op) &&
            !t->ops[k]->o->others && !nothing_fits(h, t, k, p->group_prev, NULL)) {
            struct fb_buf b = {0};
            shadow_cmd_text(&t->ops[k]->cmd, &b);
            fail(h, t->ops[k]->o, "P2",
                 "a transaction's GROUP %u/%llu is there without the record of its command %u: "
                 "%.*s",
                 fb_ver_epoch(t->group), (unsigned long long)fb_ver_counter(t->group), k + 1,
                 (int)b.n, (const char *)b.p);
            fb_buf_fini(&b);
            return;
        }
}

void history_txn_unknown(struct history *h, struct history_txn *t, uint64_t now_ns)
{
    (void)now_ns;
    h->counts.unknown += t->n;
    t->answered = true;
    for (uint32_t i = 0; i < t->n; i++)
        t->ops[i]->state = OP_UNKNOWN;
    if (t->group != 0 || t->burned) /* it has written, and can write no more */
        txn_end(h, t);
}

static void fail_txn(struct history *h, const struct history_txn *t, const char *what,
                     const char *why, const struct reply *r)
{
    struct fb_buf b = {0}, text = {0};
    for (uint32_t i = 0; i < t->n; i++) {
        fb_buf_put_str(&b, "\n      ");
        shadow_cmd_text(&t->ops[i]->cmd, &b);
        if (t->ops[i]->made != NONE)
            fb_buf_printf(&b, " (made version %u.)", t->ops[i]->made);
        if (b.n > 600)
            break;
    }
    reply_text(r, &text);
    fail(h, t->n > 0 ? t->ops[0]->o : NULL, what,
         "client %u's transaction of %.6f s was answered %.*s: %s%.*s",
         t->n > 0 ? t->ops[0]->client : 0, t->n > 0 ? (double)t->ops[0]->sent_ns / 1e9 : 0,
         (int)text.n, (const char *)text.p, why, (int)b.n, b.n > 0 ? (const char *)b.p : "");
    fb_buf_fini(&b);
    fb_buf_fini(&text);
}

/* May the transaction have run where the partition's last record was `cut`? */
static bool runs_at(const struct history *h, const struct history_txn *t, uint64_t cut,
                    const struct reply *r)
{
    for (uint32_t k = 0; k < t->n; k++) {
        const struct history_op *op = t->ops[k];
        if (op->made == NONE &&
            (version_at(op->o, cut) < lowest(h, op) || !nothing_fits(h, t, k, cut, &r->items[k])))
            return false;
    }
    for (uint32_t i = 0; i < t->watch_n; i++) {
        const struct object *o = t->watches[i].object;
        if (o->v[version_at(o, cut)].rec_ver > t->watches[i].seen)
            return false;
    }
    return true;
}

/* Every place at which it may have run: behind each record of its keys. */
static bool runs_somewhere(const struct history *h, const struct history_txn *t,
                           const struct reply *r, uint64_t *where)
{
    for (uint32_t k = 0; k < t->n; k++) {
        const struct object *o = t->ops[k]->o;
        for (uint32_t i = lowest(h, t->ops[k]); i < o->n; i++) {
            *where = o->v[i].cut;
            if (runs_at(h, t, *where, r))
                return true;
        }
    }
    for (uint32_t i = 0; i < t->watch_n; i++) {
        *where = t->watches[i].seen;
        if (runs_at(h, t, *where, r))
            return true;
    }
    *where = 0;
    return t->n == 0;
}

static void judge_run(struct history *h, struct history_txn *t, const struct reply *r)
{
    uint64_t cut = t->group_prev;
    bool runs = t->group != 0 ? runs_at(h, t, cut, r) : runs_somewhere(h, t, r, &cut);
    if (!runs) {
        bool touched = false;
        for (uint32_t i = 0; i < t->watch_n && t->group != 0; i++) {
            const struct object *o = t->watches[i].object;
            touched |= o->v[version_at(o, cut)].rec_ver > t->watches[i].seen;
        }
        fail_txn(h, t, "P2",
                 touched ? "a watched key was written before it ran"
                         : "its answers are not those of one moment",
                 r);
        return;
    }
    for (uint32_t k = 0; k < t->n; k++) {
        struct history_op *op = t->ops[k];
        struct version *v = &op->o->v[op->made == NONE ? 0 : op->made];
        if (op->made == NONE) {
            learn(op, version_at(op->o, cut));
            continue;
        }
        if (!shadow_reply_fits(&op->cmd, state_before(op->o, op->made, v->ptime_ms), true,
                               &v->state, &r->items[k])) {
            fail_txn(h, t, "P2", "an item is not what its record says", r);
            return;
        }
        if (op->made < lowest(h, op)) {
            fail_txn(h, t, "I12", "its record is older than what was known before it was sent", r);
            return;
        }
        if (op->level > v->promised)
            v->promised = op->level;
        learn(op, op->made);
    }
}

void history_txn_reply(struct history *h, struct history_txn *t, uint64_t now_ns,
                       const struct reply *r)
{
    bool others = false;
    if (h->failed)
        return;
    if (unknown_error(r)) {
        history_txn_unknown(h, t, now_ns);
        return;
    }
    for (uint32_t i = 0; i < t->n; i++)
        others |= t->ops[i]->o->others;
    if (others || (r->type == '-' && !definite_error(r))) {
        /* not judged; or REJECTED: written, and PostgreSQL does not take it */
    } else if (r->type == '-' || r->type == 'N') {
        h->counts.aborted++;
        if (r->type == 'N' && t->watch_n == 0)
            fail_txn(h, t, "P2", "aborted without a watched key", r);
        else if (t->group != 0)
            fail_txn(h, t, "I14", "it was not carried out, and there is its GROUP", r);
    } else if (t->burned) {
        if (t->n > 0 && t->ops[0]->level >= FB_LEVEL_DURABLE)
            fail_txn(h, t, "I13", "lost with the power, and promised to be on disk", r);
    } else if (r->type != '*' || r->n != t->n) {
        fail_txn(h, t, "P2", "not one item for each command", r);
    } else {
        h->counts.acknowledged += t->n;
        judge_run(h, t, r);
    }
    if (!h->failed)
        txn_end(h, t);
}
