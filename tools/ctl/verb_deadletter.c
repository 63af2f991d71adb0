/* deadletter verbs. */
#include "proto/base/clock.h"
#include "proto/cluster/slot.h"
#include "proto/wire/request.h"
#include "proto/wire/value.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/letter_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 200u /* letters of one answer, which is one frame */

/* "user:7" of a namespace and an id. */
static json_t *key_of(json_t *letter)
{
    const char *ns = json_string_value(json_object_get(letter, "ns"));
    bool def = ns == NULL || strcmp(ns, "default") == 0;
    return json_sprintf("%s%s%s", def ? "" : ns, def ? "" : ":",
                        json_string_value(json_object_get(letter, "id")));
}

/* Some of them, with their keys; *letters is a new reference. *next: taken and replaced, where the
 * page begins, and then the one behind it; NULL = at the first, and there is none. */
static int ask_letters(struct ctl *c, uint64_t limit, json_t **next, json_t **letters)
{
    const struct fb_member_info *m = ctl_any_sync(c);
    json_t *ask, *reply = NULL, *o;
    struct fb_err err;
    enum fb_status s;
    size_t i;

    if (m == NULL)
        return ctl_fail(
            CTL_UNREACHABLE,
            "no sync process is running: the dead letters are in table forebay.dead_letter");
    ask = json_pack("{s:s, s:I, s:o*}", "verb", "deadletter.list", "limit", (json_int_t)limit,
                    "after", *next);
    *next = NULL;
    if (c->namespace_name != NULL)
        json_object_set_new(ask, "ns", json_string(c->namespace_name));
    s = ctl_ask(c, m, ask, &reply, &err);
    json_decref(ask);
    if (s != FB_OK)
        return ctl_fail(s == FB_EREFUSED ? CTL_FAILED : CTL_UNREACHABLE, "%s", err.msg);
    *letters = json_incref(json_object_get(reply, "letters"));
    *next = json_incref(json_object_get(reply, "next"));
    json_decref(reply);
    json_array_foreach(*letters, i, o) json_object_set_new(o, "key", key_of(o));
    return 0;
}

int ctl_deadletter_list(struct ctl *c)
{
    static const struct ctl_column columns[] = {
        {"KEY", "key", false}, {"SQLSTATE", "sqlstate", false}, {"VERSION", "ver", false},
        {"AT", "at", false},   {"MESSAGE", "message", false},   {"VALUE", "value", true}};
    json_t *rows = NULL, *next = NULL;
    int rc = ctl_open(c);

    if (rc == 0)
        rc = ctl_check_namespace(c);
    if (rc == 0)
        rc = ask_letters(c, c->limit, &next, &rows);
    if (rc == 0)
        ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
    json_decref(next);
    return rc;
}

int ctl_deadletter_export(struct ctl *c)
{
    uint64_t done = 0;
    json_t *next = NULL;
    int rc = ctl_open(c);

    if (rc == 0)
        rc = ctl_check_namespace(c);
    while (rc == 0) {
        json_t *page = NULL, *o;
        size_t i;
        rc = ask_letters(c, PAGE, &next, &page);
        json_array_foreach(page, i, o)
        {
            char *line = json_dumps(o, JSON_COMPACT);
            puts(line ? line : "");
            free(line);
        }
        done += json_array_size(page);
        json_decref(page);
        if (next == NULL)
            break;
    }
    json_decref(next);
    if (rc == 0 && fflush(stdout) != 0)
        rc = ctl_fail(CTL_FAILED, "standard output cannot be written");
    if (rc == 0)
        ctl_note(c, "%llu dead letters", (unsigned long long)done);
    return rc;
}

