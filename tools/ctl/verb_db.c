/* db verbs: the CLI talks to PostgreSQL itself, with the rights of whoever runs it. */
#include "proto/base/clock.h"
#include "sync/pg/pg.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>

char *ctl_conninfo(struct ctl *c)
{
    const char *env = getenv("FOREBAY_PG");
    char line[4096];
    FILE *f;
    if (c->conninfo_file == NULL)
        return fb_xstrdup(env ? env : "");
    f = fopen(c->conninfo_file, "r");
    if (f == NULL || fgets(line, sizeof(line), f) == NULL) {
        ctl_fail(0, "%s cannot be read or is empty; it holds one libpq connection string",
                 c->conninfo_file);
        if (f != NULL)
            fclose(f);
        return NULL;
    }
    fclose(f);
    line[strcspn(line, "\r\n")] = '\0';
    return fb_xstrdup(line);
}

struct pg *ctl_connect_pg(struct ctl *c, int *rc)
{
    char *conninfo = ctl_conninfo(c);
    struct pg_config pc = {.conninfo = conninfo,
                           .application_name = "forebayctl",
                           .connect_timeout_s = 10,
                           .statement_timeout_ms = 60000,
                           .lock_timeout_ms = 10000};
    struct pg_error err = {0};
    struct pg *pg;
    uint64_t since = fb_mono_ns();
    bool fatal = false, there;
    if (conninfo == NULL) {
        *rc = CTL_FAILED;
        return NULL;
    }
    pg = pg_new(&pc);
    free(conninfo);
    there = pg_connect(pg, &fatal, &err) == PG_OK;
    ctl_trace(c, since, "PostgreSQL, by %s: %s",
              c->conninfo_file != NULL       ? c->conninfo_file
              : getenv("FOREBAY_PG") != NULL ? "FOREBAY_PG"
                                             : "the environment of libpq",
              there ? "connected" : err.message);
    if (!there) {
        *rc = ctl_fail(fatal ? CTL_FAILED : CTL_UNREACHABLE, "PostgreSQL: %s", err.message);
        pg_free(pg);
        return NULL;
    }
    return pg;
}

int ctl_db_setup(struct ctl *c)
{
    struct pg_error err = {0};
    struct pg *pg;
    int rc = CTL_OK;
    if (c->print) {
        struct fb_buf sql = {0};
        pg_setup_sql(&sql);
        fwrite(sql.p, 1, sql.n, stdout);
        fb_buf_fini(&sql);
        return CTL_OK;
    }
    pg = ctl_connect_pg(c, &rc);
    if (pg == NULL)
        return rc;
    if (c->dry_run)
        ctl_note(c,
                 "connected; these statements would run (--print shows them; nothing was changed)");
    else if (!ctl_confirm(c, "Create or update the schema forebay in this database?"))
        rc = CTL_FAILED;
    else if (pg_setup(pg, &err) != PG_OK)
        rc = ctl_fail(CTL_FAILED, "PostgreSQL: %s%s%s (nothing was changed)", err.sqlstate,
                      err.sqlstate[0] ? " " : "", err.message);
    else
        ctl_note(c, "schema forebay is ready");
    pg_free(pg);
    return rc;
}

struct findings {
    struct ctl *c;
    json_t *rows;
    int worst;
};

static void say(void *arg, int level, const char *text)
{
    static const char *const names[] = {"ok", "warning", "error"};
    struct findings *f = arg;
    int at = level < 0 ? 0 : level > 2 ? 2 : level;
    json_array_append_new(f->rows, json_pack("{s:s, s:s}", "level", names[at], "finding", text));
    if (at > f->worst)
        f->worst = at;
}

int ctl_db_check(struct ctl *c)
{
    static const struct ctl_column columns[] = {{"LEVEL", "level", false},
                                                {"FINDING", "finding", false}};
    struct findings f = {.c = c};
    struct pg_error err = {0};
    struct pg *pg;
    int rc = ctl_open(c);
    if (rc != 0)
        return rc;
    pg = ctl_connect_pg(c, &rc);
    if (pg == NULL)
        return rc;
    f.rows = json_array();
    if (pg_check(pg, c->cluster->namespaces, say, &f, &err) != PG_OK)
        rc = ctl_fail(CTL_UNREACHABLE, "PostgreSQL: %s", err.message);
    ctl_print_rows(c, f.rows, columns, FB_COUNT_OF(columns));
    json_decref(f.rows);
    pg_free(pg);
    if (rc != 0)
        return rc;
    return f.worst == 2 ? CTL_FAILED : f.worst == 1 && c->strict ? CTL_DEGRADED : CTL_OK;
}
