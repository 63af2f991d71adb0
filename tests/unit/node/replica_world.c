/* Processes, disks, connections and clocks around the replica stream. */
#include "tests/unit/node/replica_world.h"

#include <stdio.h>

uint64_t draw(struct world *w)
{
    uint64_t z = (w->rng += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t node_index(const char *name)
{
    return (uint32_t)(name[1] - '0');
}

uint64_t node_clock(const struct world *w, uint32_t i)
{
    return w->node[i].offset_ns + w->now / 1000 * w->node[i].rate;
}

bool node_runs(const struct world *w, uint32_t i)
{
    return w->node[i].rl != NULL && w->now >= w->node[i].paused_until;
}

struct replica *node_replica(const struct world *w, uint32_t i)
{
    return replica_get(w->node[i].rl, 0);
}

bool member_is_alive(const struct world *w, const struct fb_member *m)
{
    uint32_t i = node_index(m->node);
    return w->node[i].rl != NULL && w->node[i].inc == m->inc;
}

int64_t log_find(const struct anode *n, uint64_t ver)
{
    uint32_t lo = 0, hi = n->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (n->log[mid].ver < ver)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n->n && n->log[lo].ver == ver ? (int64_t)lo : -1;
}

/* A commit is judged in the epoch it happens in: after each event. */
static void look(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];
    const struct replica *r = node_replica(w, i);

    if (replica_com_ver(r) > n->com_seen && replica_role(r) >= REPLICA_CLOSED)
        judge_commit(w, i);
    n->com_seen = replica_com_ver(r);
}

static void log_cut(struct world *w, struct anode *n, uint32_t keep)
{
    w->cuts += keep < n->n;
    n->n = keep;
    if (n->written > keep)
        n->written = keep;
    if (n->synced > keep)
        n->synced = keep;
    if (n->syncing > keep)
        n->syncing = keep;
}

/* What a log file's replay does with a record: one that follows an older record cuts the log. */
static void log_take(struct world *w, uint32_t i, const struct fb_record *rec)
{
    struct anode *n = &w->node[i];
    struct entry e = {.ver = rec->ver, .prev = rec->prev};

    if (rec->value.n == 8)
        e.content = fb_get_u64(rec->value.p);
    if (n->n > 0 && n->log[n->n - 1].ver != rec->prev) {
        int64_t at = rec->prev == 0 ? -1 : log_find(n, rec->prev);
        if (at < 0 && rec->prev != 0)
            violation(w, "node %u takes a record that follows nothing", i);
        log_cut(w, n, (uint32_t)(at + 1));
    }
    if (n->n == LOG_MAX) {
        violation(w, "the model's log is full");
        return;
    }
    n->log[n->n++] = e;
    judge_append(w, i, &e, false);
}

static void lead_append(struct world *w, uint32_t i, uint8_t type, uint64_t ver)
{
    struct anode *n = &w->node[i];
    struct replica *r = node_replica(w, i);
    uint8_t value[8];
    struct entry e = {.ver = ver, .prev = replica_last_ver(r), .content = ++w->next_content};
    struct fb_record rec = {.type = type, .ver = ver, .prev = e.prev, .value = {value, 8}};
    struct fb_buf b = {0};

    if (n->n == LOG_MAX || fb_ver_counter(ver) >= COUNTERS_MAX || fb_ver_epoch(ver) >= EPOCHS_MAX)
        return;
    fb_put_u64(value, e.content);
    fb_record_encode(&b, &rec);
    n->log[n->n++] = e;
    judge_append(w, i, &e, true);
    replica_appended(r, ver, e.prev, fb_buf_view(&b));
    fb_buf_fini(&b);
}

void node_start(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];
    struct replica_config c = {.inc = ++w->next_inc,
                               .partitions = 1,
                               .tail_bytes = w->small_tail ? 4096 : 65536,
                               .lease_ns = 1000 * MS,
                               .beat_ns = 200 * MS,
                               .silence_ns = 1500 * MS,
                               .cas_retry_ns = 200 * MS};
    uint64_t last = n->n == 0 ? 0 : n->log[n->n - 1].ver;
    uint64_t com = chance(w, 50) ? 0 : n->com_saved;

    memcpy(c.node, n->name, sizeof n->name);
    n->inc = c.inc;
    n->rl = replica_lane_new(&c);
    n->written = n->synced = n->n; /* recovery syncs what it has read */
    n->syncing = n->read_n = 0;
    n->rev = 0;
    n->offset_ns = below(w, 1000) * 1000 * MS;
    n->paused_until = 0;
    for (uint32_t k = 0; k < n->n; k++)
        replica_recovered(node_replica(w, i), n->log[k].ver, n->log[k].prev);
    replica_start(node_replica(w, i), 0, com < last ? com : last);
    n->com_seen = replica_com_ver(node_replica(w, i));
}

