/* The coordinator model (coord.h). */
#include "tests/sim/coord.h"

#include "proto/cluster/record_next.h"
#include "proto/coord/backend.h"
#include "tests/sim/net.h"

#include <stdio.h>
#include <stdlib.h>

#define CALL_TIMEOUT_NS (5 * SIM_S)
#define WATCHERS_MAX 16u

struct entry {
    char *key;
    struct fb_buf value;
    uint64_t rev;
    bool session;
    struct sim_proc *by; /* of the session */
    uint64_t by_number;
};

struct sim_coord {
    struct sim *sim;
    const struct sim_wire *wire;
    struct entry *e;
    uint32_t n, cap;
    uint64_t rev, away_until_ns, failures;
    struct sim_waitq waiting;
    struct {
        sim_fn fn;
        void *arg;
        bool due;
    } watch[WATCHERS_MAX];
    uint32_t watch_n;
    uint32_t (*log_epoch)(void *arg, uint16_t part);
    void *log_arg;
};

struct client { /* one handle of a real process */
    struct fb_coord base;
    struct sim_proc *proc;
    uint64_t number;
    bool session;
    uint64_t seen_alive;
    bool woken;
};

static struct sim_coord *the_coord;

/* ---- the store ---- */

static struct entry *find(struct sim_coord *c, const char *key)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (strcmp(c->e[i].key, key) == 0)
            return &c->e[i];
    return NULL;
}

static bool alive(const struct entry *e)
{
    return !e->session || (e->by->alive && e->by->number == e->by_number);
}

static void watch_ev(void *arg, uint64_t tag)
{
    struct sim_coord *c = arg;
    c->watch[tag].due = false;
    c->watch[tag].fn(c->watch[tag].arg, 0);
}

static void changed(struct sim_coord *c)
{
    c->rev++;
    sim_wake_all(&c->waiting);
    for (uint32_t i = 0; i < c->watch_n; i++) {
        if (c->watch[i].due)
            continue;
        uint64_t delay = sim_spread(c->sim, SIM_COORD, SIM_MS, 20 * SIM_MS);
        if (sim_strikes(c->sim, SIM_COORD, SIM_FAULT_COORD_SLOW, 50000))
            delay = sim_spread(c->sim, SIM_COORD, 20 * SIM_MS, 5 * SIM_S);
        c->watch[i].due = true;
        sim_after(c->sim, delay, watch_ev, c, i);
    }
}

static void drop(struct sim_coord *c, struct entry *e)
{
    free(e->key);
    fb_buf_fini(&e->value);
    memmove(e, e + 1, (size_t)(&c->e[--c->n] - e) * sizeof *e);
}

/* I1: an epoch of a partition has one primary; I2: epochs and histories never go back. */
static void check_part(struct sim_coord *c, const char *key, struct fb_bytes was,
                       struct fb_bytes is)
{
    struct fb_part_record a = {0}, b = {0};
    struct fb_err err = {0};
    unsigned part;
    if (was.n > 0 && fb_part_record_decode(was, &a, &err) != FB_OK)
        sim_violation(c->sim, "coordinator", "%s held what is no record: %s", key, err.msg);
    if (fb_part_record_decode(is, &b, &err) != FB_OK)
        sim_violation(c->sim, "coordinator", "%s: what was put is no record: %s", key, err.msg);
    if (b.epoch < a.epoch || b.history < a.history)
        sim_violation(c->sim, "I2", "%s goes back from epoch %u to %u", key, a.epoch, b.epoch);
    if (b.epoch == a.epoch && a.epoch != 0 && b.primary.inc != a.primary.inc)
        sim_violation(c->sim, "I1", "%s: epoch %u gets a second primary", key, b.epoch);
    /* I34: it was restored, and who knows better does not build on it */
    if (c->log_epoch != NULL && sscanf(key, "part/%u", &part) == 1 &&
        a.epoch < c->log_epoch(c->log_arg, (uint16_t)part))
        sim_violation(c->sim, "I34", "%s of epoch %u is changed, and the log has epoch %u", key,
                      a.epoch, c->log_epoch(c->log_arg, (uint16_t)part));
}

