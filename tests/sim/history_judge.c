/* The shadow history: answers against versions (history.h). */
#include "tests/sim/history_impl.h"

#include "proto/wire/version.h"

static bool starts(const struct reply *r, const char *prefix)
{
    size_t n = strlen(prefix);
    return r->type == '-' && r->text.n >= n && memcmp(r->text.p, prefix, n) == 0;
}

static bool contains(const struct reply *r, const char *what)
{
    return r->type == '-' && memmem(r->text.p, r->text.n, what, strlen(what)) != NULL;
}

bool unknown_error(const struct reply *r)
{
    return starts(r, "INDETERMINATE");
}

/* Errors that say nothing about the object: the command was not carried out. */
bool definite_error(const struct reply *r)
{
    return starts(r, "CLUSTERDOWN") || starts(r, "DBDOWN") || starts(r, "OVERLOADED") ||
           starts(r, "TRYAGAIN") || starts(r, "CROSSSLOT") || starts(r, "EXECABORT") ||
           starts(r, "LOADING") || starts(r, "NOREPLICAS") || contains(r, "nothing changed") ||
           contains(r, "nothing was changed");
}

uint32_t lowest(const struct history *h, const struct history_op *op)
{
    const struct object *o = op->o;
    uint32_t floor = op->floor;
    /* An open between two commands of one connection may refuse the first and run the second, see
     * router/core/retry.c; then only what was known before it was sent counts. */
    if (o->told[op->client].conn == op->conn && o->told[op->client].known > floor &&
        h->parts[o->part].opened_ns < o->told[op->client].at_ns)
        floor = o->told[op->client].known;
    return floor < o->n ? floor : o->n - 1;
}

void learn(struct history_op *op, uint32_t i)
{
    struct object *o = op->o;
    if (i > o->known)
        o->known = i;
    /* Of two reads in flight at once the second may be the older one (PROTOCOL 4); none misses a
     * write of its own connection. */
    if (op->made == NONE)
        return;
    if (o->told[op->client].conn != op->conn || i > o->told[op->client].known) {
        o->told[op->client].conn = op->conn;
        o->told[op->client].known = i;
        o->told[op->client].at_ns = op->sent_ns;
    }
}

static bool fits_state(const struct history_op *op, const struct shadow *s, uint32_t i,
                       uint64_t now_ms, const struct reply *r)
{
    struct shadow after;
    enum shadow_effect e = shadow_apply(&op->cmd, s, op->o->v[i].ver, now_ms, &after);
    bool fits = true;
    shadow_fini(&after);
    if (e == SHADOW_WRITES && op->cmd.op != SHADOW_SETIF)
        return false;
    if (e == SHADOW_MAY_DELETE && s->kind != FB_KIND_NONE && !shadow_oversize(&op->cmd, s))
        return false;
    if (r != NULL)
        fits = shadow_reply_fits(&op->cmd, s, false, &(struct shadow){0}, r);
    /* a copy that was evicted and loaded again may have another version, so that FB.SETIF may say
     * no at any time */
    return fits;
}

bool fits_without(const struct history *h, const struct history_op *op, uint32_t i,
                  const struct reply *r)
{
    static const struct shadow absent;
    const struct shadow *s = &op->o->v[i].state;
    uint64_t low = op->wall_ms < h->wall_ms ? op->wall_ms : h->wall_ms;
    bool can_expire = s->kind != FB_KIND_NONE && s->expires_ms != 0;

    /* what is evaluated at its own time: anywhere between the two */
    if ((!can_expire || (uint64_t)s->expires_ms > low) &&
        (fits_state(op, s, i, low, r) || fits_state(op, s, i, h->wall_max_ms, r)))
        return true;
    return can_expire && (uint64_t)s->expires_ms <= h->wall_max_ms &&
           (fits_state(op, &absent, i, low, r) || fits_state(op, &absent, i, h->wall_max_ms, r));
}

static void fail_reply(struct history *h, const struct history_op *op, const char *what,
                       const char *why, const struct reply *r)
{
    struct fb_buf cmd = {0}, text = {0};
    shadow_cmd_text(&op->cmd, &cmd);
    reply_text(r, &text);
    fail(h, op->o, what, "client %u sent %.*s at %.6f s and was told %.*s: %s", op->client,
         (int)cmd.n, (const char *)cmd.p, (double)op->sent_ns / 1e9, (int)text.n,
         (const char *)text.p, why);
    fb_buf_fini(&cmd);
    fb_buf_fini(&text);
}

