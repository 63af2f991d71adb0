/* The agent's thread looks at the map and acts (control.h). */
#include "node/io/control.h"

#include "node/control/restart.h"
#include "node/core/copies.h"
#include "node/io/links.h"
#include "node/io/rebalance.h"
#include "node/io/reports.h"
#include "node/io/worker.h"
#include "proto/base/clock.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"

#include <stdio.h>
#include <stdlib.h>

#define MS UINT64_C(1000000)
#define SETTLE_NS UINT64_C(1500000000)
#define RANK_NS UINT64_C(500000000)
#define REPORT_NS UINT64_C(1000000000)

/* Agent's thread alone. */
struct node_control {
    struct control_step *steps; /* room for all partitions */
    uint64_t *told_rev;         /* by partition: revision of the record that its worker knows */
    uint64_t *silent_ns;        /* by partition, for control_promote */
    uint64_t report_ns;         /* when it was seen to last */
    uint64_t alive_fingerprint, alive_since_ns;
    uint32_t gone_count;
    struct gone {
        char name[FB_NAME_BYTES_MAX + 1];
        uint64_t since_ns; /* 0: it is there */
    } gone[FB_NODES_MAX];
    struct successor { /* by partition: whom its record names, since when */
        char name[FB_NAME_BYTES_MAX + 1];
        uint64_t since_ns;
    } * successors;
    uint64_t *successor_ns;   /* by partition, for control_plan */
    struct control_plan said; /* its counts, as logged last */
    uint32_t leaving_count;   /* processes that workers were told of */
    uint64_t leaving[FB_NODES_MAX];
    struct node_rebalance *rebalance;
};

struct node_control *node_control_new(const struct node *n)
{
    struct node_control *c = fb_xcalloc(1, sizeof(*c));

    c->steps = fb_xcalloc(n->partitions, sizeof(*c->steps));
    c->told_rev = fb_xcalloc(n->partitions, sizeof(*c->told_rev));
    c->silent_ns = fb_xcalloc(n->partitions, sizeof(*c->silent_ns));
    c->successors = fb_xcalloc(n->partitions, sizeof(*c->successors));
    c->successor_ns = fb_xcalloc(n->partitions, sizeof(*c->successor_ns));
    c->rebalance = node_rebalance_new(n);
    return c;
}

void node_control_free(struct node_control *c)
{
    if (c == NULL)
        return;
    free(c->steps);
    free(c->told_rev);
    free(c->silent_ns);
    free(c->successors);
    free(c->successor_ns);
    node_rebalance_free(c->rebalance);
    free(c);
}

/* --- carrying out ---------------------------------------------------------------------------- */

/* One transaction of at most FB_COORD_TXN_MAX. Where one record is another by now the others are
 * written all the same: by halves, until it is found. A mismatch is somebody else's success, which
 * the next state tells. Gives how many were written. */
static uint32_t commit_some(struct node *n, const struct control_step *steps, uint32_t count)
{
    struct fb_coord_op *ops = fb_xcalloc(count, sizeof(*ops));
    char(*keys)[16] = fb_xcalloc(count, sizeof(*keys));
    struct fb_buf *values = fb_xcalloc(count, sizeof(*values));
    struct fb_err err;
    uint64_t rev;
    enum fb_status s;

    for (uint32_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof(keys[i]), "part/%u", steps[i].part);
        fb_part_record_encode(&values[i], &steps[i].next);
        ops[i] = (struct fb_coord_op){
            .key = keys[i], .rev = steps[i].rev, .value = fb_buf_view(&values[i])};
    }
    s = fb_coord_txn(n->coord, ops, count, &rev, &err);
    for (uint32_t i = 0; i < count; i++)
        fb_buf_fini(&values[i]);
    free(values);
    free(keys);
    free(ops);
    if (s == FB_OK)
        return count;
    if (s != FB_EMISMATCH)
        FB_LOG(WARN, "coordinator did not take the partition records, trying again",
               FB_KS("error", err.msg));
    if (s != FB_EMISMATCH || count == 1)
        return 0;
    return commit_some(n, steps, count / 2) + commit_some(n, steps + count / 2, count - count / 2);
}

