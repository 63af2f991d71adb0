/* Processes, disks and connections around lanes that hold copies (copies_world.h). */
#include "tests/unit/node/copies_world.h"

#include <stdio.h>

bool cnode_runs(const struct cworld *w, uint32_t i)
{
    return w->node[i].lane != NULL && w->now >= w->node[i].paused_until;
}

uint64_t cnode_clock(const struct cworld *w, uint32_t i)
{
    return w->node[i].offset_ns + w->now;
}

static void link_clear(struct link *k)
{
    while (k->head != NULL) {
        struct message *m = k->head;
        k->head = m->next;
        fb_buf_fini(&m->items);
        free(m);
    }
    k->tail = NULL;
}

void ccut(struct cworld *w, uint32_t a, uint32_t b)
{
    if (!w->up[a][b])
        return;
    w->up[a][b] = w->up[b][a] = false;
    link_clear(&w->link[a][b]);
    link_clear(&w->link[b][a]);
    if (w->node[a].lane != NULL)
        lane_node_down(w->node[a].lane, w->node[a].number[b]);
    if (w->node[b].lane != NULL)
        lane_node_down(w->node[b].lane, w->node[b].number[a]);
}

void cjoin(struct cworld *w, uint32_t a, uint32_t b)
{
    if (a == b || w->up[a][b] || w->node[a].lane == NULL || w->node[b].lane == NULL)
        return;
    w->up[a][b] = w->up[b][a] = true;
    lane_node_up(w->node[a].lane, w->node[a].number[b], w->node[b].inc);
    lane_node_up(w->node[b].lane, w->node[b].number[a], w->node[a].inc);
}

static void recover(struct cnode *n)
{
    struct fb_reader r = fb_reader(fb_buf_view(&n->log));
    struct fb_err err = {0};

    for (uint16_t p = 0; p < PARTS; p++)
        if (n->snap[p].n > 0 &&
            lane_recover_snapshot(n->lane, p, fb_buf_view(&n->snap[p]), &err) != FB_OK)
            broken_rule("snapshot of %s: %s", n->name, err.msg);
    while (r.n > 0) {
        struct fb_record rec;
        if (fb_record_decode(&r, &rec) != FB_OK ||
            lane_recover_record(n->lane, &rec, &err) != FB_OK)
            broken_rule("log of %s: %s", n->name, err.msg);
    }
    lane_recovered(n->lane);
}

void cnode_start(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    struct lane_config lc = {.lanes = 1, .partitions = PARTS};
    struct replica_config rc = {.inc = cdraw(w) | 1,
                                .partitions = PARTS,
                                .tail_bytes = w->small_ring ? 1u << 12 : 1u << 21,
                                .lease_ns = 1000 * MS,
                                .beat_ns = 200 * MS,
                                .silence_ns = 1500 * MS,
                                .cas_retry_ns = 500 * MS};
    struct fb_err err;

    snprintf(rc.node, sizeof rc.node, "%s", n->name);
    n->inc = rc.inc;
    if (store_new(PARTS, 64, &n->store, &err) != FB_OK)
        abort();
    n->lane = lane_new(&lc, n->store);
    lane_copies_new(n->lane, &rc);
    lane_configure(n->lane, w->set, NULL);
    lane_now(n->lane, cnode_clock(w, i), 1700000000000 + w->now / MS);
    lane_boot_now(n->lane, cnode_clock(w, i));
    recover(n);
    n->synced = n->log.n; /* recovery syncs what it read */
    n->end_n = 0;
    for (uint16_t p = 0; p < PARTS; p++) {
        n->rev[p] = 0;
        n->epoch[p] = 0;
        n->held[p] = 0;
        n->led[p] = false;
        n->recovered[p] = lane_last_ver(n->lane, p);
    }
    for (uint32_t k = 0; k < CNODES; k++)
        if (k != i)
            n->number[k] = lane_node(n->lane, w->node[k].name);
    w->restarts++;
}

void cnode_end(struct cworld *w, uint32_t i, bool power)
{
    struct cnode *n = &w->node[i];

    for (uint32_t k = 0; k < CNODES; k++)
        if (k != i)
            ccut(w, i, k);
    if (power && n->end_n > 0) { /* batches from a random one on are lost, synced ones are not */
        size_t keep = n->synced;
        uint32_t e = cbelow(w, n->end_n);
        if (n->ends[e].end > keep)
            keep = n->ends[e].end;
        n->log.n = keep;
    }
    cclient_lost(w, i);
    lane_free(n->lane);
    store_free(n->store);
    n->lane = NULL;
    n->store = NULL;
    n->dest.held = n->feeds.held = 0;
    n->dest.items = 0;
    n->dest.touched = n->feeds.touched = false;
    fb_buf_clear(&n->dest.out);
    fb_buf_clear(&n->feeds.batches);
    fb_buf_clear(&n->feeds.acks);
    n->feeds.batch_count = n->feeds.ack_count = 0;
}

