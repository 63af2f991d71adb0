/* Goal: a snapshot comes back whole or is refused by name; two of a partition are kept.
 * Method: a small snapshot, every bit inverted, every truncation, extra bytes. */
#include "tests/unit/disk/disk_util.h"

#include "node/disk/snapshot.h"

struct collected {
    struct fb_buf bytes;
    unsigned blocks;
};

static enum fb_status collect(void *arg, uint16_t part, struct fb_bytes items, struct fb_err *err)
{
    struct collected *c = arg;
    (void)err;
    assert_int_equal(part, 7);
    fb_buf_put_bytes(&c->bytes, items);
    c->blocks++;
    return FB_OK;
}

static void write_one(const char *dir, uint16_t part, uint64_t ver, const char *const *blocks,
                      size_t count)
{
    struct snapshot_info info = {
        .part = part, .start_ver = ver, .generation = 3, .start_log_seq = 99};
    struct snapshot_writer *w;
    struct fb_err err;
    assert_int_equal(snapshot_create(dir, &info, &w, &err), FB_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(snapshot_append(w, fb_bytes_str(blocks[i]), &err), FB_OK);
    assert_int_equal(snapshot_commit(w, 1234567, &err), FB_OK);
}

static const char *const three[] = {"alpha", "b", "a somewhat longer third block of items"};
#define THREE_NAME "0007-0000000000000042.snap"

static void round_trip(void **state)
{
    char dir[64];
    struct snapshot_info info, *all;
    struct collected c = {0};
    struct fb_err err;
    size_t count;
    (void)state;

    util_dir(dir, sizeof(dir));
    write_one(dir, 7, 0x42, three, 3);
    assert_int_equal(snapshot_read(dir, THREE_NAME, &info, collect, &c, &err), FB_OK);
    assert_int_equal(c.blocks, 3);
    assert_true(fb_bytes_is(fb_buf_view(&c.bytes), "alphaba somewhat longer third block of items"));
    assert_int_equal(info.part, 7);
    assert_int_equal(info.start_ver, 0x42);
    assert_int_equal(info.generation, 3);
    assert_int_equal(info.start_log_seq, 99);
    assert_int_equal(info.written_wall_ms, 1234567);
    assert_int_equal(info.blocks, 3);
    assert_string_equal(info.name, THREE_NAME);

    write_one(dir, 7, 0x50, NULL, 0); /* an empty partition is a snapshot, too */
    assert_int_equal(snapshot_read(dir, "0007-0000000000000050.snap", &info, NULL, NULL, &err),
                     FB_OK);
    write_one(dir, 7, 0x60, three, 1);
    write_one(dir, 8, 0x10, three, 1);
    assert_int_equal(snapshot_list(dir, &all, &count, &err), FB_OK);
    assert_int_equal(count, 3); /* 0x42 is gone */
    assert_int_equal(all[0].start_ver, 0x60);
    assert_int_equal(all[1].start_ver, 0x50);
    assert_int_equal(all[2].part, 8);
    assert_int_equal(all[0].start_log_seq, 99);
    assert_int_equal(all[0].blocks, 1);
    free(all);
    assert_int_equal(snapshot_read(dir, THREE_NAME, &info, NULL, NULL, NULL), FB_ENOENT);
    fb_buf_fini(&c.bytes);
    util_remove(dir);
}

static void left_over_and_abandoned(void **state)
{
    char dir[64], path[128];
    struct snapshot_info info = {.part = 1, .start_ver = 5}, *all;
    struct snapshot_writer *w;
    struct fb_err err;
    size_t count;
    (void)state;

    util_dir(dir, sizeof(dir));
    assert_int_equal(snapshot_create(dir, &info, &w, &err), FB_OK);
    snapshot_abandon(w);
    snprintf(path, sizeof(path), "%s/0001-0000000000000005.snap.tmp", dir);
    assert_int_equal(access(path, F_OK), -1);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(snapshot_list(dir, &all, &count, &err), FB_OK);
    assert_int_equal(count, 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(snapshot_create("/nonexistent/forebay", &info, &w, &err), FB_ENOENT);
    free(all);
    util_remove(dir);
}

static void expect_damage(const char *dir, const struct util_image *im)
{
    struct snapshot_info info;
    struct fb_err err = {0};
    enum fb_status s;
    util_image_put(im, dir);
    s = snapshot_read(dir, THREE_NAME, &info, NULL, NULL, &err);
    assert_true(s == FB_ECORRUPT || s == FB_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, THREE_NAME));
    assert_non_null(strstr(err.msg, "offset"));
}

static void every_damage_is_seen(void **state)
{
    char dir[64];
    struct util_image im, other;
    struct snapshot_info *all;
    struct fb_err err;
    size_t n, count;
    (void)state;

    util_dir(dir, sizeof(dir));
    write_one(dir, 7, 0x42, three, 3);
    util_image_take(&im, dir);
    assert_int_equal(im.count, 1);
    n = im.file[0].n;
    for (size_t bit = 0; bit < n * 8; bit++) {
        im.file[0].p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_damage(dir, &im);
        im.file[0].p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t at = 0; at < n; at++) {
        im.file[0].n = at;
        expect_damage(dir, &im);
    }
    /* still listed, so that its partition does not silently start from nothing */
    assert_int_equal(snapshot_list(dir, &all, &count, &err), FB_OK);
    assert_int_equal(count, 1);
    assert_int_equal(all[0].start_ver, 0x42);
    free(all);
    im.file[0].p[n] = 0; /* one byte more */
    im.file[0].n = n + 1;
    expect_damage(dir, &im);
    im.file[0].n = n;

    /* the same contents under another version's name, and blocks of another file */
    util_image_put(&im, dir);
    write_one(dir, 7, 0x43, three, 3);
    util_image_take(&other, dir);
    for (size_t i = 0; i < other.count; i++)
        if (strcmp(other.file[i].name, THREE_NAME) != 0) {
            memcpy(im.file[0].p, other.file[i].p, n);
            expect_damage(dir, &im);
        }
    util_image_free(&other);
    util_image_free(&im);
    util_remove(dir);
}

/* Under a name of another partition or version nothing is believed of it, and reading it is
 * refused; under a name that is no snapshot's it is a copy, as good as any. */
static void under_another_name(void **state)
{
    static const char *const names[] = {"0008-0000000000000042.snap", "0007-0000000000000043.snap"};
    struct snapshot_info info, *all;
    char dir[64], from[128], to[128];
    struct fb_err err;
    size_t count;
    (void)state;

    util_dir(dir, sizeof(dir));
    write_one(dir, 7, 0x42, three, 3);
    snprintf(from, sizeof(from), "%s/%s", dir, THREE_NAME);
    for (size_t i = 0; i < 2; i++) {
        snprintf(to, sizeof(to), "%s/%s", dir, names[i]);
        assert_int_equal(rename(from, to), 0);
        assert_int_equal(snapshot_list(dir, &all, &count, &err), FB_OK);
        assert_int_equal(count, 1);
        assert_string_equal(all[0].name, names[i]);
        assert_int_equal(all[0].start_log_seq, 0);
        assert_int_equal(all[0].blocks, 0);
        free(all);
        assert_int_equal(snapshot_read(dir, names[i], &info, NULL, NULL, &err), FB_ECORRUPT);
        assert_non_null(strstr(err.msg, "the name does not fit"));
        memcpy(from, to, sizeof(from));
    }
    snprintf(to, sizeof(to), "%s/copy", dir);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(snapshot_read(dir, "copy", &info, NULL, NULL, &err), FB_OK);
    assert_int_equal(info.part, 7);
    assert_int_equal(info.blocks, 3);
    util_remove(dir);
}

/* Items that are none make no block: the snapshot is as without them. */
static void nothing_is_no_block(void **state)
{
    char dir[2][64];
    struct util_image im;
    struct fb_err err;
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct snapshot_info info = {.part = 1, .start_ver = 5}, *all;
        struct snapshot_writer *w;
        size_t count;
        util_dir(dir[i], sizeof(dir[i]));
        assert_int_equal(snapshot_create(dir[i], &info, &w, &err), FB_OK);
        if (i == 1)
            assert_int_equal(snapshot_append(w, fb_bytes("", 0), &err), FB_OK);
        assert_int_equal(snapshot_append(w, fb_bytes_str("items"), &err), FB_OK);
        assert_int_equal(snapshot_commit(w, 2, &err), FB_OK);
        assert_int_equal(snapshot_list(dir[i], &all, &count, &err), FB_OK);
        assert_int_equal(count, 1);
        free(all);
    }
    util_image_take(&im, dir[0]);
    {
        size_t bytes = im.file[0].n;
        util_image_free(&im);
        util_image_take(&im, dir[1]);
        assert_int_equal(im.file[0].n, bytes);
        util_image_free(&im);
    }
    util_remove(dir[0]);
    util_remove(dir[1]);
}