struct control_step *node_control_steps(struct node *n)
{
    return n->control->steps;
}

void node_control_commit(struct node *n, const struct control_step *steps, uint32_t count,
                         const char *why)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < count; i += FB_COORD_TXN_MAX)
        done +=
            commit_some(n, steps + i, count - i < FB_COORD_TXN_MAX ? count - i : FB_COORD_TXN_MAX);
    if (done > 0)
        FB_LOG(INFO, "partition records written", FB_KU("partitions", done), FB_KS("why", why));
}

/* What lanes wanted to have changed. */
struct change {
    struct node *node;
    uint32_t count;
    struct lane_copy_event event[];
};

static void change(void *arg, struct fb_coord *coord)
{
    struct change *c = arg;
    struct node *n = c->node;
    struct fb_cluster_state *s = node_state_get(n);
    struct control_step *steps = n->control->steps;
    uint32_t count = 0;

    (void)coord;
    for (uint32_t i = 0; s != NULL && i < c->count && count < n->partitions; i++) {
        const struct lane_copy_event *e = &c->event[i];
        struct fb_err err;
        if (s->map->part_revs[e->part] != e->rev)
            continue; /* the lane will be told of another record, or knows it already */
        steps[count] =
            (struct control_step){.part = e->part, .kind = e->change.kind, .rev = e->rev};
        if (fb_record_next(&s->map->parts[e->part], &e->change, &steps[count].next, &err) == FB_OK)
            count++;
    }
    node_control_commit(n, steps, count, "set");
    if (s != NULL)
        fb_cluster_state_put(s);
    free(c);
}

void node_control_change(struct node *n, const struct lane_copy_event *events, uint32_t count)
{
    struct change *c = fb_xmalloc(sizeof(*c) + count * sizeof(c->event[0]));

    c->node = n;
    c->count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (events[i].kind == LANE_COPY_CAS)
            c->event[c->count++] = events[i];
    if (node_agent_run(n, change, c) != FB_OK)
        free(c); /* the lane asks again */
}

/* --- deciding -------------------------------------------------------------------------------- */

/* Each worker hears of the records of its partitions that are new. */
static void tell_records(struct node *n, struct fb_cluster_state *s)
{
    struct job *jobs[NODE_WORKERS_MAX] = {0};
    const struct fb_map *map = s->map;

    for (uint32_t p = 0; p < map->partitions; p++) {
        uint32_t lane = node_lane_of(n, (uint16_t)p);
        if (map->parts[p].epoch == 0 || map->part_revs[p] == n->control->told_rev[p])
            continue;
        n->control->told_rev[p] = map->part_revs[p];
        if (map->parts[p].epoch > n->last_epoch[p])
            n->last_epoch[p] = map->parts[p].epoch;
        if (jobs[lane] == NULL) {
            jobs[lane] = job_new(JOB_RECORD);
            jobs[lane]->state = fb_cluster_state_get(s);
        }
        fb_buf_put_u16(&jobs[lane]->items, (uint16_t)p);
    }
    for (uint32_t i = 0; i < n->worker_count; i++)
        if (jobs[i] != NULL)
            worker_post(n->workers[i], jobs[i]);
}

struct leaving {
    char name[FB_NAME_BYTES_MAX + 1];
    uint64_t inc;
};

static void take_leaving(void *arg, struct worker *w)
{
    struct leaving *v = arg;
    uint16_t node = lane_node(w->lane, v->name);

    if (node != REPLICA_NODE_NONE)
        lane_node_leaving(w->lane, node, v->inc);
    free(v);
}

