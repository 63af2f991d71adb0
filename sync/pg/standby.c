/* Standbys: what is there, and whether a commit reached one. */
#include "sync/pg/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* A role without pg_monitor sees that there are walsenders and not what they do: each counts. */
static const char pg_standbys_sql[] =
    "select (extract(epoch from pg_postmaster_start_time()) * 1000000)::int8,"
    " current_setting('synchronous_standby_names') <> '',"
    " (select count(*) from pg_stat_replication r"
    " where coalesce(r.state, 'streaming') in ('catchup', 'streaming')"
    " and coalesce(r.application_name, '') <> 'pg_basebackup'),"
    " (extract(epoch from clock_timestamp()) * 1000)::int8";

enum pg_class pg_read_standbys(struct pg *pg, struct pg_standbys *out, struct pg_error *err)
{
    PGresult *res;
    enum pg_class c = pg_begin_call(pg, err);

    *out = (struct pg_standbys){0};
    if (c == PG_OK)
        c = pg_run(pg, pg_standbys_sql, NULL, true, &res, err);
    if (c != PG_OK)
        return c;
    fb_assert(PQntuples(res) == 1 && PQnfields(res) == 4);
    out->server = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
    out->sync_names = PQgetvalue(res, 0, 1)[0] == 't';
    out->streaming = (uint32_t)strtoul(PQgetvalue(res, 0, 2), NULL, 10);
    out->clock_ms = strtoll(PQgetvalue(res, 0, 3), NULL, 10);
    PQclear(res);
    return PG_OK;
}

static const char pg_barrier_sql[] =
    "update forebay.checkpoint set at = now() where cluster = $1::uuid and part = $2::int4 and ns "
    "= $3"
    " returning " PG_REPLICATED_SQL;

enum pg_class pg_barrier(struct pg *pg, const uint8_t cluster[16], struct pg_batch *b,
                         struct pg_error *err)
{
    struct pg_args args = {0};
    char uuid[37], part[16];
    PGresult *res;
    enum pg_class c = pg_begin_call(pg, err);

    fb_assert(b->feed_count == 1 && b->feeds[0].count == 0);
    b->replicated = b->sync_cancelled = false;
    if (c != PG_OK)
        return c;
    pg_format_uuid(cluster, uuid);
    snprintf(part, sizeof(part), "%u", b->feeds[0].part);
    pg_args_reset(&args);
    pg_args_text(&args, uuid);
    pg_args_text(&args, part);
    pg_args_text(&args, b->feeds[0].ns->name);
    /* One statement is its own transaction: its answer comes after the wait for the standby. */
    c = pg_run(pg, pg_barrier_sql, &args, true, &res, err);
    pg_args_fini(&args);
    if (c == PG_OUTAGE)
        return err->class = PG_UNKNOWN;
    if (c != PG_OK)
        return c;
    b->sync_cancelled = pg->warned;
    if (PQntuples(res) == 1)
        b->replicated = PQgetvalue(res, 0, 0)[0] == 't' && !pg->warned;
    else
        c = pg_error_set(err, PG_LOST, "", "there is no such checkpoint");
    PQclear(res);
    return c;
}
