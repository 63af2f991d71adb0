/* Requests to mapped namespaces (row_client.h). */
#include "tests/sim/row_client.h"

#include "proto/cluster/record_next.h"
#include "proto/cluster/slot.h"
#include "proto/wire/request.h"
#include "tests/sim/coord.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS 16u

struct row_client {
    struct world *w;
    struct sim_net *net;
    struct sim_conn *conn;
    uint32_t epoch[WORLD_PARTITIONS_MAX], seq;
    uint64_t coord_rev, answers, errors;
};

static void put(struct fb_buf *args, uint32_t *n, const char *name, const char *value)
{
    fb_list_put(args, fb_bytes_str(name));
    fb_list_put(args, fb_bytes_str(value));
    *n += 2;
}

/* Some fields of a row of team or member. */
static void fields(struct row_client *c, bool member, struct fb_buf *args, uint32_t *n)
{
    struct sim *s = c->w->sim;
    char text[40];
    snprintf(text, sizeof text, "n%u", c->seq);
    if (!member || sim_chance(s, SIM_CLIENT, 500000))
        put(args, n, "name", text);
    if (!member) {
        snprintf(text, sizeof text, "m%u", c->seq);
        if (sim_chance(s, SIM_CLIENT, 500000))
            put(args, n, "motto", text);
        return;
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)sim_range(s, SIM_CLIENT, 0, KEYS + 2));
    if (sim_chance(s, SIM_CLIENT, 400000))
        put(args, n, "team", text);
    /* 9.. is refused by a constraint, and 007 is stored as 7 */
    snprintf(text, sizeof text, sim_chance(s, SIM_CLIENT, 100000) ? "00%llu" : "%llu",
             (unsigned long long)sim_range(s, SIM_CLIENT, 0, 950));
    if (*n == 0 || sim_chance(s, SIM_CLIENT, 300000))
        put(args, n, "points", text);
}

static void send_one(struct row_client *c)
{
    static const char *const namespaces[] = {"team", "member", "note"};
    struct sim *s = c->w->sim;
    struct fb_buf args = {0}, out = {0};
    struct fb_frame frame = {.kind = FB_FRAME_REQ, .src_inc = 3};
    struct fb_req r = {.level = FB_LEVEL_LOCAL};
    uint32_t ns = (uint32_t)sim_range(s, SIM_CLIENT, 0, 2), what;
    char key[32], value[32];
    size_t mark;

    sim_coord_epochs(c->w->coord, &c->coord_rev, c->epoch);
    snprintf(key, sizeof key, "%s:%llu", namespaces[ns],
             (unsigned long long)sim_range(s, SIM_CLIENT, 0, KEYS - 1));
    r.seq = ++c->seq;
    r.key = fb_bytes_str(key);
    r.part = fb_key_partition(r.key, c->w->partitions);
    r.epoch = c->epoch[r.part];
    what = (uint32_t)sim_range(s, SIM_CLIENT, 0, 99);
    if (what < 12) {
        r.op = FB_OP_DEL;
    } else if (what < 20) {
        r.op = FB_OP_EVICT;
    } else if (ns == 2) {
        snprintf(value, sizeof value, "b%u", c->seq);
        r.op = what < 70 ? FB_OP_SET : FB_OP_GET;
        if (r.op == FB_OP_SET) {
            fb_list_put(&args, fb_bytes_str(value));
            r.nargs = 1;
        }
    } else if (what < 75) {
        r.op = FB_OP_HSET;
        fields(c, ns == 1, &args, &r.nargs);
    } else {
        r.op = FB_OP_HGETALL;
    }
    r.args = fb_buf_view(&args);
    mark = fb_frame_begin(&out, &frame);
    fb_req_encode(&out, &r);
    fb_frame_end(&out, mark, 1);
    (void)!sim_conn_send(c->conn, &out);
    fb_buf_fini(&out);
    fb_buf_fini(&args);
}

static void work_ev(void *arg, uint64_t tag)
{
    struct row_client *c = arg;
    struct sim *s = c->w->sim;
    (void)tag;
    if (sim_healed(s))
        return;
    if (c->conn != NULL && sim_conn_open(c->conn))
        for (uint64_t i = sim_range(s, SIM_CLIENT, 1, 6); i > 0; i--)
            send_one(c);
    sim_after(s, sim_spread(s, SIM_CLIENT, 5 * SIM_MS, SIM_S), work_ev, c, 0);
}

static void dial_ev(void *arg, uint64_t tag)
{
    struct row_client *c = arg;
    (void)tag;
    c->conn = sim_net_dial(c->net, WORLD_NODE_ADDRESS, WORLD_NODE_NAME, NULL);
}

static void opened(void *arg, struct sim_conn *conn, const struct fb_hello *peer)
{
    (void)arg;
    (void)conn;
    (void)peer;
}

static void closed(void *arg, struct sim_conn *conn, const char *why)
{
    struct row_client *c = arg;
    (void)conn;
    (void)why;
    c->conn = NULL;
    sim_after(c->w->sim, sim_spread(c->w->sim, SIM_CLIENT, 20 * SIM_MS, SIM_S), dial_ev, c, 0);
}

static void received(void *arg, struct sim_conn *conn, const struct fb_frame *f)
{
    struct row_client *c = arg;
    struct fb_reader in = fb_reader(f->tail);
    (void)conn;
    for (uint32_t i = 0; f->kind == FB_FRAME_REP && i < f->count; i++) {
        struct fb_rep rep;
        if (fb_rep_decode(&in, &rep) != FB_OK)
            sim_violation(c->w->sim, "frame", "a reply cannot be read");
        c->answers++;
        c->errors += rep.type == FB_REP_ERR;
        if (rep.type == FB_REP_ERR)
            sim_trace(c->w->sim, "row-client is told %.*s", (int)rep.payload.n,
                      (const char *)rep.payload.p);
    }
}

/* ---- the module ---- */

static void module_start(struct world *w)
{
    struct row_client *c = fb_xcalloc(1, sizeof *c);
    struct sim_net_config config = {.role = FB_ROLE_ROUTER,
                                    .name = "row-client",
                                    .has_cluster = true,
                                    .inc = 3,
                                    .arg = c,
                                    .opened = opened,
                                    .received = received,
                                    .closed = closed};
    w->rows = c;
    c->w = w;
    if (fb_nsset_find(w->namespaces, fb_bytes_str("team")) == UINT32_MAX)
        return; /* a run without tables */
    memcpy(config.cluster, w->cluster, sizeof config.cluster);
    c->net = sim_net_open(w->wire, &config);
    dial_ev(c, 0);
    sim_after(w->sim, 50 * SIM_MS, work_ev, c, 0);
}

static void module_nothing(struct world *w)
{
    (void)w;
}

static bool module_settled(struct world *w, char *why, size_t n)
{
    (void)w;
    (void)why;
    (void)n;
    return true;
}

static void module_stop(struct world *w)
{
    struct row_client *c = w->rows;
    sim_trace(w->sim, "row-client had %llu answers, %llu of them errors",
              (unsigned long long)c->answers, (unsigned long long)c->errors);
    free(c);
    w->rows = NULL;
}

const struct world_module row_client_module = {.name = "row-client",
                                               .start = module_start,
                                               .heal = module_nothing,
                                               .settled = module_settled,
                                               .finish = module_nothing,
                                               .stop = module_stop};
