/* Plans: as text that an operator or the coordinator hands over, and made of clusters of any shape.
 * The first byte says which.
 *
 * Besides sanitizers and assertions: an error has a reason; what is taken is written as something
 * that is taken and written the same; checking a plan against any map ends; a planned cluster needs
 * no second plan. */
#include "proto/base/buf.h"
#include "proto/cluster/rebalance.h"
#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>

#define PARTS 24u

static struct fb_part_record records[PARTS];
static uint64_t revs[PARTS];

static void check_text(struct fb_bytes text)
{
    struct fb_map map = {.partitions = PARTS, .parts = records, .part_revs = revs};
    struct fb_plan *p = NULL, *again = NULL;
    struct fb_buf one = {0}, two = {0};
    struct fb_err err = {0};

    if (fb_plan_decode(text, &p, &err) != FB_OK) {
        fb_assert(p == NULL && err.msg[0] != 0);
        return;
    }
    fb_plan_encode(&one, p);
    fb_assert(fb_plan_decode(fb_buf_view(&one), &again, &err) == FB_OK);
    fb_plan_encode(&two, again);
    fb_assert(fb_bytes_equal(fb_buf_view(&one), fb_buf_view(&two)));
    memcpy(map.cluster, p->cluster, sizeof(map.cluster));
    if (fb_plan_check(p, &map, &err) != FB_OK)
        fb_assert(err.msg[0] != 0);
    fb_plan_free(p);
    fb_plan_free(again);
    fb_buf_fini(&one);
    fb_buf_fini(&two);
}

static void make_record(struct fuzz_in *in, struct fb_part_record *r, uint32_t nodes)
{
    uint32_t have = 1 + fuzz_below(in, 4), begun = fuzz_below(in, 3);
    *r = (struct fb_part_record){.epoch = 1, .min_isr = 1};
    for (uint32_t i = 0; i < have + begun; i++) {
        struct fb_member m = {.inc = 1};
        uint32_t n = fuzz_below(in, nodes);
        bool there = false;
        snprintf(m.node, sizeof(m.node), "n%u", n);
        for (uint32_t k = 0; k < r->isr_count; k++)
            there = there || strcmp(r->isr[k].node, m.node) == 0;
        for (uint32_t k = 0; k < r->learner_count; k++)
            there = there || strcmp(r->learners[k], m.node) == 0;
        if (there)
            continue;
        if (i < have)
            r->isr[r->isr_count++] = m;
        else
            memcpy(r->learners[r->learner_count++], m.node, sizeof(m.node));
    }
    r->primary = r->isr[fuzz_below(in, r->isr_count)];
    fb_assert(fb_part_record_broken(r) == NULL);
}

static void event(struct fb_part_record *r, enum fb_record_event_kind kind, const char *node)
{
    struct fb_record_event ev = {.kind = kind, .member.inc = 1};
    struct fb_err err;
    memcpy(ev.member.node, node, sizeof(ev.member.node));
    if (fb_record_next(r, &ev, r, &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
}

static bool begun_on(const struct fb_part_record *r, const char *node)
{
    for (uint32_t i = 0; i < r->learner_count; i++)
        if (strcmp(r->learners[i], node) == 0)
            return true;
    return false;
}

static void carry_out(const struct fb_plan *p)
{
    for (uint32_t i = 0; i < p->move_count; i++) {
        const struct fb_move *m = &p->move[i];
        struct fb_part_record *r = &records[m->part];
        if (m->to != FB_PLAN_NO_NODE) {
            const char *to = p->node[m->to].place.name;
            if (!begun_on(r, to))
                event(r, FB_REC_LEARNER_ADD, to);
            event(r, FB_REC_EXPAND, to);
        }
        if (m->lead != FB_PLAN_NO_NODE)
            event(r, FB_REC_PROMOTE, p->node[m->lead].place.name);
        if (m->from != FB_PLAN_NO_NODE) {
            const char *from = p->node[m->from].place.name;
            event(r, begun_on(r, from) ? FB_REC_LEARNER_DROP : FB_REC_SHRINK, from);
        }
    }
}

static void check_planner(struct fuzz_in *in)
{
    struct fb_plan_node nodes[8] = {0};
    struct fb_plan_size sizes[PARTS] = {0};
    struct fb_map map = {.parts = records, .part_revs = revs};
    struct fb_rebalance_in pi = {.map = &map, .nodes = nodes, .sizes = sizes, .fewer = true};
    struct fb_plan *p = NULL, *again = NULL;
    struct fb_err err = {0};

    pi.node_count = 1 + fuzz_below(in, 8);
    pi.copies = 1 + fuzz_below(in, 4);
    pi.goal = (enum fb_plan_goal)fuzz_below(in, 2);
    map.partitions = 1 + fuzz_below(in, PARTS);
    for (uint32_t i = 0; i < pi.node_count; i++) {
        uint32_t zone = fuzz_below(in, 5);
        snprintf(nodes[i].place.name, sizeof(nodes[i].place.name), "n%u", i);
        if (zone > 0)
            snprintf(nodes[i].place.zone, sizeof(nodes[i].place.zone), "z%u", zone);
        nodes[i].place.weight = fuzz_u8(in) * 10u;
        nodes[i].state = (enum fb_plan_state)(fuzz_below(in, 6) / 2 % 3);
    }
    for (uint32_t i = 0; i < map.partitions; i++) {
        make_record(in, &records[i], pi.node_count);
        sizes[i].bytes = fuzz_u16(in);
    }
    if (fb_rebalance(&pi, &p, &err) != FB_OK) {
        fb_assert(p == NULL && err.code == FB_EREFUSED);
        return;
    }
    fb_assert(fb_plan_check(p, &map, &err) == FB_OK);
    carry_out(p);
    fb_assert(fb_rebalance(&pi, &again, &err) == FB_OK);
    fb_assert(again->move_count == 0);
    fb_plan_free(p);
    fb_plan_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_in in = {data, n};

    memset(records, 0, sizeof(records));
    if (fuzz_u8(&in) & 1)
        check_planner(&in);
    else
        check_text(fb_bytes(in.p, in.n));
    return 0;
}
