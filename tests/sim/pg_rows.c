/* The tables that namespaces are mapped to, and what their constraints say (pg_model.h):
 *
 *   team(id text primary key, name text not null, motto text)
 *   member(id text primary key, team text references team, name text not null default 'nobody',
 *          points int not null default 0 check (points < 900),
 *          label text generated always as (name || '/' || points))
 *   note(id text primary key, body text, other text default 'x')
 */
#include "tests/sim/pg_rows.h"

#include "proto/wire/value.h"

#include <stdio.h>
#include <stdlib.h>

static const struct pg_column team_columns[] = {
    {.name = "id", .key = true}, {.name = "name", .not_null = true}, {.name = "motto"}};
static const struct pg_column member_columns[] = {
    {.name = "id", .key = true},
    {.name = "team"},
    {.name = "name", .not_null = true, .default_text = "nobody"},
    {.name = "points", .not_null = true, .default_text = "0", .integer = true},
    {.name = "label", .generated = true}};
static const struct pg_column note_columns[] = {
    {.name = "id", .key = true}, {.name = "body"}, {.name = "other", .default_text = "x"}};

static const struct {
    const char *name;
    const struct pg_column *columns;
    uint32_t count;
} tables[PG_TABLES] = {
    [PG_T_TEAM] = {"team", team_columns, FB_COUNT_OF(team_columns)},
    [PG_T_MEMBER] = {"member", member_columns, FB_COUNT_OF(member_columns)},
    [PG_T_NOTE] = {"note", note_columns, FB_COUNT_OF(note_columns)},
};

enum pg_table pg_table_of(const char *ns)
{
    for (int t = 0; t < PG_TABLES; t++)
        if (tables[t].name != NULL && strcmp(tables[t].name, ns) == 0)
            return (enum pg_table)t;
    return PG_TABLES;
}

uint32_t pg_table_columns(enum pg_table t, const struct pg_column **out)
{
    *out = tables[t].columns;
    return tables[t].count;
}

static bool missing(const struct pg_model *m, enum pg_table t)
{
    return t == PG_TABLES || m->table_gone[t];
}

struct fb_schema *pg_table_schema(const struct pg_model *m, const struct fb_namespace *ns)
{
    enum pg_table t = pg_table_of(ns->table_name);
    struct fb_schema *s = fb_xcalloc(1, sizeof *s);

    snprintf(s->ns, sizeof s->ns, "%s", ns->name);
    s->mapping = fb_schema_mapping(ns);
    if (missing(m, t)) {
        snprintf(s->problem, sizeof s->problem, "table %s does not exist", ns->table_name);
        return s;
    }
    s->column_count = tables[t].count;
    s->columns = fb_xcalloc(s->column_count, sizeof *s->columns);
    for (uint32_t i = 0; i < s->column_count; i++) {
        const struct pg_column *c = &tables[t].columns[i];
        struct fb_column *out = &s->columns[i];
        snprintf(out->name, sizeof out->name, "%s", c->name);
        snprintf(out->type, sizeof out->type, "%s", c->integer ? "integer" : "text");
        out->attnum = (uint16_t)(i + 1);
        out->check = c->integer ? FB_TYPE_INT4 : FB_TYPE_TEXT;
        out->length = out->scale = -1;
        out->not_null = c->not_null || c->key;
        out->has_default = c->default_text != NULL;
        out->generated = c->generated;
        out->is_key = c->key;
    }
    s->key_count = 1;
    if (t == PG_T_MEMBER) {
        s->parent_count = 1;
        s->parents = fb_xcalloc(1, sizeof *s->parents);
        snprintf(s->parents[0].schema, sizeof s->parents[0].schema, "public");
        snprintf(s->parents[0].table, sizeof s->parents[0].table, "team");
    }
    return s;
}

/* ---- constraints ---- */

/* The row of team is there, or its transaction ends first. */
static bool parent_there(struct pg_session *s, struct fb_bytes team)
{
    struct pg_row *r = pg_row_find(s->m, PG_T_TEAM, team, true);
    uint64_t until = pg_lock_until(s);
    while (r->locker != NULL && r->locker != s && r->changed && !r->next_image.exists) {
        if (sim_now_ns(s->m->sim) >= until || s->terminate)
            return pg_fail(s, "55P03", "canceling statement due to lock timeout");
        (void)sim_wait(&r->waiting, until);
    }
    return pg_see(s, r)->exists || pg_fail(s, "23503", "key is not present in table \"team\"");
}

struct child_look {
    struct pg_session *s;
    struct fb_bytes team;
    bool found;
};

