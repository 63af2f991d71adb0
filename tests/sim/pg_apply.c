/* The statements of a batch as the server carries them out (pg_apply.h). */
#include "tests/sim/pg_apply.h"
#include "tests/sim/pg_rows.h"

#include "proto/base/mutant.h"

#include <stdio.h>
#include <stdlib.h>

static const struct fb_feed_object *object_of(const struct pg_apply_call *a, const struct pg_ref *r)
{
    return &a->b.feeds[r->feed].objects[r->object];
}

/* ---- the server ---- */

static struct pg_row *checkpoint_row(struct pg_session *s, const struct pg_feed *f)
{
    struct fb_buf key = {0};
    struct pg_row *r;
    pg_object_key(&key, f->ns->name, fb_bytes(&f->part, sizeof f->part));
    r = pg_row_find(s->m, PG_T_CHECKPOINT, fb_buf_view(&key), true);
    fb_buf_fini(&key);
    return r;
}

static bool attach(struct pg_session *s, struct pg_apply_call *a)
{
    if (!pg_statement(s, PG_T_CHECKPOINT))
        return false;
    for (size_t i = 0; i < a->b.feed_count; i++) {
        struct pg_row *r = checkpoint_row(s, &a->b.feeds[i]);
        if (r->now.exists && r->locker == NULL)
            continue;
        if (r->now.exists) /* an insert waits for nobody who merely updates the row */
            continue;
        if (!pg_lock(s, r))
            return false;
        if (!pg_see(s, r)->exists)
            pg_change(s, r)->exists = true;
    }
    return true;
}

/* Every lock first, in order; then those that are where they were expected are moved. */
static bool compare(struct pg_session *s, struct pg_apply_call *a)
{
    size_t moved = 0;
    if (!pg_statement(s, PG_T_CHECKPOINT))
        return false;
    for (size_t i = 0; i < a->b.feed_count; i++)
        if (pg_see(s, checkpoint_row(s, &a->b.feeds[i]))->exists &&
            !pg_lock(s, checkpoint_row(s, &a->b.feeds[i])))
            return false;
    for (size_t i = 0; i < a->b.feed_count; i++) {
        const struct pg_feed *f = &a->b.feeds[i];
        struct pg_row *r = checkpoint_row(s, f);
        struct pg_image *next;
        if (!pg_see(s, r)->exists || pg_see(s, r)->history > f->history)
            continue;
        if (pg_see(s, r)->ver != f->prev && !FB_MUTANT(checkpoint_compare))
            continue;
        next = pg_change(s, r);
        next->ver = f->next;
        next->history = f->history;
        moved++;
    }
    if (moved == a->b.feed_count) {
        a->b.xid = pg_xid(s);
        return true;
    }
    (void)pg_fail(s, "", "checkpoints are not where they were expected");
    s->err.class = PG_LOST;
    return false;
}

static bool write_object(struct pg_session *s, const struct pg_feed *f,
                         const struct fb_feed_object *o, struct pg_apply_call *a)
{
    struct fb_buf key = {0};
    struct pg_row *r;
    struct pg_image *next;

    pg_object_key(&key, f->ns->name, o->id);
    r = pg_row_find(s->m, PG_T_OBJECTS, fb_buf_view(&key), true);
    fb_buf_fini(&key);
    if (o->kind == FB_KIND_NONE && !pg_see(s, r)->exists && r->locker == NULL)
        return true;
    if (!pg_lock(s, r))
        return false;
    if (o->kind == FB_KIND_NONE) {
        a->b.rows_deleted += pg_see(s, r)->exists;
        pg_change(s, r)->exists = false;
        return true;
    }
    if (pg_model_refuses(s->m, o->value))
        return pg_fail(s, "23514", "violates check constraint \"objects_value\"");
    next = pg_change(s, r);
    next->exists = true;
    next->kind = o->kind;
    next->ver = o->ver;
    next->expires_ms = o->expires_ms;
    fb_buf_clear(&next->value);
    fb_buf_put_bytes(&next->value, o->value);
    a->b.rows_updated++;
    return true;
}

static bool same_fields(struct fb_bytes a, struct fb_bytes b)
{
    struct fb_field f;
    struct fb_bytes other;
    if (fb_hash_count(a) != fb_hash_count(b))
        return false;
    while (fb_hash_next(&a, &f))
        if (!fb_hash_get(b, f.name, &other) || !fb_bytes_equal(other, f.value))
            return false;
    return true;
}

