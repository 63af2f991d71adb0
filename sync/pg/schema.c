/* A mapped table as pg_catalog describes it, and whether the mapping can work on it. */
#include "sync/pg/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char pg_table_sql[] =
    "select c.oid::text, c.relkind::text, c.relrowsecurity, has_table_privilege(c.oid, 'select'),"
    " has_schema_privilege(n.oid, 'usage'), c.relhastriggers,"
    " exists (select from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal)"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and "
    "c.relname = $2"
    " and c.relkind not in ('i', 'I', 't', 'S', 'c')";

/* Domains are followed to the type below them. */
static const char pg_columns_sql[] =
    "with recursive b as ("
    " select a.attnum, t.oid, t.typtype, t.typbasetype, t.typnotnull, t.typdefault is not null as "
    "typdef,"
    " case when t.typtype = 'd' then t.typtypmod else a.atttypmod end as typmod"
    " from pg_attribute a join pg_type t on t.oid = a.atttypid"
    " where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped"
    " union all"
    " select b.attnum, t.oid, t.typtype, t.typbasetype, b.typnotnull or t.typnotnull,"
    " b.typdef or (t.typtype = 'd' and t.typdefault is not null),"
    " case when t.typtype = 'd' and t.typtypmod >= 0 then t.typtypmod else b.typmod end"
    " from b join pg_type t on t.oid = b.typbasetype where b.typtype = 'd')"
    " select a.attname, format_type(a.atttypid, a.atttypmod), a.attnum, b.oid::int8, "
    "b.typtype::text, b.typmod,"
    " a.attnotnull or b.typnotnull, (a.atthasdef and a.attgenerated = '') or a.attidentity <> '' "
    "or b.typdef,"
    " a.attgenerated <> '' or a.attidentity = 'a', a.attgenerated <> ''"
    " from pg_attribute a join b on b.attnum = a.attnum and b.typtype <> 'd'"
    " where a.attrelid = $1::oid order by a.attnum";

static const char pg_labels_sql[] =
    "select enumlabel from pg_enum where enumtypid = $1::oid order by enumsortorder";

/* Indexes that `on conflict (columns)` can use, as sorted lists of column numbers. */
static const char pg_indexes_sql[] =
    "select (select string_agg(x.k::text, ',' order by x.k) from unnest(i.indkey::int2[]) with "
    "ordinality x(k, n)"
    " where x.n <= i.indnkeyatts) from pg_index i where i.indrelid = $1::oid and i.indisunique and "
    "i.indisvalid"
    " and i.indimmediate and i.indpred is null and i.indexprs is null";

/* What the foreign keys refer to. */
static const char pg_parents_sql[] =
    "select distinct n.nspname, p.relname from pg_constraint k join pg_class p on p.oid = "
    "k.confrelid join pg_namespace n on n.oid = p.relnamespace where k.conrelid = $1::oid and "
    "k.contype = 'f' order by 1, 2 limit $2::int8";

static enum pg_class query(struct pg *pg, const char *sql, const char *arg1, const char *arg2,
                           PGresult **res, struct pg_error *err)
{
    struct pg_args args = {0};
    enum pg_class c;
    pg_args_text(&args, arg1);
    if (arg2 != NULL)
        pg_args_text(&args, arg2);
    c = pg_run(pg, sql, &args, false, res, err);
    pg_args_fini(&args);
    return c;
}

static bool flag(const PGresult *res, int row, int col)
{
    return PQgetvalue(res, row, col)[0] == 't';
}

static enum fb_type_check check_of(long long oid, bool is_enum)
{
    static const struct {
        long long oid;
        enum fb_type_check check;
    } known[] = {
        {16, FB_TYPE_BOOL},      {17, FB_TYPE_BYTEA},     {20, FB_TYPE_INT8},
        {21, FB_TYPE_INT2},      {23, FB_TYPE_INT4},      {25, FB_TYPE_TEXT},
        {114, FB_TYPE_JSON},     {700, FB_TYPE_FLOAT},    {701, FB_TYPE_FLOAT},
        {1042, FB_TYPE_CHAR},    {1043, FB_TYPE_VARCHAR}, {1082, FB_TYPE_DATE},
        {1700, FB_TYPE_NUMERIC}, {2950, FB_TYPE_UUID},    {3802, FB_TYPE_JSONB},
    };
    if (is_enum)
        return FB_TYPE_ENUM;
    for (size_t i = 0; i < FB_COUNT_OF(known); i++)
        if (known[i].oid == oid)
            return known[i].check;
    return FB_TYPE_OTHER;
}

