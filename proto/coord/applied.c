/* Configuration revisions that are in force, by process. */
#include "proto/coord/applied.h"

#include "proto/coord/entry.h"
#include "proto/rt/metrics.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct fb_applied {
    struct fb_coord *coord; /* const */
    struct fb_entry *entry; /* agent thread */
    uint64_t inc;
    uint32_t parts;
    _Atomic uint64_t rev[FB_APPLIED_PARTS_MAX]; /* each part its own */
    uint64_t published;                         /* agent thread: what the entry says */
};

static void key_of(char *out, size_t n, enum fb_member_kind kind, const char *name)
{
    snprintf(out, n, "applied/%s/%s", fb_member_kind_name(kind), name);
}

static void gauge_rev(void *arg, struct fb_buf *out)
{
    fb_gauge_emit(out, "config_revision", NULL, (double)fb_applied_rev(arg));
}

struct fb_applied *fb_applied_new(struct fb_coord *c, enum fb_member_kind kind, const char *name,
                                  uint64_t inc, uint32_t parts)
{
    struct fb_applied *a = fb_xcalloc(1, sizeof(*a));
    char key[FB_NAME_BYTES_MAX + 32];

    fb_assert(parts > 0 && parts <= FB_APPLIED_PARTS_MAX);
    a->coord = c;
    a->inc = inc;
    a->parts = parts;
    for (uint32_t i = 0; i < parts; i++)
        atomic_init(&a->rev[i], UINT64_MAX); /* a cluster without a configuration has revision 0 */
    a->published = UINT64_MAX;
    key_of(key, sizeof(key), kind, name);
    a->entry = fb_entry_new(c, key);
    fb_gauge_register("config_revision",
                      "Revision of the cluster's configuration that every thread of this process "
                      "goes by.",
                      gauge_rev, a);
    return a;
}

void fb_applied_free(struct fb_applied *a)
{
    if (a == NULL)
        return;
    fb_entry_free(a->entry);
    free(a);
}

/* UINT64_MAX: a part has told nothing yet. */
static uint64_t lowest(const struct fb_applied *a)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < a->parts; i++) {
        uint64_t rev = atomic_load(&a->rev[i]);
        if (rev == UINT64_MAX)
            return UINT64_MAX;
        least = rev < least ? rev : least;
    }
    return least;
}

uint64_t fb_applied_rev(const struct fb_applied *a)
{
    uint64_t rev = lowest(a);
    return rev == UINT64_MAX ? 0 : rev;
}

void fb_applied_took(struct fb_applied *a, uint32_t part, uint64_t rev)
{
    fb_assert(part < a->parts);
    if (atomic_exchange(&a->rev[part], rev) != rev)
        fb_coord_wake(a->coord); /* the agent looks, and publishes when it was the last part */
}

void fb_applied_publish(struct fb_applied *a)
{
    uint64_t rev = lowest(a);
    char text[96];

    if (rev != UINT64_MAX && rev != a->published) {
        snprintf(text, sizeof(text), "{\"config\": %" PRIu64 ", \"inc\": \"%016" PRIx64 "\"}", rev,
                 a->inc);
        fb_entry_set(a->entry, fb_bytes_str(text));
        a->published = rev;
    }
    fb_entry_keep(a->entry);
}

void fb_applied_seen(struct fb_applied *a, const struct fb_coord_list *l)
{
    fb_entry_seen(a->entry, l);
}

static bool runs(const struct fb_coord_list *l, const struct fb_member_info *m, uint64_t rev)
{
    char key[FB_NAME_BYTES_MAX + 32], inc[17];

    key_of(key, sizeof(key), m->kind, m->name);
    snprintf(inc, sizeof(inc), "%016" PRIx64, m->inc);
    for (size_t i = 0; i < l->count; i++) {
        json_t *o;
        json_error_t je;
        const char *of;
        bool yes;
        if (strcmp(l->kv[i].key, key) != 0)
            continue;
        o = json_loadb((const char *)l->kv[i].value.p, l->kv[i].value.n, 0, &je);
        of = json_string_value(json_object_get(o, "inc"));
        /* an earlier process of that name has told nothing about this one */
        yes = of != NULL && strcmp(of, inc) == 0 &&
              (uint64_t)json_integer_value(json_object_get(o, "config")) >= rev;
        json_decref(o);
        return yes;
    }
    return false;
}

size_t fb_applied_missing(const struct fb_coord_list *l, const struct fb_map *map, uint64_t rev,
                          const struct fb_member_info **missing, size_t max, size_t *live)
{
    size_t n = 0;

    *live = 0;
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (!m->alive)
            continue;
        (*live)++;
        if (!runs(l, m, rev) && n < max)
            missing[n++] = m;
    }
    return n;
}
