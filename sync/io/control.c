/* The control thread: is PostgreSQL there, what do its tables look like, what is parked. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/rt/watchdog.h"
#include "sync/io/admin.h"
#include "sync/io/process.h"

#include <stdio.h>
#include <stdlib.h>

#define PROBE_MS 1000u
#define CATALOG_MS 30000u
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 1000u /* when it is back, changes flow again within about this time */
#define SWEEP_MS 10000u
#define SWEEP_AGE_MS                                                                               \
    60000u /* nodes expire what they hold at once; the clocks may differ a little */
#define SWEEP_ROWS 1000u
#define SWEEP_BATCHES 10u /* a round: a large backlog does not keep probes and requests waiting */
#define ROWS_MAX 10000u   /* of one answer */
#define QUEUE_MAX 1024u

struct sync_control {
    struct sync_process *p;
    struct fb_mailbox *box; /* admin requests: struct fb_net_frame */
    struct fb_thread *thread;
    _Atomic bool stop, suspect, read_schemas;
    /* control thread only */
    struct pg *pg;
    uint64_t conninfo_gen;
    bool said_down;
    uint64_t next_probe, next_catalog, last_catalog, next_sweep, backoff;
    struct fb_counter *swept;
};

/* ---- schemas ---- */

struct publish {
    char key[FB_NAME_BYTES_MAX + 8];
    uint64_t config_rev;
    struct fb_buf text;
};

/* Agent thread. Compare-and-swap: several sync processes may do this at once. */
static void publish_job(void *arg, struct fb_coord *coord)
{
    struct publish *job = arg;
    struct fb_buf old = {0};
    struct fb_schema *there = NULL;
    struct fb_err err = {0};
    uint64_t rev = 0, new_rev;
    enum fb_status st = fb_coord_get(coord, job->key, &old, &rev, &err);

    if (st == FB_ENOENT)
        rev = 0;
    else if (st != FB_OK || fb_bytes_equal(fb_buf_view(&old), fb_buf_view(&job->text)))
        goto done;
    else if (fb_schema_decode(fb_buf_view(&old), &there, &err) == FB_OK &&
             there->config_rev > job->config_rev)
        goto done; /* read for a newer configuration than ours */
    st = fb_coord_cas(coord, job->key, rev, fb_buf_view(&job->text), &new_rev, &err);
    if (st != FB_OK && st != FB_EMISMATCH)
        FB_LOG(WARN, "table description not published", FB_KS("key", job->key),
               FB_KS("error", err.msg));
done:
    if (there != NULL)
        fb_schema_free(there);
    fb_buf_fini(&old);
    fb_buf_fini(&job->text);
    free(job);
}

static enum pg_class read_schema(struct sync_control *c, struct fb_cluster_state *state,
                                 const struct fb_namespace *ns, struct pg_error *err)
{
    const struct fb_schema *known = fb_cluster_state_schema(state, ns->name);
    struct fb_schema *schema = NULL;
    struct publish *job;
    struct fb_buf old = {0};
    enum pg_class cls = pg_read_schema(c->pg, ns, &schema, err);

    if (cls != PG_OK)
        return cls;
    schema->config_rev = state->config_rev;
    job = fb_xcalloc(1, sizeof(*job));
    (void)snprintf(job->key, sizeof(job->key), "schema/%s", ns->name);
    job->config_rev = state->config_rev;
    fb_schema_encode(&job->text, schema);
    if (known != NULL)
        fb_schema_encode(&old, known);
    if (known == NULL || !fb_bytes_equal(fb_buf_view(&old), fb_buf_view(&job->text))) {
        if (schema->problem[0] != '\0')
            FB_LOG(WARN, "table cannot be served", FB_KS("namespace", ns->name),
                   FB_KS("problem", schema->problem));
        else
            FB_LOG(INFO, "table description read", FB_KS("namespace", ns->name),
                   FB_KU("columns", schema->column_count));
        if (fb_agent_run(c->p->agent, publish_job, job) == FB_OK)
            job = NULL;
    }
    if (job != NULL) {
        fb_buf_fini(&job->text);
        free(job);
    }
    fb_buf_fini(&old);
    fb_schema_free(schema);
    return PG_OK;
}

