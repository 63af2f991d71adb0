/* Goal: a handle, its session and its watch take nothing from answers that make no sense, are old
 * or another etcd's, go on by themselves, and bear it when libcurl fails. Method: prepared answers,
 * one after the other; calls of libcurl that fail. Without etcd. */
#include "tests/unit/coord/scripted.h"

#include "proto/base/base64.h"
#include "proto/coord/coord.h"
#include "proto/coord/etcd_session.h"
#include "proto/coord/etcd_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- calls of libcurl that fail ---- */

static bool no_easy, no_multi, no_add, no_perform, no_start;

CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void)
{
    return no_easy ? NULL : __real_curl_easy_init();
}

CURLM *__real_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void);
CURLM *__wrap_curl_multi_init(void)
{
    return no_multi ? NULL : __real_curl_multi_init();
}

CURLMcode __real_curl_multi_add_handle(CURLM *m, CURL *e);
CURLMcode __wrap_curl_multi_add_handle(CURLM *m, CURL *e);
CURLMcode __wrap_curl_multi_add_handle(CURLM *m, CURL *e)
{
    return no_add ? CURLM_OUT_OF_MEMORY : __real_curl_multi_add_handle(m, e);
}

CURLMcode __real_curl_multi_perform(CURLM *m, int *running);
CURLMcode __wrap_curl_multi_perform(CURLM *m, int *running);
CURLMcode __wrap_curl_multi_perform(CURLM *m, int *running)
{
    return no_perform ? CURLM_OUT_OF_MEMORY : __real_curl_multi_perform(m, running);
}

CURLcode __real_curl_global_init(long flags);
CURLcode __wrap_curl_global_init(long flags);
CURLcode __wrap_curl_global_init(long flags)
{
    return no_start ? CURLE_FAILED_INIT : __real_curl_global_init(flags);
}

static struct scripted server;

static int group_setup(void **state)
{
    (void)state;
    scripted_start(&server);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    scripted_stop(&server);
    return 0;
}

static const char *url(void)
{
    static char text[64];
    (void)snprintf(text, sizeof(text), "etcd://127.0.0.1:%u/m", server.port);
    return text;
}

/* ---- a handle ---- */

static struct fb_coord *open_at_5(void)
{
    struct fb_coord *c;
    struct fb_err err;

