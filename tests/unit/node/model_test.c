/* Goal: the lane agrees with a plain dictionary whatever happens, PostgreSQL (another dictionary,
 * fed by batches and asked by loads) ends equal to it, and a replay of the log gives the same state
 * as the lane that wrote it. Method: random operations, feeds, checkpoints, lost checkpoint
 * messages, loads, evictions, snapshots, restarts, and fail-overs of PostgreSQL to a standby that
 * has what dsafe says and little more. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 60
#define STEPS 30000

static uint64_t rnd_state;
static uint32_t rnd(uint32_t n)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    rnd_state ^= rnd_state << 17;
    return (uint32_t)((rnd_state >> 20) % n);
}

struct cell {
    bool there;
    char v[24];
    uint64_t ver; /* database: of the version applied */
};
static struct cell model[KEYS], db[KEYS], standby[KEYS];
static uint64_t ckpt[HARNESS_PARTS];
static uint64_t standby_ckpt[HARNESS_PARTS]; /* what the standby has */
static uint64_t safe[HARNESS_PARTS];         /* what the node was told to be on the standby */
static uint32_t failovers;
static struct harness h;

static void key_name(int k, char out[24])
{
    snprintf(out, 24, "key:%d", k);
}

static void check_reply(struct fb_rep r, int k, const char *what)
{
    if (!model[k].there)
        assert_int_equal(r.type, FB_REP_NIL);
    else if (r.type != FB_REP_BULK || r.payload.n != strlen(model[k].v) ||
             memcmp(r.payload.p, model[k].v, r.payload.n) != 0)
        fail_msg("%s of key %d: type %u \"%.*s\", expected \"%s\"", what, k, r.type,
                 (int)r.payload.n, (const char *)r.payload.p, model[k].v);
}

/* Replies that wait for a load: answer it from the database. */
static struct fb_rep settle(struct fb_rep r, int k)
{
    while (r.type == 255) {
        char key[24];
        assert_int_equal(h.load_n, 1);
        key_name(k, key);
        struct lane_load load = h.loads[0];
        struct fb_load_rep rep = {.part = load.part,
                                  .token = load.token,
                                  .status = db[k].there ? FB_LOAD_FOUND : FB_LOAD_ABSENT,
                                  .kind = db[k].there ? FB_KIND_STRING : FB_KIND_NONE,
                                  .xmin = 7,
                                  .ckpt_ver = ckpt[load.part],
                                  .stored_ver = db[k].ver,
                                  .value = fb_bytes_str(db[k].there ? db[k].v : "")};
        lane_load_reply(h.lane, &rep);
        harness_tick(&h);
        assert_true(harness_pop(&h, &r));
    }
    return r;
}

static void operate(void)
{
    int k = (int)rnd(KEYS);
    char key[24], v[24];
    struct fb_rep r;

    key_name(k, key);
    switch (rnd(7)) {
    case 0:
    case 1:
        snprintf(v, sizeof v, "%u", rnd(1000000));
        r = settle(harness_do(&h, FB_OP_SET, key, 0, 0, 0, 0, 1, v), k);
        assert_int_equal(r.type, FB_REP_OK);
        model[k].there = true;
        memcpy(model[k].v, v, sizeof v);
        break;
    case 2:
        r = settle(harness_do(&h, FB_OP_DEL, key, 0, 0, 0, 0, 0), k);
        assert_int_equal(r.num, model[k].there);
        model[k].there = false;
        break;
    case 3:
        r = settle(harness_do(&h, FB_OP_INCRBY, key, 3, 0, 0, 0, 0), k);
        snprintf(model[k].v, sizeof model[k].v, "%ld", (model[k].there ? atol(model[k].v) : 0) + 3);
        model[k].there = true;
        assert_int_equal(r.num, atol(model[k].v));
        break;
    case 6:
        (void)harness_do(&h, FB_OP_EVICT, key, 0, 0, 0, 0, 0);
        break;
    default:
        check_reply(settle(harness_do(&h, FB_OP_GET, key, 0, 0, 0, 0, 0), k), k, "GET");
        break;
    }
}

