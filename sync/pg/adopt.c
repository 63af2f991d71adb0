/* The database as it is becomes the truth (forebayctl db adopt --discard). */
#include "sync/pg/apply.h"

static const char pg_adopt_sql[] =
    "insert into forebay.checkpoint as c (cluster, part, ns, history, ver, consistent, owner, at, "
    "xid) select $1::uuid, u.part, u.ns, u.history, u.ver, true, 'forebayctl db adopt', now(), "
    "pg_current_xact_id() from unnest($2::int4[], $3::text[], $4::int8[], $5::int8[]) "
    "u(part, ns, history, ver) order by u.ns, u.part "
    "on conflict (cluster, part, ns) do update set ver = excluded.ver, "
    "history = greatest(c.history, excluded.history), consistent = true, owner = excluded.owner, "
    "at = now(), xid = excluded.xid where c.ver < excluded.ver";

enum pg_class pg_adopt(struct pg *pg, const uint8_t cluster[16], const struct pg_feed *feeds,
                       size_t count, struct pg_error *err)
{
    struct pg_args a = {0};
    uint32_t n = (uint32_t)count;
    enum pg_class c = pg_begin_call(pg, err);

    pg_args_feeds(&a, cluster, feeds, n);
    pg_args_histories(&a, feeds, n);
    pg_args_array(&a, PG_TYPE_INT8, n);
    for (uint32_t i = 0; i < n; i++)
        pg_item_i64(&a, (int64_t)feeds[i].next);
    pg_args_end(&a);
    if (c == PG_OK)
        c = pg_run(pg, pg_adopt_sql, &a, false, NULL, err);
    pg_args_fini(&a);
    return c;
}
