/* Encoding of segment headers, batch headers and footers. */
#include "node/disk/log_format.h"

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

void log_segment_header_encode(uint8_t out[LOG_HEADER_BYTES], const struct log_segment_header *h)
{
    memset(out, 0, LOG_HEADER_BYTES);
    memcpy(out, LOG_MAGIC, 8);
    fb_put_u32(out + 8, LOG_FORMAT);
    fb_put_u32(out + 12, LOG_HEADER_BYTES);
    fb_put_u64(out + 16, h->generation);
    fb_put_u32(out + 24, h->lane);
    fb_put_u32(out + 28, h->segment);
    fb_put_u64(out + 32, h->first_seq);
    fb_put_u64(out + 40, h->segment_bytes);
    fb_put_u64(out + 48, h->salt);
    fb_put_u64(out + 56, h->previous_generation);
    fb_put_u32(out + 64, h->lanes);
    seal(out, LOG_HEADER_BYTES, 0);
}

enum fb_status log_segment_header_decode(const uint8_t in[LOG_HEADER_BYTES],
                                         struct log_segment_header *h, struct fb_err *err)
{
    uint32_t format = fb_get_u32(in + 8);
    if (memcmp(in, LOG_MAGIC, 8) != 0)
        return fb_err_set(err, FB_ECORRUPT, "the segment header is missing or damaged");
    if (!sealed(in, LOG_HEADER_BYTES, 0))
        return fb_err_set(err, FB_ECORRUPT, "checksum of the segment header is wrong");
    if (format != LOG_FORMAT)
        return fb_err_set(
            err, FB_EUNSUPPORTED,
            "log format %u; this program reads format %u: start the newer forebay-node", format,
            LOG_FORMAT);
    h->generation = fb_get_u64(in + 16);
    h->lane = fb_get_u32(in + 24);
    h->segment = fb_get_u32(in + 28);
    h->first_seq = fb_get_u64(in + 32);
    h->segment_bytes = fb_get_u64(in + 40);
    h->salt = fb_get_u64(in + 48);
    h->previous_generation = fb_get_u64(in + 56);
    h->lanes = fb_get_u32(in + 64);
    return FB_OK;
}

void log_batch_header_encode(uint8_t out[LOG_BATCH_HEADER_BYTES], const struct log_batch_header *b,
                             uint64_t salt)
{
    fb_put_u32(out, LOG_BATCH_MAGIC);
    fb_put_u32(out + 4, b->lane);
    fb_put_u64(out + 8, b->seq);
    fb_put_u64(out + 16, b->synced);
    fb_put_u64(out + 24, b->generation);
    fb_put_u32(out + 32, b->length);
    fb_put_u32(out + 36, b->payload_checksum);
    fb_put_u32(out + 40, 0);
    seal(out, LOG_BATCH_HEADER_BYTES, salt);
}

bool log_batch_header_decode(const uint8_t in[LOG_BATCH_HEADER_BYTES], struct log_batch_header *b,
                             uint64_t salt)
{
    if (fb_get_u32(in) != LOG_BATCH_MAGIC || !sealed(in, LOG_BATCH_HEADER_BYTES, salt))
        return false;
    b->lane = fb_get_u32(in + 4);
    b->seq = fb_get_u64(in + 8);
    b->synced = fb_get_u64(in + 16);
    b->generation = fb_get_u64(in + 24);
    b->length = fb_get_u32(in + 32);
    b->payload_checksum = fb_get_u32(in + 36);
    return true;
}

void log_footer_encode(uint8_t out[LOG_FOOTER_BYTES], const struct log_footer *f, uint64_t salt)
{
    memset(out, 0, LOG_FOOTER_BYTES);
    fb_put_u32(out, LOG_FOOTER_MAGIC);
    fb_put_u32(out + 4, f->more);
    fb_put_u64(out + 8, f->generation);
    fb_put_u32(out + 16, f->lane);
    fb_put_u32(out + 20, f->segment);
    fb_put_u64(out + 24, f->batches);
    fb_put_u64(out + 32, f->last_seq);
    fb_put_u64(out + 40, f->offset);
    fb_put_u64(out + 48, f->chain);
    seal(out, LOG_FOOTER_BYTES, salt);
}

bool log_footer_decode(const uint8_t in[LOG_FOOTER_BYTES], struct log_footer *f, uint64_t salt)
{
    if (fb_get_u32(in) != LOG_FOOTER_MAGIC || !sealed(in, LOG_FOOTER_BYTES, salt))
        return false;
    f->more = fb_get_u32(in + 4) != 0;
    f->generation = fb_get_u64(in + 8);
    f->lane = fb_get_u32(in + 16);
    f->segment = fb_get_u32(in + 20);
    f->batches = fb_get_u64(in + 24);
    f->last_seq = fb_get_u64(in + 32);
    f->offset = fb_get_u64(in + 40);
    f->chain = fb_get_u64(in + 48);
    return true;
}

void log_mark_encode(uint8_t out[LOG_MARK_BYTES], const struct log_mark *m, uint64_t salt)
{
    memset(out, 0, LOG_MARK_BYTES);
    fb_put_u32(out, LOG_MARK_MAGIC);
    fb_put_u32(out + 4, m->lane);
    fb_put_u64(out + 8, m->generation);
    fb_put_u64(out + 16, m->seq);
    seal(out, LOG_MARK_BYTES, salt);
}

bool log_mark_decode(const uint8_t in[LOG_MARK_BYTES], struct log_mark *m, uint64_t salt)
{
    if (fb_get_u32(in) != LOG_MARK_MAGIC || !sealed(in, LOG_MARK_BYTES, salt))
        return false;
    m->lane = fb_get_u32(in + 4);
    m->generation = fb_get_u64(in + 8);
    m->seq = fb_get_u64(in + 16);
    return true;
}

uint32_t log_payload_checksum(const void *p, size_t length, uint64_t salt)
{
    return (uint32_t)fb_hash64(p, length, salt);
}

uint64_t log_chain(uint64_t chain, uint32_t payload_checksum)
{
    uint8_t both[12];
    fb_put_u64(both, chain);
    fb_put_u32(both + 8, payload_checksum);
    return fb_hash64(both, sizeof(both), 0);
}

void log_name_format(char out[LOG_NAME_BYTES], uint64_t generation, uint32_t lane, uint32_t segment)
{
    snprintf(out, LOG_NAME_BYTES, "%08llx-%02x-%08x.seg", (unsigned long long)generation, lane,
             segment);
}

bool log_name_parse(const char *name, uint64_t *generation, uint32_t *lane, uint32_t *segment)
{
    char again[LOG_NAME_BYTES];
    unsigned long long g;
    unsigned l, s;
    if (sscanf(name, "%llx-%x-%x.seg", &g, &l, &s) != 3 || l > 255)
        return false;
    log_name_format(again, g, l, s);
    if (strcmp(again, name) != 0)
        return false;
    *generation = g;
    *lane = l;
    *segment = s;
    return true;
}
