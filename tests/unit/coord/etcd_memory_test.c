/* Goal: memory that libcurl or we do not get costs a call, which is told so, and the next one
 * works. Method: prepared answers; calls of libcurl that fail, and what may be refused is refused
 * (crash/refuse.h). Without etcd. */
#include "tests/unit/coord/scripted.h"
#include "tests/unit/crash/refuse.h"

#include "proto/coord/coord.h"
#include "proto/coord/etcd_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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

static void no_handle(void **state)
{
    struct fb_coord *c;
    struct fb_err err;

    (void)state;
    no_easy = true;
    assert_int_equal(fb_coord_open(scripted_url(&server), true, &c, &err), FB_ENOMEM);
    no_easy = false;
    no_multi = true;
    assert_int_equal(fb_coord_open(scripted_url(&server), true, &c, &err), FB_ENOMEM);
    no_multi = false;
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
        assert_int_equal(etcd_shared_init(&s, scripted_url(&server), &err), FB_OK);
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

/* An answer that there is no memory for is none: what was to be read is read at the next try, and
 * of what was to be written nobody knows; the watch is begun again. */
static void answers_without_memory(void **state)
{
    struct fb_coord *c = scripted_open(&server);
    struct etcd_shared s;
    struct etcd_watch w;
    struct fb_buf v = {0};
    struct fb_err err = {0};
    uint64_t rev = 99;

    (void)state;
    for (int there = 0; there < 2; there++) {
        refuse_above(there ? REFUSE_NOTHING : 0);
        scripted_add(&server, SCRIPTED_ANSWER, 200,
                     HEADER(7, 5) ",\"kvs\":[{\"mod_revision\":\"3\",\"value\":\"dg==\"}]}");
        assert_int_equal(fb_coord_get(c, "k", &v, &rev, &err), there ? FB_OK : FB_ETIMEOUT);
        if (!there)
            assert_non_null(strstr(err.msg, "there is no memory for it"));
        scripted_add(&server, SCRIPTED_ANSWER, 200, HEADER(7, 6) ",\"succeeded\":true}");
        assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("v"), NULL, &err),
                         there ? FB_OK : FB_EUNKNOWN);
        assert_int_equal(refuse_done() > 0, !there);
        assert_int_equal(rev, there ? 3 : 99);
    }
    fb_buf_fini(&v);
    fb_coord_close(c);

    assert_int_equal(etcd_shared_init(&s, scripted_url(&server), &err), FB_OK);
    assert_int_equal(etcd_watch_init(&w, &s, &err), FB_OK);
    for (int there = 0; there < 2; there++) {
        refuse_above(there ? REFUSE_NOTHING : 0);
        scripted_add(&server, SCRIPTED_STREAM, 200,
                     "{\"result\":{\"events\":[{\"kv\":{\"mod_revision\":\"6\"}}]}}\n");
        assert_int_equal(etcd_watch_wait(&w, 5, 20000), FB_OK); /* look again */
        assert_int_equal(w.revision, there ? 6 : 0);
        assert_int_equal(refuse_done() > 0, !there);
    }
    etcd_watch_fini(&w);
    etcd_shared_fini(&s);
}

/* Before all others: libcurl starts once in a process, and a child may only be made while there is
 * one thread, as another may hold a lock of the sanitizer's allocator. */
static void libcurl_does_not_start(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct etcd_shared s;
        struct fb_err err;
        no_start = true;
        exit(etcd_shared_init(&s, "etcd://127.0.0.1:1/m", &err) == FB_ENOMEM ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest alone[] = {cmocka_unit_test(libcurl_does_not_start)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_handle),
        cmocka_unit_test(watches_that_do_not_begin),
        cmocka_unit_test(answers_without_memory),
    };
    return cmocka_run_group_tests(alone, NULL, NULL) +
           cmocka_run_group_tests(tests, group_setup, group_teardown);
}