static int letter_verb(struct ctl *c, const char *verb, const char *of, json_t **reply)
{
    struct fb_bytes key = fb_bytes_str(of), id;
    const struct fb_member_info *m;
    uint8_t ns_len;
    uint32_t ns;
    json_t *ask;
    struct fb_err err;
    enum fb_status s;
    int rc = ctl_open(c);

    if (rc != 0)
        return rc;
    m = ctl_any_sync(c);
    if (m == NULL)
        return ctl_fail(CTL_UNREACHABLE, "no sync process is running");
    ns = fb_nsset_of_key(c->cluster->namespaces, key, &ns_len);
    id = fb_key_id(key, ns_len);
    ask = json_pack("{s:s, s:s, s:s%}", "verb", verb, "ns", c->cluster->namespaces->ns[ns].name,
                    "id", (const char *)id.p, id.n);
    s = ctl_ask(c, m, ask, reply, &err);
    json_decref(ask);
    return s == FB_OK ? 0
                      : ctl_fail(s == FB_EREFUSED ? CTL_FAILED : CTL_UNREACHABLE, "%s", err.msg);
}

int ctl_deadletter_show(struct ctl *c)
{
    json_t *reply;
    int rc = letter_verb(c, "deadletter.show", c->args[0], &reply);
    if (rc == 0) {
        ctl_print_object(c, json_array_get(json_object_get(reply, "letters"), 0));
        json_decref(reply);
    }
    return rc;
}

static int retry_key(struct ctl *c, const char *key)
{
    json_t *reply;
    int rc;

    if (c->dry_run) {
        rc = letter_verb(c, "deadletter.show", key, &reply);
        if (rc == 0) {
            ctl_note(c, "%s would be written again", key);
            json_decref(reply);
        }
        return rc;
    }
    rc = letter_verb(c, "deadletter.retry", key, &reply);
    if (rc == 0) {
        ctl_note(c, "%s is written again as version %lld", key,
                 (long long)json_integer_value(json_object_get(reply, "ver")));
        json_decref(reply);
    }
    return rc;
}

/* ---- a file of an export ---- */

struct totals {
    uint64_t retried, restored, skipped, failed;
};

static int send(struct ctl *c, struct fb_req *req, struct fb_rep *rep)
{
    struct fb_buf payload = {0};
    struct fb_err err;
    enum fb_status s = ctl_request(c, req, rep, &payload, &err);

    fb_buf_fini(&payload);
    return s == FB_OK ? 0
                      : ctl_fail(CTL_FAILED, "%.*s: %s", (int)req->key.n, (const char *)req->key.p,
                                 err.msg);
}

static int restore(struct ctl *c, const struct letter_line *l)
{
    struct fb_bytes key = fb_buf_view(&l->key);
    bool hash = l->kind == FB_KIND_HASH, none = l->kind == FB_KIND_NONE;
    struct fb_req req = {.op = none   ? FB_OP_DEL
                               : hash ? FB_OP_HSET
                                      : FB_OP_SET,
                         .key = key,
                         .args = fb_buf_view(&l->args),
                         .nargs = l->nargs};
    struct fb_req expiry = {.op = FB_OP_EXPIREAT, .key = key, .b = l->expires_ms};
    struct fb_rep rep;
    int rc;

    if (req.op == FB_OP_SET)
        req.b = l->expires_ms;
    rc = send(c, &req, &rep);
    if (rc == 0 && hash && l->expires_ms != 0)
        rc = send(c, &expiry, &rep);
    if (rc == 0)
        ctl_note(c, "%.*s is written from the file as version %llu", (int)key.n,
                 (const char *)key.p, (unsigned long long)rep.ver);
    return rc;
}

/* Is the object parked now? -1: its node cannot be asked. */
static int is_parked(struct ctl *c, const char *key)
{
    json_t *ask = json_pack("{s:s, s:s}", "verb", "key.inspect", "key", key), *reply = NULL;
    const struct fb_map *map = c->cluster->map;
    uint16_t part = fb_key_partition(fb_bytes_str(key), map->partitions);
    const struct fb_member_info *m =
        fb_map_member(map, FB_MEMBER_NODE, map->parts[part].primary.node);
    struct fb_err err = {0};
    int parked = -1;

    if (m == NULL || !m->alive)
        ctl_fail(0, "%s: the node that has this key is not running", key);
    else if (ctl_ask(c, m, ask, &reply, &err) != FB_OK)
        ctl_fail(0, "%s: %s", key, err.msg);
    else {
        const char *state =
            json_string_value(json_object_get(json_object_get(reply, "key"), "state"));
        parked = state != NULL && strcmp(state, "parked") == 0;
    }
    json_decref(ask);
    json_decref(reply);
    return parked;
}

