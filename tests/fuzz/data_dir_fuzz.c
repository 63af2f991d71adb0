/* A data directory whose small files hold anything: IDENTITY, the marker of a clean stop, what an
 * interrupted first start leaves. The first byte says which files there are; 0xff separates them.
 *
 * Besides sanitizers: an error has a reason, a directory that is refused keeps its IDENTITY, and
 * one that opened opens again, clean after a clean stop.
 */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/input.h"

#include "node/disk/data_dir.h"
#include "proto/base/log.h"

#include <sys/stat.h>

static const uint8_t cluster[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static struct fb_bytes until_separator(struct fuzz_in *in)
{
    const uint8_t *end = in->n > 0 ? memchr(in->p, 0xff, in->n) : NULL;
    struct fb_bytes b = fuzz_bytes(in, end != NULL ? (size_t)(end - in->p) : in->n);
    (void)fuzz_bytes(in, 1);
    return b;
}

static size_t identity_bytes(void)
{
    struct stat st;
    char path[512];
    snprintf(path, sizeof(path), "%s/IDENTITY", folder());
    return stat(path, &st) == 0 ? (size_t)st.st_size : SIZE_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_in in = {data, n};
    uint8_t kind = fuzz_u8(&in);
    struct data_dir d;
    struct fb_err err = {0};
    size_t before;
    enum fb_status s;

    fb_log_set_level(FB_LOG_ERROR);
    (void)folder();
    folder_clear();
    if (kind & 8) { /* as it should be, first */
        s = data_dir_open(folder(), cluster, "node-1", &d, &err);
        fb_assert(s == FB_OK);
        data_dir_close(&d, kind & 16 ? 77 : 0);
    }
    if (kind & 1)
        folder_put("IDENTITY", until_separator(&in));
    if (kind & 2)
        folder_put("CLEAN", until_separator(&in));
    if (kind & 4)
        folder_put(kind & 32 ? "IDENTITY.tmp" : "LOCK", until_separator(&in));
    before = identity_bytes();
    s = data_dir_open(folder(), cluster, "node-1", &d, &err);
    if (s != FB_OK) {
        fb_assert(err.msg[0] != 0 && d.fd == -1 && d.lock_fd == -1);
        fb_assert(identity_bytes() == before);
        return 0;
    }
    data_dir_close(&d, 99);
    s = data_dir_open(folder(), cluster, "node-1", &d, &err);
    fb_assert(s == FB_OK && d.was_clean && d.clean_inc == 99);
    data_dir_close(&d, 0);
    s = data_dir_open(folder(), cluster, "node-1", &d, &err);
    fb_assert(s == FB_OK && !d.was_clean);
    data_dir_close(&d, 0);
    return 0;
}
