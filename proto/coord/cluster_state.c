/* One consistent view of the coordinator's keys as plain structs. */
#include "proto/coord/cluster_state.h"

#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/cluster/run.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct fb_cluster_state *fb_cluster_state_get(struct fb_cluster_state *s)
{
    uint32_t before = atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    fb_assert(before > 0);
    return s;
}

void fb_cluster_state_put(struct fb_cluster_state *s)
{
    uint32_t before;
    if (s == NULL)
        return;
    before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
    fb_assert(before > 0);
    if (before > 1)
        return;
    if (s->map != NULL)
        fb_map_free(s->map);
    free(s->namespaces);
    for (size_t i = 0; i < s->schema_count; i++)
        fb_schema_free(s->schemas[i]);
    free(s->schemas);
    free(s->paused);
    free(s->drain);
    fb_buf_fini(&s->run.text);
    fb_buf_fini(&s->run_wish.text);
    fb_buf_fini(&s->run_cursor.text);
    free(s);
}

static int schema_cmp(const void *ns, const void *entry)
{
    return strcmp(ns, (*(struct fb_schema *const *)entry)->ns);
}

const struct fb_schema *fb_cluster_state_schema(const struct fb_cluster_state *s, const char *ns)
{
    struct fb_schema **at = s->schema_count == 0 ? NULL
                                                 : bsearch(ns, s->schemas, s->schema_count,
                                                           sizeof(struct fb_schema *), schema_cmp);
    uint32_t i =
        s->namespaces == NULL ? UINT32_MAX : fb_nsset_find(s->namespaces, fb_bytes_str(ns));

    /* one read for the table of an earlier configuration is none */
    if (at != NULL && i != UINT32_MAX && !fb_schema_is_of(*at, &s->namespaces->ns[i]))
        return NULL;
    return at == NULL ? NULL : *at;
}

bool fb_cluster_state_paused(const struct fb_cluster_state *s, const char *ns)
{
    if (s->sync_paused_all)
        return true;
    for (size_t i = 0; i < s->paused_count; i++)
        if (strcmp(s->paused[i], ns) == 0)
            return true;
    return false;
}

bool fb_cluster_state_drains(const struct fb_cluster_state *s, const char *node)
{
    for (size_t i = 0; i < s->drain_count; i++)
        if (strcmp(s->drain[i], node) == 0)
            return true;
    return false;
}

static bool uuid_parse(const char *s, uint8_t out[16])
{
    unsigned n = 0;
    for (; *s != '\0'; s++) {
        const char *digits = "0123456789abcdef", *d = strchr(digits, *s);
        if (*s == '-')
            continue;
        if (d == NULL || n == 32)
            return false;
        out[n / 2] = (uint8_t)(n % 2 == 0 ? (d - digits) << 4 : out[n / 2] | (d - digits));
        n++;
    }
    return n == 32;
}

static enum fb_status read_meta(struct fb_map *map, struct fb_bytes text, struct fb_err *err)
{
    json_error_t je;
    json_t *root = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, &je);
    const char *uuid = json_string_value(json_object_get(root, "cluster"));
    const char *seed = json_string_value(json_object_get(root, "seed"));
    json_int_t partitions = json_integer_value(json_object_get(root, "partitions"));
    int end = 0;
    bool ok = uuid != NULL && uuid_parse(uuid, map->cluster) && seed != NULL &&
              strlen(seed) <= 16 && sscanf(seed, "%" SCNx64 "%n", &map->hash_seed, &end) == 1 &&
              seed[end] == '\0' && partitions >= 1 && partitions <= (json_int_t)FB_PARTITIONS_MAX;

    map->partitions = (uint32_t)partitions;
    json_decref(root);
    return ok ? FB_OK
              : fb_err_set(err, FB_ECORRUPT,
                           "coordinator key meta is malformed: it needs cluster (uuid), partitions "
                           "and seed");
}

static enum fb_status read_part(struct fb_map *map, const struct fb_coord_kv *kv,
                                struct fb_err *err)
{
    const char *digits = kv->key + strlen("part/");
    unsigned p;
    int end = 0;
    enum fb_status s;

    if (sscanf(digits, "%5u%n", &p, &end) != 1 || digits[end] != '\0' || p >= map->partitions)
        return fb_err_set(err, FB_ECORRUPT, "coordinator key %s names no partition of this cluster",
                          kv->key);
    s = fb_part_record_decode(kv->value, &map->parts[p], err);
    if (s != FB_OK)
        return fb_err_wrap(err, s, "coordinator key %s", kv->key);
    map->part_revs[p] = kv->rev;
    return FB_OK;
}