static void hear(struct cworld *w, int kind, struct fb_bytes items, uint32_t count)
{
    struct heard *h = &w->heard[w->heard_n++ % HEARD];

    fb_buf_clear(&h->items);
    fb_buf_put_bytes(&h->items, items);
    h->kind = kind;
    h->count = count;
}

static void send(struct cworld *w, uint32_t from, uint32_t to, int kind, struct fb_buf *items,
                 uint32_t count)
{
    struct link *k = &w->link[from][to];
    struct message *m;

    if (count == 0)
        return;
    if (cchance(w, 10))
        hear(w, kind, fb_buf_view(items), count);
    m = fb_xcalloc(1, sizeof *m);
    m->kind = kind;
    m->count = count;
    fb_buf_put_bytes(&m->items, fb_buf_view(items));
    if (k->tail != NULL)
        k->tail->next = m;
    else
        k->head = m;
    k->tail = m;
}

static void send_all(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];

    for (uint32_t k = 0; k < CNODES; k++) {
        struct replica_node *o;
        if (k == i)
            continue;
        o = lane_node_at(n->lane, n->number[k]);
        if (w->up[i][k]) {
            send(w, i, k, M_APPEND, &o->appends, o->append_n);
            send(w, i, k, M_ACK, &o->acks, o->ack_n);
            send(w, i, k, M_HELLO, &o->hellos, o->hello_n);
        }
        lane_node_sent(n->lane, n->number[k]);
    }
}

/* The records of a message come in two, and the connection may break in between. */
static enum fb_status take_append(struct cworld *w, struct cnode *n, uint16_t number, uint64_t inc,
                                  const struct fb_append *all, bool *lost)
{
    struct fb_append m = *all;
    struct fb_reader r = fb_reader(all->records);
    enum fb_status st;

    if (w->healed || (all->flags & FB_APPEND_COPY) != 0 || all->count < 2 || !cchance(w, 20))
        return lane_recv_append(n->lane, number, inc, all);
    m.count = 1 + cbelow(w, all->count - 1);
    for (uint32_t i = 0; i < m.count; i++) {
        struct fb_record rec;
        if (fb_record_decode(&r, &rec) != FB_OK)
            return FB_EPROTO;
        m.prev = rec.ver; /* of what follows */
    }
    m.records.n = all->records.n - r.n;
    {
        struct fb_append first = m;
        first.prev = all->prev;
        st = lane_recv_append(n->lane, number, inc, &first);
    }
    *lost = cchance(w, 20);
    if (st != FB_OK || *lost)
        return st;
    m.count = all->count - m.count;
    m.records = fb_bytes(r.p, r.n);
    return lane_recv_append(n->lane, number, inc, &m);
}

static void cnode_hear(struct cworld *w, uint32_t from, uint32_t to, const struct heard *h)
{
    struct cnode *n = &w->node[to];
    struct fb_reader r = fb_reader(fb_buf_view(&h->items));
    uint64_t inc = w->node[from].inc;
    uint16_t number = n->number[from];
    enum fb_status st = FB_OK;

    for (uint32_t i = 0; i < h->count && st == FB_OK; i++) {
        struct fb_append a;
        struct fb_append_ack k;
        struct fb_replica_hello l;
        if (h->kind == M_APPEND)
            st = fb_append_decode(&r, &a) != FB_OK ? FB_EPROTO
                                                   : lane_recv_append(n->lane, number, inc, &a);
        else if (h->kind == M_ACK)
            st = fb_append_ack_decode(&r, &k) != FB_OK ? FB_EPROTO
                                                       : lane_recv_ack(n->lane, number, inc, &k);
        else
            st = fb_replica_hello_decode(&r, &l) != FB_OK
                     ? FB_EPROTO
                     : lane_recv_hello(n->lane, number, inc, &l);
    }
}

static void mutate(struct cworld *w, struct fb_buf *b)
{
    for (uint32_t k = 1 + cbelow(w, 3); k > 0 && b->n > 0; k--) {
        size_t at = cdraw(w) % b->n;
        if (cchance(w, 60))
            b->p[at] = (uint8_t)cdraw(w);
        else
            b->p[at] = (uint8_t)(b->p[at] + (cchance(w, 50) ? 1 : 255));
    }
}

