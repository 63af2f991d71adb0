/* db adopt: a database that was put back to an older state is gone on with, either brought up to
 * what memory has, or taken as it is. Nothing here is part of the protocol: --discard lifts the
 * checkpoints, and whatever a checkpoint has passed is a clean copy to the nodes. */
#include "proto/wire/request.h"
#include "sync/pg/pg.h"
#include "tools/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct feed_row {
    char ns[FB_NAME_BYTES_MAX + 1];
    uint16_t part;
    uint64_t history;
    uint64_t known;    /* checkpoint that its node knows */
    uint64_t database; /* checkpoint in PostgreSQL */
    uint64_t purged;   /* the highest version that was dropped from memory */
    uint64_t last;     /* what may be given to PostgreSQL, now */
    uint64_t dsafe;
    json_int_t dirty, parked;
};

struct adopt {
    struct ctl *c;
    struct pg *pg;
    struct feed_row *rows; /* one for each feed of a partition that is served, by partition */
    size_t count, cap;
    size_t first[FB_PARTITIONS_MAX]; /* of a partition's rows, if it has any */
    uint32_t partitions;             /* served */
};

static struct feed_row *row_of(const struct adopt *a, uint16_t part, const char *ns)
{
    size_t i = part < FB_PARTITIONS_MAX ? a->first[part] : a->count;

    while (i < a->count && a->rows[i].part == part && strcmp(a->rows[i].ns, ns) != 0)
        i++;
    return i < a->count && a->rows[i].part == part ? &a->rows[i] : NULL;
}

static uint64_t number(const json_t *o, const char *field)
{
    return (uint64_t)json_integer_value(json_object_get(o, field));
}

static void take_partition(struct adopt *a, const json_t *p)
{
    uint16_t part = (uint16_t)number(p, "partition");
    json_t *f;
    size_t i;

    if (part >= FB_PARTITIONS_MAX)
        return;
    a->partitions++;
    a->first[part] = a->count;
    json_array_foreach(json_object_get(p, "feeds"), i, f)
    {
        struct feed_row *r;
        if (a->count == a->cap) {
            a->cap = a->cap == 0 ? 64 : a->cap * 2;
            a->rows = fb_xrealloc(a->rows, a->cap * sizeof(*a->rows));
        }
        r = &a->rows[a->count++];
        *r = (struct feed_row){.part = part,
                               .history = number(p, "history"),
                               .known = number(f, "checkpoint"),
                               .purged = number(f, "purge_ver"),
                               .last = number(p, "safe_ver"),
                               .dsafe = number(f, "dsafe"),
                               .dirty = (json_int_t)number(f, "dirty"),
                               .parked = (json_int_t)number(f, "parked")};
        (void)snprintf(r->ns, sizeof(r->ns), "%s",
                       json_string_value(json_object_get(f, "namespace")));
    }
}

static void take_checkpoint(void *arg, uint16_t part, const char *ns, uint64_t history,
                            uint64_t ver)
{
    struct feed_row *r = row_of(arg, part, ns);

    (void)history;
    if (r != NULL)
        r->database = ver;
}

/* What nodes and PostgreSQL know now. Exit code. */
static int look(struct adopt *a)
{
    json_t *ask = json_pack("{s:s}", "verb", "partition.list"), *reply, *p;
    const struct fb_map *map = a->c->cluster->map;
    struct pg_error pg_err;
    struct fb_err err;
    int rc = CTL_OK;
    size_t at;

    a->count = 0;
    a->partitions = 0;
    for (uint32_t i = 0; rc == CTL_OK && i < map->member_count; i++) {
        if (map->members[i].kind != FB_MEMBER_NODE || !map->members[i].alive)
            continue;
        if (ctl_ask(a->c, &map->members[i], ask, &reply, &err) != FB_OK) {
            rc = ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
            break;
        }
        json_array_foreach(json_object_get(reply, "partitions"), at, p) take_partition(a, p);
        json_decref(reply);
    }
    json_decref(ask);
    if (rc == CTL_OK && a->partitions != map->partitions)
        rc = ctl_fail(CTL_UNREACHABLE,
                      "%u of %u partitions are served: all of them have to be (forebayctl health)",
                      a->partitions, map->partitions);
    if (rc == CTL_OK &&
        pg_read_checkpoints(a->pg, map->cluster, take_checkpoint, a, &pg_err) != PG_OK)
        rc = ctl_fail(CTL_UNREACHABLE, "PostgreSQL: %s", pg_err.message);
    return rc;
}

static void print_differences(const struct adopt *a)
{
    static const struct ctl_column columns[] = {
        {"PARTITION", "partition", false},   {"NAMESPACE", "namespace", false},
        {"DATABASE", "database", false},     {"WRITTEN ONCE", "written", false},
        {"WAITING", "dirty", false},         {"PARKED", "parked", false},
        {"NOT IN MEMORY", "dropped", false},
    };
    json_t *rows = json_array();

    for (size_t i = 0; i < a->count; i++) {
        const struct feed_row *r = &a->rows[i];
        if (r->database >= r->known && r->dirty == 0)
            continue;
        json_array_append_new(rows, json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:b}", "partition",
                                              (int)r->part, "namespace", r->ns, "database",
                                              (json_int_t)r->database, "written",
                                              (json_int_t)r->known, "dirty", r->dirty, "parked",
                                              r->parked, "dropped", r->purged > r->database));
    }
    ctl_print_rows(a->c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
}

