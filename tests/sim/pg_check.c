/* What PostgreSQL may never show, checked from outside: the records of the node's log on one side,
 * every commit of the model of PostgreSQL on the other (I20, I22-I25, I35, and I36 at the end).
 *
 *   I24  a row gets only versions that the log has or had, with their content, each once, upwards
 *   I22  when a checkpoint stands at v, every object whose newest version is at most v has exactly
 *        that row, or that version is parked by a record of the log and has its dead letter
 *   I23  a checkpoint only grows (but for commits that PostgreSQL itself lost)
 *   I20  nothing that a power loss takes from the log is in PostgreSQL
 *   I34  the log says "synced up to v" only when PostgreSQL had a checkpoint of at least v
 *   I25  what the log says is safe is still there after a standby took over
 */
#include "tests/sim/pg_check.h"

#include "proto/base/hash.h"
#include "proto/base/number.h"
#include "proto/cluster/slot.h"
#include "proto/wire/record.h"
#include "proto/wire/value.h"
#include "proto/wire/version.h"
#include "tests/sim/node_proc.h"
#include "tests/sim/pg_rows.h"
#include "tests/sim/shadow.h"

#include <stdio.h>
#include <stdlib.h>

#define AUDIT_BUCKETS 256u

enum fate { THERE, LOST_UNSYNCED, LOST_WITH_DISK };

struct version {
    uint64_t ver, park_ver; /* park_ver: its PARK record, 0 = none */
    uint64_t again_ver;     /* PostgreSQL had gone back, so it is tried again since this record */
    uint64_t changed;       /* columns that it sets; the others are the row's own */
    int64_t expires_ms;
    uint8_t kind, fate;
    bool refused; /* it was parked once, whatever became of that record */
    struct fb_buf value;
};

struct audit_object {
    struct audit_object *next, *next_all;
    struct fb_buf key, row_key; /* as in the log; as in PostgreSQL */
    struct fb_buf letter_key;
    const struct fb_namespace *ns;
    uint16_t part;
    struct version *v;
    size_t n, cap;
    uint64_t our_xid; /* of the newest change of the row that is ours */
    uint64_t foreign; /* columns that others wrote last */
    uint64_t diff;    /* columns that the newest change of the row changed */
};

struct audit_feed {
    uint64_t most, safe; /* greatest checkpoint ever committed; greatest dsafe of the log */
    bool moved, lost;    /* within this transaction; by a fail-over */
};

struct audit {
    struct world *w;
    struct audit_object *bucket[AUDIT_BUCKETS], *all;
    struct audit_feed feed[FB_NAMESPACES_MAX][WORLD_PARTITIONS_MAX];
    void (*revived)(void *arg, const char *key);
    void *revived_arg;
};

static struct audit *the_audit;

static struct audit_object *object_of(struct audit *a, const struct fb_record *r)
{
    struct audit_object **at = &a->bucket[fb_hash64(r->key.p, r->key.n, 5) % AUDIT_BUCKETS], *o;
    uint8_t ns_len;
    struct fb_bytes id;
    for (; *at != NULL; at = &(*at)->next)
        if (fb_bytes_equal(fb_buf_view(&(*at)->key), r->key))
            return *at;
    o = *at = fb_xcalloc(1, sizeof *o);
    fb_buf_put_bytes(&o->key, r->key);
    o->part = r->part;
    o->ns = &a->w->namespaces->ns[fb_nsset_of_key(a->w->namespaces, r->key, &ns_len)];
    id = fb_key_id(r->key, ns_len);
    pg_object_key(&o->letter_key, o->ns->name, id);
    if (o->ns->mapped)
        fb_buf_put_bytes(&o->row_key, id);
    else
        pg_object_key(&o->row_key, o->ns->name, id);
    o->next_all = a->all;
    return a->all = o;
}

static const struct version *newest(const struct audit_object *o)
{
    for (size_t i = o->n; i > 0; i--)
        if (o->v[i - 1].fate == THERE)
            return &o->v[i - 1];
    return NULL;
}

static struct version *version_of(const struct audit_object *o, uint64_t ver)
{
    for (size_t i = o->n; i > 0; i--)
        if (o->v[i - 1].ver == ver)
            return &o->v[i - 1];
    return NULL;
}