static void add_row(struct pg_apply_call *a, struct pg_conflict **v, size_t *n,
                    const struct pg_ref *ref, const struct pg_image *i)
{
    struct pg_conflict *c;
    *v = fb_xrealloc(*v, (*n + 1) * sizeof **v);
    c = &(*v)[(*n)++];
    *c = (struct pg_conflict){
        .feed = ref->feed, .object = ref->object, .kind = FB_KIND_NONE, .value_at = a->b.bytes.n};
    if (i == NULL)
        return;
    c->xmin = (uint32_t)i->xid;
    c->kind = pg_table_take(i, a->b.feeds[ref->feed].ns, &a->b.bytes);
    c->value_n = a->b.bytes.n - c->value_at;
}

/* What is stored may differ from what was sent. */
static void returned(struct pg_apply_call *a, const struct pg_ref *ref, const struct pg_image *i)
{
    const struct fb_feed_object *o = object_of(a, ref);
    if (a->b.feeds[ref->feed].ns->value == FB_VALUE_COLUMN ||
        same_fields(fb_buf_view(&i->value), o->value))
        return;
    add_row(a, &a->b.refreshes, &a->b.refresh_count, ref, i);
}

/* The columns an object sets, and their texts as a hash. */
static uint64_t columns_of(const struct pg_feed *f, const struct fb_feed_object *o, bool update,
                           struct fb_buf *values)
{
    const struct pg_column *c;
    uint32_t n = pg_table_columns(pg_table_of(f->ns->table_name), &c);
    uint64_t mask = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct fb_bytes v;
        if (c[i].key || c[i].generated)
            continue;
        if (f->ns->value == FB_VALUE_COLUMN) {
            if (strcmp(c[i].name, f->ns->value_column) != 0)
                continue;
            mask |= UINT64_C(1) << i;
            fb_hash_put(values, fb_bytes_str(c[i].name), o->value);
        } else if (update ? (o->changed >> i & 1) != 0
                          : fb_hash_get(o->value, fb_bytes_str(c[i].name), &v)) {
            mask |= UINT64_C(1) << i;
            if (fb_hash_get(o->value, fb_bytes_str(c[i].name), &v))
                fb_hash_put(values, fb_bytes_str(c[i].name), v);
        }
    }
    return mask;
}

static bool token_fits(const struct pg_feed *f, const struct fb_feed_object *o,
                       const struct pg_image *i)
{
    return f->ns->external == FB_EXTERNAL_NONE || (o->flags & FB_OBJECT_TOKEN_KNOWN) == 0 ||
           (uint32_t)i->xid == o->base_xid;
}

static bool write_row(struct pg_session *s, struct pg_apply_call *a, struct pg_ref *ref)
{
    const struct pg_feed *f = &a->b.feeds[ref->feed];
    const struct fb_feed_object *o = object_of(a, ref);
    struct pg_row *r = pg_row_find(s->m, pg_table_of(f->ns->table_name), o->id, true);
    struct fb_buf values = {0};
    uint64_t mask;
    bool insert = ref->kind == PG_DO_INSERT || ref->kind == PG_DO_PUT, ok = true;

    if (!insert && !pg_see(s, r)->exists && r->locker == NULL)
        return true; /* nothing there */
    if (ref->kind == PG_DO_INSERT && pg_see(s, r)->exists && (r->locker == NULL || !r->changed))
        return true; /* on conflict do nothing */
    if (!pg_lock(s, r))
        return false;
    if (ref->kind == PG_DO_INSERT && pg_see(s, r)->exists)
        return true;
    if (!insert && (!pg_see(s, r)->exists || !token_fits(f, o, pg_see(s, r))))
        return true;
    mask = columns_of(f, o, ref->kind == PG_DO_UPDATE, &values);
    if (ref->kind == PG_DO_DELETE)
        ok = pg_table_delete(s, r);
    else if (ref->kind == PG_DO_UPDATE && mask == 0)
        ok = true;
    else
        ok = pg_table_write(s, r, pg_see(s, r)->exists ? pg_see(s, r) : NULL, mask,
                            fb_buf_view(&values));
    fb_buf_fini(&values);
    if (!ok)
        return false;
    ref->done = true;
    if (ref->kind == PG_DO_UPDATE || ref->kind == PG_DO_INSERT)
        returned(a, ref, pg_see(s, r));
    a->b.rows_updated++;
    return true;
}

