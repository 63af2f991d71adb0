/* Reading one segment: see log_scan.h. */
#include "node/disk/log_scan.h"
#include "node/disk/file.h"

#include "proto/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum fb_status log_image_read(struct log_image *image, const char *dir, const struct log_file *file,
                              struct fb_err *err)
{
    enum fb_status s;
    int dir_fd, fd, e;

    image->n = 0;
    if (file->bytes > (uint64_t)LOG_SEGMENT_BYTES_MAX + LOG_HEADER_BYTES + LOG_FOOTER_BYTES)
        return fb_err_set(err, FB_ECORRUPT, "%s/%s: %llu bytes are more than a segment can have",
                          dir, file->name, (unsigned long long)file->bytes);
    s = disk_open_dir(dir, &dir_fd, err);
    if (s != FB_OK)
        return s;
    fd = openat(dir_fd, file->name, O_RDONLY | O_CLOEXEC);
    e = errno;
    close(dir_fd);
    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(e), "open %s/%s: %s", dir, file->name,
                          strerror(e));
    if (file->bytes > image->cap) {
        free(image->p);
        image->cap = 0;
        image->p = fb_try_malloc((size_t)file->bytes);
        if (image->p == NULL) {
            close(fd);
            return fb_err_set(err, FB_ENOMEM,
                              "read %s/%s: no memory for its %llu bytes; give the process more",
                              dir, file->name, (unsigned long long)file->bytes);
        }
        image->cap = (size_t)file->bytes;
    }
    s = disk_pread(fd, image->p, (size_t)file->bytes, 0);
    e = errno;
    close(fd);
    if (s != FB_OK)
        return fb_err_set(err, FB_EIO, "read %s/%s: %s", dir, file->name,
                          s == FB_ETORN ? "the file became shorter meanwhile" : strerror(e));
    image->n = file->bytes;
    return FB_OK;
}

void log_image_fini(struct log_image *image)
{
    free(image->p);
    memset(image, 0, sizeof(*image));
}

static bool all_zero(const uint8_t *p, uint64_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, (size_t)n - 1) == 0);
}

/* Header alone: enough to believe its numbers, because its checksum is its own. */
static bool header_at(const struct log_image *image, uint64_t offset,
                      const struct log_segment_header *h, struct log_batch_header *b)
{
    return image->n - offset >= LOG_BATCH_HEADER_BYTES &&
           log_batch_header_decode(image->p + offset, b, h->salt) &&
           b->generation == h->generation && b->lane == h->lane;
}

static bool payload_at(const struct log_image *image, uint64_t offset,
                       const struct log_segment_header *h, const struct log_batch_header *b)
{
    const uint8_t *p = image->p + offset + LOG_BATCH_HEADER_BYTES;
    return image->n - offset >= log_batch_bytes(b->length) &&
           log_payload_checksum(p, b->length, h->salt) == b->payload_checksum &&
           all_zero(p + b->length, log_padded(b->length) - b->length);
}

static bool footer_at(const struct log_image *image, uint64_t offset,
                      const struct log_segment_header *h, struct log_footer *f)
{
    return image->n - offset >= LOG_FOOTER_BYTES &&
           log_footer_decode(image->p + offset, f, h->salt) && f->offset == offset &&
           f->generation == h->generation && f->lane == h->lane && f->segment == h->segment;
}

void log_item_at(const struct log_image *image, uint64_t offset,
                 const struct log_segment_header *header, struct log_item *item)
{
    memset(item, 0, sizeof(*item));
    item->found = LOG_FOUND_BAD;
    if (offset > image->n)
        return;
    if (header_at(image, offset, header, &item->batch) &&
        payload_at(image, offset, header, &item->batch)) {
        item->found = LOG_FOUND_BATCH;
        item->payload = fb_bytes(image->p + offset + LOG_BATCH_HEADER_BYTES, item->batch.length);
        item->bytes = log_batch_bytes(item->batch.length);
    } else if (footer_at(image, offset, header, &item->footer)) {
        item->found = LOG_FOUND_FOOTER;
        item->bytes = LOG_FOOTER_BYTES;
    } else if (all_zero(image->p + offset, image->n - offset)) {
        item->found = LOG_FOUND_ZERO;
        item->bytes = image->n - offset;
    }
}

void log_look_behind(const struct log_image *image, uint64_t offset,
                     const struct log_segment_header *header, struct log_behind *out)
{
    struct log_batch_header b;
    struct log_footer f;

    for (; offset + LOG_BATCH_HEADER_BYTES <= image->n; offset += 8) {
        uint32_t magic = fb_get_u32(image->p + offset);
        if (magic == LOG_FOOTER_MAGIC && footer_at(image, offset, header, &f))
            out->footer = true;
        if (magic != LOG_BATCH_MAGIC || !header_at(image, offset, header, &b))
            continue;
        if (b.synced > out->synced_max)
            out->synced_max = b.synced;
        if (b.seq > out->seq_max && payload_at(image, offset, header, &b))
            out->seq_max = b.seq;
    }
}