static bool parked(const struct version *v)
{
    return v->park_ver > v->again_ver;
}

static uint32_t ns_index(const struct audit *a, const char *name)
{
    return fb_nsset_find(a->w->namespaces, fb_bytes_str(name));
}

/* ---- the log ---- */

static void synced(struct audit *a, const struct fb_record *r)
{
    uint32_t ns = fb_nsset_find(a->w->namespaces, r->key);
    struct audit_feed *f;
    if (ns == UINT32_MAX)
        return;
    f = &a->feed[ns][r->part];
    for (struct audit_object *o = a->all; o != NULL && (r->flags & FB_RECORD_REGRESSED);
         o = o->next_all)
        for (size_t i = 0; i < o->n; i++)
            if (o->part == r->part && o->ns == &a->w->namespaces->ns[ns] &&
                o->v[i].ver > r->obj_ver)
                o->v[i].again_ver = r->ver;
    if (r->obj_ver > f->most)
        sim_violation(a->w->sim, "I34",
                      "partition %u of %s: the log takes %u/%llu for synced, PostgreSQL never had "
                      "more than %u/%llu",
                      r->part, a->w->namespaces->ns[ns].name, fb_ver_epoch(r->obj_ver),
                      (unsigned long long)fb_ver_counter(r->obj_ver), fb_ver_epoch(f->most),
                      (unsigned long long)fb_ver_counter(f->most));
    if (r->changed > f->safe)
        f->safe = r->changed;
}

static void on_record(void *arg, const struct fb_record *r)
{
    struct audit *a = arg;
    struct audit_object *o;
    struct version *v;

    switch (r->type) {
    case FB_RECORD_SYNCED:
        synced(a, r);
        return;
    case FB_RECORD_PARK:
        v = version_of(object_of(a, r), r->obj_ver);
        if (v != NULL) {
            v->park_ver = r->ver;
            v->refused = true;
        }
        return;
    case FB_RECORD_PUT:
    case FB_RECORD_DEL:
    case FB_RECORD_EXPIRE:
        break;
    default:
        return;
    }
    o = object_of(a, r);
    if (version_of(o, r->ver) != NULL)
        return; /* replayed */
    if (o->n == o->cap) {
        o->cap = o->cap == 0 ? 8 : o->cap * 2;
        o->v = fb_xrealloc(o->v, o->cap * sizeof *o->v);
    }
    v = &o->v[o->n++];
    *v = (struct version){
        .ver = r->ver, .kind = r->kind, .expires_ms = r->expires_ms, .changed = r->changed};
    if (r->kind != FB_KIND_NONE)
        fb_buf_put_bytes(&v->value, r->value);
}

static void check_feed(struct audit *a, const char *ns, uint16_t part, uint64_t ckpt);

static void on_recovered(void *arg, uint16_t part, uint64_t last_ver, enum node_loss loss)
{
    struct audit *a = arg;
    for (struct audit_object *o = a->all; o != NULL; o = o->next_all)
        for (size_t i = 0; o->part == part && i < o->n; i++) {
            struct version *v = &o->v[i];
            const struct pg_image *row =
                o->ns->mapped ? NULL
                              : pg_model_row(a->w->pg, PG_T_OBJECTS, fb_buf_view(&o->row_key));
            if (v->park_ver > last_ver)
                v->park_ver = 0;
            if (v->again_ver > last_ver)
                v->again_ver = 0;
            if (v->ver <= last_ver || v->fate != THERE)
                continue;
            v->fate = loss == NODE_LOSS_ANY ? LOST_WITH_DISK : LOST_UNSYNCED;
            if (v->fate == LOST_UNSYNCED && row != NULL && row->ver == v->ver)
                sim_violation(a->w->sim, "I20", "%.*s: %u/%llu is in PostgreSQL and not in the log",
                              (int)o->key.n, (const char *)o->key.p, fb_ver_epoch(v->ver),
                              (unsigned long long)fb_ver_counter(v->ver));
        }
    for (uint32_t ns = 0; ns < a->w->namespaces->count; ns++) {
        const char *name = a->w->namespaces->ns[ns].name;
        if (loss == NODE_LOSS_ANY)
            a->feed[ns][part].safe = 0;
        else /* what was lost may have hidden that the checkpoint has passed too much */
            check_feed(a, name, part, pg_model_checkpoint(a->w->pg, name, part));
    }
}

