/* Recovery over segment files that nobody wrote, or that were damaged afterwards. Headers, batches
 * and footers come from the real encoders, so that checksums are right where the fuzzer does not
 * say otherwise.
 *
 * Besides sanitizers: corruption changes nothing on disk; what recovered once recovers again, with
 * the same batches; a log that recovered can be written on.
 */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/input.h"

#include "node/disk/dump.h"
#include "node/disk/log.h"
#include "node/disk/log_format.h"
#include "proto/base/buf.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"

#include <errno.h>
#include <sys/stat.h>

#define FILES_MAX 6u

struct image {
    char name[FILES_MAX][LOG_NAME_BYTES];
    struct fb_buf bytes[FILES_MAX];
    uint32_t n;
};

/* What a recovery gave, folded. */
struct seen {
    uint64_t batches, fold;
};

static enum fb_status batch_cb(void *arg, uint64_t generation, uint32_t lane, uint64_t seq,
                               struct fb_bytes records, struct fb_err *err)
{
    struct seen *s = arg;
    uint64_t at[3] = {generation, lane, seq};
    (void)err;
    s->batches++;
    s->fold = fb_hash64(at, sizeof(at), s->fold);
    s->fold = fb_hash64(records.p, records.n, s->fold);
    return FB_OK;
}

static void put_batch(struct fuzz_in *in, const struct log_segment_header *h, uint64_t seq,
                      struct fb_buf *out, uint64_t *chain)
{
    uint8_t how = fuzz_u8(in);
    struct fb_bytes payload = fuzz_bytes(in, how % 64);
    struct log_batch_header b = {.lane = h->lane,
                                 .seq = seq,
                                 .synced = seq - 1 - (seq > how % 4 + 1u ? how % 4 : seq - 1),
                                 .generation = h->generation,
                                 .length = (uint32_t)payload.n};

    if (how >= 240) {
        uint64_t v = fuzz_u64(in);
        switch (how % 4) {
        case 0:
            b.seq = v;
            break;
        case 1:
            b.synced = v;
            break;
        case 2:
            b.length = (uint32_t)v;
            break;
        default:
            b.lane = (uint32_t)v;
            break;
        }
    }
    b.payload_checksum = log_payload_checksum(payload.p, payload.n, h->salt);
    *chain = log_chain(*chain, b.payload_checksum);
    log_batch_header_encode(fb_buf_grow(out, LOG_BATCH_HEADER_BYTES), &b, h->salt);
    fb_buf_put_bytes(out, payload);
    while (out->n % 8 != 0)
        fb_buf_put_u8(out, 0);
}

static void put_footer(const struct log_segment_header *h, uint64_t batches, uint64_t last,
                       uint64_t chain, bool more, struct fb_buf *out)
{
    struct log_footer f = {.more = more,
                           .generation = h->generation,
                           .lane = h->lane,
                           .segment = h->segment,
                           .batches = batches,
                           .last_seq = last,
                           .offset = out->n,
                           .chain = chain};
    log_footer_encode(fb_buf_grow(out, LOG_FOOTER_BYTES), &f, h->salt);
}

static void damage(struct fuzz_in *in, struct fb_buf *b)
{
    for (uint32_t i = fuzz_u8(in) % 4; i > 0 && b->n > 0; i--) {
        uint32_t at = fuzz_u16(in) % (uint32_t)b->n;
        uint8_t how = fuzz_u8(in);
        if (how < 128)
            b->p[at] ^= how;
        else if (how < 192)
            b->n = at;
        else
            memset(b->p + at, 0, b->n - at < 64 ? b->n - at : 64);
    }
}

/* One segment; `next` is the sequence it should begin with, by lane of the present generation. */
static void put_segment(struct fuzz_in *in, struct image *im, uint64_t generation, uint32_t lanes,
                        uint32_t segment[2], uint64_t next[2])
{
    uint8_t how = fuzz_u8(in);
    uint32_t lane = how & 1;
    struct log_segment_header h = {.generation = generation,
                                   .lane = lane,
                                   .segment = segment[lane]++,
                                   .first_seq = next[lane],
                                   .segment_bytes = LOG_SEGMENT_BYTES_MIN,
                                   .salt = 0x1234 + generation * 64 + lane,
                                   .previous_generation = generation - 1,
                                   .lanes = lanes};
    struct fb_buf *b = &im->bytes[im->n];
    uint64_t first = next[lane], chain = 0;

    if (how >= 240) {
        uint64_t v = fuzz_u64(in);
        switch (how % 8) {
        case 0:
            h.generation = v;
            break;
        case 1:
            h.lane = (uint32_t)v;
            break;
        case 2:
            h.segment = (uint32_t)v;
            break;
        case 3:
            h.first_seq = v;
            break;
        case 4:
            h.segment_bytes = v;
            break;
        case 5:
            h.previous_generation = v;
            break;
        case 6:
            h.lanes = (uint32_t)v;
            break;
        default:
            h.salt = v;
            break;
        }
    }
    log_name_format(im->name[im->n], generation, lane, segment[lane] - 1);
    log_segment_header_encode(fb_buf_grow(b, LOG_HEADER_BYTES), &h);
    for (uint32_t i = fuzz_u8(in) % 6; i > 0; i--)
        put_batch(in, &h, next[lane]++, b, &chain);
    if (how & 2)
        put_footer(&h, next[lane] - first, next[lane] - 1, chain, (how & 4) != 0, b);
    else
        memset(fb_buf_grow(b, 200), 0, 200);
    if (how & 8)
        damage(in, b);
    im->n++;
}

