/* Goal: what is sent to etcd and what is understood of its answers, to the byte, without etcd.
 * Method: texts as etcd 3.4 and 3.5 write them, and each field of them missing or wrong. */
#include "proto/base/base64.h"
#include "proto/coord/etcd_json.h"
#include "proto/coord/etcd_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HEADER "\"header\":{\"cluster_id\":\"7\",\"member_id\":\"8\",\"revision\":\"12\"}"
#define P "/forebay/m/"

static void text_is(struct fb_buf *b, const char *want)
{
    fb_buf_put_u8(b, 0);
    assert_string_equal((const char *)b->p, want);
    fb_buf_clear(b);
}

static void requests(void **state)
{
    const struct fb_coord_op ops[] = {
        {.key = "a", .rev = 5, .value = fb_bytes_str("v"), .session = true},
        {.key = "b", .rev = UINT64_MAX},
        {.key = "c", .rev = 0, .value = fb_bytes_str("")}};
    struct fb_buf b = {0};

    (void)state;
    etcd_put_get(&b, P, "a");
    text_is(&b, "{\"key\":\"L2ZvcmViYXkvbS9h\"}");
    etcd_put_watch(&b, P, 13);
    text_is(&b, "{\"create_request\":{\"key\":\"L2ZvcmViYXkvbS8=\",\"range_end\":"
                "\"L2ZvcmViYXkvbTA=\",\"start_revision\":\"13\"}}");
    etcd_put_list(&b, P, "part/");
    text_is(&b, "{\"success\":[{\"request_range\":{\"key\":\"L2ZvcmViYXkvbS9wYXJ0Lw==\","
                "\"range_end\":\"L2ZvcmViYXkvbS9wYXJ0MA==\"}},{\"request_range\":{\"key\":"
                "\"L2ZvcmViYXkvbS8uc2Vzc2lvbi8=\",\"range_end\":\"L2ZvcmViYXkvbS8uc2Vzc2lvbjA=\"}}]"
                "}");
    etcd_put_txn(&b, P, "n:1", ops, 3);
    text_is(&b, "{\"compare\":[{\"target\":\"MOD\",\"result\":\"EQUAL\",\"key\":"
                "\"L2ZvcmViYXkvbS9h\",\"mod_revision\":\"5\"},{\"target\":\"MOD\",\"result\":"
                "\"EQUAL\",\"key\":\"L2ZvcmViYXkvbS9j\",\"mod_revision\":\"0\"}],\"success\":[{"
                "\"request_put\":{\"key\":\"L2ZvcmViYXkvbS9h\",\"value\":\"dgBuOjE=\"}},{"
                "\"request_delete_range\":{\"key\":\"L2ZvcmViYXkvbS9i\"}},{\"request_put\":{"
                "\"key\":\"L2ZvcmViYXkvbS9j\",\"value\":\"\"}}],\"failure\":[{\"request_range\":{"
                "\"keys_only\":true,\"key\":\"L2ZvcmViYXkvbS9h\"}},{\"request_range\":{"
                "\"keys_only\":true,\"key\":\"L2ZvcmViYXkvbS9j\"}}]}");
    etcd_put_grant(&b, 5);
    text_is(&b, "{\"TTL\":\"5\"}");
    etcd_put_lease(&b, 77);
    text_is(&b, "{\"ID\":\"77\"}");
    etcd_put_login(&b, "a\"b", fb_bytes_str("p\\w"));
    text_is(&b, "{\"name\":\"a\\\"b\",\"password\":\"p\\\\w\"}");
    fb_buf_fini(&b);
}

