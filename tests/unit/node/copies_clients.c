/* Clients, PostgreSQL and what must hold of them (copies_world.h). */
#include "tests/unit/node/copies_world.h"

#include "proto/base/number.h"

#include <stdio.h>

#define NAME_BYTES 24

static struct cop *op_new(struct cworld *w, uint8_t kind, uint32_t key, uint32_t node)
{
    struct cop *o;

    if (w->op_n == OPS_MAX)
        return NULL;
    o = &w->op[w->op_n++];
    *o = (struct cop){
        .kind = kind, .key = (uint8_t)key, .node = (uint8_t)node, .floor = w->key[key].known};
    return o;
}

static void put_sub(struct fb_buf *list, uint16_t part, const char *key, const char *value)
{
    struct fb_buf one = {0}, args = {0};
    struct fb_req r = {.op = FB_OP_SET, .part = part, .key = fb_bytes_str(key), .nargs = 1};

    fb_list_put(&args, fb_bytes_str(value));
    r.args = fb_buf_view(&args);
    fb_req_encode(&one, &r);
    fb_list_put(list, fb_buf_view(&one));
    fb_buf_fini(&one);
    fb_buf_fini(&args);
}

/* What a primary wrote into its log. */
void cclient_logged(struct cworld *w, struct fb_bytes log)
{
    struct fb_reader in = fb_reader(log);
    struct fb_record r;

    while (in.n > 0 && fb_record_decode(&in, &r) == FB_OK) {
        char text[NAME_BYTES] = {0};
        uint32_t nr;
        if (r.type != FB_RECORD_PUT || r.value.n >= sizeof text || r.value.p[0] != 'v')
            continue;
        memcpy(text, r.value.p, r.value.n);
        nr = (uint32_t)strtoul(text + 1, NULL, 10);
        if (nr > 0 && nr <= w->op_n && r.ver > w->op[nr - 1].logged_ver)
            w->op[nr - 1].logged_ver = r.ver;
    }
}

/* One request to a node that takes itself for the primary. */
void cclient_send(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    uint32_t key = cbelow(w, KEYS);
    struct ckey *k = &w->key[key];
    char value[NAME_BYTES];
    struct fb_buf args = {0};
    struct fb_req r = {.part = k->part, .key = fb_bytes_str(k->name), .epoch = n->epoch[k->part]};
    bool only_read;
    struct cop *o;

    if (n->held[k->part] != 0) /* it was on its way to the lane already */
        r.epoch = n->held[k->part];
    if (r.epoch == 0)
        return;
    /* at times a node is only read from: what it has not heard of shows in reads alone */
    only_read = w->now < n->blind_until + 1000 * MS || (w->now / (4000 * MS) + i) % 3 == 0;
    if (cchance(w, only_read ? 100 : 20))
        r.op = FB_OP_GET;
    else
        r.op = key < PAIRS_FIRST ? FB_OP_INCRBY : key < SETS_FIRST ? FB_OP_TXN : FB_OP_SET;
    if (r.op == FB_OP_TXN)
        key &= ~1u;
    o = op_new(w, (uint8_t)r.op, key, i);
    if (o == NULL)
        return;
    k = &w->key[key];
    r.seq = w->op_n;
    r.level = cchance(w, 20)   ? FB_LEVEL_DURABLE
              : cchance(w, 20) ? FB_LEVEL_REPLICATED
              : cchance(w, 20) ? FB_LEVEL_DATABASE
                               : FB_LEVEL_NONE;
    o->level = r.level;
    snprintf(value, sizeof value, "v%u", w->op_n);
    if (r.op == FB_OP_INCRBY) {
        r.a = 1;
        k->incr_open++;
    } else if (r.op == FB_OP_SET) {
        fb_list_put(&args, fb_bytes_str(value));
        r.nargs = 1;
    } else if (r.op == FB_OP_TXN) {
        r.key = fb_bytes("", 0);
        put_sub(&args, k->part, w->key[key].name, value);
        put_sub(&args, k->part, w->key[key + 1].name, value);
        r.nargs = 2;
    } else {
        r.flags = FB_REQ_ORDERED;
        o->ver = k->incr_done;
    }
    r.args = fb_buf_view(&args);
    lane_request(n->lane, &n->dest, &r);
    fb_buf_fini(&args);
}

