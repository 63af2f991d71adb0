/* Goal: replies of nodes become what Redis 7.0 would send, single, gathered and in EXEC; malformed
 * payloads harm nobody. Method: exact bytes for each form; lists are written as words, "~" being
 * null.
 */
#include "router/resp/render.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW 1000000

static struct fb_buf out, list_buf;

static struct fb_bytes list(const char *s)
{
    fb_buf_clear(&list_buf);
    while (*s != 0) {
        const char *end = strchr(s, ' ');
        size_t len = end != NULL ? (size_t)(end - s) : strlen(s);
        if (len == 1 && *s == '~')
            fb_list_put_null(&list_buf);
        else
            fb_list_put(&list_buf, fb_bytes(s, len));
        s += len + (end != NULL);
    }
    return fb_buf_view(&list_buf);
}

static struct fb_rep rep(enum fb_rep_type type, int64_t num, const char *payload)
{
    return (struct fb_rep){.type = (uint8_t)type, .num = num, .payload = fb_bytes_str(payload)};
}

static void expect(const char *want)
{
    if (!fb_bytes_is(fb_buf_view(&out), want))
        fail_msg("want %s, have %.*s", want, (int)out.n, (const char *)out.p);
    fb_buf_clear(&out);
}

static void single(enum resp_form form, int proto, struct fb_rep r, const char *want)
{
    struct resp_shape shape = {.form = (uint8_t)form};
    struct resp_render_ctx ctx = {.proto = proto, .now_ms = NOW, .nodes = 2};
    resp_render(&out, &shape, &ctx, &r, 1);
    expect(want);
}

static void test_as_is(void **state)
{
    struct fb_rep l = {.type = FB_REP_LIST}, m = {.type = FB_REP_MAP};
    (void)state;
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_BULK, 0, "abc"), "$3\r\nabc\r\n");
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_OK, 0, ""), "+OK\r\n");
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_NIL, 0, ""), "$-1\r\n");
    single(RESP_FORM_AS_IS, 3, rep(FB_REP_NIL, 0, ""), "_\r\n");
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_INT, -5, ""), ":-5\r\n");
    l.payload = list("a ~ ");
    single(RESP_FORM_AS_IS, 2, l, "*2\r\n$1\r\na\r\n$-1\r\n");
    single(RESP_FORM_AS_IS, 3, l, "*2\r\n$1\r\na\r\n_\r\n");
    m.payload = list("f v");
    single(RESP_FORM_AS_IS, 2, m, "*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    single(RESP_FORM_AS_IS, 3, m, "%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
    m.payload = fb_bytes(NULL, 0);
    single(RESP_FORM_AS_IS, 3, m, "%0\r\n");
}

static void test_errors(void **state)
{
    (void)state;
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "WRONGTYPE x\r\ny"),
           "-WRONGTYPE x  y\r\n");
    single(RESP_FORM_TTL_S, 2, rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "DBDOWN x"), "-DBDOWN x\r\n");
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_ERR, FB_REP_ERR_UNKNOWN, "node n1 went away"),
           "-INDETERMINATE the write may or may not have happened: node n1 went away\r\n");
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_ERR, FB_REP_ERR_RETRY, ""),
           "-CLUSTERDOWN no primary serves this key now (nothing changed)\r\n");
    single(RESP_FORM_AS_IS, 2, rep(FB_REP_ERR, FB_REP_ERR_PLAIN, ""),
           "-ERR refused by the node\r\n");
}