/* ---- PostgreSQL ---- */

static struct audit_object *object_of_row(struct audit *a, enum pg_table t, struct fb_bytes key)
{
    for (struct audit_object *o = a->all; o != NULL; o = o->next_all)
        if ((o->ns->mapped ? pg_table_of(o->ns->table_name) : PG_T_OBJECTS) == t &&
            fb_bytes_equal(fb_buf_view(&o->row_key), key))
            return o;
    return NULL;
}

static void checkpoint_changed(struct audit *a, struct fb_bytes key, const struct pg_image *was,
                               const struct pg_image *now, bool lost)
{
    const char *name = (const char *)key.p;
    uint32_t ns = ns_index(a, name);
    struct audit_feed *f;
    uint16_t part;

    memcpy(&part, key.p + strlen(name) + 1, sizeof part);
    if (ns == UINT32_MAX)
        return;
    f = &a->feed[ns][part];
    if (lost) {
        f->lost = true;
        return;
    }
    if (now->ver < was->ver)
        sim_violation(a->w->sim, "I23", "partition %u of %s: the checkpoint goes back", part, name);
    f->moved = f->moved || now->ver != was->ver;
    if (now->ver > f->most)
        f->most = now->ver;
}

static void object_changed(struct audit *a, struct fb_bytes key, const struct pg_image *was,
                           const struct pg_image *now)
{
    struct audit_object *o = object_of_row(a, PG_T_OBJECTS, key);
    const char *id = (const char *)key.p + strlen((const char *)key.p) + 1;
    int n = (int)(key.n - strlen((const char *)key.p) - 1);
    const struct version *v;
    if (!now->exists)
        return;
    if (was->exists && now->ver <= was->ver)
        sim_violation(a->w->sim, "I24", "%.*s gets %u/%llu after %u/%llu", n, id,
                      fb_ver_epoch(now->ver), (unsigned long long)fb_ver_counter(now->ver),
                      fb_ver_epoch(was->ver), (unsigned long long)fb_ver_counter(was->ver));
    v = o == NULL ? NULL : version_of(o, now->ver);
    if (v == NULL || v->fate == LOST_UNSYNCED)
        sim_violation(a->w->sim, v == NULL ? "I24" : "I20", "%.*s gets %u/%llu, which no log has",
                      n, id, fb_ver_epoch(now->ver), (unsigned long long)fb_ver_counter(now->ver));
    if (v->fate == LOST_WITH_DISK && a->revived != NULL) {
        char text[128];
        snprintf(text, sizeof text, "%.*s", (int)o->key.n, (const char *)o->key.p);
        a->revived(a->revived_arg, text);
    }
    if (v->kind != now->kind || v->expires_ms != now->expires_ms ||
        !fb_bytes_equal(fb_buf_view(&v->value), fb_buf_view(&now->value)))
        sim_violation(a->w->sim, "I24", "%.*s gets another content than %u/%llu", n, id,
                      fb_ver_epoch(now->ver), (unsigned long long)fb_ver_counter(now->ver));
}

static void note_columns(struct audit_object *o, const struct pg_image *was,
                         const struct pg_image *now)
{
    const struct pg_column *c;
    uint32_t n = pg_table_columns(pg_table_of(o->ns->table_name), &c);
    o->diff = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct fb_bytes before = {0}, after = {0};
        bool had =
            was->exists && fb_hash_get(fb_buf_view(&was->value), fb_bytes_str(c[i].name), &before);
        bool has =
            now->exists && fb_hash_get(fb_buf_view(&now->value), fb_bytes_str(c[i].name), &after);
        if (had != has || (had && !fb_bytes_equal(before, after)))
            o->diff |= UINT64_C(1) << i;
    }
    o->foreign |= o->diff; /* pg_check_ours says when it is not so */
}

