/* Encoding of snapshot headers, block headers and the end block. */
#include "node/disk/snapshot_format.h"

#include "proto/base/hash.h"

#include <stdio.h>

static void seal(uint8_t *p, size_t n, uint64_t salt)
{
    fb_put_u32(p + n - 4, (uint32_t)fb_hash64(p, n - 4, salt));
}

static bool sealed(const uint8_t *p, size_t n, uint64_t salt)
{
    return fb_get_u32(p + n - 4) == (uint32_t)fb_hash64(p, n - 4, salt);
}

void snapshot_header_encode(uint8_t out[SNAPSHOT_HEADER_BYTES], const struct snapshot_info *info,
                            uint64_t salt)
{
    memset(out, 0, SNAPSHOT_HEADER_BYTES);
    memcpy(out, SNAPSHOT_MAGIC, 8);
    fb_put_u32(out + 8, SNAPSHOT_FORMAT);
    fb_put_u32(out + 12, SNAPSHOT_HEADER_BYTES);
    fb_put_u16(out + 16, info->part);
    fb_put_u64(out + 24, info->start_ver);
    fb_put_u64(out + 32, info->generation);
    fb_put_u64(out + 40, info->start_log_seq);
    fb_put_u64(out + 48, salt);
    seal(out, SNAPSHOT_HEADER_BYTES, 0);
}

enum fb_status snapshot_header_decode(const uint8_t in[SNAPSHOT_HEADER_BYTES],
                                      struct snapshot_info *info, uint64_t *salt,
                                      struct fb_err *err)
{
    if (memcmp(in, SNAPSHOT_MAGIC, 8) != 0)
        return fb_err_set(err, FB_ECORRUPT, "this is not a snapshot (magic)");
    if (!sealed(in, SNAPSHOT_HEADER_BYTES, 0)) {
        /* A newer format may have another header: say so only if the number is believable. */
        if (fb_get_u32(in + 8) > SNAPSHOT_FORMAT && fb_get_u32(in + 8) < 1000)
            return fb_err_set(err, FB_EUNSUPPORTED,
                              "format %u, or a damaged header; this program reads format %u",
                              fb_get_u32(in + 8), SNAPSHOT_FORMAT);
        return fb_err_set(err, FB_ECORRUPT, "checksum of the header is wrong");
    }
    if (fb_get_u32(in + 8) != SNAPSHOT_FORMAT || fb_get_u32(in + 12) != SNAPSHOT_HEADER_BYTES)
        return fb_err_set(err, FB_EUNSUPPORTED,
                          "format %u; this program reads format %u: use a newer forebay-node",
                          fb_get_u32(in + 8), SNAPSHOT_FORMAT);
    info->part = fb_get_u16(in + 16);
    info->start_ver = fb_get_u64(in + 24);
    info->generation = fb_get_u64(in + 32);
    info->start_log_seq = fb_get_u64(in + 40);
    *salt = fb_get_u64(in + 48);
    return FB_OK;
}

void snapshot_block_encode(uint8_t out[SNAPSHOT_BLOCK_HEADER_BYTES], const struct snapshot_block *b,
                           uint64_t salt)
{
    memset(out, 0, SNAPSHOT_BLOCK_HEADER_BYTES);
    fb_put_u32(out, SNAPSHOT_BLOCK_MAGIC);
    fb_put_u32(out + 4, b->length);
    fb_put_u64(out + 8, b->index);
    fb_put_u64(out + 16, b->hash);
    seal(out, SNAPSHOT_BLOCK_HEADER_BYTES, salt);
}

enum fb_status snapshot_block_decode(const uint8_t in[SNAPSHOT_BLOCK_HEADER_BYTES],
                                     struct snapshot_block *b, uint64_t salt, struct fb_err *err)
{
    if (fb_get_u32(in) != SNAPSHOT_BLOCK_MAGIC || !sealed(in, SNAPSHOT_BLOCK_HEADER_BYTES, salt))
        return fb_err_set(err, FB_ECORRUPT, "checksum of the block header is wrong");
    b->length = fb_get_u32(in + 4);
    b->index = fb_get_u64(in + 8);
    b->hash = fb_get_u64(in + 16);
    if (b->length == 0 || b->length > SNAPSHOT_BLOCK_BYTES_MAX)
        return fb_err_set(err, FB_ECORRUPT, "block length %u is out of range", b->length);
    return FB_OK;
}

void snapshot_end_encode(uint8_t out[SNAPSHOT_END_BYTES], const struct snapshot_end *e,
                         uint64_t salt)
{
    memset(out, 0, SNAPSHOT_END_BYTES);
    fb_put_u32(out, SNAPSHOT_END_MAGIC);
    fb_put_u64(out + 8, e->blocks);
    fb_put_u64(out + 16, e->bytes);
    fb_put_u64(out + 24, e->wall_ms);
    fb_put_u64(out + 32, e->chain);
    seal(out, SNAPSHOT_END_BYTES, salt);
}

enum fb_status snapshot_end_decode(const uint8_t in[SNAPSHOT_END_BYTES], struct snapshot_end *e,
                                   uint64_t salt, struct fb_err *err)
{
    if (fb_get_u32(in) != SNAPSHOT_END_MAGIC || !sealed(in, SNAPSHOT_END_BYTES, salt))
        return fb_err_set(err, FB_ECORRUPT, "the end block is missing or its checksum is wrong");
    e->blocks = fb_get_u64(in + 8);
    e->bytes = fb_get_u64(in + 16);
    e->wall_ms = fb_get_u64(in + 24);
    e->chain = fb_get_u64(in + 32);
    return FB_OK;
}

uint64_t snapshot_chain(uint64_t chain, uint64_t hash)
{
    uint8_t two[16];
    fb_put_u64(two, chain);
    fb_put_u64(two + 8, hash);
    return fb_hash64(two, sizeof(two), 0);
}

void snapshot_name_format(char out[64], uint16_t part, uint64_t ver)
{
    snprintf(out, 64, "%04u-%016llx.snap", (unsigned)part, (unsigned long long)ver);
}

void snapshot_name_older(char out[64], uint16_t part, uint64_t ver)
{
    snprintf(out, 64, "%04u-%016llx.1.snap", (unsigned)part, (unsigned long long)ver);
}

bool snapshot_name_parse(const char *name, uint16_t *part, uint64_t *ver)
{
    char again[64], older[64];
    unsigned p;
    unsigned long long v;
    if (sscanf(name, "%u-%llx.", &p, &v) != 2 || p > UINT16_MAX)
        return false;
    snapshot_name_format(again, (uint16_t)p, v);
    snapshot_name_older(older, (uint16_t)p, v);
    if (strcmp(again, name) != 0 && strcmp(older, name) != 0)
        return false;
    *part = (uint16_t)p;
    *ver = v;
    return true;
}