/* A key is alive as long as the session it names has the same token. */
static void a_list_knows_who_is_alive(void **state)
{
    static const char text[] =
        "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":["
        "{\"key\":\"L2ZvcmViYXkvbS8uc2Vzc2lvbi9u\",\"mod_revision\":\"3\",\"value\":\"MSBo\"},"
        "{\"key\":\"L2ZvcmViYXkvbS9h\",\"mod_revision\":\"4\",\"value\":\"dgBuOjE=\"},"
        "{\"key\":\"L2ZvcmViYXkvbS9i\",\"mod_revision\":\"5\",\"value\":\"dgBuOjI=\"},"
        "{\"key\":\"L2ZvcmViYXkvbS9j\",\"mod_revision\":\"6\"}]}},{\"response_range\":{\"kvs\":["
        "{\"key\":\"L2ZvcmViYXkvbS8uc2Vzc2lvbi9u\",\"mod_revision\":\"3\",\"value\":\"MSBo\"}]}}]}";
    struct fb_coord_list l;
    struct etcd_header h;
    struct fb_err err;

    (void)state;
    if (etcd_take_list(fb_bytes_str(text), P, &h, &l, &err) != FB_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(l.rev, 12);
    assert_int_equal(h.cluster_id, 7);
    assert_int_equal(l.count, 3);
    assert_string_equal(l.kv[0].key, "a");
    assert_true(fb_bytes_is(l.kv[0].value, "v"));
    assert_true(l.kv[0].alive);
    assert_false(l.kv[1].alive); /* bound to n:2, n:1 is there */
    assert_true(l.kv[2].alive);  /* bound to none */
    assert_int_equal(l.kv[2].value.n, 0);
    assert_int_equal(l.kv[2].rev, 6);
    fb_coord_list_free(&l);
    assert_int_equal(etcd_take_list(fb_bytes_str(text), "/forebay/x/", &h, &l, &err), FB_ECORRUPT);
    fb_coord_list_free(&l);
}

static void answers(void **state)
{
    const struct fb_coord_op ops[] = {{.key = "x", .rev = UINT64_MAX}, {.key = "a", .rev = 5}};
    struct etcd_header h;
    struct etcd_watched w;
    struct fb_buf v = {0};
    struct fb_err err;
    uint64_t rev, lease, ttl;
    char token[ETCD_TOKEN_BYTES_MAX], reason[ETCD_REASON_BYTES_MAX];

    (void)state;
    assert_int_equal(etcd_take_get(fb_bytes_str("{" HEADER "}"), &h, &v, &rev, &err), FB_ENOENT);
    assert_int_equal(
        etcd_take_txn(fb_bytes_str("{" HEADER ",\"succeeded\":true}"), ops, 2, &h, &err), FB_OK);
    assert_int_equal(h.revision, 12);
    assert_int_equal(
        etcd_take_txn(fb_bytes_str("{" HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{"
                                   "\"mod_revision\":\"9\"}]}}]}"),
                      ops, 2, &h, &err),
        FB_EMISMATCH);
    assert_string_equal(err.msg, "a changed meanwhile (revision 9, expected 5)");
    assert_int_equal(etcd_take_lease(fb_bytes_str("{\"result\":{" HEADER ",\"ID\":\"3\"}}"), &h,
                                     &lease, &ttl, &err),
                     FB_OK);
    assert_int_equal(ttl, 0); /* it is no more */
    assert_int_equal(etcd_take_login(fb_bytes_str("{\"token\":\"a.b\"}"), token, &err), FB_OK);
    assert_int_equal(etcd_take_login(fb_bytes_str("{\"token\":\"a\\nb\"}"), token, &err),
                     FB_EPROTO);
    /* a header's revision is no event: only what came moves a watch */
    assert_int_equal(
        etcd_take_watch(fb_bytes_str("{\"result\":{" HEADER ",\"created\":true}}"), &w, &err),
        FB_OK);
    assert_true(w.created && !w.ended && w.revision == 0);
    assert_int_equal(etcd_take_watch(fb_bytes_str("{\"result\":{" HEADER "}}"), &w, &err), FB_OK);
    assert_int_equal(w.revision, 0); /* progress */
    assert_int_equal(
        etcd_take_watch(fb_bytes_str("{\"result\":{" HEADER ",\"events\":[{\"kv\":{"
                                     "\"mod_revision\":\"10\"}},{\"type\":\"DELETE\",\"kv\":{"
                                     "\"mod_revision\":\"11\"}}]}}"),
                        &w, &err),
        FB_OK);
    assert_int_equal(w.revision, 11);
    assert_int_equal(etcd_take_watch(fb_bytes_str("{\"result\":{" HEADER ",\"canceled\":true,"
                                                  "\"compact_revision\":\"9\"}}"),
                                     &w, &err),
                     FB_OK);
    assert_true(w.ended);
    assert_int_equal(
        etcd_take_error(fb_bytes_str("{\"error\":\"e\",\"message\":\"m\\nn\",\"code\":7}"), reason),
        7);
    assert_string_equal(reason, "m n");
    assert_int_equal(
        etcd_take_error(fb_bytes_str("{\"code\":7,\"message\":\"m\",\"details\":[]}"), reason), 7);
    assert_int_equal(etcd_take_error(fb_bytes_str("Not Found\n"), reason), -1);
    assert_string_equal(reason, "Not Found ");
    fb_buf_fini(&v);
}

static void nonsense(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"header\":{\"revision\":-1}}",
        "{\"header\":{\"cluster_id\":-1}}",
        "{\"header\":{\"revision\":true}}",
        "{\"header\":{\"revision\":\"x\"}}",
        "{" HEADER ",\"succeeded\":true}",
        "{" HEADER ",\"succeeded\":true,\"responses\":[{},{}]}",
    };
    struct fb_coord_list l;
    struct etcd_header h;
    struct fb_err err;

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(texts); i++) {
        assert_int_equal(etcd_take_list(fb_bytes_str(texts[i]), P, &h, &l, &err), FB_EPROTO);
        assert_non_null(strstr(err.msg, "is not understood"));
        fb_coord_list_free(&l);
    }
}

/* A value of a key's record, as base64 of VALUE NUL SESSION. */
static void records(void **state)
{
    static const struct {
        const char *fields;
        enum fb_status want;
    } t[] = {
        {"\"mod_revision\":\"3\",\"value\":\"dgBuOjE=\"", FB_OK},
        {"\"mod_revision\":3,\"value\":\"dg==\"", FB_OK},
        {"\"mod_revision\":-3,\"value\":\"dg==\"", FB_EPROTO},
        {"\"mod_revision\":true,\"value\":\"dg==\"", FB_EPROTO},
        {"\"mod_revision\":\"0\",\"value\":\"dg==\"", FB_EPROTO},
        {"\"mod_revision\":\"3\",\"value\":7", FB_EPROTO},
        {"\"mod_revision\":\"3\",\"value\":\"!\"", FB_EPROTO},
        {"\"mod_revision\":\"3\",\"value\":\"dgA=\"", FB_EPROTO},     /* no session */
        {"\"mod_revision\":\"3\",\"value\":\"dgBuADE=\"", FB_EPROTO}, /* two of them */
        {"\"mod_revision\":\"3\",\"value\":\"/w==\"", FB_EPROTO},     /* no UTF-8 */
    };
    struct etcd_header h;
    struct fb_err err;
    char text[1024];

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        struct fb_buf v = {0};
        uint64_t rev;
        snprintf(text, sizeof(text), "{" HEADER ",\"kvs\":[{%s}]}", t[i].fields);
        if (etcd_take_get(fb_bytes_str(text), &h, &v, &rev, &err) != t[i].want)
            fail_msg("wrong for %s", t[i].fields);
        assert_int_equal(v.n, t[i].want == FB_OK ? 1 : 0);
        fb_buf_fini(&v);
    }
    { /* a session's name that is too long */
        struct fb_buf v = {0}, body = {0};
        char stored[2 + ETCD_SESSION_BYTES_MAX];
        uint64_t rev;
        memset(stored, 'a', sizeof(stored));
        stored[1] = 0;
        fb_buf_put_str(&body, "{" HEADER ",\"kvs\":[{\"mod_revision\":\"3\",\"value\":\"");
        fb_base64_put(&body, fb_bytes(stored, sizeof(stored)));
        fb_buf_put_str(&body, "\"}]}");
        assert_int_equal(etcd_take_get(fb_buf_view(&body), &h, &v, &rev, &err), FB_EPROTO);
        fb_buf_fini(&v);
        fb_buf_fini(&body);
    }
}

