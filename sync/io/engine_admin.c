/* Admin requests on the event thread: status, flush, and the verdicts of operators. */
#include "proto/rt/events.h"
#include "sync/io/admin.h"
#include "sync/io/engine_state.h"

#include <stdio.h>

#define OPERATOR_TIMEOUT_MS 15000u

static json_t *safety_of(const struct sync_engine *g)
{
    struct sync_safety_status s;

    sync_core_safety(g->core, &s);
    return json_pack("{s:s, s:b, s:I, s:b, s:I, s:I, s:b}", "mode", sync_safety_word(s.mode),
                     "automatic", s.automatic, "lag_ms",
                     s.mode == SYNC_SAFETY_LAG ? (json_int_t)s.lag_ms : 0, "sync_names",
                     s.sync_names, "standbys", (json_int_t)s.standbys, "unsafe_feeds",
                     (json_int_t)s.unsafe_feeds, "unconfirmed", s.unconfirmed);
}

json_t *sync_engine_status(const struct sync_engine *g)
{
    json_t *list = json_array();
    char problem[sizeof(g->p->db_problem)];

    pthread_mutex_lock(&g->p->mtx);
    memcpy(problem, g->p->db_problem, sizeof(problem));
    pthread_mutex_unlock(&g->p->mtx);
    for (size_t i = 0; i < sync_core_ns_count(g->core); i++) {
        struct sync_ns_status s;
        sync_core_ns_status(g->core, i, &s);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:o}", "ns",
                            s.name, "feeds", (json_int_t)s.feeds, "dirty", (json_int_t)s.dirty,
                            "oldest_age_ms", (json_int_t)s.oldest_age_ms, "rows",
                            (json_int_t)s.rows, "batches", (json_int_t)s.batches, "parked",
                            (json_int_t)s.parked, "conflicts", (json_int_t)s.conflicts, "lost",
                            (json_int_t)s.lost, "paused", s.paused, "stopped", s.stopped,
                            "last_error", sync_admin_text(fb_bytes_str(s.last_error))));
    }
    return json_pack("{s:b, s:s, s:b, s:b, s:I, s:o, s:o, s:I, s:I, s:I, s:o}", "ok", 1, "name",
                     g->p->name, "db_up", (int)atomic_load(&g->p->db_up), "attached",
                     (int)sync_core_db_up(g->core), "config_revision", (json_int_t)g->config_rev,
                     "db_problem", sync_admin_text(fb_bytes_str(problem)), "safety", safety_of(g),
                     "regressions", (json_int_t)sync_core_stats(g->core)->regressions,
                     "transactions", (json_int_t)sync_core_stats(g->core)->transactions,
                     "dead_letters", (json_int_t)atomic_load(&g->p->dead_letters), "namespaces",
                     list);
}

static void wait_for(struct sync_engine *g, struct fb_net_frame *f, uint64_t number, const char *ns,
                     uint64_t ms)
{
    struct waiter *w;

    if (g->waiter_count == WAITERS_MAX) {
        sync_admin_fail(f, "too many requests wait");
        fb_net_frame_free(f);
        return;
    }
    w = &g->waiters[g->waiter_count++];
    *w = (struct waiter){.frame = f, .number = number, .deadline_ms = g->now_ms + ms};
    (void)snprintf(w->ns, sizeof(w->ns), "%s", ns != NULL ? ns : "");
}

static void waiter_done(struct sync_engine *g, size_t i, json_t *body)
{
    sync_admin_reply(g->waiters[i].frame, body);
    fb_net_frame_free(g->waiters[i].frame);
    g->waiters[i] = g->waiters[--g->waiter_count];
}

/* An operator's verdict is acknowledged. */
void sync_engine_operator_ack(struct sync_engine *g, const struct fb_verdict_ack *ack)
{
    for (size_t i = 0; i < g->waiter_count; i++) {
        if (g->waiters[i].number != ack->id64)
            continue;
        if (ack->status == FB_OK)
            waiter_done(g, i, json_pack("{s:b, s:I}", "ok", 1, "ver", (json_int_t)ack->ver));
        else
            waiter_done(g, i,
                        json_pack("{s:b, s:s}", "ok", 0, "error",
                                  ack->status == FB_ESTALE
                                      ? "a newer version of the object exists already"
                                      : fb_status_text((enum fb_status)ack->status)));
        return;
    }
}