/* Length of varchar and char, precision and scale of numeric, from the type's modifier. */
static void take_length(struct fb_column *c, long typmod)
{
    c->length = c->scale = -1;
    if (typmod < 4)
        return;
    if (c->check == FB_TYPE_VARCHAR || c->check == FB_TYPE_CHAR) {
        c->length = (int32_t)(typmod - 4);
    } else if (c->check == FB_TYPE_NUMERIC) {
        int32_t scale = (int32_t)(((typmod - 4) & 0x7ff) ^ 1024) - 1024;
        if (scale < 0) { /* rounds to tens: left to PostgreSQL */
            c->check = FB_TYPE_OTHER;
            return;
        }
        c->length = (int32_t)((typmod - 4) >> 16 & 0xffff);
        c->scale = scale;
    }
}

static enum pg_class read_labels(struct pg *pg, const char *oid, struct fb_column *c,
                                 struct pg_error *err)
{
    PGresult *res = NULL;
    enum pg_class class = query(pg, pg_labels_sql, oid, NULL, &res, err);
    if (class != PG_OK)
        return class;
    c->label_count = (uint32_t)PQntuples(res);
    c->labels = fb_xcalloc(c->label_count + 1, sizeof(*c->labels));
    for (uint32_t i = 0; i < c->label_count; i++)
        snprintf(c->labels[i], sizeof(c->labels[i]), "%s", PQgetvalue(res, (int)i, 0));
    PQclear(res);
    return PG_OK;
}

static enum pg_class read_columns(struct pg *pg, const char *oid, struct fb_schema *s,
                                  bool *stored_key, struct pg_error *err)
{
    PGresult *res = NULL;
    enum pg_class class = query(pg, pg_columns_sql, oid, NULL, &res, err);
    if (class != PG_OK)
        return class;
    s->columns = fb_xcalloc((size_t)PQntuples(res) + 1, sizeof(*s->columns));
    for (int i = 0; i < PQntuples(res) && class == PG_OK; i++) {
        struct fb_column *c = &s->columns[s->column_count++];
        snprintf(c->name, sizeof(c->name), "%s", PQgetvalue(res, i, 0));
        if (strlen(PQgetvalue(res, i, 1)) >= sizeof(c->type))
            snprintf(s->problem, sizeof(s->problem),
                     "%s: column \"%s\": the type's name is longer than %zu bytes", s->ns, c->name,
                     sizeof(c->type) - 1);
        snprintf(c->type, sizeof(c->type), "%s", PQgetvalue(res, i, 1));
        c->attnum = (uint16_t)strtoul(PQgetvalue(res, i, 2), NULL, 10);
        c->check =
            check_of(strtoll(PQgetvalue(res, i, 3), NULL, 10), PQgetvalue(res, i, 4)[0] == 'e');
        take_length(c, strtol(PQgetvalue(res, i, 5), NULL, 10));
        c->not_null = flag(res, i, 6);
        c->has_default = flag(res, i, 7);
        c->generated = flag(res, i, 8);
        stored_key[i] = flag(res, i, 9);
        if (c->check == FB_TYPE_ENUM)
            class = read_labels(pg, PQgetvalue(res, i, 3), c, err);
    }
    PQclear(res);
    return class;
}

static void problem(struct fb_schema *s, const struct fb_namespace *ns, const char *fmt, ...)
    FB_PRINTF(3, 4);
static void problem(struct fb_schema *s, const struct fb_namespace *ns, const char *fmt, ...)
{
    va_list ap;
    size_t n;
    if (s->problem[0] != '\0')
        return;
    n = (size_t)snprintf(s->problem, sizeof(s->problem), "%s.%s: ", ns->table_schema,
                         ns->table_name);
    va_start(ap, fmt);
    if (n < sizeof(s->problem))
        vsnprintf(s->problem + n, sizeof(s->problem) - n, fmt, ap);
    va_end(ap);
}

static struct fb_column *column(struct fb_schema *s, const char *name)
{
    for (uint32_t i = 0; i < s->column_count; i++)
        if (strcmp(s->columns[i].name, name) == 0)
            return &s->columns[i];
    return NULL;
}

