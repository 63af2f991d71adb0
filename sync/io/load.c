/* Loads: everything that waits is answered with one statement per namespace (PROTOCOL 13). Nothing
 * is held back to make batches larger: while one statement runs, the next one gathers. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/rt/watchdog.h"
#include "sync/io/process.h"

#include <stdio.h>
#include <stdlib.h>

#define STATEMENT_ROWS_MAX 1000u

/* Somebody keeps a table locked: what asks for it is answered at once, and now and then it is
 * looked whether that is over, for a moment that the other namespaces can spare. */
#define LOCKED_PAUSE_NS 500000000u
#define LOCKED_WAIT_MS 100u
#define LOCKED_MAX 16u

struct locked {
    uint64_t mapping; /* 0: free */
    uint64_t until_ns;
};

struct sync_loader {
    struct sync_process *p;
    struct fb_mailbox *box;
    struct fb_thread *thread;
    struct pg *pg;
    uint64_t conninfo_gen;
    uint64_t counted; /* in process.memory_loads */
    _Atomic bool stop;
    struct locked locked[LOCKED_MAX];
    struct fb_counter *found, *absent, *down, *refused;
    struct fb_histogram *duration;
};

struct item {
    struct fb_load_req req;
    struct fb_load_rep rep;
    uint32_t frame;
    uint32_t ns; /* UINT32_MAX: unknown */
    uint64_t received_ns;
};

/* One round: all frames that waited. */
struct round {
    struct fb_net_frame **frames;
    struct item *items;
    size_t frame_count, frame_cap, count, cap;
};

static void decode(struct round *r, struct fb_net_frame *f, const struct fb_nsset *set)
{
    struct fb_reader in = fb_reader(f->f.tail);

    if (r->frame_count == r->frame_cap) {
        r->frame_cap = r->frame_cap == 0 ? 64 : r->frame_cap * 2;
        r->frames = fb_xrealloc(r->frames, r->frame_cap * sizeof(*r->frames));
    }
    r->frames[r->frame_count++] = f;
    while (in.n > 0) {
        struct item *it;
        if (r->count == r->cap) {
            r->cap = r->cap == 0 ? 256 : r->cap * 2;
            r->items = fb_xrealloc(r->items, r->cap * sizeof(*r->items));
        }
        it = &r->items[r->count];
        *it = (struct item){.frame = (uint32_t)(r->frame_count - 1), .received_ns = f->received_ns};
        if (fb_load_req_decode(&in, &it->req) != FB_OK || it->req.id.n > FB_KEY_BYTES_MAX) {
            fb_conn_close(f->conn);
            return;
        }
        it->ns = fb_nsset_find(set, it->req.ns);
        r->count++;
    }
}

static void answer_text(struct item *it, enum fb_load_status status, const char *text)
{
    it->rep.status = (uint8_t)status;
    it->rep.value = fb_bytes_str(text);
}

/* Outage: once more when PostgreSQL is there after all, as a restart breaks connections that were
 * idle. */
static enum pg_class load(struct sync_loader *l, struct pg_load *q, struct fb_buf *bytes,
                          struct pg_error *err)
{
    enum pg_class c = PG_OUTAGE;

    for (int attempt = 0; attempt < 2; attempt++) {
        bool fatal;
        if (!pg_connected(l->pg)) {
            if (!atomic_load_explicit(&l->p->db_up, memory_order_relaxed))
                return PG_OUTAGE;
            c = pg_connect(l->pg, &fatal, err);
            if (c != PG_OK)
                break;
        }
        c = pg_load(l->pg, l->p->cluster, q, bytes, err);
        if (c != PG_OUTAGE && c != PG_UNKNOWN)
            return c;
        pg_disconnect(l->pg);
    }
    sync_control_suspect(l->p->control);
    return c;
}

/* Takes the requests out that were made under another configuration of the namespace. */
static size_t take_moved_out(const struct fb_namespace *ns, struct item **items, size_t n)
{
    uint64_t mapping = fb_schema_mapping(ns);
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (items[i]->req.mapping == 0 || items[i]->req.mapping == mapping)
            items[kept++] = items[i];
        else
            answer_text(items[i], FB_LOAD_DB_DOWN, "the namespace moves to another table just now");
    }
    return kept;
}

/* Its place, or one that it may have: a free one, else that of whoever was locked longest ago. */
static struct locked *locked_find(struct sync_loader *l, uint64_t mapping)
{
    struct locked *oldest = &l->locked[0];

    for (uint32_t i = 0; i < LOCKED_MAX; i++) {
        if (l->locked[i].mapping == mapping)
            return &l->locked[i];
        if (l->locked[i].until_ns < oldest->until_ns)
            oldest = &l->locked[i];
    }
    return oldest;
}