/* Nodes that are about to stop: each worker hears of the process once. */
static void tell_leaving(struct node *n, const struct fb_map *map)
{
    struct node_control *c = n->control;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        bool told = m->kind != FB_MEMBER_NODE || !m->leaving || m->inc == n->inc;
        for (uint32_t k = 0; k < c->leaving_count && k < FB_NODES_MAX; k++)
            told = told || c->leaving[k] == m->inc;
        if (told)
            continue;
        c->leaving[c->leaving_count++ % FB_NODES_MAX] = m->inc; /* the oldest is long gone */
        for (uint32_t k = 0; k < n->worker_count; k++) {
            struct leaving *v = fb_xmalloc(sizeof(*v));
            struct job *j = job_new(JOB_CALL);
            memcpy(v->name, m->name, sizeof(v->name));
            v->inc = m->inc;
            j->call = take_leaving;
            j->arg = v;
            worker_post(n->workers[k], j);
        }
    }
}

/* Partitions that were led alone and have closed to begin anew, with copies: until they have their
 * epoch. */
static void begin_anew(struct node *n, const struct fb_map *map, const struct fb_member *me)
{
    const struct fb_record_event ev = {.kind = FB_REC_LAST_SET, .member = *me};
    struct control_step *steps = n->control->steps;
    uint32_t count = 0;

    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_part_record *rec = &map->parts[p];
        struct fb_err err;
        if (rec->epoch == 0 || atomic_load(&n->anew_epoch[p]) != rec->epoch ||
            !fb_member_same(&rec->primary, me) || rec->isr_count > 1)
            continue;
        steps[count] =
            (struct control_step){.part = (uint16_t)p, .kind = ev.kind, .rev = map->part_revs[p]};
        if (fb_record_next(rec, &ev, &steps[count].next, &err) == FB_OK)
            count++;
    }
    node_control_commit(n, steps, count, "copies");
}

static void count_parts(struct node *n, const struct fb_cluster_state *s,
                        const struct fb_member *me)
{
    uint32_t owned = 0, backups = 0, learners = 0, under = 0, placed = 0;

    for (uint32_t p = 0; p < s->map->partitions; p++) {
        const struct fb_part_record *rec = &s->map->parts[p];
        bool leads = fb_member_same(&rec->primary, me);
        placed += rec->epoch != 0;
        owned += leads;
        backups += !leads && fb_part_record_has(rec, me);
        under += leads && rec->isr_count < s->namespaces->replicas + 1;
        for (uint32_t i = 0; i < rec->learner_count; i++)
            learners += strcmp(rec->learners[i], me->node) == 0;
    }
    atomic_store(&n->placed_count, placed);
    atomic_store(&n->owned_count, owned);
    atomic_store(&n->backup_count, backups);
    atomic_store(&n->learner_count, learners);
    atomic_store(&n->under_replicated_count, under);
}

static void promote(struct node *n, const struct fb_map *map, const struct fb_member *me)
{
    struct control_self self = {.me = *me,
                                .t_primary_ns = NODE_PRIMARY_SILENCE_NS,
                                .rank_ns = RANK_NS,
                                .silent_ns = n->control->silent_ns,
                                .last_epoch = n->last_epoch};
    uint32_t count;

    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_member *of = &map->parts[p].primary;
        const struct fb_member_info *now = fb_map_member(map, FB_MEMBER_NODE, of->node);
        /* another process of its node is entered: that one is gone */
        bool replaced = now != NULL && now->inc != of->inc;
        n->control->silent_ns[p] =
            replaced ? UINT64_MAX : atomic_load_explicit(&n->silent_ns[p], memory_order_relaxed);
    }
    control_promote(map, &self, n->control->steps, &count);
    node_control_commit(n, n->control->steps, count, "promotion");
}

static void promote_job(void *arg, struct fb_coord *coord)
{
    struct node *n = arg;
    struct fb_cluster_state *s = node_state_get(n);
    const struct fb_member me = node_self(n);

    (void)coord;
    atomic_store(&n->promote_asked, false);
    if (s == NULL)
        return;
    if (!atomic_load(&n->leaving))
        promote(n, s->map, &me);
    fb_cluster_state_put(s);
}

