/* Goal: the text of a segment and of a snapshot tells what is there and where it is damaged. */
#include "tests/unit/disk/disk_util.h"

#include "node/disk/dump.h"
#include "node/disk/snapshot.h"

#include "proto/wire/record.h"
#include "proto/wire/version.h"

static enum fb_status dump(const char *path, enum disk_dump_detail detail, char **text,
                           struct fb_err *err)
{
    size_t n;
    FILE *out = open_memstream(text, &n);
    enum fb_status s;
    assert_non_null(out);
    s = disk_dump(path, detail, out, err);
    fclose(out);
    return s;
}

static void expect(const char *path, enum fb_status want, const char *in_text, const char *in_err)
{
    struct fb_err err = {0};
    char *text;
    enum fb_status s = dump(path, DISK_DUMP_RECORDS, &text, &err);
    if (s != want || (in_text && !strstr(text, in_text)) || (in_err && !strstr(err.msg, in_err)))
        fail_msg("status %d (%s), text:\n%s", s, err.msg, text);
    free(text);
}

static void invert(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    uint8_t c;
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c = (uint8_t)~c;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void segment(void **state)
{
    struct fb_record r = {
        .type = FB_RECORD_DEL, .part = 5, .ver = fb_ver(2, 9), .prev = fb_ver(2, 8)};
    char dir[64], path[128];
    struct fb_buf b = {0};
    struct fb_err err;
    struct log *log;
    (void)state;

    snprintf(path, sizeof(path), "%s/00000001-00-00000001.seg", util_dir(dir, sizeof(dir)));
    r.key = fb_bytes_str("users:4 2");
    fb_record_encode(&b, &r);
    log = util_open(dir, 1, 1, 4096);
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(log_append(log, 0, seq, fb_buf_view(&b), false, &err), FB_OK);
    expect(path, FB_OK, "3 batches", NULL);
    expect(path, FB_OK, "open, the rest is empty", NULL);
    log_close(log);
    expect(path, FB_OK, "sealed, the last of its lane", NULL);
    expect(path, FB_OK, "part=5 ver=2.9 prev=2.8 key=users:4\\x202", NULL);
    expect(path, FB_OK, "offset 72: batch seq=1", NULL);
    invert(path, 72 + 50);
    expect(path, FB_ECORRUPT, "0 batches", "offset 72");
    assert_int_equal(truncate(path, 40), 0);
    expect(path, FB_ECORRUPT, NULL, "");
    assert_int_equal(truncate(path, 4), 0);
    expect(path, FB_EINVAL, NULL, "neither");
    invert(path, 0);
    expect(path, FB_EINVAL, NULL, "neither");
    expect(dir, FB_EIO, NULL, NULL);
    snprintf(path, sizeof(path), "%s/none", dir);
    expect(path, FB_ENOENT, NULL, "none");
    fb_buf_fini(&b);
    util_remove(dir);
}

static void snapshot(void **state)
{
    struct snapshot_info info = {
        .part = 7, .start_ver = fb_ver(3, 4), .generation = 2, .start_log_seq = 17};
    struct snapshot_writer *w;
    char dir[64], path[128];
    struct fb_err err;
    (void)state;

    util_dir(dir, sizeof(dir));
    assert_int_equal(snapshot_create(dir, &info, &w, &err), FB_OK);
    assert_int_equal(snapshot_append(w, fb_bytes_str("some items"), &err), FB_OK);
    assert_int_equal(snapshot_append(w, fb_bytes_str("more"), &err), FB_OK);
    assert_int_equal(snapshot_commit(w, 1000, &err), FB_OK);
    snprintf(path, sizeof(path), "%s/0007-0000030000000004.snap", dir);
    expect(path, FB_OK, "offset 122: block 1 bytes=4", NULL);
    expect(path, FB_OK, "partition 7 at version 3.4, log from generation 2 sequence 17", NULL);
    invert(path, 125);
    expect(path, FB_ECORRUPT, "1 good blocks", "offset 122");
    util_remove(dir);
}

static void a_path_that_is_too_long(void **state)
{
    char path[5000];
    (void)state;
    memset(path, 'x', sizeof(path));
    memcpy(path + sizeof(path) - 6, "/file", 6);
    expect(path, FB_EINVAL, NULL, "the path is longer than 4095 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(segment), cmocka_unit_test(snapshot),
                                       cmocka_unit_test(a_path_that_is_too_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
