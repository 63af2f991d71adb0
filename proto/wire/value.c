/* Hash and list encodings. */
#include "proto/wire/value.h"

#include <stdlib.h>

bool fb_hash_get(struct fb_bytes hash, struct fb_bytes name, struct fb_bytes *value)
{
    struct fb_field f;
    while (fb_hash_next(&hash, &f)) {
        if (fb_bytes_equal(f.name, name)) {
            *value = f.value;
            return true;
        }
    }
    return false;
}

size_t fb_hash_count(struct fb_bytes hash)
{
    struct fb_field f;
    size_t n = 0;
    while (fb_hash_next(&hash, &f))
        n++;
    return n;
}

/* Above this many fields names are sorted: comparing each with each would let one large hash hold
 * up a thread. */
#define PAIRWISE_FIELDS_MAX 16u

static int by_name(const void *a, const void *b)
{
    const struct fb_bytes *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int c = n ? memcmp(x->p, y->p, n) : 0;
    return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

static bool names_unique_sorted(struct fb_bytes v, size_t count)
{
    struct fb_bytes *names = fb_xcalloc(count, sizeof(*names));
    struct fb_field f;
    bool unique = true;
    for (size_t i = 0; i < count && fb_hash_next(&v, &f); i++)
        names[i] = f.name;
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 1; i < count && unique; i++)
        unique = by_name(&names[i - 1], &names[i]) != 0;
    free(names);
    return unique;
}

bool fb_hash_valid(struct fb_bytes v)
{
    struct fb_bytes rest = v;
    struct fb_field f;
    size_t count = 0;
    while (fb_hash_next(&rest, &f))
        count++;
    if (rest.n != 0)
        return false;
    if (count > PAIRWISE_FIELDS_MAX)
        return names_unique_sorted(v, count);
    rest = v;
    while (fb_hash_next(&rest, &f)) {
        struct fb_bytes later = rest, other;
        if (fb_hash_get(later, f.name, &other))
            return false;
    }
    return rest.n == 0;
}

void fb_hash_put(struct fb_buf *out, struct fb_bytes name, struct fb_bytes value)
{
    fb_assert(name.n <= UINT16_MAX && value.n < FB_LIST_NULL);
    fb_buf_put_u16(out, (uint16_t)name.n);
    fb_buf_put_u32(out, (uint32_t)value.n);
    fb_buf_put_bytes(out, name);
    fb_buf_put_bytes(out, value);
}

bool fb_list_valid(struct fb_bytes v)
{
    struct fb_bytes item;
    while (fb_list_next(&v, &item))
        ;
    return v.n == 0;
}

size_t fb_list_count(struct fb_bytes v)
{
    struct fb_bytes item;
    size_t n = 0;
    while (fb_list_next(&v, &item))
        n++;
    return n;
}
