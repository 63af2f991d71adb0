/* A lane driven by hand (harness.h). */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"
#include "proto/rt/rcu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void defaults(struct fb_namespace *ns, const char *name)
{
    memset(ns, 0, sizeof *ns);
    snprintf(ns->name, sizeof ns->name, "%s", name);
    ns->max_value = FB_VALUE_BYTES_DEFAULT;
    ns->negative_ttl_ms = 5000;
    ns->durability = FB_LEVEL_REPLICATED;
    ns->conflict = FB_CONFLICT_CACHE_WINS;
    ns->on_delete = FB_ON_DELETE_DELETE;
}

void harness_init(struct harness *h)
{
    memset(h, 0, sizeof *h);
    h->dsafe = UINT64_MAX;
    h->set = calloc(1, sizeof *h->set);
    h->set->count = 1;
    defaults(&h->set->ns[0], "default");
}

struct fb_namespace *harness_namespace(struct harness *h, const char *name)
{
    struct fb_namespace *ns = &h->set->ns[h->set->count++];
    defaults(ns, name);
    return ns;
}

static struct lane_config config;

static void start(struct harness *h)
{
    struct fb_err err;
    if (store_new(HARNESS_PARTS, 1024, &h->store, &err) != FB_OK)
        abort();
    h->lane = lane_new(&config, h->store);
    lane_configure(h->lane, h->set, h->schemas);
}

static void open_all(struct harness *h)
{
    h->epoch++;
    lane_now(h->lane, h->mono_ns, h->wall_ms);
    for (uint16_t p = 0; p < HARNESS_PARTS; p++)
        lane_open_partition(h->lane, p, h->epoch, 0, h->wall_ms);
    harness_tick(h);
}

void harness_open(struct harness *h, uint64_t memory_limit, uint64_t dirty_limit)
{
    static bool registered;
    if (!registered)
        rcu_register_thread();
    registered = true;
    config = (struct lane_config){.lanes = 1,
                                  .partitions = HARNESS_PARTS,
                                  .memory_limit = memory_limit,
                                  .dirty_limit = dirty_limit};
    h->mono_ns = 1000000000;
    h->wall_ms = 1700000000000;
    start(h);
    open_all(h);
}

static void stop(struct harness *h)
{
    lane_free(h->lane);
    store_free(h->store);
    h->dest.held = h->feeds.held = 0;
    fb_buf_clear(&h->dest.out);
    h->dest.touched = h->feeds.touched = false;
}

void harness_close(struct harness *h)
{
    stop(h);
    fb_buf_fini(&h->dest.out);
    fb_buf_fini(&h->feeds.batches);
    fb_buf_fini(&h->feeds.acks);
    fb_buf_fini(&h->prover.batches);
    fb_buf_fini(&h->prover.acks);
    fb_buf_fini(&h->log);
    fb_buf_fini(&h->out);
    fb_buf_fini(&h->loads_id);
    free(h->set);
}

void harness_restart(struct harness *h)
{
    struct fb_reader r = fb_reader(fb_buf_view(&h->log));
    struct fb_record rec;
    struct fb_err err = {0};

    stop(h);
    start(h);
    while (r.n > 0)
        if (fb_record_decode(&r, &rec) != FB_OK ||
            lane_recover_record(h->lane, &rec, &err) != FB_OK) {
            fprintf(stderr, "replay: %s\n", err.msg);
            abort();
        }
    open_all(h);
}

void harness_tick(struct harness *h)
{
    struct lane_effects *fx = lane_effects(h->lane);
    h->load_n = 0;
    fb_buf_put_bytes(&h->log, fb_buf_view(&fx->log));
    if (fx->log.n > 0)
        h->log_seq = fx->log_seq;
    lane_written(h->lane);
    fb_buf_clear(&h->loads_id);
    fb_buf_reserve(&h->loads_id, fx->load_bytes.n + 1);
    for (size_t i = 0; i < fx->load_count && i < FB_COUNT_OF(h->loads); i++) {
        h->loads[i] = fx->loads[i];
        h->loads[i].id.p = h->loads_id.p + h->loads_id.n;
        fb_buf_put_bytes(&h->loads_id, fx->loads[i].id);
        h->load_n++;
    }
    h->notes += fx->note_count;
    fb_buf_clear(&h->out);
    fb_buf_put_bytes(&h->out, fb_buf_view(&h->dest.out));
    fb_buf_clear(&h->dest.out);
    lane_effects_clear(h->lane);
}

void harness_sync(struct harness *h)
{
    lane_synced(h->lane, h->log_seq);
    harness_tick(h);
}

bool harness_pop(struct harness *h, struct fb_rep *rep)
{
    static struct fb_buf kept;
    struct fb_reader r = fb_reader(fb_buf_view(&h->out));
    if (r.n == 0 || fb_rep_decode(&r, rep) != FB_OK)
        return false;
    fb_buf_clear(&kept);
    fb_buf_put_bytes(&kept, rep->payload);
    rep->payload = fb_buf_view(&kept);
    if (kept.n == 0)
        fb_buf_fini(&kept);
    fb_buf_consume(&h->out, h->out.n - r.n);
    return true;
}

