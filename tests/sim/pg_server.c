/* Backends: one coroutine a connection, which takes requests in order (pg_model.h). */
#include "tests/sim/pg_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define IDLE_IN_TRANSACTION_NS (10 * SIM_S)

struct pg_session *pg_session_open(struct pg_model *m, struct sim_proc *client)
{
    for (uint32_t i = 0; i < PG_SESSIONS_MAX; i++) {
        struct pg_session *s = m->session[i];
        if (s != NULL && !(s->client_gone && s->server_gone))
            continue;
        /* what was there is left lying: a process that is gone may have been in the middle of it */
        s = m->session[i] = fb_xcalloc(1, sizeof *s);
        s->m = m;
        s->used = true;
        s->number = ++m->sessions;
        s->client = client;
        struct sim_proc *before = sim_proc_enter(&m->proc);
        (void)sim_coro_start(pg_backend, s);
        sim_proc_leave(before);
        return s;
    }
    return NULL;
}

void pg_session_cut(struct pg_session *s)
{
    s->client_gone = true;
    sim_wake_all(&s->server);
}

static void last_words(struct pg_session *s, const char *sqlstate)
{
    snprintf(s->fatal, sizeof s->fatal, "%s", sqlstate);
    sim_trace(s->m->sim, "postgres ends session %llu: %s", (unsigned long long)s->number, sqlstate);
}

/* Carries out one request; its locks go when it fails. */
static void serve(struct pg_session *s, struct pg_call *c)
{
    s->head = c->next;
    if (s->head == NULL)
        s->tail = NULL;
    s->err = (struct pg_error){.class = PG_OK, .feed = UINT32_MAX};
    s->lock_wait_ns = 0;
    c->fn(s, c);
    if (s->err.class != PG_OK)
        pg_rollback(s);
    c->err = s->err;
    c->done = true;
    sim_wake_all(&s->reply);
}

void pg_backend(void *arg)
{
    struct pg_session *s = arg;
    struct sim *sim = s->m->sim;
    uint64_t idle_since = sim_now_ns(sim);

    while (s->fatal[0] == '\0') {
        struct pg_call *c = s->head;
        uint64_t until = UINT64_MAX;
        if (s->terminate) {
            last_words(s, "57P01");
            break;
        }
        if (c != NULL && sim_now_ns(sim) >= c->due_ns) {
            serve(s, c);
            idle_since = sim_now_ns(sim);
            continue;
        }
        if (c == NULL && s->client_gone)
            break;
        if (s->open)
            until = idle_since + IDLE_IN_TRANSACTION_NS;
        if (sim_now_ns(sim) >= until) {
            last_words(s, "25P03");
            break;
        }
        if (c != NULL && c->due_ns < until)
            until = c->due_ns;
        (void)sim_wait(&s->server, until);
    }
    pg_rollback(s);
    s->server_gone = true;
    sim_wake_all(&s->reply);
}
