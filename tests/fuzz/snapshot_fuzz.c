/* Snapshot files that nobody wrote, or that were damaged afterwards. Headers, blocks and ends come
 * from the real encoders, so that checksums are right where the fuzzer does not say otherwise.
 *
 * Besides sanitizers: listing, reading and the dump agree on whether a file is whole.
 */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/input.h"

#include "node/disk/dump.h"
#include "node/disk/snapshot_format.h"
#include "proto/base/buf.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"

static enum fb_status items_cb(void *arg, uint16_t part, struct fb_bytes items, struct fb_err *err)
{
    uint64_t *fold = arg;
    (void)part;
    (void)err;
    *fold = fb_hash64(items.p, items.n, *fold);
    return FB_OK;
}

static void build(struct fuzz_in *in, uint16_t part, uint64_t ver, struct fb_buf *out)
{
    uint8_t how = fuzz_u8(in);
    struct snapshot_info info = {
        .part = part, .start_ver = ver, .generation = how % 4, .start_log_seq = how / 4};
    uint64_t salt = 0x77, index = 0;
    struct snapshot_end end = {0};

    if (how >= 250)
        info.start_ver = fuzz_u64(in);
    snapshot_header_encode(fb_buf_grow(out, SNAPSHOT_HEADER_BYTES), &info, salt);
    for (uint32_t i = fuzz_u8(in) % 5; i > 0; i--) {
        uint8_t odd = fuzz_u8(in);
        struct fb_bytes items = fuzz_bytes(in, odd % 80);
        struct snapshot_block b = {.length = (uint32_t)items.n, .index = index++};
        b.hash = fb_hash64(items.p, items.n, salt);
        if (odd >= 240) {
            uint64_t v = fuzz_u64(in);
            switch (odd % 3) {
            case 0:
                b.length = (uint32_t)v;
                break;
            case 1:
                b.index = v;
                break;
            default:
                b.hash = v;
                break;
            }
        }
        end.chain = snapshot_chain(end.chain, b.hash);
        snapshot_block_encode(fb_buf_grow(out, SNAPSHOT_BLOCK_HEADER_BYTES), &b, salt);
        fb_buf_put_bytes(out, items);
    }
    if (how % 8 == 7)
        return;
    end.blocks = index;
    end.bytes = out->n;
    end.wall_ms = how;
    if (how >= 240) {
        uint64_t v = fuzz_u64(in);
        switch (how % 3) {
        case 0:
            end.blocks = v;
            break;
        case 1:
            end.bytes = v;
            break;
        default:
            end.chain = v;
            break;
        }
    }
    snapshot_end_encode(fb_buf_grow(out, SNAPSHOT_END_BYTES), &end, salt);
}

static void damage(struct fuzz_in *in, struct fb_buf *b)
{
    for (uint32_t i = fuzz_u8(in) % 3; i > 0 && b->n > 0; i--) {
        uint32_t at = fuzz_u16(in) % (uint32_t)b->n;
        uint8_t how = fuzz_u8(in);
        if (how < 160)
            b->p[at] ^= how;
        else if (how < 200)
            b->n = at;
        else
            fb_buf_put_bytes(b, fuzz_short(in));
    }
}

static void read_one(const struct snapshot_info *listed, FILE *null)
{
    struct snapshot_info info;
    struct fb_err err = {0};
    char path[512];
    uint64_t fold = 0, again = 0;
    enum fb_status s = snapshot_read(folder(), listed->name, &info, items_cb, &fold, &err), d;

    fb_assert(s == FB_OK || err.msg[0] != 0);
    fb_assert(s == FB_OK || s == FB_ECORRUPT || s == FB_EUNSUPPORTED);
    fb_assert(snapshot_read(folder(), listed->name, &info, items_cb, &again, &err) == s);
    fb_assert(s != FB_OK ||
              (fold == again && listed->part == info.part && listed->start_ver == info.start_ver));
    snprintf(path, sizeof(path), "%s/%s", folder(), listed->name);
    d = disk_dump(path, DISK_DUMP_BLOCKS, null, &err);
    fb_assert((d == FB_OK) == (s == FB_OK) || s == FB_ECORRUPT); /* the name is not in the file */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static FILE *null;
    struct fuzz_in in = {data, n};
    struct snapshot_info *list = NULL;
    struct fb_err err = {0};
    size_t count = 0;

    if (null == NULL) {
        null = fopen("/dev/null", "w");
        fb_log_set_level(FB_LOG_ERROR);
    }
    (void)folder();
    folder_clear();
    for (uint32_t i = 0; i < 3 && in.n > 0; i++) {
        struct fb_buf b = {0};
        char name[64];
        uint8_t how = fuzz_u8(&in);
        uint64_t ver = 1 + how / 4;
        build(&in, how % 2, ver, &b);
        if (how & 2)
            damage(&in, &b);
        snapshot_name_format(name, how % 2, ver);
        folder_put(name, fb_buf_view(&b));
        fb_buf_fini(&b);
    }
    if (snapshot_list(folder(), &list, &count, &err) == FB_OK) {
        for (size_t i = 0; i < count; i++)
            read_one(&list[i], null);
        for (size_t i = 1; i < count; i++)
            fb_assert(
                list[i - 1].part < list[i].part ||
                (list[i - 1].part == list[i].part && list[i - 1].start_ver >= list[i].start_ver));
    }
    free(list);
    return 0;
}
