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
                                struct shadow_cmd *cmds, uint32_t n, const uint8_t *levels,
                                const struct history_watch *watches, uint32_t watch_n)
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
        t->ops[i] = history_invoke(h, now_ns, client, conn, &cmds[i], levels[i]);
        t->ops[i]->txn = t;
    }
    t->next = h->txns;
    h->txns = t;
    return t;
}

void history_txn_keys(const struct history_txn *t, struct fb_buf *out)
{
    fb_buf_put_str(out, "EXEC on");
    for (uint32_t i = 0; i < t->n; i++)
        fb_buf_printf(out, " %s", t->ops[i]->o->key);
}

void history_txn_watched(struct history *h, struct history_txn *t)
{
    (void)h;
    for (uint32_t i = 0; i < t->watch_n; i++) {
        const struct object *o = t->watches[i].object;
        t->watches[i].seen = o->v[o->n - 1].rec_ver;
    }
}

void history_txn_free(struct history_txn *t)
{
    free(t->ops);
    free(t->watches);
    free(t->group.items);
    free(t);
}

static void history_txn_end(struct history *h, struct history_txn *t)
{
    struct history_txn **at = &h->txns;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    for (uint32_t i = 0; i < t->n; i++)
        op_end(h, t->ops[i]);
    history_txn_free(t);
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
    return t->group.ver != 0 && i + 1 < o->n && o->v[i + 1].expiry &&
           fits_without(h, t->ops[k], i + 1, r);
}

/* --- whose is a GROUP? --- */

static void release(struct history_txn *t)
{
    for (uint32_t k = 0; k < t->n; k++) {
        if (t->ops[k]->made != NONE)
            t->ops[k]->o->v[t->ops[k]->made].by = NULL;
        t->ops[k]->made = NONE;
    }
    t->group.ver = 0;
    t->group.n = 0;
}

static bool group_fits(struct history *h, struct history_txn *t, const struct group *g,
                       const struct reply *r)
{
    uint32_t k = 0;
    for (uint32_t at = 0; at < g->n; at++) {
        const struct group_item *it = &g->items[at];
        if (it->o->others || it->o->v[it->i].expiry)
            continue;
        while (k < t->n && (t->ops[k]->o != it->o || !op_makes(t->ops[k], it->i)))
            k++;
        if (k == t->n)
            return false;
        t->ops[k++]->made = it->i;
    }
    for (k = 0; k < t->n; k++) {
        const struct history_op *op = t->ops[k];
        const struct version *v = &op->o->v[op->made == NONE ? 0 : op->made];
        if (op->o->others)
            continue;
        if (op->made == NONE
                ? !nothing_fits(h, t, k, g->prev, r == NULL ? NULL : &r->items[k])
                : r != NULL &&
                      !shadow_reply_fits(&op->cmd, state_before(op->o, op->made, v->ptime_ms), true,
                                         &v->state, &r->items[k]))
            return false;
    }
    return true;
}

/* Did `t` make the GROUP, and is `r` (unless NULL) its answer then? Notes it when so. */
static bool take_group(struct history *h, struct history_txn *t, const struct group *g,
                       const struct reply *r)
{
    if (t->n == 0 || t->ops[0]->sent_ns > g->items[0].o->v[g->items[0].i].at_ns)
        return false;
    t->group.ver = g->ver; /* nothing_fits looks at it */
    if (!group_fits(h, t, g, r)) {
        for (uint32_t k = 0; k < t->n; k++)
            t->ops[k]->made = NONE;
        t->group.ver = 0;
        return false;
    }
    t->group.prev = g->prev;
    t->group.end = g->end;
    if (t->group.cap < g->n) {
        t->group.cap = g->n;
        t->group.items = fb_xrealloc(t->group.items, g->n * sizeof *g->items);
    }
    memcpy(t->group.items, g->items, g->n * sizeof *g->items);
    t->group.n = g->n;
    for (uint32_t k = 0; k < t->n; k++)
        if (t->ops[k]->made != NONE)
            t->ops[k]->o->v[t->ops[k]->made].by = t->ops[k];
    return true;
}

