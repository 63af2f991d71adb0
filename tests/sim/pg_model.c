/* Rows, locks, transactions, and what a standby has not seen (pg_model.h). */
#include "tests/sim/pg_impl.h"

#include "proto/base/hash.h"
#include "tests/sim/node_proc.h"
#include "tests/sim/pg_check.h"
#include "tests/sim/raw.h"

#include <stdio.h>
#include <stdlib.h>

#define UNDO_KEEP_NS (60 * SIM_S)

void pg_image_fini(struct pg_image *i)
{
    fb_buf_fini(&i->value);
    *i = (struct pg_image){0};
}

void pg_image_copy(struct pg_image *to, const struct pg_image *from)
{
    struct fb_buf value = to->value;
    fb_buf_clear(&value);
    fb_buf_put_bytes(&value, fb_buf_view(&from->value));
    *to = *from;
    to->value = value;
}

struct pg_row *pg_row_find(struct pg_model *m, enum pg_table t, struct fb_bytes key, bool make)
{
    struct pg_row **at = &m->bucket[t][fb_hash64(key.p, key.n, 0) % PG_BUCKETS];
    for (; *at != NULL; at = &(*at)->next)
        if (fb_bytes_equal(fb_buf_view(&(*at)->key), key))
            return *at;
    if (!make)
        return NULL;
    *at = fb_xcalloc(1, sizeof **at);
    (*at)->table = t;
    fb_buf_put_bytes(&(*at)->key, key);
    return *at;
}

void pg_each(struct pg_model *m, enum pg_table t, void (*fn)(void *arg, struct pg_row *r),
             void *arg)
{
    for (uint32_t i = 0; i < PG_BUCKETS; i++)
        for (struct pg_row *r = m->bucket[t][i]; r != NULL; r = r->next)
            fn(arg, r);
}

const struct pg_image *pg_see(const struct pg_session *s, const struct pg_row *r)
{
    return r->locker == s && r->changed ? &r->next_image : &r->now;
}

bool pg_fail(struct pg_session *s, const char *sqlstate, const char *text)
{
    s->err = (struct pg_error){.class = pg_classify(sqlstate), .feed = UINT32_MAX};
    snprintf(s->err.sqlstate, sizeof s->err.sqlstate, "%s", sqlstate);
    snprintf(s->err.message, sizeof s->err.message, "%s", text);
    snprintf(s->err.remark, sizeof s->err.remark, "%s", text);
    return false;
}

/* ---- locks ---- */

/* Would waiting for `r` close a circle? */
static bool deadlock(const struct pg_session *s, const struct pg_row *r)
{
    const struct pg_session *holder = r->locker;
    for (uint32_t i = 0; i < PG_SESSIONS_MAX && holder != NULL; i++) {
        if (holder == s)
            return true;
        if (holder->waits_for == NULL)
            return false;
        holder = holder->waits_for->locker;
    }
    return false;
}

static bool ended(struct pg_session *s)
{
    if (!s->terminate)
        return false;
    snprintf(s->fatal, sizeof s->fatal, "57P01");
    (void)pg_fail(s, "57P01", "terminating connection due to administrator command");
    return true;
}

uint64_t pg_lock_until(const struct pg_session *s)
{
    return sim_now_ns(s->m->sim) + (s->lock_wait_ns > 0 ? s->lock_wait_ns : SIM_S);
}

bool pg_lock(struct pg_session *s, struct pg_row *r)
{
    uint64_t until = pg_lock_until(s);
    while (r->locker != NULL && r->locker != s) {
        if (ended(s))
            return false;
        if (deadlock(s, r))
            return pg_fail(s, "40P01", "deadlock detected");
        if (sim_now_ns(s->m->sim) >= until)
            return pg_fail(s, "55P03", "canceling statement due to lock timeout");
        s->waits_for = r;
        (void)sim_wait(&r->waiting, until);
        s->waits_for = NULL;
    }
    if (r->locker == NULL) {
        r->locker = s;
        r->changed = false;
        r->next_locked = s->locked;
        s->locked = r;
    }
    return true;
}

uint64_t pg_xid(struct pg_session *s)
{
    if (s->xid == 0)
        s->xid = s->m->next_xid++;
    return s->xid;
}

struct pg_image *pg_change(struct pg_session *s, struct pg_row *r)
{
    fb_assert(r->locker == s);
    if (!r->changed)
        pg_image_copy(&r->next_image, &r->now);
    r->changed = true;
    r->next_image.xid = pg_xid(s);
    return &r->next_image;
}