/* What is no answer to this question, for each kind of question. */
static void answers_to_nothing(void **state)
{
    static const char *const texts[] = {"", "7", "{}", "{\"header\":7}"};
    static const char *const holders[] = {"\"mod_revision\":\"x\"", "\"value\":\"!\"",
                                          "\"value\":\"dgBuOjE=\"", /* a zero byte in it */
                                          "\"mod_revision\":\"3\",\"value\":\"\""};
    const struct fb_coord_op op = {.key = "a", .rev = 5};
    struct etcd_header h;
    struct etcd_watched w;
    struct fb_buf v = {0};
    struct fb_err err;
    uint64_t a, b;
    char token[ETCD_TOKEN_BYTES_MAX], reason[ETCD_REASON_BYTES_MAX], text[256];

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(texts); i++) {
        struct fb_bytes answer = i == 0 ? fb_bytes(NULL, 0) : fb_bytes_str(texts[i]);
        assert_int_equal(etcd_take_get(answer, &h, &v, &a, &err), FB_EPROTO);
        assert_int_equal(etcd_take_txn(answer, &op, 1, &h, &err), FB_EPROTO);
        assert_int_equal(etcd_take_session(answer, &h, &v, &a, &err), FB_EPROTO);
        assert_int_equal(etcd_take_lease(answer, &h, &a, &b, &err), FB_EPROTO);
        assert_int_equal(etcd_take_login(answer, token, &err), FB_EPROTO);
        assert_int_equal(etcd_take_watch(answer, &w, &err), FB_EPROTO);
        assert_int_equal(etcd_take_error(answer, reason), -1);
    }
    /* a transaction without a revision; one that failed with nothing that says why */
    assert_int_equal(
        etcd_take_txn(fb_bytes_str("{\"header\":{\"cluster_id\":\"7\"}}"), &op, 1, &h, &err),
        FB_EPROTO);
    assert_int_equal(etcd_take_txn(fb_bytes_str("{" HEADER "}"), &op, 1, &h, &err), FB_EMISMATCH);
    assert_int_equal(
        etcd_take_txn(fb_bytes_str("{" HEADER ",\"succeeded\":false}"), &op, 1, &h, &err),
        FB_EMISMATCH);
    assert_int_equal(
        etcd_take_session(fb_bytes_str("{" HEADER ",\"succeeded\":false}"), &h, &v, &a, &err),
        FB_EPROTO);
    for (size_t i = 0; i < FB_COUNT_OF(holders); i++) {
        snprintf(text, sizeof(text),
                 "{" HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{%s}]}}]}", holders[i]);
        fb_buf_clear(&v);
        assert_int_equal(etcd_take_session(fb_bytes_str(text), &h, &v, &a, &err),
                         i < 3 ? FB_EPROTO : FB_EMISMATCH);
    }
    /* leases */
    assert_int_equal(etcd_take_lease(fb_bytes_str("{" HEADER ",\"ID\":\"0\"}"), &h, &a, &b, &err),
                     FB_EPROTO);
    assert_int_equal(etcd_take_lease(fb_bytes_str("{" HEADER ",\"ID\":\"x\"}"), &h, &a, &b, &err),
                     FB_EPROTO);
    assert_int_equal(
        etcd_take_lease(fb_bytes_str("{" HEADER ",\"ID\":\"3\",\"TTL\":-1}"), &h, &a, &b, &err),
        FB_EPROTO);
    /* a watch: an answer instead of a stream, an event without a revision, of one that is no number
     */
    assert_int_equal(etcd_take_watch(fb_bytes_str("{\"error\":\"e\",\"code\":16}"), &w, &err),
                     FB_EPROTO);
    assert_int_equal(
        etcd_take_watch(fb_bytes_str("{\"result\":{\"events\":[{\"kv\":{}}]}}"), &w, &err),
        FB_EPROTO);
    assert_int_equal(
        etcd_take_watch(
            fb_bytes_str("{\"result\":{\"events\":[{\"kv\":{\"mod_revision\":\"x\"}}]}}"), &w,
            &err),
        FB_EPROTO);
    assert_int_equal(etcd_take_watch(fb_bytes_str("{\"error\":{\"message\":\"m\"}}"), &w, &err),
                     FB_OK);
    assert_true(w.ended);
    assert_int_equal(etcd_take_error(fb_bytes_str("{\"code\":7}"), reason), -1);
    fb_buf_fini(&v);
}

