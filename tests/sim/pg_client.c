/* sync/pg/pg.h for simulated sync processes, but for batches (pg_apply.c): connections, loads, dead
 * letters and what else is one statement. */
#include "tests/sim/pg_client.h"
#include "tests/sim/pg_rows.h"

#include <stdio.h>
#include <stdlib.h>

struct pg_model *pg_the_model;

enum pg_class pg_client_fail(struct pg_error *err, enum pg_class class, const char *sqlstate,
                             const char *text)
{
    *err = (struct pg_error){.class = class, .feed = UINT32_MAX};
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
    snprintf(err->message, sizeof err->message, "%s", text);
    snprintf(err->remark, sizeof err->remark, "%s", text);
    return class;
}

/* ---- connections ---- */

struct pg *pg_new(const struct pg_config *config)
{
    struct pg *pg = fb_xcalloc(1, sizeof *pg);
    pg->statement_timeout_ms = config->statement_timeout_ms;
    pg->connect_timeout_s = config->connect_timeout_s;
    return pg;
}

void pg_free(struct pg *pg)
{
    if (pg == NULL)
        return;
    pg_disconnect(pg);
    free(pg);
}

void pg_disconnect(struct pg *pg)
{
    if (pg->s != NULL)
        pg_session_cut(pg->s);
    pg->s = NULL;
}

bool pg_connected(const struct pg *pg)
{
    return pg->s != NULL;
}

void pg_set_conninfo(struct pg *pg, const char *conninfo)
{
    (void)conninfo;
    pg_disconnect(pg);
}

enum pg_class pg_connect(struct pg *pg, bool *fatal, struct pg_error *err)
{
    struct pg_model *m = pg_the_model;
    *fatal = false;
    *err = (struct pg_error){.class = PG_OK, .feed = UINT32_MAX};
    if (pg->s != NULL)
        return PG_OK;
    sim_sleep(sim_spread(m->sim, SIM_PG, 100 * SIM_US, 10 * SIM_MS));
    if (!m->proc.alive)
        return pg_client_fail(err, PG_OUTAGE, "", "connection refused");
    if (sim_strikes(m->sim, SIM_PG, SIM_FAULT_PG_CUT, 20000)) {
        sim_sleep(sim_range(m->sim, SIM_PG, 0, 1) * pg->connect_timeout_s * SIM_S);
        return pg_client_fail(err, PG_OUTAGE, "", "timeout expired");
    }
    pg->s = pg_session_open(m, sim_self());
    if (pg->s == NULL)
        return pg_client_fail(err, PG_OUTAGE, "53300", "too many connections");
    return PG_OK;
}

static enum pg_class gone(struct pg *pg, struct pg_error *err)
{
    const char *state = pg->s == NULL ? "" : pg->s->fatal;
    enum pg_class c = pg_client_fail(err, PG_OUTAGE, state, "server closed the connection");
    pg_disconnect(pg);
    return c;
}

static void enqueue(struct pg_session *s, struct pg_call *c,
                    void (*fn)(struct pg_session *s, struct pg_call *c), uint64_t late_ns)
{
    c->fn = fn;
    c->done = false;
    c->next = NULL;
    c->due_ns = sim_now_ns(s->m->sim) + late_ns;
    if (s->tail != NULL)
        s->tail->next = c;
    else
        s->head = c;
    s->tail = c;
    sim_wake_all(&s->server);
}

void pg_call_and_cut(struct pg *pg, struct pg_call *c,
                     void (*fn)(struct pg_session *s, struct pg_call *c), uint64_t late_ns)
{
    if (pg->s == NULL)
        return;
    if (!pg->s->server_gone)
        enqueue(pg->s, c, fn, late_ns);
    pg_disconnect(pg);
}

