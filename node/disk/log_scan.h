/* Reading one segment: what is at each place, and what is behind a bad place. Used by recovery and
 * by the dump. */
#ifndef FB_NODE_DISK_LOG_SCAN_H_
#define FB_NODE_DISK_LOG_SCAN_H_

#include "node/disk/log_dir.h"

/* A whole segment in memory; the buffer is reused from file to file. */
struct log_image {
    uint8_t *p;
    uint64_t n;
    size_t cap;
};

enum log_found {
    LOG_FOUND_BATCH, /* complete and right */
    LOG_FOUND_FOOTER,
    LOG_FOUND_ZERO, /* nothing but zeros up to the end of the file */
    LOG_FOUND_BAD,
};

struct log_item {
    enum log_found found;
    struct log_batch_header batch;
    struct fb_bytes payload; /* lives in the image */
    struct log_footer footer;
    uint64_t bytes; /* of the item, 0 when bad */
};

/* Reads <dir>/<file>. FB_EIO, FB_ENOMEM, FB_ECORRUPT when it is larger than any segment may
 * be. */
FB_MUST_USE enum fb_status log_image_read(struct log_image *image, const char *dir,
                                          const struct log_file *file, struct fb_err *err);
void log_image_fini(struct log_image *image);
/* What is at `offset` of the image, for the generation, lane and segment of `header`. Pure. */
void log_item_at(const struct log_image *image, uint64_t offset,
                 const struct log_segment_header *header, struct log_item *item);
/* What a scan behind a bad place tells. */
struct log_behind {
    bool footer;         /* the segment was sealed */
    uint64_t seq_max;    /* greatest sequence of a valid batch, 0 = none */
    uint64_t synced_max; /* greatest synced sequence of any valid batch header */
};
/* Looks at every multiple of 8 from `offset` on and adds to *out. Pure. */
void log_look_behind(const struct log_image *image, uint64_t offset,
                     const struct log_segment_header *header, struct log_behind *out);

#endif
