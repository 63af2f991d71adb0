/* Reports of nodes in the coordinator (reports.h): key report/NODE, a line for its incarnation and
 * one for each partition: number, history, epoch, last version, 1 = damaged. */
#include "node/io/reports.h"

#include "proto/base/log.h"
#include "proto/wire/version.h"

#include <errno.h>
#include <inttypes.h>
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
    struct fb_buf text = {0};
    struct fb_err err;

    if (!named(n, map))
        return;
    snprintf(key, sizeof(key), "report/%s", n->name);
    fb_buf_printf(&text, "%016" PRIx64 "\n", n->inc);
    /* all of them: a change of a set may be carried out late and name this node's old process */
    for (uint32_t p = 0; p < n->partitions; p++)
        fb_buf_printf(&text, "%u %u %u %" PRIu64 " %d\n", p,
                      (uint32_t)n->recovered_parts[p].history,
                      fb_ver_epoch(n->recovered_parts[p].last_ver), n->recovered_parts[p].last_ver,
                      n->lost_data);
    if (put_report(n, key, fb_buf_view(&text), &err) != FB_OK)
        FB_LOG(WARN, "what this node recovered may not be in the coordinator yet, trying again",
               FB_KS("error", err.msg));
    fb_buf_fini(&text);
}

/* The next number of the text, which goes on behind it. */
static bool number(const char **at, int base, uint64_t max, uint64_t *out)
{
    char *end;

    if (**at == ' ')
        (*at)++;
    if (**at == '-' || **at == '+' || **at == ' ' || **at == '\0')
        return false;
    errno = 0;
    *out = strtoull(*at, &end, base);
    if (errno != 0 || end == *at || *out > max)
        return false;
    *at = end;
    return true;
}

static bool parse(const char *text, const char *node, uint32_t partitions,
                  struct control_report *out, uint32_t *count)
{
    uint64_t inc, part, history, epoch, ver, damaged;

    *count = 0;
    if (!number(&text, 16, UINT64_MAX, &inc) || *text++ != '\n')
        return false;
    while (*text != '\0' && *count < partitions) {
        struct control_report *r = &out[*count];
        if (!number(&text, 10, partitions - 1, &part) || !number(&text, 10, UINT32_MAX, &history) ||
            !number(&text, 10, UINT32_MAX, &epoch) || !number(&text, 10, UINT64_MAX, &ver) ||
            !number(&text, 10, 1, &damaged) || *text++ != '\n')
            return false;
        *r = (struct control_report){.part = (uint16_t)part,
                                     .member = {.inc = inc},
                                     .history = (uint32_t)history,
                                     .epoch = (uint32_t)epoch,
                                     .last_ver = ver,
                                     .synced_ver = ver, /* recovery has synced what it read */
                                     .damaged = damaged != 0};
        snprintf(r->member.node, sizeof(r->member.node), "%s", node);
        (*count)++;
    }
    return *text == '\0';
}

enum fb_status reports_read(struct node *n, struct control_report **out, uint32_t *count,
                            struct fb_err *err)
{
    struct fb_coord_list l;
    struct fb_buf text = {0};
    enum fb_status s = fb_coord_list(n->coord, "report/", &l, err);

    *out = NULL;
    *count = 0;
    if (s != FB_OK)
        return s;
    *out = fb_xcalloc(l.count * n->partitions + 1, sizeof(**out));
    for (size_t i = 0; i < l.count; i++) {
        const char *node = l.kv[i].key + strlen("report/");
        uint32_t some = 0;
        fb_buf_clear(&text);
        fb_buf_put_bytes(&text, l.kv[i].value);
        fb_buf_put_u8(&text, 0);
        if (strlen(node) > FB_NAME_BYTES_MAX ||
            !parse((const char *)text.p, node, n->partitions, *out + *count, &some))
            FB_LOG(WARN, "a node's report is malformed and left out", FB_KS("key", l.kv[i].key));
        else
            *count += some;
    }
    fb_buf_fini(&text);
    fb_coord_list_free(&l);
    return FB_OK;
}