static void learn(struct cworld *w, uint32_t key, uint64_t ver)
{
    if (ver > w->key[key].known)
        w->key[key].known = ver;
}

/* A read shows the value of operation number `nr`. */
static void check_value(struct cworld *w, const struct cop *o, struct fb_bytes v)
{
    char text[NAME_BYTES] = {0};
    const struct cop *was;
    uint32_t nr;

    if (o->key < PAIRS_FIRST) { /* a counter */
        struct ckey *k = &w->key[o->key];
        uint64_t have;
        if (!fb_parse_u64(v, &have) || have > k->incr_open)
            broken_rule("counter %s shows more than was asked for", k->name);
        if (have < o->ver) /* here: how many had been answered when the read was sent */
            broken_rule("I12: counter %s was %llu and is %llu", k->name, (unsigned long long)o->ver,
                        (unsigned long long)have);
        return;
    }
    if (v.n >= sizeof text)
        broken_rule("a value nobody wrote");
    memcpy(text, v.p, v.n);
    nr = (uint32_t)strtoul(text + 1, NULL, 10);
    if (text[0] != 'v' || nr == 0 || nr > w->op_n)
        broken_rule("a value nobody wrote: %s", text);
    was = &w->op[nr - 1];
    if (was->state == OP_FAILED)
        broken_rule("I14: %s was refused and is read", text);
    if (was->logged_ver == 0 || was->logged_ver > w->committed[w->key[o->key].part])
        broken_rule("I11: %s is read and not committed", text);
    if (was->state == OP_DONE && was->ver < o->floor)
        broken_rule("I12: %s is read, which is older than what was known", text);
}

static void reply_write(struct cworld *w, struct cop *o, const struct fb_rep *rep)
{
    struct ckey *k = &w->key[o->key];

    if (rep->ver <= o->floor)
        broken_rule("I12: a write of %s got a version at or below a known one", k->name);
    if (rep->ver > w->committed[k->part])
        broken_rule("I13: a write was answered that is not committed");
    if (rep->level < o->level)
        broken_rule("I13: a write for which level %u was asked succeeds with %u", o->level,
                    rep->level);
    o->state = OP_DONE;
    o->ver = rep->ver;
    w->answered++;
    w->durable += rep->level == FB_LEVEL_DURABLE;
    w->local += rep->level == FB_LEVEL_LOCAL;
    if (o->kind == FB_OP_INCRBY) {
        if (rep->type != FB_REP_INT || rep->num <= 0 || (uint64_t)rep->num > k->incr_open ||
            w->counted[o->key][rep->num])
            broken_rule("I15: counter %s became %lld for two", k->name, (long long)rep->num);
        w->counted[o->key][rep->num] = true;
        if ((uint64_t)rep->num > k->incr_done)
            k->incr_done = (uint64_t)rep->num;
        w->increments++;
    }
    learn(w, o->key, o->kind == FB_OP_TXN ? rep->ver - 1 : rep->ver);
    if (o->kind == FB_OP_TXN)
        learn(w, o->key + 1u, rep->ver);
}

static void reply(struct cworld *w, const struct fb_rep *rep)
{
    struct cop *o = &w->op[rep->seq - 1];
    struct ckey *k = &w->key[o->key];

    if (o->state != OP_OPEN)
        broken_rule("two answers to one request");
    if (rep->type == FB_REP_ERR && rep->num == FB_REP_ERR_UNKNOWN) {
        o->state = OP_UNKNOWN;
        w->unknown++;
    } else if (rep->type == FB_REP_ERR) {
        o->state = OP_FAILED;
        if (o->kind == FB_OP_INCRBY)
            k->incr_open--;
    } else if (o->kind == FB_OP_GET) {
        o->state = OP_DONE;
        w->reads++;
        if (rep->type == FB_REP_BULK)
            check_value(w, o, rep->payload);
        else if (o->floor > 0)
            broken_rule("I12: %s was there and is gone", k->name);
    } else {
        reply_write(w, o, rep);
    }
}