/* One that waits before one whose outcome nobody knows. */
static bool find_taker(struct history *h, const struct group *g, const struct history_txn *but)
{
    for (int unknown = 0; unknown <= 1; unknown++)
        for (struct history_txn *t = h->txns; t != NULL; t = t->next)
            if (t != but && t->unknown == (unknown == 1) && !t->burned && t->group.ver == 0 &&
                take_group(h, t, g, NULL))
                return true;
    return false;
}

/* A transaction that was thought to have made another GROUP, for which there is one left. */
static bool find_by_exchange(struct history *h, const struct group *g)
{
    for (struct history_txn *t = h->txns; t != NULL; t = t->next) {
        struct group his = t->group;
        bool found;
        if (his.ver == 0 || t->burned)
            continue;
        t->group = (struct group){0};
        release(t);
        found = take_group(h, t, g, NULL) && find_taker(h, &his, t);
        if (!found) {
            release(t);
            free(t->group.items);
            t->group = (struct group){0};
            if (!take_group(h, t, &his, NULL))
                fail(h, NULL, "history", "a transaction does not fit its own GROUP any more");
        }
        free(his.items);
        if (found)
            return true;
    }
    return false;
}

void group_done(struct history *h, struct partition *p)
{
    const struct group *g = &p->group;
    bool commands = false, others = false;
    for (uint32_t at = 0; at < g->n; at++) {
        commands |= !g->items[at].o->v[g->items[at].i].expiry;
        others |= g->items[at].o->others;
    }
    if (h->failed || !commands || others || find_taker(h, g, NULL) || find_by_exchange(h, g))
        return;
    fail(h, g->items[0].o, "P2",
         "GROUP %u/%llu with %u records is not what a transaction makes of the versions before it, "
         "neither whole nor twice",
         fb_ver_epoch(g->ver), (unsigned long long)fb_ver_counter(g->ver), g->n);
}

/* It did not make the GROUP that it was thought to have made: who did? */
static bool give_away(struct history *h, struct history_txn *t)
{
    struct group mine = t->group;
    bool given;
    t->group = (struct group){0};
    release(t);
    given = find_taker(h, &mine, t);
    if (!given)
        (void)take_group(h, t, &mine, NULL);
    free(mine.items);
    return given;
}

/* The answer does not fit: the GROUP may have been that of an equal one. */
static bool exchange(struct history *h, struct history_txn *t, const struct reply *r)
{
    struct group mine = t->group, his;
    bool had = mine.ver != 0, done = false;
    t->group = (struct group){0};
    release(t);
    for (struct history_txn *o = h->txns; o != NULL && !done; o = o->next) {
        if (o == t || o->group.ver == 0)
            continue;
        his = o->group;
        o->group = (struct group){0};
        release(o);
        done = take_group(h, t, &his, r) && (!had || take_group(h, o, &mine, NULL));
        if (!done) {
            release(t);
            if (!take_group(h, o, &his, NULL))
                fail(h, NULL, "history", "a transaction does not fit its own GROUP any more");
        }
        free(his.items);
    }
    if (!done && had && !take_group(h, t, &mine, NULL))
        fail(h, NULL, "history", "a transaction does not fit its own GROUP any more");
    free(mine.items);
    return done;
}

