/* Expired rows of forebay.objects that no node expires itself, because nobody has touched their
 * keys since they left memory. */
#include "sync/pg/internal.h"

#include <stdlib.h>

/* Never waits for a row somebody else holds, so it is part of no deadlock. A row that is written
 * again meanwhile fails the condition when it is looked at under its lock. Nothing depends on the
 * row being there: objects are always written by upsert, and loads do not see expired rows. */
static const char pg_sweep_sql[] =
    "with dead as (select o.ns, o.id from forebay.objects o"
    " where o.expires_at < now() - $1::int8 * interval '1 millisecond' order by o.expires_at"
    " limit $2::int8 for update skip locked)"
    " delete from forebay.objects o using dead d where o.ns = d.ns and o.id = d.id"
    " and o.expires_at < now() - $1::int8 * interval '1 millisecond'";

enum pg_class pg_sweep_objects(struct pg *pg, uint32_t age_ms, uint32_t limit, uint64_t *swept,
                               struct pg_error *err)
{
    struct pg_args args = {0};
    PGresult *res = NULL;
    enum pg_class c = pg_begin_call(pg, err);

    *swept = 0;
    if (c != PG_OK)
        return c;
    pg_args_i64(&args, age_ms);
    pg_args_i64(&args, limit);
    c = pg_run(pg, pg_sweep_sql, &args, true, &res, err);
    pg_args_fini(&args);
    if (c == PG_OK) {
        *swept = strtoull(PQcmdTuples(res), NULL, 10);
        PQclear(res);
    }
    return c;
}