static void put(struct sim_coord *c, const char *key, struct fb_bytes value, uint64_t rev,
                struct sim_proc *by, uint64_t by_number)
{
    struct entry *e = find(c, key);
    if (value.p == NULL) {
        if (e != NULL)
            drop(c, e);
        return;
    }
    if (e == NULL) {
        uint32_t i = c->n;
        if (c->n == c->cap) {
            c->cap = c->cap == 0 ? 64 : c->cap * 2;
            c->e = fb_xrealloc(c->e, c->cap * sizeof *c->e);
        }
        for (; i > 0 && strcmp(c->e[i - 1].key, key) > 0; i--)
            c->e[i] = c->e[i - 1];
        c->n++;
        e = &c->e[i];
        *e = (struct entry){.key = fb_xstrdup(key)};
    }
    fb_buf_clear(&e->value);
    fb_buf_put_bytes(&e->value, value);
    e->rev = rev;
    e->session = by != NULL;
    e->by = by;
    e->by_number = by_number;
}

void sim_coord_put(struct sim_coord *c, const char *key, const char *value)
{
    changed(c);
    put(c, key, value == NULL ? fb_bytes(NULL, 0) : fb_bytes_str(value), c->rev, NULL, 0);
}

void sim_coord_force(struct sim_coord *c, const char *key, struct fb_bytes value)
{
    changed(c);
    put(c, key, value, c->rev, NULL, 0);
}

void sim_coord_log_epochs(struct sim_coord *c, uint32_t (*epoch)(void *arg, uint16_t part),
                          void *arg)
{
    c->log_epoch = epoch;
    c->log_arg = arg;
}

struct sim_coord *sim_coord_new(struct sim *s, const uint8_t cluster[16], uint32_t partitions,
                                const char *config)
{
    struct sim_coord *c = fb_xcalloc(1, sizeof *c);
    struct fb_buf meta = {0};
    c->sim = s;
    fb_buf_put_str(&meta, "{\"cluster\": \"");
    for (int i = 0; i < 16; i++)
        fb_buf_printf(&meta, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                      cluster[i]);
    fb_buf_printf(&meta, "\", \"partitions\": %u, \"seed\": \"%016llx\"}", partitions,
                  (unsigned long long)sim_rand(s, SIM_COORD));
    fb_buf_put_u8(&meta, 0);
    sim_coord_put(c, "meta", (const char *)meta.p);
    if (config != NULL)
        sim_coord_put(c, "config", config);
    fb_buf_fini(&meta);
    the_coord = c;
    return c;
}

void sim_coord_wire(struct sim_coord *c, const struct sim_wire *w)
{
    c->wire = w;
}

/* Is the process whose code runs cut off? */
static bool cut_off(const struct sim_coord *c)
{
    const char *name = sim_self()->name;
    return c->wire != NULL && (sim_wire_cut_until(c->wire, name, SIM_COORD_NAME) != 0 ||
                               sim_wire_cut_until(c->wire, SIM_COORD_NAME, name) != 0);
}

void sim_coord_free(struct sim_coord *c)
{
    while (c->n > 0)
        drop(c, &c->e[c->n - 1]);
    free(c->e);
    free(c);
}

void sim_coord_list(struct sim_coord *c, struct fb_coord_list *out)
{
    *out = (struct fb_coord_list){.rev = c->rev, .count = c->n};
    out->kv = fb_xcalloc(c->n + 1, sizeof *out->kv);
    for (uint32_t i = 0; i < c->n; i++) {
        uint8_t *copy = fb_xmalloc(c->e[i].value.n + 1);
        memcpy(copy, c->e[i].value.p, c->e[i].value.n);
        out->kv[i] = (struct fb_coord_kv){.key = fb_xstrdup(c->e[i].key),
                                          .value = fb_bytes(copy, c->e[i].value.n),
                                          .rev = c->e[i].rev,
                                          .alive = alive(&c->e[i])};
    }
}