    scripted_add(&server, SCRIPTED_ANSWER, 200, HEADER(7, 5) "}");
    if (fb_coord_open(url(), true, &c, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return c;
}

static void does_not_open(void **state)
{
    static const struct {
        const char *answer;
        enum fb_status want;
    } t[] = {{"[]", FB_EPROTO},
             {"{}", FB_EPROTO},
             {HEADER(7, x) "}", FB_EPROTO},
             {HEADER(7, 5) ",\"kvs\":[{\"mod_revision\":\"0\"}]}", FB_EPROTO}};
    struct fb_coord *c;
    struct fb_err err;

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        scripted_add(&server, SCRIPTED_ANSWER, 200, t[i].answer);
        assert_int_equal(fb_coord_open(url(), true, &c, &err), t[i].want);
        assert_non_null(strstr(err.msg, "is it etcd 3.4 or newer"));
    }
    assert_int_equal(fb_coord_open("etcd://127.0.0.1:99999/m", true, &c, &err), FB_EINVAL);
    assert_int_equal(fb_coord_open("etcd://127.0.0.1:1/m", true, &c, &err), FB_ECLOSED);
    no_easy = true;
    assert_int_equal(fb_coord_open(url(), true, &c, &err), FB_ENOMEM);
    no_easy = false;
    no_multi = true;
    assert_int_equal(fb_coord_open(url(), true, &c, &err), FB_ENOMEM);
    no_multi = false;
}

/* An older or another etcd answers: nothing of it is taken, and a write may have been done there.
 */
static void nothing_goes_back(void **state)
{
    static const struct {
        const char *header;
        enum fb_status want;
        const char *text;
    } t[] = {{HEADER(7, 4), FB_ESTALE, "went back from revision 5 to 4"},
             {HEADER(8, 6), FB_EFOREIGN, "another etcd cluster"},
             {"{\"header\":{}", FB_ESTALE, NULL},
             {"{", FB_EPROTO, "is it etcd 3.4"}};
    static char get[256], list[256], put[256];

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        struct fb_coord *c = open_at_5();
        struct fb_coord_list l;
        struct fb_buf v = {0};
        struct fb_err err = {0};
        uint64_t rev = 99;
        bool foreign = i == 2; /* a header without a cluster is of another one */
        (void)snprintf(get, sizeof(get),
                       "%s,\"kvs\":[{\"mod_revision\":\"3\",\"value\":\"dg==\"}]}", t[i].header);
        scripted_add(&server, SCRIPTED_ANSWER, 200, get);
        assert_int_equal(fb_coord_get(c, "k", &v, &rev, &err), foreign ? FB_EFOREIGN : t[i].want);
        assert_true(v.n == 0 && rev == 99);
        if (t[i].text != NULL)
            assert_non_null(strstr(err.msg, t[i].text));
        (void)snprintf(list, sizeof(list),
                       "%s,\"succeeded\":true,\"responses\":[{\"response_range\":{}},"
                       "{\"response_range\":{}}]}",
                       t[i].header);
        scripted_add(&server, SCRIPTED_ANSWER, 200, list);
        assert_int_equal(fb_coord_list(c, "", &l, &err), foreign ? FB_EFOREIGN : t[i].want);
        assert_true(l.count == 0 && l.kv == NULL);
        (void)snprintf(put, sizeof(put), "%s,\"succeeded\":true}", t[i].header);
        scripted_add(&server, SCRIPTED_ANSWER, 200, put);
        assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("v"), &rev, &err), FB_EUNKNOWN);
        assert_int_equal(rev, 99);
        scripted_add(&server, SCRIPTED_ANSWER, 200, HEADER(7, 6) ",\"succeeded\":true}");
        assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("v"), &rev, &err), FB_OK);
        assert_int_equal(rev, 6);
        fb_buf_fini(&v);
        fb_coord_close(c);
    }
}

static void lists_that_make_no_sense(void **state)
{
    /* /forebay/m/a is L2ZvcmViYXkvbS9h, b ends in Yg==. */
#define KV(key) "{\"key\":\"" key "\",\"mod_revision\":\"1\",\"value\":\"dg==\"}"
#define LIST(kvs)                                                                                  \
    HEADER(7, 6)                                                                                   \
    ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[" kvs                        \
    "]}},{\"response_range\":{}}]}"
    static const struct {
        const char *answer;
        enum fb_status want;
    } t[] = {{LIST(KV("L2ZvcmViYXkvbS9i") "," KV("L2ZvcmViYXkvbS9h")), FB_EPROTO},
             {LIST(KV("L2ZvcmViYXkvbS9h") "," KV("L2ZvcmViYXk=")), FB_ECORRUPT},
             {LIST("{\"key\":\"L2ZvcmViYXkvbS9h\",\"mod_revision\":\"1\",\"value\":\"/w==\"}"),
              FB_ECORRUPT},
             {HEADER(7, 6) ",\"succeeded\":true,\"responses\":[]}", FB_EPROTO}};
    struct fb_coord *c = open_at_5();
    struct fb_coord_list l;
    struct fb_err err;

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        scripted_add(&server, SCRIPTED_ANSWER, 200, t[i].answer);
        assert_int_equal(fb_coord_list(c, "", &l, &err), t[i].want);
        assert_true(l.count == 0 && l.kv == NULL);
    }
    fb_coord_close(c);
}

/* ---- sessions ---- */