static void changed(void *arg, enum pg_table t, struct fb_bytes key, const struct pg_image *was,
                    const struct pg_image *now, bool lost)
{
    struct audit *a = arg;
    struct audit_object *o;
    if (t == PG_T_CHECKPOINT)
        checkpoint_changed(a, key, was, now, lost);
    else if (t == PG_T_OBJECTS && !lost)
        object_changed(a, key, was, now);
    else if (t >= PG_T_TEAM && (o = object_of_row(a, t, key)) != NULL) {
        o->our_xid = 0; /* committed() says whether it is ours */
        note_columns(o, was, now);
    }
}

static int64_t number_of(struct fb_bytes text)
{
    int64_t n = INT64_MIN;
    while (text.n > 1 && text.p[0] == '0')
        text = fb_bytes(text.p + 1, text.n - 1);
    (void)!fb_parse_i64(text, &n);
    return n;
}

/* An older version gave this column the same text: it may have been written with that one, and by
 * others since. The record of the newer one does not tell, it was made before that was known. */
static bool text_is_older(const struct audit_object *o, const struct version *v, const char *column,
                          struct fb_bytes text)
{
    struct fb_bytes t;
    for (const struct version *u = o->v; u < v; u++)
        if (u->fate == THERE && u->kind != FB_KIND_NONE &&
            fb_hash_get(fb_buf_view(&u->value), fb_bytes_str(column), &t) &&
            fb_bytes_equal(t, text))
            return true;
    return false;
}

/* Do the columns that the object gives have its texts? */
static bool columns_equal(const struct audit_object *o, const struct version *v,
                          const struct pg_image *row)
{
    const struct pg_column *c;
    uint32_t n = pg_table_columns(pg_table_of(o->ns->table_name), &c);
    if (o->ns->value == FB_VALUE_COLUMN) {
        struct fb_bytes have;
        return fb_hash_get(fb_buf_view(&row->value), fb_bytes_str(o->ns->value_column), &have) &&
               fb_bytes_equal(have, fb_buf_view(&v->value));
    }
    for (uint32_t i = 0; i < n; i++) {
        struct fb_bytes want, have;
        if (c[i].key || c[i].generated || (v->changed >> i & 1) == 0 ||
            !fb_hash_get(fb_buf_view(&v->value), fb_bytes_str(c[i].name), &want))
            continue;
        if ((o->foreign >> i & 1) != 0 && text_is_older(o, v, c[i].name, want))
            continue;
        if (!fb_hash_get(fb_buf_view(&row->value), fb_bytes_str(c[i].name), &have))
            return false;
        if (c[i].integer ? number_of(want) != number_of(have) : !fb_bytes_equal(want, have))
            return false;
    }
    return true;
}

static bool may_be_expired(const struct audit *a, const struct version *v)
{
    return v->expires_ms != 0 && (v->expires_ms <= (int64_t)pg_model_wall_ms(a->w->pg) ||
                                  v->expires_ms <= (int64_t)node_proc_wall_max_ms(a->w));
}

/* Is the row as the version would have written it? */
static bool row_written(const struct audit *a, const struct audit_object *o,
                        const struct version *v)
{
    enum pg_table t = o->ns->mapped ? pg_table_of(o->ns->table_name) : PG_T_OBJECTS;
    const struct pg_image *row = pg_model_row(a->w->pg, t, fb_buf_view(&o->row_key));
    if (o->ns->mapped) /* others write there as well: judged is what nobody has changed since */
        return row == NULL || row->xid != o->our_xid ||
               (v->kind != FB_KIND_NONE && columns_equal(o, v, row));
    if (v->kind == FB_KIND_NONE)
        return row == NULL;
    if (row == NULL)
        return may_be_expired(a, v);
    return row->ver == v->ver;
}

/* Is the row what the object's newest version makes of it? */
static bool row_fits(const struct audit *a, const struct audit_object *o, const struct version *v)
{
    if (!parked(v))
        return row_written(a, o, v);
    if (!o->ns->mapped && v->kind != FB_KIND_NONE &&
        !pg_model_refuses(a->w->pg, fb_buf_view(&v->value)))
        sim_violation(a->w->sim, "I35", "%.*s: %u/%llu is parked, and PostgreSQL would take it",
                      (int)o->key.n, (const char *)o->key.p, fb_ver_epoch(v->ver),
                      (unsigned long long)fb_ver_counter(v->ver));
    return true;
}