void history_txn_unknown(struct history *h, struct history_txn *t, uint64_t now_ns)
{
    (void)now_ns;
    h->counts.unknown += t->n;
    t->unknown = true;
    for (uint32_t i = 0; i < t->n; i++)
        t->ops[i]->state = OP_UNKNOWN;
    if (t->burned)
        history_txn_end(h, t);
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

/* Every place at which it may have run is behind a record of its keys; the first one teaches no
 * more than is sure. */
static bool runs_somewhere(const struct history *h, const struct history_txn *t,
                           const struct reply *r, uint64_t *where)
{
    bool found = t->n == 0;
    *where = found ? 0 : UINT64_MAX;
    for (uint32_t k = 0; k < t->n; k++) {
        const struct object *o = t->ops[k]->o;
        for (uint32_t i = lowest(h, t->ops[k]); i < o->n && o->v[i].cut < *where; i++)
            if (runs_at(h, t, o->v[i].cut, r)) {
                *where = o->v[i].cut;
                found = true;
                break;
            }
    }
    for (uint32_t i = 0; i < t->watch_n; i++)
        if (t->watches[i].seen < *where && runs_at(h, t, t->watches[i].seen, r)) {
            *where = t->watches[i].seen;
            found = true;
        }
    return found;
}

/* Are the items of those that made records what their records say? */
static bool group_fits_reply(const struct history_txn *t, const struct reply *r)
{
    for (uint32_t k = 0; k < t->n; k++) {
        const struct history_op *op = t->ops[k];
        const struct version *v = &op->o->v[op->made == NONE ? 0 : op->made];
        if (op->made != NONE &&
            !shadow_reply_fits(&op->cmd, state_before(op->o, op->made, v->ptime_ms), true,
                               &v->state, &r->items[k]))
            return false;
    }
    return true;
}

/* It ran before a crash, and its answer waited at the router: each item is explained by something
 * that was there or is. Which versions stood next to each other is not known any more, neither of
 * those that are lost nor of those that a lost disk left to PostgreSQL alone. */
static bool ran_before_crash(const struct history *h, const struct history_txn *t,
                             const struct reply *r)
{
    bool lost = false;
    for (uint32_t k = 0; k < t->n; k++) {
        const struct history_op *op = t->ops[k];
        bool fits = fits_lost(op, &r->items[k]);
        lost |= fits || h->parts[op->o->part].disk_lost_ns > op->sent_ns;
        for (uint32_t i = lowest(h, op); i < op->o->n && !fits; i++)
            fits = fits_without(h, op, i, &r->items[k]);
        if (!fits || op->made != NONE)
            return false;
    }
    return lost;
}

static void judge_run(struct history *h, struct history_txn *t, const struct reply *r)
{
    uint64_t cut = t->group.prev;
    bool runs = t->group.ver != 0 ? runs_at(h, t, cut, r) && group_fits_reply(t, r)
                                  : runs_somewhere(h, t, r, &cut);
    if (!runs && exchange(h, t, r)) {
        cut = t->group.prev;
        runs = runs_at(h, t, cut, r);
    }
    if (!runs && t->group.ver != 0 && give_away(h, t))
        runs = runs_somewhere(h, t, r, &cut);
    if (!runs && t->group.ver == 0 && ran_before_crash(h, t, r))
        return;
    if (!runs) {
        bool touched = false;
        for (uint32_t i = 0; i < t->watch_n && t->group.ver != 0; i++) {
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
        if (!row_has(h, op, op->made)) {
            fail_txn(h, t, "I13", "acknowledged at level database, which PostgreSQL has not", r);
            return;
        }
        if (op->level > v->promised)
            v->promised = op->level;
        learn(op, op->made);
    }
}

/* Was a record of it lost with the power that was promised to be on disk? */
static bool robbed(const struct history_txn *t)
{
    for (uint32_t k = 0; k < t->n; k++)
        if (t->ops[k]->robbed && t->ops[k]->level >= FB_LEVEL_DURABLE)
            return true;
    return false;
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
        else if (t->group.ver != 0 && !give_away(h, t))
            fail_txn(h, t, "I14", "it was not carried out, and there is its GROUP", r);
    } else if (t->burned) {
        if (robbed(t))
            fail_txn(h, t, "I13", "lost with the power, and promised to be on disk", r);
    } else if (r->type != '*' || r->n != t->n) {
        fail_txn(h, t, "P2", "not one item for each command", r);
    } else {
        h->counts.acknowledged += t->n;
        judge_run(h, t, r);
    }
    if (!h->failed)
        history_txn_end(h, t);
}