void cclient_replies(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    struct fb_reader r = fb_reader(fb_buf_view(&n->dest.out));

    while (r.n > 0) {
        struct fb_rep rep;
        if (fb_rep_decode(&r, &rep) != FB_OK)
            broken_rule("a reply that is none");
        reply(w, &rep);
    }
    n->dest.items = 0;
    fb_buf_clear(&n->dest.out);
}

void cclient_lost(struct cworld *w, uint32_t i)
{
    for (uint32_t k = 0; k < w->op_n; k++)
        if (w->op[k].node == i && w->op[k].state == OP_OPEN)
            w->op[k].state = OP_UNKNOWN;
}

bool cclient_waits(const struct cworld *w, uint32_t i, uint16_t part)
{
    for (uint32_t k = 0; k < w->op_n; k++)
        if (w->op[k].node == i && w->op[k].state == OP_OPEN && w->key[w->op[k].key].part == part)
            return true;
    return false;
}

/* Another thread answers from what is published while the lease holds. */
void cclient_read(struct cworld *w, uint32_t i)
{
    uint32_t key = cbelow(w, KEYS);
    struct ckey *k = &w->key[key];
    const struct object *o;

    if (w->node[i].epoch[k->part] == 0 ||
        cnode_clock(w, i) >= lane_read_until(w->node[i].lane, k->part))
        return;
    w->lease_reads++;
    o = cnode_object(w, i, key);
    if (o == NULL || fb_ver_epoch(o->ver) == 0)
        return; /* it would be loaded */
    if (o->ver < k->known)
        broken_rule("I12: a lease read of %s is older than what was known", k->name);
    if (o->ver > w->committed[k->part])
        broken_rule("I11: a version is visible that is not committed");
    learn(w, key, o->ver);
}

/* The sync process of a partition, with the node that serves it. */
void cfeed(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    uint16_t p = (uint16_t)cbelow(w, PARTS);
    struct fb_feed_req r = {.part = p,
                            .ns = fb_bytes_str("default"),
                            .from_ver = w->ckpt[p],
                            .dsafe = w->ckpt[p],
                            .max = 1 + cbelow(w, 8)};

    if ((n->epoch[p] != 0 || n->held[p] != 0) && n->feeds.held == 0)
        lane_feed_req(n->lane, &n->feeds, &r);
}

static void apply(struct cworld *w, uint16_t part, const struct fb_feed_object *fo)
{
    for (uint32_t k = 0; k < KEYS; k++) {
        struct ckey *key = &w->key[k];
        if (!fb_bytes_is(fo->id, key->name))
            continue;
        if (fo->ver > w->committed[part])
            broken_rule("I20: PostgreSQL gets what is not committed");
        if (fo->ver <= key->pg_ver)
            broken_rule("I24: PostgreSQL gets %s twice or out of order", key->name);
        key->pg_ver = fo->ver;
        fb_buf_clear(&key->pg);
        fb_buf_put_bytes(&key->pg, fo->value);
        w->fed++;
        return;
    }
    broken_rule("a feed gives what nobody wrote");
}

static void take_batch(struct cworld *w, struct cnode *n, const struct fb_feed_batch *b)
{
    struct fb_reader r = fb_reader(b->objects);
    struct fb_feed_pos pos = {.part = b->part, .ns = fb_bytes_str("default"), .xid = 7};
    uint64_t end = b->scan_end;

    if (b->status == FB_FEED_AHEAD)
        broken_rule("a node takes its log for an old copy");
    if (b->status != FB_FEED_OK || b->from_ver != w->ckpt[b->part])
        return; /* the checkpoint's compare fails */
    for (uint32_t i = 0; i < b->count; i++) {
        struct fb_feed_object fo;
        if (fb_feed_object_decode(&r, &fo) != FB_OK)
            broken_rule("a feed object that is none");
        apply(w, b->part, &fo);
        if (!b->last)
            end = fo.ver;
    }
    if (end > w->committed[b->part])
        broken_rule("I22: a checkpoint is above what is committed");
    w->ckpt[b->part] = end;
    pos.ver = pos.dsafe = end;
    if (cchance(w, 80))
        lane_feed_pos(n->lane, &n->feeds, &pos);
}

