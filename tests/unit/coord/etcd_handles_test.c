/* Goal: a handle, its session and its watch take nothing from answers that make no sense, are old
 * or another etcd's, and go on by themselves. Method: prepared answers, one after the other.
 * Without etcd. */
#include "tests/unit/coord/scripted.h"

#include "proto/base/base64.h"
#include "proto/coord/coord.h"
#include "proto/coord/etcd_session.h"
#include "proto/coord/etcd_watch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the host's name, the clock and the random numbers ---- */

static const char *host_name; /* NULL: its own */
static bool no_name;
static atomic_uint_fast64_t fast_ns, ahead_ns; /* so much is added with each look at the clock */
static bool known_token;

int __real_gethostname(char *name, size_t n);
int __wrap_gethostname(char *name, size_t n);
int __wrap_gethostname(char *name, size_t n)
{
    if (no_name)
        errno = EPERM;
    else if (host_name != NULL)
        (void)snprintf(name, n, "%s", host_name);
    else
        return __real_gethostname(name, n);
    return no_name ? -1 : 0;
}

/* What /proc tells: of a process (`stat`), or of the boot. */
static int no_stat, no_boot, no_line; /* errno of opening one of these, of reading a line */
static const char *strange_line;

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
    int why = strstr(path, "/stat") != NULL ? no_stat : strstr(path, "boot_id") ? no_boot : 0;

    if (why == 0)
        return __real_fopen(path, mode);
    errno = why;
    return NULL;
}

char *__real_fgets(char *s, int n, FILE *f);
char *__wrap_fgets(char *s, int n, FILE *f);
char *__wrap_fgets(char *s, int n, FILE *f)
{
    if (no_line != 0) {
        errno = no_line;
        return NULL;
    }
    if (strange_line == NULL)
        return __real_fgets(s, n, f);
    (void)snprintf(s, (size_t)n, "%s", strange_line);
    return s;
}

uint64_t __real_fb_mono_ns(void);
uint64_t __wrap_fb_mono_ns(void);
uint64_t __wrap_fb_mono_ns(void)
{
    return __real_fb_mono_ns() + atomic_fetch_add(&ahead_ns, atomic_load(&fast_ns));
}

uint64_t __real_fb_random_u64(void);
uint64_t __wrap_fb_random_u64(void);
uint64_t __wrap_fb_random_u64(void)
{
    return known_token ? 1 : __real_fb_random_u64();
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

/* ---- a handle ---- */

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
        assert_int_equal(fb_coord_open(scripted_url(&server), true, &c, &err), t[i].want);
        assert_non_null(strstr(err.msg, "is it etcd 3.4 or newer"));
    }
    assert_int_equal(fb_coord_open("etcd://127.0.0.1:99999/m", true, &c, &err), FB_EINVAL);
    assert_int_equal(fb_coord_open("etcd://127.0.0.1:1/m", true, &c, &err), FB_ECLOSED);
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
        struct fb_coord *c = scripted_open(&server);
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
    struct fb_coord *c = scripted_open(&server);
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
    struct fb_coord *c = scripted_open(&server);
    struct fb_coord_op ops[] = {
        {.key = "k", .rev = UINT64_MAX, .value = fb_bytes_str("v"), .session = true},
        {.key = "l", .rev = UINT64_MAX, .value = fb_bytes_str("v"), .session = true}};
    struct fb_err err;
    uint64_t rev;

    (void)state;
    assert_int_equal(fb_coord_txn(c, ops, 2, &rev, &err), FB_EINVAL); /* nobody is asked */
    assert_non_null(strstr(err.msg, "k is to be bound to a session, but none was started"));
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

#define ELSEWHERE HELD("eCB5IHogMSAx") /* x y z 1 1: process 1 of host y */

/* When this process began, in ticks. */
static unsigned long long began(void)
{
    char text[1024] = "";
    unsigned long long start = 0;
    FILE *f = fopen("/proc/self/stat", "re");

    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    assert_int_equal(sscanf(strrchr(text, ')'),
                            ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                            "%*s %*s %*s %llu",
                            &start),
                     1);
    return start;
}

/* The name is held by this process's number on this host (or the host of that name), of this boot
 * or that, which began at `start`: "token host boot pid start". Valid until the next call. */
static const char *held_since(const char *token, const char *host, const char *boot,
                              unsigned long long start)
{
    static char held[512];
    char own[65] = "", line[256];
    struct fb_buf b = {0};

    if (host == NULL) {
        assert_int_equal(gethostname(own, sizeof(own) - 1), 0);
        host = own;
    }
    (void)snprintf(line, sizeof(line), "%s %s %s %d %llu", token, host, boot, (int)getpid(), start);
    fb_base64_put(&b, fb_bytes_str(line));
    fb_buf_put_u8(&b, 0);
    (void)snprintf(held, sizeof(held), HELD("%s"), (const char *)b.p);
    fb_buf_fini(&b);
    return held;
}

static const char *held_here(const char *token, const char *host, unsigned long long start)
{
    char boot[64] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    assert_non_null(f);
    assert_non_null(fgets(boot, sizeof(boot), f));
    fclose(f);
    boot[strcspn(boot, "\n")] = '\0';
    return held_since(token, host, boot, start);
}

