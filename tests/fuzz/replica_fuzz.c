/* Any messages of other nodes and any records of the coordinator, in any order, to the replica
 * stream: no assertion may be reached, the commit never goes back, and what is said decodes. The
 * input is a list of events; numbers are drawn from small ranges, so that they meet each other.
 */
#include "tests/fuzz/input.h"

#include "node/core/replica.h"
#include "proto/wire/record.h"

#include <stdlib.h>

static uint32_t pick(struct fb_reader *in, uint32_t n)
{
    return fb_take_u8(in) % n;
}

/* Mostly versions that somebody may know of. */
static uint64_t pick_ver(struct fb_reader *in, const struct replica *r)
{
    uint8_t how = fb_take_u8(in);
    if (how < 64)
        return replica_last_ver(r);
    if (how < 80)
        return replica_com_ver(r);
    return how < 96 ? 0 : fb_ver(1 + how % 6, pick(in, 5));
}

struct fuzz {
    struct replica_lane *rl;
    struct replica *r;
    struct fb_part_record rec;
    struct fb_buf log, item;
    uint64_t rev, now, com, incs[3];
};

static void on_record(struct fuzz *f, struct fb_reader *in)
{
    static const char *const names[] = {"n0", "n1", "n2", "n3"};
    struct fb_record_event ev = {.kind = (enum fb_record_event_kind)(1 + pick(in, 8)),
                                 .drop_old = pick(in, 2) != 0,
                                 .min_isr = (uint8_t)(1 + pick(in, 3))};
    struct fb_part_record next;
    uint32_t who = pick(in, FB_COUNT_OF(names));

    memcpy(ev.member.node, names[who], 3);
    ev.member.inc = who == 0 ? 1 + pick(in, 2) : 10 * who + pick(in, 3);
    if (f->rec.epoch > 60 || fb_record_next(&f->rec, &ev, &next, NULL) != FB_OK)
        return;
    if (pick(in, 8) == 0) { /* nobody makes such a record */
        next.epoch = 1 + pick(in, 8);
        next.primary = next.isr[pick(in, FB_REPLICAS_MAX)];
        (void)!replica_record(f->r, &next, f->rev + pick(in, 2), f->now);
        return;
    }
    f->rec = next;
    f->rev++;
    if (pick(in, 4) != 0) /* else it is seen later, or never */
        (void)!replica_record(f->r, &f->rec, f->rev, f->now);
}

static void on_append(struct fuzz *f, struct fb_reader *in, uint16_t node, uint64_t inc)
{
    struct fb_append m = {.part = pick(in, 16) == 0 ? 1 : 0,
                          .flags = pick(in, 8) == 0 ? FB_APPEND_GOODBYE : 0,
                          .epoch = 1 + pick(in, 6),
                          .history = pick(in, 8) == 0,
                          .token = pick(in, 8),
                          .sent_ns = pick(in, 8)};
    struct fb_buf records = {0};
    struct fb_reader item;
    uint64_t prev;

    m.prev = prev = pick_ver(in, f->r);
    m.com_ver = pick_ver(in, f->r);
    m.count = pick(in, 5);
    for (uint32_t i = 0; i < m.count; i++) {
        struct fb_record rec = {.type = FB_RECORD_DEL, .prev = prev, .ver = prev + 1};
        uint32_t how = pick(in, 8);
        if (how < 3) {
            rec.type = FB_RECORD_EPOCH_START;
            rec.ver = fb_ver(fb_ver_epoch(prev) + 1 + how, 0);
        } else if (how == 3) {
            rec.prev = pick_ver(in, f->r);
            rec.ver = rec.prev + 1 + pick(in, 2);
        }
        rec.key = fb_bytes("key", 3);
        fb_record_encode(&records, &rec);
        prev = rec.ver;
    }
    if (pick(in, 16) == 0)
        m.count++;
    m.records = fb_buf_view(&records);
    fb_buf_clear(&f->item);
    fb_append_encode(&f->item, &m);
    item = fb_reader(fb_buf_view(&f->item));
    if (fb_append_decode(&item, &m) == FB_OK)
        (void)!replica_recv_append(f->rl, node, inc, &m, &f->log, f->now);
    fb_buf_fini(&records);
}

static void on_ack(struct fuzz *f, struct fb_reader *in, uint16_t node, uint64_t inc)
{
    struct fb_append_ack m = {.status = pick(in, 8) == 0 ? FB_APPEND_STALE : FB_APPEND_OK,
                              .epoch = pick(in, 4) == 0 ? 1 + pick(in, 6) : replica_epoch(f->r),
                              .token = pick(in, 8),
                              .sent_ns = pick(in, 8)};
    struct fb_reader item;

    m.acked_ver = pick_ver(in, f->r);
    m.synced_ver = pick(in, 2) ? m.acked_ver : pick_ver(in, f->r);
    fb_buf_clear(&f->item);
    fb_append_ack_encode(&f->item, &m);
    item = fb_reader(fb_buf_view(&f->item));
    if (fb_append_ack_decode(&item, &m) == FB_OK)
        (void)!replica_recv_ack(f->rl, node, inc, &m, f->now);
}

