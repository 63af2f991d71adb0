/* Sending statements and waiting for results, always with a deadline. */
#include "sync/pg/internal.h"

#include "proto/base/hash.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The server ends a statement at its timeout; the answer may take this much longer before we call
 * the line dead. */
#define PG_GRACE_MS 5000u

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The connection is of no use any more: take its message, then close it. */
static enum pg_class pg_dead(struct pg *pg, struct pg_error *err)
{
    pg_error_of(pg, NULL, err);
    pg_disconnect(pg);
    return err->class;
}

enum pg_class pg_wait(struct pg *pg, PGresult **res, struct pg_error *err)
{
    int64_t end = now_ms() + pg->config.statement_timeout_ms + PG_GRACE_MS;
    fb_assert(pg->conn != NULL); /* whoever lost the connection asks for no result of it */
    *res = NULL;
    for (;;) {
        int flush = PQflush(pg->conn);
        struct pollfd p = {PQsocket(pg->conn), POLLIN, 0};
        int64_t left;
        if (PQstatus(pg->conn) == CONNECTION_BAD || flush < 0)
            return pg_dead(pg, err);
        if (!PQisBusy(pg->conn))
            break;
        if (flush > 0)
            p.events |= POLLOUT;
        left = end - now_ms();
        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR)) {
            pg_disconnect(pg);
            return pg_error_set(err, PG_OUTAGE, "",
                                "PostgreSQL does not answer: gave up after %u ms",
                                pg->config.statement_timeout_ms + PG_GRACE_MS);
        }
        if ((p.revents & (POLLIN | POLLERR | POLLHUP)) != 0 && !PQconsumeInput(pg->conn))
            return pg_dead(pg, err);
    }
    *res = PQgetResult(pg->conn);
    return PG_OK;
}

/* Arguments in the form libpq wants. */
struct pg_flat {
    Oid *types;
    const char **values;
    int *lengths;
    int *formats;
    void *memory;
};

static struct pg_flat pg_flatten(const struct pg_args *a)
{
    size_t n = a == NULL ? 0 : a->count;
    struct pg_flat f;
    uint8_t *at = f.memory = fb_xmalloc((n + 1) * (sizeof(char *) + sizeof(Oid) + 2 * sizeof(int)));
    f.values = (const char **)(void *)at;
    f.types = (Oid *)(void *)(at + n * sizeof(char *));
    f.lengths = (int *)(void *)(f.types + n);
    f.formats = f.lengths + n;
    for (size_t i = 0; i < n; i++) {
        f.values[i] = (const char *)a->bytes.p + a->v[i].at;
        f.types[i] = a->v[i].type;
        f.lengths[i] = (int)a->v[i].n;
        f.formats[i] = a->v[i].binary;
    }
    return f;
}

static void pg_statement_remove(struct pg *pg, uint32_t i)
{
    free(pg->statements[i].sql);
    pg->statements[i] = pg->statements[--pg->statement_count];
}

void pg_statements_drop(struct pg *pg)
{
    while (pg->statement_count > 0)
        pg_statement_remove(pg, pg->statement_count - 1);
}

void pg_statements_drop_unready(struct pg *pg)
{
    for (uint32_t i = pg->statement_count; i-- > 0;)
        if (!pg->statements[i].ready)
            pg_statement_remove(pg, i);
}

static struct pg_statement *pg_statement_find(struct pg *pg, const char *sql, uint64_t hash)
{
    for (uint32_t i = 0; i < pg->statement_count; i++)
        if (pg->statements[i].hash == hash && strcmp(pg->statements[i].sql, sql) == 0)
            return &pg->statements[i];
    return NULL;
}

static struct pg_statement *pg_statement_add(struct pg *pg, const char *sql, uint64_t hash)
{
    struct pg_statement *s;
    if (pg->statement_count == PG_STATEMENTS_MAX)
        return NULL;
    s = &pg->statements[pg->statement_count++];
    *s = (struct pg_statement){
        .sql = fb_xstrdup(sql), .hash = hash, .number = ++pg->next_number, .used = ++pg->clock};
    return s;
}

static uint32_t pg_statement_oldest(const struct pg *pg)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < pg->statement_count; i++)
        if (pg->statements[i].used < pg->statements[best].used)
            best = i;
    return best;
}

enum pg_class pg_begin_call(struct pg *pg, struct pg_error *err)
{
    *err = (struct pg_error){.class = PG_OK, .feed = UINT32_MAX};
    if (!pg_connected(pg))
        return pg_error_set(err, PG_OUTAGE, "", "not connected to PostgreSQL");
    pg->used_old = false;
    pg->warned = false;
    pg_statements_drop_unready(pg);
    if (pg->forget) {
        enum pg_class c = pg_script(pg, "deallocate all", err);
        if (c != PG_OK)
            return c;
        pg_statements_drop(pg);
        pg->forget = false;
    }
    while (pg->statement_count > PG_STATEMENTS_KEEP) {
        uint32_t i = pg_statement_oldest(pg);
        char sql[64];
        enum pg_class c;
        snprintf(sql, sizeof(sql), "deallocate fb%llu",
                 (unsigned long long)pg->statements[i].number);
        c = pg_script(pg, sql, err);
        if (c != PG_OK)
            return c;
        pg_statement_remove(pg, i);
    }
    return pg_lock_wait(pg, 0, err);
}

enum pg_class pg_lock_wait(struct pg *pg, uint32_t ms, struct pg_error *err)
{
    char sql[48];
    enum pg_class c;