/* True: it was asked for a moment ago and still is locked, as far as anybody knows. */
static bool still_locked(const struct locked *lock, uint64_t mapping)
{
    return lock->mapping == mapping && fb_mono_ns() < lock->until_ns;
}

static void note_locked(struct sync_loader *l, struct locked *lock, const struct pg_load *q,
                        uint64_t mapping, const struct pg_error *err)
{
    if (q->locked) {
        if (lock->mapping != mapping)
            FB_LOG(WARN, "loads wait for a table that somebody keeps locked in PostgreSQL",
                   FB_KS("namespace", q->ns->name), FB_KS("error", err->remark));
        *lock = (struct locked){.mapping = mapping, .until_ns = fb_mono_ns() + LOCKED_PAUSE_NS};
        return;
    }
    if (lock->mapping == mapping)
        *lock = (struct locked){0};
    if (err->class == PG_NAMESPACE) {
        FB_LOG(WARN, "load refused by PostgreSQL", FB_KS("namespace", q->ns->name),
               FB_KS("sqlstate", err->sqlstate), FB_KS("error", err->remark));
        sync_control_read_schemas(l->p->control);
    }
}

static void statement(struct sync_loader *l, const struct fb_cluster_state *state, uint32_t ns,
                      struct item **items, size_t n, struct fb_buf *bytes)
{
    struct fb_load_req reqs[STATEMENT_ROWS_MAX];
    struct fb_load_rep reps[STATEMENT_ROWS_MAX];
    struct pg_load q = {.ns = &state->namespaces->ns[ns], .reqs = reqs, .reps = reps, .count = n};
    struct pg_error err = {.class = PG_OK};
    uint64_t mapping = fb_schema_mapping(q.ns);
    struct locked *lock = locked_find(l, mapping);
    enum pg_class c;

    q.count = n = take_moved_out(q.ns, items, n);
    if (n == 0)
        return;
    if (still_locked(lock, mapping)) {
        for (size_t i = 0; i < n; i++)
            answer_text(items[i], FB_LOAD_DB_DOWN, "somebody keeps the table locked in PostgreSQL");
        return;
    }
    q.lock_wait_ms = lock->mapping == mapping ? LOCKED_WAIT_MS : 0;
    if (q.ns->mapped) {
        q.schema = fb_cluster_state_schema(state, q.ns->name);
        if (q.schema == NULL || q.schema->problem[0] != '\0') {
            for (size_t i = 0; i < n; i++)
                answer_text(items[i], q.schema == NULL ? FB_LOAD_DB_DOWN : FB_LOAD_REFUSED,
                            q.schema == NULL ? "the table's columns are not known yet"
                                             : q.schema->problem);
            return;
        }
    }
    memset(reps, 0, n * sizeof(reps[0]));
    for (size_t i = 0; i < n; i++)
        reqs[i] = items[i]->req;
    c = load(l, &q, bytes, &err);
    for (size_t i = 0; i < n; i++) {
        items[i]->rep = reps[i];
        if (c == PG_OUTAGE || c == PG_UNKNOWN || c == PG_RETRY)
            answer_text(items[i], FB_LOAD_DB_DOWN, "PostgreSQL does not answer");
    }
    note_locked(l, lock, &q, mapping, &err);
}

static void reply(struct sync_loader *l, struct round *r)
{
    size_t at = 0;
    uint64_t now = fb_mono_ns();

    for (size_t f = 0; f < r->frame_count; f++) {
        struct fb_buf out = {0};
        while (at < r->count && r->items[at].frame == f) {
            struct fb_frame head = {.kind = FB_FRAME_LOAD_REP, .id = r->frames[f]->f.id};
            size_t mark = fb_frame_begin(&out, &head);
            uint32_t n = 0;
            for (; at < r->count && r->items[at].frame == f && out.n - mark < (8u << 20);
                 at++, n++) {
                struct item *it = &r->items[at];
                it->rep.part = it->req.part;
                it->rep.token = it->req.token;
                it->rep.ns = it->req.ns;
                it->rep.id = it->req.id;
                fb_load_rep_encode(&out, &it->rep);
                fb_histogram_observe_ns(l->duration, now - it->received_ns, 1);
                fb_counter_add(it->rep.status == FB_LOAD_FOUND     ? l->found
                               : it->rep.status == FB_LOAD_ABSENT  ? l->absent
                               : it->rep.status == FB_LOAD_DB_DOWN ? l->down
                                                                   : l->refused,
                               1);
            }
            fb_frame_end(&out, mark, n);
        }
        if (out.n > 0 && fb_conn_send(r->frames[f]->conn, &out) != FB_OK)
            fb_conn_close(r->frames[f]->conn);
        fb_buf_fini(&out);
        fb_net_frame_free(r->frames[f]);
    }
}