static enum pg_class read_catalog(struct sync_control *c, struct pg_error *err)
{
    struct fb_cluster_state *state = sync_process_state(c->p);
    enum pg_class cls = PG_OK;

    for (uint32_t i = 0; i < state->namespaces->count && cls != PG_OUTAGE; i++)
        if (state->namespaces->ns[i].mapped) {
            cls = read_schema(c, state, &state->namespaces->ns[i], err);
            if (cls != PG_OK)
                FB_LOG(WARN, "table description not read",
                       FB_KS("namespace", state->namespaces->ns[i].name),
                       FB_KS("sqlstate", err->sqlstate), FB_KS("error", err->remark));
        }
    fb_cluster_state_put(state);
    return cls;
}

/* ---- probing ---- */

static void went_down(struct sync_control *c, const struct pg_error *err)
{
    atomic_store(&c->p->db_up, false);
    pg_disconnect(c->pg);
    c->backoff = c->backoff == 0                   ? BACKOFF_MIN_MS
                 : c->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS
                                                   : c->backoff * 2;
    c->next_probe = fb_mono_ns() / 1000000 + c->backoff;
    sync_process_db_problem(c->p, err->remark);
    if (!c->said_down)
        FB_LOG(WARN, "PostgreSQL does not answer, changes wait in memory",
               FB_KS("sqlstate", err->sqlstate), FB_KS("error", err->remark));
    c->said_down = true;
}

/* What cannot be swept now is swept later: only an outage is of interest. */
static enum pg_class sweep(struct sync_control *c, struct pg_error *err)
{
    uint64_t swept = SWEEP_ROWS;
    enum pg_class cls = PG_OK;

    for (uint32_t i = 0; i < SWEEP_BATCHES && swept == SWEEP_ROWS && cls == PG_OK; i++) {
        cls = pg_sweep_objects(c->pg, SWEEP_AGE_MS, SWEEP_ROWS, &swept, err);
        if (cls == PG_OK)
            fb_counter_add(c->swept, swept);
    }
    if (cls != PG_OK && cls != PG_OUTAGE)
        FB_LOG(WARN, "expired rows of forebay.objects not swept", FB_KS("sqlstate", err->sqlstate),
               FB_KS("error", err->remark));
    return cls;
}

static void probe(struct sync_control *c)
{
    struct pg_error err = {.class = PG_OK};
    uint64_t now = fb_mono_ns() / 1000000;
    struct pg_standbys seen;
    uint64_t letters = atomic_load(&c->p->dead_letters);
    char lsn[32];
    bool fatal = false;

    if (pg_connect(c->pg, &fatal, &err) != PG_OK) {
        went_down(c, &err);
        return;
    }
    if (pg_lsn(c->pg, lsn, &err) == PG_OUTAGE ||
        pg_read_standbys(c->pg, &seen, &err) == PG_OUTAGE ||
        pg_dead_letter_count(c->pg, c->p->cluster, &letters, &err) == PG_OUTAGE) {
        went_down(c, &err);
        return;
    }
    atomic_store(&c->p->dead_letters, letters);
    if (seen.server != 0)
        sync_engine_standbys(c->p, &seen, now);
    c->backoff = 0;
    c->next_probe = now + PROBE_MS;
    if (!atomic_exchange(&c->p->db_up, true)) {
        sync_process_db_problem(c->p, "");
        FB_LOG(INFO, "PostgreSQL answers", FB_KS("lsn", lsn));
        sync_engine_db_answers(c->p);
        c->next_catalog = 0;
    }
    c->said_down = false;
    if (now >= c->next_catalog) {
        c->last_catalog = now;
        c->next_catalog = now + CATALOG_MS;
        if (read_catalog(c, &err) == PG_OUTAGE) {
            went_down(c, &err);
            return;
        }
    }
    if (now >= c->next_sweep) {
        c->next_sweep = now + SWEEP_MS;
        if (sweep(c, &err) == PG_OUTAGE)
            went_down(c, &err);
    }
}