void cfeed_take(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    struct fb_buf all = n->feeds.batches;
    struct fb_reader r = fb_reader(fb_buf_view(&all));

    n->feeds.batches = (struct fb_buf){0};
    n->feeds.batch_count = 0;
    while (r.n > 0) {
        struct fb_feed_batch b;
        if (fb_feed_batch_decode(&r, &b) != FB_OK)
            broken_rule("a feed batch that is none");
        take_batch(w, n, &b);
    }
    fb_buf_fini(&all);
}

static struct fb_bytes value_of(const struct object *o)
{
    return o == NULL ? fb_bytes("", 0) : object_value(o);
}

/* After each tick: transactions are seen whole, and only what is committed is published. */
void cjudge_node(struct cworld *w, uint32_t i)
{
    for (uint16_t p = 0; p < PARTS; p++) {
        struct lane_copy s;
        if (!lane_copy_status(w->node[i].lane, p, &s))
            continue;
        /* it may have stepped down after its last commit */
        if ((s.role >= REPLICA_CLOSED || w->node[i].led[p]) && s.com_ver > w->committed[p])
            w->committed[p] = s.com_ver;
        w->node[i].led[p] = s.role >= REPLICA_CLOSED;
        if (s.published_ver > w->committed[p])
            broken_rule("I11: %s published what no primary has committed", w->node[i].name);
    }
    for (uint32_t k = PAIRS_FIRST; k < SETS_FIRST; k += 2) {
        const struct object *a = cnode_object(w, i, k), *b = cnode_object(w, i, k + 1);
        if (a != NULL && b != NULL && (object_flags(a) & OBJECT_NEGATIVE) == 0 &&
            (object_flags(b) & OBJECT_NEGATIVE) == 0 && fb_ver_epoch(a->ver) != 0 &&
            fb_ver_epoch(b->ver) != 0 && !fb_bytes_equal(value_of(a), value_of(b)))
            broken_rule("half a transaction is seen at %s", w->node[i].name);
    }
}

void cjudge_end(struct cworld *w)
{
    for (uint32_t k = 0; k < KEYS; k++) {
        struct ckey *key = &w->key[k];
        const struct object *first = cnode_object(w, 0, k);
        uint64_t have;
        for (uint32_t i = 1; i < CNODES; i++) {
            const struct object *o = cnode_object(w, i, k);
            uint64_t a = first == NULL ? 0 : first->ver, b = o == NULL ? 0 : o->ver;
            if (fb_ver_epoch(a) == 0 || fb_ver_epoch(b) == 0)
                continue; /* a loaded copy or none */
            if (a != b || !fb_bytes_equal(value_of(first), value_of(o)))
                broken_rule("I32: copies of %s differ", key->name);
        }
        if (key->known > 0 && (first == NULL || fb_ver_epoch(first->ver) == 0))
            continue;
        if (first != NULL && fb_ver_epoch(first->ver) != 0 && first->ver < key->known)
            broken_rule("I5: %s lost what was answered", key->name);
        if (first != NULL && fb_ver_epoch(first->ver) != 0 &&
            (key->pg_ver != first->ver ||
             !fb_bytes_equal(fb_buf_view(&key->pg), object_value(first))))
            broken_rule("I36: PostgreSQL does not have %s as it is", key->name);
        if (k < PAIRS_FIRST && first != NULL && fb_parse_u64(object_value(first), &have) &&
            (have < key->incr_done || have > key->incr_open))
            broken_rule("I15: counter %s is %llu, %llu were answered", key->name,
                        (unsigned long long)have, (unsigned long long)key->incr_done);
    }
}
