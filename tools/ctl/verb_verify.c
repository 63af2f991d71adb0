/* verify: what is clean in the nodes' memory against what PostgreSQL has. */
#include "proto/base/number.h"
#include "proto/cluster/slot.h"
#include "proto/wire/request.h"
#include "proto/wire/value.h"
#include "sync/pg/pg.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SCAN_PAGE 1000
#define CHUNK 100u    /* objects of one question to a node and of one statement */
#define ATTEMPTS 3    /* what differs may just be changing */
#define PAUSE_MS 300u /* between them */

struct verify {
    struct ctl *c;
    struct pg *pg;
    json_t *rows;
    uint32_t *of_part; /* compared or left out, by partition */
    uint64_t compared, differ, dirty;
};

struct chunk {
    uint32_t n;
    struct fb_bytes keys[CHUNK]; /* into `text` */
};

/* FB.GET's list. */
struct copy {
    struct fb_bytes value;
    int64_t ver, dirty, expires_ms;
    uint8_t kind; /* NONE: not there (any more) */
};

static bool take_copy(const struct fb_rep *rep, struct copy *o)
{
    struct fb_bytes rest = rep->payload, item[5];

    *o = (struct copy){0};
    if (rep->type != FB_REP_LIST)
        return false;
    for (size_t i = 0; i < 5; i++)
        if (!fb_list_next(&rest, &item[i]))
            return false;
    if (!fb_parse_i64(item[1], &o->ver) || !fb_parse_i64(item[2], &o->dirty) ||
        !fb_parse_i64(item[3], &o->expires_ms))
        return false;
    o->value = item[0];
    o->kind = item[0].p == NULL              ? FB_KIND_NONE
              : fb_bytes_is(item[4], "hash") ? FB_KIND_HASH
                                             : FB_KIND_STRING;
    return true;
}

static void put_shown(struct fb_buf *out, struct fb_bytes v)
{
    fb_buf_put_u8(out, '"');
    for (size_t i = 0; i < v.n && i < 40; i++)
        fb_buf_put_u8(out, v.p[i] >= 0x20 && v.p[i] < 0x7f ? v.p[i] : '?');
    fb_buf_put_str(out, v.n > 40 ? "...\"" : "\"");
}

static void put_pair(struct fb_buf *out, struct fb_bytes name, const struct fb_bytes *ours,
                     const struct fb_bytes *theirs)
{
    fb_buf_printf(out, "%s%.*s: ", out->n ? "; " : "", (int)name.n, (const char *)name.p);
    if (ours != NULL)
        put_shown(out, *ours);
    fb_buf_put_str(out, ours ? " in memory, " : "not in memory, ");
    if (theirs != NULL)
        put_shown(out, *theirs);
    fb_buf_put_str(out, theirs ? " in PostgreSQL" : "NULL or absent in PostgreSQL");
}

static void hash_difference(struct fb_buf *out, struct fb_bytes ours, struct fb_bytes theirs)
{
    struct fb_bytes rest = ours, v;
    struct fb_field f;

    while (fb_hash_next(&rest, &f)) {
        if (!fb_hash_get(theirs, f.name, &v))
            put_pair(out, f.name, &f.value, NULL);
        else if (!fb_bytes_equal(v, f.value))
            put_pair(out, f.name, &f.value, &v);
    }
    for (rest = theirs; fb_hash_next(&rest, &f);)
        if (!fb_hash_get(ours, f.name, &v))
            put_pair(out, f.name, NULL, &f.value);
}

/* Nothing is appended when they are the same. */
static void difference(struct fb_buf *out, const struct fb_namespace *ns, const struct copy *o,
                       const struct fb_load_rep *rep)
{
    static const char *const kinds[] = {"nothing", "a string", "a hash"};

    if (rep->status == FB_LOAD_REFUSED)
        fb_buf_printf(out, "cannot be read: %.*s", (int)rep->value.n, (const char *)rep->value.p);
    else if (rep->status == FB_LOAD_ABSENT)
        fb_buf_put_str(out, "PostgreSQL has no such row");
    else if (rep->kind != o->kind)
        fb_buf_printf(out, "%s in memory, %s in PostgreSQL", kinds[o->kind], kinds[rep->kind]);
    else if (o->kind == FB_KIND_STRING && !fb_bytes_equal(o->value, rep->value))
        put_pair(out, fb_bytes_str("value"), &o->value, &rep->value);
    else if (o->kind == FB_KIND_HASH)
        hash_difference(out, o->value, rep->value);
    if (out->n == 0 && rep->status == FB_LOAD_FOUND && !ns->mapped &&
        (o->expires_ms > 0 ? o->expires_ms : 0) != rep->expires_ms)
        fb_buf_printf(out, "expires at %lld ms in memory, at %lld ms in PostgreSQL (0 = never)",
                      (long long)(o->expires_ms > 0 ? o->expires_ms : 0),
                      (long long)rep->expires_ms);
}