void sim_coord_watch(struct sim_coord *c, sim_fn fn, void *arg)
{
    fb_assert(c->watch_n < WATCHERS_MAX);
    c->watch[c->watch_n].fn = fn;
    c->watch[c->watch_n++].arg = arg;
}

uint64_t sim_coord_rev(const struct sim_coord *c)
{
    return c->rev;
}

void sim_coord_epochs(struct sim_coord *c, uint64_t *rev, uint32_t *epoch)
{
    if (c->rev == *rev)
        return;
    *rev = c->rev;
    for (uint32_t i = 0; i < c->n; i++) {
        struct fb_part_record rec;
        struct fb_err err;
        unsigned p;
        if (sscanf(c->e[i].key, "part/%u", &p) == 1 &&
            fb_part_record_decode(fb_buf_view(&c->e[i].value), &rec, &err) == FB_OK)
            epoch[p] = rec.epoch;
    }
}

uint32_t sim_coord_in_sync(struct sim_coord *c, uint32_t part)
{
    struct fb_part_record rec;
    struct fb_err err;
    char key[32];
    const struct entry *e;
    snprintf(key, sizeof key, "part/%u", part);
    e = find(c, key);
    return e != NULL && fb_part_record_decode(fb_buf_view(&e->value), &rec, &err) == FB_OK
               ? rec.isr_count
               : 0;
}

uint64_t sim_coord_failures(const struct sim_coord *c)
{
    return c->failures;
}

void sim_coord_away_until(struct sim_coord *c, uint64_t ns)
{
    c->away_until_ns = ns;
}

/* ---- for real processes ---- */

/* The way there; false: no answer in time. */
static bool travel(struct sim_coord *c)
{
    uint64_t ns = sim_spread(c->sim, SIM_COORD, 100 * SIM_US, 5 * SIM_MS);
    if (sim_strikes(c->sim, SIM_COORD, SIM_FAULT_COORD_SLOW, 20000))
        ns = sim_spread(c->sim, SIM_COORD, 5 * SIM_MS, 4 * SIM_S);
    if (sim_strikes(c->sim, SIM_COORD, SIM_FAULT_COORD_AWAY, 3000)) {
        uint64_t away = sim_spread(c->sim, SIM_COORD, 50 * SIM_MS, 15 * SIM_S);
        sim_trace(c->sim, "coordinator does not answer for %llu ms",
                  (unsigned long long)(away / SIM_MS));
        c->away_until_ns = sim_now_ns(c->sim) + away;
    }
    sim_sleep(ns);
    if (sim_healed(c->sim) || (sim_now_ns(c->sim) >= c->away_until_ns && !cut_off(c)))
        return true;
    sim_sleep(CALL_TIMEOUT_NS);
    c->failures++;
    return false;
}

static enum fb_status no_answer(struct fb_err *err)
{
    return fb_err_set(err, FB_ETIMEOUT, "the coordinator does not answer");
}

static enum fb_status co_list(struct fb_coord *base, const char *prefix, struct fb_coord_list *out,
                              struct fb_err *err)
{
    struct fb_coord_list all;
    size_t n = 0;
    (void)base;
    if (!travel(the_coord))
        return no_answer(err);
    sim_coord_list(the_coord, &all);
    for (size_t i = 0; i < all.count; i++) {
        struct fb_coord_kv kv = all.kv[i];
        if (strncmp(kv.key, prefix, strlen(prefix)) == 0) {
            all.kv[n++] = kv;
        } else {
            free(kv.key);
            free((void *)(uintptr_t)kv.value.p);
        }
    }
    all.count = n;
    *out = all;
    return FB_OK;
}