/* A session that starts, with these answers to its tries to take the name. */
static void starts_with(const char *first, const char *second)
{
    struct fb_coord *c = scripted_open(&server);
    struct fb_err err = {0};

    scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
    scripted_add(&server, first != NULL ? SCRIPTED_ANSWER : SCRIPTED_CLOSE, 200,
                 first != NULL ? first : "");
    scripted_add(&server, SCRIPTED_ANSWER, 200, second);
    if (fb_coord_session(c, "node/n", &err) != FB_OK)
        fail_msg("%s", err.msg);
    scripted_wait(&server);
    scripted_add(&server, SCRIPTED_ANSWER, 200, HEADER(7, 6) "}"); /* it is given back */
    fb_coord_close(c);
}

/* The name was taken by a try that got no answer: it is ours, and nobody is asked to go. */
static void a_try_without_an_answer_was_carried_out(void **state)
{
    (void)state;
    known_token = true;
    starts_with(NULL, held_here("0000000000000001", NULL, began()));
    known_token = false;
}

/* A host that does not tell its name has one all the same, by which its ended processes are known.
 */
static void a_host_without_a_name(void **state)
{
    (void)state;
    no_name = true;
    starts_with(held_here("0", "-", 1), TAKEN);
    no_name = false;
    host_name = "";
    starts_with(held_here("0", "-", 1), TAKEN);
    host_name = NULL;
}

/* Twice the time a lease lasts is waited for an answer, and for a process of another host to end;
 * the own lease is a new one meanwhile. Method: a clock that is fast. */
static void a_start_does_not_wait_for_ever(void **state)
{
    static const char *const elsewhere[] = {GRANT, ELSEWHERE, ELSEWHERE, GRANT, ELSEWHERE};
    struct fb_coord *c = scripted_open(&server);
    struct fb_err err;

    (void)state;
    scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
    for (int i = 0; i < 3; i++)
        scripted_add(&server, SCRIPTED_ANSWER, 503, "later");
    atomic_store(&fast_ns, 900000000);
    assert_int_equal(fb_coord_session(c, "node/n", &err), FB_EUNKNOWN);
    assert_non_null(strstr(err.msg, "is not known"));
    scripted_wait(&server);
    atomic_store(&fast_ns, 700000000);
    for (size_t i = 0; i < FB_COUNT_OF(elsewhere); i++)
        scripted_add(&server, SCRIPTED_ANSWER, 200, elsewhere[i]);
    assert_int_equal(fb_coord_session(c, "node/n", &err), FB_EBUSY);
    assert_non_null(strstr(err.msg, "is running already, as process 1 on host y"));
    atomic_store(&fast_ns, 0);
    scripted_wait(&server);
    fb_coord_close(c);
}

/* A process of this host that has ended is known by that; one of which nothing can be found out, as
 * when there is no descriptor left, is not called ended: it may well run. */
static void a_holder_that_cannot_be_looked_at(void **state)
{
    static const struct {
        int *call, why;
        const char *line;
    } t[] = {{&no_stat, EMFILE, NULL}, {&no_line, EIO, NULL}, {NULL, 0, "none"}, {NULL, 0, ") S"}};
    struct fb_coord *c = scripted_open(&server);
    struct fb_err err;

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        const char *held =
            t[i].call == &no_stat ? held_here("0", NULL, 1) : held_since("0", NULL, "-", 1);
        scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
        for (int again = 0; again < 2; again++)
            scripted_add(&server, SCRIPTED_ANSWER, 200, held);
        scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
        scripted_add(&server, SCRIPTED_ANSWER, 200, held);
        if (t[i].call != NULL)
            *t[i].call = t[i].why;
        else
            no_boot = EMFILE;
        strange_line = t[i].line;
        atomic_store(&fast_ns, 700000000);
        assert_int_equal(fb_coord_session(c, "node/n", &err), FB_EBUSY);
        assert_non_null(strstr(err.msg, "is running already"));
        atomic_store(&fast_ns, 0);
        no_stat = no_line = no_boot = 0;
        strange_line = NULL;
        scripted_wait(&server);
    }
    fb_coord_close(c);
    no_stat = ENOENT;
    starts_with(held_here("0", NULL, 1), TAKEN);
    no_stat = 0;
    no_line = ESRCH; /* the boot's line is not read either */
    starts_with(held_since("0", NULL, "-", 1), TAKEN);
    no_line = 0;
}

/* What became of taking the name is not known, then somebody is there who has ended; then the
 * lease runs out, is not granted, the name is another's, and it is ours again. At the end it cannot
 * be given back. */
static void a_session_is_kept(void **state)
{
    struct fb_coord *c = scripted_open(&server);
    struct fb_err err;
    const char *held;

    (void)state;
    held = held_here("0", NULL, 1); /* a start that no process has */
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
    for (int i = 0; i < 2; i++) {
        scripted_add(&server, SCRIPTED_ANSWER, 200, ELSEWHERE);
        scripted_add(&server, SCRIPTED_ANSWER, 200, GRANT);
    }
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
        assert_int_equal(etcd_shared_init(&s, scripted_url(&server), &err), FB_OK);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_not_open),
        cmocka_unit_test(nothing_goes_back),
        cmocka_unit_test(lists_that_make_no_sense),
        cmocka_unit_test(a_session_does_not_start),
        cmocka_unit_test(a_session_is_kept),
        cmocka_unit_test(a_try_without_an_answer_was_carried_out),
        cmocka_unit_test(a_host_without_a_name),
        cmocka_unit_test(a_holder_that_cannot_be_looked_at),
        cmocka_unit_test(a_start_does_not_wait_for_ever),
        cmocka_unit_test(watches_that_end),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