/* The standby catches up with one partition; somebody notices, or not. */
static void replicate(void)
{
    uint16_t p = (uint16_t)rnd(HARNESS_PARTS);
    for (int k = 0; k < KEYS; k++) {
        char key[24];
        key_name(k, key);
        if (fb_key_partition(fb_bytes_str(key), HARNESS_PARTS) == p)
            standby[k] = db[k];
    }
    standby_ckpt[p] = ckpt[p];
    if (rnd(2)) {
        struct fb_feed_pos pos = {
            .part = p, .ns = fb_bytes_str("default"), .ver = ckpt[p], .dsafe = ckpt[p]};
        safe[p] = ckpt[p];
        lane_feed_pos(h.lane, &h.feeds, &pos);
        harness_tick(&h);
    }
}

/* Rows and checkpoints go back together. */
static void fail_over(void)
{
    memcpy(db, standby, sizeof db);
    memcpy(ckpt, standby_ckpt, sizeof ckpt);
    failovers++;
}

static void feed_some(void)
{
    uint16_t p = (uint16_t)rnd(HARNESS_PARTS);
    struct fb_feed_batch b;
    h.dsafe = safe[p];
    b = harness_feed(&h, p, "default", ckpt[p], 1 + rnd(8));
    struct fb_reader r = fb_reader(b.objects);
    struct fb_feed_object fo;
    uint64_t last = ckpt[p];

    assert_int_equal(b.status, FB_FEED_OK);
    if (rnd(8) == 0)
        return; /* the transaction failed */
    for (uint32_t i = 0; i < b.count; i++) {
        int k;
        assert_int_equal(fb_feed_object_decode(&r, &fo), FB_OK);
        assert_true(fo.ver > last);
        last = fo.ver;
        assert_int_equal(sscanf((const char *)fo.id.p, "key:%d", &k), 1);
        assert_true(fo.ver > db[k].ver); /* I24, per history of PostgreSQL */
        db[k].ver = fo.ver;
        db[k].there = fo.kind != FB_KIND_NONE;
        if (db[k].there) {
            memcpy(db[k].v, fo.value.p, fo.value.n);
            db[k].v[fo.value.n] = 0;
        }
    }
    assert_int_equal(r.n, 0);
    ckpt[p] = b.last ? b.scan_end : last;
    if (rnd(4) != 0) /* else the message is lost and the next request tells */
        harness_pos(&h, p, "default", ckpt[p], 100 + rnd(100)); /* with h.dsafe */
}

/* Everything a replay must give back, as text; not the base, which does not matter for unmapped
 * objects (they are upserted) and is not recorded when it changes under a newer version. */
static void digest(struct lane *l, struct fb_buf *out)
{
    for (int k = 0; k < KEYS; k++) {
        char key[24];
        key_name(k, key);
        uint64_t hash = object_hash(fb_bytes_str(key));
        const struct object *o = store_find_own(l->store, fb_bytes_str(key), hash);
        struct object_extra *x;
        if (o == NULL || !(object_flags(o) & OBJECT_DIRTY))
            continue; /* clean copies may be evicted, so they do not count */
        x = slot_extra(l->parts[o->part], o);
        fb_buf_printf(out, "%s ver %llx kind %u flags %x expires %lld changed %llx value %.*s\n",
                      key, (unsigned long long)o->ver, o->kind,
                      object_flags(o) & (OBJECT_DIRTY | OBJECT_PARKED),
                      (long long)object_expires(o), (unsigned long long)x->changed, (int)o->vlen,
                      (const char *)object_value(o).p);
    }
    for (uint16_t p = 0; p < HARNESS_PARTS; p++) {
        const struct feed *f = feed_find(l->parts[p], 0);
        uint64_t prev = 0;
        if (f == NULL || (f->ckpt == 0 && f->dirty.count == 0))
            continue;
        fb_buf_printf(out, "part %u ckpt %llx dsafe %llx dirty %u parked %u:", p,
                      (unsigned long long)f->ckpt, (unsigned long long)f->dsafe, f->dirty.count,
                      f->parked.count);
        for (uint32_t i = f->dirty.head; i != SLOT_NONE; i = slab_slot(l->parts[p]->sp, i)->next) {
            const struct object *o = slab_object(l->parts[p]->sp, i);
            assert_true(o->ver > prev);
            prev = o->ver;
            fb_buf_printf(out, " %llx", (unsigned long long)o->ver);
        }
        fb_buf_put_u8(out, '\n');
    }
}

