/* Text of a segment or a snapshot: see dump.h. */
#include "node/disk/dump.h"
#include "node/disk/file.h"
#include "node/disk/log_scan.h"
#include "node/disk/snapshot_format.h"

#include "proto/wire/record.h"
#include "proto/wire/version.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES_SHOWN 60u

/* "dir/name" in two parts; dir is "." when there is none. */
struct place {
    char dir[4096];
    const char *name;
};

static enum fb_status place_of(const char *path, struct place *out, struct fb_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 1 : (size_t)(slash - path);

    if (n >= sizeof(out->dir))
        return fb_err_set(err, FB_EINVAL, "the path is longer than %zu bytes",
                          sizeof(out->dir) - 1);
    memcpy(out->dir, slash == NULL ? "." : path, n);
    if (slash == path)
        out->dir[n++] = '/';
    out->dir[n] = '\0';
    out->name = slash == NULL ? path : slash + 1;
    return FB_OK;
}

static void print_key(FILE *out, struct fb_bytes key)
{
    for (size_t i = 0; i < key.n && i < KEY_BYTES_SHOWN; i++) {
        if (key.p[i] > 0x20 && key.p[i] < 0x7f && key.p[i] != '\\')
            fputc(key.p[i], out);
        else
            fprintf(out, "\\x%02x", key.p[i]);
    }
    if (key.n > KEY_BYTES_SHOWN)
        fprintf(out, "... (%zu bytes)", key.n);
}

static enum fb_status print_records(FILE *out, struct fb_bytes payload)
{
    struct fb_reader in = fb_reader(payload);
    struct fb_record r;

    while (in.n > 0) {
        enum fb_status s = fb_record_decode(&in, &r);
        if (s != FB_OK) {
            fprintf(out, "    not a record: %zu bytes left\n", in.n);
            return s;
        }
        fprintf(out, "    %-13s part=%u ver=%" PRIu32 ".%" PRIu64 " prev=%" PRIu32 ".%" PRIu64,
                fb_record_type_name(r.type), r.part, fb_ver_epoch(r.ver), fb_ver_counter(r.ver),
                fb_ver_epoch(r.prev), fb_ver_counter(r.prev));
        if (r.key.n > 0) {
            fputs(" key=", out);
            print_key(out, r.key);
        }
        if (r.value.n > 0)
            fprintf(out, " value_bytes=%zu", r.value.n);
        fputc('\n', out);
    }
    return FB_OK;
}

struct totals {
    uint64_t offset, batches, bytes, chain, seq;
};

static enum fb_status print_batch(const struct log_item *item, enum disk_dump_detail detail,
                                  struct totals *t, FILE *out, struct fb_err *err)
{
    if (detail >= DISK_DUMP_BLOCKS)
        fprintf(out, "offset %" PRIu64 ": batch seq=%" PRIu64 " bytes=%u synced=%" PRIu64 "\n",
                t->offset, item->batch.seq, item->batch.length, item->batch.synced);
    if (item->batch.seq != t->seq)
        return fb_err_set(err, FB_ECORRUPT,
                          "offset %" PRIu64 ": sequence %" PRIu64 " instead of %" PRIu64, t->offset,
                          item->batch.seq, t->seq);
    if (detail >= DISK_DUMP_RECORDS && print_records(out, item->payload) != FB_OK)
        return fb_err_set(err, FB_ECORRUPT,
                          "offset %" PRIu64 ": the batch holds something that is no record",
                          t->offset);
    t->batches++;
    t->seq++;
    t->bytes += item->payload.n;
    t->chain = log_chain(t->chain, item->batch.payload_checksum);
    t->offset += item->bytes;
    return FB_OK;
}

/* A place with nothing right in it: torn, unless something behind it says that it had been synced.
 */
static enum fb_status explain_bad(const struct log_image *image, const struct log_segment_header *h,
                                  const struct totals *t, struct fb_err *err)
{
    struct log_behind behind = {0};

    log_look_behind(image, t->offset, h, &behind);
    if (behind.footer || behind.synced_max >= t->seq)
        return fb_err_set(err, FB_ECORRUPT,
                          "offset %" PRIu64 ": a bad batch where sequence %" PRIu64
                          " should be, which had been synced",
                          t->offset, t->seq);
    if (image->n != h->segment_bytes)
        return fb_err_set(err, FB_ECORRUPT,
                          "offset %" PRIu64 ": the file has %" PRIu64 " bytes and no footer; "
                          "it was made with %" PRIu64,
                          t->offset, image->n, h->segment_bytes);
    if (behind.seq_max >= t->seq)
        return fb_err_set(err, FB_ETORN,
                          "offset %" PRIu64
                          ": an incomplete batch, good ones up to sequence %" PRIu64 " behind it",
                          t->offset, behind.seq_max);
    return fb_err_set(err, FB_ETORN, "offset %" PRIu64 ": an incomplete batch at the end",
                      t->offset);
}

