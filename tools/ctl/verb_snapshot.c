/* snapshot verbs. */
#include "node/disk/dump.h"
#include "proto/base/clock.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Nodes that --node leaves; true for each once. */
static const struct fb_member_info *next_node(struct ctl *c, uint32_t *i)
{
    const struct fb_map *map = c->cluster->map;
    while (*i < map->member_count) {
        const struct fb_member_info *m = &map->members[(*i)++];
        if (m->kind == FB_MEMBER_NODE &&
            (c->node_name == NULL || strcmp(c->node_name, m->name) == 0))
            return m;
    }
    return NULL;
}

static int check_node(struct ctl *c)
{
    uint32_t i = 0;
    if (next_node(c, &i) != NULL)
        return 0;
    return c->node_name != NULL
               ? ctl_fail(CTL_FAILED, "there is no node %s; see forebayctl node list", c->node_name)
               : ctl_fail(CTL_FAILED, "the cluster has no node yet");
}

static int ask_node(struct ctl *c, const struct fb_member_info *m, const char *verb, json_t **reply)
{
    json_t *ask;
    struct fb_err err = {0};
    enum fb_status s;

    if (!m->alive)
        return ctl_fail(CTL_UNREACHABLE, "%s is not running", m->name);
    ask = json_pack("{s:s}", "verb", verb);
    s = ctl_ask(c, m, ask, reply, &err);
    json_decref(ask);
    return s == FB_OK ? 0
                      : ctl_fail(s == FB_EREFUSED ? CTL_FAILED : CTL_UNREACHABLE, "%s", err.msg);
}

/* Until the node has ended the attempt. */
static int wait_attempt(struct ctl *c, const struct fb_member_info *m, json_int_t attempt,
                        uint64_t end_ns)
{
    const struct timespec pause = {.tv_nsec = 50000000};

    for (;;) {
        json_t *reply = NULL, *snap;
        int rc = ask_node(c, m, "node.status", &reply);
        if (rc != 0)
            return rc;
        snap = json_object_get(json_object_get(reply, "status"), "snapshot");
        if (json_integer_value(json_object_get(snap, "attempts")) >= attempt) {
            const char *why = json_string_value(json_object_get(snap, "error"));
            if (json_is_true(json_object_get(snap, "failed")))
                rc = ctl_fail(CTL_FAILED, "%s: %s (the log is kept, nothing is lost)", m->name,
                              why ? why : "the snapshot failed");
            json_decref(reply);
            return rc;
        }
        json_decref(reply);
        if (fb_mono_ns() >= end_ns)
            return ctl_fail(CTL_TIMEOUT, "%s still writes after %llu s; it goes on there", m->name,
                            (unsigned long long)c->timeout_ms / 1000);
        nanosleep(&pause, NULL);
    }
}

int ctl_snapshot_create(struct ctl *c)
{
    uint64_t end_ns = fb_mono_ns() + c->timeout_ms * 1000000;
    json_t *attempts = json_object();
    const struct fb_member_info *m;
    uint32_t i = 0, count = 0;
    int rc = ctl_open(c);

    if (rc == 0)
        rc = check_node(c);
    while (rc == 0 && (m = next_node(c, &i)) != NULL) {
        json_t *reply = NULL;
        rc = ask_node(c, m, "snapshot.create", &reply);
        json_object_set(attempts, m->name, json_object_get(reply, "attempt"));
        json_decref(reply);
        count++;
    }
    if (rc == 0 && !c->wait) {
        ctl_note(c, "%u nodes write snapshots now; see forebayctl snapshot list", count);
    } else if (rc == 0) {
        for (i = 0; rc == 0 && (m = next_node(c, &i)) != NULL;)
            rc = wait_attempt(c, m, json_integer_value(json_object_get(attempts, m->name)), end_ns);
        if (rc == 0)
            ctl_note(c, "%u nodes have written snapshots of all their partitions", count);
    }
    json_decref(attempts);
    return rc;
}

int ctl_snapshot_list(struct ctl *c)
{
    static const struct ctl_column columns[] = {
        {"FILE", "path", false},   {"NODE", "node", false},   {"PARTITION", "partition", false},
        {"VERSION", "ver", false}, {"BYTES", "bytes", false}, {"WRITTEN", "written", false}};
    json_t *rows = json_array(), *e;
    const struct fb_member_info *m;
    uint32_t i = 0;
    int rc = ctl_open(c), worst = 0;
    size_t n;

    if (rc == 0)
        rc = check_node(c);
    while (rc == 0 && (m = next_node(c, &i)) != NULL) {
        json_t *reply = NULL;
        int one = ask_node(c, m, "snapshot.list", &reply);
        if (one != 0)
            worst = one; /* those of the others are shown all the same */
        json_array_foreach(json_object_get(reply, "snapshots"), n, e)
        {
            char when[40];
            json_object_set_new(e, "node", json_string(m->name));
            json_object_set(e, "dir", json_object_get(reply, "dir"));
            json_object_set_new(e, "path",
                                json_sprintf("%s/%s",
                                             json_string_value(json_object_get(reply, "dir")),
                                             json_string_value(json_object_get(e, "name"))));
            json_object_set_new(
                e, "written",
                json_string(ctl_time((uint64_t)json_integer_value(json_object_get(e, "written_ms")),
                                     when)));
            json_array_append(rows, e);
        }
        json_decref(reply);
    }
    if (rc == 0)
        ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
    return rc != 0 ? rc : worst;
}

static int verify_text(struct ctl *c, const char *path)
{
    struct fb_err err = {0};
    enum fb_status s =
        disk_dump(path, c->verbose ? DISK_DUMP_BLOCKS : DISK_DUMP_SUMMARY, stdout, &err);
    fflush(stdout);
    if (s == FB_OK) {
        ctl_note(c, "%s is whole", path);
        return CTL_OK;
    }
    return ctl_fail(CTL_FAILED, "%s: %s", path, err.msg);
}

int ctl_snapshot_verify(struct ctl *c)
{
    struct fb_err err = {0};
    char *text = NULL;
    size_t n = 0;
    FILE *out;
    json_t *o;
    enum fb_status s;

    if (c->format == CTL_TABLE || c->format == CTL_WIDE || c->format == CTL_NAME)
        return verify_text(c, c->args[0]);
    out = open_memstream(&text, &n);
    if (out == NULL)
        return ctl_fail(CTL_FAILED, "out of memory");
    s = disk_dump(c->args[0], DISK_DUMP_SUMMARY, out, &err);
    fclose(out);
    o = json_pack("{s:s, s:b, s:s, s:s}", "file", c->args[0], "whole", (int)(s == FB_OK), "problem",
                  s == FB_OK ? "" : err.msg, "text", text ? text : "");
    ctl_print_object(c, o);
    json_decref(o);
    free(text);
    return s == FB_OK ? CTL_OK : CTL_FAILED;
}