/* ---- admin requests that need PostgreSQL ---- */

/* What a letter says, as the answer to a request. */
struct letters {
    json_t *list;
    json_t *next; /* where the next page begins, NULL = there is none */
    uint32_t rows, limit;
};

static void add_letter(void *arg, const struct pg_letter *r)
{
    struct letters *l = arg;
    json_t *value, *o;

    if (++l->rows == l->limit)
        l->next = json_pack("{s:s, s:s, s:s}", "at", r->at, "ns", r->ns, "id", r->id_text);
    if (!r->ours)
        return;
    value = json_loads(r->value_json, JSON_DECODE_ANY, NULL);
    if (value == NULL)
        value = sync_admin_text(fb_bytes_str(r->value_json));
    o = json_pack("{s:s, s:o, s:i, s:I, s:s, s:o, s:s, s:I, s:s, s:o}", "ns", r->ns, "id",
                  sync_admin_text(r->id), "part", (int)r->part, "ver", (json_int_t)r->ver,
                  "sqlstate", r->sqlstate, "message", sync_admin_text(fb_bytes_str(r->message)),
                  "at", r->at, "expires_ms", (json_int_t)r->expires_ms, "kind", r->kind, "value",
                  value);
    if (!sync_admin_is_text(
            r->id)) /* told with '?' in it: good to look at, another key to write to */
        json_object_set_new(o, "id_lossy", json_true());
    json_array_append_new(l->list, o);
}

struct letter {
    bool found;
    uint16_t part;
    uint64_t ver;
};

static void take_letter(void *arg, const struct pg_letter *r)
{
    *(struct letter *)arg = (struct letter){true, r->part, r->ver};
}

static void fail_pg(const struct fb_net_frame *f, const struct pg_error *err)
{
    char text[512];

    (void)snprintf(text, sizeof(text), "PostgreSQL: %s%s%s", err->sqlstate,
                   err->sqlstate[0] ? " " : "", err->message);
    if (err->class == PG_OUTAGE)
        sync_admin_unreachable(f, text);
    else
        sync_admin_fail(f, text);
}

static void letters_list(struct sync_control *c, struct fb_net_frame *f,
                         const struct pg_letter_query *q)
{
    struct letters l = {.list = json_array(), .limit = q->limit};
    struct pg_error err = {.class = PG_OK};

    if (pg_dead_letter_list(c->pg, c->p->cluster, q, add_letter, &l, &err) != PG_OK)
        fail_pg(f, &err);
    else if (q->id != NULL && json_array_size(l.list) == 0)
        sync_admin_fail(f, "there is no such dead letter");
    else
        sync_admin_reply(f,
                         json_pack("{s:b, s:O, s:O*}", "ok", 1, "letters", l.list, "next", l.next));
    json_decref(l.list);
    json_decref(l.next);
}