static enum fb_status walk_segment(const struct log_image *image,
                                   const struct log_segment_header *h, enum disk_dump_detail detail,
                                   FILE *out, struct fb_err *err)
{
    struct totals t = {.offset = LOG_HEADER_BYTES, .seq = h->first_seq};
    struct log_item item;
    enum fb_status s = FB_OK;
    const char *end = NULL;

    while (s == FB_OK && end == NULL) {
        log_item_at(image, t.offset, h, &item);
        if (item.found == LOG_FOUND_BATCH) {
            s = print_batch(&item, detail, &t, out, err);
        } else if (item.found == LOG_FOUND_FOOTER) {
            end = item.footer.more ? "sealed, another segment follows"
                                   : "sealed, the last of its lane";
            if (item.footer.batches != t.batches || item.footer.last_seq != t.seq - 1 ||
                item.footer.chain != t.chain)
                s = fb_err_set(err, FB_ECORRUPT,
                               "offset %" PRIu64 ": the totals of the footer do not match",
                               t.offset);
        } else if (item.found == LOG_FOUND_ZERO && image->n == h->segment_bytes) {
            end = "open, the rest is empty";
        } else {
            s = explain_bad(image, h, &t, err);
        }
    }
    fprintf(out,
            "%" PRIu64 " batches, %" PRIu64 " bytes of records, sequences %" PRIu64 " to %" PRIu64
            "; %s\n",
            t.batches, t.bytes, h->first_seq, t.seq - 1, s == FB_OK ? end : "damaged behind that");
    return s;
}

static enum fb_status dump_segment(const struct place *at, uint64_t bytes,
                                   enum disk_dump_detail detail, FILE *out, struct fb_err *err)
{
    struct log_image image = {0};
    struct log_segment_header h;
    struct log_file file = {.bytes = bytes};
    enum fb_status s;

    if (!log_name_parse(at->name, &file.generation, &file.lane, &file.segment))
        return fb_err_set(err, FB_EINVAL,
                          "the file is a log segment, but its name is not of the form "
                          "GENERATION-LANE-SEGMENT.seg: keep the name when copying");
    log_name_format(file.name, file.generation, file.lane, file.segment);
    s = log_image_read(&image, at->dir, &file, err);
    if (s == FB_OK && image.n < LOG_HEADER_BYTES)
        s = fb_err_set(err, FB_ECORRUPT, "the file is shorter than a header");
    if (s == FB_OK)
        s = log_segment_header_decode(image.p, &h, err);
    if (s == FB_OK &&
        (h.generation != file.generation || h.lane != file.lane || h.segment != file.segment))
        s = fb_err_set(err, FB_ECORRUPT,
                       "name and header do not fit: the file was renamed or copied");
    if (s == FB_OK) {
        fprintf(out,
                "log segment: generation %" PRIu64
                ", lane %u of %u, segment %u, first sequence %" PRIu64 ", made with %" PRIu64
                " bytes\n",
                h.generation, h.lane, h.lanes, h.segment, h.first_seq, h.segment_bytes);
        s = walk_segment(&image, &h, detail, out, err);
    }
    log_image_fini(&image);
    return s;
}

struct blocks {
    FILE *out;
    enum disk_dump_detail detail;
    uint64_t offset, count, bytes;
};

static enum fb_status print_block(void *arg, uint16_t part, struct fb_bytes items,
                                  struct fb_err *err)
{
    struct blocks *b = arg;
    (void)part;
    (void)err;
    if (b->detail >= DISK_DUMP_BLOCKS)
        fprintf(b->out, "offset %" PRIu64 ": block %" PRIu64 " bytes=%zu\n", b->offset, b->count,
                items.n);
    b->offset += SNAPSHOT_BLOCK_HEADER_BYTES + items.n;
    b->bytes += items.n;
    b->count++;
    return FB_OK;
}

static enum fb_status dump_snapshot(const struct place *at, enum disk_dump_detail detail, FILE *out,
                                    struct fb_err *err)
{
    struct blocks b = {.out = out, .detail = detail, .offset = SNAPSHOT_HEADER_BYTES};
    struct snapshot_info info;
    enum fb_status s = snapshot_read(at->dir, at->name, &info, print_block, &b, err);

    if (s == FB_OK)
        fprintf(out,
                "snapshot: partition %u at version %" PRIu32 ".%" PRIu64
                ", log from generation %" PRIu64 " sequence %" PRIu64 ", written at %" PRIu64
                " ms\n",
                info.part, fb_ver_epoch(info.start_ver), fb_ver_counter(info.start_ver),
                info.generation, info.start_log_seq, info.written_wall_ms);
    fprintf(out, "%" PRIu64 " good blocks, %" PRIu64 " bytes of items; %s\n", b.count, b.bytes,
            s == FB_OK ? "complete" : "damaged behind that");
    return s;
}

enum fb_status disk_dump(const char *path, enum disk_dump_detail detail, FILE *out,
                         struct fb_err *err)
{
    struct place at;
    struct stat st;
    uint8_t magic[8];
    enum fb_status s = place_of(path, &at, err);
    int fd, e;

    if (s != FB_OK)
        return s;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        e = errno;
        if (fd >= 0)
            close(fd);
        return fb_err_set(err, fb_status_of_errno(e), "open %s: %s", path, strerror(e));
    }
    s = disk_pread(fd, magic, sizeof(magic), 0);
    e = errno;
    close(fd);
    if (s == FB_EIO)
        return fb_err_set(err, s, "read %s: %s", path, strerror(e));
    if (s == FB_OK && memcmp(magic, LOG_MAGIC, sizeof(magic)) == 0) {
        s = dump_segment(&at, (uint64_t)st.st_size, detail, out, err);
        return s == FB_OK ? s : fb_err_wrap(err, s, "%s", path);
    }
    if (s == FB_OK && memcmp(magic, SNAPSHOT_MAGIC, sizeof(magic)) == 0)
        return dump_snapshot(&at, detail, out, err);
    return fb_err_set(err, FB_EINVAL,
                      "%s is neither a log segment nor a snapshot (or its first bytes are damaged)",
                      path);
}
