/* Flat encodings of the feed, load and verdict messages. Each message is one list of fields that
 * makes both codecs. */
#include "proto/wire/feed.h"

#include "proto/base/bounds.h"

#define PUT_u8(f) fb_buf_put_u8(out, m->f);
#define PUT_u16(f) fb_buf_put_u16(out, m->f);
#define PUT_u32(f) fb_buf_put_u32(out, m->f);
#define PUT_u64(f) fb_buf_put_u64(out, m->f);
#define PUT_i64(f) fb_buf_put_u64(out, (uint64_t)m->f);
#define PUT_bool(f) fb_buf_put_u8(out, m->f);
#define PUT_str(f) fb_list_put(out, m->f);
#define PUT_name(f) PUT_str(f)
#define PUT_key(f) PUT_str(f)
#define PUT_kind(f) PUT_u8(f)
#define PUT_outcome(f) PUT_u8(f)
#define PUT_sqlstate(f) fb_buf_put(out, m->f, 6);

#define TAKE_u8(f) m->f = fb_take_u8(in);
#define TAKE_u16(f) m->f = fb_take_u16(in);
#define TAKE_u32(f) m->f = fb_take_u32(in);
#define TAKE_u64(f) m->f = fb_take_u64(in);
#define TAKE_i64(f) m->f = (int64_t)fb_take_u64(in);
#define TAKE_bool(f) m->f = fb_take_u8(in) != 0;
#define TAKE_str(f) m->f = fb_take(in, fb_take_u32(in));
#define TAKE_name(f) m->f = take_at_most(in, FB_NAME_BYTES_MAX);
#define TAKE_key(f) m->f = take_at_most(in, FB_KEY_BYTES_MAX);
#define TAKE_kind(f)                                                                               \
    m->f = fb_take_u8(in);                                                                         \
    in->bad |= m->f > FB_KIND_HASH;
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

/* Receivers copy names and keys into places of fixed size, so their limits hold from here on. */
static struct fb_bytes take_at_most(struct fb_reader *in, uint32_t max)
{
    uint32_t n = fb_take_u32(in);
    in->bad |= n > max;
    return fb_take(in, n);
}

static void take_sqlstate(struct fb_reader *in, char out[6])
{
    struct fb_bytes b = fb_take(in, 6);
    memset(out, 0, 6);
    if (b.p != NULL)
        memcpy(out, b.p, 5);
}

#define FIELD_PUT(type, field) PUT_##type(field)
#define FIELD_TAKE(type, field) TAKE_##type(field)

#define CODEC(name, FIELDS)                                                                        \
    void fb_##name##_encode(struct fb_buf *out, const struct fb_##name *m)                         \
    {                                                                                              \
        FIELDS(FIELD_PUT)                                                                          \
    }                                                                                              \
    enum fb_status fb_##name##_decode(struct fb_reader *in, struct fb_##name *m)                   \
    {                                                                                              \
        FIELDS(FIELD_TAKE)                                                                         \
        return in->bad ? FB_EPROTO : FB_OK;                                                        \
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
    F(u64, behind)
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
