/* Listing snapshots, and reading one with every check. */
#include "node/disk/file.h"
#include "node/disk/snapshot_format.h"

#include "proto/base/buf.h"
#include "proto/base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int info_compare(const void *a, const void *b)
{
    const struct snapshot_info *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    if (x->start_ver != y->start_ver)
        return x->start_ver > y->start_ver ? -1 : 1;
    return strcmp(y->name, x->name); /* "....snap" is newer than "....1.snap" */
}

/* Header and end block, as far as they are good: a damaged file keeps what its name says and is
 * found out by reading it. It must stay in the list: left out, its partition would silently start
 * from nothing. */
static void peek(int dir_fd, struct snapshot_info *info)
{
    uint8_t header[SNAPSHOT_HEADER_BYTES], end[SNAPSHOT_END_BYTES];
    struct snapshot_info found = {0};
    struct snapshot_end e;
    uint64_t salt;
    struct stat st;
    int fd = openat(dir_fd, info->name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0)
        info->bytes = (uint64_t)st.st_size;
    if (disk_pread(fd, header, sizeof(header), 0) == FB_OK &&
        snapshot_header_decode(header, &found, &salt, NULL) == FB_OK && found.part == info->part &&
        found.start_ver == info->start_ver) {
        info->generation = found.generation;
        info->start_log_seq = found.start_log_seq;
        if (info->bytes >= SNAPSHOT_HEADER_BYTES + SNAPSHOT_END_BYTES &&
            disk_pread(fd, end, sizeof(end), info->bytes - sizeof(end)) == FB_OK &&
            snapshot_end_decode(end, &e, salt, NULL) == FB_OK) {
            info->blocks = e.blocks;
            info->written_wall_ms = e.wall_ms;
        }
    }
    close(fd);
}

static bool is_left_over(const char *name)
{
    char base[64];
    size_t n = strlen(name);
    uint16_t part;
    uint64_t ver;
    if (n < 5 || n - 4 >= sizeof(base) || strcmp(name + n - 4, ".tmp") != 0)
        return false;
    memcpy(base, name, n - 4);
    base[n - 4] = '\0';
    return snapshot_name_parse(base, &part, &ver);
}

static enum fb_status list_dir(const char *dir, bool whole, struct snapshot_info **out,
                               size_t *count, struct fb_err *err)
{
    struct snapshot_info *all = NULL;
    size_t n = 0, cap = 0;
    struct dirent *e;
    DIR *d = opendir(dir);

    *out = NULL;
    *count = 0;
    if (d == NULL)
        return fb_err_set(err, fb_status_of_errno(errno), "open directory %s: %s", dir,
                          strerror(errno));
    for (errno = 0; (e = readdir(d)) != NULL; errno = 0) {
        uint16_t part;
        uint64_t ver;
        if (whole && is_left_over(e->d_name))
            unlinkat(dirfd(d), e->d_name, 0); /* a later pass tries again if this fails */
        if (!snapshot_name_parse(e->d_name, &part, &ver))
            continue;
        if (n == cap) {
            cap = cap ? cap * 2 : 64;
            all = fb_xrealloc(all, cap * sizeof(*all));
        }
        all[n] = (struct snapshot_info){.part = part, .start_ver = ver};
        memcpy(all[n].name, e->d_name, strlen(e->d_name) + 1);
        if (whole)
            peek(dirfd(d), &all[n]);
        n++;
    }
    if (errno != 0) {
        int no = errno;
        closedir(d);
        free(all);
        return fb_err_set(err, fb_status_of_errno(no), "read directory %s: %s", dir, strerror(no));
    }
    closedir(d);
    if (n > 1)
        qsort(all, n, sizeof(*all), info_compare);
    *out = all;
    *count = n;
    return FB_OK;
}

enum fb_status snapshot_list(const char *dir, struct snapshot_info **out, size_t *count,
                             struct fb_err *err)
{
    return list_dir(dir, true, out, count, err);
}

enum fb_status snapshot_list_names(const char *dir, struct snapshot_info **out, size_t *count,
                                   struct fb_err *err)
{
    return list_dir(dir, false, out, count, err);
}

struct reading {
    int fd;
    const char *dir;
    const char *name;
    uint64_t size;
    uint64_t offset;
    uint64_t salt;
    uint64_t blocks;
    uint64_t chain;
    uint8_t *buffer; /* one block */
    size_t cap;
};

static enum fb_status bad(const struct reading *r, enum fb_status s, struct fb_err *err)
{
    return fb_err_wrap(err, s, "snapshot %s/%s, block %llu, offset %llu", r->dir, r->name,
                       (unsigned long long)r->blocks, (unsigned long long)r->offset);
}

static enum fb_status take(struct reading *r, void *p, size_t n, struct fb_err *err)
{
    enum fb_status s;
    if (n > r->size - r->offset)
        return fb_err_set(err, FB_ECORRUPT, "the file ends too early (%llu bytes)",
                          (unsigned long long)r->size);
    s = disk_pread(r->fd, p, n, r->offset);
    if (s == FB_EIO)
        return fb_err_set(err, FB_EIO, "read: %s", strerror(errno));
    if (s != FB_OK)
        return fb_err_set(err, FB_ECORRUPT, "the file became shorter while it was read");
    return FB_OK;
}

