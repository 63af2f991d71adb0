/* The plain client (raw.h): one connection, some requests in flight, unique values. Knows of each
 * key what was acknowledged, at which version and level, and holds every answer against that. */
#include "tests/sim/raw.h"

#include "proto/cluster/slot.h"
#include "proto/wire/request.h"
#include "proto/wire/version.h"
#include "tests/sim/coord.h"
#include "tests/sim/node_proc.h"

#include "proto/cluster/record_next.h"

#include <stdio.h>
#include <stdlib.h>

#define IN_FLIGHT_MAX 64u
#define WRITES_MAX 4096u

struct write { /* everything ever asked for */
    uint32_t k;
    uint64_t ver; /* 0 = not known */
    bool del, definite_error;
    char value[40];
};

struct flight {
    uint32_t seq, k;
    uint16_t op;
    uint8_t level;
    uint64_t floor; /* newest version acknowledged before it was sent */
    struct write *write;
    uint32_t losses; /* there had been when it was sent */
    bool last_look;  /* sent when nothing was left to do */
};

struct raw_client {
    struct world *w;
    struct sim_net *net;
    struct sim_conn *conn;
    uint32_t epoch[WORLD_PARTITIONS_MAX];
    uint64_t coord_rev;
    struct flight flight[IN_FLIGHT_MAX];
    uint32_t seq, done, losses, errors;
    struct write *writes;
    uint32_t write_n;
    /* of each key: newest acknowledged version, and newest acknowledged as durable */
    uint64_t acked[RAW_KEYS], durable[RAW_KEYS];
    uint32_t final; /* keys read after the storm */
    bool final_done[RAW_KEYS];
    char differs[200]; /* the last that did not agree */
};

static struct write *write_of_value(struct raw_client *c, struct fb_bytes v)
{
    for (uint32_t i = c->write_n; i > 0; i--)
        if (fb_bytes_is(v, c->writes[i - 1].value))
            return &c->writes[i - 1];
    return NULL;
}

static void send_one(struct raw_client *c, struct flight *f)
{
    struct sim *s = c->w->sim;
    char key[16];
    struct fb_buf args = {0}, out = {0};
    struct fb_frame frame = {.kind = FB_FRAME_REQ, .src_inc = 2};
    struct fb_req r = {.op = f->op, .level = f->level};
    size_t mark;

    raw_key(f->k, key);
    r.key = fb_bytes_str(key);
    r.part = fb_key_partition(r.key, c->w->partitions);
    r.epoch = c->epoch[r.part];
    f->seq = r.seq = ++c->seq;
    f->floor = c->acked[f->k];
    f->losses = c->losses;
    if (f->op == FB_OP_SET) {
        fb_list_put(&args, fb_bytes_str(f->write->value));
        r.nargs = 1;
        if (sim_chance(s, SIM_CLIENT, 100000))
            r.flags = FB_REQ_XX; /* needs to know whether it is there */
    }
    if (f->op == FB_OP_GET && sim_chance(s, SIM_CLIENT, 500000))
        r.flags = FB_REQ_ORDERED;
    r.args = fb_buf_view(&args);
    mark = fb_frame_begin(&out, &frame);
    fb_req_encode(&out, &r);
    fb_frame_end(&out, mark, 1);
    if (sim_conn_send(c->conn, &out) != FB_OK)
        f->seq = 0;
    fb_buf_fini(&out);
    fb_buf_fini(&args);
}

static void new_request(struct raw_client *c)
{
    struct sim *s = c->w->sim;
    struct flight *f = NULL;
    for (uint32_t i = 0; i < IN_FLIGHT_MAX && f == NULL; i++)
        if (c->flight[i].seq == 0)
            f = &c->flight[i];
    if (f == NULL || c->write_n == WRITES_MAX)
        return;
    *f = (struct flight){.k = (uint32_t)sim_range(s, SIM_CLIENT, 0, RAW_KEYS - 1)};
    switch (sim_range(s, SIM_CLIENT, 0, 9)) {
    case 0:
    case 1:
    case 2:
    case 3:
        f->op = FB_OP_SET;
        break;
    case 4:
        f->op = FB_OP_DEL;
        break;
    case 5:
        f->op = FB_OP_EVICT;
        break;
    default:
        f->op = FB_OP_GET;
        break;
    }
    f->level = (uint8_t)(sim_chance(s, SIM_CLIENT, 400000)   ? FB_LEVEL_DURABLE
                         : sim_chance(s, SIM_CLIENT, 100000) ? FB_LEVEL_DATABASE
                                                             : FB_LEVEL_LOCAL);
    if (f->op == FB_OP_SET || f->op == FB_OP_DEL) {
        f->write = &c->writes[c->write_n++];
        *f->write = (struct write){.k = f->k, .del = f->op == FB_OP_DEL};
        if (f->op == FB_OP_SET)
            snprintf(f->write->value, sizeof f->write->value, "%u.%u", f->k, c->write_n);
    }
    sim_coord_epochs(c->w->coord, &c->coord_rev, c->epoch);
    send_one(c, f);
}