/* Which promise does an answer that no version explains break? */
static void fail_unexplained(struct history *h, const struct history_op *op, const struct reply *r)
{
    const struct object *o = op->o;
    uint32_t from = lowest(h, op);
    for (uint32_t i = from; i-- > 0;)
        if (fits_without(h, op, i, r)) {
            fail_reply(h, op, "I12", "an older version than one told before it was sent", r);
            return;
        }
    if (shadow_op_writes(op->cmd.op)) {
        fail_reply(h, op, "I18",
                   "acknowledged, or answered from a state that never was, without "
                   "a record in the log",
                   r);
        return;
    }
    for (const struct history_op *w = o->first; w != NULL; w = w->next) {
        struct shadow after;
        bool same = shadow_apply(&w->cmd, &o->v[o->n - 1].state, o->v[o->n - 1].ver, h->wall_ms,
                                 &after) != SHADOW_NOTHING &&
                    w->made == NONE &&
                    shadow_reply_fits(&op->cmd, &after, false, &(struct shadow){0}, r);
        shadow_fini(&after);
        if (same) {
            fail_reply(h, op, "I11", "a value that is not in the log", r);
            return;
        }
    }
    fail_reply(h, op, "P2", "no version of the key explains it", r);
}

bool row_has(const struct history *h, const struct history_op *op, uint32_t i)
{
    return op->level < FB_LEVEL_DATABASE || h->config.row_version == NULL ||
           h->config.row_version(h->config.arg, op->o->key) >= op->o->v[i].ver;
}

/* The oldest version that op may have made and have answered with r: all that is sure when another
 * one cannot be told from it. NONE: it has made none of them. */
static uint32_t first_made(const struct history *h, const struct history_op *op,
                           const struct reply *r)
{
    for (uint32_t i = lowest(h, op); i < op->o->n; i++)
        if (version_may_be(op, i, r))
            return i;
    return NONE;
}

/* Whose a guessed version is nobody knows, but those that were answered made as many: one of them
 * is not older than the last of that many. */
static void learn_guessed(const struct history_op *op)
{
    struct object *o = op->o;
    uint32_t answered = 0;
    for (uint32_t i = 1; i < o->n; i++)
        answered += o->v[i].guessed &&
                    (o->v[i].by == NULL || o->v[i].by == op || op_is_answered(o->v[i].by));
    for (uint32_t i = 1; i < o->n && answered > 0; i++) {
        answered -= o->v[i].guessed;
        if (answered == 0 && i > o->known)
            o->known = i;
    }
}

static void judge_made(struct history *h, struct history_op *op, const struct reply *r)
{
    struct object *o = op->o;
    uint32_t i = first_made(h, op, r);
    struct version *v = &o->v[i == NONE ? op->made : i];
    if (i == NONE &&
        !shadow_reply_fits(&op->cmd, state_before(o, op->made, v->ptime_ms), true, &v->state, r)) {
        fail_reply(h, op, "P2", "not what its own record says", r);
        return;
    }
    if (op->cmd.op == SHADOW_SETIF && (uint64_t)r->num != v->ver) {
        fail_reply(h, op, "P2", "the version of another record", r);
        return;
    }
    if (i == NONE) {
        fail_reply(h, op, "I12", "its record is older than what was known before it was sent", r);
        return;
    }
    if (op->level > v->promised)
        v->promised = op->level;
    if (!row_has(h, op, i))
        fail_reply(h, op, "I13", "acknowledged at level database, which PostgreSQL has not", r);
    learn(op, i);
    learn_guessed(op);
}

/* It ran before a crash, and its answer waited at the router for those before it. */
bool fits_lost(const struct history_op *op, const struct reply *r)
{
    const struct object *o = op->o;
    for (uint32_t i = 0; i < o->lost_n; i++)
        if (o->lost[i].at_ns > op->sent_ns &&
            shadow_reply_fits(&op->cmd, &o->lost[i].state, false, &(struct shadow){0}, r))
            return true;
    return false;
}

/* It is the one that made a version of which the power left in doubt whose it was; no other one is
 * then. What was promised to be on disk is not lost that way. */
static bool made_lost(const struct history_op *op, const struct reply *r)
{
    struct object *o = op->o;
    for (uint32_t i = 0; i < o->lost_n && op->doubt && op->level < FB_LEVEL_DURABLE; i++) {
        struct version *v = &o->lost[i];
        if (!v->guessed || v->by != NULL || v->at_ns <= op->sent_ns ||
            !shadow_reply_fits(&op->cmd, &v->before, true, &v->state, r))
            continue;
        v->guessed = false;
        return true;
    }
    return false;
}

/* An answer of a command that made no version: some state between explains it, or it made one that
 * another was thought to have made. */
static void judge_without(struct history *h, struct history_op *op, const struct reply *r)
{
    struct object *o = op->o;
    uint32_t from = lowest(h, op);
    for (uint32_t i = from; i < o->n; i++)
        if (fits_without(h, op, i, r)) {
            learn(op, i);
            if (h->config.held != NULL && o->v[i].promised < FB_LEVEL_REPLICATED)
                o->v[i].promised = FB_LEVEL_REPLICATED; /* what is shown is committed */
            return;
        }
    if (version_take(h, op, r))
        judge_made(h, op, r);
    else if (!fits_lost(op, r) && !made_lost(op, r))
        fail_unexplained(h, op, r);
}