static void forget_old(struct pg_model *m)
{
    uint64_t now = sim_now_ns(m->sim);
    size_t n = 0;
    while (n < m->undo_n && m->undo[n].at_ns + UNDO_KEEP_NS < now)
        pg_image_fini(&m->undo[n++].was);
    if (n == 0)
        return;
    memmove(m->undo, m->undo + n, (m->undo_n - n) * sizeof *m->undo);
    m->undo_n -= n;
}

static void remember(struct pg_model *m, struct pg_row *r, uint64_t xid)
{
    if (m->undo_n == m->undo_cap) {
        forget_old(m);
        if (m->undo_n * 2 > m->undo_cap || m->undo_cap == 0) {
            m->undo_cap = m->undo_cap == 0 ? 256 : m->undo_cap * 2;
            m->undo = fb_xrealloc(m->undo, m->undo_cap * sizeof *m->undo);
        }
    }
    m->undo[m->undo_n] = (struct pg_undo){.at_ns = sim_now_ns(m->sim), .xid = xid, .row = r};
    m->undo[m->undo_n].was = (struct pg_image){0};
    pg_image_copy(&m->undo[m->undo_n++].was, &r->now);
}

static void tell(struct pg_model *m, struct pg_row *r, const struct pg_image *was, bool lost)
{
    for (uint32_t i = 0; i < m->observer_n; i++)
        if (m->observer[i].changed != NULL)
            m->observer[i].changed(m->observer[i].arg, r->table, fb_buf_view(&r->key), was, &r->now,
                                   lost);
}

static void release(struct pg_session *s)
{
    while (s->locked != NULL) {
        struct pg_row *r = s->locked;
        s->locked = r->next_locked;
        r->locker = NULL;
        r->changed = false;
        sim_wake_all(&r->waiting);
    }
    s->open = false;
    s->ours = false;
    s->xid = 0;
}

void pg_commit(struct pg_session *s)
{
    struct pg_model *m = s->m;
    bool ours = s->ours, any = false;
    for (struct pg_row *r = s->locked; r != NULL; r = r->next_locked) {
        struct pg_image was = {0};
        if (!r->changed)
            continue;
        any = true;
        remember(m, r, s->xid);
        pg_image_copy(&was, &r->now);
        pg_image_copy(&r->now, &r->next_image);
        tell(m, r, &was, false);
        if (ours && r->table >= PG_T_TEAM)
            pg_check_ours(fb_buf_view(&r->key), r->table, s->xid);
        pg_image_fini(&was);
    }
    if (any)
        sim_trace(m->sim, "postgres commits %llu of session %llu%s%s", (unsigned long long)s->xid,
                  (unsigned long long)s->number, s->client == NULL ? "" : ", ",
                  s->client == NULL ? "" : s->client->name);
    release(s);
    for (uint32_t i = 0; i < m->observer_n && any; i++)
        if (m->observer[i].committed != NULL)
            m->observer[i].committed(m->observer[i].arg, ours);
}

void pg_rollback(struct pg_session *s)
{
    if (s->locked != NULL)
        sim_trace(s->m->sim, "postgres rolls session %llu back", (unsigned long long)s->number);
    release(s);
}

/* ---- statements ---- */

bool pg_statement(struct pg_session *s, enum pg_table t)
{
    struct pg_model *m = s->m;
    uint64_t until = pg_lock_until(s);
    sim_sleep(sim_spread(m->sim, SIM_PG, 10 * SIM_US, 2 * SIM_MS));
    if (sim_strikes(m->sim, SIM_PG, SIM_FAULT_PG_KILL, 3000))
        s->terminate = true;
    if (sim_strikes(m->sim, SIM_PG, SIM_FAULT_PG_SLOW, 2000))
        sim_sleep(sim_spread(m->sim, SIM_PG, 20 * SIM_MS, 20 * SIM_S));
    if (ended(s))
        return false;
    if (sim_strikes(m->sim, SIM_PG, SIM_FAULT_PG_RETRY, 3000))
        return pg_fail(s, "40001", "could not serialize access");
    if (m->full && s->open && s->client != NULL)
        return pg_fail(s, "53100", "could not extend file: No space left on device");
    if (t == PG_TABLES)
        return true;
    while (m->table_locked[t]) {
        if (sim_now_ns(m->sim) >= until)
            return pg_fail(s, "55P03", "canceling statement due to lock timeout");
        (void)sim_wait(&m->table_wait[t], until);
        if (ended(s))
            return false;
    }
    if (m->table_gone[t])
        return pg_fail(s, "42P01", "relation does not exist");
    return true;
}

