/* events: what all processes told, merged by time; -f follows and adds who comes and goes. */
#include "proto/base/clock.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* What is known of one process while following. */
struct source {
    char name[FB_NAME_BYTES_MAX + 1];
    char instance[24];
    uint64_t next; /* all below were seen */
    bool alive, seen, silent;
};

struct follow {
    struct ctl *c;
    struct source *sources;
    size_t count;
};

static struct source *source_of(struct follow *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->sources[i].name, name) == 0)
            return &f->sources[i];
    f->sources = fb_xrealloc(f->sources, (f->count + 1) * sizeof(*f->sources));
    f->sources[f->count] = (struct source){0};
    snprintf(f->sources[f->count].name, sizeof(f->sources[f->count].name), "%s", name);
    return &f->sources[f->count++];
}

static enum fb_status ask(struct ctl *c, const struct fb_member_info *m, uint64_t since,
                          json_t **reply, struct fb_err *err)
{
    char path[64];
    json_t *q;
    enum fb_status s;

    if (m->kind == FB_MEMBER_ROUTER) {
        snprintf(path, sizeof(path), "/eventsz?since=%llu", (unsigned long long)since);
        return ctl_http_json(c, m, path, reply, err);
    }
    q = json_pack("{s:s, s:I}", "verb", "events", "since", (json_int_t)since);
    s = ctl_ask(c, m, q, reply, err);
    json_decref(q);
    return s;
}

static void add(json_t *list, const char *process, json_t *e)
{
    char when[40];
    json_int_t ms = json_integer_value(json_object_get(e, "at_ms"));
    json_t *row = json_object();
    const char *key;
    json_t *v;

    json_object_set_new(row, "at", json_string(ctl_time((uint64_t)ms, when)));
    json_object_set_new(row, "process", json_string(process));
    json_object_foreach(e, key, v) json_object_set(row, key, v);
    json_array_append_new(list, row);
}

/* A new life: its numbers start again, so what was asked by the old ones is asked again. */
static enum fb_status take(struct follow *f, const struct fb_member_info *m, struct source *s,
                           json_t *list, struct fb_err *err)
{
    json_t *reply = NULL, *e;
    const char *instance;
    size_t i;
    enum fb_status st = ask(f->c, m, s->next, &reply, err);

    if (st != FB_OK)
        return st;
    instance = json_string_value(json_object_get(reply, "instance"));
    if (s->next > 0 && instance != NULL && strcmp(instance, s->instance) != 0) {
        json_decref(reply);
        st = ask(f->c, m, 0, &reply, err);
        if (st != FB_OK)
            return st;
        instance = json_string_value(json_object_get(reply, "instance"));
    }
    snprintf(s->instance, sizeof(s->instance), "%s", instance ? instance : "");
    s->next = (uint64_t)json_integer_value(json_object_get(reply, "next"));
    json_array_foreach(json_object_get(reply, "events"), i, e) add(list, s->name, e);
    json_decref(reply);
    return FB_OK;
}

static void tell(json_t *list, const char *process, const char *kind, bool up)
{
    json_t *e = json_pack("{s:I, s:s, s:s, s:{s:s}}", "at_ms", (json_int_t)fb_wall_ms(), "level",
                          up ? "info" : "warn", "event",
                          up ? "is in the coordinator" : "is gone from the coordinator", "fields",
                          "kind", kind);
    add(list, process, e);
    json_decref(e);
}

/* New events of everybody into `list`. */
static void poll_all(struct follow *f, json_t *list, bool first)
{
    static const char *const kinds[] = {
        [FB_MEMBER_NODE] = "node", [FB_MEMBER_SYNC] = "sync", [FB_MEMBER_ROUTER] = "router"};
    const struct fb_map *map = f->c->cluster->map;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        struct source *s = source_of(f, m->name);
        struct fb_err err = {0};
        if (f->c->node_name != NULL && strcmp(f->c->node_name, m->name) != 0)
            continue;
        if (!first && m->alive != s->alive)
            tell(list, m->name, kinds[m->kind], m->alive);
        s->alive = m->alive;
        if (!m->alive)
            continue;
        if (take(f, m, s, list, &err) == FB_OK) {
            s->silent = false;
        } else if (!s->silent) { /* once, not each second */
            ctl_note(f->c, "%s; its events are left out", err.msg);
            s->silent = true;
        }
    }
}

static int by_time(const void *a, const void *b)
{
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "at_ms")),
               y = json_integer_value(json_object_get(*(json_t *const *)b, "at_ms"));
    return x < y ? -1 : x > y;
}

/* The last `limit` by time; a new array. */
static json_t *sorted(json_t *list, size_t limit)
{
    size_t n = json_array_size(list), from = n > limit ? n - limit : 0;
    json_t **all = fb_xcalloc(n + 1, sizeof(*all)), *out = json_array();

    for (size_t i = 0; i < n; i++)
        all[i] = json_array_get(list, i);
    qsort(all, n, sizeof(*all), by_time);
    for (size_t i = from; i < n; i++)
        json_array_append(out, all[i]);
    free(all);
    return out;
}

static void print_line(const struct ctl *c, json_t *e)
{
    const char *level = json_string_value(json_object_get(e, "level")), *key;
    bool loud = level != NULL && (strcmp(level, "warn") == 0 || strcmp(level, "error") == 0);
    json_int_t times = json_integer_value(json_object_get(e, "times"));
    json_t *v;

    printf("%s%s  %-10s %-5s %s", c->color && loud ? "\033[33m" : "",
           json_string_value(json_object_get(e, "at")),
           json_string_value(json_object_get(e, "process")), level ? level : "",
           json_string_value(json_object_get(e, "event")));
    if (times > 1)
        printf(" (%lld times)", (long long)times);
    json_object_foreach(json_object_get(e, "fields"), key, v)
    {
        char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY);
        printf(" %s=%s", key, json_is_string(v) ? json_string_value(v) : text ? text : "");
        free(text);
    }
    printf("%s\n", c->color && loud ? "\033[0m" : "");
}

static void print_events(struct ctl *c, json_t *events, bool follow)
{
    enum ctl_format format = c->format;
    json_t *e;
    size_t i;

    if (format == CTL_TABLE || format == CTL_WIDE || format == CTL_NAME) {
        json_array_foreach(events, i, e) print_line(c, e);
    } else {
        if (follow)
            c->format = CTL_JSONL;
        ctl_print_rows(c, events, NULL, 0);
        c->format = format;
    }
    fflush(stdout);
}

static int check_name(struct ctl *c)
{
    const struct fb_map *map = c->cluster->map;

    for (uint32_t i = 0; i < map->member_count && c->node_name != NULL; i++)
        if (strcmp(map->members[i].name, c->node_name) == 0)
            return 0;
    return c->node_name == NULL
               ? 0
               : ctl_fail(CTL_FAILED, "there is no process %s; see forebayctl status",
                          c->node_name);
}

int ctl_events(struct ctl *c)
{
    struct follow f = {.c = c};
    struct timespec pause = {.tv_nsec = 500000000};
    bool first = true;
    int rc = ctl_open(c);

    if (rc == 0)
        rc = check_name(c);

    while (rc == 0) {
        json_t *list = json_array(), *events;
        poll_all(&f, list, first);
        events = sorted(list, first ? c->limit : SIZE_MAX);
        print_events(c, events, c->follow);
        json_decref(events);
        json_decref(list);
        first = false;
        if (!c->follow || ferror(stdout) != 0)
            break;
        nanosleep(&pause, NULL);
        (void)ctl_try_refresh(c);
    }
    free(f.sources);
    return rc;
}
