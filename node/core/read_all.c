/* SCAN, DBSIZE, RANDOMKEY, FLUSHALL over what is resident: walks of the slab index in bounded
 * steps. */
#include "node/core/read.h"

#include "node/store/object.h"
#include "proto/base/bounds.h"
#include "proto/base/glob.h"

#define SCAN_SLOTS_MAX 4096u

static bool served(const struct store *s, const struct object *o)
{
    int64_t until = object_expires(o);
    if (o->kind == 0)
        return false;
    return (object_flags(o) & OBJECT_MAPPED) || until == 0 || store_now(s) < (uint64_t)until;
}

/* Does this node lead the partition? What a backup holds is another node's to tell of. */
static bool led(const _Atomic uint32_t *open, uint32_t part)
{
    return open == NULL || atomic_load_explicit(&open[part], memory_order_acquire) != 0;
}

/* Cursor: partition << 32 | slot + 1 within it, so that 0 is both the start and the end. */
static void scan(struct store *s, const struct fb_req *req, const _Atomic uint32_t *open,
                 struct fb_buf *list)
{
    uint64_t cursor = req->a > 0 ? (uint64_t)req->a : 0;
    uint32_t part = (uint32_t)(cursor >> 32), slot = (uint32_t)cursor, parts = store_partitions(s);
    uint32_t want = req->b <= 0 ? 10 : req->b > SCAN_SLOTS_MAX ? SCAN_SLOTS_MAX : (uint32_t)req->b;
    uint32_t budget = want * 8 > SCAN_SLOTS_MAX ? SCAN_SLOTS_MAX : want * 8, found = 0,
             empty = parts;
    struct fb_bytes rest = req->args, glob = {0}, type = {0};
    struct fb_buf keys = {0};
    char text[24];

    if (fb_list_next(&rest, &glob))
        (void)fb_list_next(&rest, &type);
    store_read_lock();
    while (part < parts && found < want && budget > 0) {
        struct store_part *p = store_part(s, (uint16_t)part);
        const struct object *o;
        if (!led(open, part) ||
            slot >=
                atomic_load_explicit(&p->used, memory_order_acquire)) { /* pairs with slab_take */
            part++;
            slot = 0;
            if (empty-- == 0)
                break;
            continue;
        }
        budget--;
        o = slab_object(p, slot++);
        if (o == NULL || !served(s, o))
            continue;
        if (type.n > 0 && !fb_bytes_is(type, o->kind == FB_KIND_HASH ? "hash" : "string"))
            continue;
        if ((glob.n > 0 || req->nargs > 2) && !fb_glob_match(glob, object_key(o)))
            continue;
        fb_list_put(&keys, object_key(o));
        found++;
    }
    store_read_unlock();
    cursor = part >= parts ? 0 : (uint64_t)part << 32 | slot;
    int at = sizeof text;
    do {
        text[--at] = (char)('0' + cursor % 10);
        cursor /= 10;
    } while (cursor != 0);
    fb_list_put(list, fb_bytes(text + at, sizeof text - (size_t)at));
    fb_buf_put_bytes(list, fb_buf_view(&keys));
    fb_buf_fini(&keys);
}

static bool random_key(struct store *s, uint64_t random, const _Atomic uint32_t *open,
                       struct fb_buf *out)
{
    uint32_t parts = store_partitions(s), first = (uint32_t)(random % parts);
    bool found = false;

    store_read_lock();
    for (uint32_t i = 0; i < parts && !found; i++) {
        uint32_t part = (first + i) % parts;
        struct store_part *p = store_part(s, (uint16_t)part);
        uint32_t used = atomic_load_explicit(&p->used, memory_order_acquire); /* slab_take */
        uint32_t at = used == 0 ? 0 : (uint32_t)((random >> 32) % used);
        if (!led(open, part))
            continue;
        for (uint32_t n = 0; n < used && n < SCAN_SLOTS_MAX && !found; n++) {
            const struct object *o = slab_object(p, (at + n) % used);
            if (o != NULL && served(s, o)) {
                fb_buf_put_bytes(out, object_key(o));
                found = true;
            }
        }
    }
    store_read_unlock();
    return found;
}

void node_read_all(struct store *s, const struct fb_req *req, uint64_t random,
                   const _Atomic uint32_t *open, struct fb_buf *out)
{
    struct fb_rep rep = {.seq = req->seq, .type = FB_REP_NIL};
    struct fb_buf payload = {0};
    int64_t n = 0;

    switch (req->op) {
    case FB_OP_SCAN:
        scan(s, req, open, &payload);
        rep.type = FB_REP_LIST;
        break;
    case FB_OP_DBSIZE:
        for (uint32_t i = 0; i < store_partitions(s); i++)
            if (led(open, i))
                n += atomic_load_explicit(&store_part(s, (uint16_t)i)->live, memory_order_relaxed);
        rep.type = FB_REP_INT;
        rep.num = n;
        break;
    case FB_OP_RANDOMKEY:
        rep.type = random_key(s, random, open, &payload) ? FB_REP_BULK : FB_REP_NIL;
        break;
    default:
        rep.type = FB_REP_ERR;
        fb_buf_put_str(&payload, "ERR this command is not about a whole node");
        break;
    }
    rep.payload = fb_buf_view(&payload);
    fb_rep_encode(out, &rep);
    fb_buf_fini(&payload);
}
