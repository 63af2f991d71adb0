/* See rig.h. */
#include "tests/unit/router/rig.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct owned_frame {
    struct router_frame frame;
    struct rig *rig;
    struct fb_buf bytes;
};

static void owned_free(struct router_frame *f)
{
    struct owned_frame *o = FB_CONTAINER_OF(f, struct owned_frame, frame);
    o->rig->frames_alive--;
    fb_buf_fini(&o->bytes);
    free(o);
}

void rig_init_config(struct rig *g, void (*adjust)(struct router_config *c))
{
    memset(g, 0, sizeof(*g));
    g->config = (struct router_config){.inflight_per_client = 1024,
                                       .inflight_max = 65536,
                                       .output_bytes_max = 64u << 20,
                                       .retry_deadline_ns = UINT64_C(5000000000),
                                       .request_timeout_ns = UINT64_C(30000000000),
                                       .window = 1,
                                       .window_wait_ns = 1000000,
                                       .seed = 7,
                                       .inc = 99};
    if (adjust != NULL)
        adjust(&g->config);
    g->r = router_new(&g->config);
    g->now_ns = 1000000000;
    router_time(g->r, g->now_ns, 1700000000000u);
    g->map.rev = 1;
    g->map.partitions = RIG_PARTITIONS;
    g->map.member_count = RIG_NODES;
    g->map.members = calloc(RIG_NODES, sizeof(*g->map.members));
    g->map.parts = calloc(RIG_PARTITIONS, sizeof(*g->map.parts));
    for (uint32_t i = 0; i < RIG_NODES; i++) {
        struct fb_member_info *m = &g->map.members[i];
        m->kind = FB_MEMBER_NODE;
        snprintf(m->name, sizeof(m->name), "n%u", i);
        snprintf(m->listen, sizeof(m->listen), "tcp://127.0.0.1:%u", 7400 + i);
    }
    for (uint32_t p = 0; p < RIG_PARTITIONS; p++) {
        g->map.parts[p].epoch = 1;
        snprintf(g->map.parts[p].primary.node, sizeof(g->map.parts[p].primary.node), "n%u", p % 2);
    }
    rig_map_apply(g, false);
    for (uint32_t i = 0; i < RIG_NODES; i++)
        router_node_up(g->r, i, 100 + i);
}

void rig_init(struct rig *g)
{
    rig_init_config(g, NULL);
}

void rig_fini(struct rig *g)
{
    rig_forget(g);
    router_free(g->r);
    assert_int_equal(g->frames_alive, 0);
    free(g->map.members);
    free(g->map.parts);
}

void rig_map_apply(struct rig *g, bool relaxed)
{
    g->map.rev++;
    router_map(g->r, &g->map, relaxed);
}

static void capture_items(struct rig *g, uint32_t node, const struct fb_frame *f)
{
    struct fb_reader in = fb_reader(f->tail);
    for (uint32_t i = 0; i < f->count; i++) {
        struct seen *s = &g->seen[g->seen_count++];
        struct fb_req req;
        assert_true(g->seen_count <= RIG_SEEN_MAX);
        assert_int_equal(fb_req_decode(&in, &req), FB_OK);
        s->node = node;
        s->bytes = malloc(req.key.n + req.args.n + 1);
        if (req.key.n > 0)
            memcpy(s->bytes, req.key.p, req.key.n);
        if (req.args.n > 0)
            memcpy(s->bytes + req.key.n, req.args.p, req.args.n);
        s->req = req;
        s->req.key.p = s->bytes;
        s->req.args.p = s->bytes + req.key.n;
    }
    assert_int_equal(in.n, 0);
}

static void capture(struct rig *g)
{
    for (uint32_t n = 0; n < router_node_count(g->r); n++) {
        struct fb_buf *out = router_node_output(g->r, n);
        size_t at = 0, size;
        if (out == NULL)
            continue;
        while (at < out->n) {
            struct fb_frame f;
            struct fb_err err;
            assert_int_equal(fb_frame_size(fb_bytes(out->p + at, out->n - at), &size), FB_OK);
            assert_int_equal(fb_frame_decode(fb_bytes(out->p + at, size), &f, &err), FB_OK);
            assert_int_equal(f.kind, FB_FRAME_REQ);
            assert_int_equal(f.src_inc, 99);
            assert_int_equal(f.dst_inc, 100 + n);
            capture_items(g, n, &f);
            g->frames++;
            at += size;
        }
        fb_buf_clear(out);
    }
}