/* Takes the frame when it says true. */
static bool letters_resolve(struct sync_control *c, struct fb_net_frame *f, const char *ns,
                            const char *id, bool discard)
{
    struct letter l = {0};
    const struct fb_bytes only = fb_bytes_str(id);
    const struct pg_letter_query query = {.ns = ns, .id = &only, .limit = 1};
    struct pg_error err = {.class = PG_OK};
    struct fb_buf bytes = {0};
    struct fb_verdict v = {.verdict = discard ? FB_VERDICT_DISCARD : FB_VERDICT_RETRY,
                           .ns = fb_bytes_str(ns),
                           .id = fb_bytes_str(id)};
    struct fb_cluster_state *state = sync_process_state(c->p);
    uint32_t at = fb_nsset_find(state->namespaces, fb_bytes_str(ns));
    bool taken = false;

    if (at == UINT32_MAX) {
        sync_admin_fail(f, "this namespace is not configured");
    } else if (pg_dead_letter_list(c->pg, c->p->cluster, &query, take_letter, &l, &err) != PG_OK) {
        fail_pg(f, &err);
    } else if (!l.found) {
        sync_admin_fail(f, "there is no such dead letter");
    } else {
        struct fb_load_req req = {.part = l.part, .ns = v.ns, .id = v.id};
        struct fb_load_rep rep = {.status = FB_LOAD_ABSENT};
        struct pg_load q = {.ns = &state->namespaces->ns[at],
                            .schema = fb_cluster_state_schema(state, ns),
                            .reqs = &req,
                            .reps = &rep,
                            .count = 1};
        v.part = l.part;
        v.ver = l.ver;
        if (discard && q.ns->mapped && q.schema == NULL) {
            sync_admin_fail(f, "the table's columns are not known yet");
        } else if (discard && pg_load(c->pg, c->p->cluster, &q, &bytes, &err) != PG_OK) {
            fail_pg(f, &err);
        } else if (discard && rep.status != FB_LOAD_FOUND && rep.status != FB_LOAD_ABSENT) {
            sync_admin_fail(f, "the row cannot be read");
        } else if (discard && rep.status == FB_LOAD_FOUND && rep.kind == FB_KIND_NONE) {
            sync_admin_fail(f,
                            "the row's column is null, which no key can hold: write or delete the "
                            "key instead");
        } else {
            if (rep.status == FB_LOAD_FOUND) {
                v.kind = rep.kind;
                v.xmin = rep.xmin;
                v.value = rep.value;
            }
            sync_engine_operator(c->p, &v, f);
            taken = true;
        }
    }
    fb_buf_fini(&bytes);
    fb_cluster_state_put(state);
    return taken;
}

static void add_conflict(void *arg, const struct pg_conflict_row *r)
{
    json_t *o = json_pack("{s:s, s:o, s:I, s:s, s:s, s:s}", "ns", r->ns, "id",
                          sync_admin_text(r->id), "ver", (json_int_t)r->ver, "policy", r->policy,
                          "outcome", r->outcome, "at", r->at);

    json_object_set_new(o, "ours", json_loads(r->ours_json, JSON_DECODE_ANY, NULL));
    json_object_set_new(o, "theirs", json_loads(r->theirs_json, JSON_DECODE_ANY, NULL));
    json_object_set_new(o, "old", json_loads(r->old_json, JSON_DECODE_ANY, NULL));
    json_array_append_new(arg, o);
}

static void conflicts_list(struct sync_control *c, const struct fb_net_frame *f, const char *ns,
                           uint32_t limit)
{
    struct pg_error err = {.class = PG_OK};
    json_t *list = json_array();

    if (pg_conflict_list(c->pg, c->p->cluster, ns, limit, add_conflict, list, &err) == PG_OK)
        sync_admin_reply(f, json_pack("{s:b, s:O}", "ok", 1, "conflicts", list));
    else
        fail_pg(f, &err);
    json_decref(list);
}

static void lsn(struct sync_control *c, const struct fb_net_frame *f)
{
    struct pg_error err = {.class = PG_OK};
    char text[32];

    if (pg_lsn(c->pg, text, &err) != PG_OK)
        fail_pg(f, &err);
    else
        sync_admin_reply(f, json_pack("{s:b, s:s}", "ok", 1, "lsn", text));
}

