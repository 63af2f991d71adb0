/* Deleting what snapshots made superfluous. */
#include "node/disk/file.h"
#include "node/disk/log_dir.h"
#include "node/disk/log_internal.h"

#include "proto/base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static enum fb_status remove_file(struct log *log, const char *name, uint64_t bytes,
                                  struct fb_err *err)
{
    if (unlinkat(log->dir_fd, name, 0) != 0 && errno != ENOENT) {
        int e = errno;
        if (e == EIO)
            disk_die(name, "unlink", e);
        return fb_err_set(err, fb_status_of_errno(e), "remove log segment %s/%s: %s", log->dir,
                          name, strerror(e));
    }
    /* One after the other also on disk: a file system may keep a later deletion and lose an earlier
     * one, and what is left would look like a segment missing in the middle. */
    if (fsync(log->dir_fd) != 0)
        disk_die(log->dir, "fsync of the directory", errno);
    atomic_fetch_sub(&log->bytes, bytes);
    return FB_OK;
}

/* Oldest first and one lane after the other, so that what a crash leaves has no hole. */
static enum fb_status remove_older(struct log *log, struct fb_err *err)
{
    struct log_file *files;
    size_t count;
    enum fb_status s = log_dir_list(log->dir, &files, &count, err);

    if (s != FB_OK)
        return s;
    for (size_t i = 0; s == FB_OK && i < count && files[i].generation < log->config.generation; i++)
        s = remove_file(log, files[i].name, files[i].bytes, err);
    free(files);
    return s;
}

/* The oldest segment, when nothing of it is needed. The next one's header must be durable: it is
 * the first of its lane from now on. */
static bool superfluous(struct log_lane *l, uint64_t keep_seq, struct log_segment *out)
{
    bool yes;
    pthread_mutex_lock(&l->mtx);
    yes = l->segment_count > 1 && l->segments[0].sealed && l->segments[0].last_seq < keep_seq &&
          l->segments[1].name_synced;
    *out = l->segments[0];
    pthread_mutex_unlock(&l->mtx);
    return yes;
}

/* Only this thread takes from the front, so the first is still the one that was deleted. */
static void forget_first(struct log_lane *l)
{
    pthread_mutex_lock(&l->mtx);
    l->segment_count--;
    memmove(l->segments, l->segments + 1, l->segment_count * sizeof(*l->segments));
    pthread_mutex_unlock(&l->mtx);
}

enum fb_status log_trim(struct log *log, uint32_t lane, uint64_t keep_seq, bool drop_older,
                        struct fb_err *err)
{
    struct log_lane *l = &log->lanes[lane];
    enum fb_status s = FB_OK;

    fb_assert(lane < log->config.lanes);
    if (drop_older)
        s = remove_older(log, err);
    for (struct log_segment g; s == FB_OK && superfluous(l, keep_seq, &g);) {
        char name[LOG_NAME_BYTES];
        log_name_format(name, log->config.generation, lane, g.number);
        s = remove_file(log, name, g.file_bytes, err);
        if (s == FB_OK)
            forget_first(l);
    }
    return s;
}
