/* Rules of namespaces (PROTOCOL 11.1, 14): what the mapping does not allow and what PostgreSQL
 * would refuse is refused before the answer. */
#include "node/core/lane_impl.h"

static bool writes(uint16_t op)
{
    return fb_op_class(op) == FB_OP_WRITE && op != FB_OP_EVICT && op != FB_OP_SYNC;
}

static bool hash_only(uint16_t op)
{
    return op >= FB_OP_HSET && op <= FB_OP_HINCRBYFLOAT;
}

/* Does the request name a deadline? */
static bool expires(const struct fb_req *req)
{
    bool may = req->op == FB_OP_SET || req->op == FB_OP_SETIF || req->op == FB_OP_GETEX;
    return req->op == FB_OP_EXPIREAT || (may && req->b != 0);
}

bool kept_refuses_del(struct op *op)
{
    const struct fb_namespace *conf = op->ns->conf;

    if (conf->mapped || conf->on_delete != FB_ON_DELETE_REFUSE)
        return false;
    op_err(op,
           "ERR keys of namespace \"%s\" are not deleted: it has on_delete = refuse (nothing "
           "changed)",
           conf->name);
    return true;
}

/* on_delete = refuse without a table: nothing ends a key, a deadline neither. */
static bool kept_refuses_op(struct op *op)
{
    const struct fb_namespace *conf = op->ns->conf;
    uint16_t n = op->req->op;

    if (conf->on_delete != FB_ON_DELETE_REFUSE)
        return false;
    if (n == FB_OP_DEL || n == FB_OP_GETDEL)
        return kept_refuses_del(op);
    if (!expires(op->req))
        return false;
    op_err(
        op,
        "ERR keys of namespace \"%s\" do not expire: it has on_delete = refuse (nothing changed)",
        conf->name);
    return true;
}

bool row_refuses_op(struct op *op)
{
    const struct fb_namespace *conf = op->ns->conf;
    uint16_t n = op->req->op;
    struct fb_err err;

    if (writes(n) && conf->read_only) {
        op_err(op, "ERR namespace \"%s\" is read_only (nothing changed)", conf->name);
        return true;
    }
    if (!conf->mapped)
        return kept_refuses_op(op);
    if (op->ns->schema == NULL || op->ns->schema->problem[0] != '\0') {
        op_err(
            op, "DBDOWN namespace \"%s\" cannot be served now: %s; nothing was changed, try again",
            conf->name,
            op->ns->schema == NULL ? "its table has not been read yet" : op->ns->schema->problem);
        return true;
    }
    if (fb_schema_check_id(op->ns->schema, fb_key_id(op->key, op->ns_len), &err) != FB_OK) {
        op_err(op, "ERR %s (nothing changed)", err.msg);
        return true;
    }
    if ((n == FB_OP_DEL || n == FB_OP_GETDEL) && conf->on_delete == FB_ON_DELETE_REFUSE) {
        op_err(op,
               "ERR keys of namespace \"%s\" are rows of %s.%s; deleting them needs on_delete = "
               "delete in the mapping, "
               "FB.EVICT drops the cached copy (nothing changed)",
               conf->name, conf->table_schema, conf->table_name);
        return true;
    }
    /* a key of a row holds a hash, one of a column a string, whether it exists now or not */
    if (conf->value == FB_VALUE_ROW && ((n >= FB_OP_SET && n <= FB_OP_SETIF) || n == FB_OP_GET ||
                                        n == FB_OP_STRLEN || n == FB_OP_GETRANGE)) {
        op_err(op, "WRONGTYPE Operation against a key holding the wrong kind of value");
        return true;
    }
    if (conf->value == FB_VALUE_COLUMN &&
        (hash_only(n) || (n >= FB_OP_HGET && n <= FB_OP_HSTRLEN))) {
        op_err(op, "WRONGTYPE Operation against a key holding the wrong kind of value");
        return true;
    }
    if (expires(op->req)) {
        op_err(op,
               "ERR keys of namespace \"%s\" are rows of %s.%s and do not expire (nothing "
               "changed); keep such keys in a "
               "namespace without a table, or delete the row",
               conf->name, conf->table_schema, conf->table_name);
        return true;
    }
    return false;
}

/* No row to change: it would be an insert. A tombstone's row may be deleted before the new value
 * gets there. */