static void retry_letter(struct ctl *c, const struct letter_line *l, const char *key,
                         struct totals *t)
{
    int parked = is_parked(c, key);

    if (parked < 0) {
        t->failed++;
    } else if (parked) {
        *(retry_key(c, key) == 0 ? &t->retried : &t->failed) += 1;
    } else if (!c->restore) {
        ctl_note(c,
                 "%s is not parked any more: left alone (--restore writes the value in the file)",
                 key);
        t->skipped++;
    } else if (l->expires_ms != 0 && l->expires_ms <= (int64_t)fb_wall_ms()) {
        ctl_note(c, "%s has expired meanwhile: left alone", key);
        t->skipped++;
    } else if (c->dry_run) {
        ctl_note(c, "%s would be written from the file", key);
        t->restored++;
    } else {
        *(restore(c, l) == 0 ? &t->restored : &t->failed) += 1;
    }
}

static void retry_line(struct ctl *c, struct fb_bytes line, uint64_t number, struct totals *t)
{
    struct letter_line l;
    struct fb_err err;

    if (letter_line_read(line, &l, &err) != FB_OK) {
        ctl_fail(0, "%s:%llu: not a line of an export: %s", c->file, (unsigned long long)number,
                 err.msg);
        t->failed++;
    } else {
        char key[FB_KEY_BYTES_MAX + 1] = "";
        memcpy(key, l.key.p, l.key.n);
        retry_letter(c, &l, key, t);
    }
    letter_line_fini(&l);
}

static int retry_file(struct ctl *c)
{
    FILE *f = strcmp(c->file, "-") == 0 ? stdin : fopen(c->file, "r");
    struct totals t = {0};
    uint64_t number = 0;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    if (f == NULL)
        return ctl_fail(CTL_FAILED, "%s cannot be read: %s", c->file, strerror(errno));
    while ((n = getline(&line, &cap, f)) > 0) {
        number++;
        if (line[strspn(line, " \t\r\n")] != '\0')
            retry_line(c, fb_bytes(line, (size_t)n), number, &t);
    }
    free(line);
    if (f != stdin)
        fclose(f);
    ctl_note(c, "%llu tried again, %llu written from the file, %llu left alone, %llu failed",
             (unsigned long long)t.retried, (unsigned long long)t.restored,
             (unsigned long long)t.skipped, (unsigned long long)t.failed);
    return t.failed > 0 ? CTL_FAILED : CTL_OK;
}

int ctl_deadletter_retry(struct ctl *c)
{
    int rc = 0;

    if ((c->file == NULL) == (c->arg_count == 0))
        return ctl_fail(CTL_USAGE, "say either a KEY or --file FILE");
    if (c->restore && c->file == NULL)
        return ctl_fail(CTL_USAGE, "--restore needs --file FILE: the value comes from there");
    rc = ctl_open(c);
    if (rc == 0 && c->restore && !c->dry_run &&
        !ctl_confirm(c, "Write the values of the file over what is there now?"))
        return CTL_FAILED;
    if (rc == 0)
        rc = c->file != NULL ? retry_file(c) : retry_key(c, c->args[0]);
    return rc;
}

int ctl_deadletter_discard(struct ctl *c)
{
    json_t *reply;
    int rc;
    if (c->dry_run) {
        rc = letter_verb(c, "deadletter.show", c->args[0], &reply);
        if (rc == 0) {
            ctl_note(c, "this version would be given up:");
            ctl_print_object(c, json_array_get(json_object_get(reply, "letters"), 0));
            json_decref(reply);
        }
        return rc;
    }
    if (!ctl_confirm(c, "Give up the version in memory and take the row as PostgreSQL has it?"))
        return CTL_FAILED;
    rc = letter_verb(c, "deadletter.discard", c->args[0], &reply);
    if (rc == 0) {
        ctl_note(c, "discarded");
        json_decref(reply);
    }
    return rc;
}