/* Of sessions in a list that are not what they should be nobody is alive. */
static void nobody_lives_by_nonsense(void **state)
{
    static const char *const sessions[] = {
        "{\"key\":\"!\",\"value\":\"MSBo\"}",
        "{\"key\":7,\"value\":\"MSBo\"}",
        "{\"key\":\"L2ZvcmViYXkvbS8uc2Vzc2lvbi9u\",\"value\":\"!\"}",
        "{\"key\":\"L2ZvcmViYXkvbS8uc2Vzc2lvbi9u\"}",
        "{\"key\":\"L2ZvcmViYXkvbS8uc2Vzc2lvbi9u\",\"value\":\"MTI=\"}",
    };
    struct fb_coord_list l;
    struct etcd_header h;
    struct fb_err err;
    char text[1024];

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(sessions); i++) {
        snprintf(text, sizeof(text),
                 "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{"
                 "\"key\":\"L2ZvcmViYXkvbS9h\",\"mod_revision\":\"4\",\"value\":\"dgBuOjE=\"}]}},"
                 "{\"response_range\":{\"kvs\":[%s]}}]}",
                 sessions[i]);
        assert_int_equal(etcd_take_list(fb_bytes_str(text), P, &h, &l, &err), FB_OK);
        assert_int_equal(l.count, 1);
        assert_false(l.kv[0].alive);
        fb_coord_list_free(&l);
    }
}

