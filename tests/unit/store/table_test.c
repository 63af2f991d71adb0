/* Goal: readers never see a freed object, slots stay where they are, SIEVE evicts what was not
 * used. Method: threads read by key and by slot while the writer replaces, removes and retires;
 * freed objects are poisoned in debug builds (and caught by the address sanitizer). */
#include "node/store/object.h"

#include "proto/base/assert.h"
#include "proto/rt/rcu.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#define KEYS 2000u
#define WRITES 400000u

static struct store *store;
static _Atomic bool stop;

static void publish(struct store_writer *w, uint32_t k, uint64_t ver)
{
    char key[16];
    struct fb_bytes b = fb_bytes(key, (size_t)snprintf(key, sizeof key, "k%u", k));
    struct object *o = object_new(b, 0, 0, (uint16_t)(k % 4), 1, 64);
    memset(o->bytes + o->klen, (int)(ver & 0x7f), 64);
    o->ver = ver;
    store_publish(w, o, object_hash(b));
}

static void check(const struct object *o)
{
    struct fb_bytes v = object_value(o);
    fb_assert(o->klen <= 6 && o->vlen == 64 && o->ver != UINT64_MAX);
    for (size_t i = 0; i < v.n; i++)
        fb_assert(v.p[i] == (o->ver & 0x7f));
}

static void *reader_main(void *arg)
{
    uint32_t n = *(uint32_t *)arg;
    uint64_t *seen = arg;
    uint64_t reads = 0;
    rcu_register_thread();
    while (!atomic_load(&stop)) {
        char key[16];
        store_read_lock();
        for (int i = 0; i < 32; i++) {
            struct fb_bytes b;
            const struct object *o;
            n = n * 1664525 + 1013904223;
            b = fb_bytes(key, (size_t)snprintf(key, sizeof key, "k%u", (n >> 8) % KEYS));
            o = store_find(store, b, object_hash(b));
            if (o != NULL)
                check(o);
            o = slab_object(store_part(store, (uint16_t)(n >> 30)), (n >> 10) % KEYS);
            if (o != NULL)
                check(o);
            reads += 2;
        }
        store_read_unlock();
    }
    rcu_unregister_thread();
    *seen = reads;
    return NULL;
}

static void test_torture(void **state)
{
    struct fb_err err;
    struct store_writer *w;
    pthread_t threads[2];
    uint64_t args[2] = {1, 2};
    uint32_t n = 7;
    (void)state;
    assert_int_equal(store_new(4, 16, &store, &err), FB_OK);
    w = store_writer_new(store);
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, reader_main, &args[i]);
    for (uint64_t i = 1; i <= WRITES; i++) {
        uint32_t k = (n = n * 1664525 + 1013904223) >> 8;
        k %= KEYS;
        if (i % 4 == 0) {
            char key[16];
            struct fb_bytes b = fb_bytes(key, (size_t)snprintf(key, sizeof key, "k%u", k));
            struct object *o = store_find_own(store, b, object_hash(b));
            if (o != NULL)
                store_remove(w, o);
        } else {
            publish(w, k, i);
        }
        if (i % 64 == 0)
            store_writer_flush(w);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    print_message("%lu reads against %u writes\n", (unsigned long)(args[0] + args[1]), WRITES);
    assert_true(store_object_count(store) <= KEYS);
    store_writer_free(w);
    store_free(store);
}

/* The table resizes by a thread of its own, also while the store is taken down: removing objects
 * passes the counts at which it does. */
static void test_taken_down_while_the_table_resizes(void **state)
{
    struct fb_err err;
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct store_writer *w;
        assert_int_equal(store_new(4, 16, &store, &err), FB_OK);
        w = store_writer_new(store);
        for (uint32_t k = 0; k < 140000; k++)
            publish(w, k, k);
        store_writer_flush(w);
        store_writer_free(w);
        store_free(store);
    }
}

