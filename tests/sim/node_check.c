/* What reaches a node's log, and what its recovery brings back (node_check.h). */
#include "tests/sim/node_check_impl.h"

#include "node/disk/log_internal.h"
#include "proto/base/hash.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

static struct node_check *checks;

struct node_check *node_check_mine(void)
{
    struct node_check *c = checks;
    while (c->proc != sim_self())
        c = c->next;
    return c;
}

struct node_check *node_check_new(struct sim *s, struct ledger *l, uint32_t partitions,
                                  const struct fb_nsset *namespaces)
{
    struct node_check *c = fb_xcalloc(1, sizeof *c);
    c->sim = s;
    c->partitions = partitions;
    c->namespaces = namespaces;
    c->ledger = l;
    c->parts = fb_xcalloc(partitions, sizeof *c->parts);
    for (uint32_t i = 0; i < partitions; i++)
        c->parts[i].keys = ledger_keys(l, (uint16_t)i);
    c->next = checks;
    checks = c;
    return c;
}

void node_check_free(struct node_check *c)
{
    struct node_check **at = &checks;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    for (uint32_t i = 0; i < c->partitions; i++)
        free(c->parts[i].r);
    for (uint32_t i = 0; i < NODE_WORKERS_MAX; i++)
        fb_buf_fini(&c->in_flight[i]);
    node_check_load_end(c);
    free(c->parts);
    free(c->batches);
    free(c->marks);
    free(c->incs);
    free(c);
}

void node_check_start(struct node_check *c, struct sim_proc *p, enum node_loss loss)
{
    c->proc = p;
    c->node = NULL;
    c->snapshot.shown = 0;
    node_check_limits(c);
    node_check_clock_start(c);
    c->loss = loss;
    c->recovered = false;
    c->generation = 0;
    c->first_batch = c->batch_n;
    c->errors_before = p->fs->errors;
    for (uint32_t i = 0; i < c->partitions; i++) {
        c->parts[i].floor = loss == NODE_LOSS_ANY ? 0 : c->parts[i].durable;
        c->parts[i].epoch_started = 0;
        c->parts[i].open = 0;
        c->parts[i].parted = false;
    }
}

void node_check_end(struct node_check *c)
{
    c->node = NULL;
    memset(c->asked, 0, sizeof c->asked);
    node_check_load_end(c);
}

bool node_check_recovered(const struct node_check *c)
{
    return c->recovered;
}

struct node *node_check_node(struct node_check *c)
{
    /* while it stops its lanes are being freed */
    return c->node != NULL && !atomic_load(&c->node->stopping) ? c->node : NULL;
}

bool node_check_has(const struct node_check *c, uint16_t part, uint64_t ver)
{
    const struct part_view *v = &c->parts[part];
    return !v->filling && ledger_past(c->ledger, part, ver, v->written);
}

bool node_check_whole(const struct node_check *c, uint32_t file)
{
    bool any = false;
    for (uint32_t i = 0; i < c->batch_n; i++)
        if (c->batches[i].file->number == file) {
            if (!c->batches[i].checked)
                return false;
            any = true;
        }
    return any;
}

void node_check_must_refuse(struct node_check *c, bool yes)
{
    c->must_refuse = yes;
}

uint64_t node_check_written(const struct node_check *c, uint16_t part)
{
    return c->parts[part].written;
}

uint64_t node_check_durable(const struct node_check *c, uint16_t part)
{
    return c->parts[part].durable;
}

/* ---- records ---- */

static void record_seen(struct node_check *c, const struct fb_record *r, uint64_t content)
{
    struct part_view *v = &c->parts[r->part];
    const struct seen *last;
    struct seen s;

    if (ledger_copies(c->ledger) && node_check_note(c, r))
        return;
    last = v->n > 0 ? &v->r[v->n - 1] : NULL;
    if (last != NULL && (r->ver <= last->ver || r->prev != last->ver))
        sim_violation(c->sim, "I2",
                      "partition %u: record %u/%llu (prev %u/%llu) follows %u/%llu in the log",
                      r->part, fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver),
                      fb_ver_epoch(r->prev), (unsigned long long)fb_ver_counter(r->prev),
                      fb_ver_epoch(last->ver), (unsigned long long)fb_ver_counter(last->ver));
    if (last != NULL && r->ptime_ms < last->ptime)
        sim_violation(c->sim, "I30", "partition %u: time goes back in the log at %u/%llu", r->part,
                      fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver));
    if (r->type == FB_RECORD_EPOCH_START) {
        v->epoch_started = fb_ver_epoch(r->ver);
        v->history = r->history;
    } else if (ledger_copies(c->ledger)
                   ? last == NULL || fb_ver_epoch(last->ver) != fb_ver_epoch(r->ver)
                   : fb_ver_epoch(r->ver) != v->epoch_started && !c->replaying) {
        sim_violation(c->sim, "I9", "partition %u: a record of epoch %u without its start", r->part,
                      fb_ver_epoch(r->ver));
    }
    if (!c->replaying)
        node_check_clock_record(c, r, last == NULL ? 0 : last->ptime);
    ledger_record(c->ledger, r, content, &s);
    s.below_ns = c->replaying ? UINT64_MAX : node_check_below_ns(c, r);
    node_check_view_add(v, &s);
    v->written = r->ver;
}