/* ---- what others may ask ---- */

const struct pg_image *pg_model_row(const struct pg_model *m, enum pg_table t, struct fb_bytes key)
{
    const struct pg_row *r = pg_row_find((struct pg_model *)(uintptr_t)m, t, key, false);
    return r == NULL || !r->now.exists ? NULL : &r->now;
}

void pg_object_key(struct fb_buf *out, const char *ns, struct fb_bytes id)
{
    fb_buf_put_str(out, ns);
    fb_buf_put_u8(out, 0);
    fb_buf_put_bytes(out, id);
}

static const struct pg_image *row_of(const struct pg_model *m, enum pg_table t, const char *ns,
                                     struct fb_bytes id)
{
    struct fb_buf key = {0};
    const struct pg_image *i;
    pg_object_key(&key, ns, id);
    i = pg_model_row(m, t, fb_buf_view(&key));
    fb_buf_fini(&key);
    return i;
}

const struct pg_image *pg_model_object(const struct pg_model *m, const char *ns, struct fb_bytes id)
{
    return row_of(m, PG_T_OBJECTS, ns, id);
}

const struct pg_image *pg_model_dead(const struct pg_model *m, const char *ns, struct fb_bytes id)
{
    return row_of(m, PG_T_DEAD, ns, id);
}

bool pg_model_key(const struct world *w, const char *key, struct raw_row *out)
{
    uint8_t ns_len;
    uint32_t ns = fb_nsset_of_key(w->namespaces, fb_bytes_str(key), &ns_len);
    const char *name = w->namespaces->ns[ns].name;
    struct fb_bytes id = fb_key_id(fb_bytes_str(key), ns_len);
    const struct pg_image *i = pg_model_object(w->pg, name, id);
    if (i != NULL) {
        out->there = true;
        out->ver = i->ver;
        out->kind = i->kind;
        out->expires_ms = i->expires_ms;
        out->value = i->value;
    }
    return pg_model_dead(w->pg, name, id) != NULL;
}

uint64_t pg_model_checkpoint(const struct pg_model *m, const char *ns, uint16_t part)
{
    const struct pg_image *i = row_of(m, PG_T_CHECKPOINT, ns, fb_bytes(&part, sizeof part));
    return i == NULL ? 0 : i->ver;
}

bool pg_model_refuses(const struct pg_model *m, struct fb_bytes value)
{
    return m->poison != 0 && fb_hash64(value.p, value.n, 77) % m->poison == 0;
}

uint64_t pg_model_clock_ms(const struct pg_model *m)
{
    return sim_clock_wall_ms((struct sim_clock *)(uintptr_t)&m->clock);
}

uint64_t pg_model_wall_ms(const struct pg_model *m)
{
    uint64_t ours = sim_clock_wall_ms((struct sim_clock *)(uintptr_t)&m->clock),
             node = node_proc_wall_ms(m->w);
    return ours < node ? ours : node;
}

void pg_model_observe(struct pg_model *m, const struct pg_observer *o)
{
    fb_assert(m->observer_n < FB_COUNT_OF(m->observer));
    m->observer[m->observer_n++] = *o;
}

void pg_model_client_gone(struct pg_model *m, const struct sim_proc *p)
{
    for (uint32_t i = 0; i < PG_SESSIONS_MAX; i++) {
        struct pg_session *s = m->session[i];
        if (s == NULL || !s->used || s->client != p)
            continue;
        s->client_gone = true;
        sim_wake_all(&s->server);
    }
}

void pg_model_regress(struct pg_model *m, uint64_t ns)
{
    uint64_t now = sim_now_ns(m->sim), from = ns > now ? 0 : now - ns;
    size_t n = 0;
    while (m->undo_n > 0 && m->undo[m->undo_n - 1].at_ns > from) {
        struct pg_undo *u = &m->undo[--m->undo_n];
        struct pg_image was = {0};
        pg_image_copy(&was, &u->row->now);
        pg_image_copy(&u->row->now, &u->was);
        /* numbers of transactions that nobody has heard of are given out again */
        if (u->xid < m->next_xid)
            m->next_xid = u->xid;
        tell(m, u->row, &was, true);
        pg_image_fini(&was);
        pg_image_fini(&u->was);
        n++;
    }
    pg_check_failed_over();
    sim_trace(m->sim, "postgres loses %zu changes of the last %llu ms", n,
              (unsigned long long)(ns / SIM_MS));
}