static void serve(struct sync_control *c, struct fb_net_frame *f)
{
    json_t *req = sync_admin_parse(f);
    const char *verb = "", *ns = NULL, *id = NULL;
    struct pg_letter_query q = {0};
    struct fb_bytes only;
    json_int_t limit = 100;
    bool taken = false;

    (void)json_unpack(req, "{s?s, s?s, s?s, s?I}", "verb", &verb, "ns", &ns, "id", &id, "limit",
                      &limit);
    (void)json_unpack(req, "{s?{s:s, s:s, s:s}}", "after", "at", &q.after_at, "ns", &q.after_ns,
                      "id", &q.after_id);
    if (limit < 1 || limit > (json_int_t)ROWS_MAX)
        limit = ROWS_MAX;
    q.ns = ns;
    q.limit = (uint32_t)limit;
    if (!pg_connected(c->pg))
        sync_admin_unreachable(f, "PostgreSQL does not answer");
    else if (strcmp(verb, "sync.lsn") == 0)
        lsn(c, f);
    else if (strcmp(verb, "deadletter.list") == 0)
        letters_list(c, f, &q);
    else if (strcmp(verb, "conflict.list") == 0)
        conflicts_list(c, f, ns, (uint32_t)limit);
    else if (ns == NULL || id == NULL)
        sync_admin_fail(f, "\"ns\" and \"id\" are needed");
    else if (strcmp(verb, "deadletter.show") == 0) {
        only = fb_bytes_str(id);
        q.id = &only;
        letters_list(c, f, &q);
    } else
        taken = letters_resolve(c, f, ns, id, strcmp(verb, "deadletter.discard") == 0);
    json_decref(req);
    if (!taken)
        fb_net_frame_free(f);
}

/* ---- the thread ---- */

static void control_run(void *arg)
{
    struct sync_control *c = arg;

    while (!atomic_load(&c->stop)) {
        struct fb_mail *m = fb_mailbox_take(c->box);
        uint64_t now = fb_mono_ns() / 1000000;
        /* Not more than once a second, however many failures ask for it. */
        if (atomic_exchange(&c->read_schemas, false) &&
            c->next_catalog > c->last_catalog + PROBE_MS)
            c->next_catalog = c->last_catalog + PROBE_MS;
        if (atomic_exchange(&c->suspect, false) && atomic_load(&c->p->db_up))
            c->next_probe = 0;
        fb_beat_blocks(FB_BEAT_DATABASE, "asks PostgreSQL");
        (void)sync_process_pg(c->p, c->pg, &c->conninfo_gen);
        if (now >= c->next_probe || (now >= c->next_catalog && atomic_load(&c->p->db_up)))
            probe(c);
        while (m != NULL) {
            struct fb_mail *next = m->next;
            serve(c, (struct fb_net_frame *)(void *)m);
            m = next;
        }
        now = fb_mono_ns() / 1000000;
        if (c->next_probe > now)
            fb_mailbox_wait(c->box, (c->next_probe - now) * 1000000);
    }
}

struct sync_control *sync_control_new(struct sync_process *p)
{
    struct sync_control *c = fb_xcalloc(1, sizeof(*c));

    c->p = p;
    c->box = fb_mailbox_new(QUEUE_MAX);
    c->pg = pg_new(&p->pg);
    c->swept = fb_counter_register("sync_swept_total", NULL,
                                   "Expired rows of forebay.objects deleted here, not by a node");
    return c;
}

enum fb_status sync_control_start(struct sync_control *c, struct fb_err *err)
{
    return fb_thread_start("control", control_run, c, &c->thread, err);
}

void sync_control_stop(struct sync_control *c)
{
    atomic_store(&c->stop, true);
    fb_mailbox_wake(c->box);
    fb_thread_join(c->thread);
}

void sync_control_free(struct sync_control *c)
{
    struct fb_mail *m = fb_mailbox_take(c->box);

    while (m != NULL) {
        struct fb_mail *next = m->next;
        fb_net_frame_free((struct fb_net_frame *)(void *)m);
        m = next;
    }
    fb_mailbox_free(c->box);
    pg_free(c->pg);
    free(c);
}

void sync_control_suspect(struct sync_control *c)
{
    atomic_store(&c->suspect, true);
    fb_mailbox_wake(c->box);
}

void sync_control_read_schemas(struct sync_control *c)
{
    atomic_store(&c->read_schemas, true);
    fb_mailbox_wake(c->box);
}

void sync_control_admin(struct sync_control *c, struct fb_net_frame *f)
{
    if (fb_mailbox_put(c->box, (struct fb_mail *)(void *)f) == FB_OK)
        return;
    sync_admin_fail(f, "too many requests wait");
    fb_net_frame_free(f);
}
