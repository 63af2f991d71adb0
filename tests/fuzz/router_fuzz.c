/* The router's core between clients and nodes that say anything: commands whole and in pieces,
 * replies of any type, count and payload to what is in flight (or never was), frames of garbage,
 * connections that come and go, maps that move partitions.
 *
 * Besides assertions and sanitizers: a client never gets bytes that are not RESP, and every session
 * can go away at any time.
 */
#include "tests/fuzz/input.h"

#include "router/core/core.h"

#include <stdio.h>
#include <stdlib.h>

#define NODES 3u
#define PARTS 8u
#define SESSIONS 3u
#define SEEN 64u
#define STEPS_MAX 400u

struct seen {
    uint32_t node, seq;
    uint16_t op;
    uint32_t nargs;
};

struct client {
    struct router_session *s;
    struct fb_buf in;  /* not taken yet */
    struct fb_buf out; /* everything it got, until it was checked */
};

struct world {
    struct router *r;
    struct router_config config;
    struct fb_map map;
    struct fb_member_info members[NODES];
    struct fb_part_record parts[PARTS];
    struct client clients[SESSIONS];
    struct seen seen[SEEN];
    uint32_t seen_n, seen_next;
    uint64_t now_ns, ids;
    uint32_t frames_alive;
};

struct owned {
    struct router_frame frame;
    struct world *w;
    uint8_t bytes[]; /* of the exact size: a look behind it is caught */
};

static void owned_free(struct router_frame *f)
{
    struct owned *o = FB_CONTAINER_OF(f, struct owned, frame);
    o->w->frames_alive--;
    free(o);
}

/* --- what a client may see --- */

/* One value of RESP2 or RESP3 off the front; false: there is no whole one. Anything that is not
 * RESP ends the run. */
static bool take_value(struct fb_reader *in, unsigned depth)
{
    const uint8_t *end = in->n > 0 ? memchr(in->p, '\n', in->n) : NULL;
    char line[64];
    long long n;
    size_t len;
    uint8_t type;

    if (end == NULL)
        return false;
    len = (size_t)(end - in->p);
    fb_assert(len >= 2 && end[-1] == '\r' && depth < 16);
    fb_assert(memchr(in->p, '\r', len - 1) == NULL);
    type = in->p[0];
    snprintf(line, sizeof(line), "%.*s", (int)(len - 2 < 40 ? len - 2 : 40), in->p + 1);
    n = strtoll(line, NULL, 10);
    (void)fb_take(in, len + 1);
    switch (type) {
    case '+':
    case '-':
    case ':':
    case '_':
    case ',':
    case '#':
    case '(':
        return true;
    case '$':
    case '=':
        fb_assert(n >= -1);
        if (n >= 0) {
            struct fb_bytes b = fb_take(in, (size_t)n + 2);
            fb_assert(b.p != NULL && b.p[n] == '\r' && b.p[n + 1] == '\n');
        }
        return true;
    case '*':
    case '%':
    case '~':
    case '>':
        fb_assert(n >= -1);
        for (long long i = 0; i < (type == '%' ? 2 * n : n); i++) {
            bool there = take_value(in, depth + 1);
            fb_assert(there);
        }
        return true;
    default:
        fb_assert(!"a byte that begins no value");
        return false;
    }
}

static void check_output(struct client *c)
{
    struct fb_reader in = fb_reader(fb_buf_view(&c->out));
    while (in.n > 0) {
        bool whole = take_value(&in, 0);
        fb_assert(whole);
    }
    fb_buf_clear(&c->out);
}

static void take_output(struct world *w)
{
    struct router_session *s;
    while ((s = router_next_session(w->r)) != NULL) {
        struct client *c = s->user;
        size_t n = s->out.n;
        fb_buf_put_bytes(&c->out, fb_buf_view(&s->out));
        fb_buf_clear(&s->out);
        router_session_output(s, n, 0);
        check_output(c);
        if (s->close || s->cut) {
            router_session_gone(s);
            c->s = NULL;
            fb_buf_clear(&c->in);
        }
    }
}

/* --- clients --- */

