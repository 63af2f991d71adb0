/* Goal: each flat item (request, reply, feed, verdict, record) survives the round trip; every
 * truncation is refused; no mutation can make a decoder read outside of its bytes (run under the
 * address sanitizer). Method: encode one well-filled item of each kind; exact-size copies on the
 * heap, so that overruns are seen. */
#include "proto/base/bounds.h"
#include "proto/wire/feed.h"
#include "proto/wire/record.h"
#include "proto/wire/replica.h"
#include "proto/wire/request.h"
#include "tests/unit/cmocka.h"

#include <stdlib.h>

typedef enum fb_status (*decode_fn)(struct fb_reader *in);
typedef void (*encode_again_fn)(struct fb_buf *out, struct fb_bytes in);

#define ITEM(name)                                                                                 \
    static enum fb_status decode_##name(struct fb_reader *in)                                      \
    {                                                                                              \
        struct fb_##name m;                                                                        \
        return fb_##name##_decode(in, &m);                                                         \
    }                                                                                              \
    static void again_##name(struct fb_buf *out, struct fb_bytes in)                               \
    {                                                                                              \
        struct fb_##name m;                                                                        \
        struct fb_reader r = fb_reader(in);                                                        \
        assert_int_equal(fb_##name##_decode(&r, &m), FB_OK);                                       \
        assert_int_equal(r.n, 0);                                                                  \
        fb_##name##_encode(out, &m);                                                               \
    }
#define X(name) ITEM(name)
FB_FEED_CODECS(X)
FB_REPLICA_CODECS(X)
#undef X
ITEM(req)
ITEM(rep)
ITEM(record)

static void check(const struct fb_buf *item, decode_fn decode, encode_again_fn again)
{
    struct fb_buf back = {0};
    again(&back, fb_buf_view(item));
    assert_int_equal(back.n, item->n);
    assert_memory_equal(back.p, item->p, item->n);
    fb_buf_fini(&back);
    for (size_t n = 0; n < item->n; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        struct fb_reader r = fb_reader(fb_bytes(exact, n));
        memcpy(exact, item->p, n);
        assert_int_equal(decode(&r), FB_EPROTO);
        free(exact);
    }
    srand(11); /* the same bytes every time */
    for (int round = 0; round < 20000; round++) {
        size_t n = item->n - (round % 4 == 0 ? (size_t)rand() % item->n : 0);
        uint8_t *exact = malloc(n);
        struct fb_reader r = fb_reader(fb_bytes(exact, n));
        memcpy(exact, item->p, n);
        for (int k = 1 + rand() % 3; k > 0; k--)
            exact[(size_t)rand() % n] =
                rand() % 3 ? (uint8_t)rand() : (uint8_t)(rand() % 2 ? 0xff : 0);
        (void)!decode(&r);
        free(exact);
    }
}
#define CHECK(name, ...)                                                                           \
    do {                                                                                           \
        struct fb_##name item_ = {__VA_ARGS__};                                                    \
        struct fb_buf encoded_ = {0};                                                              \
        fb_##name##_encode(&encoded_, &item_);                                                     \
        check(&encoded_, decode_##name, again_##name);                                             \
        fb_buf_fini(&encoded_);                                                                    \
    } while (0)
#define S(text) fb_bytes((text), sizeof(text) - 1)

static void feeds(void **state)
{
    (void)state;
    CHECK(feed_note, .part = 4095, .epoch = 7, .history = 3, .ns = S("user"), .dirty = 9,
          .last_ver = UINT64_MAX, .age_ms = 5, .due = true);
    CHECK(feed_req, .part = 1, .history = 2, .ns = S("user"), .from_ver = 77, .max = 1000,
          .mapping = 12, .proof = 13);
    CHECK(feed_object, .ver = 1, .kind = FB_KIND_HASH, .flags = 15, .base_xid = 99, .changed = 1,
          .expires_ms = -1, .changed_at_ms = 8, .id = S("id"), .value = S("value"));
    CHECK(feed_batch, .part = 1, .ns = S("u"), .status = 4, .from_ver = 1, .scan_end = 2,
          .last = true, .purge_ver = 3, .proof = 4, .count = 1, .objects = S("xyz"));
    CHECK(feed_pos, .part = 1, .history = 2, .ns = S(""), .ver = 4, .dsafe = 5, .xid = 6);
    CHECK(load_req, .part = 1, .token = 2, .ns = S("u"), .id = S("7"), .mapping = 9);
    CHECK(load_rep, .part = 1, .token = 2, .status = 3, .kind = FB_KIND_STRING, .xmin = 5,
          .history = 6, .ckpt_ver = 7, .expires_ms = 8, .stored_ver = 9, .ns = S("u"), .id = S("7"),
          .value = S("v"));
    CHECK(verdict, .verdict = 1, .part = 1, .id64 = 2, .ns = S("u"), .id = S("7"), .ver = 5,
          .kind = 0, .xmin = 6, .sqlstate = "23505", .message = S("dup"), .value = S("v"));
    CHECK(verdict_ack, .part = 1, .id64 = 2, .status = FB_ESTALE, .ver = 4);
}

static void replicas(void **state)
{
    struct fb_buf runs = {0};
    (void)state;
    CHECK(append, .part = 4095, .flags = FB_APPEND_GOODBYE, .epoch = FB_EPOCH_MAX, .history = 3,
          .prev = fb_ver(6, 1), .com_ver = fb_ver(5, 1), .token = UINT64_MAX, .sent_ns = 8,
          .count = 2, .records = S("records"));
    CHECK(append_ack, .part = 1, .status = FB_APPEND_STALE, .epoch = 2, .history = 3,
          .acked_ver = INT64_MAX, .synced_ver = 1, .token = 2, .sent_ns = 3);
    CHECK(replica_hello, .part = 1); /* an empty log */
    fb_tail_run_put(&runs, (struct fb_tail_run){fb_ver(1, 7), fb_ver(1, 9)});
    fb_tail_run_put(&runs, (struct fb_tail_run){fb_ver(3, 0), fb_ver(3, 0)});
    CHECK(replica_hello, .part = 1, .epoch = 4, .history = 3, .com_ver = fb_ver(1, 8),
          .last_ver = fb_ver(3, 0), .runs = fb_buf_view(&runs));
    assert_int_equal(fb_tail_run_count(fb_buf_view(&runs)), 2);
    assert_int_equal(fb_tail_run_at(fb_buf_view(&runs), 0).last, fb_ver(1, 9));
    fb_buf_fini(&runs);
}

static void append_in_place(void **state)
{
    struct fb_append m = {.part = 7, .epoch = 2, .prev = 5, .count = 2, .records = S("records")};
    struct fb_buf whole = {0}, pieces = {0};
    size_t mark;
    (void)state;
    fb_buf_put_str(&whole, "before");
    fb_append_encode(&whole, &m);
    fb_buf_put_str(&pieces, "before");
    mark = fb_append_begin(&pieces, &m);
    fb_buf_put_str(&pieces, "rec");
    fb_buf_put_str(&pieces, "ords");
    fb_append_end(&pieces, mark, 2);
    assert_int_equal(pieces.n, whole.n);
    assert_memory_equal(pieces.p, whole.p, whole.n);
    fb_buf_fini(&whole);
    fb_buf_fini(&pieces);
}

static enum fb_status runs_decode(uint64_t last_ver, uint32_t n, const struct fb_tail_run *runs)
{
    struct fb_buf list = {0}, b = {0};
    struct fb_replica_hello m = {.part = 1, .epoch = 9, .last_ver = last_ver};
    struct fb_reader r;
    enum fb_status st;
    for (uint32_t i = 0; i < n; i++)
        fb_tail_run_put(&list, runs[i]);
    m.runs = fb_buf_view(&list);
    fb_replica_hello_encode(&b, &m);
    r = fb_reader(fb_buf_view(&b));
    st = fb_replica_hello_decode(&r, &m);
    fb_buf_fini(&list);
    fb_buf_fini(&b);
    return st;
}

/* What a log cannot be is refused where it is read: the core computes with what is left. */
static void impossible_replicas(void **state)
{
    struct fb_tail_run many[FB_TAIL_RUNS_MAX + 1];
    struct fb_append bad[] = {{.part = FB_PARTITIONS_MAX, .epoch = 1},
                              {.part = 1, .epoch = 0},
                              {.part = 1, .epoch = FB_EPOCH_MAX + 1},
                              {.part = 1, .epoch = 1, .prev = UINT64_MAX},
                              {.part = 1, .epoch = 1, .flags = FB_APPEND_FLAGS + 1}};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        struct fb_buf b = {0};
        struct fb_append back;
        struct fb_reader r;
        fb_append_encode(&b, &bad[i]);
        r = fb_reader(fb_buf_view(&b));
        assert_int_equal(fb_append_decode(&r, &back), FB_EPROTO);
        fb_buf_fini(&b);
    }
#define RUNS(...) (struct fb_tail_run[]){__VA_ARGS__}
    assert_int_equal(runs_decode(fb_ver(1, 2), 1, RUNS({fb_ver(1, 0), fb_ver(1, 2)})), FB_OK);
    assert_int_equal(runs_decode(fb_ver(1, 3), 1, RUNS({fb_ver(1, 0), fb_ver(1, 2)})), FB_EPROTO);
    assert_int_equal(runs_decode(fb_ver(1, 2), 0, NULL), FB_EPROTO);
    assert_int_equal(runs_decode(fb_ver(1, 2), 1, RUNS({fb_ver(1, 3), fb_ver(1, 2)})), FB_EPROTO);
    assert_int_equal(runs_decode(fb_ver(2, 0), 1, RUNS({fb_ver(1, 0), fb_ver(2, 0)})), FB_EPROTO);
    assert_int_equal(runs_decode(5, 1, RUNS({1, 5})), FB_EPROTO); /* no log has an epoch 0 */
    assert_int_equal(runs_decode(fb_ver(2, 0), 2,
                                 RUNS({fb_ver(2, 0), fb_ver(2, 0)}, {fb_ver(2, 0), fb_ver(2, 0)})),
                     FB_EPROTO);
    for (uint32_t i = 0; i <= FB_TAIL_RUNS_MAX; i++)
        many[i] = (struct fb_tail_run){fb_ver(i + 1, 0), fb_ver(i + 1, 0)};
    assert_int_equal(runs_decode(many[FB_TAIL_RUNS_MAX - 1].last, FB_TAIL_RUNS_MAX, many), FB_OK);
    assert_int_equal(runs_decode(many[FB_TAIL_RUNS_MAX].last, FB_TAIL_RUNS_MAX + 1, many),
                     FB_EPROTO);
}

static void requests(void **state)
{
    struct fb_buf args = {0};
    (void)state;
    fb_list_put(&args, S("field"));
    fb_list_put(&args, S(""));
    CHECK(req, .seq = 1, .op = FB_OP_HSET, .flags = FB_REQ_NX, .level = FB_LEVEL_DATABASE,
          .part = 2, .epoch = 3, .a = -1, .b = INT64_MIN, .key = S("user:1"), .nargs = 2,
          .args = fb_buf_view(&args));
    CHECK(req, .op = FB_OP_DBSIZE, .part = FB_PART_NONE);
    CHECK(rep, .seq = 9, .type = FB_REP_LIST, .level = FB_LEVEL_LOCAL, .hit = true, .num = -5,
          .ver = 6, .payload = fb_buf_view(&args));
    CHECK(rep, .seq = 9, .type = FB_REP_OK, .wait_us = 70000, .wait_on = FB_WAIT_FSYNC,
          .payload = fb_buf_view(&args));
    CHECK(rep, .seq = 9, .type = FB_REP_OK, .queue_us = 70000);
    fb_buf_fini(&args);
    assert_true(fb_op_known(FB_OP_GET) && !fb_op_known(0) && !fb_op_known(9999));
    assert_string_equal(fb_op_name(FB_OP_GETRANGE), "GETRANGE");
    assert_string_equal(fb_op_name(9999), "?");
    assert_int_equal(fb_op_class(FB_OP_SCAN), FB_OP_NODE);
}

static void counts_are_not_believed(void **state)
{
    struct fb_buf args = {0}, b = {0};
    struct fb_req m = {.op = FB_OP_HSET, .nargs = 3}, back;
    struct fb_reader r;
    (void)state;
    fb_list_put(&args, S("one"));
    m.args = fb_buf_view(&args);
    fb_req_encode(&b, &m);
    r = fb_reader(fb_buf_view(&b));
    assert_int_equal(fb_req_decode(&r, &back), FB_EPROTO);
    fb_buf_clear(&args);
    fb_buf_clear(&b);
    fb_list_put_null(&args);
    m.nargs = 1;
    m.args = fb_buf_view(&args);
    fb_req_encode(&b, &m);
    r = fb_reader(fb_buf_view(&b));
    assert_int_equal(fb_req_decode(&r, &back), FB_EPROTO);
    fb_buf_fini(&args);
    fb_buf_fini(&b);
}

static void records(void **state)
{
    struct fb_record r = {.type = FB_RECORD_DEL, .ver = 2, .prev = 1, .ns_len = 1, .key = S("u:1")},
                     back;
    struct fb_buf b = {0};
    struct fb_reader in;
    (void)state;
    CHECK(record, .type = FB_RECORD_PUT, .flags = 7, .kind = FB_KIND_STRING, .ns_len = 4, .part = 3,
          .ver = 10, .prev = 9, .ptime_ms = 8, .obj_ver = 7, .changed = 6, .expires_ms = 5,
          .xid = 4, .history = 3, .base_xid = 2, .count = 1, .session = 11, .req_no = 12,
          .sqlstate = "22003", .key = S("user:1"), .value = S("v"));
    CHECK(record, .type = FB_RECORD_EPOCH_START, .ver = 1);
    CHECK(record, .type = FB_RECORD_SYNCED, .ver = 2, .key = S("user"), .obj_ver = 1);
    /* a namespace as long as its key has no id behind it: readers would subtract past zero */
    fb_record_encode(&b, &r);
    for (unsigned len = 0; len < 256; len++) {
        b.p[4 + 3] = (uint8_t)len;
        in = fb_reader(fb_buf_view(&b));
        assert_int_equal(fb_record_decode(&in, &back), len <= 1 ? FB_OK : FB_EPROTO);
    }
    fb_buf_fini(&b);
    assert_string_equal(fb_record_type_name(FB_RECORD_PARK), "PARK");
}

static void limits_hold(void **state)
{
    static uint8_t big[1024];
    struct fb_load_req m = {.ns = fb_bytes(big, 64), .id = S("1")}, back;
    struct fb_feed_object o = {.kind = FB_KIND_HASH + 1}, oback;
    struct fb_buf b = {0};
    struct fb_reader r;
    (void)state;
    fb_load_req_encode(&b, &m);
    r = fb_reader(fb_buf_view(&b));
    assert_int_equal(fb_load_req_decode(&r, &back), FB_EPROTO);
    fb_buf_clear(&b);
    m.ns = fb_bytes(big, 63);
    m.id = fb_bytes(big, 513);
    fb_load_req_encode(&b, &m);
    r = fb_reader(fb_buf_view(&b));
    assert_int_equal(fb_load_req_decode(&r, &back), FB_EPROTO);
    fb_buf_clear(&b);
    fb_feed_object_encode(&b, &o);
    r = fb_reader(fb_buf_view(&b));
    assert_int_equal(fb_feed_object_decode(&r, &oback), FB_EPROTO);
    fb_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(feeds),           cmocka_unit_test(replicas),
        cmocka_unit_test(append_in_place), cmocka_unit_test(impossible_replicas),
        cmocka_unit_test(requests),        cmocka_unit_test(counts_are_not_believed),
        cmocka_unit_test(records),         cmocka_unit_test(limits_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