static void snapshot_all(struct fb_buf *snap, uint64_t *vers)
{
    for (uint16_t p = 0; p < HARNESS_PARTS; p++) {
        struct lane_snapshot s;
        fb_buf_clear(&snap[p]);
        vers[p] = 0;
        if (!lane_snapshot_begin(h.lane, p, &s))
            continue;
        vers[p] = s.start_ver;
        while (!s.done) {
            lane_snapshot_slice(h.lane, &s, &snap[p], 200);
            if (rnd(2))
                operate(); /* fuzzy: the world moves on between slices */
        }
    }
}

static void compare_replay(struct fb_buf *snap, bool use_snapshot)
{
    struct store *store;
    struct lane_config config = h.lane->config;
    struct fb_err err = {0};
    struct fb_buf a = {0}, b = {0};
    struct fb_reader r = fb_reader(fb_buf_view(&h.log));
    struct fb_record rec;
    assert_int_equal(store_new(HARNESS_PARTS, 1024, &store, &err), FB_OK);
    struct lane *l = lane_new(&config, store);
    lane_configure(l, h.set, h.schemas);
    if (use_snapshot)
        for (uint16_t p = 0; p < HARNESS_PARTS; p++)
            if (snap[p].n > 0 && lane_recover_snapshot(l, p, fb_buf_view(&snap[p]), &err) != FB_OK)
                fail_msg("snapshot: %s", err.msg);
    while (r.n > 0) {
        assert_int_equal(fb_record_decode(&r, &rec), FB_OK);
        if (lane_recover_record(l, &rec, &err) != FB_OK)
            fail_msg("replay: %s", err.msg);
    }
    digest(h.lane, &a);
    digest(l, &b);
    fb_buf_put_u8(&a, 0);
    fb_buf_put_u8(&b, 0);
    assert_string_equal((char *)a.p, (char *)b.p);
    assert_int_equal(lane_stats(l)->dirty_bytes, lane_stats(h.lane)->dirty_bytes);
    lane_free(l);
    store_free(store);
    fb_buf_fini(&a);
    fb_buf_fini(&b);
}

static void run(uint64_t seed)
{
    struct fb_buf snap[HARNESS_PARTS] = {0};
    uint64_t vers[HARNESS_PARTS] = {0};

    rnd_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    memset(model, 0, sizeof model);
    memset(db, 0, sizeof db);
    memset(ckpt, 0, sizeof ckpt);
    memset(standby, 0, sizeof standby);
    memset(standby_ckpt, 0, sizeof standby_ckpt);
    memset(safe, 0, sizeof safe);
    harness_init(&h);
    harness_open(&h, 0, 0);
    for (int i = 0; i < STEPS / 10; i++) {
        uint32_t what = rnd(100);
        if (what < 70) {
            operate();
        } else if (what < 80) {
            harness_sync(&h);
        } else if (what < 91) {
            feed_some();
        } else if (what < 94) {
            replicate();
        } else if (what < 95) {
            if (rnd(4) == 0)
                fail_over();
        } else if (what < 97) {
            h.mono_ns += 30000000;
            h.wall_ms += 30;
            lane_now(h.lane, h.mono_ns, h.wall_ms);
            lane_tick(h.lane);
            harness_tick(&h);
        } else if (what < 98) {
            snapshot_all(snap, vers);
        } else if (what < 99) {
            compare_replay(snap, rnd(2));
        } else {
            harness_restart(&h);
            for (uint16_t p = 0; p < HARNESS_PARTS; p++)
                fb_buf_clear(&snap[p]);
        }
    }
    /* I36: what is left drains, and PostgreSQL equals the model */
    if (seed % 2)
        fail_over();
    harness_sync(&h);
    for (uint16_t p = 0; p < HARNESS_PARTS; p++)
        for (int i = 0; i < 400; i++)
            feed_some();
    assert_int_equal(lane_stats(h.lane)->regressions_lossy, 0); /* I25 */
    for (int k = 0; k < KEYS; k++) {
        assert_int_equal(db[k].there, model[k].there);
        if (model[k].there)
            assert_string_equal(db[k].v, model[k].v);
    }
    for (uint16_t p = 0; p < HARNESS_PARTS; p++)
        fb_buf_fini(&snap[p]);
    harness_close(&h);
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        print_message("seed %lu\n", (unsigned long)seed);
        run(seed);
    }
    assert_true(failovers > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
