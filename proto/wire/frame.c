/* Frames: protobuf header, raw tail. The only user of the generated header code. */
#include "proto/wire/frame.h"

#include "forebay.pb-c.h"

#include <stdio.h>

#define PREFIX_BYTES 8u

/* The count is known only at the end: room for it is kept by packing a header without it and adding
 * the field (tag 4, varint) behind it; protobuf fields may come in any order. */
#define COUNT_TAG ((4u << 3) | 0u)
#define COUNT_BYTES 6u /* tag, and a varint padded to five bytes */
/* The same for the two times of a REP frame (tags 7 and 8), in front of the count. */
#define QUEUE_TAG ((7u << 3) | 0u)
#define BUSY_TAG ((8u << 3) | 0u)
#define TIMES_BYTES (2 * COUNT_BYTES)

static void put_padded(uint8_t out[COUNT_BYTES], uint8_t tag, uint32_t v)
{
    out[0] = tag;
    for (int i = 0; i < 5; i++)
        out[1 + i] = (uint8_t)((v >> (7 * i) & 0x7f) | (i < 4 ? 0x80 : 0));
}

size_t fb_frame_begin(struct fb_buf *out, const struct fb_frame *f)
{
    Forebay__Header h = FOREBAY__HEADER__INIT;
    Forebay__Hello hello = FOREBAY__HELLO__INIT;
    size_t mark = out->n, packed, room = COUNT_BYTES;

    h.kind = (uint32_t)f->kind;
    h.src_inc = f->src_inc;
    h.dst_inc = f->dst_inc;
    h.id = f->id;
    if (f->has_hello) {
        hello.protocol = f->hello.protocol;
        hello.role = (uint32_t)f->hello.role;
        hello.name = (char *)f->hello.name;
        hello.inc = f->hello.inc;
        hello.error = (char *)f->hello.error;
        if (f->hello.has_cluster) {
            hello.cluster.data = (uint8_t *)f->hello.cluster;
            hello.cluster.len = FB_UUID_BYTES;
        }
        h.hello = &hello;
    }
    packed = forebay__header__get_packed_size(&h);
    if (f->kind == FB_FRAME_REP)
        room += TIMES_BYTES;
    fb_assert(packed + room <= FB_FRAME_HEADER_BYTES_MAX);
    (void)fb_buf_grow(out, PREFIX_BYTES + packed + room);
    forebay__header__pack(&h, out->p + mark + PREFIX_BYTES);
    fb_put_u32(out->p + mark + 4, (uint32_t)(packed + room));
    if (f->kind == FB_FRAME_REP)
        fb_frame_timing(out, mark, 0, 0);
    return mark;
}

void fb_frame_end(struct fb_buf *out, size_t mark, uint32_t count)
{
    uint32_t header_n = fb_get_u32(out->p + mark + 4);
    uint8_t *c = out->p + mark + PREFIX_BYTES + header_n - COUNT_BYTES;
    size_t total = out->n - mark;

    put_padded(c, COUNT_TAG, count);
    fb_assert(total <= FB_FRAME_BYTES_MAX);
    fb_put_u32(out->p + mark, (uint32_t)(total - 4));
}

void fb_frame_timing(struct fb_buf *out, size_t mark, uint32_t queue_us, uint32_t busy_us)
{
    uint32_t header_n = fb_get_u32(out->p + mark + 4);
    uint8_t *t = out->p + mark + PREFIX_BYTES + header_n - COUNT_BYTES - TIMES_BYTES;

    put_padded(t, QUEUE_TAG, queue_us);
    put_padded(t + COUNT_BYTES, BUSY_TAG, busy_us);
}

enum fb_status fb_frame_size(struct fb_bytes in, size_t *size)
{
    size_t total;
    *size = 0;
    if (in.n < 4)
        return FB_OK;
    total = (size_t)fb_get_u32(in.p) + 4;
    if (total > FB_FRAME_BYTES_MAX)
        return FB_ETOOBIG;
    if (total < PREFIX_BYTES)
        return FB_EPROTO;
    *size = total;
    return FB_OK;
}

struct arena {
    _Alignas(16) uint8_t bytes[4096];
    size_t used;
};

static void *arena_alloc(void *data, size_t n)
{
    struct arena *a = data;
    size_t at = (a->used + 15) & ~(size_t)15;
    if (at + n > sizeof(a->bytes))
        return NULL;
    a->used = at + n;
    return a->bytes + at;
}

static void arena_free(void *data, void *p)
{
    (void)data;
    (void)p;
}

