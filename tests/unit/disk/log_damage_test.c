/* Goal: no damage of a log is ever silently wrong.
 * Method: a small log of several segments, as a killed process leaves it and as a clean stop leaves
 * it; then every bit position class (each byte inverted, and one bit of it), every truncation,
 * every missing file. Each time recovery must give a prefix of every lane that holds at least what
 * the log itself records as synced, or FB_ECORRUPT with nothing changed on disk; and a second
 * recovery must agree with the first. */
#include "tests/unit/disk/disk_util.h"

#define LANES 2u
static const uint64_t written[LANES] = {45, 6};

struct fixture {
    char dir[64]; /* scratch */
    struct util_image killed;
    struct util_image clean;
    uint64_t recorded[LANES]; /* what was reported as synced */
};

static int setup(void **state)
{
    struct fixture *f = fb_xcalloc(1, sizeof(*f));
    struct log *log;

    util_dir(f->dir, sizeof(f->dir));
    log = util_open(f->dir, 1, LANES, 4096);
    util_append(log, 1, 0, 1, 30);
    util_append(log, 1, 1, 1, 3);
    util_sync(log, 0, 30); /* sealing of the first segments */
    util_append(log, 1, 0, 31, 43);
    util_sync(log, 0, 43);
    util_append(log, 1, 0, 44, 45);
    util_append(log, 1, 1, 4, 6);
    util_sync(log, 0, 45); /* no batch carries this one, only the mark */
    f->recorded[0] = 45;
    f->recorded[1] = 0;
    util_image_take(&f->killed, f->dir);
    log_close(log);
    util_image_take(&f->clean, f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    util_image_free(&f->killed);
    util_image_free(&f->clean);
    util_remove(f->dir);
    free(f);
    return 0;
}

struct tally {
    unsigned whole, cut, corrupt;
};

/* The image `now` was derived from a good one by one damage. */
static void check(struct fixture *f, const struct util_image *now, bool complete, struct tally *t)
{
    struct util_seen seen = {0}, again = {0};
    struct fb_err err = {0};
    enum fb_status s;
    bool whole = true;

    util_image_put(now, f->dir);
    s = util_recover(f->dir, &seen, NULL, &err);
    if (s == FB_ECORRUPT) {
        assert_non_null(strstr(err.msg, ".seg"));
        assert_non_null(strstr(err.msg, "offset"));
        util_image_same(now, f->dir);
        t->corrupt++;
    } else {
        if (s != FB_OK)
            fail_msg("%d %s", s, err.msg);
        for (uint32_t i = 0; i < LANES; i++) {
            assert_true(seen.last[1][i] >= f->recorded[i]);
            whole = whole && seen.last[1][i] == written[i];
        }
        assert_true(whole || !complete);
        t->whole += whole;
        t->cut += !whole;
        assert_int_equal(util_recover(f->dir, &again, NULL, &err), FB_OK);
        assert_memory_equal(seen.last, again.last, sizeof(seen.last));
    }
    fb_buf_fini(&seen.expect);
    fb_buf_fini(&again.expect);
}

static void flips(struct fixture *f, struct util_image *im, bool complete)
{
    struct tally t = {0};
    for (size_t i = 0; i < im->count; i++)
        for (size_t at = 0; at < im->file[i].n; at++) {
            uint8_t old = im->file[i].p[at];
            im->file[i].p[at] = at % 2 ? (uint8_t)~old : (uint8_t)(old ^ 1u << at / 2 % 8);
            check(f, im, complete, &t);
            im->file[i].p[at] = old;
        }
    print_message("flips: %u whole, %u cut, %u corrupt\n", t.whole, t.cut, t.corrupt);
    assert_true(t.corrupt > 0);
}

static void truncations(struct fixture *f, struct util_image *im, bool complete)
{
    struct tally t = {0};
    for (size_t i = 0; i < im->count; i++) {
        size_t n = im->file[i].n;
        for (size_t at = 0; at < n; at++) {
            im->file[i].n = at;
            check(f, im, complete, &t);
        }
        im->file[i].n = n;
    }
    print_message("truncations: %u whole, %u cut, %u corrupt\n", t.whole, t.cut, t.corrupt);
    assert_true(t.corrupt > 0);
}

static void flips_after_kill(void **state)
{
    flips(*state, &((struct fixture *)*state)->killed, false);
}
static void truncations_after_kill(void **state)
{
    truncations(*state, &((struct fixture *)*state)->killed, false);
}
static void flips_after_clean_stop(void **state)
{
    flips(*state, &((struct fixture *)*state)->clean, false);
}
static void truncations_after_clean_stop(void **state)
{
    truncations(*state, &((struct fixture *)*state)->clean, false);
}

/* Once a newer generation exists, the older one was complete: any damage in it is corruption. */
static void older_generation_has_no_torn_tail(void **state)
{
    struct fixture *f = *state;
    struct util_image im;
    struct util_seen seen = {0};
    struct fb_err err;
    struct tally t = {0};
    struct log *log;

    util_image_put(&f->killed, f->dir);
    assert_int_equal(util_recover(f->dir, &seen, NULL, &err), FB_OK);
    log = util_open(f->dir, 2, 1, 4096);
    log_close(log);
    util_image_take(&im, f->dir);
    for (size_t i = 0; i < im.count; i++) {
        if (strncmp(im.file[i].name, "00000001", 8) != 0)
            continue;
        for (size_t at = 0; at < im.file[i].n; at++) {
            im.file[i].p[at] ^= 0x40;
            check(f, &im, true, &t);
            im.file[i].p[at] ^= 0x40;
        }
    }
    assert_int_equal(t.cut, 0);
    assert_int_equal(t.whole, 0);
    util_image_free(&im);
    fb_buf_fini(&seen.expect);
}

static void missing_files(void **state)
{
    struct fixture *f = *state;
    for (int clean = 0; clean < 2; clean++) {
        struct util_image *im = clean ? &f->clean : &f->killed;
        for (size_t i = 0; i < im->count; i++) {
            struct util_image less = *im;
            struct util_seen seen = {.first = 1};
            struct fb_err err;
            bool first = strstr(im->file[i].name, "-00-00000001.seg") != NULL;
            less.file[i] = less.file[--less.count];
            util_image_put(&less, f->dir);
            if (first) /* looks like a trim; the records' chain tells (prev), not the log */
                continue;
            if (strcmp(im->file[i].name, "synced") == 0) { /* less is known, nothing is lost */
                assert_int_equal(util_recover(f->dir, &seen, NULL, &err), FB_OK);
                assert_int_equal(seen.last[1][0], written[0]);
            } else {
                assert_int_equal(util_recover(f->dir, &seen, NULL, &err), FB_ECORRUPT);
                util_image_same(&less, f->dir);
            }
            fb_buf_fini(&seen.expect);
        }
    }
}

/* A hole above the synced sequence is what a power loss leaves; one below it is damage, and so is
 * one of which only the mark knows. The same hole, three marks. */
static void hole_with_good_batches_behind(void **state)
{
    struct util_image im;
    struct util_seen seen = {0};
    struct fb_err err;
    struct log *log;
    char dir[64];
    uint32_t torn;
    size_t seg = 0, at = LOG_HEADER_BYTES;
    (void)state;

    util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 1, 8192);
    util_append(log, 1, 0, 1, 3);
    util_sync(log, 0, 3);
    util_append(log, 1, 0, 4, 20);
    util_image_take(&im, dir);
    log_close(log);
    for (size_t i = 0; i < im.count; i++)
        seg = strstr(im.file[i].name, ".seg") != NULL ? i : seg;
    for (uint64_t seq = 1; seq < 10; seq++)
        at += log_batch_bytes((uint32_t)util_payload_bytes(seq));
    memset(im.file[seg].p + at, 0, 40); /* in batch 10 */
    util_image_put(&im, dir);
    assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_OK);
    assert_int_equal(seen.last[1][0], 9);
    assert_int_equal(torn, 1);
    assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_OK); /* and it stays so */
    assert_int_equal(seen.last[1][0], 9);
    assert_int_equal(torn, 0);

    /* the same file, but batch 12 was written when 10 was synced already */
    for (int by_mark = 0; by_mark < 2; by_mark++) {
        struct util_image less;
        util_image_put(&(struct util_image){0}, dir);
        log = util_open(dir, 1, 1, 8192);
        util_append(log, 1, 0, 1, 10);
        if (!by_mark)
            util_sync(log, 0, 10);
        util_append(log, 1, 0, 11, 20);
        if (by_mark)
            util_sync(log, 0, 20);
        util_image_take(&less, dir);
        log_close(log);
        for (size_t i = 0; i < less.count; i++) {
            if (strstr(less.file[i].name, ".seg") != NULL)
                memset(less.file[i].p + at, 0, 40);
            else if (!by_mark) /* the batch's header alone must do */
                memset(less.file[i].p, 0, less.file[i].n);
        }
        util_image_put(&less, dir);
        assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_ECORRUPT);
        assert_non_null(strstr(err.msg, "synced"));
        util_image_same(&less, dir);
        util_image_free(&less);
    }
    util_image_free(&im);
    fb_buf_fini(&seen.expect);
    util_remove(dir);
}