/* FB.GET tells a version: the value has to be that one's. */
static void judge_version(struct history *h, const struct history_op *op, const struct reply *r)
{
    const struct object *o = op->o;
    uint64_t ver = (uint64_t)r->items[1].num;
    if (op->cmd.op != SHADOW_FBGET || fb_ver_epoch(ver) == 0)
        return;
    for (uint32_t i = lowest(h, op); i < o->n; i++)
        if (o->v[i].ver == ver && fits_without(h, op, i, r))
            return;
    for (uint32_t i = 0; i < o->lost_n; i++)
        if (o->lost[i].ver == ver && o->lost[i].at_ns > op->sent_ns)
            return;
    fail_reply(h, op, "P2",
               "that version has another value, was lost, or is older than one told "
               "before it was sent",
               r);
}

static void judge_refused(struct history *h, struct history_op *op, const struct reply *r)
{
    h->counts.refused++;
    if (op->made != NONE && !version_regive(h, op->o, op->made))
        fail_reply(h, op, "I14", "a definite error, and there is a record of it", r);
}

void history_reply(struct history *h, struct history_op *op, uint64_t now_ns, const struct reply *r)
{
    if (h->failed)
        return;
    if (unknown_error(r)) {
        history_unknown(h, op, now_ns);
        return;
    }
    if (op->o->others || starts(r, "REJECTED")) {
        /* REJECTED: written, and PostgreSQL does not take it */
    } else if (definite_error(r)) {
        judge_refused(h, op, r);
    } else if (op->burned) {
        if (op->robbed && op->level >= FB_LEVEL_DURABLE)
            fail_reply(h, op, "I13",
                       "its record was lost with the power, and it was promised to "
                       "be on disk",
                       r);
    } else {
        h->counts.acknowledged++;
        /* of two equal commands the other one may have made the record */
        if (op->made != NONE && first_made(h, op, r) == NONE && !version_is_named(op) &&
            !version_take(h, op, r))
            (void)version_regive(h, op->o, op->made);
        if (op->made != NONE)
            judge_made(h, op, r);
        else
            judge_without(h, op, r);
        if (!h->failed && op->cmd.op == SHADOW_FBGET && r->type == '*')
            judge_version(h, op, r);
    }
    if (history_nameless(&op->cmd) && r->type != '-' && !op->burned && op->txn == NULL &&
        (op->cmd.op == SHADOW_SET || (op->made != NONE && op->o->v[op->made].guessed))) {
        /* a SET with a time that may have been over may have deleted, or found nothing to delete;
         * others did it, but perhaps to another version */
        op->state = OP_UNKNOWN;
        op->until_ns = now_ns;
        return;
    }
    op_end(h, op);
}

void history_reply_sum(struct history *h, struct history_op **ops, uint32_t n, uint64_t now_ns,
                       const struct reply *r)
{
    struct reply one = {.type = ':'};
    int64_t made = 0, lost = 0;
    bool others = false;
    if (h->failed)
        return;
    for (uint32_t i = 0; i < n; i++)
        others |= ops[i]->o->others;
    for (uint32_t i = 0; i < n && others; i++) /* nobody can tell which part of the sum is whose */
        history_unknown(h, ops[i], now_ns);
    if (others)
        return;
    if (r->type != ':') {
        for (uint32_t i = 0; i < n; i++)
            history_reply(h, ops[i], now_ns, r);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        made += ops[i]->made != NONE;
    for (uint32_t i = 0; i < n; i++)
        lost += ops[i]->burned || (ops[i]->doubt && ops[i]->made == NONE);
    one.num = 1;
    for (uint32_t i = 0; i < n && made < r->num;
         i++) /* somebody else was thought to have done it */
        made += ops[i]->made == NONE && !ops[i]->burned && version_take(h, ops[i], &one);
    for (uint32_t i = 0; i < n && made > r->num; i++)
        made -= ops[i]->made != NONE && version_regive(h, ops[i]->o, ops[i]->made);
    /* what a crash took was done, or the whole was done before and after it */
    if (made > r->num || made + lost < r->num) {
        fail_reply(h, ops[0], "P2", "not as many as its records", r);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool may = ops[i]->made == NONE && (ops[i]->burned || ops[i]->doubt);
        one.num = ops[i]->made != NONE || (may && made + lost == r->num);
        if (may && one.num == 0 && (ops[i]->burned || made < r->num))
            history_unknown(h, ops[i], now_ns);
        else
            history_reply(h, ops[i], now_ns, &one);
    }
}