/* Nothing is on its way and nothing waits for the database. */
static bool quiet(const struct raw_client *c)
{
    for (uint32_t i = 0; i < IN_FLIGHT_MAX; i++)
        if (c->flight[i].seq != 0 && !c->flight[i].last_look)
            return false;
    return node_proc_dirty(c->w) == 0;
}

static void tick_ev(void *arg, uint64_t tag)
{
    struct raw_client *c = arg;
    struct sim *s = c->w->sim;
    (void)tag;
    if (c->conn == NULL)
        c->conn = sim_net_dial(c->net, WORLD_NODE_ADDRESS, WORLD_NODE_NAME, NULL);
    else if (sim_conn_open(c->conn) && !sim_healed(s))
        for (uint64_t n = sim_range(s, SIM_CLIENT, 1, 6); n > 0; n--)
            new_request(c);
    else if (sim_conn_open(c->conn) && quiet(c))
        for (uint32_t k = 0; k < RAW_KEYS; k++) { /* the last look */
            struct flight *f = &c->flight[k];
            if (c->final_done[k] || f->seq != 0)
                continue;
            *f = (struct flight){.k = k, .op = FB_OP_GET, .last_look = true};
            sim_coord_epochs(c->w->coord, &c->coord_rev, c->epoch);
            send_one(c, f);
        }
    sim_after(s, sim_spread(s, SIM_CLIENT, 2 * SIM_MS, 200 * SIM_MS), tick_ev, c, 0);
}

static void check_get(struct raw_client *c, const struct flight *f, const struct fb_rep *r)
{
    struct sim *s = c->w->sim;
    struct write *w = r->type == FB_REP_BULK ? write_of_value(c, r->payload) : NULL;
    if (r->type == FB_REP_BULK) {
        if (w == NULL || w->k != f->k)
            sim_violation(s, "I12", "key %u has the value %.*s, which nobody gave it", f->k,
                          (int)r->payload.n, (const char *)r->payload.p);
        if (w->definite_error)
            sim_violation(s, "I14", "key %u has the value %s, whose write was refused", f->k,
                          w->value);
        uint64_t ver = fb_ver_epoch(r->ver) != 0 ? r->ver : w->ver; /* loaded: the row's token */
        if (ver != 0 && ver < f->floor)
            sim_violation(s, "I12", "key %u: a read gives %llx, %llx was acknowledged before", f->k,
                          (unsigned long long)ver, (unsigned long long)f->floor);
        if (w->ver != 0 && ver != 0 && w->ver != ver)
            sim_violation(s, "I12", "key %u: value %s was version %llx and is %llx", f->k, w->value,
                          (unsigned long long)w->ver, (unsigned long long)r->ver);
    }
    if (!f->last_look || c->final_done[f->k])
        return;
    char key[16];
    raw_key(f->k, key);
    const struct raw_row *row = raw_row(c->w, key);
    /* What was given up by this client may still be carried out, behind a load that waits: then it
     * is looked at again. In the end they have to agree. */
    if (row->there == (r->type == FB_REP_BULK) &&
        (!row->there || fb_bytes_equal(r->payload, fb_buf_view(&row->value)))) {
        c->final_done[f->k] = true;
        c->final++;
        return;
    }
    snprintf(c->differs, sizeof c->differs, "key %u: the node says \"%.*s\", the database \"%.*s\"",
             f->k, (int)r->payload.n, (const char *)r->payload.p, (int)row->value.n,
             row->there ? (const char *)row->value.p : "");
}