void cnode_hostile(struct cworld *w)
{
    for (uint32_t k = 0; k < 150 && w->heard_n > 0; k++) {
        const struct heard *h = &w->heard[cbelow(w, w->heard_n < HEARD ? w->heard_n : HEARD)];
        struct heard bad = {.kind = h->kind, .count = h->count};
        uint32_t to = cbelow(w, CNODES), from = (to + 1 + cbelow(w, CNODES - 1)) % CNODES;
        struct cnode *n = &w->node[to];
        fb_buf_put_bytes(&bad.items, fb_buf_view(&h->items));
        mutate(w, &bad.items);
        w->now += 10 * MS;
        lane_now(n->lane, cnode_clock(w, to), 1700000000000 + w->now / MS);
        lane_boot_now(n->lane, cnode_clock(w, to));
        cnode_hear(w, from, to, &bad);
        fb_buf_fini(&bad.items);
        lane_tick(n->lane);
        lane_written(n->lane);
        lane_copies_written(n->lane);
        for (uint32_t o = 0; o < CNODES; o++)
            if (o != to)
                lane_node_sent(n->lane, n->number[o]);
        n->dest.items = 0;
        fb_buf_clear(&n->dest.out);
        lane_effects_clear(n->lane);
    }
}

static void take(struct cworld *w, uint32_t from, uint32_t to, const struct message *m)
{
    struct cnode *n = &w->node[to];
    struct fb_reader r = fb_reader(fb_buf_view(&m->items));
    uint64_t inc = w->node[from].inc;
    uint16_t number = n->number[from];
    enum fb_status st = FB_OK;
    bool lost = false;

    for (uint32_t i = 0; i < m->count && st == FB_OK && !lost; i++) {
        struct fb_append a;
        struct fb_append_ack k;
        struct fb_replica_hello h;
        if (m->kind == M_APPEND) {
            st = fb_append_decode(&r, &a);
            if (st == FB_OK)
                st = take_append(w, n, number, inc, &a, &lost);
        } else if (m->kind == M_ACK) {
            st = fb_append_ack_decode(&r, &k);
            if (st == FB_OK)
                st = lane_recv_ack(n->lane, number, inc, &k);
        } else {
            st = fb_replica_hello_decode(&r, &h);
            if (st == FB_OK)
                st = lane_recv_hello(n->lane, number, inc, &h);
        }
    }
    if (st != FB_OK)
        broken_rule("%s says what no node says to %s (kind %d)", w->node[from].name, n->name,
                    (int)m->kind);
    if (lost)
        ccut(w, from, to);
}

void cnode_deliver(struct cworld *w, uint32_t i)
{
    for (uint32_t from = 0; from < CNODES; from++) {
        struct link *k = &w->link[from][i];
        while (k->head != NULL && (w->healed || cchance(w, 70))) {
            struct message *m = k->head;
            k->head = m->next;
            if (k->head == NULL)
                k->tail = NULL;
            take(w, from, i, m);
            fb_buf_fini(&m->items);
            free(m);
        }
    }
}

/* A snapshot, taken slice by slice within one moment. */
void cnode_snapshot(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    struct lane_snapshot s;
    uint16_t p = (uint16_t)cbelow(w, PARTS);

    if (!lane_snapshot_begin(n->lane, p, &s))
        return;
    fb_buf_clear(&n->snap[p]);
    while (!s.done)
        lane_snapshot_slice(n->lane, &s, &n->snap[p], 1u << 20);
    n->synced = n->log.n; /* it is completed when the log has what it shows */
    w->snaps++;
}

static void wish(struct cworld *w, const struct lane_copy_event *e)
{
    struct cas_wish *c;
    struct fb_err err;

    if (w->wish_n == FB_COUNT_OF(w->wish) || e->rev != w->rev[e->part])
        return;
    c = &w->wish[w->wish_n];
    *c = (struct cas_wish){.part = e->part, .rev = e->rev, .at = w->now};
    if (!w->healed && cchance(w, 30))
        c->at += cbelow(w, 3000) * MS;
    if (fb_record_next(&w->rec[e->part], &e->change, &c->next, &err) == FB_OK)
        w->wish_n++;
}

