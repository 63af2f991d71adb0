/* `forebayctl db check`: schema forebay, rights, and what each mapping finds. */
#include "sync/pg/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct check {
    struct pg *pg;
    pg_check_fn say;
    void *arg;
};

static void tell(const struct check *k, int level, const char *fmt, ...) FB_PRINTF(3, 4);
static void tell(const struct check *k, int level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    k->say(k->arg, level, text);
}

/* Our tables with the columns this program uses, and the rights it needs. */
static const char pg_own_sql[] =
    "select w.t, c.oid is not null, w.cols is null or not exists (select from unnest(w.cols) "
    "x(name) where not exists"
    " (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = x.name and "
    "not a.attisdropped)),"
    " c.oid is not null and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, "
    "'select') and"
    " has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update') and"
    " has_table_privilege(c.oid, 'delete')"
    " from (values ('objects', '{ns,id,kind,value,fields,version,expires_at,updated_at}'::text[]),"
    " ('checkpoint', '{cluster,part,ns,history,ver,consistent,xid,owner,at}'),"
    " ('dead_letter', '{cluster,ns,id,part,version,kind,value,sqlstate,message,at}'),"
    " ('conflict_log', '{cluster,ns,id,version,policy,outcome,old,ours,theirs,at}'),"
    " ('outbox', '{cluster,ns,id,op,xid,at}')) w(t, cols)"
    " left join pg_catalog.pg_namespace n on n.nspname = 'forebay'"
    " left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.t and c.relkind "
    "in ('r', 'p')";

static bool flag(const PGresult *res, int row, int col)
{
    return PQgetvalue(res, row, col)[0] == 't';
}

static enum pg_class check_own(const struct check *k, struct pg_error *err)
{
    PGresult *res = NULL;
    int bad = 0;
    enum pg_class c = pg_run(k->pg, pg_own_sql, NULL, false, &res, err);
    if (c != PG_OK)
        return c;
    for (int i = 0; i < PQntuples(res); i++) {
        const char *t = PQgetvalue(res, i, 0);
        if (!flag(res, i, 1))
            tell(k, 2, "forebay.%s does not exist; run: forebayctl db setup", t);
        else if (!flag(res, i, 2))
            tell(k, 2,
                 "forebay.%s is of another version: columns are missing; run: forebayctl db setup, "
                 "and see the "
                 "notes of the release",
                 t);
        else if (!flag(res, i, 3))
            tell(k, 2,
                 "forebay.%s: rights are missing; as its owner run: grant usage on schema forebay "
                 "to <role>; grant "
                 "select, insert, update, delete on forebay.%s to <role>",
                 t, t);
        else
            continue;
        bad++;
    }
    PQclear(res);
    if (bad == 0)
        tell(k, 0, "schema forebay: complete, PostgreSQL %d", PQserverVersion(k->pg->conn) / 10000);
    return PG_OK;
}

static enum pg_class check_rights(const struct check *k, const struct fb_namespace *ns,
                                  uint32_t oid, struct pg_error *err)
{
    PGresult *res = NULL;
    struct pg_args args = {0};
    char text[16];
    static const char *const rights[] = {"insert", "update", "delete"};
    enum pg_class c;
    snprintf(text, sizeof(text), "%u", oid);
    pg_args_text(&args, text);
    c = pg_run(
        k->pg,
        "select has_table_privilege($1::oid, 'insert'), has_table_privilege($1::oid, 'update'),"
        " has_table_privilege($1::oid, 'delete')",
        &args, false, &res, err);
    pg_args_fini(&args);
    if (c != PG_OK)
        return c;
    for (int i = 0; i < 3 && !ns->read_only; i++)
        if (!flag(res, 0, i) && !(i == 2 && ns->on_delete != FB_ON_DELETE_DELETE))
            tell(k, 2,
                 "%s: no right to %s rows of %s.%s; grant %s on %s.%s to the role of the sync "
                 "processes",
                 ns->name, rights[i], ns->table_schema, ns->table_name, rights[i], ns->table_schema,
                 ns->table_name);
    PQclear(res);
    return PG_OK;
}

static void check_columns(const struct check *k, const struct fb_namespace *ns,
                          const struct fb_schema *s)
{
    for (uint32_t i = 0; i < s->column_count; i++) {
        const struct fb_column *c = &s->columns[i];
        bool value = ns->value == FB_VALUE_COLUMN && strcmp(c->name, ns->value_column) == 0;
        if (c->generated && !c->is_key && ns->value != FB_VALUE_COLUMN)
            tell(k, 0, "%s: column \"%s\" is generated: it can be read, not written", ns->name,
                 c->name);
        if (ns->value == FB_VALUE_COLUMN && !value && !c->is_key && c->not_null &&
            !c->has_default && !c->generated)
            tell(k, ns->blind_writes ? 2 : 1,
                 "%s: column \"%s\" is not null and has no default: new keys cannot be inserted, "
                 "only rows that exist "
                 "can be changed%s",
                 ns->name, c->name, ns->blind_writes ? "; blind_writes cannot work" : "");
    }
}

