/* Listing the segments of a log directory. */
#include "node/disk/log_dir.h"

#include "proto/base/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static int compare(const void *a, const void *b)
{
    const struct log_file *x = a, *y = b;
    if (x->generation != y->generation)
        return x->generation < y->generation ? -1 : 1;
    if (x->lane != y->lane)
        return x->lane < y->lane ? -1 : 1;
    return x->segment < y->segment ? -1 : x->segment > y->segment;
}

enum fb_status log_dir_list(const char *dir, struct log_file **out, size_t *count,
                            struct fb_err *err)
{
    struct log_file *all = NULL;
    size_t n = 0, cap = 0;
    enum fb_status s = FB_OK;
    struct dirent *e;
    DIR *d = opendir(dir);

    *out = NULL;
    *count = 0;
    if (d == NULL)
        return fb_err_set(err, fb_status_of_errno(errno), "open log directory %s: %s", dir,
                          strerror(errno));
    for (errno = 0; (e = readdir(d)) != NULL; errno = 0) {
        struct log_file f = {0};
        struct stat st;
        if (!log_name_parse(e->d_name, &f.generation, &f.lane, &f.segment))
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            s = fb_err_set(err, fb_status_of_errno(errno), "stat %s/%s: %s", dir, e->d_name,
                           strerror(errno));
            break;
        }
        f.bytes = (uint64_t)st.st_size;
        log_name_format(f.name, f.generation, f.lane, f.segment);
        if (n == cap) {
            cap = cap ? cap * 2 : 64;
            all = fb_xrealloc(all, cap * sizeof(*all));
        }
        all[n++] = f;
    }
    if (s == FB_OK && errno != 0)
        s = fb_err_set(err, fb_status_of_errno(errno), "read log directory %s: %s", dir,
                       strerror(errno));
    closedir(d);
    if (s != FB_OK) {
        free(all);
        return s;
    }
    if (n > 1)
        qsort(all, n, sizeof(*all), compare);
    *out = all;
    *count = n;
    return FB_OK;
}