static void urls(void **state)
{
    static const char *const bad[] = {
        "",
        ":1",
        "e:0",
        "e:65536",
        "e:x",
        "e,",
        "u@e",
        "e/",
        "e/a/b",
        "e/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "e/a b",
        "e?",
        "e?x=1",
        "e?tls=maybe",
        "e?ca=",
        "e?ca=a&ca=b",
        "e?cert=c",
        "e?user=u",
        "a,b,c,d,e,f,g,h,i"};
    struct etcd_url u;
    struct fb_err err;
    char text[128];

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        snprintf(text, sizeof(text), "etcd://%s", bad[i]);
        if (etcd_url_parse(text, &u, &err) != FB_EINVAL)
            fail_msg("%s was taken", text);
        etcd_url_fini(&u);
    }
    assert_int_equal(etcd_url_parse("etcd://e1,[::1]:2380/prod-1?ca=/a&cert=/c&key=/k", &u, &err),
                     FB_OK);
    assert_int_equal(u.count, 2);
    assert_string_equal(u.endpoint[0], "e1:2379");
    assert_string_equal(u.endpoint[1], "[::1]:2380");
    assert_string_equal(u.prefix, "/forebay/prod-1/");
    assert_true(u.tls && u.user == NULL);
    etcd_url_fini(&u);
    assert_int_equal(etcd_url_parse("etcd://e1", &u, &err), FB_OK);
    assert_string_equal(u.prefix, "/forebay/main/");
    assert_false(u.tls);
    etcd_url_fini(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests),
                                       cmocka_unit_test(a_list_knows_who_is_alive),
                                       cmocka_unit_test(answers),
                                       cmocka_unit_test(nonsense),
                                       cmocka_unit_test(records),
                                       cmocka_unit_test(answers_to_nothing),
                                       cmocka_unit_test(nobody_lives_by_nonsense),
                                       cmocka_unit_test(urls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