static void test_forms(void **state)
{
    struct fb_rep l = {.type = FB_REP_LIST};
    (void)state;
    single(RESP_FORM_OK_INT, 2, rep(FB_REP_OK, 0, ""), ":1\r\n");
    single(RESP_FORM_OK_INT, 2, rep(FB_REP_NIL, 0, ""), ":0\r\n");
    single(RESP_FORM_OK, 2, rep(FB_REP_INT, 3, ""), "+OK\r\n");
    single(RESP_FORM_SIMPLE, 2, rep(FB_REP_BULK, 0, "hash"), "+hash\r\n");
    single(RESP_FORM_TTL_S, 2, rep(FB_REP_INT, -2, ""), ":-2\r\n");
    single(RESP_FORM_TTL_S, 2, rep(FB_REP_INT, NOW + 1499, ""), ":1\r\n");
    single(RESP_FORM_TTL_S, 2, rep(FB_REP_INT, NOW + 1500, ""), ":2\r\n");
    single(RESP_FORM_TTL_S, 2, rep(FB_REP_INT, NOW - 5, ""), ":0\r\n");
    single(RESP_FORM_TTL_MS, 2, rep(FB_REP_INT, NOW + 1499, ""), ":1499\r\n");
    single(RESP_FORM_AT_S, 2, rep(FB_REP_INT, 1500, ""), ":2\r\n");
    single(RESP_FORM_AT_MS, 2, rep(FB_REP_INT, 1500, ""), ":1500\r\n");
    l.payload = list("v 1099511627777 1 -1 string");
    single(RESP_FORM_FBGET, 2, l, "*4\r\n$1\r\nv\r\n:1099511627777\r\n:1\r\n:-1\r\n");
    l.payload = list("~ 0 0 -1 none");
    single(RESP_FORM_FBGET, 2, l, "*4\r\n$-1\r\n:0\r\n:0\r\n:-1\r\n");
    l.payload = list("v x 1 -1 string");
    single(RESP_FORM_FBGET, 2, l, "-ERR the reply of a node is malformed\r\n");
    single(RESP_FORM_FBGET, 2, rep(FB_REP_NIL, 0, ""), "$-1\r\n");
}

static void test_fbget_hash(void **state)
{
    struct fb_buf hash = {0}, l = {0};
    struct fb_rep r = {.type = FB_REP_LIST};
    (void)state;
    fb_hash_put(&hash, fb_bytes_str("f"), fb_bytes_str("v"));
    fb_list_put(&l, fb_buf_view(&hash));
    fb_buf_put_bytes(&l, list("7 0 5000 hash"));
    r.payload = fb_buf_view(&l);
    single(RESP_FORM_FBGET, 3, r, "*4\r\n%1\r\n$1\r\nf\r\n$1\r\nv\r\n:7\r\n:0\r\n:5000\r\n");
    fb_buf_fini(&hash);
    fb_buf_fini(&l);
}

static void test_scans(void **state)
{
    struct resp_shape hscan = {.form = RESP_FORM_HSCAN, .match = fb_bytes_str("a*")};
    struct resp_shape scan = {.gather = RESP_GATHER_SCAN, .form = RESP_FORM_SCAN, .node = 0};
    struct resp_render_ctx ctx = {.proto = 2, .nodes = 2};
    struct fb_rep r = {.type = FB_REP_MAP, .payload = list("a1 x b 2 a2 y")};
    (void)state;
    resp_render(&out, &hscan, &ctx, &r, 1);
    expect("*2\r\n$1\r\n0\r\n*4\r\n$2\r\na1\r\n$1\r\nx\r\n$2\r\na2\r\n$1\r\ny\r\n");
    r = (struct fb_rep){.type = FB_REP_LIST, .payload = list("5 k1 k2")};
    resp_render(&out, &scan, &ctx, &r, 1);
    expect("*2\r\n$3\r\n320\r\n*2\r\n$2\r\nk1\r\n$2\r\nk2\r\n");
    r.payload = list("0 k1");
    resp_render(&out, &scan, &ctx, &r, 1);
    expect("*2\r\n$1\r\n1\r\n*1\r\n$2\r\nk1\r\n");
    scan.node = 1;
    resp_render(&out, &scan, &ctx, &r, 1);
    expect("*2\r\n$1\r\n0\r\n*1\r\n$2\r\nk1\r\n");
    scan.node = 9;
    resp_render(&out, &scan, &ctx, NULL, 0);
    expect("*2\r\n$1\r\n0\r\n*0\r\n");
}

