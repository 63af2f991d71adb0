/* Reading the connection string. */
#include "sync/io/conninfo.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNINFO_BYTES_MAX (16u << 10)

enum fb_status sync_conninfo_read(const char *path, struct fb_buf *out, bool *exposed,
                                  struct fb_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0) {
        int e = errno;
        (void)close(fd);
        return fb_err_set(err, fb_status_of_errno(e), "stat %s: %s", path, strerror(e));
    }
    *exposed = (st.st_mode & (S_IRWXO)) != 0;
    n = read(fd, fb_buf_reserve(out, CONNINFO_BYTES_MAX + 1), CONNINFO_BYTES_MAX + 1);
    (void)close(fd);
    if (n < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "read %s: %s", path, strerror(errno));
    if (n > (ssize_t)CONNINFO_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL,
                          "%s is larger than %u bytes; it should hold one libpq connection string",
                          path, CONNINFO_BYTES_MAX);
    out->n = (size_t)n;
    while (out->n > 0 &&
           (out->p[out->n - 1] == '\n' || out->p[out->n - 1] == '\r' || out->p[out->n - 1] == ' '))
        out->n--;
    if (out->n == 0)
        return fb_err_set(err, FB_EINVAL, "%s is empty; it should hold one libpq connection string",
                          path);
    for (size_t i = 0; i < out->n; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r')
            out->p[i] = ' ';
        else if (out->p[i] == '\0')
            return fb_err_set(err, FB_EINVAL, "%s holds a zero byte", path);
    fb_buf_put_u8(out, 0);
    return FB_OK;
}
