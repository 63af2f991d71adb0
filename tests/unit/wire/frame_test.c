/* Goal: frames and values survive the round trip; truncated, mutated and oversized ones are refused
 * without a crash. */
#include "proto/wire/frame.h"
#include "proto/wire/value.h"
#include "tests/unit/cmocka.h"

#include <stdlib.h>

static void make(struct fb_buf *b, bool hello)
{
    struct fb_frame f = {.kind = hello ? FB_FRAME_HELLO : FB_FRAME_REQ,
                         .src_inc = 1,
                         .dst_inc = UINT64_MAX,
                         .id = 300,
                         .has_hello = hello};
    size_t mark;
    if (hello)
        f.hello = (struct fb_hello){.protocol = 1,
                                    .role = FB_ROLE_SYNC,
                                    .name = "sync-1",
                                    .has_cluster = true,
                                    .cluster = {9, 8},
                                    .inc = 4,
                                    .error = "no"};
    mark = fb_frame_begin(b, &f);
    fb_buf_put_str(b, "tail");
    fb_frame_end(b, mark, 4000000000u);
}

static void round_trip(void **state)
{
    struct fb_buf b = {0};
    struct fb_frame f;
    struct fb_err err;
    size_t size, first;
    (void)state;
    make(&b, true);
    first = b.n;
    make(&b, false);
    assert_int_equal(fb_frame_size(fb_buf_view(&b), &size), FB_OK);
    assert_int_equal(size, first);
    assert_int_equal(fb_frame_decode(fb_bytes(b.p, first), &f, &err), FB_OK);
    assert_true(f.has_hello && f.hello.has_cluster && f.hello.cluster[1] == 8);
    assert_string_equal(f.hello.name, "sync-1");
    assert_string_equal(f.hello.error, "no");
    assert_int_equal(f.hello.role, FB_ROLE_SYNC);
    assert_int_equal(f.hello.inc, 4);
    assert_int_equal(fb_frame_decode(fb_bytes(b.p + first, b.n - first), &f, &err), FB_OK);
    assert_false(f.has_hello);
    assert_int_equal(f.kind, FB_FRAME_REQ);
    assert_int_equal(f.count, 4000000000u);
    assert_int_equal(f.id, 300);
    assert_true(f.dst_inc == UINT64_MAX && f.src_inc == 1);
    assert_true(fb_bytes_is(f.tail, "tail"));
    assert_string_equal(fb_frame_kind_name(FB_FRAME_NOTE), "NOTE");
    assert_string_equal(fb_frame_kind_name((enum fb_frame_kind)99), "?");
    fb_buf_fini(&b);
}

/* A REP frame has room for two times, written before or after its tail; other kinds have not. */
static void times(void **state)
{
    struct fb_frame f = {.kind = FB_FRAME_REP, .src_inc = 1}, got;
    struct fb_buf b = {0};
    struct fb_err err;
    size_t mark;
    (void)state;
    fb_buf_put_str(&b, "something in front");
    mark = fb_frame_begin(&b, &f);
    fb_buf_put_str(&b, "tail");
    fb_frame_end(&b, mark, 7);
    assert_int_equal(fb_frame_decode(fb_bytes(b.p + mark, b.n - mark), &got, &err), FB_OK);
    assert_int_equal(got.queue_us, 0);
    assert_int_equal(got.busy_us, 0);
    assert_int_equal(got.count, 7);
    fb_frame_timing(&b, mark, UINT32_MAX, 128);
    assert_int_equal(fb_frame_decode(fb_bytes(b.p + mark, b.n - mark), &got, &err), FB_OK);
    assert_true(got.queue_us == UINT32_MAX && got.busy_us == 128 && got.count == 7);
    assert_true(fb_bytes_is(got.tail, "tail"));
    fb_buf_fini(&b);
}

static void hostile(void **state)
{
    struct fb_buf b = {0};
    struct fb_frame f;
    struct fb_err err;
    size_t size;
    uint8_t huge[4];
    (void)state;
    make(&b, true);
    for (size_t n = 0; n < b.n; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, b.p, n);
        assert_int_equal(fb_frame_decode(fb_bytes(exact, n), &f, &err), FB_EPROTO);
        if (n >= 4) { /* and with a prefix that lies */
            fb_put_u32(exact, (uint32_t)n - 4);
            (void)!fb_frame_decode(fb_bytes(exact, n), &f, &err);
        }
        free(exact);
    }
    srand(13); /* the same bytes every time */
    for (int round = 0; round < 50000; round++) {
        uint8_t *exact = malloc(b.n);
        memcpy(exact, b.p, b.n);
        for (int k = 1 + rand() % 4; k > 0; k--)
            exact[4 + (size_t)rand() % (b.n - 4)] = (uint8_t)rand();
        (void)!fb_frame_decode(fb_bytes(exact, b.n), &f, &err);
        free(exact);
    }
    fb_put_u32(huge, FB_FRAME_BYTES_MAX);
    assert_int_equal(fb_frame_size(fb_bytes(huge, 4), &size), FB_ETOOBIG);
    fb_put_u32(huge, UINT32_MAX);
    assert_int_equal(fb_frame_size(fb_bytes(huge, 4), &size), FB_ETOOBIG);
    fb_put_u32(huge, 0);
    assert_int_equal(fb_frame_size(fb_bytes(huge, 4), &size), FB_EPROTO);
    assert_int_equal(fb_frame_size(fb_bytes(huge, 3), &size), FB_OK);
    assert_int_equal(size, 0);
    fb_buf_fini(&b);
}