static void push_input(struct world *w, struct client *c)
{
    size_t used;
    if (c->s == NULL || c->in.n == 0)
        return;
    used = router_session_input(c->s, c->in.p, c->in.n);
    fb_assert(used <= c->in.n);
    fb_buf_consume(&c->in, used);
    take_output(w);
}

static void put_word(struct fuzz_in *in, struct fb_buf *out)
{
    static const char *const words[] = {
        "a",       "b",          "{a}c",     "{a}d",  "1",     "0",       "-1",      "NX",
        "XX",      "GET",        "EX",       "PX",    "100",   "f",       "field",   "3",
        "*",       "durable",    "database", "MATCH", "COUNT", "TYPE",    "KEEPTTL", "AUTH",
        "SETNAME", "x",          "LIST",     "KILL",  "ID",    "GETNAME", "INFO",    "LT",
        "GT",      "1700000000", "string",   "hash",  "OFF",   "SKIP",    "ON"};
    uint8_t i = fuzz_u8(in);
    struct fb_bytes w = i < 230 ? fb_bytes_str(words[i % FB_COUNT_OF(words)]) : fuzz_short(in);
    fb_buf_printf(out, "$%zu\r\n", w.n);
    fb_buf_put_bytes(out, w);
    fb_buf_put_str(out, "\r\n");
}

static void put_command(struct fuzz_in *in, struct fb_buf *out)
{
    static const char *const names[] = {
        "GET",         "SET",          "MGET",     "MSET",       "DEL",        "EXISTS",
        "INCR",        "APPEND",       "HSET",     "HGET",       "HGETALL",    "HMGET",
        "HDEL",        "HINCRBY",      "HKEYS",    "EXPIRE",     "TTL",        "TYPE",
        "MULTI",       "EXEC",         "DISCARD",  "WATCH",      "UNWATCH",    "SCAN",
        "DBSIZE",      "RANDOMKEY",    "HELLO",    "PING",       "RESET",      "QUIT",
        "CLIENT",      "FB.GET",       "FB.SETIF", "FB.SYNC",    "FB.REQUIRE", "WAIT",
        "WAITAOF",     "FLUSHALL",     "GETEX",    "GETDEL",     "SETRANGE",   "GETRANGE",
        "INCRBYFLOAT", "HSCAN",        "PTTL",     "EXPIRETIME", "FB.EVICT",   "COMMAND",
        "INFO",        "CONFIG",       "OBJECT",   "STRLEN",     "HSETNX",     "SETNX",
        "GETSET",      "PERSIST",      "ACL",      "TIME",       "ECHO",       "SELECT",
        "AUTH",        "HINCRBYFLOAT", "HEXISTS"};
    const char *name = names[fuzz_u8(in) % FB_COUNT_OF(names)];
    uint32_t args = fuzz_below(in, 6);
    fb_buf_printf(out, "*%u\r\n$%zu\r\n%s\r\n", args + 1, strlen(name), name);
    while (args-- > 0)
        put_word(in, out);
}

static void do_client(struct world *w, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    struct client *c = &w->clients[how % SESSIONS];

    if (c->s == NULL) {
        c->s = router_session_new(w->r, ++w->ids, "127.0.0.1:5", "127.0.0.1:6380", c);
        fb_buf_clear(&c->in);
    }
    if (how < 200)
        put_command(in, &c->in);
    else if (how < 240)
        fb_buf_put_bytes(&c->in, fuzz_short(in));
    else if (how < 246) {
        router_session_gone(c->s);
        c->s = NULL;
    }
    push_input(w, c);
}

/* --- nodes --- */