static void too_big(void **state)
{
    char dir[64];
    struct snapshot_info info = {.part = 1, .start_ver = 5};
    struct snapshot_writer *w;
    struct fb_err err;
    (void)state;
    util_dir(dir, sizeof(dir));
    assert_int_equal(snapshot_create(dir, &info, &w, &err), FB_OK);
    assert_int_equal(snapshot_append(w, fb_bytes("", SNAPSHOT_BLOCK_BYTES_MAX + 1u), &err),
                     FB_ETOOBIG);
    snapshot_abandon(w);
    util_remove(dir);
}

/* Rounds over a partition that nobody writes to: there are two copies all the same, so that one may
 * be damaged; a newer version drops them in turn. */
static void same_version_again(void **state)
{
    static const char *const blocks[] = {"first", "second", "third"};
    struct snapshot_info *all, info;
    char dir[64];
    struct fb_err err;
    size_t count;
    (void)state;

    util_dir(dir, sizeof(dir));
    for (size_t i = 0; i < 3; i++) {
        struct collected newest = {0}, older = {0};
        write_one(dir, 7, 0x42, &blocks[i], 1);
        assert_int_equal(snapshot_list(dir, &all, &count, &err), FB_OK);
        assert_int_equal(count, i == 0 ? 1 : 2);
        assert_string_equal(all[0].name, THREE_NAME);
        assert_int_equal(snapshot_read(dir, all[0].name, &info, collect, &newest, &err), FB_OK);
        assert_true(fb_bytes_is(fb_buf_view(&newest.bytes), blocks[i]));
        if (i > 0) {
            assert_string_equal(all[1].name, "0007-0000000000000042.1.snap");
            assert_int_equal(snapshot_read(dir, all[1].name, &info, collect, &older, &err), FB_OK);
            assert_true(fb_bytes_is(fb_buf_view(&older.bytes), blocks[i - 1]));
        }
        free(all);
        fb_buf_fini(&newest.bytes);
        fb_buf_fini(&older.bytes);
    }
    for (uint64_t ver = 0x43; ver <= 0x44; ver++) {
        write_one(dir, 7, ver, blocks, 1);
        assert_int_equal(snapshot_list(dir, &all, &count, &err), FB_OK);
        assert_int_equal(count, 2);
        assert_int_equal(all[0].start_ver, ver);
        assert_int_equal(all[1].start_ver, ver - 1);
        free(all);
    }
    util_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),           cmocka_unit_test(left_over_and_abandoned),
        cmocka_unit_test(every_damage_is_seen), cmocka_unit_test(under_another_name),
        cmocka_unit_test(nothing_is_no_block),  cmocka_unit_test(too_big),
        cmocka_unit_test(same_version_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
