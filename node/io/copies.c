/* Ends of a tick with several copies (copies.h): epochs are served or not, changes of sets go to
 * the coordinator, the stream to the nodes. */
#include "node/io/copies.h"

#include "node/core/copies.h"
#include "node/io/control.h"
#include "node/io/lag.h"
#include "node/io/parts.h"
#include "node/io/peers.h"
#include "proto/base/clock.h"
#include "proto/rt/metrics.h"
#include "proto/rt/watchdog.h"

#define LOOK_NS UINT64_C(200000000)

/* How long the primaries of this lane's backups are silent, for who decides about that. */
static void look_at_silence(struct worker *w)
{
    struct node *n = w->node;
    uint64_t longest = 0;

    for (uint32_t p = w->index; p < n->partitions; p += n->worker_count) {
        struct lane_copy c;
        uint64_t ns = 0;
        if (lane_copy_status(w->lane, (uint16_t)p, &c) && c.role == REPLICA_BACKUP)
            ns = c.silent_ns + 1;
        atomic_store_explicit(&n->silent_ns[p], ns, memory_order_relaxed);
        longest = ns > longest ? ns : longest;
    }
    if (longest >= NODE_PRIMARY_SILENCE_NS)
        node_control_promote(n);
}

void worker_copies_tick(struct worker *w, uint64_t now)
{
    lane_boot_now(w->lane, fb_boot_ns());
    if (now < w->silence_at_ns)
        return;
    w->silence_at_ns = now + LOOK_NS;
    look_at_silence(w);
    worker_lag_look(w);
}

static void observe_commits(const struct worker *w)
{
    uint32_t count;
    const uint64_t *ns = lane_commit_ns(w->lane, &count);

    for (uint32_t i = 0; i < count; i++)
        fb_histogram_observe_ns(w->node->replication_ack, ns[i], 1);
}

static void carry_out(struct worker *w)
{
    struct parts_told opened = {0}, closed = {0}, held = {0}, released = {0};
    uint32_t count, changes = 0;
    const struct lane_copy_event *e = lane_copy_events(w->lane, &count);

    for (uint32_t i = 0; i < count; i++) {
        if (e[i].kind == LANE_COPY_OPENED) {
            parts_serve(w, e[i].part, e[i].epoch);
            parts_tell(&opened, e[i].part);
        } else if (e[i].kind == LANE_COPY_CLOSED) {
            parts_serve(w, e[i].part, 0);
            parts_tell(&closed, e[i].part);
        } else if (e[i].kind == LANE_COPY_HELD) {
            parts_serve(w, e[i].part, 0);
            parts_tell(&held, e[i].part);
        } else if (e[i].kind == LANE_COPY_RELEASED) {
            parts_serve(w, e[i].part, e[i].epoch);
            parts_tell(&released, e[i].part);
        } else {
            changes++;
        }
        if (e[i].held_ns > 0)
            fb_histogram_observe_ns(w->node->write_pause, e[i].held_ns, 1);
    }
    parts_told(&held, "partitions held, another is to lead them", w);
    parts_told(&released, "no other leads these partitions yet, they are served again", w);
    parts_told(&closed, "partitions closed", w);
    parts_told(&opened, "partitions opened", w);
    if (changes > 0)
        node_control_change(w->node, e, count);
}

void worker_copies_written(struct worker *w)
{
    struct lane_effects *fx = lane_effects(w->lane);
    bool wanted = fx->sync_wanted;

    peers_busy(w);
    fb_beat("commits with the other copies");
    lane_boot_now(w->lane, fb_boot_ns()); /* after all reads of the tick were evaluated */
    lane_copies_written(w->lane);
    if (fx->sync_wanted && (!wanted || fx->log.n == 0))
        log_sync_soon(w->node->log, w->index);
    carry_out(w);
    observe_commits(w);
    peers_send(w);
}
