/* Own folders, copies of them, and batches whose contents tell their place. Shared by the tests of
 * node/disk. */
#ifndef FB_TESTS_UNIT_DISK_DISK_UTIL_H_
#define FB_TESTS_UNIT_DISK_DISK_UTIL_H_

#include "node/disk/log.h"
#include "node/disk/log_dir.h"

#include "proto/base/buf.h"
#include "proto/base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define UTIL_FILES_MAX 64
#define UTIL_LANES_MAX 8
#define UTIL_GENERATIONS_MAX 8

/* Memory files where there are some: thousands of recoveries with fsync are slow on a disk. */
FB_UNUSED static char *util_dir(char *out, size_t n)
{
    snprintf(out, n, "%s/forebay-disk-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(out));
    return out;
}

FB_UNUSED static void util_remove(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(d), e->d_name, 0) != 0) {
            char sub[512];
            snprintf(sub, sizeof(sub), "%s/%s", dir, e->d_name);
            util_remove(sub);
        }
    }
    closedir(d);
    assert_int_equal(rmdir(dir), 0);
}

/* A folder's files in memory. */
struct util_image {
    size_t count;
    struct {
        char name[64];
        uint8_t *p;
        size_t n;
    } file[UTIL_FILES_MAX];
};

FB_UNUSED static void util_image_take(struct util_image *im, const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    im->count = 0;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        struct stat st;
        int fd;
        if (e->d_name[0] == '.' || strcmp(e->d_name, "reserve") == 0)
            continue;
        assert_true(im->count < UTIL_FILES_MAX && strlen(e->d_name) < 64);
        fd = openat(dirfd(d), e->d_name, O_RDONLY);
        assert_int_equal(fstat(fd, &st), 0);
        memcpy(im->file[im->count].name, e->d_name, strlen(e->d_name) + 1);
        im->file[im->count].n = (size_t)st.st_size;
        im->file[im->count].p = fb_xmalloc((size_t)st.st_size + 1);
        assert_int_equal(read(fd, im->file[im->count].p, (size_t)st.st_size), st.st_size);
        im->count++;
        close(fd);
    }
    closedir(d);
}

FB_UNUSED static void util_image_free(struct util_image *im)
{
    for (size_t i = 0; i < im->count; i++)
        free(im->file[i].p);
    im->count = 0;
}

/* The folder holds exactly these files afterwards. */
FB_UNUSED static void util_image_put(const struct util_image *im, const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    for (size_t i = 0; i < im->count; i++) {
        int fd = openat(dirfd(d), im->file[i].name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, im->file[i].p, im->file[i].n), im->file[i].n);
        close(fd);
    }
    closedir(d);
}

FB_UNUSED static void util_image_same(const struct util_image *im, const char *dir)
{
    struct util_image now;
    util_image_take(&now, dir);
    assert_int_equal(now.count, im->count);
    for (size_t i = 0; i < now.count; i++) {
        size_t k = 0;
        while (k < im->count && strcmp(im->file[k].name, now.file[i].name) != 0)
            k++;
        assert_true(k < im->count);
        assert_int_equal(now.file[i].n, im->file[k].n);
        assert_memory_equal(now.file[i].p, im->file[k].p, now.file[i].n);
    }
    util_image_free(&now);
}

/* Contents of batch `seq`: `n` bytes that depend on generation, lane and seq. */
FB_UNUSED static void util_payload(uint64_t generation, uint32_t lane, uint64_t seq, size_t n,
                                   struct fb_buf *out)
{
    fb_buf_clear(out);
    for (size_t i = 0; i < n; i++)
        fb_buf_put_u8(out, (uint8_t)(generation * 131 + lane * 31 + seq * 7 + i));
}
FB_UNUSED static size_t util_payload_bytes(uint64_t seq)
{
    return (size_t)(seq * 37 % 190);
}

/* What a recovery gave: checked batch by batch to be 1, 2, 3 ... of what was written. */
struct util_seen {
    uint64_t last[UTIL_GENERATIONS_MAX][UTIL_LANES_MAX];
    uint64_t generation; /* of the latest batch: never goes back */
    uint64_t first;      /* sequences may begin here instead of 1 (after a trim) */
    struct fb_buf expect;
};

FB_UNUSED static enum fb_status util_batch(void *arg, uint64_t generation, uint32_t lane,
                                           uint64_t seq, struct fb_bytes records,
                                           struct fb_err *err)
{
    struct util_seen *s = arg;
    (void)err;
    assert_true(generation < UTIL_GENERATIONS_MAX && lane < UTIL_LANES_MAX);
    assert_true(generation >= s->generation);
    s->generation = generation;
    if (s->last[generation][lane] != 0 || s->first == 0)
        assert_int_equal(seq, s->last[generation][lane] + 1);
    s->last[generation][lane] = seq;
    util_payload(generation, lane, seq, util_payload_bytes(seq), &s->expect);
    assert_true(fb_bytes_equal(records, fb_buf_view(&s->expect)));
    return FB_OK;
}

/* `seen` is zeroed first, but for `first`. */
FB_UNUSED static enum fb_status util_recover(const char *dir, struct util_seen *seen,
                                             uint32_t *torn, struct fb_err *err)
{
    struct log_recovery r = {.dir = dir, .arg = seen, .batch = util_batch};
    struct fb_buf keep = seen->expect;
    uint64_t first = seen->first;
    enum fb_status s;
    memset(seen, 0, sizeof(*seen));
    seen->expect = keep;
    seen->first = first;
    s = log_recover(&r, err);
    if (torn != NULL)
        *torn = r.torn_tails;
    return s;
}

FB_UNUSED static struct log *util_open(const char *dir, uint64_t generation, uint32_t lanes,
                                       uint64_t segment_bytes)
{
    struct log_config c = {.dir = dir,
                           .lanes = lanes,
                           .segment_bytes = segment_bytes,
                           .generation = generation,
                           .sync_interval_ms = 60000};
    struct log *log;
    struct fb_err err;
    if (log_open(&c, &log, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return log;
}

FB_UNUSED static void util_append(struct log *log, uint64_t generation, uint32_t lane,
                                  uint64_t first, uint64_t last)
{
    struct fb_buf b = {0};
    struct fb_err err;
    for (uint64_t seq = first; seq <= last; seq++) {
        util_payload(generation, lane, seq, util_payload_bytes(seq), &b);
        if (log_append(log, lane, seq, fb_buf_view(&b), false, &err) != FB_OK)
            fail_msg("%s", err.msg);
    }
    fb_buf_fini(&b);
}

FB_UNUSED static void util_sync(struct log *log, uint32_t lane, uint64_t seq)
{
    log_sync_soon(log, lane);
    for (int i = 0; i < 10000 && log_synced_seq(log, lane) < seq; i++)
        usleep(1000);
    assert_true(log_synced_seq(log, lane) >= seq);
}

#endif