/* A header full of unknown fields outgrows the decoder's arena: refused, not crashed. */
static void arena_is_bounded(void **state)
{
    struct fb_buf b = {0};
    struct fb_frame f;
    struct fb_err err;
    (void)state;
    fb_buf_put_u32(&b, 0);
    fb_buf_put_u32(&b, 0);
    for (int i = 0; i < 20000; i++) {
        fb_buf_put_u8(&b, 0x78); /* field 15, varint */
        fb_buf_put_u8(&b, 1);
    }
    fb_put_u32(b.p, (uint32_t)b.n - 4);
    fb_put_u32(b.p + 4, (uint32_t)b.n - 8);
    assert_int_equal(fb_frame_decode(fb_buf_view(&b), &f, &err), FB_EPROTO);
    fb_buf_fini(&b);
}

static void values(void **state)
{
    struct fb_buf b = {0};
    struct fb_bytes v, rest, item;
    (void)state;
    for (uint32_t i = 0; i < 3000; i++) { /* both ways to look for doubles */
        fb_hash_put(&b, fb_bytes(&i, 4), fb_bytes_str("v"));
        if (i == 5 || i == 15 || i == 16 || i == 2999)
            assert_true(fb_hash_valid(fb_buf_view(&b)));
        if (i == 5 || i == 2999) {
            struct fb_buf twice = {0};
            uint32_t zero = 0;
            fb_buf_put_bytes(&twice, fb_buf_view(&b));
            fb_hash_put(&twice, fb_bytes(&zero, 4), fb_bytes_str("w"));
            assert_false(fb_hash_valid(fb_buf_view(&twice)));
            fb_buf_fini(&twice);
        }
    }
    assert_int_equal(fb_hash_count(fb_buf_view(&b)), 3000);
    assert_false(fb_hash_get(fb_buf_view(&b), fb_bytes_str("nope"), &v));
    for (size_t n = 1; n < 11; n++)
        assert_false(fb_hash_valid(fb_bytes(b.p, n)));
    fb_buf_clear(&b);
    fb_list_put(&b, fb_bytes_str("a"));
    fb_list_put_null(&b);
    fb_list_put(&b, fb_bytes_str(""));
    assert_true(fb_list_valid(fb_buf_view(&b)));
    assert_int_equal(fb_list_count(fb_buf_view(&b)), 3);
    rest = fb_buf_view(&b);
    assert_true(fb_list_next(&rest, &item) && fb_bytes_is(item, "a"));
    assert_true(fb_list_next(&rest, &item) && item.p == NULL);
    assert_true(fb_list_next(&rest, &item) && item.p != NULL && item.n == 0);
    assert_false(fb_list_next(&rest, &item));
    for (size_t n = 1; n < b.n; n++)
        assert_true(!fb_list_valid(fb_bytes(b.p, n)) || n == 5 || n == 9);
    assert_true(fb_hash_valid(fb_bytes(NULL, 0)) && fb_list_valid(fb_bytes(NULL, 0)));
    fb_buf_fini(&b);
}

/* Who may send what to whom, from the list of frames in PROTOCOL. */
static void roles(void **state)
{
    static const struct {
        enum fb_frame_kind kind;
        const char *pairs; /* from and to, in letters */
    } want[] = {
        {FB_FRAME_REQ, "rn cn"},        {FB_FRAME_REP, "nr nc"},     {FB_FRAME_NOTE, "ns"},
        {FB_FRAME_FEED_REQ, "sn"},      {FB_FRAME_FEED_DATA, "ns"},  {FB_FRAME_FEED_POS, "sn"},
        {FB_FRAME_LOAD_REQ, "ns"},      {FB_FRAME_LOAD_REP, "sn"},   {FB_FRAME_VERDICT, "sn"},
        {FB_FRAME_VERDICT_ACK, "ns"},   {FB_FRAME_DB_CLOCK, "sn"},   {FB_FRAME_HELLO, NULL},
        {FB_FRAME_ADMIN_REQ, NULL},     {FB_FRAME_ADMIN_REP, NULL},  {FB_FRAME_PING, NULL},
        {FB_FRAME_PONG, NULL},          {FB_FRAME_APPEND, "nn"},     {FB_FRAME_APPEND_ACK, "nn"},
        {FB_FRAME_REPLICA_HELLO, "nn"}, {(enum fb_frame_kind)77, ""}};
    (void)state;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        for (int from = FB_ROLE_ROUTER; from <= FB_ROLE_CTL; from++)
            for (int to = FB_ROLE_ROUTER; to <= FB_ROLE_CTL; to++) {
                const char pair[] = {"?rnsc"[from], "?rnsc"[to], '\0'};
                bool may = want[i].pairs == NULL || strstr(want[i].pairs, pair) != NULL;
                if (fb_frame_allowed(want[i].kind, (enum fb_role)from, (enum fb_role)to) != may)
                    fail_msg("%s from %s to %s", fb_frame_kind_name(want[i].kind),
                             fb_role_name((enum fb_role)from), fb_role_name((enum fb_role)to));
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),       cmocka_unit_test(times),  cmocka_unit_test(hostile),
        cmocka_unit_test(arena_is_bounded), cmocka_unit_test(values), cmocka_unit_test(roles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
