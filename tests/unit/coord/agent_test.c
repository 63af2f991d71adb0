/* Goal: the agent delivers every change soon, carries out jobs, lives through a store that fails
 * and comes back; over each back end. */
#include "tests/unit/coord/backends.h"

#include "proto/base/clock.h"
#include "proto/coord/applied.h"
#include "proto/coord/entry.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static pthread_mutex_t mtx = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static struct fb_cluster_state *now;
static unsigned deliveries, jobs;

static void changed(void *arg, struct fb_cluster_state *s)
{
    (void)arg;
    pthread_mutex_lock(&mtx);
    fb_cluster_state_put(now);
    now = s;
    deliveries++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mtx);
}

#define WAIT_FOR(expr)                                                                             \
    do {                                                                                           \
        uint64_t until_ = fb_mono_ns() + UINT64_C(20000000000);                                    \
        pthread_mutex_lock(&mtx);                                                                  \
        while (!(expr)) {                                                                          \
            struct timespec ts_;                                                                   \
            clock_gettime(CLOCK_REALTIME, &ts_);                                                   \
            ts_.tv_sec += 1;                                                                       \
            (void)pthread_cond_timedwait(&cond, &mtx, &ts_);                                       \
            if (fb_mono_ns() > until_)                                                             \
                fail_msg("waited in vain for %s", #expr);                                          \
        }                                                                                          \
        pthread_mutex_unlock(&mtx);                                                                \
    } while (0)

static void job(void *arg, struct fb_coord *c)
{
    struct fb_err err;
    if (fb_coord_cas(c, "control/sync", UINT64_MAX, fb_bytes_str(arg), NULL, &err) != FB_OK)
        abort();
    pthread_mutex_lock(&mtx);
    jobs++;
    pthread_mutex_unlock(&mtx);
}

static void nothing(void *arg, struct fb_coord *c)
{
    (void)arg;
    (void)c;
    pthread_mutex_lock(&mtx);
    jobs++;
    pthread_mutex_unlock(&mtx);
}

static void agent_follows_the_store(void **state)
{
    char paused[] = "{\"namespaces\": [\"user\"]}";
    const char *url = ((const struct place *)*state)->url;
    struct fb_coord *c, *other;
    struct fb_agent *a;
    struct fb_cluster_state *s;
    struct fb_part_record rec = {
        .epoch = 1, .primary = {.node = "n1", .inc = 5}, .isr_count = 1, .min_isr = 1};
    struct fb_member_info m = {.kind = FB_MEMBER_NODE,
                               .name = "n1",
                               .listen = "tcp://127.0.0.1:7400",
                               .inc = 5,
                               .weight = 100};
    struct fb_buf b = {0};
    struct fb_err err;

    now = NULL;
    deliveries = jobs = 0;
    assert_int_equal(fb_coord_open(url, true, &c, &err), FB_OK);
    assert_int_equal(fb_coord_open(url, true, &other, &err), FB_OK);
    assert_int_equal(fb_cluster_state_read(c, &s, &err), FB_ENOENT);
    assert_int_equal(fb_agent_start(c, changed, NULL, &a, &err), FB_ENOENT);
    assert_int_equal(fb_cluster_init(c, 16, &err), FB_OK);
    assert_int_equal(fb_cluster_init(other, 32, &err), FB_OK); /* is there already */
    if (fb_agent_start(c, changed, NULL, &a, &err) != FB_OK)
        fail_msg("%s", err.msg);
    pthread_mutex_lock(&mtx); /* the agent's thread may bring the next one at any time */
    assert_int_equal(deliveries, 1);
    assert_int_equal(now->map->partitions, 16);
    assert_int_equal(now->namespaces->count, 1);
    pthread_mutex_unlock(&mtx);

    rec.isr[0] = rec.primary;
    fb_part_record_encode(&b, &rec);
    assert_int_equal(fb_coord_cas(other, "part/3", 0, fb_buf_view(&b), NULL, &err), FB_OK);
    WAIT_FOR(now->map->parts[3].epoch == 1);
    pthread_mutex_lock(&mtx);
    assert_true(now->map->part_revs[3] > 0);
    assert_string_equal(now->map->parts[3].primary.node, "n1");
    pthread_mutex_unlock(&mtx);

    fb_buf_clear(&b);
    fb_member_info_encode(&b, &m);
    {
        struct fb_coord_op op = {.key = "node/n1", .value = fb_buf_view(&b), .session = true};
        assert_int_equal(fb_coord_session(other, "node/n1", &err), FB_OK);
        assert_int_equal(fb_coord_txn(other, &op, 1, NULL, &err), FB_OK);
    }
    WAIT_FOR(now->map->member_count == 1 && now->map->members[0].alive);
    fb_coord_close(other); /* the process ends: only liveness changes */
    WAIT_FOR(!now->map->members[0].alive);

    assert_int_equal(fb_agent_run(a, job, paused), FB_OK);
    WAIT_FOR(fb_cluster_state_paused(now, "user"));
    assert_false(fb_cluster_state_paused(now, "session"));
    assert_int_equal(fb_coord_cas(c, "schema/user", 0, fb_bytes_str("{nonsense"), NULL, &err),
                     FB_OK);
    WAIT_FOR(now->schema_count == 1);
    assert_true(fb_cluster_state_schema(now, "user")->problem[0] != '\0');
    assert_null(fb_cluster_state_schema(now, "session"));

    store_away(*state);
    WAIT_FOR(!fb_agent_up(a));
    store_back(*state);
    WAIT_FOR(fb_agent_up(a));
    for (int i = 0; i < 100; i++)
        assert_int_equal(fb_agent_run(a, nothing, NULL), FB_OK);
    fb_agent_stop(a);
    assert_int_equal(jobs, 101);
    fb_cluster_state_put(now);
    fb_coord_close(c);
    fb_buf_fini(&b);
}

static void wait_for_text(struct fb_coord *c, const char *key, const char *text)
{
    for (uint64_t until = fb_mono_ns() + UINT64_C(20000000000);;) {
        struct fb_buf v = {0};
        struct fb_err err;
        bool same;
        assert_int_equal(fb_coord_get(c, key, &v, NULL, &err), FB_OK);
        same = fb_bytes_equal(fb_buf_view(&v), fb_bytes_str(text));
        fb_buf_fini(&v);
        if (same)
            return;
        if (fb_mono_ns() > until)
            fail_msg("%s never became %s again", key, text);
        sched_yield();
    }
}

/* A transaction of the incarnation before is carried out late: its entry takes the place of the
 * living one's, which the agent writes again, both the member and what it runs. */
static void agent_keeps_its_entries(void **state)
{
    const struct place *place = *state;
    struct fb_coord *c = must_open(place), *before = must_open(place);
    struct fb_agent *a;
    struct fb_entry *e = NULL;
    struct fb_applied *applied;
    struct fb_member_info m = {.kind = FB_MEMBER_SYNC, .name = "s1", .inc = 7, .weight = 100};
    struct fb_buf old = {0}, mine = {0};
    struct fb_err err;

    assert_int_equal(fb_cluster_init(c, 16, &err), FB_OK);
    assert_int_not_equal(fb_entry_of_member(c, &m, &e, &err), FB_OK); /* no session */
    assert_null(e);
    assert_int_equal(fb_coord_session(c, "sync/s1", &err), FB_OK);
    now = NULL;
    assert_int_equal(fb_agent_start(c, changed, NULL, &a, &err), FB_OK);
    assert_int_equal(fb_entry_of_member(c, &m, &e, &err), FB_OK);
    applied = fb_applied_new(c, FB_MEMBER_SYNC, "s1", m.inc, 1);
    fb_agent_enter(a, e);
    fb_agent_report(a, applied);
    fb_applied_took(applied, 0, 3);
    WAIT_FOR(now->map->member_count == 1 && now->map->members[0].inc == 7);

    fb_member_info_encode(&mine, &m);
    fb_buf_put_u8(&mine, 0);
    m.inc = 6;
    fb_member_info_encode(&old, &m);
    {
        struct fb_coord_op ops[] = {
            {.key = "applied/sync/s1", .rev = UINT64_MAX, .value = fb_bytes_str("{}")},
            {.key = "sync/s1", .rev = UINT64_MAX, .value = fb_buf_view(&old)}};
        assert_int_equal(fb_coord_txn(before, ops, 2, NULL, &err), FB_OK);
    }
    wait_for_text(before, "sync/s1", (const char *)mine.p);
    wait_for_text(before, "applied/sync/s1", "{\"config\": 3, \"inc\": \"0000000000000007\"}");
    fb_agent_stop(a);
    fb_entry_free(e);
    fb_applied_free(applied);
    fb_cluster_state_put(now);
    fb_coord_close(before);
    fb_coord_close(c);
    fb_buf_fini(&old);
    fb_buf_fini(&mine);
}

int main(void)
{
    const struct CMUnitTest file[] = {
        cmocka_unit_test_setup_teardown(agent_follows_the_store, file_setup, file_teardown),
        cmocka_unit_test_setup_teardown(agent_keeps_its_entries, file_setup, file_teardown)};
    const struct CMUnitTest etcd[] = {
        cmocka_unit_test_setup_teardown(agent_follows_the_store, etcd_setup, etcd_teardown),
        cmocka_unit_test_setup_teardown(agent_keeps_its_entries, etcd_setup, etcd_teardown)};
    int failed = cmocka_run_group_tests_name("file", file, NULL, NULL);

    return failed +
           cmocka_run_group_tests_name("etcd", etcd, etcd_group_setup, etcd_group_teardown);
}