static void look_child(void *arg, struct pg_row *r)
{
    struct child_look *l = arg;
    const struct pg_image *i = pg_see(l->s, r);
    struct fb_bytes team;
    if (i->exists && fb_hash_get(fb_buf_view(&i->value), fb_bytes_str("team"), &team) &&
        fb_bytes_equal(team, l->team))
        l->found = true;
}

static bool constraints(struct pg_session *s, enum pg_table t, struct fb_bytes value)
{
    for (uint32_t i = 0; i < tables[t].count; i++) {
        const struct pg_column *c = &tables[t].columns[i];
        struct fb_bytes v;
        bool has = fb_hash_get(value, fb_bytes_str(c->name), &v);
        if (!has && c->not_null)
            return pg_fail(s, "23502", "null value in column");
        if (has && c->integer && v.n >= 3 && v.p[0] == '9')
            return pg_fail(s, "23514", "violates check constraint \"member_points\"");
        if (has && !c->key && !c->generated && !c->integer && pg_model_refuses(s->m, v))
            return pg_fail(s, "23514", "violates check constraint");
        if (has && t == PG_T_MEMBER && strcmp(c->name, "team") == 0 && !parent_there(s, v))
            return false;
    }
    return true;
}

static void generate(enum pg_table t, struct fb_buf *row)
{
    struct fb_bytes name = fb_bytes("", 0), points = fb_bytes("", 0);
    struct fb_buf label = {0};
    if (t != PG_T_MEMBER)
        return;
    (void)fb_hash_get(fb_buf_view(row), fb_bytes_str("name"), &name);
    (void)fb_hash_get(fb_buf_view(row), fb_bytes_str("points"), &points);
    fb_buf_put_bytes(&label, name);
    fb_buf_put_u8(&label, '/');
    fb_buf_put_bytes(&label, points);
    fb_hash_put(row, fb_bytes_str("label"), fb_buf_view(&label));
    fb_buf_fini(&label);
}

/* As the type prints it. */
static void put_typed(struct fb_buf *row, const struct pg_column *c, struct fb_bytes v)
{
    char text[24], in[24];
    if (c->integer) {
        snprintf(in, sizeof in, "%.*s", (int)(v.n > 20 ? 20 : v.n), (const char *)v.p);
        snprintf(text, sizeof text, "%ld", strtol(in, NULL, 10));
        v = fb_bytes_str(text);
    }
    fb_hash_put(row, fb_bytes_str(c->name), v);
}

bool pg_table_write(struct pg_session *s, struct pg_row *r, const struct pg_image *old,
                    uint64_t columns, struct fb_bytes values)
{
    enum pg_table t = r->table;
    struct fb_buf row = {0};
    bool ok;

    for (uint32_t i = 0; i < tables[t].count; i++) {
        const struct pg_column *c = &tables[t].columns[i];
        struct fb_bytes v;
        if (c->key)
            fb_hash_put(&row, fb_bytes_str(c->name), fb_buf_view(&r->key));
        else if (c->generated)
            continue;
        else if (columns >> i & 1) {
            if (fb_hash_get(values, fb_bytes_str(c->name), &v))
                put_typed(&row, c, v);
        } else if (old != NULL) {
            if (fb_hash_get(fb_buf_view(&old->value), fb_bytes_str(c->name), &v))
                fb_hash_put(&row, fb_bytes_str(c->name), v);
        } else if (c->default_text != NULL) {
            fb_hash_put(&row, fb_bytes_str(c->name), fb_bytes_str(c->default_text));
        }
    }
    ok = constraints(s, t, fb_buf_view(&row));
    if (ok) {
        struct pg_image *next = pg_change(s, r);
        generate(t, &row);
        next->exists = true;
        fb_buf_clear(&next->value);
        fb_buf_put_bytes(&next->value, fb_buf_view(&row));
    }
    fb_buf_fini(&row);
    return ok;
}

bool pg_table_delete(struct pg_session *s, struct pg_row *r)
{
    struct child_look l = {.s = s, .team = fb_buf_view(&r->key)};
    if (r->table == PG_T_TEAM)
        pg_each(s->m, PG_T_MEMBER, look_child, &l);
    if (l.found)
        return pg_fail(s, "23503", "is still referenced from table \"member\"");
    pg_change(s, r)->exists = false;
    return true;
}

uint8_t pg_table_take(const struct pg_image *i, const struct fb_namespace *ns, struct fb_buf *out)
{
    struct fb_bytes v;
    if (ns->value != FB_VALUE_COLUMN) {
        fb_buf_put_bytes(out, fb_buf_view(&i->value));
        return FB_KIND_HASH;
    }
    if (!fb_hash_get(fb_buf_view(&i->value), fb_bytes_str(ns->value_column), &v))
        return FB_KIND_NONE;
    fb_buf_put_bytes(out, v);
    return FB_KIND_STRING;
}
