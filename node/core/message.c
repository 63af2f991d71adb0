/* Messages of sync processes: checked where they arrive, handed to the lane they are for. */
#include "node/core/message.h"

#define DECODE(name, m) (fb_##name##_decode(in, &(m)) == FB_OK)

static bool value_ok(uint8_t kind, struct fb_bytes value)
{
    return kind != FB_KIND_HASH || fb_hash_valid(value);
}

bool lane_message_next(struct fb_reader *in, enum fb_frame_kind kind, uint16_t *part,
                       struct fb_bytes *bytes)
{
    const uint8_t *start = in->p;
    bool ok = false;

    switch (kind) {
    case FB_FRAME_FEED_REQ: {
        struct fb_feed_req m = {0};
        ok = DECODE(feed_req, m);
        *part = m.part;
        break;
    }
    case FB_FRAME_FEED_POS: {
        struct fb_feed_pos m = {0};
        ok = DECODE(feed_pos, m);
        *part = m.part;
        break;
    }
    case FB_FRAME_LOAD_REP: {
        struct fb_load_rep m = {0};
        ok = DECODE(load_rep, m) && m.status <= FB_LOAD_REFUSED &&
             (m.status != FB_LOAD_FOUND || value_ok(m.kind, m.value));
        *part = m.part;
        break;
    }
    case FB_FRAME_VERDICT: {
        struct fb_verdict m = {0};
        ok = DECODE(verdict, m) && m.verdict >= FB_VERDICT_PARK &&
             m.verdict <= FB_VERDICT_DISCARD && value_ok(m.kind, m.value);
        *part = m.part;
        break;
    }
    default:
        break;
    }
    *bytes = fb_bytes(start, (size_t)(in->p - start));
    return ok;
}

void lane_message(struct lane *l, struct feed_dest *dest, enum fb_frame_kind kind,
                  struct fb_reader *in)
{
    bool ok = false;

    switch (kind) {
    case FB_FRAME_FEED_REQ: {
        struct fb_feed_req m;
        ok = DECODE(feed_req, m);
        if (ok)
            lane_feed_req(l, dest, &m);
        break;
    }
    case FB_FRAME_FEED_POS: {
        struct fb_feed_pos m;
        ok = DECODE(feed_pos, m);
        if (ok)
            lane_feed_pos(l, dest, &m);
        break;
    }
    case FB_FRAME_LOAD_REP: {
        struct fb_load_rep m;
        ok = DECODE(load_rep, m);
        if (ok)
            lane_load_reply(l, &m);
        break;
    }
    case FB_FRAME_VERDICT: {
        struct fb_verdict m;
        ok = DECODE(verdict, m);
        if (ok)
            lane_verdict(l, dest, &m);
        break;
    }
    default:
        break;
    }
    fb_assert(ok); /* lane_message_next let it pass */
}