enum pg_class pg_call(struct pg *pg, struct pg_call *c,
                      void (*fn)(struct pg_session *s, struct pg_call *c), struct pg_error *err)
{
    struct pg_session *s = pg->s;
    struct sim *sim = pg_the_model->sim;
    uint64_t until;

    if (s == NULL)
        return pg_client_fail(err, PG_OUTAGE, "", "not connected to PostgreSQL");
    sim_sleep(sim_spread(sim, SIM_PG, 20 * SIM_US, SIM_MS));
    if (s->server_gone || sim_strikes(sim, SIM_PG, SIM_FAULT_PG_CUT, 1500))
        return gone(pg, err);
    enqueue(s, c, fn, 0);
    if (sim_strikes(sim, SIM_PG, SIM_FAULT_PG_CUT, 1500))
        return gone(pg, err); /* the server does not know it yet */
    until = sim_now_ns(sim) + (pg->statement_timeout_ms + 5000) * SIM_MS;
    while (!c->done && !s->server_gone && sim_now_ns(sim) < until)
        (void)sim_wait(&s->reply, until);
    if (!c->done)
        return gone(pg, err);
    sim_sleep(sim_spread(sim, SIM_PG, 20 * SIM_US, SIM_MS));
    if (c->err.sqlstate[0] == '5' && strncmp(c->err.sqlstate, "57P0", 4) == 0)
        pg_disconnect(pg); /* its last words */
    return PG_OK;
}

/* Of a call whose answer is there. */
static enum pg_class outcome(const struct pg_call *c, struct pg_error *err)
{
    *err = c->err;
    return err->class;
}

/* ---- checkpoints ---- */

struct list_call {
    struct pg_call c;
    const char *ns; /* "" = all */
    struct pg_row **rows;
    struct pg_image *images;
    size_t n, cap;
    enum pg_table t;
};

static void list_row(void *arg, struct pg_row *r)
{
    struct list_call *l = arg;
    if (!r->now.exists)
        return;
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->rows = fb_xrealloc(l->rows, l->cap * sizeof(void *));
        l->images = fb_xrealloc(l->images, l->cap * sizeof *l->images);
    }
    l->rows[l->n] = r;
    l->images[l->n] = (struct pg_image){0};
    pg_image_copy(&l->images[l->n++], &r->now);
}

static void run_list(struct pg_session *s, struct pg_call *c)
{
    struct list_call *l = (struct list_call *)c;
    if (pg_statement(s, l->t))
        pg_each(s->m, l->t, list_row, l);
}

static void list_free(struct list_call *l)
{
    for (size_t i = 0; i < l->n; i++)
        pg_image_fini(&l->images[i]);
    free(l->rows);
    free(l->images);
    free(l);
}

enum pg_class pg_read_checkpoints(struct pg *pg, const uint8_t cluster[16], pg_checkpoint_fn fn,
                                  void *arg, struct pg_error *err)
{
    struct list_call *l = fb_xcalloc(1, sizeof *l);
    enum pg_class cls;
    (void)cluster;
    l->t = PG_T_CHECKPOINT;
    if (pg_call(pg, &l->c, run_list, err) != PG_OK)
        return err->class;
    cls = outcome(&l->c, err);
    for (size_t i = 0; cls == PG_OK && i < l->n; i++) {
        const char *ns = (const char *)l->rows[i]->key.p;
        uint16_t part;
        memcpy(&part, ns + strlen(ns) + 1, sizeof part);
        fn(arg, part, ns, l->images[i].history, l->images[i].ver);
    }
    list_free(l);
    return cls;
}

/* ---- dead letters ---- */

struct dead_call {
    struct pg_call c;
    struct fb_buf key, checkpoint;
    struct pg_image image;
};

/* The checkpoint's lock first: no letter about what was written since. */
static void run_dead(struct pg_session *s, struct pg_call *c)
{
    struct dead_call *d = (struct dead_call *)c;
    struct pg_row *k = pg_row_find(s->m, PG_T_CHECKPOINT, fb_buf_view(&d->checkpoint), true);
    struct pg_row *r = pg_row_find(s->m, PG_T_DEAD, fb_buf_view(&d->key), true);
    s->open = s->ours = true;
    if (!pg_statement(s, PG_T_CHECKPOINT) || !pg_lock(s, k))
        return;
    if (pg_see(s, k)->exists && pg_see(s, k)->ver >= d->image.ver) {
        (void)pg_fail(s, "", "a later version of the object was written meanwhile");
        s->err.class = PG_LOST;
        return;
    }
    pg_change(s, k)->exists = true;
    if (!pg_statement(s, PG_T_DEAD) || !pg_lock(s, r))
        return;
    if (!r->now.exists || r->now.ver <= d->image.ver) {
        struct pg_image *next = pg_change(s, r);
        uint64_t xid = next->xid;
        pg_image_copy(next, &d->image);
        next->exists = true;
        next->xid = xid;
    }
    pg_commit(s);
    pg_fail_over_soon(s->m); /* a moment that matters: the checkpoint has not passed it yet */
}