static void generation_gap(void **state)
{
    struct util_seen seen = {0};
    char dir[64], path[128];
    struct fb_err err;
    (void)state;

    util_dir(dir, sizeof(dir));
    for (uint64_t g = 1; g <= 3; g++) {
        struct log *log = util_open(dir, g, 1, 4096);
        util_append(log, g, 0, 1, 3);
        log_close(log);
    }
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    snprintf(path, sizeof(path), "%s/00000002-00-00000001.seg", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_ECORRUPT);
    assert_non_null(strstr(err.msg, "generation"));
    fb_buf_fini(&seen.expect);
    util_remove(dir);
}

/* A value that is itself a copy of the log, torn in the middle, must not be taken for batches. */
static void log_inside_a_value(void **state)
{
    struct fixture *f = *state;
    struct util_image im;
    struct fb_err err;
    struct log *log;
    char dir[64];
    struct util_seen seen = {0};
    size_t k = 0;

    util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 1, 16384);
    while (strstr(f->killed.file[k].name, ".seg") == NULL)
        k++;
    assert_int_equal(
        log_append(log, 0, 1, fb_bytes(f->killed.file[k].p, f->killed.file[k].n), false, &err),
        FB_OK);
    util_image_take(&im, dir);
    log_close(log);
    for (k = 0; strstr(im.file[k].name, ".seg") == NULL;)
        k++;
    im.file[k].p[80] ^= 1; /* header of batch 1 */
    util_image_put(&im, dir);
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    assert_int_equal(seen.last[1][0], 0);
    util_image_free(&im);
    fb_buf_fini(&seen.expect);
    util_remove(dir);
}

