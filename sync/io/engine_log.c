/* What the core tells, as log lines and counters. */
#include "proto/base/log.h"
#include "sync/io/engine_state.h"
#include "sync/io/metrics.h"

#include <stdio.h>

#define CONFLICTS_TOLD_MS 10000u

/* Conflicts may come by the thousand: one line for what came since the last one. */
void sync_engine_tell_conflicts(struct sync_engine *g)
{
    if (g->conflicts_untold == 0 || g->now_ms < g->conflicts_told_ms)
        return;
    FB_LOG(INFO, "rows changed by SQL meanwhile were resolved by the conflict policy",
           FB_KU("rows", g->conflicts_untold), FB_KS("namespace", g->conflicts_ns));
    g->conflicts_untold = 0;
    g->conflicts_told_ms = g->now_ms + CONFLICTS_TOLD_MS;
}

void sync_engine_log(struct sync_engine *g, const struct sync_event *e)
{
    switch (e->kind) {
    case SYNC_EVENT_DB_UP:
        FB_LOG(INFO, "write-behind attached to PostgreSQL", FB_KS("name", g->p->name));
        break;
    case SYNC_EVENT_DB_DOWN:
        FB_LOG(WARN, "write-behind waits for PostgreSQL, order is kept", FB_KS("error", e->text));
        break;
    case SYNC_EVENT_NAMESPACE_STOPPED:
        FB_LOG(WARN, "write-behind of a namespace stopped, others go on", FB_KS("namespace", e->ns),
               FB_KS("error", e->text));
        sync_control_read_schemas(g->p->control);
        break;
    case SYNC_EVENT_NAMESPACE_BACK:
        FB_LOG(INFO, "write-behind of a namespace goes on", FB_KS("namespace", e->ns));
        break;
    case SYNC_EVENT_PARKED:
        FB_LOG(WARN, "object parked, see forebayctl deadletter list", FB_KS("namespace", e->ns),
               FB_KU("part", e->part), FB_KU("ver", e->ver), FB_KS("sqlstate", e->text));
        break;
    case SYNC_EVENT_NO_LETTER:
        FB_LOG(WARN, "PostgreSQL lost dead letters, their objects are tried again",
               FB_KS("namespace", e->ns), FB_KU("part", e->part), FB_KU("objects", e->ver));
        break;
    case SYNC_EVENT_LOST:
        FB_LOG(INFO, "another sync process moved the checkpoint", FB_KS("namespace", e->ns),
               FB_KU("part", e->part));
        break;
    case SYNC_EVENT_CONFLICT:
        FB_LOG(DEBUG, "rows changed in PostgreSQL meanwhile", FB_KS("namespace", e->ns),
               FB_KU("part", e->part), FB_KU("rows", e->ver));
        g->conflicts_untold += e->ver;
        (void)snprintf(g->conflicts_ns, sizeof(g->conflicts_ns), "%s", e->ns);
        sync_engine_tell_conflicts(g);
        break;
    case SYNC_EVENT_BAD_BATCH:
        FB_LOG(ERROR, "a node sent an impossible batch", FB_KS("namespace", e->ns),
               FB_KU("part", e->part), FB_KS("what", e->text));
        break;
    case SYNC_EVENT_RESYNC:
        FB_LOG(ERROR,
               "the node is of another history than the checkpoint; is this the right database?",
               FB_KS("namespace", e->ns), FB_KU("part", e->part), FB_KU("checkpoint", e->ver));
        break;
    case SYNC_EVENT_REGRESSED:
        FB_LOG(WARN, "PostgreSQL lost commits: its checkpoint went back, what follows is fed again",
               FB_KS("namespace", e->ns), FB_KU("part", e->part), FB_KU("checkpoint", e->ver),
               FB_KS("was", e->text));
        break;
    case SYNC_EVENT_UNCONFIRMED:
        FB_LOG(WARN,
               "committed without a synchronous standby: nothing of it is dropped from memory",
               FB_KS("why", e->text));
        break;
    case SYNC_EVENT_SAFETY:
        FB_LOG(INFO, "what survives a fail-over of PostgreSQL", FB_KS("database_safety", e->text),
               FB_KU("standbys", e->ver));
        break;
    case SYNC_EVENT_COUNT:
        break;
    case SYNC_EVENT_AHEAD:
        FB_LOG(
            ERROR,
            "the checkpoint in PostgreSQL is ahead of the node's log; is this the right database?",
            FB_KS("namespace", e->ns), FB_KU("part", e->part), FB_KU("checkpoint", e->ver));
        break;
    }
}
