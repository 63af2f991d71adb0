/* What a batch makes obsolete in forebay.*: letters about older versions of its objects, and
 * conflicts that are resolved, as newer versions exist. In the batch's transaction, so that neither
 * depends on what this process has heard or lives to tell. */
#include "sync/pg/apply.h"

#include <stdlib.h>

/* A letter and the checkpoint that passes its object are two transactions: a fail-over may lose the
 * first alone, before there was the second, and the object would be in no list for ever. */
static const char missing_sql[] =
    "select u.n from unnest($2::text[], $3::text[], $4::int8[]) with ordinality u(ns, id, ver, n)"
    " where not exists (select from forebay.dead_letter d where d.cluster = $1::uuid"
    " and d.ns = u.ns and d.id = u.id and d.version >= u.ver)";

/* A statement of its own behind the locks: it sees what was committed while they were waited for.
 */
const char pg_settle_open_sql[] =
    "select exists (select from unnest($2::text[]) u(ns) where exists"
    " (select from forebay.dead_letter d where d.cluster = $1::uuid and d.ns = u.ns)),"
    " exists (select from unnest($2::text[]) u(ns) where exists (select from forebay.conflict_log l"
    " where l.cluster = $1::uuid and l.ns = u.ns and l.outcome = 'open'))";

static const char letters_sql[] =
    "delete from forebay.dead_letter d using unnest($2::text[], $3::text[], $4::int8[])"
    " u(ns, id, ver) where d.cluster = $1::uuid and d.ns = u.ns and d.id = u.id"
    " and d.version <= u.ver";

static const char conflicts_sql[] =
    "update forebay.conflict_log l set outcome = 'unheard'"
    " from unnest($2::text[], $3::text[], $4::int8[]) u(ns, id, ver) where l.cluster = $1::uuid"
    " and l.ns = u.ns and l.id = u.id and l.version < u.ver and l.outcome = 'open'";

static bool is_parked(const struct fb_feed_object *o)
{
    return (o->flags & FB_OBJECT_PARKED) != 0;
}

/* Each namespace once: the feeds are sorted by it. */
void pg_settle_open_args(const struct pg_batch *b, const uint8_t cluster[16], struct pg_args *a)
{
    char uuid[37];
    uint32_t n = 0;
    pg_args_reset(a);
    pg_format_uuid(cluster, uuid);
    pg_args_text(a, uuid);
    for (size_t i = 0; i < b->feed_count; i++)
        n += i == 0 || strcmp(b->feeds[i - 1].ns->name, b->feeds[i].ns->name) != 0;
    pg_args_array(a, PG_TYPE_TEXT, n);
    for (size_t i = 0; i < b->feed_count; i++)
        if (i == 0 || strcmp(b->feeds[i - 1].ns->name, b->feeds[i].ns->name) != 0)
            pg_item(a, fb_bytes_str(b->feeds[i].ns->name));
    pg_args_end(a);
}

/* Every object of the batch that is parked, or is not: namespace, id, version. False: there is
 * none.
 */
static bool objects_args(const struct pg_batch *b, const uint8_t cluster[16], bool parked,
                         struct pg_args *a)
{
    struct fb_buf id = {0};
    char uuid[37];
    uint32_t n = 0;
    pg_args_reset(a);
    pg_format_uuid(cluster, uuid);
    pg_args_text(a, uuid);
    for (size_t i = 0; i < b->feed_count; i++)
        for (size_t k = 0; k < b->feeds[i].count; k++)
            n += is_parked(&b->feeds[i].objects[k]) == parked;
    if (n == 0)
        return false;
    for (int column = 0; column < 3; column++) {
        pg_args_array(a, column == 2 ? PG_TYPE_INT8 : PG_TYPE_TEXT, n);
        for (size_t i = 0; i < b->feed_count; i++)
            for (size_t k = 0; k < b->feeds[i].count; k++) {
                const struct fb_feed_object *o = &b->feeds[i].objects[k];
                if (is_parked(o) != parked)
                    continue;
                if (column == 0) {
                    pg_item(a, fb_bytes_str(b->feeds[i].ns->name));
                } else if (column == 1) {
                    fb_buf_clear(&id);
                    pg_put_id(&id, o->id);
                    pg_item(a, fb_buf_view(&id));
                } else {
                    pg_item_i64(a, (int64_t)o->ver);
                }
            }
        pg_args_end(a);
    }
    fb_buf_fini(&id);
    return true;
}

bool pg_settle_statement(enum pg_settle what, const struct pg_batch *b, const uint8_t cluster[16],
                         struct fb_buf *sql, struct pg_args *args)
{
    fb_buf_put_str(sql, what == PG_SETTLE_LETTERS ? letters_sql : conflicts_sql);
    return objects_args(b, cluster, false, args); /* parked ones are not written */
}

bool pg_letters_missing_statement(const struct pg_batch *b, const uint8_t cluster[16],
                                  struct fb_buf *sql, struct pg_args *args)
{
    fb_buf_put_str(sql, missing_sql);
    return objects_args(b, cluster, true, args);
}

static bool is_listed(const PGresult *res, uint64_t number)
{
    for (int i = 0; i < PQntuples(res); i++)
        if (strtoull(PQgetvalue(res, i, 0), NULL, 10) == number)
            return true;
    return false;
}

void pg_letters_missing_result(struct pg_batch *b, const PGresult *res)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < b->feed_count; i++)
        for (uint32_t k = 0; k < b->feeds[i].count; k++) {
            if (!is_parked(&b->feeds[i].objects[k]) || !is_listed(res, ++number))
                continue;
            b->conflicts =
                fb_xrealloc(b->conflicts, (b->conflict_count + 1) * sizeof(*b->conflicts));
            b->conflicts[b->conflict_count++] = (struct pg_conflict){.feed = i, .object = k};
        }
}
