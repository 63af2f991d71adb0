/* What the coordinator says, and what this node does about it: configuration to the lanes,
 * takeover, first placement. */
#include "node/io/node.h"

#include "node/control/assign.h"
#include "node/io/worker.h"
#include "proto/base/clock.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/coord/entry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_NS UINT64_C(1500000000)

static pthread_mutex_t state_mutex = PTHREAD_MUTEX_INITIALIZER;

struct fb_cluster_state *node_state_get(struct node *n)
{
    struct fb_cluster_state *s;
    pthread_mutex_lock(&state_mutex);
    s = n->state ? fb_cluster_state_get(n->state) : NULL;
    pthread_mutex_unlock(&state_mutex);
    return s;
}

static void state_set(struct node *n, struct fb_cluster_state *s)
{
    struct fb_cluster_state *old;
    pthread_mutex_lock(&state_mutex);
    old = n->state;
    n->state = s;
    pthread_mutex_unlock(&state_mutex);
    if (old != NULL)
        fb_cluster_state_put(old);
}

static bool config_changed(const struct fb_cluster_state *a, const struct fb_cluster_state *b)
{
    if (a == NULL || a->config_rev != b->config_rev || a->schema_count != b->schema_count)
        return true;
    for (size_t i = 0; i < a->schema_count; i++) {
        struct fb_buf x = {0}, y = {0};
        bool same;
        fb_schema_encode(&x, a->schemas[i]);
        fb_schema_encode(&y, b->schemas[i]);
        same = fb_bytes_equal(fb_buf_view(&x), fb_buf_view(&y));
        fb_buf_fini(&x);
        fb_buf_fini(&y);
        if (!same)
            return true;
    }
    return false;
}

struct node_config *node_config_new(struct fb_cluster_state *s, uint32_t refs)
{
    struct node_config *c = fb_xcalloc(1, sizeof(*c));
    atomic_store(&c->refs, refs);
    c->state = fb_cluster_state_get(s);
    for (uint32_t i = 0; i < s->namespaces->count; i++)
        c->schemas[i] = s->namespaces->ns[i].mapped
                            ? fb_cluster_state_schema(s, s->namespaces->ns[i].name)
                            : NULL;
    return c;
}

static void post_config(struct node *n, struct fb_cluster_state *s)
{
    struct node_config *c = node_config_new(s, n->worker_count);
    for (uint32_t i = 0; i < n->worker_count; i++) {
        struct job *j = job_new(JOB_CONFIG);
        j->config = c;
        worker_post(n->workers[i], j);
    }
    FB_LOG(INFO, "configuration", FB_KU("namespaces", s->namespaces->count),
           FB_KU("schemas", s->schema_count), FB_KU("rev", s->config_rev));
}

/* True when the set of live nodes has been the same for SETTLE_NS. */
static bool settled(struct node *n, const struct fb_map *map)
{
    uint64_t print = 1, now = fb_mono_ns();
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (m->kind == FB_MEMBER_NODE && m->alive)
            print = fb_hash64(&m->inc, sizeof(m->inc), print);
    }
    if (print != n->alive_fingerprint) {
        n->alive_fingerprint = print;
        n->alive_since_ns = now;
    }
    return now - n->alive_since_ns >= SETTLE_NS;
}

/* Carries out the compare-and-swaps in as few transactions as the store takes. A mismatch is
 * somebody else's success: the next state tells. */
static void commit_steps(struct node *n, const struct assign_step *steps, uint32_t count)
{
    struct fb_coord_op ops[FB_COORD_TXN_MAX];
    char keys[FB_COORD_TXN_MAX][32];
    struct fb_buf values[FB_COORD_TXN_MAX] = {{0}};
    uint32_t used = 0, done = 0;

    for (uint32_t i = 0; i <= count; i++) {
        if (used == FB_COORD_TXN_MAX || (i == count && used > 0)) {
            struct fb_err err;
            uint64_t rev;
            enum fb_status s = fb_coord_txn(n->coord, ops, used, &rev, &err);
            if (s != FB_OK && s != FB_EMISMATCH)
                FB_LOG(WARN, "coordinator did not take the partition records, trying again",
                       FB_KS("error", err.msg));
            done += s == FB_OK ? used : 0;
            used = 0;
        }
        if (i == count || steps[i].action != ASSIGN_CAS)
            continue;
        snprintf(keys[used], sizeof(keys[used]), "part/%u", steps[i].part);
        fb_buf_clear(&values[used]);
        fb_part_record_encode(&values[used], &steps[i].next);
        ops[used] = (struct fb_coord_op){
            .key = keys[used], .rev = steps[i].rev, .value = fb_buf_view(&values[used])};
        used++;
    }
    for (uint32_t i = 0; i < FB_COORD_TXN_MAX; i++)
        fb_buf_fini(&values[i]);
    if (done > 0)
        FB_LOG(INFO, "partition records written", FB_KU("partitions", done));
}

