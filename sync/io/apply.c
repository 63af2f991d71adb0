/* Apply threads. */
#include "sync/io/apply.h"

#include "proto/base/clock.h"
#include "proto/base/probe.h"
#include "proto/rt/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

struct sync_applier {
    struct sync_process *p;
    struct fb_mailbox *box;
    struct fb_thread *thread;
    struct pg *pg;
    sync_applied_fn done;
    void *arg;
    uint64_t conninfo_gen;
    _Atomic bool stop;
    struct fb_histogram *rows, *duration;
};

static enum pg_class attach(struct sync_applier *a, struct sync_op *op)
{
    bool fatal = false;
    enum pg_class c = pg_connect(a->pg, &fatal, &op->err);

    if (c == PG_OK)
        c = pg_read_checkpoints(a->pg, a->p->cluster, sync_op_add_checkpoint, op, &op->err);
    return c != PG_OK ? c : pg_read_standbys(a->pg, &op->standbys, &op->err);
}

/* Before anybody resolves them: a process that ends here leaves them in the log as open. */
static enum pg_class log_conflicts(struct sync_applier *a, struct sync_op *op)
{
    struct pg_error err;
    enum pg_class c = pg_conflict_put(a->pg, a->p->cluster, &op->batch, &err);

    if (c == PG_OK)
        return PG_CONFLICT;
    op->err = err;
    return c;
}

static enum pg_class conflicts_done(struct sync_applier *a, struct sync_op *op)
{
    enum pg_class c = PG_OK;

    for (struct sync_resolved *r = op->resolved; r != NULL && c == PG_OK; r = r->next)
        c = pg_conflict_done(a->pg, a->p->cluster, r->ns, fb_bytes(r->id, r->id_n), r->ver,
                             fb_outcome_word((enum fb_outcome)r->outcome), &op->err);
    return c;
}

static void run_op(struct sync_applier *a, struct sync_op *op)
{
    const struct pg_feed *f = op->batch.feeds;
    uint64_t start = fb_mono_ns();

    op->err.feed = UINT32_MAX;
    FB_PROBE2(apply, op->kind, op->batch.feed_count);
    switch (op->kind) {
    case SYNC_OP_ATTACH:
        op->class = attach(a, op);
        break;
    case SYNC_OP_APPLY:
        op->class = pg_apply(a->pg, a->p->cluster, &op->batch, &op->err);
        if (op->class == PG_CONFLICT)
            op->class = log_conflicts(a, op);
        break;
    case SYNC_OP_PARK:
        op->class = pg_dead_letter_put(a->pg, a->p->cluster, f->ns->name, f->part, &f->objects[0],
                                       op->park.sqlstate, op->park.message, &op->err);
        break;
    case SYNC_OP_CONFLICT_DONE:
        op->class = conflicts_done(a, op);
        break;
    case SYNC_OP_COUNT:
        break;
    case SYNC_OP_BARRIER:
        op->class = pg_barrier(a->pg, a->p->cluster, &op->batch, &op->err);
        break;
    }
    op->err.class = op->class;
    op->took_ns = fb_mono_ns() - start;
    FB_PROBE3(commit, op->kind, op->class, op->took_ns);
    if (op->kind == SYNC_OP_APPLY && op->class == PG_OK) {
        fb_histogram_observe_ns(a->duration, op->took_ns, 1);
        fb_histogram_observe_rows(a->rows, op->batch.rows_updated + op->batch.rows_inserted +
                                               op->batch.rows_deleted);
    }
    if (op->class == PG_OUTAGE || op->class == PG_UNKNOWN) {
        pg_disconnect(a->pg);
        sync_control_suspect(a->p->control);
    }
}

static const char *const op_notes[SYNC_OP_COUNT] = {[SYNC_OP_ATTACH] = "attaches to the database",
                                                    [SYNC_OP_APPLY] = "writes a batch",
                                                    [SYNC_OP_PARK] = "writes a dead letter",
                                                    [SYNC_OP_BARRIER] = "waits for a standby",
                                                    [SYNC_OP_CONFLICT_DONE] =
                                                        "writes what became of conflicts"};

/* A new connection string is no outage: connect before the operation finds the connection gone.
 * When that fails the operation does, in its own way. */
static void fresh_connection(struct sync_applier *a, const struct sync_op *op)
{
    struct pg_error ignored;
    bool fatal;

    if (sync_process_pg(a->p, a->pg, &a->conninfo_gen) && op->kind != SYNC_OP_ATTACH)
        (void)pg_connect(a->pg, &fatal, &ignored);
}

static void applier_run(void *arg)
{
    struct sync_applier *a = arg;

    for (;;) {
        struct fb_mail *m = fb_mailbox_take(a->box);
        while (m != NULL) {
            struct sync_job *job = FB_CONTAINER_OF(m, struct sync_job, mail);
            m = m->next;
            fb_beat_blocks(FB_BEAT_DATABASE, op_notes[job->op->kind]);
            fresh_connection(a, job->op);
            run_op(a, job->op);
            fb_beat("hands over a result");
            a->done(a->arg, job);
        }
        if (atomic_load(&a->stop))
            return;
        fb_mailbox_wait(a->box, UINT64_MAX);
    }
}

enum fb_status sync_applier_start(struct sync_process *p, uint32_t i, sync_applied_fn done,
                                  void *arg, struct sync_applier **out, struct fb_err *err)
{
    struct sync_applier *a = fb_xcalloc(1, sizeof(*a));
    char name[16];

    a->p = p;
    a->done = done;
    a->arg = arg;
    a->box = fb_mailbox_new(16);
    a->pg = pg_new(&p->pg);
    a->rows =
        fb_histogram_register("sync_batch_rows", NULL, "Rows of a write-behind transaction", true);
    a->duration = fb_histogram_register("sync_batch_duration_seconds", NULL,
                                        "Time of a write-behind transaction", false);
    *out = a;
    (void)snprintf(name, sizeof(name), "apply-%u", i);
    return fb_thread_start(name, applier_run, a, &a->thread, err);
}

void sync_applier_run(struct sync_applier *a, struct sync_job *job)
{
    fb_mailbox_force(a->box, &job->mail); /* the core has at most one under way */
}

void sync_applier_stop(struct sync_applier *a)
{
    atomic_store(&a->stop, true);
    fb_mailbox_wake(a->box);
    fb_thread_join(a->thread);
    fb_assert(fb_mailbox_take(a->box) == NULL);
    fb_mailbox_free(a->box);
    pg_free(a->pg);
    free(a);
}