void node_check_view_add(struct part_view *v, const struct seen *s)
{
    if (v->n == v->cap) {
        v->cap = v->cap == 0 ? 256 : v->cap * 2;
        v->r = fb_xrealloc(v->r, v->cap * sizeof *v->r);
    }
    v->r[v->n++] = *s;
}

static void mark_add(struct node_check *c, struct batch *b, uint16_t part, uint64_t ver)
{
    if (b->mark_n > 0 && c->marks[c->mark_n - 1].part == part) {
        c->marks[c->mark_n - 1].ver = ver;
        return;
    }
    if (c->mark_n == c->mark_cap) {
        c->mark_cap = c->mark_cap == 0 ? 1024 : c->mark_cap * 2;
        c->marks = fb_xrealloc(c->marks, c->mark_cap * sizeof *c->marks);
    }
    c->marks[c->mark_n++] = (struct mark){part, ver};
    b->mark_n++;
}

enum fb_status __wrap_log_append(struct log *log, uint32_t lane, uint64_t seq,
                                 struct fb_bytes records, bool urgent, struct fb_err *err);
enum fb_status __real_log_append(struct log *log, uint32_t lane, uint64_t seq,
                                 struct fb_bytes records, bool urgent, struct fb_err *err);

enum fb_status __wrap_log_append(struct log *log, uint32_t lane, uint64_t seq,
                                 struct fb_bytes records, bool urgent, struct fb_err *err)
{
    struct node_check *c = node_check_mine();
    struct log_lane *l = &log->lanes[lane];
    struct fb_reader in = fb_reader(records);
    struct batch *b;
    const char *name;
    uint64_t synced = atomic_load(&l->synced_seq);
    enum fb_status s;

    node_check_open(c);
    fb_buf_clear(&c->in_flight[lane]);
    fb_buf_put_bytes(&c->in_flight[lane], records);
    s = __real_log_append(log, lane, seq, records, urgent, err);
    fb_buf_clear(&c->in_flight[lane]);
    if (s != FB_OK)
        return s;
    if (c->batch_n == c->batch_cap) {
        c->batch_cap = c->batch_cap == 0 ? 1024 : c->batch_cap * 2;
        c->batches = fb_xrealloc(c->batches, c->batch_cap * sizeof *c->batches);
    }
    b = &c->batches[c->batch_n++];
    *b = (struct batch){.generation = log->config.generation,
                        .seq = seq,
                        .synced = synced,
                        .n = log_batch_bytes((uint32_t)records.n),
                        .lane = lane,
                        .segment = l->w_segment,
                        .first_mark = c->mark_n};
    b->at = l->w_offset - b->n;
    b->file = sim_os_file(l->w_fd, &b->dir, &name);
    while (in.n > 0) {
        const uint8_t *start = in.p;
        struct fb_record r;
        if (fb_record_decode(&in, &r) != FB_OK)
            sim_violation(c->sim, "record", "a batch of the log holds what is no record");
        record_seen(c, &r, fb_hash64(start, (size_t)(in.p - start), 1));
        mark_add(c, b, r.part, c->parts[r.part].written);
    }
    c->generation = log->config.generation;
    return FB_OK;
}

