/* A folder of its own for a fuzzer that works on files: in memory where there is such a place. One
 * per process; removed at its end, whatever is in it.
 */
#ifndef FB_TESTS_FUZZ_FOLDER_H_
#define FB_TESTS_FUZZ_FOLDER_H_

#include "proto/base/assert.h"
#include "proto/base/bytes.h"
#include "proto/base/compiler.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char fuzz_folder[64];

FB_UNUSED static int folder_remove_cb(const char *path, const struct stat *st, int flag,
                                      struct FTW *at)
{
    (void)st;
    (void)flag;
    if (at->level > 0)
        (void)remove(path);
    return 0;
}

/* Everything in it goes; the folder stays. */
FB_UNUSED static void folder_clear(void)
{
    (void)nftw(fuzz_folder, folder_remove_cb, 8, FTW_DEPTH | FTW_PHYS);
}

FB_UNUSED static void folder_end(void)
{
    folder_clear();
    (void)rmdir(fuzz_folder);
}

FB_UNUSED static const char *folder(void)
{
    if (fuzz_folder[0] == 0) {
        snprintf(fuzz_folder, sizeof(fuzz_folder), "%s/forebay-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        fb_assert(mkdtemp(fuzz_folder) != NULL);
        (void)atexit(folder_end);
    }
    return fuzz_folder;
}

FB_UNUSED static void folder_put(const char *name, struct fb_bytes content)
{
    char path[512];
    int fd;
    snprintf(path, sizeof(path), "%s/%s", folder(), name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fb_assert(fd >= 0);
    while (content.n > 0) {
        ssize_t n = write(fd, content.p, content.n);
        fb_assert(n > 0);
        content.p += n;
        content.n -= (size_t)n;
    }
    close(fd);
}

#endif