/* Members are hints: a malformed one (of a newer release, say) is left out and stops nobody. */
static void read_member(struct fb_map *map, const struct fb_coord_kv *kv, enum fb_member_kind kind)
{
    struct fb_member_info *m = &map->members[map->member_count];
    struct fb_err err;

    if (fb_member_info_decode(kv->value, m, &err) != FB_OK || m->kind != kind ||
        strcmp(m->name, strchr(kv->key, '/') + 1) != 0) {
        FB_LOG(DEBUG, "member left out", FB_KS("key", kv->key));
        return;
    }
    m->alive = kv->alive;
    map->member_count++;
}

/* A schema that cannot be read makes its namespace unusable and nothing else. */
static void read_schema(struct fb_cluster_state *st, const struct fb_coord_kv *kv)
{
    const char *ns = kv->key + strlen("schema/");
    struct fb_schema *schema = NULL;
    struct fb_err err = {0};

    if (strlen(ns) == 0 || strlen(ns) > FB_NAME_BYTES_MAX)
        return;
    if (fb_schema_decode(kv->value, &schema, &err) == FB_OK && strcmp(schema->ns, ns) != 0) {
        (void)fb_err_set(&err, FB_ECORRUPT, "it names namespace %s", schema->ns);
        fb_schema_free(schema);
        schema = NULL;
    }
    if (schema == NULL) {
        schema = fb_xcalloc(1, sizeof(*schema));
        snprintf(schema->ns, sizeof(schema->ns), "%s", ns);
        snprintf(schema->problem, sizeof(schema->problem),
                 "coordinator key %.100s is malformed: %.300s", kv->key, err.msg);
    }
    st->schemas[st->schema_count++] = schema;
}

static enum fb_status read_control(struct fb_cluster_state *st, struct fb_bytes text,
                                   struct fb_err *err)
{
    json_error_t je;
    json_t *root = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, &je), *names,
           *name;
    enum fb_status s = FB_OK;
    size_t i;

    names = json_object_get(root, "namespaces");
    if (!json_is_object(root) || json_array_size(names) > FB_NAMESPACES_MAX) {
        s = fb_err_set(err, FB_ECORRUPT, "coordinator key control/sync is malformed");
        goto out;
    }
    st->sync_paused_all = json_is_true(json_object_get(root, "all"));
    st->paused = fb_xcalloc(json_array_size(names), sizeof(*st->paused));
    json_array_foreach(names, i, name)
    {
        const char *text_of = json_string_value(name);
        if (text_of != NULL && strlen(text_of) <= FB_NAME_BYTES_MAX)
            snprintf(st->paused[st->paused_count++], sizeof(st->paused[0]), "%s", text_of);
    }
out:
    json_decref(root);
    return s;
}

/* Lines that are no name are passed over: nobody is emptied by mistake. */
static void read_drain(struct fb_cluster_state *st, const struct fb_coord_kv *kv)
{
    const char *at = (const char *)kv->value.p, *end = at + kv->value.n;

    st->drain_rev = kv->rev;
    st->drain = fb_xcalloc(FB_NODES_MAX, sizeof(*st->drain));
    while (at < end && st->drain_count < FB_NODES_MAX) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop == NULL ? end : stop) - at);
        if (n > 0 && n <= FB_NAME_BYTES_MAX)
            memcpy(st->drain[st->drain_count++], at, n);
        at += n + 1;
    }
}

static void read_text(struct fb_cluster_text *t, const struct fb_coord_kv *kv)
{
    fb_buf_put_bytes(&t->text, kv->value);
    t->rev = kv->rev;
}

static const struct fb_coord_kv *find(const struct fb_coord_list *l, const char *key)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->kv[i].key, key) == 0)
            return &l->kv[i];
    return NULL;
}