void node_control_promote(struct node *n)
{
    if (atomic_exchange(&n->promote_asked, true))
        return;
    if (node_agent_run(n, promote_job, n) != FB_OK)
        atomic_store(&n->promote_asked, false);
}

/* True when the set of live nodes has been the same for SETTLE_NS. */
static bool settled(struct node_control *c, const struct fb_map *map)
{
    uint64_t print = 1, now = fb_mono_ns();
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (m->kind == FB_MEMBER_NODE && m->alive)
            print = fb_hash64(&m->inc, sizeof(m->inc), print);
    }
    if (print != c->alive_fingerprint) {
        c->alive_fingerprint = print;
        c->alive_since_ns = now;
    }
    return now - c->alive_since_ns >= SETTLE_NS;
}

/* Since when it is not alive, as far as this process has seen. */
static uint64_t gone_ns(struct node_control *c, const struct fb_member_info *m, uint64_t now)
{
    struct gone *g = NULL;

    for (uint32_t i = 0; i < c->gone_count && g == NULL; i++)
        if (strcmp(c->gone[i].name, m->name) == 0)
            g = &c->gone[i];
    if (g == NULL && c->gone_count == FB_NODES_MAX)
        return m->alive ? 0 : UINT64_MAX;
    if (g == NULL) {
        g = &c->gone[c->gone_count++];
        memcpy(g->name, m->name, sizeof(g->name));
    }
    if (m->alive)
        g->since_ns = 0;
    else if (g->since_ns == 0)
        g->since_ns = now;
    return m->alive ? 0 : now - g->since_ns;
}

/* The first of the living controls, so that several rarely compete; their compare-and-swaps keep
 * it right anyway. */
static bool controls(const struct fb_map *map, const char *self)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (m->kind == FB_MEMBER_NODE && m->alive && !m->leaving)
            return strcmp(m->name, self) == 0;
    }
    return false;
}

static bool placed(const struct fb_map *map)
{
    for (uint32_t p = 0; p < map->partitions; p++)
        if (map->parts[p].epoch != 0)
            return true;
    return false;
}

/* Is there a set of several of which no process runs? */
static bool set_died(const struct fb_map *map)
{
    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_part_record *rec = &map->parts[p];
        bool lives = rec->isr_count < 2;
        for (uint32_t i = 0; i < rec->isr_count && !lives; i++) {
            const struct fb_member_info *m = fb_map_member(map, FB_MEMBER_NODE, rec->isr[i].node);
            lives = m != NULL && m->alive && m->inc == rec->isr[i].inc;
        }
        if (!lives)
            return true;
    }
    return false;
}

static void say(struct node_control *c, const struct control_plan *plan)
{
    if (plan->held && !c->said.held)
        FB_LOG0(WARN, "most nodes vanished from the coordinator at once and still answer: nothing "
                      "is moved until they are back there, or silent");
    if (plan->waiting > c->said.waiting)
        FB_LOG(WARN,
               "all copies in sync of some partitions ended; they wait until every node of the "
               "set is started again",
               FB_KU("partitions", plan->waiting));
    if (plan->damaged > c->said.damaged)
        FB_LOG(ERROR,
               "all copies in sync of some partitions ended and one of their nodes lost its data: "
               "put its data directory back, or force one of them",
               FB_KU("partitions", plan->damaged));
    if (plan->refused > c->said.refused)
        FB_LOG(ERROR,
               "the coordinator is behind what nodes have of some partitions: was it restored?",
               FB_KU("partitions", plan->refused));
    c->said = *plan;
}

static void look_at_successors(struct node_control *c, const struct fb_map *map)
{
    uint64_t now = fb_mono_ns();

    for (uint32_t p = 0; p < map->partitions; p++) {
        struct successor *s = &c->successors[p];
        if (strcmp(s->name, map->parts[p].successor) != 0) {
            memcpy(s->name, map->parts[p].successor, sizeof(s->name));
            s->since_ns = now;
        }
        c->successor_ns[p] = now - s->since_ns;
    }
}

