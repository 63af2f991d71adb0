/* Reading and replacing the state file of the file back end. */
#include "proto/coord/file_state.h"

#include "proto/base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FORMAT "forebay-coordinator-1"
#define STATE_NAME "state"
#define TEMP_NAME "state.tmp"

void file_state_fini(struct file_state *st)
{
    json_decref(st->keys);
    *st = (struct file_state){0};
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static enum fb_status corrupt(const char *dir, const char *what, struct fb_err *err)
{
    return fb_err_set(err, FB_ECORRUPT,
                      "%s/%s is damaged (%s); it is left as it is: restore it from a backup", dir,
                      STATE_NAME, what);
}

static enum fb_status errno_status(const char *dir, const char *name, const char *what,
                                   struct fb_err *err)
{
    int e = errno;
    return fb_err_set(err, fb_status_of_errno(e), "%s %s/%s: %s", what, dir, name, strerror(e));
}

static enum fb_status read_all(int fd, size_t n, const char *dir, struct fb_buf *out,
                               struct fb_err *err)
{
    uint8_t *p = fb_buf_try_reserve(out, n);
    if (p == NULL)
        return fb_err_set(err, FB_ENOMEM, "read %s/%s: no memory for its %zu bytes", dir,
                          STATE_NAME, n);
    while (out->n < n) {
        ssize_t got = read(fd, p + out->n, n - out->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno_status(dir, STATE_NAME, "read", err);
        if (got == 0)
            return corrupt(dir, "it became shorter while it was read", err);
        out->n += (size_t)got;
    }
    return FB_OK;
}

static bool positive(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) <= 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* Every field that later code relies on. */
static const char *check(json_t *root, uint64_t *revision)
{
    json_t *keys = json_object_get(root, "keys"), *kv;
    const char *format = json_string_value(json_object_get(root, "format")), *key;

    if (format == NULL || strcmp(format, FORMAT) != 0)
        return "its format is not " FORMAT;
    if (!positive(json_object_get(root, "revision"), revision))
        return "it has no revision";
    if (!json_is_object(keys))
        return "it has no keys";
    json_object_foreach(keys, key, kv)
    {
        const json_t *session = json_object_get(kv, "session");
        uint64_t rev;
        if (!json_is_string(json_object_get(kv, "value")) ||
            !positive(json_object_get(kv, "rev"), &rev) || rev > *revision ||
            (session != NULL && !json_is_string(session)))
            return "a key's record is malformed";
    }
    return NULL;
}

static enum fb_status parse(struct file_state *st, const char *dir, struct fb_bytes text,
                            const struct stat *id, struct fb_err *err)
{
    json_error_t je;
    json_t *root = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, &je);
    enum fb_status s = FB_OK;
    const char *problem;
    uint64_t revision = 0;

    if (root == NULL)
        return corrupt(dir, je.text, err);
    problem = check(root, &revision);
    if (problem != NULL) {
        s = corrupt(dir, problem, err);
    } else if (revision < st->highest) {
        s = fb_err_set(err, FB_ESTALE,
                       "%s/%s went back from revision %llu to %llu (an old copy was put in place); "
                       "it is not used",
                       dir, STATE_NAME, (unsigned long long)st->highest,
                       (unsigned long long)revision);
    } else {
        json_decref(st->keys);
        st->keys = json_incref(json_object_get(root, "keys"));
        st->revision = st->highest = revision;
        st->id = *id;
    }
    json_decref(root);
    return s;
}

enum fb_status file_state_load(struct file_state *st, int dirfd, const char *dir,
                               struct fb_err *err)
{
    struct fb_buf text = {0};
    struct stat id;
    enum fb_status s;
    int fd;

    if (st->keys != NULL && fstatat(dirfd, STATE_NAME, &id, 0) == 0 && same_file(&id, &st->id))
        return FB_OK;
    fd = openat(dirfd, STATE_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno_status(dir, STATE_NAME, "open", err);
    if (fstat(fd, &id) != 0)
        s = errno_status(dir, STATE_NAME, "stat", err);
    else if (!S_ISREG(id.st_mode) || id.st_size <= 0 || id.st_size > (off_t)FILE_STATE_BYTES_MAX)
        s = corrupt(dir, "its size is out of bounds", err);
    else
        s = read_all(fd, (size_t)id.st_size, dir, &text, err);
    close(fd);
    /* Another process may have put it in place and not have synced the directory yet. What is acted
     * upon must not be gone after a power loss. */
    if (s == FB_OK && fsync(dirfd) != 0)
        s = errno_status(dir, STATE_NAME, "sync the directory of", err);
    if (s == FB_OK)
        s = parse(st, dir, fb_buf_view(&text), &id, err);
    fb_buf_fini(&text);
    return s;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

enum fb_status file_state_store(int dirfd, const char *dir, const json_t *keys, uint64_t revision,
                                struct fb_err *err)
{
    json_t *root = json_pack("{s:s, s:I, s:O}", "format", FORMAT, "revision", (json_int_t)revision,
                             "keys", keys);
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
    enum fb_status s = FB_OK;
    int fd;

    fb_assert(text != NULL); /* no memory ends the process before: fb_json_memory */
    json_decref(root);
    fd = openat(dirfd, TEMP_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        s = errno_status(dir, TEMP_NAME, "create", err);
        goto out_text;
    }
    if (write_all(fd, text, strlen(text)) != 0 || write_all(fd, "\n", 1) != 0)
        s = errno_status(dir, TEMP_NAME, "write", err);
    else if (fsync(fd) != 0)
        s = errno_status(dir, TEMP_NAME, "fsync", err);
    if (close(fd) != 0 && s == FB_OK)
        s = errno_status(dir, TEMP_NAME, "close", err);
    if (s == FB_OK && renameat(dirfd, TEMP_NAME, dirfd, STATE_NAME) != 0)
        s = errno_status(dir, STATE_NAME, "rename to", err);
    if (s != FB_OK) {
        (void)unlinkat(dirfd, TEMP_NAME, 0);
        goto out_text;
    }
    if (fsync(dirfd) != 0) {
        int e = errno;
        s = fb_err_set(err, FB_EUNKNOWN,
                       "fsync %s: %s: the change was made and may be gone after a power loss", dir,
                       strerror(e));
    }
out_text:
    free(text);
    return s;
}
