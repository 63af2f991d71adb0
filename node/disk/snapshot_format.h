/* Bytes of a snapshot file. All numbers little-endian.
 *
 * header 80: magic 8 "FBSNAPS1", format u32, header bytes u32, part u16, zero 6, start_ver u64,
 * generation u64, start_log_seq u64, salt u64, zero 20, checksum u32 block  32: magic u32, length
 * u32, index u64, payload hash u64, zero u32, checksum u32; then the payload end    64: magic u32,
 * zero u32, blocks u64, bytes before it u64, written_wall_ms u64, chain u64, zero 20, checksum u32
 *
 * Checksums are seeded with the header's salt: a block of another file never passes. `chain` folds
 * the payload hashes of all blocks in order.
 */
#ifndef FB_NODE_DISK_SNAPSHOT_FORMAT_H_
#define FB_NODE_DISK_SNAPSHOT_FORMAT_H_

#include "node/disk/snapshot.h"

#include <stdbool.h>

#define SNAPSHOT_FORMAT 1u
#define SNAPSHOT_MAGIC "FBSNAPS1"
#define SNAPSHOT_BLOCK_MAGIC 0x4b4c4246u /* "FBLK" */
#define SNAPSHOT_END_MAGIC 0x444e4546u   /* "FEND" */
#define SNAPSHOT_HEADER_BYTES 80u
#define SNAPSHOT_BLOCK_HEADER_BYTES 32u
#define SNAPSHOT_END_BYTES 64u

struct snapshot_block {
    uint32_t length;
    uint64_t index;
    uint64_t hash;
};

struct snapshot_end {
    uint64_t blocks;
    uint64_t bytes;
    uint64_t wall_ms;
    uint64_t chain;
};

/* Pure; any thread. Decoders give FB_ECORRUPT with a message that names what is wrong (not where),
 * FB_EUNSUPPORTED for a newer format. */
void snapshot_header_encode(uint8_t out[SNAPSHOT_HEADER_BYTES], const struct snapshot_info *info,
                            uint64_t salt);
FB_MUST_USE enum fb_status snapshot_header_decode(const uint8_t in[SNAPSHOT_HEADER_BYTES],
                                                  struct snapshot_info *info, uint64_t *salt,
                                                  struct fb_err *err);
void snapshot_block_encode(uint8_t out[SNAPSHOT_BLOCK_HEADER_BYTES], const struct snapshot_block *b,
                           uint64_t salt);
FB_MUST_USE enum fb_status snapshot_block_decode(const uint8_t in[SNAPSHOT_BLOCK_HEADER_BYTES],
                                                 struct snapshot_block *b, uint64_t salt,
                                                 struct fb_err *err);
void snapshot_end_encode(uint8_t out[SNAPSHOT_END_BYTES], const struct snapshot_end *e,
                         uint64_t salt);
FB_MUST_USE enum fb_status snapshot_end_decode(const uint8_t in[SNAPSHOT_END_BYTES],
                                               struct snapshot_end *e, uint64_t salt,
                                               struct fb_err *err);
uint64_t snapshot_chain(uint64_t chain, uint64_t hash);
/* "<part:04d>-<ver:016x>.snap" and back; false when the name is not exactly of that form. */
void snapshot_name_format(char out[64], uint16_t part, uint64_t ver);
/* Of the one before at the same version: a partition that nobody wrote to has two, too. */
void snapshot_name_older(char out[64], uint16_t part, uint64_t ver);
/* Either of the two names. */
bool snapshot_name_parse(const char *name, uint16_t *part, uint64_t *ver);
/* Like snapshot_list, but only part, start_ver and name, and temp files of other writers stay. Free
 * *out. */
FB_MUST_USE enum fb_status snapshot_list_names(const char *dir, struct snapshot_info **out,
                                               size_t *count, struct fb_err *err);

#endif