static void control(struct node *n, const struct fb_cluster_state *s)
{
    const struct fb_map *map = s->map;
    struct control_node *nodes = fb_xcalloc(map->member_count, sizeof(*nodes));
    struct control_report *reports = NULL;
    uint64_t heal_after_ms = s->namespaces->heal_after_ms;
    struct control_in in = {.replicas = s->namespaces->replicas,
                            .settled = settled(n->control, map),
                            .heal_after_ns = heal_after_ms == 0 ? UINT64_MAX : heal_after_ms * MS,
                            .nodes = nodes,
                            .successor_ns = n->control->successor_ns};
    struct control_plan plan = {.steps = n->control->steps};
    struct fb_err err = {0};
    bool old = placed(map);
    uint64_t now = fb_mono_ns();
    uint32_t moving;
    enum fb_status st = FB_OK;

    for (uint32_t i = 0; i < map->member_count && in.node_count < FB_NODES_MAX; i++) {
        const struct fb_member_info *m = &map->members[i];
        struct control_node *c = &nodes[in.node_count];
        uint64_t gone;
        if (m->kind != FB_MEMBER_NODE)
            continue;
        gone = gone_ns(n->control, m, now);
        if (!m->alive && !old)
            continue; /* left over from before: nobody waits for it */
        memcpy(c->place.name, m->name, sizeof(c->place.name));
        memcpy(c->place.zone, m->zone, sizeof(c->place.zone));
        c->place.weight = m->weight;
        c->inc = m->inc;
        c->alive = m->alive;
        c->leaving = m->leaving;
        c->gone_ns = gone;
        c->silent = !m->alive && !node_links_answers(n, m->name);
        c->drains = fb_cluster_state_drains(s, m->name);
        in.node_count++;
    }
    node_rebalance_act(n, n->control->rebalance, s, &in, plan.steps, &moving);
    node_control_commit(n, plan.steps, moving, "rebalance");
    if (set_died(map))
        st = reports_read(n, &reports, &in.report_count, &err);
    in.reports = reports;
    if (st == FB_OK)
        st = control_plan(map, &in, &plan, &err);
    if (st != FB_OK) {
        FB_LOG(WARN, "partitions are not looked after, trying again", FB_KS("error", err.msg));
    } else {
        say(n->control, &plan);
        node_control_commit(n, plan.steps, plan.count, "placement");
    }
    free(reports);
    free(nodes);
}

void node_control_act(struct node *n, struct fb_cluster_state *s)
{
    struct node_control *c = n->control;
    const struct fb_member me = node_self(n);
    struct fb_err err = {0};
    uint32_t count;

    if (control_restart(s->map, &me, n->last_epoch, c->steps, &count, &err) != FB_OK) {
        if (strcmp(err.msg, n->last_problem) != 0)
            FB_LOG(ERROR, "this node does not act on the map", FB_KS("error", err.msg));
        snprintf(n->last_problem, sizeof(n->last_problem), "%s", err.msg);
        return;
    }
    n->last_problem[0] = '\0';
    node_control_commit(n, c->steps, count, "restart");
    tell_records(n, s);
    begin_anew(n, s->map, &me);
    count_parts(n, s, &me);
    if (c->report_ns == 0 ||
        (fb_mono_ns() - c->report_ns >= REPORT_NS && !FB_MUTANT(cluster_report_once))) {
        c->report_ns = fb_mono_ns();
        reports_tell(n, s->map);
    }
    node_links_tend(n, s);
    tell_leaving(n, s->map);
    if (atomic_load(&n->leaving))
        return; /* what is to be led is others' */
    promote(n, s->map, &me);
    look_at_successors(c, s->map);
    if (controls(s->map, n->name))
        control(n, s);
    else
        node_rebalance_rest(n, c->rebalance);
}
