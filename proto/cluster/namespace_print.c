/* Prints the cluster file with every value spelled out. */
#include "proto/base/units.h"
#include "proto/cluster/namespace.h"
#include "proto/cluster/namespace_words.h"

static const char *duration(uint64_t ms, char *text)
{
    return ms == 0 ? "none" : fb_duration_text(ms, text);
}

static const char *size(uint64_t bytes, char *text)
{
    return bytes == 0 ? "none" : fb_size_text(bytes, text);
}

static void print_mapping(struct fb_buf *out, const struct fb_namespace *ns)
{
    char text[32];
    fb_buf_printf(out, "on_row_gone = %s\n", row_gone_words[ns->on_row_gone]);
    fb_buf_printf(out, "fk_wait = %s\n", duration(ns->fk_wait_ms, text));
    if (ns->expires_column[0])
        fb_buf_printf(out, "expires_column = %s\n", ns->expires_column);
    fb_buf_printf(out, "blind_writes = %s\n", ns->blind_writes ? "yes" : "no");
}

static void print_namespace(struct fb_buf *out, const struct fb_namespace *ns)
{
    static const char *const conflicts[] = {"cache-wins", "db-wins", "merge-columns",
                                            "last-write-wins"};
    char text[32];

    fb_buf_printf(out, "\n[namespace %s]\n", ns->name);
    if (ns->mapped)
        fb_buf_printf(out, "table = %s.%s\nkey = %s\n", ns->table_schema, ns->table_name, ns->key);
    if (ns->value == FB_VALUE_COLUMN)
        fb_buf_printf(out, "value = column:%s\n", ns->value_column);
    else
        fb_buf_printf(out, "value = %s\n", ns->value == FB_VALUE_ROW ? "row" : "auto");
    if (ns->value != FB_VALUE_ROW)
        fb_buf_printf(out, "format = %s\n", format_words[ns->format_json]);
    fb_buf_printf(out, "sync_interval = %s\n", duration(ns->sync_interval_ms, text));
    fb_buf_printf(out, "max_batch = %u\n", ns->max_batch);
    fb_buf_printf(out, "ttl = %s\n", duration(ns->ttl_ms, text));
    fb_buf_printf(out, "negative_ttl = %s\n", duration(ns->negative_ttl_ms, text));
    fb_buf_printf(out, "durability = %s\n", durability_words[ns->durability]);
    fb_buf_printf(out, "reads = %s\n", reads_words[ns->reads]);
    fb_buf_printf(out, "on_degraded = %s\n", degraded_words[ns->on_degraded_refuse]);
    fb_buf_printf(out, "conflict = %s%s%s\n", conflicts[ns->conflict],
                  ns->conflict_column[0] ? ":" : "", ns->conflict_column);
    fb_buf_printf(out, "external = %s\n", external_words[ns->external]);
    if (ns->on_delete == FB_ON_DELETE_NULL)
        fb_buf_printf(out, "on_delete = null:%s\n", ns->delete_column);
    else
        fb_buf_printf(out, "on_delete = %s\n",
                      ns->on_delete == FB_ON_DELETE_DELETE ? "delete" : "refuse");
    fb_buf_printf(out, "max_value = %s\n", size(ns->max_value, text));
    fb_buf_printf(out, "max_dirty_bytes = %s\n", size(ns->max_dirty_bytes, text));
    fb_buf_printf(out, "max_dirty_age = %s\n", duration(ns->max_dirty_age_ms, text));
    fb_buf_printf(out, "read_only = %s\n", ns->read_only ? "yes" : "no");
    if (ns->mapped)
        print_mapping(out, ns);
}

void fb_nsset_print(struct fb_buf *out, const struct fb_nsset *s)
{
    char text[32];
    fb_buf_put_str(out, "[cluster]\n");
    if (s->partitions != 0)
        fb_buf_printf(out, "partitions = %u\n", s->partitions);
    fb_buf_printf(out, "replicas = %u\n", s->replicas);
    fb_buf_printf(out, "max_dirty_bytes = %s\n", size(s->max_dirty_bytes, text));
    fb_buf_printf(out, "multi = %s\n", multi_words[s->multi]);
    fb_buf_printf(out, "database_safety = %s%s%s\n", safety_words[s->safety],
                  s->safety == FB_SAFETY_LAG ? ":" : "",
                  s->safety == FB_SAFETY_LAG ? duration(s->safety_lag_ms, text) : "");
    fb_buf_printf(out, "heal_after = %s\n",
                  s->heal_after_ms == 0 ? "off" : duration(s->heal_after_ms, text));
    for (uint32_t i = 0; i < s->count; i++)
        print_namespace(out, &s->ns[i]);
}
