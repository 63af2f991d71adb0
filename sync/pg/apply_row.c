/* Writing the rows of mapped tables: what changed, only where the row is still the one the change
 * was based on. */
#include "sync/pg/apply.h"

#include <stdio.h>
#include <stdlib.h>

static bool set_has(const struct pg_set *s, uint32_t i)
{
    return (s->bits[i / 64] >> (i % 64) & 1) != 0;
}

static void set_add(struct pg_set *s, uint32_t i)
{
    s->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool set_empty(const struct pg_set *s)
{
    for (size_t i = 0; i < PG_COLUMN_WORDS; i++)
        if (s->bits[i] != 0)
            return false;
    return true;
}

/* Number of an equal set in the plan. Few sets: objects of one table change in few ways. */
static uint32_t set_number(struct pg_plan *plan, const struct pg_set *s)
{
    for (uint32_t i = plan->set_count; i-- > 0;)
        if (memcmp(&plan->sets[i], s, sizeof(*s)) == 0)
            return i;
    if (plan->set_count == plan->set_cap) {
        plan->set_cap = plan->set_cap == 0 ? 8 : plan->set_cap * 2;
        plan->sets = fb_xrealloc(plan->sets, plan->set_cap * sizeof(*plan->sets));
    }
    plan->sets[plan->set_count] = *s;
    return plan->set_count++;
}

static bool is_expires(const struct fb_namespace *ns, const struct fb_column *c)
{
    return ns->expires_column[0] != '\0' && strcmp(ns->expires_column, c->name) == 0;
}

/* Does the value hold a text for the column? */
static bool row_text(const struct fb_namespace *ns, const struct fb_feed_object *o,
                     const struct fb_column *c, struct fb_bytes *text)
{
    if (ns->value == FB_VALUE_COLUMN) {
        *text = o->value;
        return strcmp(c->name, ns->value_column) == 0;
    }
    return fb_hash_get(o->value, fb_bytes_str(c->name), text);
}

/* Is the column's text the object's expiry rather than a field of its value? */
static bool from_expiry(const struct fb_namespace *ns, const struct fb_feed_object *o,
                        const struct fb_column *c)
{
    return is_expires(ns, c) &&
           (ns->value == FB_VALUE_COLUMN || (o->changed & fb_column_bit(c)) == 0);
}

/* A field that is no column of the table. */
static bool unknown_field(const struct pg_feed *f, const struct fb_feed_object *o,
                          struct fb_bytes *name)
{
    struct fb_bytes rest = o->value;
    struct fb_field field;

    while (fb_hash_next(&rest, &field)) {
        *name = field.name;
        if (fb_schema_column(f->schema, field.name) == NULL)
            return true;
    }
    return false;
}

/* Bits of columns that the table no longer has; "all" names none. */
static bool orphan_bits(const struct pg_feed *f, const struct fb_feed_object *o)
{
    uint64_t known = 0;

    for (uint32_t i = 0; i < f->schema->column_count; i++)
        known |= fb_column_bit(&f->schema->columns[i]);
    return o->changed != UINT64_MAX && (o->changed & ~known) != 0;
}

/* A change of a column that was dropped or renamed waits until the column is back: written without
 * it the change would be lost, written under the new name it would be a NULL. */
static bool column_is_gone(const struct pg_feed *f, const struct fb_feed_object *o, bool update,
                           struct fb_bytes *name)
{
    bool waits = !update || o->changed == UINT64_MAX || orphan_bits(f, o);

    if (f->ns->value == FB_VALUE_COLUMN || !unknown_field(f, o, name))
        return false;
    for (uint32_t i = 0; !waits && i < f->schema->column_count; i++) {
        const struct fb_column *c = &f->schema->columns[i];
        struct fb_bytes text;
        waits = (o->changed & fb_column_bit(c)) != 0 && !c->generated && !c->is_key &&
                !row_text(f->ns, o, c, &text);
    }
    return waits;
}

static void row_set(const struct pg_feed *f, const struct fb_feed_object *o, bool update,
                    struct pg_set *s)
{
    for (uint32_t i = 0; i < f->schema->column_count; i++) {
        const struct fb_column *c = &f->schema->columns[i];
        struct fb_bytes text;
        if (c->generated || c->is_key)
            continue;
        if (f->ns->value == FB_VALUE_COLUMN) {
            if (strcmp(c->name, f->ns->value_column) == 0 || is_expires(f->ns, c))
                set_add(s, i);
        } else if (update) {
            if ((o->changed & fb_column_bit(c)) != 0 || is_expires(f->ns, c))
                set_add(s, i);
        } else if (row_text(f->ns, o, c, &text) || (is_expires(f->ns, c) && o->expires_ms != 0)) {
            set_add(s, i);
        }
    }
}

enum pg_class pg_row_plan(struct pg_plan *plan, const struct pg_feed *f, struct pg_ref *r,
                          bool *skip, struct pg_error *err)
{
    const struct fb_feed_object *o = r->o;
    struct pg_set s = {0};
    struct fb_buf scratch = {0};
    struct fb_bytes parts[16], gone;
    bool key_ok;

    if (f->schema == NULL || f->schema->problem[0] != '\0')
        return pg_error_set(err, PG_NAMESPACE, "42P01", "%s",
                            f->schema == NULL ? "the table is not known yet" : f->schema->problem);
    key_ok = fb_schema_split_id(f->schema, o->id, &scratch, parts) == FB_OK;
    fb_buf_fini(&scratch);
    if (!key_ok)
        return pg_error_set(err, PG_ROW, "22000", "%s: the key is not %u parts joined by '/'",
                            f->ns->name, f->schema->key_count);
    switch (f->schema->columns[f->schema->key_columns[0]].check) {
    case FB_TYPE_INT2:
    case FB_TYPE_INT4:
    case FB_TYPE_INT8:
        r->by_length = f->schema->key_count == 1;
        break;
    default:
        break;
    }
    if (o->kind == FB_KIND_NONE) {
        if (f->ns->on_delete == FB_ON_DELETE_REFUSE && (o->flags & FB_OBJECT_HAS_BASE) == 0) {
            *skip = true; /* SQL deleted the row and the cache agreed: nothing is left to delete */
            return PG_OK;
        }
        if (f->ns->on_delete == FB_ON_DELETE_REFUSE)
            return pg_error_set(err, PG_ROW, "22000",
                                "%s: rows are not deleted: on_delete = refuse", f->ns->name);
        r->kind = f->ns->on_delete == FB_ON_DELETE_NULL ? PG_OP_ROW_NULL : PG_OP_ROW_DELETE;
        return PG_OK;
    }
    if (o->kind != (f->ns->value == FB_VALUE_COLUMN ? FB_KIND_STRING : FB_KIND_HASH))
        return pg_error_set(err, PG_ROW, "22000", "%s: %s", f->ns->name,
                            f->ns->value == FB_VALUE_COLUMN ? "a hash cannot be stored in a column"
                                                            : "a string cannot be stored as a row");
    if ((o->flags & FB_OBJECT_BLIND) != 0)
        r->kind = PG_OP_ROW_PUT;
    else
        r->kind = (o->flags & FB_OBJECT_HAS_BASE) != 0 ? PG_OP_ROW_UPDATE : PG_OP_ROW_INSERT;
    if (column_is_gone(f, o, r->kind == PG_OP_ROW_UPDATE, &gone))
        return pg_error_set(err, PG_NAMESPACE, "42703",
                            "column \"%.*s\" of %s.%s was dropped or renamed; its changes wait "
                            "until it is back",
                            (int)gone.n, (const char *)gone.p, f->ns->table_schema,
                            f->ns->table_name);
    /* A column that was dropped and added again has another number: all that is given is written.
     */
    row_set(f, o,
            r->kind == PG_OP_ROW_UPDATE && (f->ns->value == FB_VALUE_COLUMN || !orphan_bits(f, o)),
            &s);
    if (r->kind == PG_OP_ROW_UPDATE && set_empty(&s))
        *skip = true;
    else
        r->set = set_number(plan, &s);
    return PG_OK;
}

static bool is_bytes(const struct pg_feed *f, const struct fb_column *c)
{
    return f->ns->value == FB_VALUE_COLUMN && c->check == FB_TYPE_BYTEA;
}

/* One argument a column of the set. */
static void put_values(const struct pg_op *op, struct pg_args *args)
{
    const struct pg_feed *f = op->feed;
    for (uint32_t i = 0; i < f->schema->column_count; i++) {
        const struct fb_column *c = &f->schema->columns[i];
        if (!set_has(op->set, i))
            continue;
        pg_args_array(args, is_bytes(f, c) ? PG_TYPE_BYTEA : PG_TYPE_TEXT, op->count);
        for (uint32_t k = 0; k < op->count; k++) {
            const struct fb_feed_object *o = op->refs[k].o;
            struct fb_bytes text;
            char time[40];
            if (from_expiry(f->ns, o, c)) {
                if (o->expires_ms == 0) {
                    pg_item_null(args);
                    continue;
                }
                if (c->check == FB_TYPE_INT8)
                    snprintf(time, sizeof(time), "%lld", (long long)o->expires_ms);
                else
                    pg_format_time(o->expires_ms, time);
                pg_item(args, fb_bytes_str(time));
            } else if (row_text(f->ns, o, c, &text)) {
                pg_item(args, text);
            } else {
                pg_item_null(args);
            }
        }
        pg_args_end(args);
    }
}

static void put_keys(const struct pg_op *op, struct pg_args *args)
{
    struct fb_bytes *ids = fb_xcalloc(op->count, sizeof(*ids));
    struct fb_err err;
    size_t bad;
    bool ok;
    for (uint32_t i = 0; i < op->count; i++)
        ids[i] = op->refs[i].o->id;
    ok = pg_args_keys(args, op->feed->schema, ids, op->count, &err, &bad);
    fb_assert(ok); /* pg_row_plan split each of them */
    free(ids);
}

bool pg_row_has_token(const struct pg_op *op)
{
    return op->feed->ns->external != FB_EXTERNAL_NONE && op->kind != PG_OP_ROW_INSERT &&
           op->kind != PG_OP_ROW_PUT;
}

static void put_tokens(const struct pg_op *op, struct pg_args *args)
{
    pg_args_array(args, PG_TYPE_XID, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        if ((op->refs[i].o->flags & FB_OBJECT_TOKEN_KNOWN) != 0)
            pg_item_u32(args, op->refs[i].o->base_xid);
        else
            pg_item_null(args);
    }
    pg_args_end(args);
}

/* "(select x.n, x.k0::type as k0, x.v3::type as v3, x.token from unnest(...) with ordinality
 * x(...)) u" */
static void put_source(const struct pg_op *op, bool values, bool token, struct fb_buf *sql)
{
    const struct fb_schema *s = op->feed->schema;
    uint32_t arg = 0;
    fb_buf_put_str(sql, "(select x.n");
    pg_put_key_types(sql, s, "x.");
    for (uint32_t i = 0; values && i < s->column_count; i++) {
        if (!set_has(op->set, i))
            continue;
        fb_buf_printf(sql, ", x.v%u", i);
        if (!is_bytes(op->feed, &s->columns[i])) {
            fb_buf_put_str(sql, "::");
            pg_put_cast_type(sql, &s->columns[i]);
        }
        fb_buf_printf(sql, " as v%u", i);
    }
    fb_buf_put_str(sql, token ? ", x.token from unnest(" : " from unnest(");
    for (uint32_t k = 0; k < s->key_count; k++)
        fb_buf_printf(sql, "%s$%u::text[]", k == 0 ? "" : ", ", ++arg);
    for (uint32_t i = 0; values && i < s->column_count; i++)
        if (set_has(op->set, i))
            fb_buf_printf(sql, ", $%u::%s", ++arg,
                          is_bytes(op->feed, &s->columns[i]) ? "bytea[]" : "text[]");
    if (token)
        fb_buf_printf(sql, ", $%u::xid[]", ++arg);
    fb_buf_put_str(sql, ") with ordinality x(");
    for (uint32_t k = 0; k < s->key_count; k++)
        fb_buf_printf(sql, "k%u, ", k);
    for (uint32_t i = 0; values && i < s->column_count; i++)
        if (set_has(op->set, i))
            fb_buf_printf(sql, "v%u, ", i);
    fb_buf_put_str(sql, token ? "token, n)) u" : "n)) u");
}

/* Can what is stored differ from what was sent? Then the row is returned. */
bool pg_row_wants_row(const struct pg_op *op)
{
    const struct fb_column *c = pg_value_column(op->feed->ns, op->feed->schema);
    if (op->kind != PG_OP_ROW_UPDATE && op->kind != PG_OP_ROW_INSERT)
        return false;
    if (op->feed->ns->value != FB_VALUE_COLUMN)
        return true;
    return c != NULL && c->check != FB_TYPE_TEXT && c->check != FB_TYPE_VARCHAR &&
           c->check != FB_TYPE_BYTEA && c->check != FB_TYPE_JSON;
}

static void put_returning(const struct pg_op *op, struct fb_buf *sql)
{
    fb_buf_put_str(sql, " returning ");
    if (op->kind == PG_OP_ROW_INSERT) { /* u is out of reach here: the keys tell which row it is */
        fb_buf_put_str(sql, "0");
        for (uint32_t k = 0; k < op->feed->schema->key_count; k++) {
            fb_buf_put_str(sql, ", t.");
            pg_put_ident(sql, op->feed->schema->columns[op->feed->schema->key_columns[k]].name);
            fb_buf_put_str(sql, "::text");
        }
    } else {
        fb_buf_put_str(sql, "u.n");
    }
    if (pg_row_wants_row(op)) {
        /* what is inserted has this transaction's number; a partitioned table cannot tell it there
         */
        fb_buf_put_str(sql,
                       op->kind == PG_OP_ROW_INSERT ? ", pg_current_xact_id()::xid" : ", t.xmin");
        pg_put_columns(sql, op->feed->ns, op->feed->schema);
    }
}

static void put_where(const struct pg_op *op, struct fb_buf *sql)
{
    fb_buf_put_str(sql, " where ");
    pg_put_key_match(sql, op->feed->schema);
    if (pg_row_has_token(op))
        fb_buf_put_str(sql, " and (u.token is null or t.xmin = u.token)");
    put_returning(op, sql);
}

static void put_insert(const struct pg_op *op, struct fb_buf *sql)
{
    const struct fb_schema *s = op->feed->schema;
    bool first = true;
    fb_buf_put_str(sql, "insert into ");
    pg_put_table(sql, op->feed->ns);
    fb_buf_put_str(sql, " as t (");
    for (uint32_t k = 0; k < s->key_count; k++) {
        fb_buf_put_str(sql, k == 0 ? "" : ", ");
        pg_put_ident(sql, s->columns[s->key_columns[k]].name);
    }
    for (uint32_t i = 0; i < s->column_count; i++)
        if (set_has(op->set, i)) {
            fb_buf_put_str(sql, ", ");
            pg_put_ident(sql, s->columns[i].name);
        }
    /* A key that is GENERATED ALWAYS AS IDENTITY is given by the cache's key all the same. */
    fb_buf_put_str(sql, ") overriding system value select ");
    for (uint32_t k = 0; k < s->key_count; k++)
        fb_buf_printf(sql, "%su.k%u", k == 0 ? "" : ", ", k);
    for (uint32_t i = 0; i < s->column_count; i++)
        if (set_has(op->set, i))
            fb_buf_printf(sql, ", u.v%u", i);
    fb_buf_put_str(sql, " from ");
    put_source(op, true, false, sql);
    /* Only the key's index: a clash in another unique column is an error of that row. */
    fb_buf_put_str(sql, " on conflict (");
    for (uint32_t k = 0; k < s->key_count; k++) {
        fb_buf_put_str(sql, k == 0 ? "" : ", ");
        pg_put_ident(sql, s->columns[s->key_columns[k]].name);
    }
    if (op->kind == PG_OP_ROW_INSERT || set_empty(op->set)) {
        fb_buf_put_str(sql, ") do nothing");
    } else {
        fb_buf_put_str(sql, ") do update set ");
        for (uint32_t i = 0; i < s->column_count; i++)
            if (set_has(op->set, i)) {
                fb_buf_put_str(sql, first ? "" : ", ");
                pg_put_ident(sql, s->columns[i].name);
                fb_buf_put_str(sql, " = excluded.");
                pg_put_ident(sql, s->columns[i].name);
                first = false;
            }
    }
    if (op->kind == PG_OP_ROW_INSERT)
        put_returning(op, sql);
}

void pg_row_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args)
{
    const struct fb_schema *s = op->feed->schema;
    bool values = op->kind != PG_OP_ROW_DELETE && op->kind != PG_OP_ROW_NULL, first = true;
    put_keys(op, args);
    if (values)
        put_values(op, args);
    if (pg_row_has_token(op))
        put_tokens(op, args);
    switch (op->kind) {
    case PG_OP_ROW_DELETE:
        fb_buf_put_str(sql, "delete from ");
        pg_put_table(sql, op->feed->ns);
        fb_buf_put_str(sql, " t using ");
        break;
    case PG_OP_ROW_NULL:
        fb_buf_put_str(sql, "update ");
        pg_put_table(sql, op->feed->ns);
        fb_buf_put_str(sql, " t set ");
        pg_put_ident(sql, op->feed->ns->delete_column);
        fb_buf_put_str(sql, " = null from ");
        break;
    case PG_OP_ROW_UPDATE:
        fb_buf_put_str(sql, "update ");
        pg_put_table(sql, op->feed->ns);
        fb_buf_put_str(sql, " t set ");
        for (uint32_t i = 0; i < s->column_count; i++)
            if (set_has(op->set, i)) {
                fb_buf_put_str(sql, first ? "" : ", ");
                pg_put_ident(sql, s->columns[i].name);
                fb_buf_printf(sql, " = u.v%u", i);
                first = false;
            }
        fb_buf_put_str(sql, " from ");
        break;
    default:
        put_insert(op, sql);
        return;
    }
    put_source(op, values, pg_row_has_token(op), sql);
    put_where(op, sql);
}

void pg_row_read_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args)
{
    put_keys(op, args);
    fb_buf_put_str(sql, "select u.n, t.xmin");
    pg_put_columns(sql, op->feed->ns, op->feed->schema);
    fb_buf_put_str(sql, " from ");
    put_source(op, false, false, sql);
    fb_buf_put_str(sql, " join ");
    pg_put_table(sql, op->feed->ns);
    fb_buf_put_str(sql, " t on ");
    pg_put_key_match(sql, op->feed->schema);
}
