/* Allocation of objects. */
#include "node/store/object.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/base/hash.h"

#include <stdlib.h>

/* A constant seed: the same keys land in the same buckets in every run, which the simulator needs.
 */
#define OBJECT_HASH_SEED UINT64_C(0x466f726562617900)

uint64_t object_hash(struct fb_bytes key)
{
    return fb_hash64(key.p, key.n, OBJECT_HASH_SEED);
}

static size_t object_size(size_t klen, size_t vlen)
{
    return offsetof(struct object, bytes) + klen + vlen;
}

size_t object_bytes(const struct object *o)
{
    size_t chunk = (object_size(o->klen, o->vlen) + 8 + 15) &
                   ~(size_t)15; /* glibc: 8 bytes of header, 16 aligned */
    return chunk + OBJECT_PLACE_BYTES;
}

struct object *object_new(struct fb_bytes key, uint8_t ns_len, uint16_t ns, uint16_t part,
                          uint8_t kind, size_t vlen)
{
    struct object *o =
        fb_xmalloc(object_size(key.n, vlen) < sizeof *o ? sizeof *o : object_size(key.n, vlen));
    fb_assert(key.n <= UINT16_MAX && vlen <= UINT32_MAX);
    memset(o, 0, offsetof(struct object, bytes));
    o->slot = SLOT_NONE;
    o->vlen = (uint32_t)vlen;
    o->klen = (uint16_t)key.n;
    o->ns = ns;
    o->ns_len = ns_len;
    o->kind = kind;
    o->part = part;
    if (key.n > 0)
        memcpy(o->bytes, key.p, key.n);
    return o;
}

void object_free(struct object *o)
{
#if defined(FB_SLOW_ASSERTS) || defined(FB_SANITIZED)
    /* Readers that come too late see a length no object has. */
    o->klen = UINT16_MAX;
    memset(o->bytes, 0xdb, o->vlen);
    o->ver = UINT64_MAX;
    memset(o->link, 0xdb, sizeof o->link); /* nor an address: a walk of the table ends here */
#endif
    free(o);
}
