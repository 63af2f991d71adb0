/* Lookups of namespaces: of a key, by name. A binary search over the names. */
#include "proto/cluster/namespace.h"

/* ns[1..] by name; UINT32_MAX if none. */
static uint32_t search(const struct fb_nsset *s, struct fb_bytes name)
{
    uint32_t low = 1, high = s->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        size_t n = strlen(s->ns[mid].name);
        int c = memcmp(name.p, s->ns[mid].name, name.n < n ? name.n : n);
        if (c == 0 && name.n == n)
            return mid;
        if (c < 0 || (c == 0 && name.n < n))
            high = mid;
        else
            low = mid + 1;
    }
    return UINT32_MAX;
}

uint32_t fb_nsset_of_key(const struct fb_nsset *s, struct fb_bytes key, uint8_t *ns_len)
{
    size_t look = key.n < FB_NAME_BYTES_MAX + 1 ? key.n : FB_NAME_BYTES_MAX + 1;
    const uint8_t *colon = look ? memchr(key.p, ':', look) : NULL;
    uint32_t i;
    *ns_len = 0;
    if (colon == NULL || colon == key.p || s->count == 1)
        return 0;
    i = search(s, fb_bytes(key.p, (size_t)(colon - key.p)));
    if (i == UINT32_MAX)
        return 0;
    *ns_len = (uint8_t)(colon - key.p);
    return i;
}

uint32_t fb_nsset_find(const struct fb_nsset *s, struct fb_bytes name)
{
    if (fb_bytes_is(name, "default"))
        return 0;
    return name.n == 0 ? UINT32_MAX : search(s, name);
}