/* Is the letter there of each object that is passed as parked? */
static bool letters_there(struct pg_session *s, struct pg_apply_call *a)
{
    for (uint32_t i = 0; i < a->b.feed_count; i++)
        for (uint32_t k = 0; k < a->b.feeds[i].count; k++) {
            const struct fb_feed_object *o = &a->b.feeds[i].objects[k];
            struct fb_buf key = {0};
            struct pg_row *r;
            bool there;
            if ((o->flags & FB_OBJECT_PARKED) == 0)
                continue;
            pg_object_key(&key, a->b.feeds[i].ns->name, o->id);
            r = pg_row_find(s->m, PG_T_DEAD, fb_buf_view(&key), false);
            fb_buf_fini(&key);
            there = r != NULL && pg_see(s, r)->exists && pg_see(s, r)->ver >= o->ver;
            if (!there && !FB_MUTANT(letter_unlooked))
                add_row(a, &a->b.conflicts, &a->b.conflict_count,
                        &(struct pg_ref){.feed = i, .object = k}, NULL);
        }
    if (a->b.conflict_count == 0)
        return true;
    (void)pg_fail(s, "", "parked objects have no dead letter");
    s->err.class = PG_NO_LETTER;
    return false;
}

/* Letters about older versions of what is written go in the same transaction. */
static bool settle(struct pg_session *s, struct pg_apply_call *a)
{
    if (!pg_statement(s, PG_T_DEAD) || !letters_there(s, a))
        return false;
    for (size_t i = 0; i < a->b.feed_count; i++)
        for (size_t k = 0; k < a->b.feeds[i].count; k++) {
            const struct fb_feed_object *o = &a->b.feeds[i].objects[k];
            struct fb_buf key = {0};
            struct pg_row *r;
            pg_object_key(&key, a->b.feeds[i].ns->name, o->id);
            r = pg_row_find(s->m, PG_T_DEAD, fb_buf_view(&key), false);
            fb_buf_fini(&key);
            if (r == NULL || (o->flags & FB_OBJECT_PARKED) != 0 || !pg_see(s, r)->exists ||
                pg_see(s, r)->ver > o->ver)
                continue;
            if (!pg_lock(s, r))
                return false;
            if (pg_see(s, r)->exists && pg_see(s, r)->ver <= o->ver)
                pg_change(s, r)->exists = false;
        }
    return true;
}

/* As sync/pg does it: all rows of a kind of a namespace are one statement, which says of none. */
static void blame(struct pg_session *s, struct pg_apply_call *a, const struct pg_ref *failed)
{
    s->err.feed = UINT32_MAX;
    for (size_t i = 0; i < a->ref_n; i++) {
        const struct pg_ref *r = &a->refs[i];
        if (r->kind != failed->kind || a->b.feeds[r->feed].ns != a->b.feeds[failed->feed].ns)
            continue;
        a->b.feeds[r->feed].blamed = true;
        if (s->err.feed == UINT32_MAX)
            s->err.feed = r->feed;
    }
}

void pg_run_apply(struct pg_session *s, struct pg_call *c)
{
    struct pg_apply_call *a = (struct pg_apply_call *)c;
    bool first = false;
    s->open = s->ours = true;
    s->lock_wait_ns = a->b.lock_wait_ms * SIM_MS;
    for (size_t i = 0; i < a->b.feed_count; i++)
        first = first || a->b.feeds[i].prev == 0;
    if ((first && !attach(s, a)) || !compare(s, a))
        return;
    for (size_t i = 0; i < a->ref_n; i++) {
        struct pg_ref *r = &a->refs[i];
        const struct pg_feed *f = &a->b.feeds[r->feed];
        enum pg_table t = f->ns->mapped ? pg_table_of(f->ns->table_name) : PG_T_OBJECTS;
        bool statement =
            i == 0 || a->refs[i - 1].kind != r->kind || a->b.feeds[a->refs[i - 1].feed].ns != f->ns;
        if ((statement && !pg_statement(s, t)) ||
            !(f->ns->mapped ? write_row(s, a, r) : write_object(s, f, object_of(a, r), a))) {
            blame(s, a, r);
            return;
        }
    }
    (void)settle(s, a);
}