static enum fb_status hello_copy(const Forebay__Hello *in, struct fb_hello *out, struct fb_err *err)
{
    *out =
        (struct fb_hello){.protocol = in->protocol, .role = (enum fb_role)in->role, .inc = in->inc};
    if (in->role < FB_ROLE_ROUTER || in->role > FB_ROLE_CTL)
        return fb_err_set(err, FB_EPROTO, "hello: role %u is unknown", in->role);
    if (strlen(in->name) > FB_NAME_BYTES_MAX)
        return fb_err_set(err, FB_EPROTO, "hello: name longer than %u bytes", FB_NAME_BYTES_MAX);
    snprintf(out->name, sizeof(out->name), "%s", in->name);
    snprintf(out->error, sizeof(out->error), "%s", in->error);
    if (in->cluster.len != 0) {
        if (in->cluster.len != FB_UUID_BYTES)
            return fb_err_set(err, FB_EPROTO, "hello: cluster id has %zu bytes", in->cluster.len);
        memcpy(out->cluster, in->cluster.data, FB_UUID_BYTES);
        out->has_cluster = true;
    }
    return FB_OK;
}

enum fb_status fb_frame_decode(struct fb_bytes in, struct fb_frame *out, struct fb_err *err)
{
    struct arena arena;
    ProtobufCAllocator alloc = {arena_alloc, arena_free, &arena};
    Forebay__Header *h;
    uint32_t header_n;

    if (in.n < PREFIX_BYTES || (size_t)fb_get_u32(in.p) + 4 != in.n)
        return fb_err_set(err, FB_EPROTO, "frame length %zu does not match its prefix", in.n);
    header_n = fb_get_u32(in.p + 4);
    if (header_n > in.n - PREFIX_BYTES || header_n > FB_FRAME_HEADER_BYTES_MAX)
        return fb_err_set(err, FB_EPROTO, "frame header of %u bytes does not fit", header_n);
    arena.used = 0;
    h = forebay__header__unpack(&alloc, header_n, in.p + PREFIX_BYTES);
    if (h == NULL)
        return fb_err_set(err, FB_EPROTO, "frame header is malformed");
    if (h->kind < FB_FRAME_HELLO || h->kind > FB_FRAME_REPLICA_HELLO)
        return fb_err_set(err, FB_EPROTO, "frame kind %u is unknown", h->kind);
    out->kind = (enum fb_frame_kind)h->kind;
    out->src_inc = h->src_inc;
    out->dst_inc = h->dst_inc;
    out->count = h->count;
    out->id = h->id;
    out->queue_us = h->queue_us;
    out->busy_us = h->busy_us;
    out->has_hello = h->hello != NULL;
    out->tail = fb_bytes(in.p + PREFIX_BYTES + header_n, in.n - PREFIX_BYTES - header_n);
    if (h->hello != NULL)
        return hello_copy(h->hello, &out->hello, err);
    return FB_OK;
}

const char *fb_frame_kind_name(enum fb_frame_kind k)
{
    switch (k) {
#define X(name, number)                                                                            \
    case name:                                                                                     \
        return &#name[9];
        FB_FRAME_KIND_LIST(X)
#undef X
    }
    return "?";
}

const char *fb_role_name(enum fb_role r)
{
    switch (r) {
    case FB_ROLE_ROUTER:
        return "router";
    case FB_ROLE_NODE:
        return "node";
    case FB_ROLE_SYNC:
        return "sync process";
    case FB_ROLE_CTL:
        return "forebayctl";
    }
    return "?";
}

bool fb_frame_allowed(enum fb_frame_kind k, enum fb_role from, enum fb_role to)
{
    bool to_node = to == FB_ROLE_NODE, from_node = from == FB_ROLE_NODE;

    switch (k) {
    case FB_FRAME_REQ:
        return to_node && (from == FB_ROLE_ROUTER || from == FB_ROLE_CTL);
    case FB_FRAME_REP:
        return from_node && (to == FB_ROLE_ROUTER || to == FB_ROLE_CTL);
    case FB_FRAME_FEED_REQ:
    case FB_FRAME_FEED_POS:
    case FB_FRAME_LOAD_REP:
    case FB_FRAME_VERDICT:
    case FB_FRAME_DB_CLOCK:
        return to_node && from == FB_ROLE_SYNC;
    case FB_FRAME_NOTE:
    case FB_FRAME_FEED_DATA:
    case FB_FRAME_LOAD_REQ:
    case FB_FRAME_VERDICT_ACK:
        return from_node && to == FB_ROLE_SYNC;
    case FB_FRAME_APPEND:
    case FB_FRAME_APPEND_ACK:
    case FB_FRAME_REPLICA_HELLO:
        return to_node && from_node;
    case FB_FRAME_HELLO:
    case FB_FRAME_ADMIN_REQ:
    case FB_FRAME_ADMIN_REP:
    case FB_FRAME_PING:
    case FB_FRAME_PONG:
        return true;
    }
    return false;
}