void harness_req(struct harness *h, struct fb_req *req, struct fb_buf *args, uint16_t op,
                 const char *key)
{
    (void)args;
    *req = (struct fb_req){.seq = ++h->seq, .op = op, .key = fb_bytes_str(key), .epoch = h->epoch};
    req->part = fb_key_partition(req->key, HARNESS_PARTS);
}

struct fb_rep harness_do(struct harness *h, uint16_t op, const char *key, int64_t a, int64_t b,
                         uint16_t flags, uint8_t level, uint32_t nargs, ...)
{
    static struct fb_buf args;
    struct fb_rep rep = {.type = 255};
    struct fb_req req;
    va_list ap;

    fb_buf_clear(&args);
    va_start(ap, nargs);
    for (uint32_t i = 0; i < nargs; i++)
        fb_list_put(&args, fb_bytes_str(va_arg(ap, const char *)));
    va_end(ap);
    harness_req(h, &req, &args, op, key);
    req.a = a;
    req.b = b;
    req.flags = flags;
    req.level = level;
    req.nargs = nargs;
    req.args = fb_buf_view(&args);
    lane_now(h->lane, h->mono_ns, h->wall_ms);
    lane_request(h->lane, &h->dest, &req);
    harness_tick(h);
    (void)harness_pop(h, &rep);
    if (args.cap > 0)
        fb_buf_clear(&args);
    fb_buf_fini(&args);
    return rep;
}

void harness_load(struct harness *h, uint32_t n, uint8_t status, uint8_t kind,
                  struct fb_bytes value, uint32_t xmin, uint64_t ckpt)
{
    struct lane_load *load = &h->loads[n];
    struct fb_load_rep rep = {.part = load->part,
                              .token = load->token,
                              .status = status,
                              .kind = kind,
                              .xmin = xmin,
                              .ckpt_ver = ckpt,
                              .id = load->id,
                              .value = value};
    lane_load_reply(h->lane, &rep);
    harness_tick(h);
}

uint64_t harness_proof(struct harness *h, uint16_t part, const char *ns)
{
    struct fb_feed_req req = {.part = part, .ns = fb_bytes_str(ns), .max = 1};
    struct fb_feed_batch b = {0};
    struct fb_reader r;
    fb_buf_clear(&h->prover.batches);
    lane_feed_req(h->lane, &h->prover, &req);
    r = fb_reader(fb_buf_view(&h->prover.batches));
    if (fb_feed_batch_decode(&r, &b) != FB_OK || b.status != FB_FEED_BEHIND || b.proof == 0)
        abort();
    return b.proof;
}

struct fb_feed_batch harness_feed(struct harness *h, uint16_t part, const char *ns, uint64_t from,
                                  uint32_t max)
{
    struct fb_feed_req req = {.part = part,
                              .ns = fb_bytes_str(ns),
                              .from_ver = from,
                              .max = max,
                              .dsafe = h->dsafe < from ? h->dsafe : from,
                              .proof = h->proof};
    struct fb_feed_batch b = {0};
    struct fb_reader r;
    fb_buf_clear(&h->feeds.batches);
    lane_feed_req(h->lane, &h->feeds, &req);
    if (h->feeds.held > 0) { /* the newest versions wait for the disk */
        if (h->feeds.batches.n > 0)
            abort();
        harness_tick(h);
        harness_sync(h);
        if (h->feeds.held > 0)
            abort();
    }
    r = fb_reader(fb_buf_view(&h->feeds.batches));
    if (fb_feed_batch_decode(&r, &b) != FB_OK)
        abort();
    harness_tick(h);
    if (b.status == FB_FEED_BEHIND && !h->stale) {
        h->proof = b.proof;
        b = harness_feed(h, part, ns, from, max);
        h->proof = 0;
    }
    return b;
}

void harness_pos(struct harness *h, uint16_t part, const char *ns, uint64_t ver, uint64_t xid)
{
    struct fb_feed_pos pos = {.part = part,
                              .ns = fb_bytes_str(ns),
                              .ver = ver,
                              .dsafe = h->dsafe < ver ? h->dsafe : ver,
                              .xid = xid};
    lane_feed_pos(h->lane, &h->feeds, &pos);
    harness_tick(h);
}

void harness_sub(struct harness *h, struct fb_buf *list, uint16_t op, const char *key, int64_t a,
                 const char *arg)
{
    struct fb_buf one = {0}, args = {0};
    struct fb_req req;
    harness_req(h, &req, NULL, op, key);
    req.a = a;
    if (arg != NULL) {
        fb_list_put(&args, fb_bytes_str(arg));
        req.nargs = 1;
        req.args = fb_buf_view(&args);
    }
    fb_req_encode(&one, &req);
    fb_list_put(list, fb_buf_view(&one));
    fb_buf_fini(&one);
    fb_buf_fini(&args);
}

struct fb_rep harness_txn(struct harness *h, struct fb_buf *list, uint32_t n, int64_t watches,
                          const char *key)
{
    struct fb_req req;
    struct fb_rep rep = {.type = 255};
    harness_req(h, &req, NULL, FB_OP_TXN, key);
    req.a = watches;
    req.nargs = n;
    req.args = fb_buf_view(list);
    req.key = fb_bytes("", 0);
    lane_request(h->lane, &h->dest, &req);
    harness_tick(h);
    (void)harness_pop(h, &rep);
    fb_buf_clear(list);
    return rep;
}