/* What a row may break that no catalog description of ours tells: constraints, and unique indexes
 * but those on the columns of the mapping's key ($2, joined by commas). Foreign keys first. */
static const char pg_constraints_sql[] =
    "select k.contype = 'f', k.conname::text, pg_get_constraintdef(k.oid) from pg_constraint k"
    " where k.conrelid = $1::oid and k.contype in ('f', 'c', 'x')"
    " union all"
    " select false, c.relname::text, coalesce((select pg_get_constraintdef(k.oid) from "
    "pg_constraint "
    "k"
    " where k.conrelid = i.indrelid and k.conindid = i.indexrelid and k.contype in ('u', 'p') "
    "limit "
    "1), pg_get_indexdef(i.indexrelid))"
    " from pg_index i join pg_class c on c.oid = i.indexrelid"
    " where i.indrelid = $1::oid and i.indisunique and not i.indisexclusion and"
    " (i.indpred is not null or i.indexprs is not null or"
    " (select array_agg(a.attname::text order by a.attname::text collate \"C\")"
    " from unnest(i.indkey::int2[]) with ordinality x(k, n)"
    " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = x.k where x.n <= i.indnkeyatts)"
    " is distinct from"
    " (select array_agg(x order by x collate \"C\") from unnest(string_to_array($2, ',')) x))"
    " order by 1 desc, 2";

static enum pg_class check_constraints(const struct check *k, const struct fb_namespace *ns,
                                       uint32_t oid, struct pg_error *err)
{
    PGresult *res = NULL;
    struct pg_args args = {0};
    char text[16];
    enum pg_class c;
    snprintf(text, sizeof(text), "%u", oid);
    pg_args_text(&args, text);
    pg_args_text(&args, ns->key);
    c = pg_run(k->pg, pg_constraints_sql, &args, false, &res, err);
    pg_args_fini(&args);
    if (c != PG_OK)
        return c;
    for (int i = 0; i < PQntuples(res); i++)
        tell(k, 0,
             "%s: %s is checked by PostgreSQL after the answer: a row that breaks it %sis parked. "
             "%.500s",
             ns->name, PQgetvalue(res, i, 1), flag(res, i, 0) ? "is tried for fk_wait, then " : "",
             PQgetvalue(res, i, 2));
    PQclear(res);
    return PG_OK;
}

static enum pg_class check_namespace(const struct check *k, const struct fb_namespace *ns,
                                     struct pg_error *err)
{
    struct fb_schema *s;
    struct pg_table_facts facts;
    enum pg_class c;
    if (!ns->mapped) {
        tell(k, 0, "%s: in forebay.objects", ns->name);
        return PG_OK;
    }
    if ((c = pg_read_table(k->pg, ns, &s, &facts, err)) != PG_OK)
        return c;
    if (s->problem[0] != '\0') {
        tell(k, 2, "%s: %s", ns->name, s->problem);
    } else {
        tell(k, 0, "%s: table %s.%s, key %s, %u columns", ns->name, ns->table_schema,
             ns->table_name, ns->key, s->column_count);
        check_columns(k, ns, s);
        if (facts.row_security)
            tell(k, 1,
                 "%s: row-level security is on: rows the role may not see look absent, and writes "
                 "to them are "
                 "refused",
                 ns->name);
        if (facts.triggers)
            tell(k, 0,
                 "%s: the table has triggers: they run when a batch is written, not when a client "
                 "writes",
                 ns->name);
        c = check_rights(k, ns, facts.oid, err);
        if (c == PG_OK && !ns->read_only)
            c = check_constraints(k, ns, facts.oid, err);
    }
    fb_schema_free(s);
    return c;
}

enum pg_class pg_check(struct pg *pg, const struct fb_nsset *namespaces, pg_check_fn say, void *arg,
                       struct pg_error *err)
{
    struct check k = {pg, say, arg};
    enum pg_class c = pg_begin_call(pg, err);
    if (c == PG_OK)
        c = check_own(&k, err);
    for (uint32_t i = 0; i < namespaces->count && c == PG_OK; i++)
        c = check_namespace(&k, &namespaces->ns[i], err);
    return c;
}
