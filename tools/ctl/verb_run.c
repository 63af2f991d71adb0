/* rebalance apply, status, report, pause, resume, cancel. */
#include "proto/base/units.h"
#include "tools/ctl/plan_input.h"
#include "tools/ctl/run.h"

#include <stdio.h>
#include <stdlib.h>

static int plan_of_file(struct ctl *c, struct fb_plan **p)
{
    struct fb_err err = {0};
    size_t n;
    char *text = ctl_read_file(c->args[0], &n);
    int rc = 0;

    if (text == NULL)
        return CTL_FAILED;
    if (fb_plan_decode(fb_bytes(text, n), p, &err) != FB_OK)
        rc = ctl_fail(CTL_USAGE, "%s: %s", c->args[0], err.msg);
    free(text);
    return rc;
}

static int plan_now(struct ctl *c, struct fb_plan **p)
{
    struct plan_input *in = fb_xcalloc(1, sizeof(*in));
    int rc = plan_input_fill(c, in);

    if (rc == 0)
        rc = plan_make(in, p);
    free(in);
    return rc;
}

int ctl_rebalance_apply(struct ctl *c)
{
    struct fb_plan *p = NULL;
    char question[160];
    int rc = ctl_open(c);

    if (rc == 0)
        rc = c->arg_count > 0 ? plan_of_file(c, &p) : plan_now(c, &p);
    if (rc == 0 && p->move_count == 0) {
        ctl_note(c, "nothing to move");
        rc = c->error_unchanged ? CTL_UNCHANGED : CTL_OK;
    } else if (rc == 0) {
        snprintf(question, sizeof(question), "Carry out %u moves?", p->move_count);
        rc = run_begin(c, p, NULL, question);
    }
    fb_plan_free(p);
    return rc;
}

static json_t *name_json(const struct fb_run *r, uint8_t node)
{
    return node == FB_PLAN_NO_NODE ? json_null() : json_string(r->node[node]);
}

static bool learns(const struct fb_part_record *rec, const char *node)
{
    for (uint32_t i = 0; i < rec->learner_count; i++)
        if (strcmp(rec->learners[i], node) == 0)
            return true;
    return false;
}

/* What a move that has begun is at, by its partition's record. */
static const char *at(const struct fb_run *r, const struct fb_run_move *m,
                      const struct fb_part_record *rec)
{
    if (m->to != FB_PLAN_NO_NODE && learns(rec, r->node[m->to]))
        return "copying";
    if (m->from != FB_PLAN_NO_NODE && strcmp(rec->leaving, r->node[m->from]) == 0)
        return "old copy leaves";
    if (m->lead != FB_PLAN_NO_NODE && strcmp(rec->primary.node, r->node[m->lead]) != 0)
        return "hands over";
    return "under way";
}