enum pg_class pg_dead_letter_put(struct pg *pg, const uint8_t cluster[16], const char *ns,
                                 uint16_t part, const struct fb_feed_object *o,
                                 const char *sqlstate, const char *message, struct pg_error *err)
{
    struct dead_call *d = fb_xcalloc(1, sizeof *d);
    enum pg_class cls;
    (void)cluster;
    (void)message;
    d->image.part = part;
    d->image.ver = o->ver;
    d->image.kind = o->kind;
    fb_buf_put_bytes(&d->image.value, o->value);
    snprintf(d->image.sqlstate, sizeof d->image.sqlstate, "%s", sqlstate);
    pg_object_key(&d->key, ns, o->id);
    pg_object_key(&d->checkpoint, ns, fb_bytes(&part, sizeof part));
    if (pg_call(pg, &d->c, run_dead, err) != PG_OK)
        return err->class;
    cls = outcome(&d->c, err);
    fb_buf_fini(&d->key);
    fb_buf_fini(&d->checkpoint);
    pg_image_fini(&d->image);
    free(d);
    return cls;
}

static enum pg_class letters(struct pg *pg, const struct pg_letter_query *q, pg_dead_letter_fn fn,
                             void *arg, uint64_t *count, struct pg_error *err)
{
    struct list_call *l = fb_xcalloc(1, sizeof *l);
    enum pg_class cls;
    l->t = PG_T_DEAD;
    if (pg_call(pg, &l->c, run_list, err) != PG_OK)
        return err->class;
    cls = outcome(&l->c, err);
    *count = 0;
    for (size_t i = 0; cls == PG_OK && i < l->n && *count < q->limit; i++) {
        const char *name = (const char *)l->rows[i]->key.p;
        size_t n = strlen(name) + 1;
        struct pg_letter r = {.ours = true,
                              .part = l->images[i].part,
                              .ver = l->images[i].ver,
                              .id = fb_bytes(l->rows[i]->key.p + n, l->rows[i]->key.n - n),
                              .ns = name,
                              .id_text = "",
                              .sqlstate = l->images[i].sqlstate,
                              .message = "",
                              .at = "",
                              .kind = "",
                              .value_json = "null"};
        if ((q->ns != NULL && strcmp(q->ns, name) != 0) ||
            (q->id != NULL && !fb_bytes_equal(*q->id, r.id)))
            continue;
        ++*count;
        if (fn != NULL)
            fn(arg, &r);
    }
    list_free(l);
    return cls;
}

enum pg_class pg_dead_letter_list(struct pg *pg, const uint8_t cluster[16],
                                  const struct pg_letter_query *q, pg_dead_letter_fn fn, void *arg,
                                  struct pg_error *err)
{
    uint64_t count;
    (void)cluster;
    return letters(pg, q, fn, arg, &count, err);
}

enum pg_class pg_dead_letter_count(struct pg *pg, const uint8_t cluster[16], uint64_t *count,
                                   struct pg_error *err)
{
    const struct pg_letter_query all = {.limit = UINT32_MAX};
    (void)cluster;
    return letters(pg, &all, NULL, NULL, count, err);
}

/* ---- loads ---- */

struct load_call {
    struct pg_call c;
    struct fb_namespace ns;
    struct fb_load_rep *reps;
    struct fb_buf ids, bytes;
    size_t *id_at, *at, count;
};

static bool expired(const struct pg_session *s, const struct pg_image *i)
{
    return i->expires_ms != 0 && i->expires_ms <= (int64_t)pg_model_wall_ms(s->m);
}