void rig_tick(struct rig *g, uint64_t ms)
{
    g->now_ns += ms * 1000000u;
    router_time(g->r, g->now_ns, 1700000000000u + g->now_ns / 1000000u);
    router_tick(g->r);
    capture(g);
}

size_t rig_input(struct rig *g, struct router_session *s, const char *text)
{
    size_t n = router_session_input(s, (const uint8_t *)text, strlen(text));
    rig_tick(g, 0);
    return n;
}

void rig_read(struct rig *g, struct router_session *s, const char *text)
{
    assert_int_equal(router_session_input(s, (const uint8_t *)text, strlen(text)), strlen(text));
    if (router_output_due(g->r))
        capture(g);
}

void rig_reply(struct rig *g, uint32_t i, struct fb_rep rep)
{
    struct owned_frame *o = calloc(1, sizeof(*o));
    struct fb_frame f = {
        .kind = FB_FRAME_REP, .count = 1, .queue_us = g->queue_us, .busy_us = g->busy_us};
    uint32_t node;
    assert_true(i < g->seen_count);
    node = g->seen[i].node;
    rep.seq = g->seen[i].req.seq;
    fb_rep_encode(&o->bytes, &rep);
    o->rig = g;
    o->frame.refs = 1;
    o->frame.free = owned_free;
    f.tail = fb_buf_view(&o->bytes);
    g->frames_alive++;
    free(g->seen[i].bytes);
    memmove(&g->seen[i], &g->seen[i + 1], (g->seen_count - i - 1) * sizeof(g->seen[0]));
    g->seen_count--;
    assert_int_equal(router_node_frame(g->r, node, &f, &o->frame), FB_OK);
    rig_tick(g, 0);
}

void rig_reply_bulk(struct rig *g, uint32_t i, const char *text)
{
    rig_reply(g, i,
              (struct fb_rep){.type = FB_REP_BULK, .hit = true, .payload = fb_bytes_str(text)});
}

void rig_reply_ok(struct rig *g, uint32_t i)
{
    rig_reply(g, i, (struct fb_rep){.type = FB_REP_OK});
}

void rig_reply_int(struct rig *g, uint32_t i, int64_t v)
{
    rig_reply(g, i, (struct fb_rep){.type = FB_REP_INT, .num = v});
}

void rig_reply_err(struct rig *g, uint32_t i, enum fb_rep_err code, const char *text)
{
    rig_reply(g, i,
              (struct fb_rep){.type = FB_REP_ERR, .num = code, .payload = fb_bytes_str(text)});
}

void rig_forget(struct rig *g)
{
    for (uint32_t i = 0; i < g->seen_count; i++)
        free(g->seen[i].bytes);
    g->seen_count = 0;
}

const char *rig_output(struct rig *g, struct router_session *s)
{
    static char text[1 << 16];
    size_t n = s->out.n < sizeof(text) - 1 ? s->out.n : sizeof(text) - 1;
    while (router_next_session(g->r) != NULL)
        continue;
    if (n > 0)
        memcpy(text, s->out.p, n);
    text[n] = 0;
    fb_buf_clear(&s->out);
    router_session_output(s, n, 0);
    return text;
}

void rig_expect(struct rig *g, struct router_session *s, const char *want)
{
    assert_string_equal(rig_output(g, s), want);
}

const char *rig_key(uint16_t p)
{
    static char keys[RIG_PARTITIONS][16];
    for (unsigned i = 0; keys[p][0] == 0; i++) {
        char k[16];
        snprintf(k, sizeof(k), "k%u", i);
        if (fb_key_partition(fb_bytes_str(k), RIG_PARTITIONS) == p)
            memcpy(keys[p], k, sizeof(k));
    }
    return keys[p];
}
