/* key watch: asks the key's node again and again. Not the feed of changes, which belongs to sync
 * processes, has no clean objects and moves on only with checkpoints; not FB.GET, which would load
 * what it looks at. */
#include "proto/base/clock.h"
#include "proto/cluster/slot.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define INTERVAL_MS 200u

/* What of a key is told: a line is printed when this differs from the one before. */
static json_t *look(struct ctl *c, struct fb_err *err)
{
    struct fb_bytes key = fb_bytes_str(c->args[0]);
    const struct fb_map *map = c->cluster->map;
    uint16_t part = fb_key_partition(key, map->partitions);
    const char *node = map->parts[part].epoch ? map->parts[part].primary.node : "";
    const struct fb_member_info *m = fb_map_member(map, FB_MEMBER_NODE, node);
    json_t *ask, *reply = NULL, *o = json_object(), *k;
    static const char *const fields[] = {"state",       "kind",       "version",  "dirty",
                                         "value_bytes", "expires_ms", "sqlstate", "reason"};

    json_object_set_new(o, "key", json_string(c->args[0]));
    json_object_set_new(o, "node", json_string(node));
    if (m == NULL || !m->alive) {
        json_object_set_new(o, "state", json_string("node is not running"));
        return o;
    }
    ask = json_pack("{s:s, s:s}", "verb", "key.inspect", "key", c->args[0]);
    if (ctl_ask(c, m, ask, &reply, err) != FB_OK) {
        json_object_set_new(o, "state", json_string("node does not answer"));
    } else {
        k = json_object_get(reply, "key");
        for (size_t i = 0; i < FB_COUNT_OF(fields); i++)
            if (json_object_get(k, fields[i]) != NULL)
                json_object_set(o, fields[i], json_object_get(k, fields[i]));
        json_decref(reply);
    }
    json_decref(ask);
    return o;
}

static void print_state(struct ctl *c, json_t *o)
{
    char when[40];
    const char *key;
    json_t *v;

    ctl_time((uint64_t)fb_wall_ms(), when);
    if (c->format == CTL_JSON || c->format == CTL_JSONL) {
        char *line;
        json_object_set_new(o, "at", json_string(when));
        line = json_dumps(o, JSON_COMPACT);
        puts(line ? line : "");
        free(line);
        json_object_del(o, "at");
    } else {
        printf("%s  %s", when, json_string_value(json_object_get(o, "state")));
        json_object_foreach(o, key, v)
        {
            char *text;
            if (strcmp(key, "key") == 0 || strcmp(key, "state") == 0)
                continue;
            text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY);
            printf("  %s=%s", key, json_is_string(v) ? json_string_value(v) : text ? text : "");
            free(text);
        }
        printf("\n");
    }
    fflush(stdout);
}

int ctl_key_watch(struct ctl *c)
{
    uint64_t interval = c->interval_ms ? c->interval_ms : INTERVAL_MS, shown = 0;
    struct timespec pause = {.tv_sec = (time_t)(interval / 1000),
                             .tv_nsec = (long)(interval % 1000) * 1000000};
    json_t *last = NULL;
    int rc = 0;

    if (strlen(c->args[0]) > FB_KEY_BYTES_MAX)
        return ctl_fail(CTL_USAGE, "the key is longer than %u bytes", FB_KEY_BYTES_MAX);
    rc = ctl_open(c);
    if (rc == 0 && c->timeout_ms > 5000)
        c->timeout_ms = 5000; /* a node that is gone is told, not waited for */
    while (rc == 0) {
        struct fb_err err = {0};
        json_t *now = look(c, &err);
        if (last == NULL || !json_equal(last, now)) {
            print_state(c, now);
            shown++;
        }
        json_decref(last);
        last = now;
        if ((c->count != 0 && shown >= c->count) || ferror(stdout) != 0)
            break;
        nanosleep(&pause, NULL);
        (void)ctl_try_refresh(c);
    }
    json_decref(last);
    return rc;
}