void node_stop(struct world *w, uint32_t i, bool power)
{
    struct anode *n = &w->node[i];
    struct replica *r = node_replica(w, i);

    for (uint32_t j = 0; j < NODES; j++)
        if (j != i && w->up[i][j])
            link_set(w, i, j, false);
    n->com_saved = replica_com_ver(r);
    n->n = n->written;
    if (power)
        n->n = n->synced + below(w, n->n - n->synced + 1);
    w->power_losses += power;
    w->kills += !power;
    replica_lane_free(n->rl);
    n->rl = NULL;
}

void node_copy(struct world *w, uint32_t i, uint32_t from)
{
    struct anode *n = &w->node[i], *p = &w->node[from];
    int64_t end = log_find(p, replica_com_ver(node_replica(w, from)));

    if (n->rl != NULL)
        node_stop(w, i, false);
    n->n = (uint32_t)(end + 1);
    memcpy(n->log, p->log, n->n * sizeof n->log[0]);
    n->com_saved = n->n == 0 ? 0 : n->log[n->n - 1].ver;
    node_start(w, i);
    w->copies++;
}

void node_read_record(struct world *w, uint32_t i, bool stale)
{
    struct anode *n = &w->node[i];
    uint64_t rev = w->rev, back = stale ? 1 + below(w, 6) : 0;

    if (back >= rev || back >= FB_COUNT_OF(w->old_rec))
        back = 0;
    rev -= back;
    if (rev <= n->rev || (back > 0 && rev < 2))
        return;
    n->rev = rev;
    n->rec = back == 0 ? w->rec : w->old_rec[rev % FB_COUNT_OF(w->old_rec)];
    if (replica_record(node_replica(w, i), &n->rec, rev, node_clock(w, i)) != FB_OK)
        violation(w, "node %u refuses the coordinator's record %llu", i, (unsigned long long)rev);
    look(w, i);
}

static void message_fini(struct message *m)
{
    fb_buf_fini(&m->appends);
    fb_buf_fini(&m->acks);
    fb_buf_fini(&m->hellos);
}

static void link_drop(struct link *l, uint32_t k)
{
    message_fini(&l->m[k]);
    l->n--;
    memmove(&l->m[k], &l->m[k + 1], (l->n - k) * sizeof l->m[0]);
}

/* A lost connection drops most of what is on its way; what a process has read from it already may
 * be looked at after the next one stands, in any order. */
static void link_reset(struct world *w, struct link *l)
{
    for (uint32_t k = l->n; k > 0; k--) {
        if (chance(w, 75)) {
            link_drop(l, k - 1);
        } else {
            uint32_t o = below(w, l->n);
            struct message m = l->m[k - 1];
            l->m[k - 1] = l->m[o];
            l->m[o] = m;
        }
    }
}

void link_set(struct world *w, uint32_t i, uint32_t j, bool up)
{
    struct anode *a = &w->node[i], *b = &w->node[j];

    if (w->up[i][j] == up || (up && (a->rl == NULL || b->rl == NULL)))
        return;
    w->up[i][j] = w->up[j][i] = up;
    if (up) {
        replica_node_up(a->rl, replica_node_of(a->rl, b->name), b->inc);
        replica_node_up(b->rl, replica_node_of(b->rl, a->name), a->inc);
        return;
    }
    link_reset(w, &w->link[i][j]);
    link_reset(w, &w->link[j][i]);
    if (a->rl != NULL)
        replica_node_down(a->rl, replica_node_of(a->rl, b->name));
    if (b->rl != NULL)
        replica_node_down(b->rl, replica_node_of(b->rl, a->name));
}