static void take_requests(struct world *w)
{
    for (uint32_t n = 0; n < router_node_count(w->r); n++) {
        struct fb_buf *out = router_node_output(w->r, n);
        size_t at = 0, size;
        while (out != NULL && at < out->n) {
            struct fb_frame f;
            struct fb_err err;
            struct fb_reader in;
            enum fb_status s = fb_frame_size(fb_bytes(out->p + at, out->n - at), &size);
            fb_assert(s == FB_OK && size > 0 && size <= out->n - at);
            s = fb_frame_decode(fb_bytes(out->p + at, size), &f, &err);
            fb_assert(s == FB_OK && f.kind == FB_FRAME_REQ);
            in = fb_reader(f.tail);
            for (uint32_t i = 0; i < f.count; i++) {
                struct fb_req q;
                s = fb_req_decode(&in, &q);
                fb_assert(s == FB_OK);
                w->seen[w->seen_next++ % SEEN] = (struct seen){n, q.seq, q.op, q.nargs};
                if (w->seen_n < SEEN)
                    w->seen_n++;
            }
            fb_assert(in.n == 0);
            at += size;
        }
        if (out != NULL)
            fb_buf_clear(out);
    }
}

static void give_frame(struct world *w, uint32_t node, uint32_t count, struct fb_bytes tail)
{
    struct owned *o = fb_xmalloc(sizeof(*o) + tail.n);
    struct fb_frame f = {.kind = FB_FRAME_REP, .count = count};

    o->frame = (struct router_frame){.refs = 1, .free = owned_free};
    o->w = w;
    if (tail.n > 0)
        memcpy(o->bytes, tail.p, tail.n);
    f.tail = fb_bytes(o->bytes, tail.n);
    w->frames_alive++;
    if (node >= router_node_count(w->r) || !router_node_is_up(w->r, node)) {
        owned_free(&o->frame);
        return;
    }
    if (router_node_frame(w->r, node, &f, &o->frame) != FB_OK)
        router_node_down(w->r, node);
}

static void put_payload(struct fuzz_in *in, struct fb_buf *out, unsigned depth);

static void put_rep(struct fuzz_in *in, struct fb_buf *out, uint32_t seq, unsigned depth)
{
    struct fb_buf payload = {0};
    uint8_t how = fuzz_u8(in);
    struct fb_rep rep = {.seq = seq, .type = how % 8, .level = how % 5, .hit = how & 1};

    rep.num = rep.type == FB_REP_ERR ? how / 8 % 5 : (int64_t)(how / 8);
    if (how & 0x40)
        rep.num = (int64_t)fuzz_u64(in);
    rep.ver = how & 0x20 ? fuzz_u32(in) : 5;
    put_payload(in, &payload, depth);
    rep.payload = fb_buf_view(&payload);
    fb_rep_encode(out, &rep);
    fb_buf_fini(&payload);
}

static void put_payload(struct fuzz_in *in, struct fb_buf *out, unsigned depth)
{
    uint8_t how = fuzz_u8(in);
    if (how < 60) {
        fb_buf_put_bytes(out, fuzz_short(in));
    } else if (how < 120) {
        fb_buf_put_str(out, "ERR said a node");
    } else if (how < 200 || depth > 0) {
        for (uint32_t i = how % 8; i > 0; i--) {
            struct fb_bytes item = fuzz_short(in);
            if (item.n == 1)
                fb_list_put_null(out);
            else
                fb_list_put(out, item);
        }
    } else {
        for (uint32_t i = how % 8; i > 0; i--)
            put_rep(in, out, i, depth + 1);
    }
}

static void do_reply(struct world *w, struct fuzz_in *in)
{
    struct fb_buf tail = {0};
    uint8_t how = fuzz_u8(in);
    uint32_t count = 1 + (how & 3), node = fuzz_u8(in) % NODES;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t seq = fuzz_u8(in);
        if (w->seen_n > 0 && how < 240) {
            const struct seen *s = &w->seen[seq % w->seen_n];
            if (how < 200)
                node = s->node;
            seq = s->seq;
        } else {
            seq = fuzz_u32(in);
        }
        put_rep(in, &tail, seq, 0);
    }
    if (how > 250)
        count = fuzz_u32(in);
    give_frame(w, node, count, fb_buf_view(&tail));
    fb_buf_fini(&tail);
    take_output(w);
}

static void do_node(struct world *w, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    uint32_t node = how % NODES;
    if (node >= router_node_count(w->r) || router_node_name(w->r, node)[0] == 0)
        return;
    if (router_node_is_up(w->r, node))
        router_node_down(w->r, node);
    else
        router_node_up(w->r, node, how);
    take_output(w);
}