static void add_row(struct verify *v, struct fb_bytes key, const struct fb_namespace *ns,
                    const struct copy *o, const struct fb_buf *text)
{
    v->differ++;
    if (json_array_size(v->rows) < v->c->limit)
        json_array_append_new(v->rows,
                              json_pack("{s:o, s:s, s:I, s:o}", "key", ctl_text_json(key),
                                        "namespace", ns->name, "version", (json_int_t)o->ver,
                                        "difference", ctl_text_json(fb_buf_view(text))));
}

/* Those of the chunk that are in namespace `ns`: one statement. Differing keys go into `again`, or
 * into the rows when it is NULL. */
static int compare_namespace(struct verify *v, uint32_t ns, const struct chunk *k,
                             const struct copy *copies, struct chunk *again)
{
    struct ctl *c = v->c;
    const struct fb_namespace *conf = &c->cluster->namespaces->ns[ns];
    struct fb_load_req reqs[CHUNK];
    struct fb_load_rep reps[CHUNK] = {{0}};
    uint32_t at[CHUNK], n = 0;
    struct pg_load q = {.ns = conf, .reqs = reqs, .reps = reps};
    struct fb_buf bytes = {0};
    struct pg_error err = {0};
    enum pg_class cls;
    uint8_t ns_len;

    for (uint32_t i = 0; i < k->n; i++) {
        if (fb_nsset_of_key(c->cluster->namespaces, k->keys[i], &ns_len) != ns ||
            copies[i].kind == FB_KIND_NONE || copies[i].dirty)
            continue;
        at[n] = i;
        reqs[n++] =
            (struct fb_load_req){.part = fb_key_partition(k->keys[i], c->cluster->map->partitions),
                                 .ns = fb_bytes_str(conf->name),
                                 .id = fb_key_id(k->keys[i], ns_len)};
    }
    if (n == 0)
        return 0;
    q.count = n;
    q.schema = conf->mapped ? fb_cluster_state_schema(c->cluster, conf->name) : NULL;
    if (conf->mapped && (q.schema == NULL || q.schema->problem[0] != '\0'))
        return ctl_fail(CTL_FAILED, "namespace %s: %s", conf->name,
                        q.schema ? q.schema->problem : "the table has not been read yet");
    cls = pg_load(v->pg, c->cluster->map->cluster, &q, &bytes, &err);
    for (uint32_t i = 0; cls == PG_OK && i < n; i++) {
        const struct copy *o = &copies[at[i]];
        struct fb_buf text = {0};
        difference(&text, conf, o, &reps[i]);
        if (text.n == 0)
            v->compared++;
        else if (again != NULL)
            again->keys[again->n++] = k->keys[at[i]];
        else
            add_row(v, k->keys[at[i]], conf, o, &text);
        fb_buf_fini(&text);
    }
    fb_buf_fini(&bytes);
    return cls == PG_OK
               ? 0
               : ctl_fail(cls == PG_OUTAGE ? CTL_UNREACHABLE : CTL_FAILED, "PostgreSQL: %s%s%s",
                          err.sqlstate, err.sqlstate[0] ? " " : "", err.message);
}

static int compare_once(struct verify *v, const struct fb_member_info *m, const struct chunk *k,
                        struct chunk *again, bool first)
{
    struct fb_req reqs[CHUNK];
    struct fb_rep reps[CHUNK];
    struct copy copies[CHUNK];
    struct fb_buf payload = {0};
    struct fb_err err;
    int rc = 0;

    for (uint32_t i = 0; i < k->n; i++)
        reqs[i] = (struct fb_req){.op = FB_OP_FBGET, .key = k->keys[i], .flags = FB_REQ_IDLE};
    if (ctl_request_many(v->c, m, reqs, k->n, reps, &payload, &err) != FB_OK)
        rc = ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    for (uint32_t i = 0; rc == 0 && i < k->n; i++) {
        /* gone meanwhile, moved, or waiting for a load: nothing to compare */
        if (!take_copy(&reps[i], &copies[i]))
            copies[i].kind = FB_KIND_NONE;
        v->dirty += first && copies[i].kind != FB_KIND_NONE && copies[i].dirty;
    }
    for (uint32_t ns = 0; rc == 0 && ns < v->c->cluster->namespaces->count; ns++)
        rc = compare_namespace(v, ns, k, copies, again);
    fb_buf_fini(&payload);
    return rc;
}

