/* Reports of nodes in the coordinator (reports.h): key report/NODE, text of node/control/report.h.
 */
#include "node/io/reports.h"

#include "node/control/report.h"
#include "proto/base/log.h"
#include "proto/wire/version.h"

#include <stdio.h>
#include <stdlib.h>

static bool named(const struct node *n, const struct fb_map *map)
{
    for (uint32_t p = 0; p < map->partitions; p++)
        for (uint32_t i = 0; map->parts[p].isr_count > 1 && i < map->parts[p].isr_count; i++)
            if (strcmp(map->parts[p].isr[i].node, n->name) == 0 &&
                map->parts[p].isr[i].inc != n->inc)
                return true;
    return false;
}

/* Written blindly: of two processes of this node one is gone, and the one that is there looks
 * again. */
static enum fb_status put_report(struct node *n, const char *key, struct fb_bytes text,
                                 struct fb_err *err)
{
    struct fb_coord_op op = {.key = key, .rev = UINT64_MAX, .value = text};
    struct fb_buf is = {0};
    uint64_t rev;
    enum fb_status s = fb_coord_get(n->coord, key, &is, &rev, err);

    if (s == FB_ENOENT || (s == FB_OK && !fb_bytes_equal(fb_buf_view(&is), text)))
        s = fb_coord_txn(n->coord, &op, 1, &rev, err);
    fb_buf_fini(&is);
    return s;
}

void reports_tell(struct node *n, const struct fb_map *map)
{
    char key[FB_NAME_BYTES_MAX + 16];
    struct control_report *r;
    struct fb_buf text = {0};
    struct fb_err err;

    if (!named(n, map))
        return;
    snprintf(key, sizeof(key), "report/%s", n->name);
    /* all of them: a change of a set may be carried out late and name this node's old process */
    r = fb_xcalloc(n->partitions, sizeof(*r));
    for (uint32_t p = 0; p < n->partitions; p++)
        r[p] = (struct control_report){.part = (uint16_t)p,
                                       .history = (uint32_t)n->recovered_parts[p].history,
                                       .epoch = fb_ver_epoch(n->recovered_parts[p].last_ver),
                                       .last_ver = n->recovered_parts[p].last_ver,
                                       .damaged = n->lost_data};
    control_report_encode(&text, n->inc, r, n->partitions);
    free(r);
    if (put_report(n, key, fb_buf_view(&text), &err) != FB_OK)
        FB_LOG(WARN, "what this node recovered may not be in the coordinator yet, trying again",
               FB_KS("error", err.msg));
    fb_buf_fini(&text);
}

enum fb_status reports_read(struct node *n, struct control_report **out, uint32_t *count,
                            struct fb_err *err)
{
    struct fb_coord_list l;
    enum fb_status s = fb_coord_list(n->coord, "report/", &l, err);

    *out = NULL;
    *count = 0;
    if (s != FB_OK)
        return s;
    *out = fb_xcalloc(l.count * n->partitions + 1, sizeof(**out));
    for (size_t i = 0; i < l.count; i++) {
        const char *node = l.kv[i].key + strlen("report/");
        struct fb_err wrong = {0};
        uint32_t some = 0;
        if (control_report_decode(l.kv[i].value, node, n->partitions, *out + *count, &some,
                                  &wrong) != FB_OK)
            FB_LOG(WARN, "a node's report is malformed and left out", FB_KS("key", l.kv[i].key),
                   FB_KS("error", wrong.msg));
        *count += some;
    }
    fb_coord_list_free(&l);
    return FB_OK;
}