static void send_all(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];

    for (uint32_t j = 0; j < NODES; j++) {
        struct link *l = &w->link[i][j];
        struct replica_node *rn;
        struct message *m;
        struct fb_reader in;
        if (j == i)
            continue;
        rn = replica_node_at(n->rl, replica_node_of(n->rl, w->node[j].name));
        if (rn->append_n + rn->ack_n + rn->hello_n == 0)
            continue;
        if (l->n == MESSAGES_MAX) {
            link_set(w, i, j, false);
            continue;
        }
        in = fb_reader(fb_buf_view(&rn->acks));
        for (uint32_t k = 0; k < rn->ack_n; k++) {
            struct fb_append_ack a;
            if (fb_append_ack_decode(&in, &a) == FB_OK)
                judge_ack(w, i, &a);
        }
        m = &l->m[l->n++];
        *m = (struct message){.appends = rn->appends,
                              .acks = rn->acks,
                              .hellos = rn->hellos,
                              .append_n = rn->append_n,
                              .ack_n = rn->ack_n,
                              .hello_n = rn->hello_n,
                              .src_inc = n->inc,
                              .dst_inc = rn->inc,
                              .at = w->now +
                                    below(w, chance(w, w->slow_net ? 50 : 10) ? 600 : 20) * MS};
        rn->appends = rn->acks = rn->hellos = (struct fb_buf){0};
        rn->append_n = rn->ack_n = rn->hello_n = 0;
    }
}

static void deliver(struct world *w, uint32_t i, uint32_t j, const struct message *m)
{
    struct anode *n = &w->node[i];
    uint16_t from = replica_node_of(n->rl, w->node[j].name);
    uint64_t clock = node_clock(w, i);
    struct fb_reader in = fb_reader(fb_buf_view(&m->hellos));
    struct fb_buf log = {0};
    enum fb_status st = FB_OK;

    for (uint32_t k = 0; k < m->hello_n && st == FB_OK; k++) {
        struct fb_replica_hello h;
        st = fb_replica_hello_decode(&in, &h);
        if (st == FB_OK)
            st = replica_recv_hello(n->rl, from, m->src_inc, &h, clock);
    }
    in = fb_reader(fb_buf_view(&m->acks));
    for (uint32_t k = 0; k < m->ack_n && st == FB_OK; k++) {
        struct fb_append_ack a;
        st = fb_append_ack_decode(&in, &a);
        if (st == FB_OK)
            st = replica_recv_ack(n->rl, from, m->src_inc, &a, clock);
        look(w, i);
    }
    in = fb_reader(fb_buf_view(&m->appends));
    for (uint32_t k = 0; k < m->append_n && st == FB_OK; k++) {
        struct fb_append a;
        struct fb_reader records;
        st = fb_append_decode(&in, &a);
        if (st == FB_OK)
            st = replica_recv_append(n->rl, from, m->src_inc, &a, &log, clock);
        look(w, i);
        records = fb_reader(fb_buf_view(&log));
        while (records.n > 0) {
            struct fb_record rec;
            if (fb_record_decode(&records, &rec) != FB_OK)
                abort();
            log_take(w, i, &rec);
        }
        while (n->n > 0 && n->log[n->n - 1].ver > replica_last_ver(node_replica(w, i)))
            log_cut(w, n, n->n - 1);
        fb_buf_clear(&log);
    }
    if (st != FB_OK)
        violation(w, "node %u refuses what node %u sends", i, j);
    fb_buf_fini(&log);
    if (replica_last_ver(node_replica(w, i)) != (n->n == 0 ? 0 : n->log[n->n - 1].ver))
        violation(w, "node %u: the log's end is not where the replica has it", i);
}

