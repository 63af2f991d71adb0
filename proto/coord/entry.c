/* Keys of this process in the coordinator, kept as it wrote them (entry.h). */
#include "proto/coord/entry.h"

#include "proto/base/log.h"
#include "proto/base/mutant.h"

#include <stdio.h>
#include <stdlib.h>

struct fb_entry {
    struct fb_coord *coord; /* const */
    char key[FB_NAME_BYTES_MAX + 32];
    struct fb_buf value; /* n == 0: nothing was set yet */
    bool stands;         /* as far as known the coordinator shows the value */
    bool lost;           /* it stood there and does no more */
    bool said;           /* a failure was logged */
};

struct fb_entry *fb_entry_new(struct fb_coord *c, const char *key)
{
    struct fb_entry *e = fb_xcalloc(1, sizeof(*e));
    e->coord = c;
    fb_assert(strlen(key) < sizeof(e->key));
    snprintf(e->key, sizeof(e->key), "%s", key);
    return e;
}

void fb_entry_free(struct fb_entry *e)
{
    if (e == NULL)
        return;
    fb_buf_fini(&e->value);
    free(e);
}

void fb_entry_set(struct fb_entry *e, struct fb_bytes value)
{
    fb_buf_clear(&e->value);
    fb_buf_put_bytes(&e->value, value);
    e->stands = e->lost = false;
}

enum fb_status fb_entry_write(struct fb_entry *e, struct fb_err *err)
{
    struct fb_coord_op op = {
        .key = e->key, .rev = UINT64_MAX, .value = fb_buf_view(&e->value), .session = true};
    uint64_t rev;
    enum fb_status s = fb_coord_txn(e->coord, &op, 1, &rev, err);

    e->stands = s == FB_OK;
    return s;
}

void fb_entry_seen(struct fb_entry *e, const struct fb_coord_list *l)
{
    bool shown = false;

    if (!e->stands || FB_MUTANT(register_once))
        return;
    for (size_t i = 0; i < l->count && !shown; i++)
        shown = strcmp(l->kv[i].key, e->key) == 0 && l->kv[i].alive &&
                fb_bytes_equal(l->kv[i].value, fb_buf_view(&e->value));
    e->stands = shown;
    e->lost = !shown;
}

void fb_entry_keep(struct fb_entry *e)
{
    struct fb_err err = {0};

    if (e->stands || e->value.n == 0)
        return;
    if (fb_entry_write(e, &err) == FB_OK) {
        if (e->lost)
            FB_LOG(WARN, "the coordinator had another entry of this process: written again",
                   FB_KS("key", e->key));
        e->lost = e->said = false;
    } else if (!e->said) {
        e->said = true;
        FB_LOG(WARN, "an entry of this process was not written in the coordinator, trying again",
               FB_KS("key", e->key), FB_KS("error", err.msg));
    }
}

enum fb_status fb_entry_of_member(struct fb_coord *c, const struct fb_member_info *m,
                                  struct fb_entry **out, struct fb_err *err)
{
    char key[FB_NAME_BYTES_MAX + 16];
    struct fb_buf value = {0};
    struct fb_entry *e;
    enum fb_status s;

    snprintf(key, sizeof(key), "%s/%s", fb_member_kind_name(m->kind), m->name);
    e = fb_entry_new(c, key);
    fb_member_info_encode(&value, m);
    fb_entry_set(e, fb_buf_view(&value));
    fb_buf_fini(&value);
    s = fb_entry_write(e, err);
    if (s != FB_OK) {
        fb_entry_free(e);
        e = NULL;
    }
    *out = e;
    return s;
}