/* I18: the lane is told that everything up to log_seq is on stable storage. Is it? */
void __wrap_lane_synced(struct lane *l, uint64_t log_seq);
void __real_lane_synced(struct lane *l, uint64_t log_seq);
void __wrap_lane_synced(struct lane *l, uint64_t log_seq)
{
    struct node_check *c = node_check_mine();
    for (uint32_t i = c->first_batch; i < c->batch_n; i++) {
        struct batch *b = &c->batches[i];
        char name[LOG_NAME_BYTES];
        if (b->checked || b->lane != l->config.lane || b->seq > log_seq)
            continue;
        b->checked = true;
        log_name_format(name, b->generation, b->lane, b->segment);
        if (!c->proc->fs->lied && fs_child(c->proc->fs, b->dir, name) != NULL &&
            (!fs_durable(b->file, b->at, b->n) || !fs_name_durable(c->proc->fs, b->dir, name)))
            sim_violation(c->sim, "I18", "batch %llu of lane %u is said to be synced and is not",
                          (unsigned long long)b->seq, b->lane);
        for (uint32_t k = 0; k < b->mark_n; k++) {
            struct mark *m = &c->marks[b->first_mark + k];
            struct part_view *v = &c->parts[m->part];
            if (b->first_mark + k >= v->wiped_at && m->ver > v->durable &&
                (!v->parted || ledger_past(c->ledger, m->part, m->ver, v->written)))
                v->durable = m->ver;
        }
    }
    __real_lane_synced(l, log_seq);
}

/* ---- recovery ---- */

static void recovered_part(struct node_check *c, uint16_t part, uint64_t last)
{
    struct part_view *v = &c->parts[part];
    uint32_t n = v->n;
    if (ledger_copies(c->ledger)) {
        node_check_recovered_copy(c, part, last);
        return;
    }
    if (last > v->written)
        sim_violation(c->sim, "recovery",
                      "partition %u: version %u/%llu was recovered, %u/%llu "
                      "was the last written",
                      part, fb_ver_epoch(last), (unsigned long long)fb_ver_counter(last),
                      fb_ver_epoch(v->written), (unsigned long long)fb_ver_counter(v->written));
    if (last < v->floor || (c->loss == NODE_LOSS_NOTHING && last != v->written))
        sim_violation(c->sim, last < v->floor ? "I10" : "I13",
                      "partition %u: recovered up to %u/%llu, but %u/%llu was %s when the process "
                      "ended",
                      part, fb_ver_epoch(last), (unsigned long long)fb_ver_counter(last),
                      fb_ver_epoch(c->loss == NODE_LOSS_NOTHING ? v->written : v->floor),
                      (unsigned long long)fb_ver_counter(c->loss == NODE_LOSS_NOTHING ? v->written
                                                                                      : v->floor),
                      c->loss == NODE_LOSS_NOTHING ? "written" : "on disk");
    while (n > 0 && v->r[n - 1].ver > last)
        n--;
    if (last != 0 && (n == 0 || v->r[n - 1].ver != last))
        sim_violation(c->sim, "recovery",
                      "partition %u: recovered up to %u/%llu, which was never "
                      "written",
                      part, fb_ver_epoch(last), (unsigned long long)fb_ver_counter(last));
    for (uint32_t i = n; i > 0 && i + 64 > n; i--)
        if (v->r[i - 1].type == FB_RECORD_GROUP && v->r[i - 1].ver + v->r[i - 1].group > last)
            sim_violation(c->sim, "I14", "partition %u: half of a transaction was recovered", part);
    if (n < v->n)
        sim_trace(c->sim, "check partition %u: %u records are lost, last is %u/%llu", part,
                  v->n - n, fb_ver_epoch(last), (unsigned long long)fb_ver_counter(last));
    v->n = n;
    v->written = v->durable = v->recovered = last; /* recovery sealed and synced what it replayed */
    ledger_recovered(c->ledger, part, last, c->loss);
}

/* The batch that was being written was written after all. */
static void recovered_in_flight(struct node_check *c, uint32_t i, const struct node *n,
                                struct lane **lanes)
{
    struct fb_reader in = fb_reader(fb_buf_view(&c->in_flight[i])), again = in;
    struct fb_record r;
    bool there = false;
    c->replaying = true;
    while (in.n > 0 && fb_record_decode(&in, &r) == FB_OK) {
        there = there || lane_last_ver(lanes[node_check_lane_of(n, r.part)], r.part) == r.ver;
        if (r.type == FB_RECORD_META)
            c->parts[r.part].unsure = true;
    }
    while (there && again.n > 0) {
        const uint8_t *start = again.p;
        if (fb_record_decode(&again, &r) == FB_OK)
            record_seen(c, &r, fb_hash64(start, (size_t)(again.p - start), 1));
    }
    c->replaying = false;
    fb_buf_clear(&c->in_flight[i]);
}