static void receive(struct world *w, uint32_t i)
{
    for (uint32_t j = 0; j < NODES; j++) {
        struct link *l = &w->link[j][i];
        uint32_t most = chance(w, 70) ? 1 + below(w, 2) : MESSAGES_MAX;
        while (i != j && most-- > 0 && l->n > 0 && !l->blocked && l->m[0].at <= w->now) {
            if (l->m[0].dst_inc == w->node[i].inc)
                deliver(w, i, j, &l->m[0]);
            link_drop(l, 0);
        }
    }
}

static void effects(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];
    struct replica *r = node_replica(w, i);
    uint32_t fx = replica_fx(r);

    if ((fx & REPLICA_FX_OPENED) != 0 && replica_role(r) == REPLICA_OPEN)
        judge_open(w, i);
    if ((fx & REPLICA_FX_CAS) != 0 && replica_role(r) >= REPLICA_CLOSED)
        coord_request(w, i);
    if ((fx & REPLICA_FX_SYNC) != 0 && n->syncing == 0)
        n->syncing = n->written;
    judge_answers(w, i);
    replica_fx_clear(n->rl);
}

void node_tick(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];
    struct replica *r;

    if (!node_runs(w, i))
        return;
    r = node_replica(w, i);
    judge_reads(w, i);
    receive(w, i);
    if (chance(w, w->healed ? 50 : 15))
        node_read_record(w, i, !w->healed && chance(w, 30));
    replica_tick(n->rl, node_clock(w, i));
    look(w, i);
    if (replica_role(r) == REPLICA_CLOSED && fb_ver_epoch(replica_last_ver(r)) < replica_epoch(r))
        lead_append(w, i, FB_RECORD_EPOCH_START, fb_ver(replica_epoch(r), 0));
    for (uint32_t k = below(w, 3); k > 0 && replica_role(r) == REPLICA_OPEN && !w->healed; k--) {
        w->writes++;
        lead_append(w, i, FB_RECORD_PUT, replica_last_ver(r) + 1);
    }
    replica_flush(n->rl, node_clock(w, i));
    if (chance(w, 30))
        send_all(w, i);
    if (w->restarts && !w->healed &&
        below(w, w->harsh ? 100 : 800) == 0) { /* between sending and writing */
        node_stop(w, i, false);
        return;
    }
    n->written = n->n;
    replica_written(n->rl, node_clock(w, i));
    look(w, i);
    effects(w, i);
    send_all(w, i);
    judge_reads(w, i);
}

void node_sync(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];

    if (!node_runs(w, i))
        return;
    if (n->syncing == 0) {
        n->syncing = n->written;
        return;
    }
    if (n->syncing > n->synced) {
        n->synced = n->syncing;
        replica_synced(node_replica(w, i), n->log[n->synced - 1].ver);
        look(w, i);
    }
    n->syncing = 0;
}

void world_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->seed = w->rng = seed;
    w->now = 1000 * MS;
    w->blackouts = chance(w, 30);
    w->frail = below(w, NODES);
    w->skew = chance(w, 50);
    w->slow_sync = chance(w, 50);
    w->promotions = chance(w, 75);
    w->partitions = chance(w, 75);
    w->restarts = chance(w, 75);
    w->pauses = chance(w, 70);
    w->late_cas = chance(w, 50);
    w->slow_net = chance(w, 30);
    w->harsh = chance(w, 30);
    w->small_tail = chance(w, 25);
    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(w->node[i].name, sizeof w->node[i].name, "n%u", i);
        /* a primary reads for 0.9 of what was promised: the rates may differ by that */
        w->node[i].rate = w->skew ? (chance(w, 50) ? 960 : 1040) : 980 + below(w, 40);
        node_start(w, i);
    }
    coord_init(w);
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t j = i + 1; j < NODES; j++)
            link_set(w, i, j, true);
}

void world_fini(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        replica_lane_free(w->node[i].rl);
        for (uint32_t j = 0; j < NODES; j++)
            while (w->link[i][j].n > 0)
                link_drop(&w->link[i][j], 0);
    }
}
