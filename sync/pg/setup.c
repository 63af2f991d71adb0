/* Schema `forebay`: the embedded SQL and its installation. */
#include "sync/pg/internal.h"

#include <stdio.h>

extern const unsigned char pg_forebay_sql[]; /* deploy/sql/forebay.sql, made by embed.cmake */

void pg_setup_sql(struct fb_buf *out)
{
    fb_buf_put_str(out, (const char *)pg_forebay_sql);
}

enum pg_class pg_setup(struct pg *pg, struct pg_error *err)
{
    struct fb_buf sql = {0};
    enum pg_class c = pg_begin_call(pg, err);
    if (c != PG_OK)
        return c;
    /* Several statements in one message are one transaction. The lock keeps two setups apart:
     * "create ... if not exists" alone fails when both create at once. */
    fb_buf_put_str(&sql, "select pg_advisory_xact_lock(6076154379);\n");
    pg_setup_sql(&sql);
    c = pg_script(pg, pg_cstr(&sql), err);
    fb_buf_fini(&sql);
    return c;
}

enum pg_class pg_lsn(struct pg *pg, char out[32], struct pg_error *err)
{
    PGresult *res = NULL;
    enum pg_class c = pg_begin_call(pg, err);
    if (c == PG_OK)
        c = pg_run(pg, "select pg_current_wal_lsn()::text", NULL, true, &res, err);
    if (c != PG_OK)
        return c;
    snprintf(out, 32, "%s", PQgetvalue(res, 0, 0));
    PQclear(res);
    return PG_OK;
}