static void on_hello(struct fuzz *f, struct fb_reader *in, uint16_t node, uint64_t inc)
{
    struct fb_replica_hello m = {.epoch = pick(in, 4) == 0 ? pick(in, 7) : replica_epoch(f->r)};
    struct fb_buf runs = {0};
    struct fb_reader item;
    uint32_t n = pick(in, 4), epoch = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t first = pick(in, 3);
        epoch += 1 + pick(in, 2);
        m.last_ver = fb_ver(epoch, first + pick(in, 4));
        fb_tail_run_put(&runs, (struct fb_tail_run){fb_ver(epoch, first), m.last_ver});
    }
    m.com_ver = pick_ver(in, f->r);
    m.runs = fb_buf_view(&runs);
    fb_buf_clear(&f->item);
    fb_replica_hello_encode(&f->item, &m);
    item = fb_reader(fb_buf_view(&f->item));
    if (fb_replica_hello_decode(&item, &m) == FB_OK)
        (void)!replica_recv_hello(f->rl, node, inc, &m, f->now);
    fb_buf_fini(&runs);
}

static void lead(struct fuzz *f, uint32_t more)
{
    uint64_t prev = replica_last_ver(f->r), ver = fb_ver(replica_epoch(f->r), 0);
    struct fb_record rec = {.type = FB_RECORD_EPOCH_START};

    for (uint32_t i = 0; i <= more; i++) {
        if (fb_ver_epoch(prev) == replica_epoch(f->r)) {
            rec.type = FB_RECORD_DEL;
            ver = prev + 1;
        }
        rec.ver = ver;
        rec.prev = prev;
        fb_buf_clear(&f->item);
        fb_record_encode(&f->item, &rec);
        replica_appended(f->r, ver, prev, fb_buf_view(&f->item));
        prev = ver;
    }
}

static void end_of_tick(struct fuzz *f, struct fb_reader *in)
{
    if (replica_role(f->r) >= REPLICA_CLOSED)
        lead(f, pick(in, 4));
    replica_flush(f->rl, f->now);
    replica_written(f->rl, f->now);
    if (pick(in, 2) != 0)
        replica_synced(f->r, replica_last_ver(f->r));
    if ((replica_fx(f->r) & REPLICA_FX_CAS) != 0 && replica_role(f->r) >= REPLICA_CLOSED) {
        uint64_t rev;
        fb_assert(replica_cas_event(f->r, &rev)->kind != 0 && rev <= f->rev + 1);
    }
    replica_fx_clear(f->rl);
    for (uint16_t i = 0; i < 3; i++) {
        struct replica_node *n = replica_node_at(f->rl, i);
        struct fb_reader a = fb_reader(fb_buf_view(&n->appends));
        for (uint32_t k = 0; k < n->append_n; k++) {
            struct fb_append m;
            enum fb_status st = fb_append_decode(&a, &m);
            fb_assert(st == FB_OK);
        }
        fb_assert(a.n == 0);
        n->append_n = n->ack_n = n->hello_n = 0;
        fb_buf_clear(&n->appends);
        fb_buf_clear(&n->acks);
        fb_buf_clear(&n->hellos);
    }
    fb_buf_clear(&f->log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct replica_config c = {.node = "n0",
                               .inc = 1,
                               .partitions = 1,
                               .tail_bytes = 4096,
                               .lease_ns = 40,
                               .beat_ns = 8,
                               .silence_ns = 60,
                               .cas_retry_ns = 8};
    struct fb_reader in = fb_reader(fb_bytes(data, n));
    struct fuzz f = {.rl = replica_lane_new(&c), .now = 100};

    f.r = replica_get(f.rl, 0);
    for (uint16_t i = 0; i < 3; i++) {
        char name[3] = {'n', (char)('1' + i), '\0'};
        fb_assert(replica_node_of(f.rl, name) == i);
        replica_node_up(f.rl, i, f.incs[i] = 10 * (i + 1u));
    }
    for (uint32_t k = pick(&in, 4); k > 0; k--)
        replica_recovered(f.r, fb_ver(k > 2 ? 1 : 4 - k, 0), replica_last_ver(f.r));
    replica_start(f.r, 0, pick(&in, 2) ? replica_last_ver(f.r) : 0);
    while (in.n > 0 && !in.bad) {
        uint32_t op = pick(&in, 10);
        uint16_t node = (uint16_t)pick(&in, 3);
        uint64_t inc = f.incs[node] - (pick(&in, 16) == 0 ? 1 : 0);
        f.now += pick(&in, 16);
        switch (op) {
        case 0:
        case 1:
            on_record(&f, &in);
            break;
        case 2:
        case 3:
        case 4:
            on_append(&f, &in, node, inc);
            break;
        case 5:
            on_ack(&f, &in, node, inc);
            break;
        case 6:
            on_hello(&f, &in, node, inc);
            break;
        case 7:
            if (pick(&in, 4) == 0)
                replica_node_down(f.rl, node);
            else
                replica_node_up(f.rl, node, f.incs[node] = 10 * (node + 1u) + pick(&in, 3));
            break;
        case 8:
            (void)replica_read_begin(f.r);
            (void)replica_lease_holds(f.r, f.now);
            (void)replica_level(f.r, replica_last_ver(f.r));
            break;
        default:
            replica_tick(f.rl, f.now);
            end_of_tick(&f, &in);
            break;
        }
        fb_assert(replica_com_ver(f.r) >= f.com);
        f.com = replica_com_ver(f.r);
    }
    replica_lane_free(f.rl);
    fb_buf_fini(&f.log);
    fb_buf_fini(&f.item);
    return 0;
}
