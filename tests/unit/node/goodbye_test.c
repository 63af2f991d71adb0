/* Goal: a backup that is made to lead opens at once when the primary before it has said goodbye,
 * and only when its promise to that one has run out when it has not. Method: scripted messages; the
 * last heartbeat and the goodbye come in the same tick, as they do from a busy primary. */
#include "node/core/replica.h"
#include "proto/wire/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define A_INC 1u

struct rig {
    struct replica_lane *rl;
    struct replica *r;
    uint16_t a;
    uint64_t now;
    struct fb_buf log;
};

static void written(struct rig *g)
{
    replica_flush(g->rl, g->now);
    replica_written(g->rl, g->now);
    replica_fx_clear(g->rl);
}

static void record(struct rig *g, uint32_t epoch, bool leads)
{
    struct fb_part_record rec = {.epoch = epoch,
                                 .isr = {{.node = "a", .inc = A_INC}, {.node = "b", .inc = 2}},
                                 .isr_count = 2,
                                 .min_isr = 2};

    rec.primary = rec.isr[leads];
    assert_int_equal(replica_record(g->r, &rec, epoch, g->now), FB_OK);
}

/* Node b, a backup of a in epoch 5. */
static void rig_init(struct rig *g)
{
    const struct replica_config rc = {.node = "b",
                                      .inc = 2,
                                      .partitions = 1,
                                      .tail_bytes = 1u << 16,
                                      .lease_ns = 1000 * MS,
                                      .beat_ns = 200 * MS,
                                      .silence_ns = 1500 * MS,
                                      .cas_retry_ns = 500 * MS};

    *g = (struct rig){.rl = replica_lane_new(&rc), .now = 5000 * MS};
    g->a = replica_node_of(g->rl, "a");
    g->r = replica_get(g->rl, 0);
    replica_recovered_end(g->r, fb_ver(4, 7));
    replica_start(g->r, 0, fb_ver(4, 7));
    replica_node_up(g->rl, g->a, A_INC);
    record(g, 5, false);
}

static void hear(struct rig *g, uint8_t flags)
{
    const struct fb_append m = {
        .epoch = 5, .flags = flags, .token = flags ? 0 : 1, .sent_ns = g->now};

    assert_int_equal(replica_recv_append(g->rl, g->a, A_INC, &m, &g->log, g->now), FB_OK);
}

/* b leads in epoch 6, and a has its start a moment later. */
static void lead(struct rig *g)
{
    struct fb_append_ack ack = {.epoch = 6, .acked_ver = fb_ver(6, 0)};

    g->now += 5 * MS;
    record(g, 6, true);
    assert_int_equal(replica_role(g->r), REPLICA_CLOSED);
    replica_appended(g->r, fb_ver(6, 0), fb_ver(4, 7), fb_bytes_str("start"));
    written(g);
    ack.sent_ns = g->now;
    g->now += 5 * MS;
    assert_int_equal(replica_recv_ack(g->rl, g->a, A_INC, &ack, g->now), FB_OK);
    written(g);
}

static void rig_fini(struct rig *g)
{
    replica_lane_free(g->rl);
    fb_buf_fini(&g->log);
}

static void test_goodbye(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    hear(&g, 0);
    hear(&g, FB_APPEND_GOODBYE);
    written(&g);
    lead(&g);
    assert_int_equal(replica_role(g.r), REPLICA_OPEN);
    rig_fini(&g);
}

static void test_no_goodbye(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    hear(&g, 0);
    written(&g);
    lead(&g);
    assert_int_equal(replica_role(g.r), REPLICA_CLOSED);
    g.now += 988 * MS;
    replica_tick(g.rl, g.now);
    assert_int_equal(replica_role(g.r), REPLICA_CLOSED);
    g.now += 2 * MS;
    replica_tick(g.rl, g.now);
    assert_int_equal(replica_role(g.r), REPLICA_OPEN);
    rig_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goodbye),
        cmocka_unit_test(test_no_goodbye),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
