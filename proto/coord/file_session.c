/* Sessions as OFD locks: the kernel ends them with the process, however it ends. */
#include "proto/coord/file_session.h"

#include "proto/coord/backend.h"

#include "proto/base/bounds.h"
#include "proto/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_NAME "sessions"
#define PATH_BYTES (FB_NAME_BYTES_MAX + 32)

/* A slash in a name ("node/node-1") is '%' in the file's. */
static void path_of(char out[PATH_BYTES], const char *name, size_t n)
{
    size_t at = (size_t)snprintf(out, PATH_BYTES, DIR_NAME "/");
    for (size_t i = 0; i < n; i++)
        out[at++] = name[i] == '/' ? '%' : name[i];
    snprintf(out + at, PATH_BYTES - at, ".lock");
}

static bool read_holder(int fd, long *pid, uint64_t *token)
{
    char text[64];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return sscanf(text, "%ld %" SCNx64, pid, token) == 2;
}

enum fb_status file_session_take(int dirfd, const char *name, int *fd, char id[SESSION_ID_BYTES],
                                 struct fb_err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[PATH_BYTES], text[64];
    uint64_t token = fb_random_u64(), other;
    long pid = 0;
    int n;

    if (mkdirat(dirfd, DIR_NAME, 0700) != 0 && errno != EEXIST)
        return fb_err_set(err, fb_status_of_errno(errno), "create directory " DIR_NAME ": %s",
                          strerror(errno));
    path_of(path, name, strlen(name));
    *fd = openat(dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "open %s: %s", path, strerror(errno));
    if (fcntl(*fd, F_OFD_SETLK, &lock) != 0) {
        int e = errno;
        enum fb_status s;
        if (e != EAGAIN && e != EACCES)
            s = fb_err_set(err, fb_status_of_errno(e), "lock %s: %s", path, strerror(e));
        else if (read_holder(*fd, &pid, &other))
            s = fb_err_set(err, FB_EBUSY,
                           "%s is running already, as process %ld; stop it or choose another name",
                           name, pid);
        else
            s = fb_err_set(err, FB_EBUSY, "%s is running already; stop it or choose another name",
                           name);
        close(*fd);
        *fd = -1;
        return s;
    }
    n = snprintf(text, sizeof(text), "%ld %016" PRIx64 "\n", (long)getpid(), token);
    if (pwrite(*fd, text, (size_t)n, 0) != n || ftruncate(*fd, n) != 0) {
        enum fb_status s = fb_err_set(err, FB_EIO, "write %s: %s", path, strerror(errno));
        close(*fd);
        *fd = -1;
        return s;
    }
    snprintf(id, SESSION_ID_BYTES, "%s:%016" PRIx64, name, token);
    return FB_OK;
}

bool file_session_alive(int dirfd, const char *id)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const char *colon = strrchr(id, ':');
    char path[PATH_BYTES];
    uint64_t token, want;
    bool alive;
    long pid;
    int fd;

    if (colon == NULL || !fb_coord_name_ok(id, (size_t)(colon - id)) ||
        sscanf(colon + 1, "%" SCNx64, &want) != 1)
        return false;
    path_of(path, id, (size_t)(colon - id));
    fd = openat(dirfd, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    /* Another descriptor of the same file, so that a session of this very process counts as held
     * too. */
    alive = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK &&
            read_holder(fd, &pid, &token) && token == want;
    close(fd);
    return alive;
}