static void run_round(struct sync_loader *l, struct round *r, struct fb_mail *chain)
{
    struct fb_cluster_state *state = sync_process_state(l->p);
    struct item **group;
    struct fb_buf *bytes;
    size_t buffers = 0;

    r->frame_count = r->count = 0;
    while (chain != NULL) {
        struct fb_net_frame *f = (struct fb_net_frame *)(void *)chain;
        chain = chain->next;
        decode(r, f, state->namespaces);
    }
    group = fb_xmalloc((r->count + 1) * sizeof(*group));
    /* One buffer a statement: views into it stay valid until the replies are sent. */
    bytes =
        fb_xcalloc(state->namespaces->count + r->count / STATEMENT_ROWS_MAX + 1, sizeof(*bytes));
    for (uint32_t ns = 0; ns < state->namespaces->count; ns++) {
        size_t n = 0;
        for (size_t i = 0; i < r->count; i++) {
            if (r->items[i].ns != ns)
                continue;
            group[n++] = &r->items[i];
            if (n == STATEMENT_ROWS_MAX) {
                statement(l, state, ns, group, n, &bytes[buffers++]);
                n = 0;
            }
        }
        if (n > 0)
            statement(l, state, ns, group, n, &bytes[buffers++]);
    }
    for (size_t i = 0; i < r->count; i++)
        if (r->items[i].ns == UINT32_MAX)
            answer_text(&r->items[i], FB_LOAD_REFUSED, "this namespace is not configured");
    reply(l, r);
    for (size_t i = 0; i < buffers; i++)
        fb_buf_fini(&bytes[i]);
    free(bytes);
    free(group);
    fb_cluster_state_put(state);
}

/* What a round leaves for the next one. */
static void count_memory(struct sync_loader *l, const struct round *r)
{
    uint64_t now = r->frame_cap * sizeof(*r->frames) + r->cap * sizeof(*r->items);

    if (now != l->counted)
        atomic_fetch_add_explicit(&l->p->memory_loads, now - l->counted, memory_order_relaxed);
    l->counted = now;
}

static void loader_run(void *arg)
{
    struct sync_loader *l = arg;
    struct round r = {0};

    for (;;) {
        struct fb_mail *chain = fb_mailbox_take(l->box);
        if (chain != NULL) {
            fb_beat_blocks(FB_BEAT_DATABASE, "loads rows");
            (void)sync_process_pg(l->p, l->pg, &l->conninfo_gen);
            run_round(l, &r, chain);
            count_memory(l, &r);
            continue;
        }
        if (atomic_load(&l->stop))
            break;
        fb_mailbox_wait(l->box, UINT64_MAX);
    }
    free(r.frames);
    free(r.items);
}

enum fb_status sync_loader_start(struct sync_process *p, uint32_t i, struct fb_err *err)
{
    struct sync_loader *l = fb_xcalloc(1, sizeof(*l));
    const char *help = "Loads answered, by result";
    char name[16];

    l->p = p;
    l->box = fb_mailbox_new(SYNC_PARALLEL_LOADS_MAX);
    l->pg = pg_new(&p->pg);
    l->found = fb_counter_register("loads_total", "result=\"found\"", help);
    l->absent = fb_counter_register("loads_total", "result=\"absent\"", help);
    l->down = fb_counter_register("loads_total", "result=\"db_down\"", help);
    l->refused = fb_counter_register("loads_total", "result=\"refused\"", help);
    l->duration = fb_histogram_register("load_duration_seconds", NULL,
                                        "From a load's arrival to its answer", false);
    p->loader[i] = l;
    (void)snprintf(name, sizeof(name), "load-%u", i);
    return fb_thread_start(name, loader_run, l, &l->thread, err);
}

void sync_loader_stop(struct sync_loader *l)
{
    struct fb_mail *m;

    atomic_store(&l->stop, true);
    fb_mailbox_wake(l->box);
    fb_thread_join(l->thread);
    m = fb_mailbox_take(l->box);
    while (m != NULL) {
        struct fb_mail *next = m->next;
        fb_net_frame_free((struct fb_net_frame *)(void *)m);
        m = next;
    }
    fb_mailbox_free(l->box);
    pg_free(l->pg);
    free(l);
}

void sync_load(struct sync_process *p, struct fb_net_frame *f)
{
    uint32_t i = atomic_fetch_add_explicit(&p->next_loader, 1, memory_order_relaxed) % p->loaders;

    if (fb_mailbox_put(p->loader[i]->box, (struct fb_mail *)(void *)f) != FB_OK) {
        fb_conn_close(
            f->conn); /* the node asks again or answers its clients that PostgreSQL is too slow */
        fb_net_frame_free(f);
    }
}