static void test_slots_stay(void **state)
{
    struct fb_err err;
    struct store_writer *w;
    struct object *o;
    uint32_t slot;
    (void)state;
    assert_int_equal(store_new(4, 16, &store, &err), FB_OK);
    w = store_writer_new(store);
    for (uint32_t k = 0; k < 1000; k++)
        publish(w, k, 1);
    o = store_find_own(store, fb_bytes_str("k500"), object_hash(fb_bytes_str("k500")));
    slot = o->slot;
    publish(w, 500, 2);
    o = store_find_own(store, fb_bytes_str("k500"), object_hash(fb_bytes_str("k500")));
    assert_int_equal(o->slot, slot);
    assert_int_equal(o->ver, 2);
    store_remove(w, o);
    assert_null(slab_object(store_part(store, 0), slot));
    publish(w, 500, 3); /* the free slot is taken again */
    assert_int_equal(slab_object(store_part(store, 0), slot)->ver, 3);
    assert_int_equal(store_object_count(store), 1000);
    assert_int_equal(atomic_load(&store_part(store, 1)->live), 250);
    store_writer_free(w);
    store_free(store);
}

static bool any(void *arg, const struct object *o)
{
    (void)arg;
    (void)o;
    return true;
}

static void test_sieve(void **state)
{
    struct fb_err err;
    struct store_writer *w;
    struct store_part *p;
    struct object *o;
    (void)state;
    assert_int_equal(store_new(4, 16, &store, &err), FB_OK);
    w = store_writer_new(store);
    p = store_part(store, 0);
    for (uint32_t k = 0; k < 40; k += 4) {
        publish(w, k, k);
        sieve_add(p, k / 4);
    }
    object_visit(slab_object(p, 0)); /* the oldest two were used */
    object_visit(slab_object(p, 1));
    o = sieve_victim(p, any, NULL, 100);
    assert_int_equal(o->ver, 8); /* the first that was not */
    sieve_remove(p, o->slot);
    store_remove(w, o);
    o = sieve_victim(p, any, NULL, 100); /* the hand goes on from there */
    assert_int_equal(o->ver, 12);
    assert_false(slab_object(p, 0)->visited);
    store_writer_free(w);
    store_free(store);
}

/* --- a table that cannot be had --- */

static bool no_table, no_thread;

struct cds_lfht *__real__cds_lfht_new(unsigned long n, unsigned long min, unsigned long max,
                                      int flags, const struct cds_lfht_mm_type *mm,
                                      const struct rcu_flavor_struct *flavor, pthread_attr_t *attr);
struct cds_lfht *__wrap__cds_lfht_new(unsigned long n, unsigned long min, unsigned long max,
                                      int flags, const struct cds_lfht_mm_type *mm,
                                      const struct rcu_flavor_struct *flavor, pthread_attr_t *attr);
struct cds_lfht *__wrap__cds_lfht_new(unsigned long n, unsigned long min, unsigned long max,
                                      int flags, const struct cds_lfht_mm_type *mm,
                                      const struct rcu_flavor_struct *flavor, pthread_attr_t *attr)
{
    return no_table ? NULL : __real__cds_lfht_new(n, min, max, flags, mm, flavor, attr);
}

int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    return no_thread ? EAGAIN : __real_pthread_create(t, attr, fn, arg);
}

/* A start without one ends with a message; nothing is left behind. */
static void test_no_table(void **state)
{
    struct store *s;
    struct fb_err err;
    (void)state;
    no_table = true;
    assert_int_equal(store_new(4, 0, &s, &err), FB_ENOMEM);
    no_table = false;
    assert_null(s);
    assert_string_equal(err.msg, "no memory for the object table, of 1024 buckets");
    no_thread = true;
    assert_int_not_equal(store_new(4, 0, &s, &err), FB_OK);
    no_thread = false;
    assert_null(s);
    assert_non_null(strstr(err.msg, "start the reclaim thread"));
    assert_int_equal(store_new(4, 0, &s, &err), FB_OK);
    store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_stay), cmocka_unit_test(test_no_table),
        cmocka_unit_test(test_taken_down_while_the_table_resizes), cmocka_unit_test(test_sieve),
        cmocka_unit_test(test_torture)};
    int rc;
    rcu_register_thread();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_unregister_thread();
    return rc;
}