static enum fb_status co_get(struct fb_coord *base, const char *key, struct fb_buf *value,
                             uint64_t *rev, struct fb_err *err)
{
    struct entry *e;
    (void)base;
    if (!travel(the_coord))
        return no_answer(err);
    e = find(the_coord, key);
    if (e == NULL)
        return fb_err_set(err, FB_ENOENT, "no key %s", key);
    fb_buf_put_bytes(value, fb_buf_view(&e->value));
    if (rev != NULL)
        *rev = e->rev;
    return FB_OK;
}

/* A transaction with its own copies of everything, so that it can execute later. */
struct txn {
    size_t count;
    struct sim_proc *by;
    uint64_t by_number;
    struct {
        char key[64];
        uint64_t rev;
        struct fb_buf value;
        bool erase, session;
    } op[];
};

static struct txn *txn_of(const struct client *cl, const struct fb_coord_op *ops, size_t count)
{
    struct txn *t = fb_xcalloc(1, sizeof *t + count * sizeof t->op[0]);
    t->count = count;
    t->by = cl->proc;
    t->by_number = cl->number;
    for (size_t i = 0; i < count; i++) {
        fb_assert(strlen(ops[i].key) < sizeof t->op[i].key);
        memcpy(t->op[i].key, ops[i].key, strlen(ops[i].key) + 1);
        t->op[i].rev = ops[i].rev;
        t->op[i].erase = ops[i].value.p == NULL;
        t->op[i].session = ops[i].session;
        fb_buf_put_bytes(&t->op[i].value, ops[i].value);
    }
    return t;
}

static void txn_free(struct txn *t)
{
    for (size_t i = 0; i < t->count; i++)
        fb_buf_fini(&t->op[i].value);
    free(t);
}

static struct fb_bytes value_of(struct sim_coord *c, const char *key)
{
    const struct entry *e = find(c, key);
    return e != NULL ? fb_buf_view(&e->value) : fb_bytes("", 0);
}

static bool txn_execute(struct sim_coord *c, struct txn *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct entry *e = find(c, t->op[i].key);
        if (t->op[i].rev != UINT64_MAX && t->op[i].rev != (e == NULL ? 0 : e->rev))
            return false;
    }
    changed(c);
    for (size_t i = 0; i < t->count; i++) {
        struct fb_bytes v = fb_buf_view(&t->op[i].value);
        if (t->op[i].erase)
            v.p = NULL;
        if (strncmp(t->op[i].key, "part/", 5) == 0 && v.p != NULL)
            check_part(c, t->op[i].key, value_of(c, t->op[i].key), v);
        put(c, t->op[i].key, v, c->rev, t->op[i].session ? t->by : NULL, t->by_number);
        sim_trace(c->sim, "coordinator %s at revision %llu", t->op[i].key,
                  (unsigned long long)c->rev);
    }
    return true;
}

/* Who dies, and what it was: such a one that comes late hides the living. */
static bool of_session(const struct txn *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->op[i].session)
            return true;
    return false;
}

static void late_ev(void *arg, uint64_t tag)
{
    struct txn *t = arg;
    (void)tag;
    bool done = txn_execute(the_coord, t);
    sim_trace(the_coord->sim, "coordinator executes a transaction of the past: %s",
              done ? "done" : "mismatch");
    txn_free(t);
}