/* The mapping's key: its columns in order, as nsset_parse joined them ("a,b"). */
static void take_key(struct fb_schema *s, const struct fb_namespace *ns, const bool *stored)
{
    for (const char *at = ns->key; *at != '\0'; at += *at == ',') {
        char name[FB_NAME_BYTES_MAX + 1];
        size_t n = strcspn(at, ",");
        struct fb_column *c;
        snprintf(name, sizeof(name), "%.*s", (int)n, at);
        at += n;
        c = column(s, name);
        if (c == NULL) {
            problem(s, ns, "the key column \"%s\" does not exist", name);
            return;
        }
        if (c->is_key || s->key_count == FB_COUNT_OF(s->key_columns)) {
            problem(s, ns, "the key names column \"%s\" twice or has more than %zu columns", name,
                    FB_COUNT_OF(s->key_columns));
            return;
        }
        if (stored[c - s->columns])
            problem(s, ns,
                    "the key column \"%s\" is generated from other columns and cannot be a key",
                    name);
        switch (c->check) {
        case FB_TYPE_INT2:
        case FB_TYPE_INT4:
        case FB_TYPE_INT8:
        case FB_TYPE_UUID:
        case FB_TYPE_DATE:
        case FB_TYPE_TEXT:
        case FB_TYPE_VARCHAR:
        case FB_TYPE_ENUM:
            break;
        default:
            problem(s, ns,
                    "the key column \"%s\" is of type %s; smallint, integer, bigint, uuid, text, "
                    "varchar, date "
                    "and enums can be keys",
                    name, c->type);
        }
        c->is_key = true;
        s->key_columns[s->key_count++] = (uint16_t)(c - s->columns);
    }
    if (s->key_count == 0)
        problem(s, ns, "the mapping names no key column");
}

static enum pg_class read_parents(struct pg *pg, const char *oid, struct fb_schema *s,
                                  struct pg_error *err)
{
    PGresult *res = NULL;
    char limit[16];
    enum pg_class c;
    snprintf(limit, sizeof(limit), "%u", FB_SCHEMA_PARENTS_MAX);
    c = query(pg, pg_parents_sql, oid, limit, &res, err);
    if (c != PG_OK)
        return c;
    s->parents = fb_xcalloc((size_t)PQntuples(res) + 1, sizeof(*s->parents));
    for (int i = 0; i < PQntuples(res); i++) {
        struct fb_table_name *t = &s->parents[s->parent_count++];
        snprintf(t->schema, sizeof(t->schema), "%s", PQgetvalue(res, i, 0));
        snprintf(t->table, sizeof(t->table), "%s", PQgetvalue(res, i, 1));
    }
    PQclear(res);
    return PG_OK;
}

static int compare_u16(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static enum pg_class check_index(struct pg *pg, const char *oid, struct fb_schema *s,
                                 const struct fb_namespace *ns, struct pg_error *err)
{
    PGresult *res = NULL;
    char want[16 * 8] = "";
    uint16_t numbers[16];
    bool found = false;
    enum pg_class c = query(pg, pg_indexes_sql, oid, NULL, &res, err);
    if (c != PG_OK)
        return c;
    for (uint32_t k = 0; k < s->key_count; k++)
        numbers[k] = s->columns[s->key_columns[k]].attnum;
    qsort(numbers, s->key_count, sizeof(*numbers), compare_u16);
    for (uint32_t k = 0; k < s->key_count; k++)
        snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s%u", k == 0 ? "" : ",",
                 numbers[k]);
    for (int i = 0; i < PQntuples(res) && !found; i++)
        found = strcmp(PQgetvalue(res, i, 0), want) == 0;
    PQclear(res);
    if (!found)
        problem(s, ns,
                "the key column \"%s\" has no unique index; create one on exactly the key's "
                "columns: alter table "
                "%s.%s add primary key (%s)",
                ns->key, ns->table_schema, ns->table_name, ns->key);
    return PG_OK;
}

