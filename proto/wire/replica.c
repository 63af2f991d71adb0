/* Flat encodings of the replica stream. */
#include "proto/wire/replica.h"

#include "proto/wire/fields.h"

#define PUT_ver(f) PUT_u64(f)
#define PUT_epoch(f) PUT_u32(f)
#define PUT_part(f) PUT_u16(f)
#define PUT_flags(f) PUT_u8(f)
#define PUT_status(f) PUT_u8(f)

/* Versions and epochs are computed with: those that cannot be end here. */
#define TAKE_ver(f)                                                                                \
    m->f = fb_take_u64(in);                                                                        \
    in->bad |= m->f >> 63 != 0;
#define TAKE_epoch(f)                                                                              \
    m->f = fb_take_u32(in);                                                                        \
    in->bad |= m->f == 0 || m->f > FB_EPOCH_MAX;
#define TAKE_part(f)                                                                               \
    m->f = fb_take_u16(in);                                                                        \
    in->bad |= m->f >= FB_PARTITIONS_MAX;
#define TAKE_flags(f)                                                                              \
    m->f = fb_take_u8(in);                                                                         \
    in->bad |= (m->f & ~FB_APPEND_FLAGS) != 0;
#define TAKE_status(f)                                                                             \
    m->f = fb_take_u8(in);                                                                         \
    in->bad |= m->f > FB_APPEND_COPIED;

#define APPEND_FIELDS(F)                                                                           \
    F(part, part)                                                                                  \
    F(flags, flags)                                                                                \
    F(epoch, epoch)                                                                                \
    F(u64, history)                                                                                \
    F(ver, prev)                                                                                   \
    F(ver, com_ver)                                                                                \
    F(u64, token)                                                                                  \
    F(u64, sent_ns)                                                                                \
    F(u32, count)                                                                                  \
    F(str, records)
CODEC(append, APPEND_FIELDS)

size_t fb_append_begin(struct fb_buf *out, const struct fb_append *m)
{
    struct fb_append empty = *m;

    empty.count = 0;
    empty.records = fb_bytes(NULL, 0);
    fb_append_encode(out, &empty);
    return out->n;
}

void fb_append_end(struct fb_buf *out, size_t mark, uint32_t count)
{
    fb_put_u32(out->p + mark - 8, count); /* the last two fields before the records */
    fb_put_u32(out->p + mark - 4, (uint32_t)(out->n - mark));
}

#define APPEND_ACK_FIELDS(F)                                                                       \
    F(part, part)                                                                                  \
    F(status, status)                                                                              \
    F(epoch, epoch)                                                                                \
    F(u64, history)                                                                                \
    F(ver, acked_ver)                                                                              \
    F(ver, synced_ver)                                                                             \
    F(u64, token)                                                                                  \
    F(u64, sent_ns)
CODEC(append_ack, APPEND_ACK_FIELDS)

static struct fb_bytes take_runs(struct fb_reader *in, uint64_t last_ver)
{
    uint32_t n = fb_take_u32(in);
    struct fb_bytes runs;
    uint64_t before = 0;

    in->bad |= n > FB_TAIL_RUNS_MAX * FB_TAIL_RUN_BYTES || n % FB_TAIL_RUN_BYTES != 0;
    runs = fb_take(in, n);
    if (in->bad)
        return runs;
    for (uint32_t i = 0; i < fb_tail_run_count(runs); i++) {
        struct fb_tail_run r = fb_tail_run_at(runs, i);
        in->bad |= r.first > r.last || r.last >> 63 != 0 || fb_ver_epoch(r.first) == 0 ||
                   fb_ver_epoch(r.first) != fb_ver_epoch(r.last) ||
                   fb_ver_epoch(r.first) <= fb_ver_epoch(before);
        before = r.last;
    }
    in->bad |= before != last_ver; /* both 0: an empty log */
    return runs;
}
#define PUT_runs(f) PUT_str(f)
#define TAKE_runs(f) m->f = take_runs(in, m->last_ver);
#define PUT_seen(f) PUT_u32(f)
#define TAKE_seen(f) /* 0: nothing accepted yet */                                                 \
    m->f = fb_take_u32(in);                                                                        \
    in->bad |= m->f > FB_EPOCH_MAX;

#define REPLICA_HELLO_FIELDS(F)                                                                    \
    F(part, part)                                                                                  \
    F(seen, epoch)                                                                                 \
    F(u64, history)                                                                                \
    F(ver, com_ver)                                                                                \
    F(ver, last_ver)                                                                               \
    F(runs, runs)
CODEC(replica_hello, REPLICA_HELLO_FIELDS)
