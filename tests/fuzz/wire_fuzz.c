/* Any bytes as each message of proto/wire. What a decoder takes must come out of the encoder as
 * bytes that decode to the same, and a decoder may look at nothing behind its input: each runs on a
 * copy of the exact size. The first byte chooses the message.
 */
#include "tests/fuzz/input.h"

#include "proto/wire/feed.h"
#include "proto/wire/frame.h"
#include "proto/wire/record.h"
#include "proto/wire/replica.h"
#include "proto/wire/request.h"

#include <stdlib.h>

/* Decode all items, encode them, decode and encode that: the two encodings must be equal. */
#define ROUND_TRIP(name)                                                                           \
    static void trip_##name(struct fb_bytes data)                                                  \
    {                                                                                              \
        struct fb_reader in = fb_reader(data), again;                                              \
        struct fb_buf first = {0}, second = {0};                                                   \
        struct fb_##name m;                                                                        \
        uint32_t items = 0;                                                                        \
        while (in.n > 0 && fb_##name##_decode(&in, &m) == FB_OK) {                                 \
            fb_##name##_encode(&first, &m);                                                        \
            items++;                                                                               \
        }                                                                                          \
        again = fb_reader(fb_buf_view(&first));                                                    \
        for (uint32_t i = 0; i < items; i++) {                                                     \
            enum fb_status s = fb_##name##_decode(&again, &m);                                     \
            fb_assert(s == FB_OK);                                                                 \
            fb_##name##_encode(&second, &m);                                                       \
        }                                                                                          \
        fb_assert(again.n == 0);                                                                   \
        fb_assert(fb_bytes_equal(fb_buf_view(&first), fb_buf_view(&second)));                      \
        fb_buf_fini(&first);                                                                       \
        fb_buf_fini(&second);                                                                      \
    }
FB_FEED_CODECS(ROUND_TRIP)
FB_REPLICA_CODECS(ROUND_TRIP)
ROUND_TRIP(req)
ROUND_TRIP(rep)
ROUND_TRIP(record)

static void trip_hash(struct fb_bytes data)
{
    struct fb_buf out = {0};
    struct fb_bytes rest = data, value;
    struct fb_field f;
    size_t n = 0;

    if (!fb_hash_valid(data))
        return;
    while (fb_hash_next(&rest, &f)) {
        fb_assert(fb_hash_get(data, f.name, &value));
        fb_assert(value.p == f.value.p && value.n == f.value.n); /* names are unique */
        fb_hash_put(&out, f.name, f.value);
        n++;
    }
    fb_assert(rest.n == 0 && n == fb_hash_count(data));
    fb_assert(fb_bytes_equal(fb_buf_view(&out), data));
    fb_buf_fini(&out);
}

static void trip_list(struct fb_bytes data)
{
    struct fb_buf out = {0};
    struct fb_bytes rest = data, item;

    if (!fb_list_valid(data))
        return;
    while (fb_list_next(&rest, &item))
        if (item.p == NULL)
            fb_list_put_null(&out);
        else
            fb_list_put(&out, item);
    fb_assert(fb_bytes_equal(fb_buf_view(&out), data));
    fb_buf_fini(&out);
}

static void same_hello(const struct fb_hello *a, const struct fb_hello *b)
{
    fb_assert(a->protocol == b->protocol && a->role == b->role && a->inc == b->inc);
    fb_assert(strcmp(a->name, b->name) == 0 && strcmp(a->error, b->error) == 0);
    fb_assert(a->has_cluster == b->has_cluster);
    fb_assert(!a->has_cluster || memcmp(a->cluster, b->cluster, FB_UUID_BYTES) == 0);
}

/* Inside, so that no mutation must get the lengths right. */
static void trip_frame(struct fb_bytes data)
{
    struct fb_frame a, b;
    struct fb_buf out = {0};
    struct fb_err err;
    size_t size, mark;

    if (fb_frame_decode(data, &a, &err) != FB_OK)
        return;
    fb_assert(a.tail.p + a.tail.n == data.p + data.n);
    mark = fb_frame_begin(&out, &a);
    fb_buf_put_bytes(&out, a.tail);
    fb_frame_end(&out, mark, a.count);
    fb_assert(fb_frame_size(fb_buf_view(&out), &size) == FB_OK && size == out.n);
    fb_assert(fb_frame_decode(fb_buf_view(&out), &b, &err) == FB_OK);
    fb_assert(a.kind == b.kind && a.src_inc == b.src_inc && a.dst_inc == b.dst_inc);
    fb_assert(a.count == b.count && a.id == b.id && a.has_hello == b.has_hello);
    fb_assert(fb_bytes_equal(a.tail, b.tail));
    if (a.has_hello)
        same_hello(&a.hello, &b.hello);
    fb_buf_fini(&out);
}

/* The two lengths in front are made right; the header is what the fuzzer says. */
static void trip_frame_header(struct fb_bytes data)
{
    struct fb_buf whole = {0};
    uint8_t split = data.n > 0 ? data.p[0] : 0;
    size_t header = data.n > 0 ? (data.n - 1) * split / 255 : 0;
    uint8_t *exact;

    fb_buf_put_u32(&whole, (uint32_t)(4 + (data.n > 0 ? data.n - 1 : 0)));
    fb_buf_put_u32(&whole, (uint32_t)header);
    if (data.n > 0)
        fb_buf_put(&whole, data.p + 1, data.n - 1);
    exact = fb_xmalloc(whole.n);
    memcpy(exact, whole.p, whole.n);
    trip_frame(fb_bytes(exact, whole.n));
    free(exact);
    fb_buf_fini(&whole);
}

static void size_of_any(struct fb_bytes data)
{
    size_t size = 1;
    if (fb_frame_size(data, &size) == FB_OK)
        fb_assert(size <= FB_FRAME_BYTES_MAX && (size == 0 || size >= 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const trips[])(struct fb_bytes data) = {
#define X(name) trip_##name,
        FB_FEED_CODECS(X)
#undef X
            trip_req,
        trip_rep,
        trip_record,
        trip_hash,
        trip_list,
        trip_frame,
        trip_frame_header,
        size_of_any,
#define X(name) trip_##name,
        FB_REPLICA_CODECS(X)
#undef X
    };
    uint8_t *exact;

    if (n < 1)
        return 0;
    exact = fb_xmalloc(n - 1);
    memcpy(exact, data + 1, n - 1);
    trips[data[0] % FB_COUNT_OF(trips)](fb_bytes(exact, n - 1));
    free(exact);
    return 0;
}