static bool inserts(const struct op *op)
{
    const uint8_t null_row = OBJECT_NEGATIVE | OBJECT_HAS_BASE;
    return !op->live && (op->cur == NULL || (object_flags(op->cur) & null_row) != null_row);
}

/* On an insert every column that PostgreSQL would not fill itself must be given. */
static bool missing_column(struct op *op, struct fb_bytes hash)
{
    const struct fb_schema *s = op->ns->schema;
    struct fb_bytes v;

    for (uint32_t i = 0; i < s->column_count; i++) {
        const struct fb_column *c = &s->columns[i];
        if (!c->not_null || c->has_default || c->generated || c->is_key)
            continue;
        if (hash.p != NULL ? fb_hash_get(hash, fb_bytes_str(c->name), &v)
                           : strcmp(c->name, op->ns->conf->value_column) == 0)
            continue;
        op_err(op, "ERR column \"%s\" of %s.%s needs a value (nothing changed)", c->name,
               op->ns->conf->table_schema, op->ns->conf->table_name);
        return true;
    }
    return false;
}

bool row_refuses_string(struct op *op, struct fb_bytes value, uint64_t *changed)
{
    const struct fb_column *c =
        fb_schema_column(op->ns->schema, fb_bytes_str(op->ns->conf->value_column));
    struct fb_err err;

    if (c == NULL) {
        op_err(op, "ERR %s.%s has no column \"%s\" (nothing changed)", op->ns->conf->table_schema,
               op->ns->conf->table_name, op->ns->conf->value_column);
        return true;
    }
    if (c->generated || c->is_key) {
        op_err(op, "ERR column \"%s\" of %s.%s cannot be written (nothing changed)", c->name,
               op->ns->conf->table_schema, op->ns->conf->table_name);
        return true;
    }
    /* a bytea column takes the bytes as they are */
    if (c->check != FB_TYPE_BYTEA && fb_column_check(c, value, &err) != FB_OK) {
        op_err(op, "ERR %s (nothing changed)", err.msg);
        return true;
    }
    if (inserts(op) && missing_column(op, fb_bytes(NULL, 0)))
        return true;
    *changed = fb_column_bit(c);
    return false;
}

bool row_refuses_fields(struct op *op, struct fb_bytes hash, uint64_t changed_in, uint64_t *changed)
{
    const struct fb_namespace *conf = op->ns->conf;
    const struct fb_schema *s = op->ns->schema;
    struct fb_bytes before = op->live ? object_value(op->cur) : fb_bytes("", 0), v, old;
    struct fb_err err;

    *changed = changed_in;
    for (uint32_t i = 0; i < s->column_count; i++) {
        const struct fb_column *c = &s->columns[i];
        bool has = fb_hash_get(hash, fb_bytes_str(c->name), &v);
        bool had = fb_hash_get(before, fb_bytes_str(c->name), &old);
        if (has == had && (!has || fb_bytes_equal(v, old)))
            continue;
        if (c->generated || c->is_key) {
            op_err(op, "ERR column \"%s\" of %s.%s is %s and cannot be written (nothing changed)",
                   c->name, conf->table_schema, conf->table_name,
                   c->is_key ? "part of the key" : "generated");
            return true;
        }
        if (!has && c->not_null) {
            op_err(op, "ERR column \"%s\" of %s.%s cannot be null (nothing changed)", c->name,
                   conf->table_schema, conf->table_name);
            return true;
        }
        if (has && fb_column_check(c, v, &err) != FB_OK) {
            op_err(op, "ERR %s (nothing changed)", err.msg);
            return true;
        }
    }
    return inserts(op) &&
           missing_column(op, fb_bytes(hash.p != NULL ? hash.p : (const uint8_t *)"", hash.n));
}

uint64_t row_writable_mask(const struct ns_state *ns)
{
    uint64_t mask = 0;
    if (ns->schema == NULL)
        return UINT64_MAX;
    if (ns->conf != NULL && ns->conf->value == FB_VALUE_COLUMN) {
        const struct fb_column *c =
            fb_schema_column(ns->schema, fb_bytes_str(ns->conf->value_column));
        return c == NULL ? UINT64_MAX : fb_column_bit(c);
    }
    for (uint32_t i = 0; i < ns->schema->column_count; i++)
        if (!ns->schema->columns[i].generated && !ns->schema->columns[i].is_key)
            mask |= fb_column_bit(&ns->schema->columns[i]);
    return mask;
}