static void load_one(struct pg_session *s, struct load_call *l, size_t n)
{
    struct fb_load_rep *rep = &l->reps[n];
    size_t end = n + 1 < l->count ? l->id_at[n + 1] : l->ids.n;
    struct fb_bytes id = fb_bytes(l->ids.p + l->id_at[n], end - l->id_at[n]);
    struct fb_buf key = {0};
    const struct pg_image *i;

    pg_object_key(&key, l->ns.name, fb_bytes(&rep->part, sizeof rep->part));
    i = pg_model_row(s->m, PG_T_CHECKPOINT, fb_buf_view(&key));
    fb_buf_fini(&key);
    rep->history = i == NULL ? 0 : i->history;
    rep->ckpt_ver = i == NULL ? 0 : i->ver;
    i = l->ns.mapped ? pg_model_row(s->m, pg_table_of(l->ns.table_name), id)
                     : pg_model_object(s->m, l->ns.name, id);
    rep->status = FB_LOAD_ABSENT;
    l->at[n] = l->bytes.n;
    if (i == NULL || (!l->ns.mapped && expired(s, i)))
        return;
    rep->status = FB_LOAD_FOUND;
    rep->xmin = (uint32_t)i->xid;
    if (l->ns.mapped) {
        rep->kind = pg_table_take(i, &l->ns, &l->bytes);
    } else {
        rep->kind = i->kind;
        rep->expires_ms = i->expires_ms;
        rep->stored_ver = i->ver;
        fb_buf_put_bytes(&l->bytes, fb_buf_view(&i->value));
    }
    rep->value.n = l->bytes.n - l->at[n];
}

static void run_load(struct pg_session *s, struct pg_call *c)
{
    struct load_call *l = (struct load_call *)c;
    if (!pg_statement(s, l->ns.mapped ? pg_table_of(l->ns.table_name) : PG_T_OBJECTS))
        return;
    for (size_t i = 0; i < l->count; i++)
        load_one(s, l, i);
}

enum pg_class pg_load(struct pg *pg, const uint8_t cluster[16], struct pg_load *q,
                      struct fb_buf *bytes, struct pg_error *err)
{
    struct load_call *l = fb_xcalloc(1, sizeof *l);
    bool answered;
    (void)cluster;
    l->ns = *q->ns;
    l->count = q->count;
    l->reps = fb_xcalloc(q->count + 1, sizeof *l->reps);
    l->id_at = fb_xcalloc(q->count + 1, sizeof(size_t));
    l->at = fb_xcalloc(q->count + 1, sizeof(size_t));
    for (size_t i = 0; i < q->count; i++) {
        l->reps[i].part = q->reqs[i].part;
        l->id_at[i] = l->ids.n;
        fb_buf_put_bytes(&l->ids, q->reqs[i].id);
    }
    answered = pg_call(pg, &l->c, run_load, err) == PG_OK;
    if (answered)
        (void)outcome(&l->c, err);
    for (size_t i = 0; i < q->count; i++) {
        q->reps[i] = (struct fb_load_rep){.status = FB_LOAD_DB_DOWN};
        if (answered && err->class == PG_OK)
            q->reps[i] = l->reps[i];
        else if (err->class != PG_OUTAGE && err->class != PG_RETRY)
            q->reps[i].status = FB_LOAD_REFUSED;
        q->reps[i].part = q->reqs[i].part;
        q->reps[i].token = q->reqs[i].token;
        q->reps[i].ns = q->reqs[i].ns;
        q->reps[i].id = q->reqs[i].id;
    }
    if (answered && err->class == PG_OK) {
        size_t from = bytes->n;
        fb_buf_put_bytes(bytes, fb_buf_view(&l->bytes));
        for (size_t i = 0; i < q->count; i++)
            q->reps[i].value = q->reps[i].value.n == 0
                                   ? fb_bytes("", 0)
                                   : fb_bytes(bytes->p + from + l->at[i], q->reps[i].value.n);
    }
    if (!answered)
        return err->class;
    fb_buf_fini(&l->ids);
    fb_buf_fini(&l->bytes);
    free(l->reps);
    free(l->id_at);
    free(l->at);
    free(l);
    return err->class == PG_OUTAGE ? PG_OUTAGE : (err->class = PG_OK);
}

/* ---- the rest ---- */