static int lift_checkpoints(struct adopt *a)
{
    struct pg_feed *feeds = fb_xcalloc(a->count + 1, sizeof(*feeds));
    struct fb_namespace *ns = fb_xcalloc(a->count + 1, sizeof(*ns)); /* their names alone */
    struct pg_error err;
    int rc = CTL_OK;

    for (size_t i = 0; i < a->count; i++) {
        (void)snprintf(ns[i].name, sizeof(ns[i].name), "%s", a->rows[i].ns);
        feeds[i] = (struct pg_feed){.part = a->rows[i].part,
                                    .ns = &ns[i],
                                    .history = a->rows[i].history,
                                    .next = a->rows[i].last};
    }
    if (pg_adopt(a->pg, a->c->cluster->map->cluster, feeds, a->count, &err) != PG_OK)
        rc = ctl_fail(CTL_FAILED, "PostgreSQL: %s%s%s (nothing was changed)", err.sqlstate,
                      err.sqlstate[0] ? " " : "", err.message);
    free(feeds);
    free(ns);
    return rc;
}

/* Where a feed's checkpoint has to be in PostgreSQL. */
static uint64_t goal_of(const struct feed_row *r, bool discard)
{
    return discard || r->dirty > r->parked ? r->last : r->known;
}

/* Has PostgreSQL what it was to have, and do the nodes know that it will not lose it? What followed
 * since may wait for as long as it likes. */
static bool reached(const struct adopt *now, const struct adopt *before, bool discard)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct feed_row *b = &before->rows[i];
        const struct feed_row *r = row_of(now, b->part, b->ns);
        uint64_t goal = goal_of(b, discard);
        if (r != NULL &&
            (r->database < goal || r->dsafe < (b->dirty > b->parked ? goal : b->known)))
            return false;
    }
    return true;
}

static int wait_reached(struct adopt *a)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    struct adopt now = {.c = a->c, .pg = a->pg};
    struct timespec start, t;
    int rc;

    clock_gettime(CLOCK_MONOTONIC, &start);
    while ((rc = look(&now)) == CTL_OK && !reached(&now, a, a->c->discard)) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        if ((uint64_t)(t.tv_sec - start.tv_sec) * 1000 > a->c->timeout_ms) {
            rc = ctl_fail(CTL_TIMEOUT,
                          "not everything is known to be in PostgreSQL after %llu s; it goes on in "
                          "the cluster (forebayctl sync status). Then run forebayctl db adopt "
                          "--keep, which drops the copies of the state before",
                          (unsigned long long)a->c->timeout_ms / 1000);
            break;
        }
        nanosleep(&pause, NULL);
    }
    free(now.rows);
    return rc;
}

/* Clean copies may be of rows that the database no longer has. */
static int drop_clean(struct adopt *a)
{
    const struct fb_map *map = a->c->cluster->map;
    uint64_t dropped = 0;

    for (uint32_t i = 0; i < map->member_count; i++) {
        struct fb_req req = {.op = FB_OP_FLUSHALL, .part = FB_PART_NONE};
        struct fb_buf payload = {0};
        struct fb_rep rep;
        struct fb_err err;
        if (map->members[i].kind != FB_MEMBER_NODE || !map->members[i].alive)
            continue;
        if (ctl_request_many(a->c, &map->members[i], &req, 1, &rep, &payload, &err) != FB_OK) {
            fb_buf_fini(&payload);
            return ctl_fail(CTL_UNREACHABLE, "%s; run the command again, with --keep", err.msg);
        }
        dropped += rep.type == FB_REP_INT ? (uint64_t)rep.num : 0;
        fb_buf_fini(&payload);
    }
    ctl_note(a->c, "%llu clean copies were dropped from memory", (unsigned long long)dropped);
    return CTL_OK;
}

/* What was dropped still is in the logs, as clean as it was: a node that starts begins with its
 * newest snapshot, and with the one before should that be damaged. */
static int forget_dropped(struct ctl *c)
{
    int rc = ctl_snapshot_create(c);

    if (rc == CTL_OK)
        rc = ctl_snapshot_create(c);
    if (rc == CTL_OK)
        ctl_note(c, "adopted");
    else
        ctl_note(c,
                 "a node that is started before it has written two snapshots may answer with what "
                 "was given up: run forebayctl snapshot create until that succeeds twice");
    return rc;
}

static int carry_out(struct adopt *a)
{
    int rc;

    if (a->c->discard && !a->c->cluster->sync_paused_all)
        return ctl_fail(
            CTL_REFUSED,
            "write-behind is not paused: what followed the database's state may be written to it "
            "again already. Run forebayctl sync pause, restore the database, then this. Nothing "
            "was changed");
    rc = look(a);
    if (rc != CTL_OK)
        return rc;
    print_differences(a);
    if (a->c->dry_run) {
        ctl_note(a->c, "nothing was changed");
        return CTL_OK;
    }
    if (!ctl_confirm(a->c, a->c->discard
                               ? "Give up everything that followed the state of this database?"
                               : "Write everything that memory has and this database lost?"))
        return CTL_FAILED;
    if (a->c->discard)
        rc = lift_checkpoints(a);
    if (rc == CTL_OK)
        rc = ctl_sync_go_on(a->c);
    if (rc == CTL_OK)
        rc = wait_reached(a);
    if (rc == CTL_OK)
        rc = drop_clean(a);
    return rc == CTL_OK ? forget_dropped(a->c) : rc;
}

int ctl_db_adopt(struct ctl *c)
{
    struct adopt a = {.c = c};
    int rc;

    if (c->keep == c->discard)
        return ctl_fail(CTL_USAGE,
                        "say --keep (write again what the database lost) or --discard (take the "
                        "database as it is); see forebayctl db adopt --help");
    rc = ctl_open(c);
    if (rc != CTL_OK)
        return rc;
    a.pg = ctl_connect_pg(c, &rc);
    if (a.pg == NULL)
        return rc;
    rc = carry_out(&a);
    free(a.rows);
    pg_free(a.pg);
    return rc;
}