/* Was a newer version, which the checkpoint has passed, lost with the disk? Then it is the row, and
 * the node stays behind PostgreSQL until it is told so and gives up its directory. */
static bool passed_lost(const struct audit_object *o, const struct version *v, uint64_t ckpt)
{
    for (size_t i = o->n; i > 0 && o->v[i - 1].ver > v->ver; i--)
        if (o->v[i - 1].fate == LOST_WITH_DISK && o->v[i - 1].ver <= ckpt)
            return true;
    return false;
}

/* Both, for people. */
static void fail_row(struct audit *a, const struct audit_object *o, const struct version *v,
                     uint64_t ckpt)
{
    enum pg_table t = o->ns->mapped ? pg_table_of(o->ns->table_name) : PG_T_OBJECTS;
    const struct pg_image *row = pg_model_row(a->w->pg, t, fb_buf_view(&o->row_key));
    struct shadow is = {.kind = FB_KIND_NONE}, wanted = {.kind = v->kind};
    struct fb_buf text = {0};

    if (row != NULL) {
        is.kind = o->ns->mapped ? FB_KIND_HASH : row->kind;
        is.value = row->value;
    }
    wanted.value = v->value;
    fb_buf_put_str(&text, "wanted ");
    shadow_text(&wanted, &text);
    fb_buf_printf(&text, ", columns %llx; the row is ", (unsigned long long)v->changed);
    shadow_text(&is, &text);
    fb_buf_put_u8(&text, 0);
    sim_violation(a->w->sim, "I22",
                  "%.*s: the checkpoint is at %u/%llu, its version %u/%llu is not the row's: %s",
                  (int)o->key.n, (const char *)o->key.p, fb_ver_epoch(ckpt),
                  (unsigned long long)fb_ver_counter(ckpt), fb_ver_epoch(v->ver),
                  (unsigned long long)fb_ver_counter(v->ver), (const char *)text.p);
}

static bool letter_there(const struct audit *a, const struct audit_object *o,
                         const struct version *v)
{
    const struct pg_image *letter = pg_model_row(a->w->pg, PG_T_DEAD, fb_buf_view(&o->letter_key));
    return letter != NULL && letter->ver >= v->ver;
}

static void check_feed(struct audit *a, const char *ns, uint16_t part, uint64_t ckpt)
{
    for (struct audit_object *o = a->all; o != NULL; o = o->next_all) {
        const struct version *v = newest(o);
        if (o->part != part || strcmp(o->ns->name, ns) != 0 || v == NULL || v->ver > ckpt)
            continue;
        /* (refused to one sync process, written by another that had it, too: see missing) */
        if (parked(v) && !letter_there(a, o, v) && !row_written(a, o, v) &&
            !passed_lost(o, v, ckpt))
            sim_violation(a->w->sim, "I22",
                          "%.*s: the checkpoint is at %u/%llu, its parked version %u/%llu has no "
                          "dead letter",
                          (int)o->key.n, (const char *)o->key.p, fb_ver_epoch(ckpt),
                          (unsigned long long)fb_ver_counter(ckpt), fb_ver_epoch(v->ver),
                          (unsigned long long)fb_ver_counter(v->ver));
        if (!row_fits(a, o, v) && !passed_lost(o, v, ckpt))
            fail_row(a, o, v, ckpt);
    }
}

static void committed(void *arg, bool ours)
{
    struct audit *a = arg;
    for (uint32_t ns = 0; ours && ns < a->w->namespaces->count; ns++)
        for (uint16_t p = 0; p < a->w->partitions; p++) {
            struct audit_feed *f = &a->feed[ns][p];
            const char *name = a->w->namespaces->ns[ns].name;
            if (!f->moved)
                continue;
            f->moved = false;
            check_feed(a, name, p, pg_model_checkpoint(a->w->pg, name, p));
        }
}

void pg_check_ours(struct fb_bytes key, enum pg_table t, uint64_t xid)
{
    struct audit_object *o = the_audit == NULL ? NULL : object_of_row(the_audit, t, key);
    if (o != NULL) {
        o->our_xid = xid;
        o->foreign &= ~o->diff;
    }
}

void pg_check_on_revived(void (*fn)(void *arg, const char *key), void *arg)
{
    the_audit->revived = fn;
    the_audit->revived_arg = arg;
}

