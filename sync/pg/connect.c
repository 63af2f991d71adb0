/* Opening the connection and pinning the session's settings. */
#include "sync/pg/internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PG_SERVER_VERSION_MIN 130000

/* A file ends with a newline, which a postgresql:// URI would take for part of a name. */
static char *conninfo_copy(const char *text)
{
    char *copy = fb_xstrdup(text == NULL ? "" : text);

    for (size_t n = strlen(copy); n > 0 && strchr(" \t\r\n", copy[n - 1]) != NULL;)
        copy[--n] = '\0';
    return copy;
}

void pg_set_conninfo(struct pg *pg, const char *conninfo)
{
    pg_disconnect(pg);
    free((void *)(uintptr_t)pg->config.conninfo);
    pg->config.conninfo = conninfo_copy(conninfo);
}

struct pg *pg_new(const struct pg_config *config)
{
    struct pg *pg = fb_xcalloc(1, sizeof(*pg));
    pg->config = *config;
    pg->config.conninfo = conninfo_copy(config->conninfo);
    pg->config.application_name =
        fb_xstrdup(config->application_name == NULL ? "forebay" : config->application_name);
    if (pg->config.connect_timeout_s == 0)
        pg->config.connect_timeout_s = 5;
    if (pg->config.statement_timeout_ms == 0)
        pg->config.statement_timeout_ms = 30000;
    if (pg->config.lock_timeout_ms == 0)
        pg->config.lock_timeout_ms = 5000;
    return pg;
}

void pg_free(struct pg *pg)
{
    if (pg == NULL)
        return;
    pg_disconnect(pg);
    free((void *)(uintptr_t)pg->config.conninfo);
    free((void *)(uintptr_t)pg->config.application_name);
    free(pg);
}

bool pg_connected(const struct pg *pg)
{
    return pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_OK;
}

void pg_disconnect(struct pg *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg_statements_drop(pg);
    pg->forget = false;
}

static void pg_notice(void *arg, const PGresult *res)
{
    struct pg *pg = arg;
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity != NULL && strcmp(severity, "WARNING") == 0)
        pg->warned = true;
}

/* The SQLSTATE of a failed start-up, which libpq gives only inside a verbose message: "FATAL:
 * 28P01: password ...". */
static void pg_startup_state(const char *message, char out[6])
{
    out[0] = '\0';
    for (const char *p = strchr(message, ':'); p != NULL; p = strchr(p + 1, ':')) {
        size_t n;
        p += strspn(p + 1, " ");
        n = strspn(p + 1, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n == 5 && p[6] == ':' && strcspn(p + 1, "0123456789") < 5) { /* "FATAL:" has no digit */
            memcpy(out, p + 1, 5);
            out[5] = '\0';
            return;
        }
    }
}

/* Takes what the verbose message says beyond the plain one out of it: the SQLSTATE, and where in
 * the server's source it was raised. */
static void pg_startup_plain(char *message, const char *state)
{
    char verbose[8];
    char *at;

    (void)snprintf(verbose, sizeof(verbose), "%s: ", state);
    at = state[0] == '\0' ? NULL : strstr(message, verbose);
    if (at != NULL)
        memmove(at, at + strlen(verbose), strlen(at + strlen(verbose)) + 1);
    at = strstr(message, " LOCATION:  ");
    if (at != NULL)
        *at = '\0';
}

/* One host: by hand, so that errors are verbose. Several hosts: libpq's own loop, which has a
 * timeout for each. */
static PGconn *pg_dial(const struct pg *pg, const char *const *keys, const char *const *values,
                       bool many)
{
    PGconn *conn;
    struct timespec start, now;
    if (many)
        return PQconnectdbParams(keys, values, 1);
    conn = PQconnectStartParams(keys, values, 1);
    if (conn == NULL || PQstatus(conn) == CONNECTION_BAD)
        return conn;
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (PostgresPollingStatusType s = PGRES_POLLING_WRITING;
         s != PGRES_POLLING_OK && s != PGRES_POLLING_FAILED;) {
        struct pollfd p = {PQsocket(conn), s == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};
        int64_t left;
        clock_gettime(CLOCK_MONOTONIC, &now);
        left = (int64_t)pg->config.connect_timeout_s * 1000 - (now.tv_sec - start.tv_sec) * 1000 -
               (now.tv_nsec - start.tv_nsec) / 1000000;
        if (left <= 0)
            break;
        if (poll(&p, 1, (int)left) > 0)
            s = PQconnectPoll(conn);
    }
    return conn;
}

/* NULL, or what is wrong with the text (never quoting it: it may hold the password). */
static const char *pg_conninfo_problem(const char *conninfo, bool *many)
{
    char *message = NULL;
    PQconninfoOption *o = PQconninfoParse(conninfo, &message);
    *many = false;
    PQfreemem(message);
    if (o == NULL)
        return "conninfo cannot be read: write it as host=... dbname=... user=... password=... or "
               "postgresql://...";
    for (PQconninfoOption *i = o; i->keyword != NULL; i++)
        if ((strcmp(i->keyword, "host") == 0 || strcmp(i->keyword, "hostaddr") == 0) &&
            i->val != NULL && strchr(i->val, ',') != NULL)
            *many = true;
    PQconninfoFree(o);
    return NULL;
}

