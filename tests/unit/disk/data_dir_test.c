/* Goal: a data directory is used by its cluster, its node and one process only; others are refused
 * and nothing is touched. */
#include "tests/unit/disk/disk_util.h"

#include "node/disk/data_dir.h"

#include "proto/base/hash.h"

#include <inttypes.h>

static const uint8_t ours[16] = {1, 2, 3};
static const uint8_t theirs[16] = {9};

static void expect(const char *path, const uint8_t *cluster, const char *node, enum fb_status want,
                   const char *words)
{
    struct data_dir d;
    struct fb_err err = {0};
    enum fb_status s = data_dir_open(path, cluster, node, &d, &err);
    if (s != want || (words != NULL && strstr(err.msg, words) == NULL))
        fail_msg("status %d, want %d: %s", s, want, err.msg);
    assert_null(strchr(err.msg, '\n'));
    if (s == FB_OK)
        data_dir_close(&d, 0);
}

static void life(void **state)
{
    char base[64], path[128];
    struct data_dir d;
    struct fb_err err;
    (void)state;

    snprintf(path, sizeof(path), "%s/a/b", util_dir(base, sizeof(base)));
    assert_int_equal(data_dir_open(path, ours, "n1", &d, &err), FB_OK);
    assert_false(d.was_clean);
    assert_int_equal(access(d.log_path, W_OK), 0);
    assert_int_equal(access(d.snapshot_path, W_OK), 0);
    data_dir_close(&d, 0xabcdef0123456789);
    data_dir_close(&d, 5); /* closed already: the marker stays as it is */
    assert_int_equal(data_dir_open(path, ours, "n1", &d, &err), FB_OK);
    assert_true(d.was_clean);
    assert_true(d.clean_inc == 0xabcdef0123456789);
    data_dir_close(&d, 0); /* not clean: the marker was used up */
    assert_int_equal(data_dir_open(path, ours, "n1", &d, &err), FB_OK);
    assert_false(d.was_clean);
    data_dir_close(&d, 0);
    util_remove(base);
}

static void in_use(void **state)
{
    char path[64], pid[32];
    struct data_dir d;
    struct fb_err err;
    (void)state;

    util_dir(path, sizeof(path));
    assert_int_equal(data_dir_open(path, ours, "n1", &d, &err), FB_OK);
    snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
    expect(path, ours, "n1", FB_EBUSY, pid);
    expect(path, theirs, "n1", FB_EFOREIGN, "cluster");
    data_dir_close(&d, 0);
    expect(path, ours, "n1", FB_OK, NULL);
    util_remove(path);
}

/* So that the directory is files only, and can be compared. */
static void remove_folders(const char *path)
{
    char sub[128];
    snprintf(sub, sizeof(sub), "%s/log", path);
    assert_int_equal(rmdir(sub), 0);
    snprintf(sub, sizeof(sub), "%s/snapshot", path);
    assert_int_equal(rmdir(sub), 0);
}

static void foreign(void **state)
{
    char path[64];
    struct util_image before;
    (void)state;

    util_dir(path, sizeof(path));
    expect(path, ours, "n1", FB_OK, NULL);
    remove_folders(path);
    util_image_take(&before, path);
    expect(path, theirs, "n1", FB_EFOREIGN,
           "belongs to cluster 01020300-0000-0000-0000-000000000000");
    expect(path, ours, "n2", FB_EFOREIGN, "belongs to node \"n1\"");
    util_image_same(&before, path);
    util_image_free(&before);
    util_remove(path);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    FILE *f;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void damaged_or_newer(void **state)
{
    char path[64];
    struct util_image im;
    size_t id = 0;
    (void)state;

    util_dir(path, sizeof(path));
    expect(path, ours, "n1", FB_OK, NULL);
    remove_folders(path);
    util_image_take(&im, path);
    while (strcmp(im.file[id].name, "IDENTITY") != 0)
        id++;
    for (size_t i = 0; i < im.file[id].n; i++) {
        struct data_dir d;
        struct fb_err err;
        enum fb_status s;
        im.file[id].p[i] ^= 2;
        util_image_put(&im, path);
        s = data_dir_open(path, ours, "n1", &d, &err);
        assert_true(s == FB_ECORRUPT || s == FB_EUNSUPPORTED);
        util_image_same(&im, path);
        im.file[id].p[i] ^= 2;
    }
    write_file(path, "IDENTITY", "format=2\ncluster=whatever\n");
    expect(path, ours, "n1", FB_EUNSUPPORTED, "format 2");
    util_image_free(&im);
    util_remove(path);
}

/* Whole, and yet not what this program writes. */
static void sealed_nonsense(void **state)
{
    static const char *const texts[] = {"# nothing\n", "format=1\nnode=n1\n",
                                        "format=1\ncluster=01020300-0000-0000-0000-000000000000\n",
                                        "cluster=01020300-0000-0000-0000-000000000000\nnode=n1\n"};
    char path[64], text[256];
    (void)state;

    util_dir(path, sizeof(path));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        snprintf(text, sizeof(text), "%schecksum=%08" PRIx32 "\n", texts[i],
                 fb_checksum32(texts[i], strlen(texts[i])));
        write_file(path, "IDENTITY", text);
        expect(path, ours, "n1", FB_ECORRUPT, "IDENTITY is damaged");
    }
    util_remove(path);
}

static void not_ours(void **state)
{
    char path[64], bad[128];
    struct util_image before;
    (void)state;

    util_dir(path, sizeof(path));
    write_file(path, "letter.txt", "dear");
    util_image_take(&before, path);
    expect(path, ours, "n1", FB_EREFUSED, "letter.txt");
    util_image_same(&before, path);
    util_image_free(&before);
    snprintf(bad, sizeof(bad), "%s/letter.txt/x", path);
    expect(bad, ours, "n1", FB_EIO, "data directory");
    expect("", ours, "n1", FB_EINVAL, NULL);
    expect(path, ours, "", FB_EINVAL, NULL);
    util_remove(path);
}

static void no_right(void **state)
{
    char path[64];
    (void)state;
    if (geteuid() == 0) {
        /* root passes every permission: a read-only kernel directory stands for it */
        expect("/proc/forebay", ours, "n1", FB_ENOENT, "set another data_dir");
        return;
    }
    util_dir(path, sizeof(path));
    assert_int_equal(chmod(path, 0500), 0);
    expect(path, ours, "n1", FB_EPERM, "set another data_dir");
    util_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(life),
        cmocka_unit_test(in_use),
        cmocka_unit_test(foreign),
        cmocka_unit_test(damaged_or_newer),
        cmocka_unit_test(sealed_nonsense),
        cmocka_unit_test(not_ours),
        cmocka_unit_test(no_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
