/* Flat encodings of the feed, load and verdict messages. */
#include "proto/wire/feed.h"

#include "proto/wire/fields.h"

#define PUT_outcome(f) PUT_u8(f)
#define PUT_sqlstate(f) fb_buf_put(out, m->f, 6);
#define TAKE_outcome(f)                                                                            \
    m->f = fb_take_u8(in);                                                                         \
    in->bad |= m->f >= FB_OUTCOME_COUNT;
#define TAKE_sqlstate(f) take_sqlstate(in, m->f);

const char *fb_outcome_word(enum fb_outcome o)
{
    static const char *const words[FB_OUTCOME_COUNT] = {
#define X(id, word) word,
        FB_OUTCOME_LIST(X)
#undef X
    };
    fb_assert(o < FB_OUTCOME_COUNT);
    return words[o];
}

static void take_sqlstate(struct fb_reader *in, char out[6])
{
    struct fb_bytes b = fb_take(in, 6);
    memset(out, 0, 6);
    if (b.p != NULL)
        memcpy(out, b.p, 5);
}

#define FEED_NOTE_FIELDS(F)                                                                        \
    F(u16, part)                                                                                   \
    F(u32, epoch)                                                                                  \
    F(u64, history)                                                                                \
    F(name, ns)                                                                                    \
    F(u64, dirty)                                                                                  \
    F(u64, last_ver)                                                                               \
    F(u64, age_ms)                                                                                 \
    F(bool, due)
CODEC(feed_note, FEED_NOTE_FIELDS)

#define FEED_REQ_FIELDS(F)                                                                         \
    F(u16, part)                                                                                   \
    F(u64, history)                                                                                \
    F(name, ns)                                                                                    \
    F(u64, from_ver)                                                                               \
    F(u32, max)                                                                                    \
    F(u64, mapping)                                                                                \
    F(u64, dsafe)                                                                                  \
    F(u64, proof)
CODEC(feed_req, FEED_REQ_FIELDS)

#define FEED_OBJECT_FIELDS(F)                                                                      \
    F(u64, ver)                                                                                    \
    F(kind, kind)                                                                                  \
    F(u8, flags)                                                                                   \
    F(u32, base_xid)                                                                               \
    F(u64, changed)                                                                                \
    F(i64, expires_ms)                                                                             \
    F(u64, changed_at_ms)                                                                          \
    F(key, id)                                                                                     \
    F(str, value)
CODEC(feed_object, FEED_OBJECT_FIELDS)

#define FEED_BATCH_FIELDS(F)                                                                       \
    F(u16, part)                                                                                   \
    F(u64, history)                                                                                \
    F(name, ns)                                                                                    \
    F(u8, status)                                                                                  \
    F(u64, from_ver)                                                                               \
    F(u64, scan_end)                                                                               \
    F(bool, last)                                                                                  \
    F(u64, purge_ver)                                                                              \
    F(u64, proof)                                                                                  \
    F(u32, count)                                                                                  \
    F(str, objects)
CODEC(feed_batch, FEED_BATCH_FIELDS)

#define FEED_POS_FIELDS(F)                                                                         \
    F(u16, part)                                                                                   \
    F(u64, history)                                                                                \
    F(name, ns)                                                                                    \
    F(u64, ver)                                                                                    \
    F(u64, dsafe)                                                                                  \
    F(u64, xid)
CODEC(feed_pos, FEED_POS_FIELDS)

#define LOAD_REQ_FIELDS(F)                                                                         \
    F(u16, part)                                                                                   \
    F(u64, token)                                                                                  \
    F(name, ns)                                                                                    \
    F(key, id)                                                                                     \
    F(u64, mapping)
CODEC(load_req, LOAD_REQ_FIELDS)

#define LOAD_REP_FIELDS(F)                                                                         \
    F(u16, part)                                                                                   \
    F(u64, token)                                                                                  \
    F(u8, status)                                                                                  \
    F(kind, kind)                                                                                  \
    F(u32, xmin)                                                                                   \
    F(u64, history)                                                                                \
    F(u64, ckpt_ver)                                                                               \
    F(i64, expires_ms)                                                                             \
    F(u64, stored_ver)                                                                             \
    F(name, ns)                                                                                    \
    F(key, id)                                                                                     \
    F(str, value)
CODEC(load_rep, LOAD_REP_FIELDS)

#define VERDICT_FIELDS(F)                                                                          \
    F(u8, verdict)                                                                                 \
    F(u16, part)                                                                                   \
    F(u64, id64)                                                                                   \
    F(name, ns)                                                                                    \
    F(key, id)                                                                                     \
    F(u64, ver)                                                                                    \
    F(kind, kind)                                                                                  \
    F(u32, xmin)                                                                                   \
    F(sqlstate, sqlstate)                                                                          \
    F(str, message)                                                                                \
    F(str, value)
CODEC(verdict, VERDICT_FIELDS)

#define VERDICT_ACK_FIELDS(F)                                                                      \
    F(u16, part)                                                                                   \
    F(u64, id64)                                                                                   \
    F(u16, status)                                                                                 \
    F(u64, ver)                                                                                    \
    F(outcome, outcome)
CODEC(verdict_ack, VERDICT_ACK_FIELDS)