#define GRANT HEADER(7, 5) ",\"ID\":\"77\",\"TTL\":\"5\"}"
#define TAKEN HEADER(7, 6) ",\"succeeded\":true}"
#define HELD(value)                                                                                \
    HEADER(7, 6)                                                                                   \
    ",\"responses\":[{\"response_range\":{\"kvs\":[{\"mod_revision\":\"3\",\"value\":\"" value     \
    "\"}]}}]}"

static void a_session_does_not_start(void **state)
{
    static const struct {
        const char *grant, *take;
        int http;
        enum fb_status want;
    } t[] = {{"{}", NULL, 0, FB_EPROTO},
             {HEADER(8, 5) ",\"ID\":\"77\",\"TTL\":\"5\"}", NULL, 0, FB_EFOREIGN},
             {GRANT, "{", 200, FB_EPROTO},
             {GRANT, HEADER(8, 6) ",\"succeeded\":true}", 200, FB_EFOREIGN},
             {GRANT, REFUSAL(8, "no space"), 429, FB_EREFUSED}};
    struct fb_coord *c = open_at_5();
    struct fb_coord_op op = {
        .key = "k", .rev = UINT64_MAX, .value = fb_bytes_str("v"), .session = true};
    struct fb_err err;
    uint64_t rev;

    (void)state;
    assert_int_equal(fb_coord_txn(c, &op, 1, &rev, &err), FB_EINVAL); /* nobody is asked */
    assert_non_null(strstr(err.msg, "none was started"));
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        scripted_add(&server, SCRIPTED_ANSWER, 200, t[i].grant);
        if (t[i].take != NULL)
            scripted_add(&server, SCRIPTED_ANSWER, t[i].http, t[i].take);
        assert_int_equal(fb_coord_session(c, "node/n", &err), t[i].want);
        scripted_wait(&server);
    }
    scripted_add(&server, SCRIPTED_ANSWER, 503, "later"); /* a grant is asked for once more */
    assert_int_equal(fb_coord_session(c, "node/n", &err), FB_ETIMEOUT);
    fb_coord_close(c);
}

/* What became of taking the name is not known, then somebody is there who has ended; then the
 * lease runs out, is not granted, the name is another's, and it is ours again. At the end it cannot
 * be given back. */