void sync_engine_check_waiters(struct sync_engine *g)
{
    for (size_t i = 0; i < g->waiter_count;) {
        struct waiter *w = &g->waiters[i];
        size_t busy = w->number != 0 ? 1 : sync_core_busy(g->core, w->ns[0] != '\0' ? w->ns : NULL);
        if (busy == 0)
            waiter_done(g, i, json_pack("{s:b, s:b}", "ok", 1, "done", 1));
        else if (g->now_ms < w->deadline_ms)
            i++;
        else if (w->number != 0)
            waiter_done(
                g, i, json_pack("{s:b, s:s}", "ok", 0, "error", "the node did not answer in time"));
        else
            waiter_done(g, i,
                        json_pack("{s:b, s:b, s:I}", "ok", 1, "done", 0, "busy", (json_int_t)busy));
    }
}

void sync_engine_send_operator(struct sync_engine *g, struct fb_verdict *v, struct fb_net_frame *f)
{
    struct fb_frame head = {.kind = FB_FRAME_VERDICT, .src_inc = g->p->inc};
    struct fb_buf out = {0};
    struct sync_link *l = NULL;
    size_t mark;

    if (v->part < g->state->map->partitions)
        l = sync_links_find(&g->links, g->state->map->parts[v->part].primary.node);
    if (l == NULL || !l->up) {
        sync_admin_fail(f, "the node that leads the object's partition is not connected");
        fb_net_frame_free(f);
        return;
    }
    v->id64 = ++g->operators | OPERATOR_BIT;
    mark = fb_frame_begin(&out, &head);
    fb_verdict_encode(&out, v);
    fb_frame_end(&out, mark, 1);
    if (fb_conn_send(l->conn, &out) != FB_OK)
        fb_conn_close(l->conn); /* the wait ends with its time-out */
    fb_buf_fini(&out);
    wait_for(g, f, v->id64, NULL, OPERATOR_TIMEOUT_MS);
}

void sync_engine_admin(struct sync_engine *g, struct fb_net_frame *f)
{
    json_t *req = sync_admin_parse(f);
    const char *verb = "", *ns = NULL;
    json_int_t wait_ms = 0;

    (void)json_unpack(req, "{s?s, s?s, s?I}", "verb", &verb, "ns", &ns, "wait_ms", &wait_ms);
    if (strcmp(verb, "conflict.list") == 0) {
        sync_control_admin(g->p->control, f);
        json_decref(req);
        return;
    }
    if (strcmp(verb, "sync.lsn") == 0 || strncmp(verb, "deadletter.", 11) == 0) {
        if (strcmp(verb, "sync.lsn") == 0 || strcmp(verb + 11, "list") == 0 ||
            strcmp(verb + 11, "show") == 0 || strcmp(verb + 11, "retry") == 0 ||
            strcmp(verb + 11, "discard") == 0) {
            sync_control_admin(g->p->control, f);
            json_decref(req);
            return;
        }
    }
    if (strcmp(verb, "events") == 0) {
        json_int_t since = 0;
        struct fb_buf text = {0};
        (void)json_unpack(req, "{s?I}", "since", &since);
        fb_events_json(&text, since > 0 ? (uint64_t)since : 0);
        sync_admin_reply(f, json_loadb((const char *)text.p, text.n, 0, NULL));
        fb_buf_fini(&text);
    } else if (strcmp(verb, "sync.status") == 0) {
        sync_admin_reply(f, sync_engine_status(g));
    } else if (strcmp(verb, "sync.flush") == 0) {
        sync_core_flush(g->core, ns);
        if (wait_ms > 0) {
            wait_for(g, f, 0, ns, wait_ms < 600000 ? (uint64_t)wait_ms : 600000);
            json_decref(req);
            return;
        }
        sync_admin_reply(f, json_pack("{s:b}", "ok", 1));
    } else {
        sync_admin_fail(f, req == NULL ? "the request is not a JSON object" : "unknown verb");
    }
    json_decref(req);
    fb_net_frame_free(f);
}
