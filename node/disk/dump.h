/* Text of a segment or a snapshot with offsets, for people: `forebayctl snapshot verify FILE`. */
#ifndef FB_NODE_DISK_DUMP_H_
#define FB_NODE_DISK_DUMP_H_

#include "proto/base/status.h"

#include <stdbool.h>
#include <stdio.h>

/* How much to print; everything is checked in any case. */
enum disk_dump_detail {
    DISK_DUMP_SUMMARY, /* header and totals */
    DISK_DUMP_BLOCKS,  /* and a line for each batch or block */
    DISK_DUMP_RECORDS, /* and a line for each record of a batch */
};

/* Prints what the file `path` holds (told by its magic) to `out` and checks every byte of it. Reads
 * only; works on the files of a stopped node, or on copies. One thread; blocks; may read a whole
 * segment into memory. Errors: FB_ECORRUPT with the place, FB_ETORN a segment that was not closed
 * and ends in something incomplete (recovery would cut it, if nothing behind it says otherwise),
 * FB_EUNSUPPORTED a newer format, FB_EINVAL neither kind of file, FB_ENOENT, FB_EPERM, FB_EIO.
 */
FB_MUST_USE enum fb_status disk_dump(const char *path, enum disk_dump_detail detail, FILE *out,
                                     struct fb_err *err);

#endif
