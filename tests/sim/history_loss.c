/* The shadow history: what a crash took away, against what was promised (history.h). */
#include "tests/sim/history_impl.h"

#include "proto/wire/version.h"

static const char *loss_text(enum history_loss loss)
{
    return loss == HISTORY_KILLED   ? "the process was killed"
           : loss == HISTORY_POWER  ? "power was lost"
           : loss == HISTORY_LEADER ? "another node leads"
                                    : "the disk was lost";
}

/* Did the loss break a promise? */
static bool promised(const struct history *h, const struct object *o, const struct version *v,
                     enum history_loss loss)
{
    if (loss == HISTORY_KILLED)
        return true; /* what write(2) took survives, whatever was promised */
    if (loss == HISTORY_LEADER)
        return v->promised >= FB_LEVEL_REPLICATED &&
               h->config.held(h->config.arg, o->part, v->rec_ver);
    if (loss == HISTORY_POWER)
        return v->promised >= FB_LEVEL_DURABLE;
    return v->promised >= FB_LEVEL_DATABASE &&
           (h->config.row_version == NULL || h->config.row_version(h->config.arg, o->key) < v->ver);
}

static void burn(struct history *h, struct history_op *op, enum history_loss loss)
{
    op->made = NONE;
    op->burned = true;
    op->robbed = loss == HISTORY_POWER;
    if (op->txn != NULL)
        op->txn->burned = true;
    else if (op->state == OP_UNKNOWN)
        op_end(h, op);
}

static void lose(struct history *h, struct object *o, uint64_t now_ns, uint64_t last_ver,
                 enum history_loss loss)
{
    uint64_t keep = last_ver, rows = UINT64_MAX;
    if (loss == HISTORY_DISK && h->config.row_version != NULL) {
        rows = h->config.row_version(h->config.arg, o->key);
        keep = rows > keep ? rows : keep;
    }
    while (o->n > 1 && (o->v[o->n - 1].rec_ver > keep ||
                        (o->v[o->n - 1].only_row && o->v[o->n - 1].ver > rows))) {
        struct version *v = &o->v[o->n - 1];
        if (!o->others && promised(h, o, v, loss)) {
            fail(h, o, v->promised >= FB_LEVEL_DURABLE ? "I13" : "I18",
                 "version %u/%llu is gone (promised %u) though only %s", fb_ver_epoch(v->rec_ver),
                 (unsigned long long)fb_ver_counter(v->rec_ver), v->promised, loss_text(loss));
            return;
        }
        if (v->by != NULL && op_is_answered(v->by))
            op_end(h, v->by);
        else if (v->by != NULL && (v->by->txn != NULL || !version_in_doubt(o, o->n - 1)))
            burn(h, v->by, loss);
        if (o->lost_n == o->lost_cap) {
            o->lost_cap = o->lost_cap == 0 ? 8 : o->lost_cap * 2;
            o->lost = fb_xrealloc(o->lost, o->lost_cap * sizeof *o->lost);
        }
        o->lost[o->lost_n] = *v;
        o->lost[o->lost_n++].at_ns = now_ns;
        o->n--;
        /* A batch with it may still be on its way into PostgreSQL: what the key is from now on
         * cannot be told from outside. */
        o->others |= loss == HISTORY_DISK;
        h->counts.lost_records++;
    }
    /* what only the row has kept is no part of the log any more */
    for (uint32_t i = o->n; i-- > 1 && o->v[i].rec_ver > last_ver;) {
        o->v[i].rec_ver = o->v[i].cut = last_ver;
        o->v[i].only_row = true;
        /* A log that has come back older than PostgreSQL is served until PostgreSQL is asked; an
         * empty one has nothing to serve. */
        o->others |= last_ver != 0;
    }
    if (o->known >= o->n)
        o->known = o->n - 1;
    for (uint32_t i = 0; i < HISTORY_CLIENTS_MAX; i++)
        if (o->told[i].known >= o->n)
            o->told[i].known = o->n - 1;
    for (struct history_op *op = o->first; op != NULL; op = op->next)
        if (op->floor >= o->n)
            op->floor = o->n - 1;
}

/* Level database is lost when PostgreSQL loses it: what it has not any more is promised by the log
 * alone, or, where the log was lost before, by nobody. */
static void row_lost(struct history *h, struct object *o, uint64_t now_ns)
{
    uint64_t row = h->config.row_version(h->config.arg, o->key);
    for (uint32_t i = 1; i < o->n; i++) {
        struct version *v = &o->v[i];
        if (v->ver > row && v->promised >= FB_LEVEL_DATABASE)
            v->promised = v->only_row ? FB_LEVEL_NONE : FB_LEVEL_DURABLE;
    }
    if (o->v[o->n - 1].only_row)
        lose(h, o, now_ns, h->parts[o->part].last_ver, HISTORY_DISK);
}

void history_rows_lost(struct history *h, uint64_t now_ns)
{
    for (uint32_t i = 0; i < BUCKETS && h->config.row_version != NULL; i++)
        for (struct object *o = h->bucket[i]; o != NULL && !h->failed; o = o->next)
            row_lost(h, o, now_ns);
}

void history_recovered(struct history *h, uint64_t now_ns, uint16_t part, uint64_t last_ver,
                       enum history_loss loss)
{
    struct partition *p = &h->parts[part];
    if (h->failed)
        return;
    if (last_ver > p->last_ver)
        fail(h, NULL, "I3", "partition %u recovered up to %u/%llu, the last record was %u/%llu",
             part, fb_ver_epoch(last_ver), (unsigned long long)fb_ver_counter(last_ver),
             fb_ver_epoch(p->last_ver), (unsigned long long)fb_ver_counter(p->last_ver));
    if (loss == HISTORY_KILLED && last_ver != p->last_ver)
        fail(h, NULL, "I18",
             "partition %u recovered up to %u/%llu after a kill, the last record was %u/%llu", part,
             fb_ver_epoch(last_ver), (unsigned long long)fb_ver_counter(last_ver),
             fb_ver_epoch(p->last_ver), (unsigned long long)fb_ver_counter(p->last_ver));
    if (last_ver >= p->group.ver && last_ver < p->group.end && last_ver < p->last_ver)
        fail(h, NULL, "P2", "partition %u recovered a part of GROUP %u/%llu", part,
             fb_ver_epoch(p->group.ver), (unsigned long long)fb_ver_counter(p->group.ver));
    for (uint32_t i = 0; i < BUCKETS && !h->failed; i++)
        for (struct object *o = h->bucket[i]; o != NULL && !h->failed; o = o->next)
            if (o->part == part)
                lose(h, o, now_ns, last_ver, loss);
    /* a GROUP that is gone cannot be explained by its transaction again; one that was never written
     * may still come, of a client that waits */
    for (struct history_txn *t = h->txns; t != NULL; t = t->next)
        if (t->n > 0 && t->ops[0]->o->part == part && t->group.ver > last_ver) {
            t->burned = true;
            t->group.ver = 0;
            t->group.n = 0;
        }
    if (loss == HISTORY_DISK)
        p->disk_lost_ns = now_ns;
    p->last_ver = last_ver;
    p->group.ver = p->group.end = 0;
    p->group.n = 0;
    p->group_left = 0;
}
