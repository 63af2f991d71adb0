/* The text of a schema in the coordinator. */
#include "proto/cluster/json.h"
#include "proto/cluster/schema.h"

#include <jansson.h>

#include <stdlib.h>

#define SCHEMA_BYTES_MAX (4u << 20)
#define LABELS_MAX 10000u
#define LENGTH_MAX 10485760 /* PostgreSQL's longest varchar(n) */
#define NUMERIC_SCALE_MAX 1000
#define KEY_COLUMNS_MAX FB_COUNT_OF(((struct fb_schema *)0)->key_columns)

static const char *const check_names[] = {
    [FB_TYPE_OTHER] = "other",     [FB_TYPE_INT2] = "int2",   [FB_TYPE_INT4] = "int4",
    [FB_TYPE_INT8] = "int8",       [FB_TYPE_BOOL] = "bool",   [FB_TYPE_UUID] = "uuid",
    [FB_TYPE_NUMERIC] = "numeric", [FB_TYPE_FLOAT] = "float", [FB_TYPE_TEXT] = "text",
    [FB_TYPE_VARCHAR] = "varchar", [FB_TYPE_CHAR] = "char",   [FB_TYPE_JSON] = "json",
    [FB_TYPE_JSONB] = "jsonb",     [FB_TYPE_ENUM] = "enum",   [FB_TYPE_BYTEA] = "bytea",
    [FB_TYPE_DATE] = "date",
};

static void put_bool(struct fb_buf *out, const char *field, bool v)
{
    fb_buf_printf(out, ",\"%s\":%s", field, v ? "true" : "false");
}

static void put_column(struct fb_buf *out, const struct fb_column *c)
{
    fb_buf_put_str(out, "{\"name\":");
    fb_json_put_text(out, c->name);
    fb_buf_put_str(out, ",\"type\":");
    fb_json_put_text(out, c->type);
    fb_buf_printf(out, ",\"attnum\":%u,\"check\":\"%s\",\"length\":%d,\"scale\":%d", c->attnum,
                  check_names[c->check], (int)c->length, (int)c->scale);
    put_bool(out, "not_null", c->not_null);
    put_bool(out, "has_default", c->has_default);
    put_bool(out, "generated", c->generated);
    fb_buf_put_str(out, ",\"labels\":[");
    for (uint32_t i = 0; i < c->label_count; i++) {
        fb_buf_put_str(out, i ? "," : "");
        fb_json_put_text(out, c->labels[i]);
    }
    fb_buf_put_str(out, "]}");
}

void fb_schema_encode(struct fb_buf *out, const struct fb_schema *s)
{
    fb_buf_put_str(out, "{\"ns\":");
    fb_json_put_text(out, s->ns);
    fb_buf_printf(out, ",\"config_rev\":%llu,\"problem\":", (unsigned long long)s->config_rev);
    fb_json_put_text(out, s->problem);
    fb_buf_put_str(out, ",\"key\":[");
    for (uint32_t i = 0; i < s->key_count; i++) {
        fb_assert(s->key_columns[i] < s->column_count);
        fb_buf_put_str(out, i ? "," : "");
        fb_json_put_text(out, s->columns[s->key_columns[i]].name);
    }
    fb_buf_printf(out, "],\"mapping\":\"%016llx\",\"parents\":[", (unsigned long long)s->mapping);
    for (uint32_t i = 0; i < s->parent_count; i++) {
        fb_buf_put_str(out, i ? ",[" : "[");
        fb_json_put_text(out, s->parents[i].schema);
        fb_buf_put_str(out, ",");
        fb_json_put_text(out, s->parents[i].table);
        fb_buf_put_str(out, "]");
    }
    fb_buf_put_str(out, "],\"columns\":[");
    for (uint32_t i = 0; i < s->column_count; i++) {
        fb_buf_put_str(out, i ? ",\n" : "\n");
        put_column(out, &s->columns[i]);
    }
    fb_buf_put_str(out, "]}");
}

static enum fb_status take_labels(const json_t *obj, struct fb_column *c, struct fb_err *err)
{
    json_t *list, *item;
    size_t i;
    enum fb_status st = fb_json_array(obj, "labels", LABELS_MAX, &list, err);
    if (st != FB_OK)
        return st;
    if (json_array_size(list) == 0)
        return FB_OK;
    c->labels = fb_xcalloc(json_array_size(list), sizeof(c->labels[0]));
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item) || json_string_length(item) > FB_NAME_BYTES_MAX)
            return fb_err_set(err, FB_EPROTO, "label %zu is not a string of at most %u bytes", i,
                              FB_NAME_BYTES_MAX);
        memcpy(c->labels[i], json_string_value(item), json_string_length(item) + 1);
        c->label_count++;
    }
    return FB_OK;
}

static enum fb_status take_check(const json_t *obj, enum fb_type_check *out, struct fb_err *err)
{
    char text[16];
    enum fb_status st = fb_json_text(obj, "check", sizeof(text) - 1, text, err);
    if (st != FB_OK)
        return st;
    for (size_t i = 0; i < FB_COUNT_OF(check_names); i++) {
        if (strcmp(text, check_names[i]) == 0) {
            *out = (enum fb_type_check)i;
            return FB_OK;
        }
    }
    return fb_err_set(err, FB_EPROTO, "check \"%s\" is unknown", text);
}