static void many(enum resp_gather gather, enum resp_form form, const struct fb_rep *reps, size_t n,
                 const char *want)
{
    struct resp_shape shape = {.gather = (uint8_t)gather, .form = (uint8_t)form};
    struct resp_render_ctx ctx = {.proto = 2, .now_ms = NOW, .nodes = 2, .pick = 3};
    resp_render(&out, &shape, &ctx, reps, n);
    expect(want);
}

static void test_gather(void **state)
{
    struct fb_rep ints[] = {rep(FB_REP_INT, 2, ""), rep(FB_REP_INT, 3, "")};
    struct fb_rep values[] = {rep(FB_REP_BULK, 0, "a"), rep(FB_REP_NIL, 0, ""),
                              rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "WRONGTYPE x")};
    struct fb_rep bad[] = {rep(FB_REP_OK, 0, ""), rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "DBDOWN x"),
                           rep(FB_REP_ERR, FB_REP_ERR_UNKNOWN, "y")};
    struct fb_rep keys[] = {rep(FB_REP_BULK, 0, "a"), rep(FB_REP_NIL, 0, ""),
                            rep(FB_REP_BULK, 0, "b")};
    struct fb_rep deleted[] = {rep(FB_REP_INT, 1, ""), rep(FB_REP_ERR, FB_REP_ERR_NOT_PRIMARY, "")};
    struct fb_rep rejected[] = {rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "REJECTED x"),
                                rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "DBDOWN x")};
    (void)state;
    many(RESP_GATHER_SUM, RESP_FORM_AS_IS, ints, 2, ":5\r\n");
    many(RESP_GATHER_NODES_SUM, RESP_FORM_OK, ints, 2, "+OK\r\n");
    many(RESP_GATHER_ARRAY, RESP_FORM_AS_IS, values, 3, "*3\r\n$1\r\na\r\n$-1\r\n$-1\r\n");
    many(RESP_GATHER_ALL_OK, RESP_FORM_AS_IS, bad, 1, "+OK\r\n");
    many(RESP_GATHER_ALL_OK, RESP_FORM_AS_IS, bad, 2, "-DBDOWN x\r\n");
    many(RESP_GATHER_ALL_OK, RESP_FORM_AS_IS, bad, 3,
         "-INDETERMINATE the write may or may not have happened: y\r\n");
    /* a definite error of one key beside another that was changed is none for the whole (I14) */
    bad[0].level = FB_LEVEL_LOCAL;
    many(RESP_GATHER_ALL_OK, RESP_FORM_AS_IS, bad, 2,
         "-INDETERMINATE some of the keys were changed and some were not: DBDOWN x\r\n");
    deleted[0].level = FB_LEVEL_LOCAL;
    many(RESP_GATHER_SUM, RESP_FORM_AS_IS, deleted, 2,
         "-INDETERMINATE some of the keys were changed and some were not: CLUSTERDOWN no primary "
         "serves this key now (nothing changed)\r\n");
    deleted[0].num = 0;
    many(RESP_GATHER_SUM, RESP_FORM_AS_IS, deleted, 2,
         "-CLUSTERDOWN no primary serves this key now (nothing changed)\r\n");
    many(RESP_GATHER_ARRAY, RESP_FORM_AS_IS, bad, 2, "-DBDOWN x\r\n");
    /* PostgreSQL refused what was written: it was written */
    rejected[0].level = FB_LEVEL_LOCAL;
    many(RESP_GATHER_SUM, RESP_FORM_AS_IS, rejected, 2,
         "-INDETERMINATE some of the keys were changed and some were not: REJECTED x\r\n");
    rejected[1] = rejected[0];
    many(RESP_GATHER_SUM, RESP_FORM_AS_IS, rejected, 2, "-REJECTED x\r\n");
    rejected[1] = bad[0];
    many(RESP_GATHER_ALL_OK, RESP_FORM_AS_IS, rejected, 2, "-REJECTED x\r\n");
    many(RESP_GATHER_NODES_ANY, RESP_FORM_AS_IS, keys, 3, "$1\r\nb\r\n");
    many(RESP_GATHER_NODES_ANY, RESP_FORM_AS_IS, keys + 1, 1, "$-1\r\n");
}