/* The present rows of what was not reached. */
void pg_run_missing(struct pg_session *s, struct pg_call *c)
{
    struct pg_apply_call *a = (struct pg_apply_call *)c;
    for (size_t i = 0; i < a->ref_n; i++) {
        struct pg_ref *ref = &a->refs[i];
        const struct pg_feed *f = &a->b.feeds[ref->feed];
        const struct fb_feed_object *o = object_of(a, ref);
        const struct pg_image *now;
        if (ref->done || !f->ns->mapped || ref->kind == PG_DO_PUT ||
            (ref->kind == PG_DO_DELETE && f->ns->external == FB_EXTERNAL_NONE))
            continue;
        if (!pg_statement(s, pg_table_of(f->ns->table_name))) {
            blame(s, a, ref);
            return;
        }
        now = pg_see(s, pg_row_find(s->m, pg_table_of(f->ns->table_name), o->id, true));
        if (!now->exists && ref->kind == PG_DO_DELETE)
            continue;
        if (!now->exists && ref->kind == PG_DO_INSERT) { /* what was in the way is gone */
            if (!write_row(s, a, ref)) {
                blame(s, a, ref);
                return;
            }
            if (ref->done)
                continue;
            now = pg_see(s, pg_row_find(s->m, pg_table_of(f->ns->table_name), o->id, true));
        }
        if (now->exists ? ref->kind != PG_DO_INSERT && (o->flags & FB_OBJECT_TOKEN_KNOWN) != 0 &&
                              (uint32_t)now->xid == o->base_xid
                        : ref->kind == PG_DO_INSERT) {
            (void)pg_fail(s, "09000", "a trigger or policy keeps the row from being written");
            s->err.class = PG_ROW;
            blame(s, a, ref);
            return;
        }
        add_row(a, &a->b.conflicts, &a->b.conflict_count, ref, now->exists ? now : NULL);
    }
    if (a->b.conflict_count > 0) {
        (void)pg_fail(s, "", "rows were changed by somebody else");
        s->err.class = PG_CONFLICT;
    }
}

/* The standby has it, and all before it, or somebody cancelled the wait for that. */
static void confirmed(struct pg_session *s, struct pg_call *c)
{
    struct pg_commit_call *k = (struct pg_commit_call *)c;
    if (s->m->standby != PG_SYNC)
        return;
    if (sim_strikes(s->m->sim, SIM_PG, SIM_FAULT_PG_REGRESS, 100000)) {
        k->cancelled = true;
        return;
    }
    sim_sleep(sim_spread(s->m->sim, SIM_PG, 50 * SIM_US, 50 * SIM_MS));
    k->replicated = true;
    s->m->replicated_ns = sim_now_ns(s->m->sim);
}

void pg_run_commit(struct pg_session *s, struct pg_call *c)
{
    if (!s->open) {
        (void)pg_fail(s, "40001", "COMMIT was answered with ROLLBACK");
        return;
    }
    if (!pg_statement(s, PG_TABLES))
        return;
    if (sim_strikes(s->m->sim, SIM_PG, SIM_FAULT_PG_COMMIT_LATE, 5000))
        sim_sleep(sim_spread(s->m->sim, SIM_PG, 100 * SIM_MS, 90 * SIM_S));
    pg_commit(s);
    confirmed(s, c);
}

void pg_run_rollback(struct pg_session *s, struct pg_call *c)
{
    (void)c;
    pg_rollback(s);
}

/* A transaction that only says that a checkpoint is still where it is. */
void pg_run_barrier(struct pg_session *s, struct pg_call *c)
{
    struct pg_apply_call *a = (struct pg_apply_call *)c;
    struct pg_row *r = checkpoint_row(s, &a->b.feeds[0]);
    s->open = s->ours = true;
    if (!pg_statement(s, PG_T_CHECKPOINT))
        return;
    if (!pg_see(s, r)->exists) {
        (void)pg_fail(s, "", "there is no such checkpoint");
        s->err.class = PG_LOST;
        return;
    }
    if (pg_lock(s, r))
        (void)pg_change(s, r);
}