static void do_map(struct world *w, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    uint32_t p = how % PARTS;

    w->map.rev++;
    if (how < 150) {
        w->parts[p].epoch++;
        snprintf(w->parts[p].primary.node, sizeof(w->parts[p].primary.node), "n%u",
                 fuzz_u8(in) % (NODES + 1));
    } else if (how < 180) {
        w->parts[p].epoch = 0;
    } else if (how < 210) {
        w->map.member_count = 1 + how % NODES;
    } else if (how < 220) {
        w->map.partitions = 1 + how % PARTS;
    }
    router_map(w->r, &w->map, how & 1);
    take_output(w);
}

static void pass(struct world *w, uint64_t ns)
{
    struct router_session *s;
    w->now_ns += ns;
    router_time(w->r, w->now_ns, 1700000000000u + w->now_ns / 1000000u);
    router_tick(w->r);
    take_requests(w);
    take_output(w);
    while ((s = router_next_resume(w->r)) != NULL)
        push_input(w, s->user);
}

static void step(struct world *w, struct fuzz_in *in)
{
    uint8_t what = fuzz_u8(in);
    if (what < 110)
        do_client(w, in);
    else if (what < 190)
        do_reply(w, in);
    else if (what < 230)
        pass(w, (uint64_t)fuzz_u8(in) << (what & 31));
    else if (what < 238)
        do_node(w, in);
    else if (what < 246)
        do_map(w, in);
    else
        give_frame(w, what % NODES, fuzz_u8(in), fuzz_short(in));
}

static void start(struct world *w, uint8_t kind)
{
    w->config = (struct router_config){.inflight_per_client = kind & 1 ? 4 : 100,
                                       .inflight_max = kind & 2 ? 8 : 1000,
                                       .output_bytes_max = kind & 4 ? 300 : 1u << 20,
                                       .retry_deadline_ns = UINT64_C(5000000000),
                                       .request_timeout_ns = UINT64_C(30000000000),
                                       .window = 1,
                                       .window_wait_ns = 1000000,
                                       .seed = 7,
                                       .inc = 99};
    if (kind & 8)
        snprintf(w->config.password, sizeof(w->config.password), "x");
    w->r = router_new(&w->config);
    w->now_ns = 1000000000;
    router_time(w->r, w->now_ns, 1700000000000u);
    w->map = (struct fb_map){.rev = 1,
                             .partitions = PARTS,
                             .member_count = NODES,
                             .members = w->members,
                             .parts = w->parts};
    for (uint32_t i = 0; i < NODES; i++) {
        w->members[i].kind = FB_MEMBER_NODE;
        snprintf(w->members[i].name, sizeof(w->members[i].name), "n%u", i);
        snprintf(w->members[i].listen, sizeof(w->members[i].listen), "tcp://h:%u", i);
    }
    for (uint32_t p = 0; p < PARTS; p++) {
        w->parts[p].epoch = 1;
        snprintf(w->parts[p].primary.node, sizeof(w->parts[p].primary.node), "n%u", p % NODES);
    }
    router_map(w->r, &w->map, kind & 16);
    for (uint32_t i = 0; i < NODES; i++)
        router_node_up(w->r, i, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct world w;
    struct fuzz_in in = {data, n};

    memset(&w, 0, sizeof(w));
    start(&w, fuzz_u8(&in));
    for (uint32_t i = 0; in.n > 0 && i < STEPS_MAX; i++)
        step(&w, &in);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        if (w.clients[i].s != NULL)
            router_session_gone(w.clients[i].s);
        fb_buf_fini(&w.clients[i].in);
        fb_buf_fini(&w.clients[i].out);
    }
    /* whatever is in flight is given up in bounded time */
    for (uint32_t i = 0; router_ops_in_flight(w.r) > 0 || router_session_count(w.r) > 0; i++) {
        fb_assert(i < 100);
        pass(&w, UINT64_C(40000000000));
    }
    router_free(w.r);
    fb_assert(w.frames_alive == 0);
    return 0;
}