static json_t *move_rows(struct ctl *c, const struct run_view *v, bool all)
{
    json_t *rows = json_array();

    for (uint32_t i = 0; i < v->run->move_count; i++) {
        const struct fb_run_move *m = &v->run->move[i];
        char state = v->cursor.state[i];
        bool fine = m->part < c->cluster->map->partitions && state == FB_MOVE_BEGUN;
        json_t *row;
        if (!all && state != FB_MOVE_BEGUN)
            continue;
        row = json_pack("{s:i, s:s, s:s, s:I}", "partition", (int)m->part, "reason",
                        fb_move_reason_name((enum fb_move_reason)m->reason), "state",
                        fine ? at(v->run, m, &c->cluster->map->parts[m->part])
                             : fb_move_state_name(state),
                        "bytes", (json_int_t)m->bytes);
        json_object_set_new(row, "from", name_json(v->run, m->from));
        json_object_set_new(row, "to", name_json(v->run, m->to));
        json_object_set_new(row, "lead", name_json(v->run, m->lead));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *head(const struct run_view *v)
{
    char began[40], ended[40];
    uint64_t bytes = 0, copied = 0;
    json_t *o;

    for (uint32_t i = 0; i < v->run->move_count; i++) {
        bytes += v->run->move[i].bytes;
        copied += v->cursor.state[i] == FB_MOVE_DONE ? v->run->move[i].bytes : 0;
    }
    o = json_pack("{s:I, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:i, s:I, s:s}", "id",
                  (json_int_t)v->run->id, "state", run_state(v), "moves", (int)v->run->move_count,
                  "waiting", (int)v->count.waiting, "under_way", (int)v->count.begun, "done",
                  (int)v->count.done, "cancelled", (int)v->count.cancelled, "left_out",
                  (int)v->count.left_out, "bytes", (json_int_t)bytes, "bytes_done",
                  (json_int_t)copied, "parallel", (int)v->wish.parallel, "rate",
                  (json_int_t)v->wish.rate, "began", ctl_time(v->cursor.began_ms, began));
    json_object_set_new(o, "ended",
                        v->cursor.ended_ms == 0 ? json_null()
                                                : json_string(ctl_time(v->cursor.ended_ms, ended)));
    return o;
}

static int show(struct ctl *c, bool all)
{
    static const struct ctl_column columns[] = {
        {"PARTITION", "partition", false}, {"FROM", "from", false},   {"TO", "to", false},
        {"LEADS", "lead", false},          {"BYTES", "bytes", false}, {"REASON", "reason", false},
        {"STATE", "state", false}};
    struct run_view v;
    json_t *rows, *o;
    int rc = ctl_open(c);

    if (rc != 0)
        return rc;
    rc = run_view(c, &v);
    if (rc == 0 && v.there && c->arg_count > 0) {
        char id[24];
        snprintf(id, sizeof(id), "%llu", (unsigned long long)v.run->id);
        if (strcmp(c->args[0], id) != 0)
            rc = ctl_fail(CTL_FAILED, "rebalance %s is not kept: the last one is %s", c->args[0],
                          id);
    }
    if (rc == 0 && !v.there) {
        o = json_pack("{s:s}", "state", "none");
        ctl_print_object(c, o);
        json_decref(o);
    } else if (rc == 0) {
        o = head(&v);
        rows = move_rows(c, &v, all);
        if (c->format == CTL_JSON || c->format == CTL_JSONL)
            json_object_set(o, "move_list", rows);
        ctl_print_object(c, o);
        if (c->format != CTL_JSON && c->format != CTL_JSONL && json_array_size(rows) > 0) {
            printf("\n");
            ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
        }
        json_decref(rows);
        json_decref(o);
    }
    run_view_fini(&v);
    return rc;
}

int ctl_rebalance_status(struct ctl *c)
{
    return show(c, false);
}

int ctl_rebalance_report(struct ctl *c)
{
    return show(c, true);
}

static int unchanged(const struct ctl *c, const char *why)
{
    ctl_note(c, "nothing to change: %s", why);
    return c->error_unchanged ? CTL_UNCHANGED : CTL_OK;
}

/* Of one wish; *again: somebody else has changed it meanwhile. */
static int try_wish(struct ctl *c, enum fb_run_wish_kind kind, uint64_t *id, bool *again)
{
    struct run_view v;
    struct fb_buf text = {0};
    struct fb_err err;
    enum fb_status st;
    uint64_t rev;
    int rc = run_view(c, &v);

    *again = false;
    *id = 0;
    if (rc != 0 || !v.there || v.cursor.ended_ms != 0) {
        rc = rc != 0 ? rc : unchanged(c, "no rebalance is under way");
    } else if (v.wish.kind == kind) {
        rc = unchanged(c, run_state(&v));
    } else if (v.wish.kind == FB_WISH_CANCEL) {
        rc = ctl_fail(CTL_REFUSED, "it is being cancelled; make a new plan when that is over");
    } else if (c->dry_run) {
        ctl_note(c, "rebalance %llu would %s (nothing was changed)", (unsigned long long)v.run->id,
                 kind == FB_WISH_GO ? "go on" : fb_run_wish_name(kind));
    } else {
        v.wish.kind = kind;
        fb_run_wish_encode(&text, &v.wish);
        st = fb_coord_cas(c->coord, FB_RUN_WISH_KEY, c->cluster->run_wish.rev, fb_buf_view(&text),
                          &rev, &err);
        fb_buf_fini(&text);
        *again = st == FB_EMISMATCH || st == FB_EUNKNOWN;
        *id = v.run->id;
        rc = st == FB_OK || *again ? CTL_OK : ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    }
    run_view_fini(&v);
    return rc;
}

static int wish(struct ctl *c, enum fb_run_wish_kind kind)
{
    bool again = true;
    uint64_t id = 0;
    int rc = ctl_open(c);

    for (int i = 0; i < 10 && rc == 0 && again; i++) {
        rc = i > 0 ? ctl_refresh(c) : 0;
        if (rc == 0)
            rc = try_wish(c, kind, &id, &again);
    }
    if (rc == 0 && again)
        return ctl_fail(CTL_FAILED, "somebody else keeps changing the same setting; try again");
    if (rc == 0 && id != 0 && kind == FB_WISH_CANCEL && c->wait)
        return run_wait(c, id);
    return rc;
}

int ctl_rebalance_pause(struct ctl *c)
{
    return wish(c, FB_WISH_PAUSE);
}

int ctl_rebalance_resume(struct ctl *c)
{
    return wish(c, FB_WISH_GO);
}

int ctl_rebalance_cancel(struct ctl *c)
{
    return wish(c, FB_WISH_CANCEL);
}
