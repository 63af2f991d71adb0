/* Coordinator, faults and time around nodes with whole lanes (copies_world.h). */
#include "tests/unit/node/copies_world.h"

#include "proto/cluster/slot.h"

#include <stdio.h>

uint64_t cdraw(struct cworld *w)
{
    uint64_t z = (w->rng += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void name_key(struct ckey *k, uint32_t nr)
{
    if (nr >= PAIRS_FIRST && nr < SETS_FIRST)
        snprintf(k->name, sizeof k->name, "{t%u}%s", nr / 2, nr % 2 ? "b" : "a");
    else
        snprintf(k->name, sizeof k->name, "k%u", nr);
    k->part = fb_key_partition(fb_bytes_str(k->name), PARTS);
}

void cworld_init(struct cworld *w, uint64_t seed)
{
    struct fb_namespace *ns;

    memset(w, 0, sizeof *w);
    w->seed = w->rng = seed;
    w->now = 1000 * MS;
    w->set = calloc(1, sizeof *w->set);
    w->set->count = 1;
    ns = &w->set->ns[0];
    snprintf(ns->name, sizeof ns->name, "default");
    ns->max_value = FB_VALUE_BYTES_DEFAULT;
    ns->negative_ttl_ms = 5000;
    ns->durability = FB_LEVEL_REPLICATED;
    w->kills = cchance(w, 60);
    w->power = cchance(w, 40);
    w->cuts = cchance(w, 60);
    w->pauses = cchance(w, 40);
    w->promotes = cchance(w, 60);
    w->plans = seed % 2 == 1;
    w->refuse = ns->on_degraded_refuse = cchance(w, 15);
    w->confirmed = cchance(w, 30);
    ns->reads = w->confirmed ? FB_READS_CONFIRMED : FB_READS_LEASE;
    w->slow_sync = cchance(w, 40);
    w->small_ring = cchance(w, 40);
    w->frail = cbelow(w, CNODES);
    for (uint32_t k = 0; k < KEYS; k++)
        name_key(&w->key[k], k);
    for (uint32_t i = 0; i < CNODES; i++) {
        snprintf(w->node[i].name, sizeof w->node[i].name, "n%u", i);
        w->node[i].offset_ns = cbelow(w, 1000) * 1000 * MS;
    }
    for (uint32_t i = 0; i < CNODES; i++)
        cnode_start(w, i);
    for (uint16_t p = 0; p < PARTS; p++)
        w->rev[p] = 1;
}

void cworld_fini(struct cworld *w)
{
    for (uint32_t i = 0; i < CNODES; i++) {
        struct cnode *n = &w->node[i];
        if (n->lane != NULL)
            cnode_end(w, i, false);
        fb_buf_fini(&n->log);
        fb_buf_fini(&n->dest.out);
        fb_buf_fini(&n->feeds.batches);
        fb_buf_fini(&n->feeds.acks);
        for (uint16_t p = 0; p < PARTS; p++)
            fb_buf_fini(&n->snap[p]);
        free(n->ends);
    }
    for (uint32_t k = 0; k < HEARD; k++)
        fb_buf_fini(&w->heard[k].items);
    for (uint32_t k = 0; k < KEYS; k++)
        fb_buf_fini(&w->key[k].pg);
    free(w->set);
}

static struct fb_record_event event(const struct cworld *w, enum fb_record_event_kind kind,
                                    uint32_t node)
{
    struct fb_record_event e = {.kind = kind, .member = {.inc = w->node[node].inc}};
    memcpy(e.member.node, w->node[node].name, sizeof w->node[node].name);
    return e;
}

static bool put(struct cworld *w, uint16_t p, const struct fb_record_event *e)
{
    struct fb_part_record next;
    struct fb_err err;

    if (fb_record_next(&w->rec[p], e, &next, &err) != FB_OK)
        return false;
    w->rec[p] = next;
    w->rev[p]++;
    return true;
}

static bool lives(const struct cworld *w, const struct fb_member *m)
{
    const struct cnode *n = &w->node[m->node[1] - '0'];
    return n->lane != NULL && n->inc == m->inc;
}

static void lead(struct cworld *w, uint16_t p)
{
    const struct fb_part_record *r = &w->rec[p];
    uint32_t best = CNODES, from = cbelow(w, FB_REPLICAS_MAX + 1);

    for (uint32_t k = 0; k < r->isr_count; k++) { /* a backup, which one does not matter (I8) */
        const struct fb_member *m = &r->isr[(from + k) % r->isr_count];
        if (lives(w, m) && (m->inc != r->primary.inc || r->isr_count == 1)) {
            struct fb_record_event e = event(w, FB_REC_PROMOTE, (uint32_t)(m->node[1] - '0'));
            if (m->inc != r->primary.inc)
                w->promotions += put(w, p, &e);
            return;
        }
    }
    for (uint32_t k = 0; k < r->isr_count; k++) { /* the whole set restarted */
        uint32_t i = (uint32_t)(r->isr[k].node[1] - '0');
        if (w->node[i].lane == NULL || lives(w, &r->isr[k]))
            return;
        if (best == CNODES || w->node[i].recovered[p] > w->node[best].recovered[p])
            best = i;
    }
    struct fb_record_event e = event(w, FB_REC_LAST_SET, best);
    (void)put(w, p, &e);
}

static void refill(struct cworld *w, uint16_t p)
{
    for (uint32_t i = 0; i < CNODES; i++) {
        bool there = false;
        for (uint32_t k = 0; k < w->rec[p].isr_count; k++)
            there = there || strcmp(w->rec[p].isr[k].node, w->node[i].name) == 0;
        if (!there && w->node[i].lane != NULL) {
            struct fb_record_event e = event(w, FB_REC_LEARNER_ADD, i);
            (void)put(w, p, &e);
        }
    }
}

/* Plans to let another lead; what comes of none is done without the primary, or called off. */
static void hand_over(struct cworld *w, uint16_t p)
{
    const struct fb_part_record *r = &w->rec[p];
    struct fb_record_event e;

    if (r->successor[0] == '\0' || w->successor_ns[p] == 0)
        w->successor_ns[p] = r->successor[0] == '\0' ? 0 : w->now;
    if (r->successor[0] != '\0' && w->now - w->successor_ns[p] >= 5000 * MS) {
        e = event(w, cchance(w, 50) ? FB_REC_KEEP : FB_REC_PROMOTE,
                  (uint32_t)(r->successor[1] - '0'));
        (void)put(w, p, &e);
    } else if (r->isr_count > 1 && cbelow(w, w->healed ? 400 : 60) == 0) {
        e = event(w, FB_REC_HAND_OVER, (uint32_t)(r->isr[cbelow(w, r->isr_count)].node[1] - '0'));
        (void)put(w, p, &e);
    }
}

static bool primary_blind(const struct cworld *w, uint16_t p)
{
    return w->now < w->node[w->rec[p].primary.node[1] - '0'].blind_until;
}

static void coordinator(struct cworld *w)
{
    for (uint32_t i = 0; i < w->wish_n; i++) {
        struct cas_wish *c = &w->wish[i];
        if (c->at > w->now)
            continue;
        if (c->rev == w->rev[c->part]) {
            w->rec[c->part] = c->next;
            w->rev[c->part]++;
        }
        *c = w->wish[--w->wish_n];
        i--;
    }
    for (uint16_t p = 0; p < PARTS; p++) {
        if (w->rec[p].epoch == 0) {
            struct fb_record_event e = event(w, FB_REC_ASSIGN, cbelow(w, CNODES));
            e.min_isr = 2;
            (void)put(w, p, &e);
        } else if (!lives(w, &w->rec[p].primary)) {
            if (cchance(w, w->healed ? 50 : 5))
                lead(w, p);
        } else if (!w->healed && w->promotes && cbelow(w, primary_blind(w, p) ? 20 : 200) == 0) {
            lead(w, p); /* somebody takes the primary for dead */
        }
        if (cchance(w, w->healed ? 50 : 10))
            refill(w, p);
        if (w->plans)
            hand_over(w, p);
    }
}

static void records(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];

    for (uint16_t p = 0; p < PARTS; p++) {
        enum fb_status st;
        if (n->rev[p] >= w->rev[p] || (!w->healed && (w->now < n->blind_until || cchance(w, 60))))
            continue;
        st = lane_copy_record(n->lane, p, &w->rec[p], w->rev[p]);
        if (st != FB_OK)
            broken_rule("%s refuses a record: %s", n->name, fb_status_text(st));
        n->rev[p] = w->rev[p];
    }
}

static void faults(struct cworld *w)
{
    uint32_t i = cbelow(w, CNODES), k = cbelow(w, CNODES);

    if (w->cuts && cbelow(w, 60) == 0)
        ccut(w, i, k);
    if (w->cuts && cbelow(w, 250) == 0) { /* alone, and without the coordinator */
        for (uint32_t o = 0; o < CNODES; o++)
            ccut(w, i, o);
        w->node[i].blind_until = w->now + cbelow(w, 6000) * MS;
    }
    if (cchance(w, 10) && w->now >= w->node[i].blind_until && w->now >= w->node[k].blind_until)
        cjoin(w, i, k);
    if (w->pauses && cbelow(w, 150) == 0)
        w->node[i].paused_until = w->now + cbelow(w, 4000) * MS;
    if (w->node[i].lane == NULL) {
        if (cchance(w, 10))
            cnode_start(w, i);
    } else if (w->kills && cbelow(w, 250) == 0) {
        cnode_end(w, i, false);
    } else if (w->power && i == w->frail && cbelow(w, 100) == 0) {
        cnode_end(w, i, true);
    }
}

static void run_node(struct cworld *w, uint32_t i)
{
    struct cnode *n = &w->node[i];

    lane_now(n->lane, cnode_clock(w, i), 1700000000000 + w->now / MS);
    n->tick_ns = cnode_clock(w, i);
    lane_boot_now(n->lane, n->tick_ns);
    records(w, i);
    cnode_deliver(w, i);
    if (!w->healed)
        for (uint32_t k = cbelow(w, 4); k > 0; k--)
            cclient_send(w, i);
    if (w->healed || cchance(w, 30))
        cfeed(w, i);
    cnode_tick(w, i);
    if (!w->healed && cchance(w, 20))
        cclient_read(w, i);
    if (!w->healed && cbelow(w, 100) == 0)
        cnode_snapshot(w, i);
}

void cworld_step(struct cworld *w)
{
    w->steps++;
    w->now += (1 + cbelow(w, 40)) * MS;
    coordinator(w);
    if (!w->healed)
        faults(w);
    for (uint32_t i = 0; i < CNODES; i++)
        if (cnode_runs(w, i) && (w->healed || cchance(w, 75)))
            run_node(w, i);
}

static bool same(struct cworld *w)
{
    for (uint16_t p = 0; p < PARTS; p++) {
        uint64_t ver = 0;
        if (w->rec[p].isr_count < CNODES || w->wish_n > 0)
            return false;
        for (uint32_t i = 0; i < CNODES; i++) {
            struct lane_copy s;
            if (!lane_copy_status(w->node[i].lane, p, &s) || s.published_ver != s.last_ver ||
                (i > 0 && s.last_ver != ver))
                return false;
            ver = s.last_ver;
            if (s.role == REPLICA_OPEN && (w->node[i].dest.held > 0 || w->node[i].epoch[p] == 0))
                return false;
        }
        for (uint32_t i = 0; i < CNODES; i++)
            for (uint32_t f = 0; f < w->node[i].lane->parts[p]->feed_cap; f++)
                if (w->node[i].lane->parts[p]->feeds[f] != NULL &&
                    w->node[i].lane->parts[p]->feeds[f]->dirty.count > 0)
                    return false;
    }
    return true;
}

bool cworld_heal(struct cworld *w)
{
    w->healed = true;
    for (uint32_t i = 0; i < CNODES; i++) {
        w->node[i].paused_until = 0;
        if (w->node[i].lane == NULL)
            cnode_start(w, i);
    }
    for (uint32_t n = 0; n < 3000; n++) {
        for (uint32_t i = 0; i < CNODES; i++)
            for (uint32_t k = 0; k < i; k++)
                cjoin(w, i, k);
        cworld_step(w);
        if (n > 10 && same(w))
            return true;
    }
    return false;
}