static enum fb_status co_txn(struct fb_coord *base, const struct fb_coord_op *ops, size_t count,
                             uint64_t *rev, struct fb_err *err)
{
    struct client *cl = (struct client *)(void *)base;
    struct sim_coord *c = the_coord;
    struct txn *t = txn_of(cl, ops, count);
    bool reached = travel(c), done;

    if (!reached && sim_strikes(c->sim, SIM_COORD, SIM_FAULT_COORD_LATE, 300000)) {
        sim_after(c->sim, sim_spread(c->sim, SIM_COORD, SIM_MS, 20 * SIM_S), late_ev, t, 0);
        return fb_err_set(err, FB_EUNKNOWN, "the coordinator did not answer");
    }
    if (!reached) {
        txn_free(t);
        return fb_err_set(err, FB_EUNKNOWN, "the coordinator did not answer");
    }
    if (sim_strikes(c->sim, SIM_COORD, SIM_FAULT_COORD_LATE, of_session(t) ? 100000 : 20000)) {
        sim_after(c->sim, sim_spread(c->sim, SIM_COORD, SIM_MS, 20 * SIM_S), late_ev, t, 0);
        c->failures++;
        return fb_err_set(err, FB_EUNKNOWN, "the connection to the coordinator broke");
    }
    if (sim_strikes(c->sim, SIM_COORD, SIM_FAULT_COORD_UNKNOWN, 30000)) {
        if (sim_chance(c->sim, SIM_COORD, 500000))
            (void)txn_execute(c, t);
        txn_free(t);
        c->failures++;
        return fb_err_set(err, FB_EUNKNOWN, "the connection to the coordinator broke");
    }
    done = txn_execute(c, t);
    *rev = c->rev;
    txn_free(t);
    sim_sleep(sim_spread(c->sim, SIM_COORD, 100 * SIM_US, 5 * SIM_MS)); /* the way back */
    return done ? FB_OK : fb_err_set(err, FB_EMISMATCH, "another revision");
}

static enum fb_status co_wait(struct fb_coord *base, uint64_t seen_rev, uint32_t timeout_ms)
{
    struct client *cl = (struct client *)(void *)base;
    struct sim_coord *c = the_coord;
    uint64_t until = sim_now_ns(c->sim) + timeout_ms * SIM_MS;
    /* A hint that is lost: only time ends the wait. */
    bool deaf = sim_strikes(c->sim, SIM_COORD, SIM_FAULT_COORD_SLOW, 50000) || cut_off(c);
    struct sim_waitq nobody = {0};
    while (sim_now_ns(c->sim) < until && !cl->woken && (deaf || c->rev == seen_rev))
        (void)sim_wait(deaf ? &nobody : &c->waiting, until);
    cl->woken = false;
    return !deaf && c->rev != seen_rev ? FB_OK : FB_ETIMEOUT;
}

static void co_wake(struct fb_coord *base)
{
    struct client *cl = (struct client *)(void *)base;
    cl->woken = true;
    sim_wake_all(&the_coord->waiting);
}

static enum fb_status co_session(struct fb_coord *base, const char *name, struct fb_err *err)
{
    (void)base;
    (void)name;
    return travel(the_coord) ? FB_OK : no_answer(err);
}

static void co_close(struct fb_coord *base)
{
    free(base);
}

enum fb_status fb_coord_file_open(const char *dir, bool create, struct fb_coord **out,
                                  struct fb_err *err)
{
    static const struct fb_coord_ops ops = {.close = co_close,
                                            .list = co_list,
                                            .txn = co_txn,
                                            .get = co_get,
                                            .wait = co_wait,
                                            .wake = co_wake,
                                            .session = co_session};
    struct client *cl;
    (void)dir;
    (void)create;
    if (!travel(the_coord))
        return no_answer(err);
    cl = fb_xcalloc(1, sizeof *cl);
    cl->base.ops = &ops;
    cl->proc = sim_self();
    cl->number = sim_self()->number;
    *out = &cl->base;
    return FB_OK;
}

/* Simulated processes are told a file: URL. */
enum fb_status fb_coord_etcd_open(const char *url, bool create, struct fb_coord **out,
                                  struct fb_err *err)
{
    (void)create;
    (void)out;
    return fb_err_set(err, FB_EUNSUPPORTED, "coordinator \"%s\": not in the simulator", url);
}
