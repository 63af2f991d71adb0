/* Bytes of the log's segments. All numbers little-endian, everything starts at a multiple of 8.
 *
 * segment header 72: magic 8 "FBLOGSG1", format u32, header bytes u32, generation u64, lane u32,
 * segment u32, first sequence u64, segment bytes u64, salt u64, generation before u64, lanes u32,
 * checksum u32 batch header   48: magic u32, lane u32, sequence u64, synced u64, generation u64,
 * length u32, payload checksum u32, zero u32, checksum u32; then the payload, then zeros up to a
 * multiple of 8 (under the payload's checksum) footer         64: magic u32, more u32, generation
 * u64, lane u32, segment u32, batches u64, last sequence u64, offset u64, chain u64, zero u32,
 * checksum u32 A zero header is the end of what was written: the rest of the preallocated file is
 * zero.
 *
 * mark 32 (file "synced"): magic u32, lane u32, generation u64, sequence u64, zero u32, checksum
 * u32
 *
 * `salt` is random for each lane of each generation and seeds every checksum of batches, footers
 * and marks. A value that a client stored can therefore not look like a batch, nor can blocks of an
 * old file.
 */
#ifndef FB_NODE_DISK_LOG_FORMAT_H_
#define FB_NODE_DISK_LOG_FORMAT_H_

#include "proto/base/bytes.h"
#include "proto/base/status.h"

#define LOG_FORMAT 1u
#define LOG_MARK_MAGIC 0x434e5953u /* "SYNC" */
#define LOG_MARK_BYTES 32u
#define LOG_MAGIC "FBLOGSG1"
#define LOG_BATCH_MAGIC 0x48435442u  /* "BTCH" */
#define LOG_FOOTER_MAGIC 0x544f4f46u /* "FOOT" */
#define LOG_HEADER_BYTES 72u
#define LOG_BATCH_HEADER_BYTES 48u
#define LOG_FOOTER_BYTES 64u
#define LOG_SEGMENT_BYTES_MIN 4096u
#define LOG_SEGMENT_BYTES_MAX (1u << 30)
#define LOG_NAME_BYTES 32u
#define LOG_LANES_MAX 64u
#define LOG_MARKS_NAME "synced"

struct log_segment_header {
    uint64_t generation;
    uint32_t lane;
    uint32_t segment;
    uint64_t first_seq;
    uint64_t segment_bytes; /* size of the file until it is sealed */
    uint64_t salt;
    uint64_t previous_generation; /* newest on disk when this one began, 0 = none */
    uint32_t lanes;               /* of this generation */
};

struct log_batch_header {
    uint32_t lane;
    uint64_t seq;
    uint64_t synced; /* highest sequence known to be on stable storage when this was written */
    uint64_t generation;
    uint32_t length;
    uint32_t payload_checksum;
};

struct log_footer {
    bool more; /* a later segment of this lane exists */
    uint64_t generation;
    uint32_t lane;
    uint32_t segment;
    uint64_t batches;
    uint64_t last_seq; /* first sequence - 1 when there are none */
    uint64_t offset;   /* of the footer */
    uint64_t chain;    /* payload checksums folded in order */
};

/* What was reported as synced of one lane, beside the segments (file LOG_MARKS_NAME): the place of
 * lane n is n * LOG_MARK_BYTES, within one sector. */
struct log_mark {
    uint32_t lane;
    uint64_t generation;
    uint64_t seq;
};

/* Pure; any thread. Decoders are false for anything that is not exactly right. */
void log_segment_header_encode(uint8_t out[LOG_HEADER_BYTES], const struct log_segment_header *h);
/* FB_ECORRUPT, or FB_EUNSUPPORTED for a newer format. */
FB_MUST_USE enum fb_status log_segment_header_decode(const uint8_t in[LOG_HEADER_BYTES],
                                                     struct log_segment_header *h,
                                                     struct fb_err *err);
void log_batch_header_encode(uint8_t out[LOG_BATCH_HEADER_BYTES], const struct log_batch_header *b,
                             uint64_t salt);
bool log_batch_header_decode(const uint8_t in[LOG_BATCH_HEADER_BYTES], struct log_batch_header *b,
                             uint64_t salt);
void log_footer_encode(uint8_t out[LOG_FOOTER_BYTES], const struct log_footer *f, uint64_t salt);
bool log_footer_decode(const uint8_t in[LOG_FOOTER_BYTES], struct log_footer *f, uint64_t salt);

void log_mark_encode(uint8_t out[LOG_MARK_BYTES], const struct log_mark *m, uint64_t salt);
bool log_mark_decode(const uint8_t in[LOG_MARK_BYTES], struct log_mark *m, uint64_t salt);

/* Payload with its padding. */
static inline uint64_t log_padded(uint64_t n)
{
    return (n + 7u) & ~UINT64_C(7);
}
static inline uint64_t log_batch_bytes(uint32_t length)
{
    return LOG_BATCH_HEADER_BYTES + log_padded(length);
}
/* Checksum of a payload of `length` bytes; the padding is checked to be zero apart. */
uint32_t log_payload_checksum(const void *p, size_t length, uint64_t salt);
uint64_t log_chain(uint64_t chain, uint32_t payload_checksum);

/* "<generation:08x>-<lane:02x>-<segment:08x>.seg" and back; false when the name is not exactly of
 * that form. */
void log_name_format(char out[LOG_NAME_BYTES], uint64_t generation, uint32_t lane,
                     uint32_t segment);
bool log_name_parse(const char *name, uint64_t *generation, uint32_t *lane, uint32_t *segment);

#endif