static enum fb_status read_block(struct reading *r, struct snapshot_info *info,
                                 snapshot_items_fn items, void *arg, struct fb_err *err)
{
    uint8_t header[SNAPSHOT_BLOCK_HEADER_BYTES];
    struct snapshot_block b;
    enum fb_status s = take(r, header, sizeof(header), err);

    if (s == FB_OK)
        s = snapshot_block_decode(header, &b, r->salt, err);
    if (s != FB_OK)
        return bad(r, s, err);
    if (b.index != r->blocks) {
        fb_err_set(err, FB_ECORRUPT, "block number %llu is out of order",
                   (unsigned long long)b.index);
        return bad(r, FB_ECORRUPT, err);
    }
    if (b.length > r->cap) {
        free(r->buffer);
        r->cap = 0;
        r->buffer = fb_try_malloc(b.length);
        if (r->buffer == NULL) {
            fb_err_set(err, FB_ENOMEM, "no memory for a block of %u bytes; give the process more",
                       b.length);
            return bad(r, FB_ENOMEM, err);
        }
        r->cap = b.length;
    }
    r->offset += sizeof(header);
    s = take(r, r->buffer, b.length, err);
    if (s == FB_OK && fb_hash64(r->buffer, b.length, r->salt) != b.hash)
        s = fb_err_set(err, FB_ECORRUPT, "checksum of the block is wrong");
    if (s != FB_OK)
        return bad(r, s, err);
    r->offset += b.length;
    r->blocks++;
    r->chain = snapshot_chain(r->chain, b.hash);
    return items != NULL ? items(arg, info->part, fb_bytes(r->buffer, b.length), err) : FB_OK;
}

static enum fb_status read_end(struct reading *r, struct snapshot_info *info, struct fb_err *err)
{
    uint8_t end[SNAPSHOT_END_BYTES];
    struct snapshot_end e;
    enum fb_status s = take(r, end, sizeof(end), err);
    if (s == FB_OK)
        s = snapshot_end_decode(end, &e, r->salt, err);
    if (s == FB_OK && (e.blocks != r->blocks || e.bytes != r->offset || e.chain != r->chain))
        s = fb_err_set(err, FB_ECORRUPT, "the totals of the end block do not match");
    if (s != FB_OK)
        return bad(r, s, err);
    info->blocks = e.blocks;
    info->written_wall_ms = e.wall_ms;
    return FB_OK;
}

static enum fb_status read_header(struct reading *r, struct snapshot_info *info, struct fb_err *err)
{
    uint8_t header[SNAPSHOT_HEADER_BYTES];
    enum fb_status s = take(r, header, sizeof(header), err);
    uint16_t part;
    uint64_t ver;

    if (s == FB_OK)
        s = snapshot_header_decode(header, info, &r->salt, err);
    /* a copy under any other name is as good for whoever looks at it; a node takes only its own */
    if (s == FB_OK && snapshot_name_parse(r->name, &part, &ver) &&
        (part != info->part || ver != info->start_ver))
        s = fb_err_set(err, FB_ECORRUPT,
                       "the name does not fit the contents (partition %u, version %llx)",
                       info->part, (unsigned long long)info->start_ver);
    if (s != FB_OK)
        return bad(r, s, err);
    r->offset = sizeof(header);
    return FB_OK;
}

enum fb_status snapshot_read(const char *dir, const char *name, struct snapshot_info *info,
                             snapshot_items_fn items, void *arg, struct fb_err *err)
{
    struct reading r = {.fd = -1, .dir = dir, .name = name};
    enum fb_status s;
    struct stat st;
    struct fb_err
        own; /* messages are wrapped below, so one is needed even if the caller wants none */
    int dir_fd;

    if (err == NULL)
        err = &own;
    memset(info, 0, sizeof(*info));
    s = disk_open_dir(dir, &dir_fd, err);
    if (s != FB_OK)
        return s;
    r.fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (r.fd < 0 || fstat(r.fd, &st) != 0) {
        s = fb_err_set(err, fb_status_of_errno(errno), "open snapshot %s/%s: %s", dir, name,
                       strerror(errno));
        goto close_dir;
    }
    r.size = (uint64_t)st.st_size;
    s = read_header(&r, info, err);
    while (s == FB_OK && r.offset + SNAPSHOT_END_BYTES < r.size)
        s = read_block(&r, info, items, arg, err);
    if (s == FB_OK)
        s = read_end(&r, info, err);
    info->bytes = r.size;
    memcpy(info->name, name, strnlen(name, sizeof(info->name) - 1));
    free(r.buffer);
close_dir:
    if (r.fd >= 0)
        close(r.fd);
    close(dir_fd);
    return s;
}