static int compare_chunk(struct verify *v, const struct fb_member_info *m, const struct chunk *k)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    struct chunk now = *k, again;
    int rc = 0;

    for (int attempt = 1; rc == 0 && now.n > 0; attempt++) {
        again.n = 0;
        if (attempt > 1)
            nanosleep(&pause, NULL);
        rc = compare_once(v, m, &now, attempt < ATTEMPTS ? &again : NULL, attempt == 1);
        now = again;
    }
    return rc;
}

static bool wanted(struct verify *v, struct fb_bytes key)
{
    struct ctl *c = v->c;
    uint8_t ns_len;
    uint16_t part;
    uint32_t ns = fb_nsset_of_key(c->cluster->namespaces, key, &ns_len);

    if (c->namespace_name != NULL &&
        strcmp(c->cluster->namespaces->ns[ns].name, c->namespace_name) != 0)
        return false;
    part = fb_key_partition(key, c->cluster->map->partitions);
    return v->of_part[part]++ < c->sample || c->sample == 0;
}

/* Everything one node has in memory. */
static int verify_node(struct verify *v, const struct fb_member_info *m)
{
    int64_t cursor = 0;
    int rc = 0;

    do {
        struct fb_req req = {.op = FB_OP_SCAN, .part = FB_PART_NONE, .a = cursor, .b = SCAN_PAGE};
        struct fb_rep rep;
        struct fb_buf payload = {0};
        struct fb_bytes rest, item;
        struct fb_err err;
        struct chunk k = {0};

        if (ctl_request_many(v->c, m, &req, 1, &rep, &payload, &err) != FB_OK)
            rc = ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
        else if (rep.type != FB_REP_LIST)
            rc = ctl_fail(CTL_FAILED, "%s does not list its keys: %.*s", m->name,
                          (int)rep.payload.n, (const char *)rep.payload.p);
        rest = rep.payload;
        if (rc == 0 && (!fb_list_next(&rest, &item) || !fb_parse_i64(item, &cursor)))
            rc = ctl_fail(CTL_FAILED, "%s answered with a malformed list of keys", m->name);
        while (rc == 0 && fb_list_next(&rest, &item)) {
            if (wanted(v, item))
                k.keys[k.n++] = item;
            if (k.n == CHUNK) {
                rc = compare_chunk(v, m, &k);
                k.n = 0;
            }
        }
        if (rc == 0)
            rc = compare_chunk(v, m, &k);
        fb_buf_fini(&payload);
    } while (rc == 0 && cursor != 0);
    return rc;
}

static int verify_nodes(struct verify *v)
{
    const struct fb_map *map = v->c->cluster->map;
    uint32_t asked = 0;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (m->kind != FB_MEMBER_NODE ||
            (v->c->node_name != NULL && strcmp(v->c->node_name, m->name) != 0))
            continue;
        asked++;
        rc = m->alive ? verify_node(v, m) : ctl_fail(CTL_UNREACHABLE, "%s is not running", m->name);
    }
    if (rc == 0 && asked == 0)
        rc = ctl_fail(CTL_FAILED, "there is no such node; see forebayctl node list");
    return rc;
}

int ctl_verify(struct ctl *c)
{
    static const struct ctl_column columns[] = {{"KEY", "key", false},
                                                {"NAMESPACE", "namespace", false},
                                                {"VERSION", "version", true},
                                                {"DIFFERENCE", "difference", false}};
    struct verify v = {.c = c};
    int rc = ctl_open(c);

    if (rc == 0)
        rc = ctl_check_namespace(c);
    if (rc == 0)
        v.pg = ctl_connect_pg(c, &rc);
    if (v.pg == NULL)
        return rc;
    v.rows = json_array();
    v.of_part = fb_xcalloc(c->cluster->map->partitions, sizeof(*v.of_part));
    rc = verify_nodes(&v);
    if (json_array_size(v.rows) > 0 || c->format == CTL_JSON)
        ctl_print_rows(c, v.rows, columns, FB_COUNT_OF(columns));
    if (rc == 0) {
        ctl_note(c, "%llu objects are as in PostgreSQL, %llu differ, %llu wait to be written",
                 (unsigned long long)v.compared, (unsigned long long)v.differ,
                 (unsigned long long)v.dirty);
        rc = v.differ > 0 ? CTL_FAILED : CTL_OK;
    }
    json_decref(v.rows);
    free(v.of_part);
    pg_free(v.pg);
    return rc;
}
