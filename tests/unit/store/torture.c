/* Torture of the object table (after urcu's rcutorture): store_torture [SECONDS [READERS]].
 *
 * Goal: a reader never sees an object after it was freed, and never one that is older than what was
 * there when it began to look. Method: one writer thread a partition publishes, replaces, removes
 * and evicts (SIEVE), grows its part of the table to tens of thousands of keys and empties it
 * again, so that the table is resized under the readers; readers look by key and by slot in
 * sections short and long, and check three things of every object:
 *
 *   poison   the value is the pattern of its version; object_free is wrapped here and overwrites an
 *            object before its memory goes, so a freed one cannot pass
 *   age      the version is at least what the writer had published of the key before the look began
 *            (I12); by slot, of whatever key is there now
 *   peace    what was seen at the beginning of a section is unchanged at its end
 *
 * and the writers that an object is retired once: freed exactly as often as made.
 */
#include "node/store/object.h"

#include "proto/base/assert.h"
#include "proto/base/clock.h"
#include "proto/rt/rcu.h"
#include "proto/rt/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTS 3u
#define KEYS_MAX 40000u /* of a partition */
#define READERS_MAX 16u
#define POISON 0xdb
#define VER_POISON UINT64_C(0xdbdbdbdbdbdbdbdb)

static struct store *store;
static _Atomic bool stop;
static _Atomic uint64_t made, freed;

/* Newest version of each key that is published; 0 = absent. Grows only: bit 0 = it was removed. */
static _Atomic uint64_t newest[PARTS][KEYS_MAX];

struct reader {
    struct fb_thread *thread;
    uint32_t seed;
    uint64_t looks, hits;
};
struct writer {
    struct fb_thread *thread;
    uint16_t part;
    uint32_t seed;
    uint64_t published, removed, evicted, cycles;
};

void __wrap_object_free(struct object *o);
void __real_object_free(struct object *o);

void __wrap_object_free(struct object *o)
{
    fb_assert(o->ver != VER_POISON); /* twice */
    memset(o->bytes, POISON, (size_t)o->klen + o->vlen);
    o->ver = VER_POISON;
    atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
    __real_object_free(o);
}

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % sides;
}

static struct fb_bytes key_of(uint16_t part, uint32_t k, char out[24])
{
    return fb_bytes(out, (size_t)snprintf(out, 24, "p%u:%u", part, k));
}

static uint32_t number_of(const struct object *o)
{
    char text[24];
    fb_assert(o->klen < sizeof(text) && o->bytes[0] == 'p');
    memcpy(text, o->bytes, o->klen);
    text[o->klen] = 0;
    return (uint32_t)strtoul(strchr(text, ':') + 1, NULL, 10);
}

/* --- readers --- */

static void check(struct reader *r, const struct object *o, uint16_t part, uint64_t at_least)
{
    struct fb_bytes v = object_value(o);
    uint64_t ver = o->ver;
    fb_assert(ver != VER_POISON && o->part == part && o->vlen == 16 + ver % 64);
    for (size_t i = 0; i < v.n; i++)
        fb_assert(v.p[i] == (uint8_t)(ver * 31 + i));
    fb_assert(ver >= at_least);
    fb_assert(o->ver == ver && ver != VER_POISON);
    r->hits++;
}

static void look_by_key(struct reader *r, uint16_t part)
{
    char text[24];
    uint32_t k = dice(&r->seed, dice(&r->seed, 4) == 0 ? KEYS_MAX : 50);
    struct fb_bytes key = key_of(part, k, text);
    /* pairs with the release in publish: whoever sees the number sees the object */
    uint64_t before = atomic_load_explicit(&newest[part][k], memory_order_acquire);
    const struct object *o = store_find(store, key, object_hash(key));

    r->looks++;
    if (o != NULL)
        check(r, o, part, before >> 1);
    else if ((before & 1) == 0 && before != 0) /* it was there: then it is removed by now */
        fb_assert(atomic_load_explicit(&newest[part][k], memory_order_acquire) != before);
}

static void look_by_slot(struct reader *r, uint16_t part)
{
    struct store_part *p = store_part(store, part);
    uint32_t used = atomic_load_explicit(&p->used, memory_order_acquire);
    const struct object *o = used > 0 ? slab_object(p, dice(&r->seed, used)) : NULL;

    r->looks++;
    if (o != NULL) {
        check(r, o, part, 0);
        fb_assert(number_of(o) < KEYS_MAX);
        object_visit(o);
    }
}

static void reader_main(void *arg)
{
    struct reader *r = arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint32_t looks = dice(&r->seed, 100) == 0 ? 3000 : 1 + dice(&r->seed, 64);
        uint16_t part = (uint16_t)dice(&r->seed, PARTS);
        char text[24];
        struct fb_bytes key = key_of(part, dice(&r->seed, 50), text);
        const struct object *kept;
        uint64_t ver = 0;

        store_read_lock();
        kept = store_find(store, key, object_hash(key));
        if (kept != NULL)
            ver = kept->ver;
        for (uint32_t i = 0; i < looks; i++) {
            if (dice(&r->seed, 3) == 0)
                look_by_slot(r, part);
            else
                look_by_key(r, part);
        }
        if (kept != NULL) { /* replaced meanwhile perhaps, but not freed */
            fb_assert(kept->ver == ver);
            check(r, kept, part, 0);
        }
        store_read_unlock();
    }
}