static void test_exec(void **state)
{
    struct fb_rep parts[] = {rep(FB_REP_OK, 0, ""), rep(FB_REP_BULK, 0, "a"),
                             rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "WRONGTYPE x"),
                             rep(FB_REP_INT, NOW + 2000, "")};
    struct resp_queued q[] = {
        {.nops = 1},
        {.ready = fb_bytes_str("+PONG\r\n")},
        {.shape = {.gather = RESP_GATHER_ARRAY}, .nops = 2},
        {.shape = {.form = RESP_FORM_TTL_S}, .nops = 1},
    };
    struct resp_render_ctx ctx = {.proto = 2, .now_ms = NOW};
    struct fb_buf b = {0};
    struct fb_rep txn = {.type = FB_REP_REPS};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(parts); i++)
        fb_rep_encode(&b, &parts[i]);
    txn.payload = fb_buf_view(&b);
    resp_render_exec(&out, q, FB_COUNT_OF(q), &ctx, &txn);
    expect("*4\r\n+OK\r\n+PONG\r\n*2\r\n$1\r\na\r\n$-1\r\n:2\r\n");
    txn.payload.n -= 3; /* the last one is cut */
    resp_render_exec(&out, q, FB_COUNT_OF(q), &ctx, &txn);
    expect("*4\r\n+OK\r\n+PONG\r\n*2\r\n$1\r\na\r\n$-1\r\n-INDETERMINATE the write may or may not "
           "have happened: "
           "the reply of a node is malformed\r\n");
    txn = rep(FB_REP_NIL, 0, "");
    resp_render_exec(&out, q, FB_COUNT_OF(q), &ctx, &txn);
    expect("*-1\r\n");
    txn = rep(FB_REP_ERR, FB_REP_ERR_PLAIN, "EXECABORT x");
    resp_render_exec(&out, q, FB_COUNT_OF(q), &ctx, &txn);
    expect("-EXECABORT x\r\n");
    fb_buf_fini(&b);
}

/* Payloads of noise under each form, gather and type: an answer of one kind or another, nothing
 * worse. */
static void test_noise(void **state)
{
    uint8_t bytes[24];
    unsigned seed = 7;
    (void)state;
    for (int round = 0; round < 200000; round++) {
        struct resp_shape shape;
        struct resp_render_ctx ctx = {.proto = 2 + round % 2, .now_ms = NOW, .nodes = 3};
        struct fb_rep r = {0};
        for (size_t i = 0; i < sizeof(bytes); i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (seed >> 28) < 9 ? (uint8_t)((seed >> 20) % 5) : (uint8_t)(seed >> 16);
        }
        shape = (struct resp_shape){.gather = (uint8_t)((seed >> 3) % 7),
                                    .form = (uint8_t)((seed >> 7) % 11)};
        r.type = (uint8_t)((seed >> 11) % 8);
        r.num = (int64_t)seed - 1000;
        r.payload = fb_bytes(bytes, (seed >> 14) % sizeof(bytes));
        resp_render(&out, &shape, &ctx, &r, 1);
        assert_true(out.n >= 3 && memcmp(out.p + out.n - 2, "\r\n", 2) == 0);
        fb_buf_clear(&out);
    }
}

static int free_all(void **state)
{
    (void)state;
    fb_buf_fini(&out);
    fb_buf_fini(&list_buf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_is), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_forms), cmocka_unit_test(test_fbget_hash),
        cmocka_unit_test(test_scans), cmocka_unit_test(test_gather),
        cmocka_unit_test(test_exec),  cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests_name("resp render", tests, NULL, free_all);
}