static void post_parts(struct node *n, const struct assign_step *steps, uint32_t count)
{
    struct job *open[NODE_WORKERS_MAX] = {0}, *close[NODE_WORKERS_MAX] = {0};
    uint32_t owned = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t lane = node_lane_of(n, steps[i].part);
        uint32_t epoch = atomic_load(&n->open_epoch[steps[i].part]);
        if (steps[i].action == ASSIGN_SERVE) {
            owned++;
            if (n->last_epoch[steps[i].part] >= steps[i].next.epoch)
                continue; /* asked for already */
            n->last_epoch[steps[i].part] = steps[i].next.epoch;
            if (open[lane] == NULL)
                open[lane] = job_new(JOB_OPEN);
            fb_buf_put_u16(&open[lane]->items, steps[i].part);
            fb_buf_put_u32(&open[lane]->items, steps[i].next.epoch);
            fb_buf_put_u64(&open[lane]->items, steps[i].next.history);
        } else if (steps[i].action == ASSIGN_CLOSE && epoch != 0) {
            if (close[lane] == NULL)
                close[lane] = job_new(JOB_CLOSE);
            fb_buf_put_u16(&close[lane]->items, steps[i].part);
        }
    }
    atomic_store(&n->owned_count, owned);
    for (uint32_t i = 0; i < n->worker_count; i++) {
        if (close[i] != NULL)
            worker_post(n->workers[i], close[i]);
        if (open[i] != NULL)
            worker_post(n->workers[i], open[i]);
    }
}

enum fb_status node_register(struct node *n, struct fb_err *err)
{
    struct fb_member_info m = {.kind = FB_MEMBER_NODE,
                               .inc = n->inc,
                               .started_ms = n->started_wall_ms,
                               .pid = (uint32_t)getpid()};

    memcpy(m.name, n->name, sizeof(m.name));
    snprintf(m.zone, sizeof(m.zone), "%s", fb_options_text(n->options, "process", "zone"));
    snprintf(m.listen, sizeof(m.listen), "%s", n->listen);
    snprintf(m.admin, sizeof(m.admin), "%s", n->admin_bound);
    m.weight = (uint32_t)fb_options_uint(n->options, "node", "weight");
    return fb_entry_of_member(n->coord, &m, &n->entry, err);
}

static void act(struct node *n, const struct fb_map *map)
{
    struct assign_self self = {.inc = n->inc, .settled = settled(n, map)};
    struct assign_step *steps = fb_xcalloc(map->partitions, sizeof(*steps));
    uint32_t count;
    struct fb_err err = {0};

    memcpy(self.node, n->name, sizeof(self.node));
    if (assign_plan(map, &self, n->last_epoch, steps, &count, &err) != FB_OK) {
        if (strcmp(err.msg, n->last_problem) != 0)
            FB_LOG(ERROR, "this node does not act on the map", FB_KS("error", err.msg));
        snprintf(n->last_problem, sizeof(n->last_problem), "%s", err.msg);
    } else {
        n->last_problem[0] = '\0';
        post_parts(n, steps, count);
        commit_steps(n, steps, count);
    }
    free(steps);
}

void node_cluster_changed(void *arg, struct fb_cluster_state *s)
{
    struct node *n = arg;
    struct fb_cluster_state *old = node_state_get(n);

    if (config_changed(old, s))
        post_config(n, s);
    if (old != NULL)
        fb_cluster_state_put(old);
    act(n, s->map);
    state_set(n, s);
}

static void poke(void *arg, struct fb_coord *c)
{
    struct node *n = arg;
    struct fb_cluster_state *s = node_state_get(n);
    (void)c;
    if (s == NULL)
        return;
    act(n, s->map);
    fb_cluster_state_put(s);
}

void node_cluster_poke(struct node *n)
{
    if (fb_agent_run(n->agent, poke, n) != FB_OK)
        FB_LOG0(DEBUG, "coordinator thread is busy");
}