/* --- writers --- */

static void publish(struct writer *w, struct store_writer *sw, uint32_t k)
{
    char text[24];
    struct fb_bytes key = key_of(w->part, k, text);
    uint64_t ver = (atomic_load_explicit(&newest[w->part][k], memory_order_relaxed) >> 1) + 1;
    struct object *o = object_new(key, 0, 0, w->part, 1, 16 + ver % 64);
    bool is_new = store_find_own(store, key, object_hash(key)) == NULL;

    for (uint32_t i = 0; i < o->vlen; i++)
        o->bytes[o->klen + i] = (uint8_t)(ver * 31 + i);
    o->ver = ver;
    atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
    store_publish(sw, o, object_hash(key));
    if (is_new)
        sieve_add(store_part(store, w->part), o->slot);
    atomic_store_explicit(&newest[w->part][k], ver << 1, memory_order_release);
    w->published++;
}

static void remove_object(struct writer *w, struct store_writer *sw, struct object *o)
{
    uint32_t k = number_of(o);
    uint64_t ver = o->ver;
    /* said before it is done: a reader that misses it must find this */
    atomic_store_explicit(&newest[w->part][k], ver << 1 | 1, memory_order_release);
    sieve_remove(store_part(store, w->part), o->slot);
    store_remove(sw, o);
}

static bool any(void *arg, const struct object *o)
{
    (void)arg;
    (void)o;
    return true;
}

/* Few keys over and over, then many (the table grows), then all of them gone (it shrinks). */
static void cycle(struct writer *w, struct store_writer *sw)
{
    struct store_part *p = store_part(store, w->part);
    uint32_t many = dice(&w->seed, 3) == 0 ? KEYS_MAX : 3000;
    char text[24];

    for (uint32_t i = 0; i < 20000 && !atomic_load(&stop); i++) {
        uint32_t k = dice(&w->seed, 50);
        struct fb_bytes key = key_of(w->part, k, text);
        struct object *o = store_find_own(store, key, object_hash(key));
        if (o != NULL && dice(&w->seed, 5) == 0) {
            remove_object(w, sw, o);
            w->removed++;
        } else {
            publish(w, sw, k);
        }
        if (i % 16 == 0)
            store_writer_flush(sw);
    }
    for (uint32_t k = 0; k < many && !atomic_load(&stop); k++)
        publish(w, sw, k);
    while (p->clean.count > 20 && !atomic_load(&stop)) {
        struct object *o = sieve_victim(p, any, NULL, 1000);
        if (o == NULL)
            continue;
        remove_object(w, sw, o);
        w->evicted++;
    }
    store_writer_flush(sw);
    w->cycles++;
}

static void writer_main(void *arg)
{
    struct writer *w = arg;
    struct store_writer *sw = store_writer_new(store);
    fb_owner_take(&store_part(store, w->part)->owner);
    while (!atomic_load(&stop))
        cycle(w, sw);
    fb_owner_leave(&store_part(store, w->part)->owner);
    store_writer_free(sw);
}

static void start(const char *name, fb_thread_fn fn, void *arg, struct fb_thread **out)
{
    struct fb_err err;
    if (fb_thread_start(name, fn, arg, out, &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static struct reader readers[READERS_MAX];
    static struct writer writers[PARTS];
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    uint32_t n = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 3;
    uint64_t end, looks = 0, hits = 0, published = 0, removed = 0, evicted = 0, cycles = 0;
    struct fb_err err;

    if (argc > 3 || seconds <= 0 || n == 0 || n > READERS_MAX) {
        fprintf(stderr, "usage: store_torture [SECONDS [READERS]], 1 to %u readers\n", READERS_MAX);
        return 2;
    }
    rcu_register_thread();
    if (store_new(PARTS, 16, &store, &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (uint16_t i = 0; i < PARTS; i++) {
        writers[i] = (struct writer){.part = i, .seed = i + 1u};
        start("writer", writer_main, &writers[i], &writers[i].thread);
    }
    for (uint32_t i = 0; i < n; i++) {
        readers[i].seed = 1000 + i;
        start("reader", reader_main, &readers[i], &readers[i].thread);
    }
    end = fb_mono_ns() + (uint64_t)(seconds * 1e9);
    while (fb_mono_ns() < end) {
        struct timespec pause = {.tv_nsec = 20000000};
        (void)nanosleep(&pause, NULL);
    }
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < n; i++) {
        fb_thread_join(readers[i].thread);
        looks += readers[i].looks;
        hits += readers[i].hits;
    }
    for (uint32_t i = 0; i < PARTS; i++) {
        fb_thread_join(writers[i].thread);
        published += writers[i].published;
        removed += writers[i].removed;
        evicted += writers[i].evicted;
        cycles += writers[i].cycles;
    }
    store_free(store);
    fb_assert(atomic_load(&made) == atomic_load(&freed) && made == published);
    fb_assert(looks > 0 && hits > 0 && removed > 0);
    printf("%.1f s, %u readers: %llu looks (%llu found something), %llu published, %llu removed, "
           "%llu evicted, %llu times filled and emptied; all %llu objects freed once\n",
           seconds, n, (unsigned long long)looks, (unsigned long long)hits,
           (unsigned long long)published, (unsigned long long)removed, (unsigned long long)evicted,
           (unsigned long long)cycles, (unsigned long long)freed);
    rcu_unregister_thread();
    return 0;
}