static void a_session_is_kept(void **state)
{
    struct fb_coord *c = open_at_5();
    struct fb_err err;
    static char held[512], mine[256];

    (void)state;
    /* "0 host boot pid start" of this host, with a start that no process has */
    {
        char boot[64] = "", host[65] = "", line[256];
        FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
        struct fb_buf b = {0};
        assert_non_null(f);
        assert_non_null(fgets(boot, sizeof(boot), f));
        fclose(f);
        boot[strcspn(boot, "\n")] = '\0';
        assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
        (void)snprintf(line, sizeof(line), "0 %s %s %d 1", host, boot, (int)getpid());
        fb_base64_put(&b, fb_bytes_str(line));
        fb_buf_put_u8(&b, 0);
        (void)snprintf(mine, sizeof(mine), "%s", (const char *)b.p);
        fb_buf_fini(&b);
    }
    (void)snprintf(held, sizeof(held),
                   HEADER(7, 6) ",\"responses\":[{\"response_range\":{\"kvs\":[{\"mod_revision\":"
                                "\"3\",\"value\":\"%s\"}]}}]}",
                   mine);
    scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
    scripted_add(&server, SCRIPTED_CLOSE, 0, "");
    scripted_add(&server, SCRIPTED_ANSWER, 200, held);
    scripted_add(&server, SCRIPTED_ANSWER, 200, TAKEN);
    if (fb_coord_session(c, "node/n", &err) != FB_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(fb_coord_session(c, "node/n", &err), FB_EBUSY);
    scripted_add(&server, SCRIPTED_ANSWER, 503, "later");
    scripted_add(&server, SCRIPTED_ANSWER, 200,
                 "{\"result\":" HEADER(7, 6) ",\"ID\":\"77\"}}"); /* no time left */
    scripted_add(&server, SCRIPTED_ANSWER, 503, "later");         /* the grant */
    scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
    scripted_add(&server, SCRIPTED_ANSWER, 200, HELD("eCB5IHogMSAx"));
    scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
    scripted_add(&server, SCRIPTED_ANSWER, 200, TAKEN);
    scripted_wait(&server);
    scripted_add(&server, SCRIPTED_ANSWER, 503, "later"); /* of the end, or of keeping it before */
    fb_coord_close(c);
}

/* ---- the watch ---- */

static void watches_that_end(void **state)
{
    static const struct {
        enum scripted_how how;
        int http;
        const char *body;
    } t[] = {
        {SCRIPTED_ANSWER, 401, REFUSAL(16, "etcdserver: invalid auth token")},
        {SCRIPTED_STREAM, 200, "\nnonsense\n"},
        {SCRIPTED_STREAM, 200,
         "{\"result\":{\"canceled\":true,\"cancel_reason\":\"permission denied\"}}\n"},
        {SCRIPTED_STREAM, 200, "{\"result\":{\"canceled\":true}}\n"},
        {SCRIPTED_STREAM, 200, "{\"error\":{\"message\":\"auth: gone\"}}\n"},
        {SCRIPTED_STREAM, 200, "{\"result\":{\"events\":[{\"kv\":{}}]}}\n"},
        {SCRIPTED_ENDLESS, 200, ""},
        {SCRIPTED_CLOSE, 200, ""},
    };
    struct etcd_shared s;
    struct etcd_watch w;
    struct fb_err err;

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        assert_int_equal(etcd_shared_init(&s, url(), &err), FB_OK);
        assert_int_equal(etcd_watch_init(&w, &s, &err), FB_OK);
        snprintf(s.token, sizeof(s.token), "old");
        scripted_add(&server, t[i].how, t[i].http, t[i].body);
        assert_int_equal(etcd_watch_wait(&w, 5, 20000), FB_OK); /* look again */
        scripted_wait(&server);
        assert_string_equal(s.token, i == 0 || i == 2 || i == 4 ? "" : "old");
        etcd_watch_fini(&w);
        etcd_shared_fini(&s);
    }
}

/* What libcurl cannot do now it is asked for again a second later. */
static void watches_that_do_not_begin(void **state)
{
    bool *const calls[] = {&no_easy, &no_add, &no_perform};
    struct etcd_shared s;
    struct etcd_watch w;
    struct fb_err err;

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(calls); i++) {
        assert_int_equal(etcd_shared_init(&s, url(), &err), FB_OK);
        assert_int_equal(etcd_watch_init(&w, &s, &err), FB_OK);
        *calls[i] = true;
        assert_int_equal(etcd_watch_wait(&w, 5, 50), calls[i] == &no_perform ? FB_OK : FB_ETIMEOUT);
        *calls[i] = false;
        scripted_add(&server, SCRIPTED_STREAM, 200,
                     "{\"result\":{\"events\":[{\"kv\":{\"mod_revision\":\"6\"}}]}}\n");
        assert_int_equal(etcd_watch_wait(&w, 5, 20000), FB_OK);
        assert_int_equal(w.revision, 6);
        etcd_watch_fini(&w);
        etcd_shared_fini(&s);
    }
}

/* Before all others: libcurl starts once in a process. */
static void libcurl_does_not_start(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        struct etcd_shared s;
        struct fb_err err;
        no_start = true;
        _exit(etcd_shared_init(&s, "etcd://127.0.0.1:1/m", &err) == FB_ENOMEM ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libcurl_does_not_start),   cmocka_unit_test(does_not_open),
        cmocka_unit_test(nothing_goes_back),        cmocka_unit_test(lists_that_make_no_sense),
        cmocka_unit_test(a_session_does_not_start), cmocka_unit_test(a_session_is_kept),
        cmocka_unit_test(watches_that_end),         cmocka_unit_test(watches_that_do_not_begin),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
