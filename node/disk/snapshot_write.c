/* Writing one snapshot: temp file, blocks, end block, fsync, rename, fsync of the directory, older
 * ones removed. */
#include "node/disk/file.h"
#include "node/disk/snapshot_format.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SNAPSHOTS_KEPT 2u

struct snapshot_writer {
    int dir_fd;
    int fd;
    uint16_t part;
    uint64_t start_ver;
    uint64_t salt;
    uint64_t offset; /* where the next block goes */
    uint64_t blocks;
    uint64_t chain;
    char *dir;
    char name[64];
    char tmp[72];
};

static void writer_free(struct snapshot_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    if (w->dir_fd >= 0)
        close(w->dir_fd);
    free(w->dir);
    free(w);
}

/* No room is an answer, everything else is a broken disk. */
static enum fb_status write_at_end(struct snapshot_writer *w, const void *p, size_t n,
                                   struct fb_err *err)
{
    int e = disk_pwrite(w->fd, p, n, w->offset);
    if (e != 0 && !disk_is_full(e))
        disk_die(w->tmp, "write", e);
    if (e != 0)
        return fb_err_set(
            err, FB_ENOSPC,
            "write %s/%s: %s; free some space, the older snapshots and the log are intact", w->dir,
            w->tmp, strerror(e));
    w->offset += n;
    return FB_OK;
}

enum fb_status snapshot_create(const char *dir, const struct snapshot_info *info,
                               struct snapshot_writer **out, struct fb_err *err)
{
    struct snapshot_writer *w = fb_xcalloc(1, sizeof(*w));
    uint8_t header[SNAPSHOT_HEADER_BYTES];
    enum fb_status s;

    *out = NULL;
    w->fd = -1;
    w->part = info->part;
    w->start_ver = info->start_ver;
    w->salt = fb_random_u64();
    w->dir = fb_xstrdup(dir);
    snapshot_name_format(w->name, info->part, info->start_ver);
    snprintf(w->tmp, sizeof(w->tmp), "%s.tmp", w->name);
    s = disk_open_dir(dir, &w->dir_fd, err);
    if (s != FB_OK)
        goto free_writer;
    w->fd = openat(w->dir_fd, w->tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w->fd < 0) {
        s = fb_err_set(err, fb_status_of_errno(errno), "create %s/%s: %s", dir, w->tmp,
                       strerror(errno));
        goto free_writer;
    }
    snapshot_header_encode(header, info, w->salt);
    s = write_at_end(w, header, sizeof(header), err);
    if (s != FB_OK) {
        snapshot_abandon(w);
        return s;
    }
    *out = w;
    return FB_OK;
free_writer:
    writer_free(w);
    return s;
}

enum fb_status snapshot_append(struct snapshot_writer *w, struct fb_bytes items, struct fb_err *err)
{
    struct snapshot_block b = {.length = (uint32_t)items.n, .index = w->blocks};
    uint8_t header[SNAPSHOT_BLOCK_HEADER_BYTES];
    enum fb_status s;

    if (items.n == 0)
        return FB_OK;
    if (items.n > SNAPSHOT_BLOCK_BYTES_MAX)
        return fb_err_set(err, FB_ETOOBIG, "a snapshot block has %zu bytes, at most %u are allowed",
                          items.n, SNAPSHOT_BLOCK_BYTES_MAX);
    b.hash = fb_hash64(items.p, items.n, w->salt);
    snapshot_block_encode(header, &b, w->salt);
    s = write_at_end(w, header, sizeof(header), err);
    if (s == FB_OK)
        s = write_at_end(w, items.p, items.n, err);
    if (s != FB_OK)
        return s;
    w->blocks++;
    w->chain = snapshot_chain(w->chain, b.hash);
    return FB_OK;
}

/* The two newest stay. A file that cannot be removed costs space only, so it is reported and left.
 */
static void remove_older(const struct snapshot_writer *w)
{
    struct snapshot_info *all;
    size_t count;
    uint32_t seen = 0;
    struct fb_err err;

    if (snapshot_list_names(w->dir, &all, &count, &err) != FB_OK) {
        FB_LOG(WARN, "old snapshots not removed", FB_KS("error", err.msg));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (all[i].part != w->part || ++seen <= SNAPSHOTS_KEPT)
            continue;
        if (unlinkat(w->dir_fd, all[i].name, 0) != 0)
            FB_LOG(WARN, "old snapshot not removed", FB_KS("file", all[i].name),
                   FB_KS("error", strerror(errno)));
    }
    free(all);
}

enum fb_status snapshot_commit(struct snapshot_writer *w, uint64_t wall_ms, struct fb_err *err)
{
    struct snapshot_end e = {w->blocks, w->offset, wall_ms, w->chain};
    uint8_t end[SNAPSHOT_END_BYTES];
    char older[64];
    enum fb_status s;

    snapshot_end_encode(end, &e, w->salt);
    s = write_at_end(w, end, sizeof(end), err);
    if (s != FB_OK) {
        snapshot_abandon(w);
        return s;
    }
    if (!FB_MUTANT(snapshot_no_fsync) &&
        fsync(w->fd) != 0) /* also "no room": what the kernel dropped is unknown */
        disk_die(w->tmp, "fsync", errno);
    /* The one before stays, even when it is of this very version: it is the copy that is taken when
     * this one is damaged, and the log is kept for it. */
    snapshot_name_older(older, w->part, w->start_ver);
    if ((renameat(w->dir_fd, w->name, w->dir_fd, older) != 0 && errno != ENOENT) ||
        renameat(w->dir_fd, w->tmp, w->dir_fd, w->name) != 0) {
        int no = errno;
        if (!disk_is_full(no))
            disk_die(w->tmp, "rename", no);
        snapshot_abandon(w);
        return fb_err_set(err, FB_ENOSPC, "rename a snapshot: %s; free some space", strerror(no));
    }
    if (fsync(w->dir_fd) != 0)
        disk_die(w->dir, "fsync of the directory", errno);
    remove_older(w);
    writer_free(w);
    return FB_OK;
}

void snapshot_abandon(struct snapshot_writer *w)
{
    if (w == NULL)
        return;
    unlinkat(w->dir_fd, w->tmp, 0);
    writer_free(w);
}