static void check_mapping(struct fb_schema *s, const struct fb_namespace *ns)
{
    const struct fb_column *c;
    if (ns->value == FB_VALUE_COLUMN) {
        c = column(s, ns->value_column);
        if (c == NULL)
            problem(s, ns, "the value column \"%s\" does not exist", ns->value_column);
        else if (c->check != FB_TYPE_TEXT && c->check != FB_TYPE_VARCHAR &&
                 c->check != FB_TYPE_BYTEA && c->check != FB_TYPE_JSON && c->check != FB_TYPE_JSONB)
            problem(s, ns,
                    "the value column \"%s\" is of type %s; text, varchar, bytea, json and jsonb "
                    "can hold a value",
                    c->name, c->type);
        else if (c->generated || c->is_key)
            problem(s, ns, "the value column \"%s\" cannot be written: it is %s", c->name,
                    c->is_key ? "part of the key" : "generated");
    }
    if (ns->expires_column[0] != '\0') {
        c = column(s, ns->expires_column);
        if (c == NULL)
            problem(s, ns, "the expires column \"%s\" does not exist", ns->expires_column);
        else if (c->check != FB_TYPE_INT8 && strncmp(c->type, "timestamp", 9) != 0)
            problem(s, ns,
                    "the expires column \"%s\" is of type %s; use timestamp with time zone, or "
                    "bigint for "
                    "milliseconds since 1970",
                    c->name, c->type);
        else if (c->generated)
            problem(s, ns, "the expires column \"%s\" cannot be written: it is generated", c->name);
    }
    if (ns->on_delete == FB_ON_DELETE_NULL) {
        c = column(s, ns->delete_column);
        if (c == NULL)
            problem(s, ns, "on_delete names column \"%s\", which does not exist",
                    ns->delete_column);
        else if (c->not_null || c->generated || c->is_key)
            problem(s, ns, "on_delete cannot set column \"%s\" to null: it is %s", c->name,
                    c->generated ? "generated" : "not nullable");
    }
}

static void check_kind(struct fb_schema *s, const struct fb_namespace *ns, char kind)
{
    switch (kind) {
    case 'r':
    case 'p':
        break;
    case 'v':
        problem(s, ns, "is a view; map the table below it");
        break;
    case 'm':
        problem(s, ns, "is a materialized view and cannot be written; map a table");
        break;
    case 'f':
        problem(s, ns,
                "is a foreign table: its rows have no version to compare; map the table on its own "
                "server");
        break;
    default:
        problem(s, ns, "is not a table");
    }
}

static enum pg_class read_table(struct pg *pg, const struct fb_namespace *ns, struct fb_schema *s,
                                struct pg_table_facts *facts, struct pg_error *err)
{
    PGresult *res = NULL;
    char oid[16];
    bool stored[FB_COLUMNS_MAX + 1] = {false};
    enum pg_class c = query(pg, pg_table_sql, ns->table_schema, ns->table_name, &res, err);
    if (c != PG_OK)
        return c;
    if (PQntuples(res) == 0) {
        problem(s, ns,
                "the table does not exist in this database; create it, or correct `table` of "
                "namespace %s",
                ns->name);
        PQclear(res);
        return PG_OK;
    }
    snprintf(oid, sizeof(oid), "%s", PQgetvalue(res, 0, 0));
    check_kind(s, ns, PQgetvalue(res, 0, 1)[0]);
    facts->row_security = flag(res, 0, 2);
    facts->triggers = flag(res, 0, 6);
    facts->oid = (uint32_t)strtoul(oid, NULL, 10);
    if (!flag(res, 0, 3) || !flag(res, 0, 4))
        problem(s, ns,
                "no right to read it; grant usage on schema %s and select on the table to the role "
                "of the sync "
                "processes",
                ns->table_schema);
    PQclear(res);
    if ((c = read_columns(pg, oid, s, stored, err)) != PG_OK ||
        (c = read_parents(pg, oid, s, err)) != PG_OK)
        return c;
    take_key(s, ns, stored);
    check_mapping(s, ns);
    return s->problem[0] != '\0' ? PG_OK : check_index(pg, oid, s, ns, err);
}

enum pg_class pg_read_table(struct pg *pg, const struct fb_namespace *ns, struct fb_schema **out,
                            struct pg_table_facts *facts, struct pg_error *err)
{
    struct fb_schema *s;
    struct pg_error ignored;
    enum pg_class c = pg_begin_call(pg, err);
    *out = NULL;
    *facts = (struct pg_table_facts){0};
    if (c == PG_OK) /* the search path makes type names qualified, so that every session reads them
                       alike */
        c = pg_script(
            pg,
            "begin isolation level repeatable read read only; set local search_path = pg_catalog",
            err);
    if (c != PG_OK)
        return c;
    s = fb_xcalloc(1, sizeof(*s));
    snprintf(s->ns, sizeof(s->ns), "%s", ns->name);
    s->mapping = fb_schema_mapping(ns);
    c = read_table(pg, ns, s, facts, err);
    if (pg->conn != NULL && pg_script(pg, "rollback", &ignored) != PG_OK)
        pg_disconnect(pg);
    if (c != PG_OK) {
        fb_schema_free(s);
        return c;
    }
    *out = s;
    return PG_OK;
}

enum pg_class pg_read_schema(struct pg *pg, const struct fb_namespace *ns, struct fb_schema **out,
                             struct pg_error *err)
{
    struct pg_table_facts facts;
    return pg_read_table(pg, ns, out, &facts, err);
}