static void reply(struct raw_client *c, const struct fb_rep *r)
{
    struct sim *s = c->w->sim;
    struct flight *f = NULL;
    for (uint32_t i = 0; i < IN_FLIGHT_MAX && f == NULL; i++)
        if (c->flight[i].seq == r->seq)
            f = &c->flight[i];
    if (f == NULL || r->seq == 0)
        return; /* of a connection before */
    c->done++;
    sim_trace(s, "raw-client %s key:%u %s gets type %u level %u version %llx \"%.*s\"",
              fb_op_name(f->op), f->k, f->write != NULL ? f->write->value : "", r->type, r->level,
              (unsigned long long)r->ver, (int)(r->payload.n > 60 ? 60 : r->payload.n),
              (const char *)r->payload.p);
    if (r->type == FB_REP_ERR) {
        c->errors++;
        if (r->num != FB_REP_ERR_UNKNOWN && f->write != NULL)
            f->write->definite_error = true;
    } else if (f->op == FB_OP_GET) {
        check_get(c, f, r);
    } else if (f->write != NULL && r->ver != 0) {
        f->write->ver = r->ver;
        if (f->losses != c->losses) { /* an answer of before, that was on its way */
            f->seq = 0;
            return;
        }
        if (r->ver > c->acked[f->k])
            c->acked[f->k] = r->ver;
        if (r->level >= FB_LEVEL_DURABLE && r->ver > c->durable[f->k])
            c->durable[f->k] = r->ver;
        if (f->level == FB_LEVEL_DURABLE && r->level < FB_LEVEL_DURABLE)
            sim_violation(s, "I13", "key %u: durable was asked for and level %u is the answer",
                          f->k, r->level);
    }
    f->seq = 0;
}

static void received(void *arg, struct sim_conn *conn, const struct fb_frame *f)
{
    struct raw_client *c = arg;
    struct fb_reader r = fb_reader(f->tail);
    (void)conn;
    for (uint32_t i = 0; f->kind == FB_FRAME_REP && i < f->count; i++) {
        struct fb_rep rep;
        if (fb_rep_decode(&r, &rep) == FB_OK)
            reply(c, &rep);
    }
}

static void opened(void *arg, struct sim_conn *conn, const struct fb_hello *peer)
{
    (void)arg;
    (void)conn;
    (void)peer;
}

static void closed(void *arg, struct sim_conn *conn, const char *why)
{
    struct raw_client *c = arg;
    (void)conn;
    (void)why;
    c->conn = NULL;
    for (uint32_t i = 0; i < IN_FLIGHT_MAX; i++)
        c->flight[i].seq = 0; /* may have happened */
}

static void lost(void *arg, enum node_loss loss)
{
    struct raw_client *c = arg;
    c->losses += loss >= NODE_LOSS_UNSYNCED;
    for (uint32_t k = 0; k < RAW_KEYS; k++) {
        if (loss >= NODE_LOSS_ANY)
            c->durable[k] = 0;
        if (loss >= NODE_LOSS_UNSYNCED)
            c->acked[k] = c->durable[k];
    }
}

static void start(struct world *w)
{
    struct raw_client *c = fb_xcalloc(1, sizeof *c);
    struct sim_net_config config = {.role = FB_ROLE_ROUTER,
                                    .name = "raw-client",
                                    .has_cluster = true,
                                    .inc = 2,
                                    .arg = c,
                                    .opened = opened,
                                    .received = received,
                                    .closed = closed};
    c->w = w;
    w->clients = c;
    c->writes = fb_xcalloc(WRITES_MAX, sizeof *c->writes);
    memcpy(config.cluster, w->cluster, sizeof config.cluster);
    c->net = sim_net_open(w->wire, &config);
    node_proc_on_loss(w, lost, c);
    tick_ev(c, 0);
}

static void heal(struct world *w)
{
    (void)w;
}

static bool settled(struct world *w, char *why, size_t n)
{
    struct raw_client *c = w->clients;
    if (c->final == RAW_KEYS)
        return true;
    snprintf(why, n, "%u of %u keys agree at the end; %s", c->final, RAW_KEYS, c->differs);
    return false;
}

static void finish(struct world *w)
{
    struct raw_client *c = w->clients;
    sim_trace(w->sim, "raw-client had %u answers, %u of them errors", c->done, c->errors);
}

static void stop(struct world *w)
{
    struct raw_client *c = w->clients;
    free(c->writes);
    free(c);
    w->clients = NULL;
}

const struct world_module raw_client_module = {.name = "raw-client",
                                               .start = start,
                                               .heal = heal,
                                               .settled = settled,
                                               .finish = finish,
                                               .stop = stop};