static enum fb_status take_column(const json_t *obj, struct fb_column *c, struct fb_err *err)
{
    int64_t attnum = 0, length = 0, scale = 0;
    enum fb_status st;
    if (!json_is_object(obj))
        return fb_err_set(err, FB_EPROTO, "a column is not an object");
    st = fb_json_text(obj, "name", FB_NAME_BYTES_MAX, c->name, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "type", sizeof(c->type) - 1, c->type, err);
    if (st == FB_OK)
        st = fb_json_int(obj, "attnum", 1, FB_COLUMNS_MAX, &attnum, err);
    if (st == FB_OK)
        st = take_check(obj, &c->check, err);
    if (st == FB_OK)
        st = fb_json_int(obj, "length", -1, LENGTH_MAX, &length, err);
    if (st == FB_OK)
        st = fb_json_int(obj, "scale", -NUMERIC_SCALE_MAX, NUMERIC_SCALE_MAX, &scale, err);
    if (st == FB_OK)
        st = fb_json_bool(obj, "not_null", &c->not_null, err);
    if (st == FB_OK)
        st = fb_json_bool(obj, "has_default", &c->has_default, err);
    if (st == FB_OK)
        st = fb_json_bool(obj, "generated", &c->generated, err);
    if (st == FB_OK)
        st = take_labels(obj, c, err);
    c->attnum = (uint16_t)attnum;
    c->length = (int32_t)length;
    c->scale = (int32_t)scale;
    if (st == FB_OK && c->name[0] == '\0')
        st = fb_err_set(err, FB_EPROTO, "a column has no name");
    return st;
}

static enum fb_status take_columns(const json_t *obj, struct fb_schema *s, struct fb_err *err)
{
    json_t *list, *item;
    size_t i;
    enum fb_status st = fb_json_array(obj, "columns", FB_COLUMNS_MAX, &list, err);
    if (st != FB_OK)
        return st;
    s->columns = fb_xcalloc(json_array_size(list), sizeof(s->columns[0]));
    json_array_foreach(list, i, item)
    {
        struct fb_column *c = &s->columns[s->column_count++];
        st = take_column(item, c, err);
        if (st != FB_OK)
            return fb_err_wrap(err, st, "column %zu", i);
        if (i > 0 && c->attnum <= c[-1].attnum)
            return fb_err_set(err, FB_EPROTO, "columns are not in the order of attnum");
        for (struct fb_column *other = s->columns; other < c; other++)
            if (strcmp(other->name, c->name) == 0)
                return fb_err_set(err, FB_EPROTO, "column \"%s\" is there twice", c->name);
    }
    return FB_OK;
}

static enum fb_status take_key(const json_t *obj, struct fb_schema *s, struct fb_err *err)
{
    json_t *list, *item;
    size_t i;
    enum fb_status st = fb_json_array(obj, "key", KEY_COLUMNS_MAX, &list, err);
    if (st != FB_OK)
        return st;
    json_array_foreach(list, i, item)
    {
        uint32_t at = 0;
        while (json_is_string(item) && at < s->column_count &&
               strcmp(s->columns[at].name, json_string_value(item)) != 0)
            at++;
        if (!json_is_string(item) || at == s->column_count)
            return fb_err_set(err, FB_EPROTO, "a key column is none of the columns");
        if (s->columns[at].is_key)
            return fb_err_set(err, FB_EPROTO, "column \"%s\" is in the key twice",
                              s->columns[at].name);
        s->columns[at].is_key = true;
        s->key_columns[s->key_count++] = (uint16_t)at;
    }
    if (s->key_count == 0 && s->problem[0] == '\0')
        return fb_err_set(err, FB_EPROTO, "no key, and no problem that would say why");
    return FB_OK;
}

static bool take_name(const json_t *item, char out[FB_NAME_BYTES_MAX + 1])
{
    if (!json_is_string(item) || json_string_length(item) > FB_NAME_BYTES_MAX)
        return false;
    memcpy(out, json_string_value(item), json_string_length(item) + 1);
    return true;
}

/* Mapping and parents: a description written before they were known has neither. */
static enum fb_status take_table(const json_t *obj, struct fb_schema *s, struct fb_err *err)
{
    json_t *list, *item;
    size_t i;
    enum fb_status st = FB_OK;
    if (json_object_get(obj, "mapping") != NULL)
        st = fb_json_hex64(obj, "mapping", &s->mapping, err);
    if (st != FB_OK || json_object_get(obj, "parents") == NULL)
        return st;
    st = fb_json_array(obj, "parents", FB_SCHEMA_PARENTS_MAX, &list, err);
    if (st != FB_OK)
        return st;
    s->parents = fb_xcalloc(json_array_size(list) + 1, sizeof(s->parents[0]));
    json_array_foreach(list, i, item)
    {
        struct fb_table_name *t = &s->parents[s->parent_count++];
        if (json_array_size(item) != 2 || !take_name(json_array_get(item, 0), t->schema) ||
            !take_name(json_array_get(item, 1), t->table))
            return fb_err_set(err, FB_EPROTO, "parent %zu is not [schema, table]", i);
    }
    return FB_OK;
}

enum fb_status fb_schema_decode(struct fb_bytes in, struct fb_schema **out, struct fb_err *err)
{
    struct fb_schema *s;
    json_t *obj;
    enum fb_status st = fb_json_parse_object(in, SCHEMA_BYTES_MAX, &obj, err);

    *out = NULL;
    if (st != FB_OK)
        return fb_err_wrap(err, st, "schema");
    s = fb_xcalloc(1, sizeof(*s));
    st = fb_json_text(obj, "ns", FB_NAME_BYTES_MAX, s->ns, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "config_rev", INT64_MAX, &s->config_rev, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "problem", sizeof(s->problem) - 1, s->problem, err);
    if (st == FB_OK)
        st = take_columns(obj, s, err);
    if (st == FB_OK)
        st = take_key(obj, s, err);
    if (st == FB_OK)
        st = take_table(obj, s, err);
    json_decref(obj);
    if (st != FB_OK) {
        fb_schema_free(s);
        return fb_err_wrap(err, st, "schema");
    }
    *out = s;
    return FB_OK;
}