static enum pg_class pg_connect_failed(struct pg *pg, bool *fatal, struct pg_error *err)
{
    char state[6] = "";
    const char *hint = "";
    if (pg->conn != NULL)
        pg_startup_state(PQerrorMessage(pg->conn), state);
    pg_error_of(pg, NULL, err);
    if (pg->conn != NULL && PQstatus(pg->conn) != CONNECTION_BAD)
        pg_error_set(err, PG_OUTAGE, "", "PostgreSQL did not accept the connection within %u s",
                     pg->config.connect_timeout_s);
    memcpy(err->sqlstate, state, sizeof(state));
    pg_startup_plain(err->message, state);
    if (strncmp(state, "28", 2) == 0 || (pg->conn != NULL && PQconnectionNeedsPassword(pg->conn)))
        hint = "; correct user or password in conninfo_file, or pg_hba.conf of the server";
    else if (strcmp(state, "3D000") == 0)
        hint = "; create the database or correct dbname in conninfo_file";
    else if (strcmp(state, "42501") == 0)
        hint = "; grant connect on the database to this role";
    *fatal = hint[0] != '\0';
    if (strlen(err->message) + strlen(hint) < sizeof(err->message))
        memcpy(err->message + strlen(err->message), hint, strlen(hint) + 1);
    (void)snprintf(err->remark, sizeof(err->remark), "%.*s", (int)sizeof(err->remark) - 1,
                   err->message);
    pg_disconnect(pg);
    return err->class = PG_OUTAGE;
}

/* Nothing of ours thinks inside a transaction: a session idle there belongs to a process that is
 * paused or cut off, and its locks hold up the one that takes over. */
#define PG_IDLE_IN_TRANSACTION_MS 10000u

static enum pg_class pg_pin_session(struct pg *pg, struct pg_error *err)
{
    char sql[1600];

    pg->lock_wait_ms = pg->config.lock_timeout_ms;
    /* The planner's switches: statements join a batch to a table by its key. A plan made while the
     * table was empty must not stay a scan of the whole table when it has grown. */
    snprintf(sql, sizeof(sql),
             "set DateStyle = 'ISO, YMD'; set IntervalStyle = 'postgres'; set TimeZone = 'UTC'; "
             "set bytea_output = 'hex';"
             "set extra_float_digits = 1; set standard_conforming_strings = on; set xmloption = "
             "'content';"
             "set statement_timeout = %u; set lock_timeout = %u; set "
             "idle_in_transaction_session_timeout = %u;"
             "set default_transaction_isolation = 'read committed'; set "
             "default_transaction_read_only = off;"
             "set plan_cache_mode = 'force_generic_plan'; set enable_seqscan = off; set "
             "enable_hashjoin = off;"
             "set enable_mergejoin = off; set jit = off; set forebay.writer = '1';"
             /* what is committed is dropped from memory: it must at least be on the server's disk,
              * and on the standby where there is one */
             "select set_config('synchronous_commit', 'on', false) "
             "where current_setting('synchronous_commit') in ('off', 'local')",
             pg->config.statement_timeout_ms, pg->config.lock_timeout_ms,
             PG_IDLE_IN_TRANSACTION_MS);
    return pg_script(pg, sql, err);
}

enum pg_class pg_connect(struct pg *pg, bool *fatal, struct pg_error *err)
{
    char connect_timeout[16], user_timeout[16];
    const char *keys[] = {"dbname",
                          "application_name",
                          "connect_timeout",
                          "tcp_user_timeout",
                          "target_session_attrs",
                          "client_encoding",
                          "keepalives",
                          "keepalives_idle",
                          "keepalives_interval",
                          "keepalives_count",
                          NULL};
    const char *values[] = {pg->config.conninfo,
                            pg->config.application_name,
                            connect_timeout,
                            user_timeout,
                            "read-write",
                            "UTF8",
                            "1",
                            "10",
                            "5",
                            "3",
                            NULL};
    const char *problem;
    bool many;
    enum pg_class c;

    *fatal = false;
    *err = (struct pg_error){.class = PG_OK, .feed = UINT32_MAX};
    if (pg_connected(pg))
        return PG_OK;
    pg_disconnect(pg);
    if ((problem = pg_conninfo_problem(pg->config.conninfo, &many)) != NULL) {
        *fatal = true;
        return pg_error_set(err, PG_OUTAGE, "", "%s", problem);
    }
    snprintf(connect_timeout, sizeof(connect_timeout), "%u", pg->config.connect_timeout_s);
    snprintf(user_timeout, sizeof(user_timeout), "%u", pg->config.statement_timeout_ms);
    pg->conn = pg_dial(pg, keys, values, many);
    if (!pg_connected(pg))
        return pg_connect_failed(pg, fatal, err);
    PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(pg->conn, pg_notice, pg);
    if (PQserverVersion(pg->conn) < PG_SERVER_VERSION_MIN) {
        int version = PQserverVersion(pg->conn);
        pg_disconnect(pg);
        *fatal = true;
        return pg_error_set(err, PG_OUTAGE, "",
                            "PostgreSQL %d is too old: Forebay needs 13 or newer", version / 10000);
    }
    if (strcmp(PQparameterStatus(pg->conn, "server_encoding"), "UTF8") != 0) {
        pg_error_set(err, PG_OUTAGE, "", "the database's encoding is %s: Forebay needs UTF8",
                     PQparameterStatus(pg->conn, "server_encoding"));
        pg_disconnect(pg);
        *fatal = true;
        return PG_OUTAGE;
    }
    if (PQsetnonblocking(pg->conn, 1) != 0)
        return pg_connect_failed(pg, fatal, err);
    c = pg_pin_session(pg, err);
    if (c != PG_OK)
        pg_disconnect(pg);
    return c == PG_OK ? PG_OK : (err->class = PG_OUTAGE);
}