    ms = ms == 0 ? pg->config.lock_timeout_ms : ms;
    if (ms == pg->lock_wait_ms)
        return PG_OK;
    snprintf(sql, sizeof(sql), "set lock_timeout = %u", ms);
    c = pg_script(pg, sql, err);
    if (c == PG_OK)
        pg->lock_wait_ms = ms;
    return c;
}

enum pg_class pg_push(struct pg *pg, const char *sql, const struct pg_args *args, bool keep,
                      struct pg_statement **prepares, struct pg_error *err)
{
    struct pg_flat f;
    struct pg_statement *s = NULL;
    int ok = 1, n = args == NULL ? 0 : (int)args->count;
    *prepares = NULL;
    if (pg->conn == NULL)
        return pg_error_set(err, PG_OUTAGE, "", "not connected to PostgreSQL");
    f = pg_flatten(args);
    if (keep) {
        uint64_t hash = fb_hash64(sql, strlen(sql), 0);
        s = pg_statement_find(pg, sql, hash);
        if (s != NULL) {
            s->used = ++pg->clock;
            pg->used_old = pg->used_old || s->ready;
        } else if ((s = pg_statement_add(pg, sql, hash)) != NULL) {
            *prepares = s;
        }
    }
    if (s != NULL) {
        char name[32];
        snprintf(name, sizeof(name), "fb%llu", (unsigned long long)s->number);
        if (*prepares != NULL)
            ok = PQsendPrepare(pg->conn, name, sql, n, f.types);
        if (ok && PQpipelineStatus(pg->conn) == PQ_PIPELINE_OFF && *prepares != NULL) {
            PGresult *res;
            enum pg_class c = pg_pull(pg, s, &res, err);
            *prepares = NULL;
            PQclear(res);
            if (c != PG_OK) {
                free(f.memory);
                pg_statements_drop_unready(pg);
                return c;
            }
        }
        ok = ok && PQsendQueryPrepared(pg->conn, name, n, f.values, f.lengths, f.formats, 0);
    } else {
        ok = PQsendQueryParams(pg->conn, sql, n, f.types, f.values, f.lengths, f.formats, 0);
    }
    free(f.memory);
    return ok ? PG_OK : pg_dead(pg, err);
}

/* FATAL and PANIC announce that the server closes the connection. */
static bool pg_is_last_word(const PGresult *res)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* One command's result: the first of its results that is an error, else the last. */
static enum pg_class pg_take_result(struct pg *pg, PGresult **out, struct pg_error *err)
{
    PGresult *res;
    enum pg_class c;
    *out = NULL;
    for (;;) {
        if ((c = pg_wait(pg, &res, err)) != PG_OK) {
            if (*out != NULL && pg_is_last_word(*out)) /* says why the line is closed */
                pg_error_of(pg, *out, err);
            PQclear(*out);
            *out = NULL;
            return err->class = c;
        }
        if (res == NULL)
            break;
        if (*out != NULL && PQresultStatus(*out) == PGRES_FATAL_ERROR) {
            PQclear(res);
            continue;
        }
        PQclear(*out);
        *out = res;
    }
    if (*out == NULL)
        return pg_dead(pg, err);
    switch (PQresultStatus(*out)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return PG_OK;
    default:
        c = pg_error_of(pg, *out, err);
        if (err->sqlstate[0] == '\0' || pg_is_last_word(*out))
            pg_disconnect(pg);
        PQclear(*out);
        *out = NULL;
        return c;
    }
}

enum pg_class pg_pull(struct pg *pg, struct pg_statement *prepares, PGresult **res,
                      struct pg_error *err)
{
    enum pg_class c = pg_take_result(pg, res, err);
    if (c == PG_OK && prepares != NULL) {
        prepares->ready = true;
        if (PQpipelineStatus(pg->conn) != PQ_PIPELINE_OFF) {
            PQclear(*res);
            c = pg_take_result(pg, res, err);
        }
    }
    return c;
}

enum pg_class pg_reclassify(struct pg *pg, struct pg_error *err)
{
    /* "cached plan must not change result type", an unknown statement name (a pooler swapped the
     * session), a column or type that changed under a plan: once more with fresh statements tells
     * what is really wrong. */
    bool stale = strncmp(err->sqlstate, "0A000", 5) == 0 ||
                 strncmp(err->sqlstate, "26000", 5) == 0 || strncmp(err->sqlstate, "42", 2) == 0;
    if (stale) {
        pg->forget = true;
        if (pg->used_old && strncmp(err->sqlstate, "42", 2) != 0)
            err->class = PG_RETRY;
    }
    return err->class;
}

enum pg_class pg_run(struct pg *pg, const char *sql, const struct pg_args *args, bool keep,
                     PGresult **res, struct pg_error *err)
{
    struct pg_statement *prepares;
    PGresult *mine = NULL;
    enum pg_class c = pg_push(pg, sql, args, keep, &prepares, err);
    if (c == PG_OK)
        c = pg_pull(pg, NULL, &mine, err);
    if (c != PG_OK)
        return pg_reclassify(pg, err);
    if (res != NULL)
        *res = mine;
    else
        PQclear(mine);
    return PG_OK;
}

enum pg_class pg_script(struct pg *pg, const char *sql, struct pg_error *err)
{
    PGresult *res = NULL;
    enum pg_class c;
    fb_assert(pg->conn != NULL); /* pg_begin_call saw it, or the call before went well */
    if (!PQsendQuery(pg->conn, sql))
        return pg_dead(pg, err);
    c = pg_take_result(pg, &res, err);
    PQclear(res);
    return c;
}