enum pg_class pg_check(struct pg *pg, const struct fb_nsset *namespaces, pg_check_fn say, void *arg,
                       struct pg_error *err)
{
    (void)pg;
    (void)namespaces;
    (void)say;
    (void)arg;
    *err = (struct pg_error){.class = PG_OK, .feed = UINT32_MAX};
    return PG_OK;
}

static void run_nothing(struct pg_session *s, struct pg_call *c)
{
    (void)c;
    (void)pg_statement(s, PG_TABLES);
}

static enum pg_class ask(struct pg *pg, struct pg_error *err)
{
    struct pg_call *c = fb_xcalloc(1, sizeof *c);
    enum pg_class cls;
    if (pg_call(pg, c, run_nothing, err) != PG_OK)
        return err->class;
    cls = outcome(c, err);
    free(c);
    return cls;
}

/* The log of conflicts is for people: nothing here reads it. */
enum pg_class pg_conflict_put(struct pg *pg, const uint8_t cluster[16], const struct pg_batch *b,
                              struct pg_error *err)
{
    (void)cluster;
    (void)b;
    return ask(pg, err);
}

enum pg_class pg_conflict_done(struct pg *pg, const uint8_t cluster[16], const char *ns,
                               struct fb_bytes id, uint64_t ver, const char *outcome_,
                               struct pg_error *err)
{
    (void)cluster;
    (void)ns;
    (void)id;
    (void)ver;
    (void)outcome_;
    return ask(pg, err);
}

enum pg_class pg_conflict_list(struct pg *pg, const uint8_t cluster[16], const char *ns,
                               uint32_t limit, pg_conflict_fn fn, void *arg, struct pg_error *err)
{
    (void)cluster;
    (void)ns;
    (void)limit;
    (void)fn;
    (void)arg;
    return ask(pg, err);
}

enum pg_class pg_read_schema(struct pg *pg, const struct fb_namespace *ns, struct fb_schema **out,
                             struct pg_error *err)
{
    enum pg_class cls = ask(pg, err);
    *out = cls == PG_OK ? pg_table_schema(pg_the_model, ns) : NULL;
    return cls;
}

enum pg_class pg_read_standbys(struct pg *pg, struct pg_standbys *out, struct pg_error *err)
{
    struct pg_model *m = pg_the_model;
    enum pg_class cls = ask(pg, err);
    *out = (struct pg_standbys){.server = m->started_ms,
                                .sync_names = m->standby == PG_SYNC,
                                .streaming = m->standby != PG_ALONE,
                                .clock_ms = (int64_t)pg_model_clock_ms(m)};
    return cls;
}

enum pg_class pg_lsn(struct pg *pg, char out[32], struct pg_error *err)
{
    snprintf(out, 32, "0/%llX", (unsigned long long)pg_the_model->next_xid);
    return ask(pg, err);
}

struct sweep_call {
    struct pg_call c;
    uint64_t before_ms, limit, swept;
    struct pg_session *s;
};

static void sweep_row(void *arg, struct pg_row *r)
{
    struct sweep_call *w = arg;
    if (!r->now.exists || r->now.expires_ms == 0 || r->now.expires_ms >= (int64_t)w->before_ms ||
        r->locker != NULL || w->swept >= w->limit)
        return;
    (void)pg_lock(w->s, r);
    pg_change(w->s, r)->exists = false;
    w->swept++;
}

static void run_sweep(struct pg_session *s, struct pg_call *c)
{
    struct sweep_call *w = (struct sweep_call *)c;
    w->s = s;
    if (!pg_statement(s, PG_T_OBJECTS))
        return;
    w->before_ms = pg_model_wall_ms(s->m) - w->before_ms;
    pg_each(s->m, PG_T_OBJECTS, sweep_row, w);
    pg_commit(s);
}

enum pg_class pg_sweep_objects(struct pg *pg, uint32_t age_ms, uint32_t limit, uint64_t *swept,
                               struct pg_error *err)
{
    struct sweep_call *w = fb_xcalloc(1, sizeof *w);
    enum pg_class cls;
    w->before_ms = age_ms;
    w->limit = limit;
    *swept = 0;
    if (pg_call(pg, &w->c, run_sweep, err) != PG_OK)
        return err->class;
    cls = outcome(&w->c, err);
    *swept = w->swept;
    free(w);
    return cls;
}