/* A kill in the middle of writing a footer: segments are sealed after the next one has begun, so
 * what stands there is no end of the log. */
static void torn_footer(void **state)
{
    struct fixture *f = *state;
    struct util_image im;
    struct util_seen seen = {0};
    struct fb_err err = {0};
    struct log *log;
    char dir[64];
    size_t n;
    (void)f;
    util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 1, 4096);
    util_append(log, 1, 0, 1, 40); /* several segments, none of them sealed: nothing was synced */
    util_image_take(&im, dir);
    log_close(log);
    for (size_t i = 0; i < im.count; i++) {
        if (strcmp(im.file[i].name, "00000001-00-00000001.seg") != 0)
            continue;
        for (n = im.file[i].n; n > 0 && im.file[i].p[n - 1] == 0;)
            n--;
        n = (n + 7) / 8 * 8;
        assert_true(n + 29 <= im.file[i].n);
        memset(im.file[i].p + n, 0xa5, 29);
    }
    util_image_put(&im, dir);
    if (util_recover(dir, &seen, NULL, &err) != FB_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(seen.last[1][0], 40);
    fb_buf_fini(&seen.expect);
    util_image_free(&im);
    util_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flips_after_kill),
        cmocka_unit_test(truncations_after_kill),
        cmocka_unit_test(flips_after_clean_stop),
        cmocka_unit_test(truncations_after_clean_stop),
        cmocka_unit_test(older_generation_has_no_torn_tail),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(hole_with_good_batches_behind),
        cmocka_unit_test(torn_footer),
        cmocka_unit_test(generation_gap),
        cmocka_unit_test(log_inside_a_value),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