uint64_t pg_check_row_version(struct fb_bytes key)
{
    const struct audit_object *o = the_audit->bucket[fb_hash64(key.p, key.n, 5) % AUDIT_BUCKETS];
    const struct pg_image *row;
    uint64_t ckpt;
    while (o != NULL && !fb_bytes_equal(fb_buf_view(&o->key), key))
        o = o->next;
    if (o == NULL)
        return 0;
    row = pg_model_row(the_audit->w->pg, PG_T_OBJECTS, fb_buf_view(&o->row_key));
    if (row != NULL)
        return row->ver;
    ckpt = pg_model_checkpoint(the_audit->w->pg, o->ns->name, o->part);
    for (size_t i = o->n; i > 0; i--)
        if (o->v[i - 1].ver <= ckpt && !o->v[i - 1].refused &&
            (o->v[i - 1].kind == FB_KIND_NONE || o->v[i - 1].expires_ms != 0))
            return o->v[i - 1].ver;
    return 0;
}

void pg_check_failed_over(void)
{
    struct audit *a = the_audit;
    for (uint32_t ns = 0; a != NULL && ns < a->w->namespaces->count; ns++)
        for (uint16_t p = 0; p < a->w->partitions; p++) {
            struct audit_feed *f = &a->feed[ns][p];
            const char *name = a->w->namespaces->ns[ns].name;
            uint64_t now = pg_model_checkpoint(a->w->pg, name, p);
            if (f->lost && f->safe > now)
                sim_violation(a->w->sim, "I25",
                              "partition %u of %s: %u/%llu was called safe, PostgreSQL is back at "
                              "%u/%llu",
                              p, name, fb_ver_epoch(f->safe),
                              (unsigned long long)fb_ver_counter(f->safe), fb_ver_epoch(now),
                              (unsigned long long)fb_ver_counter(now));
            f->lost = false;
        }
}

/* ---- the module ---- */

static void module_start(struct world *w)
{
    struct audit *a = fb_xcalloc(1, sizeof *a);
    a->w = w;
    the_audit = a;
    pg_model_observe(w->pg,
                     &(struct pg_observer){.arg = a, .changed = changed, .committed = committed});
    ledger_observe(w->ledger, &(struct ledger_observer){
                                  .arg = a, .record = on_record, .recovered = on_recovered});
}

static void module_heal(struct world *w)
{
    (void)w;
}

/* A version that was committed and is not in PostgreSQL; NULL when there is none. */
static const struct version *missing(struct audit *a, const struct audit_object **of)
{
    for (const struct audit_object *o = a->all; o != NULL; o = o->next_all) {
        const struct version *v = newest(o);
        *of = o;
        if (v != NULL && (!row_fits(a, o, v) || (parked(v) && !letter_there(a, o, v))))
            return v;
    }
    return NULL;
}

/* That no node knows of anything dirty is not enough: of commits that PostgreSQL lost, the sync
 * process knows first. */
static bool module_settled(struct world *w, char *why, size_t n)
{
    const struct audit_object *o;
    const struct version *v = missing(the_audit, &o);
    (void)w;
    if (v != NULL)
        snprintf(why, n, "%.*s: its version %u/%llu has not reached PostgreSQL", (int)o->key.n,
                 (const char *)o->key.p, fb_ver_epoch(v->ver),
                 (unsigned long long)fb_ver_counter(v->ver));
    return v == NULL;
}

static void module_finish(struct world *w)
{
    (void)w; /* all is judged by then */
}

static void module_stop(struct world *w)
{
    (void)w;
    while (the_audit->all != NULL) {
        struct audit_object *o = the_audit->all;
        the_audit->all = o->next_all;
        for (size_t i = 0; i < o->n; i++)
            fb_buf_fini(&o->v[i].value);
        free(o->v);
        fb_buf_fini(&o->key);
        fb_buf_fini(&o->row_key);
        fb_buf_fini(&o->letter_key);
        free(o);
    }
    free(the_audit);
    the_audit = NULL;
}

const struct world_module pg_check_module = {.name = "audit",
                                             .start = module_start,
                                             .heal = module_heal,
                                             .settled = module_settled,
                                             .finish = module_finish,
                                             .stop = module_stop};