static void events(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    uint32_t count;
    const struct lane_copy_event *e = lane_copy_events(n->lane, &count);

    for (uint32_t k = 0; k < count; k++) {
        uint16_t p = e[k].part;
        if (e[k].kind == LANE_COPY_CAS) {
            wish(w, &e[k]);
            n->hands_over[p] = n->hands_over[p] || e[k].change.kind == FB_REC_PROMOTE;
            continue;
        }
        if (e[k].kind == LANE_COPY_HELD)
            n->held_ns[p] = n->tick_ns;
        n->hands_over[p] = false; /* what it asked for before is overtaken */
        w->held += e[k].kind == LANE_COPY_HELD;
        w->released += e[k].kind == LANE_COPY_RELEASED;
        n->held[p] = e[k].kind == LANE_COPY_HELD ? e[k].epoch : 0;
        n->epoch[p] =
            e[k].kind == LANE_COPY_OPENED || e[k].kind == LANE_COPY_RELEASED ? e[k].epoch : 0;
    }
}

/* Nobody whom it let in is to be told of an unknown outcome, but who waits for very long. */
static void judge_hold(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];

    for (uint16_t p = 0; p < PARTS; p++) {
        if (n->hands_over[p] && n->held[p] == 0)
            broken_rule("%s lets another lead p%u and serves it", n->name, p);
        if (n->hands_over[p] && cnode_clock(w, i) - n->held_ns[p] < 2000 * MS &&
            cclient_waits(w, i, p))
            broken_rule("%s lets another lead p%u before all are answered", n->name, p);
        if (n->held[p] != 0 && cnode_clock(w, i) - n->held_ns[p] > 20000 * MS)
            broken_rule("%s holds p%u and never lets go of it", n->name, p);
        n->hands_over[p] = false;
    }
}

/* PostgreSQL answers loads at once. */
static void loads(struct cworld *w, struct cnode *n)
{
    struct lane_effects *fx = lane_effects(n->lane);
    struct {
        uint16_t part;
        uint64_t token;
        uint32_t key;
    } all[64];
    uint32_t count = 0;

    for (size_t i = 0; i < fx->load_count && count < 64; i++)
        for (uint32_t k = 0; k < KEYS; k++)
            if (fb_bytes_is(fx->loads[i].id, w->key[k].name)) {
                all[count].part = fx->loads[i].part;
                all[count].token = fx->loads[i].token;
                all[count++].key = k;
            }
    lane_effects_clear(n->lane);
    for (uint32_t i = 0; i < count; i++) {
        const struct ckey *k = &w->key[all[i].key];
        struct fb_load_rep rep = {.part = all[i].part,
                                  .token = all[i].token,
                                  .status = k->pg_ver ? FB_LOAD_FOUND : FB_LOAD_ABSENT,
                                  .kind = k->pg_ver ? FB_KIND_STRING : FB_KIND_NONE,
                                  .xmin = 7,
                                  .ckpt_ver = w->ckpt[all[i].part],
                                  .stored_ver = k->pg_ver,
                                  .id = fb_bytes_str(k->name),
                                  .value = fb_buf_view(&k->pg)};
        lane_load_reply(n->lane, &rep);
    }
}

void cnode_tick(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];
    struct lane_effects *fx = lane_effects(n->lane);

    for (uint16_t p = 0; p < PARTS; p++)
        if (n->lane->parts[p] != NULL)
            w->filled += n->lane->parts[p]->tail.filling > 0;
    lane_tick(n->lane);
    if (fx->log.n > 0) {
        if (n->end_n == n->end_cap) {
            n->end_cap = n->end_cap ? n->end_cap * 2 : 64;
            n->ends = fb_xrealloc(n->ends, n->end_cap * sizeof *n->ends);
        }
        fb_buf_put_bytes(&n->log, fb_buf_view(&fx->log));
        cclient_logged(w, fb_buf_view(&fx->log));
        n->ends[n->end_n++] = (struct batch_end){fx->log_seq, n->log.n};
        lane_written(n->lane);
    }
    if (!w->healed && w->pauses && cchance(w, 1))
        w->now += cbelow(w, 3000) * MS; /* the process stands still within the tick */
    lane_boot_now(n->lane, cnode_clock(w, i));
    lane_copies_written(n->lane);
    if (fx->refused.n > 0)
        broken_rule("%s takes its log for an old copy", n->name);
    events(w, i);
    send_all(w, i);
    cjudge_node(w, i);
    cclient_replies(w, i);
    judge_hold(w, i);
    loads(w, n);
    cfeed_take(w, i);
    if (n->end_n > 0 && (w->healed || cchance(w, w->slow_sync ? 10 : 50))) {
        n->synced = n->ends[n->end_n - 1].end;
        lane_synced(n->lane, n->ends[n->end_n - 1].seq);
        n->end_n = 0;
    }
}

const struct object *cnode_object(const struct cworld *w, uint32_t i, uint32_t key)
{
    struct fb_bytes name = fb_bytes_str(w->key[key].name);
    return store_find_own(w->node[i].store, name, object_hash(name));
}