static bool under(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

/* Keys come sorted and enum fb_member_kind is not in that order, hence one pass for each kind. */
static void read_members(struct fb_map *map, const struct fb_coord_list *l)
{
    static const char *const prefixes[] = {
        [FB_MEMBER_NODE] = "node/", [FB_MEMBER_SYNC] = "sync/", [FB_MEMBER_ROUTER] = "router/"};
    for (size_t kind = 0; kind < FB_COUNT_OF(prefixes); kind++)
        for (size_t i = 0; i < l->count; i++)
            if (under(l->kv[i].key, prefixes[kind]))
                read_member(map, &l->kv[i], (enum fb_member_kind)kind);
}

static enum fb_status build(const struct fb_coord_list *l, struct fb_cluster_state *st,
                            struct fb_err *err)
{
    const struct fb_coord_kv *meta = find(l, "meta"), *config = find(l, "config"),
                             *control = find(l, "control/sync");
    struct fb_map *map;
    enum fb_status s;

    if (meta == NULL)
        return fb_err_set(err, FB_ENOENT, "the coordinator holds no cluster yet");
    map = st->map = fb_xcalloc(1, sizeof(*map));
    map->rev = l->rev;
    s = read_meta(map, meta->value, err);
    if (s != FB_OK)
        return s;
    map->parts = fb_xcalloc(map->partitions, sizeof(*map->parts));
    map->part_revs = fb_xcalloc(map->partitions, sizeof(*map->part_revs));
    map->members = fb_xcalloc(l->count, sizeof(*map->members));
    st->schemas = fb_xcalloc(l->count, sizeof(struct fb_schema *));
    for (size_t i = 0; i < l->count && s == FB_OK; i++) {
        if (under(l->kv[i].key, "part/"))
            s = read_part(map, &l->kv[i], err);
        else if (under(l->kv[i].key, "schema/"))
            read_schema(st, &l->kv[i]);
        else if (strcmp(l->kv[i].key, FB_RUN_KEY) == 0)
            read_text(&st->run, &l->kv[i]);
        else if (strcmp(l->kv[i].key, FB_RUN_WISH_KEY) == 0)
            read_text(&st->run_wish, &l->kv[i]);
        else if (strcmp(l->kv[i].key, FB_RUN_CURSOR_KEY) == 0)
            read_text(&st->run_cursor, &l->kv[i]);
        else if (strcmp(l->kv[i].key, "control/drain") == 0)
            read_drain(st, &l->kv[i]);
    }
    read_members(map, l);
    if (s == FB_OK && control != NULL)
        s = read_control(st, control->value, err);
    if (s == FB_OK) {
        st->config_rev = config == NULL ? 0 : config->rev;
        s = fb_nsset_parse("cluster.conf", config == NULL ? fb_bytes("", 0) : config->value,
                           &st->namespaces, NULL, err);
    }
    return s;
}

enum fb_status fb_cluster_state_of_list(const struct fb_coord_list *l,
                                        struct fb_cluster_state **out, struct fb_err *err)
{
    struct fb_cluster_state *st = fb_xcalloc(1, sizeof(*st));
    enum fb_status s;

    *out = NULL;
    atomic_init(&st->refs, 1);
    s = build(l, st, err);
    if (s != FB_OK)
        fb_cluster_state_put(st);
    else
        *out = st;
    return s;
}

enum fb_status fb_cluster_state_read(struct fb_coord *c, struct fb_cluster_state **out,
                                     struct fb_err *err)
{
    struct fb_coord_list l;
    enum fb_status s = fb_coord_list(c, "", &l, err);

    *out = NULL;
    if (s == FB_OK)
        s = fb_cluster_state_of_list(&l, out, err);
    fb_coord_list_free(&l);
    return s;
}

enum fb_status fb_cluster_init(struct fb_coord *c, uint32_t partitions, struct fb_err *err)
{
    struct fb_buf meta = {0};
    struct fb_map ignored = {0};
    uint8_t uuid[16];
    enum fb_status s;

    if (partitions < 1 || partitions > FB_PARTITIONS_MAX)
        return fb_err_set(err, FB_EINVAL, "partitions = %u: 1 to %u are allowed", partitions,
                          FB_PARTITIONS_MAX);
    fb_random_bytes(uuid, sizeof(uuid));
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 9562: version 4, variant 10 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    fb_buf_put_str(&meta, "{\"cluster\": \"");
    for (int i = 0; i < 16; i++)
        fb_buf_printf(&meta, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    fb_buf_printf(&meta, "\", \"partitions\": %u, \"seed\": \"%016" PRIx64 "\"}", partitions,
                  fb_random_u64());
    s = fb_coord_cas(c, "meta", 0, fb_buf_view(&meta), NULL, err);
    if (s == FB_EMISMATCH || s == FB_EUNKNOWN) { /* somebody made it, perhaps we ourselves */
        fb_buf_clear(&meta);
        s = fb_coord_get(c, "meta", &meta, NULL, err);
        if (s == FB_OK)
            s = read_meta(&ignored, fb_buf_view(&meta), err);
    }
    fb_buf_fini(&meta);
    return s;
}