static void build(struct fuzz_in *in, struct image *im)
{
    uint64_t generation = 1 + fuzz_u8(in) % 3;
    while (im->n < FILES_MAX && in->n > 0) {
        uint32_t segment[2] = {0, 0}, lanes = 1 + fuzz_u8(in) % 2;
        uint64_t next[2] = {1, 1};
        for (uint32_t i = 1 + fuzz_u8(in) % 4; i > 0 && im->n < FILES_MAX; i--)
            put_segment(in, im, generation, lanes, segment, next);
        generation += 1 + (fuzz_u8(in) == 255);
    }
}

/* A size of the folder's contents, and what is in them. */
static uint64_t fold_files(const struct image *im)
{
    uint64_t fold = 0;
    for (uint32_t i = 0; i < im->n; i++) {
        static uint8_t bytes[1u << 16];
        char path[512];
        ssize_t n;
        int fd;
        snprintf(path, sizeof(path), "%s/%s", folder(), im->name[i]);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        fb_assert(fd >= 0);
        n = read(fd, bytes, sizeof(bytes));
        fb_assert(n >= 0);
        fold = fb_hash64(bytes, (size_t)n, fold);
        close(fd);
    }
    return fold;
}

static enum fb_status recover(struct seen *seen, uint64_t *last_generation)
{
    struct log_recovery r = {.dir = folder(), .arg = seen, .batch = batch_cb};
    struct fb_err err = {0};
    enum fb_status s;

    *seen = (struct seen){0, 0};
    s = log_recover(&r, &err);
    fb_assert(s == FB_OK || err.msg[0] != 0);
    fb_assert(s == FB_OK || s == FB_ECORRUPT || s == FB_EUNSUPPORTED || s == FB_EINVAL);
    *last_generation = r.last_generation;
    return s;
}

static void write_on(uint64_t generation)
{
    struct log_config c = {.dir = folder(),
                           .lanes = 2,
                           .segment_bytes = LOG_SEGMENT_BYTES_MIN,
                           .generation = generation,
                           .sync_interval_ms = 60000};
    struct fb_err err;
    struct log *log;
    if (log_open(&c, &log, &err) != FB_OK)
        return; /* generations are used up */
    if (log_append(log, 0, 1, fb_bytes_str("more"), false, &err) != FB_OK)
        abort();
    log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static FILE *null;
    struct fuzz_in in = {data, n};
    struct image im = {.n = 0};
    struct seen a, b;
    uint64_t generation, before;
    uint8_t kind = fuzz_u8(&in);
    struct fb_err err;

    if (null == NULL) {
        null = fopen("/dev/null", "w");
        fb_log_set_level(FB_LOG_ERROR);
    }
    (void)folder();
    folder_clear();
    build(&in, &im);
    for (uint32_t i = 0; i < im.n; i++)
        folder_put(im.name[i], fb_buf_view(&im.bytes[i]));
    if (kind & 1 && im.n > 0) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", folder(), im.name[0]);
        if (disk_dump(path, DISK_DUMP_RECORDS, null, &err) != FB_OK)
            fb_assert(err.msg[0] != 0);
    }
    before = fold_files(&im);
    if (recover(&a, &generation) == FB_OK) {
        fb_assert(recover(&b, &generation) == FB_OK);
        fb_assert(a.batches == b.batches && a.fold == b.fold);
        if (kind & 2) {
            write_on(generation + 1);
            fb_assert(recover(&b, &generation) == FB_OK);
            fb_assert(b.batches >= a.batches);
        }
    } else {
        fb_assert(before == fold_files(&im));
    }
    for (uint32_t i = 0; i < im.n; i++)
        fb_buf_fini(&im.bytes[i]);
    return 0;
}