/* I17: acknowledgements and records of the process before are told from its own by this alone. */
static void check_incarnation(struct node_check *c, uint64_t inc)
{
    for (uint32_t i = 0; i < c->inc_n; i++)
        if (c->incs[i] == inc)
            sim_violation(c->sim, "I17", "the node starts as incarnation %016llx a second time",
                          (unsigned long long)inc);
    if (c->inc_n == c->inc_cap) {
        c->inc_cap = c->inc_cap == 0 ? 16 : c->inc_cap * 2;
        c->incs = fb_xrealloc(c->incs, c->inc_cap * sizeof *c->incs);
    }
    c->incs[c->inc_n++] = inc;
}

enum fb_status __wrap_node_recover(struct node *n, struct lane **lanes, uint64_t *last_generation,
                                   struct fb_err *err);
enum fb_status __real_node_recover(struct node *n, struct lane **lanes, uint64_t *last_generation,
                                   struct fb_err *err);
enum fb_status __wrap_node_recover(struct node *n, struct lane **lanes, uint64_t *last_generation,
                                   struct fb_err *err)
{
    struct node_check *c = node_check_mine();
    enum fb_status s = __real_node_recover(n, lanes, last_generation, err);
    if (s != FB_OK)
        return s;
    check_incarnation(c, n->inc);
    if (c->must_refuse)
        sim_violation(c->sim, "I31", "the node starts on a log of which a synced batch is damaged");
    node_check_recovered_files(c);
    for (uint32_t i = 0; i < NODE_WORKERS_MAX; i++)
        recovered_in_flight(c, i, n, lanes);
    for (uint32_t p = 0; p < c->partitions; p++)
        recovered_part(c, (uint16_t)p, lane_last_ver(lanes[node_check_lane_of(n, p)], (uint16_t)p));
    c->node = n;
    node_check_clock_recovered(c, n);
    c->recovered = true;
    node_check_state(c);
    return s;
}

static bool is_there(const struct node_check *c, const struct batch *b, const struct fs_node *dir)
{
    char name[LOG_NAME_BYTES];
    log_name_format(name, b->generation, b->lane, b->segment);
    return b->checked && b->dir == dir && fs_child(c->proc->fs, b->dir, name) == b->file;
}

bool node_check_followed(const struct node_check *c, const struct fs_node *dir, uint32_t file)
{
    bool open[WORLD_PARTITIONS_MAX] = {
        0}; /* partitions of the file that nothing has followed so far */
    uint32_t left = 0;
    bool any = false;
    for (uint32_t i = 0; i < c->batch_n; i++) {
        const struct batch *b = &c->batches[i];
        bool of_file = b->file->number == file;
        if (!of_file && (left == 0 || !is_there(c, b, dir)))
            continue;
        any = any || of_file;
        for (uint32_t k = 0; k < b->mark_n; k++) {
            bool *at = &open[c->marks[b->first_mark + k].part];
            left += of_file && !*at;
            left -= !of_file && *at;
            *at = of_file;
        }
    }
    return any && left == 0;
}

bool node_check_vital_place(struct node_check *c, struct fs_node **f, uint64_t *at)
{
    const struct fs_node *dir;
    char path[64];
    uint32_t found = 0;
    snprintf(path, sizeof path, "/data/%s/log", c->proc->name);
    dir = fs_lookup(c->proc->fs, path);
    for (uint32_t i = 0; i < c->batch_n; i++) {
        const struct batch *b = &c->batches[i];
        bool later = false;
        char name[LOG_NAME_BYTES];
        log_name_format(name, b->generation, b->lane, b->segment);
        if (b->dir != dir || fs_child(c->proc->fs, b->dir, name) != b->file ||
            b->at + b->n > b->file->size)
            continue;
        for (uint32_t k = i + 1; k < c->batch_n && !later; k++)
            later = c->batches[k].generation == b->generation && c->batches[k].lane == b->lane &&
                    c->batches[k].checked && c->batches[k].synced >= b->seq;
        if (!later || !b->checked)
            continue;
        found++;
        if (sim_range(c->sim, SIM_DISK, 1, found) == 1) {
            *f = b->file;
            *at = b->at + sim_range(c->sim, SIM_DISK, 0, LOG_BATCH_HEADER_BYTES - 1);
        }
    }
    return found > 0;
}
