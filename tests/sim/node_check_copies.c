/* A log that is one of several copies, as a place in the ledger: it is cut, copied anew and stands
 * where a recovery finds it (I2, I13 of copies). */
#include "tests/sim/node_check_impl.h"

void node_check_stand(struct node_check *c, uint16_t part, uint64_t ver)
{
    struct part_view *v = &c->parts[part];
    uint32_t n;
    const struct seen *s;

    v->n = 0;
    for (s = ledger_find(c->ledger, part, ver); s != NULL;
         s = ledger_find(c->ledger, part, s->prev))
        node_check_view_add(v, s);
    n = v->n;
    for (uint32_t i = 0; i < n / 2; i++) {
        struct seen t = v->r[i];
        v->r[i] = v->r[n - 1 - i];
        v->r[n - 1 - i] = t;
    }
    v->written = ver;
    while (!ledger_past(c->ledger, part, v->durable, ver)) {
        s = ledger_find(c->ledger, part, v->durable);
        v->durable = s == NULL ? 0 : s->prev;
    }
}

/* Everything before is void. */
static void wiped(struct node_check *c, uint16_t part)
{
    struct part_view *v = &c->parts[part];
    node_check_stand(c, part, 0);
    v->parted = true;
    v->copied = 0;
    v->wiped_at = c->mark_n;
}

bool node_check_note(struct node_check *c, const struct fb_record *r)
{
    struct part_view *v = &c->parts[r->part];

    if (r->type == FB_RECORD_META && fb_ver_epoch(r->ver) == 0) {
        switch (r->count) {
        case LOG_NOTE_COPY:
        case LOG_NOTE_WIPED:
            wiped(c, r->part);
            v->filling = r->count == LOG_NOTE_COPY;
            break;
        case LOG_NOTE_COPY_END:
            v->filling = false;
            node_check_stand(c, r->part, v->copied);
            break;
        default:
            if (r->obj_ver != 0 && !ledger_past(c->ledger, r->part, r->obj_ver, v->written))
                sim_violation(c->sim, "I10",
                              "partition %u: %u/%llu is noted as committed and is not in the log",
                              r->part, fb_ver_epoch(r->obj_ver),
                              (unsigned long long)fb_ver_counter(r->obj_ver));
        }
        return true;
    }
    if (v->filling) {
        if (r->type == FB_RECORD_META)
            v->copied = fb_get_u64(r->value.p);
        return true;
    }
    if (r->prev == v->written)
        return false;
    if (ledger_past(c->ledger, r->part, r->ver, v->written))
        return true; /* once more, see lane_recovered: it is in an older log as well */
    if (!ledger_past(c->ledger, r->part, r->prev, v->written))
        sim_violation(c->sim, "I2",
                      "partition %u: record %u/%llu follows %u/%llu, which is not in the log: that "
                      "ends with %u/%llu",
                      r->part, fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver),
                      fb_ver_epoch(r->prev), (unsigned long long)fb_ver_counter(r->prev),
                      fb_ver_epoch(v->written), (unsigned long long)fb_ver_counter(v->written));
    node_check_stand(c, r->part, r->prev);
    v->parted = true;
    return false;
}

void node_check_recovered_copy(struct node_check *c, uint16_t part, uint64_t last)
{
    struct part_view *v = &c->parts[part];
    uint64_t floor = c->loss == NODE_LOSS_NOTHING ? v->written : v->floor;

    if (last != 0 && ledger_find(c->ledger, part, last) == NULL)
        sim_violation(c->sim, "recovery",
                      "partition %u: recovered up to %u/%llu, which nobody wrote", part,
                      fb_ver_epoch(last), (unsigned long long)fb_ver_counter(last));
    /* what does not count was perhaps cut off, and then a snapshot taken */
    if (!v->unsure && !v->filling && c->loss != NODE_LOSS_ANY &&
        !ledger_past(c->ledger, part, ledger_counted(c->ledger, part, floor), last))
        sim_violation(c->sim, "I13",
                      "partition %u: recovered up to %u/%llu, but %u/%llu was %s when the process "
                      "ended, and counts",
                      part, fb_ver_epoch(last), (unsigned long long)fb_ver_counter(last),
                      fb_ver_epoch(floor), (unsigned long long)fb_ver_counter(floor),
                      c->loss == NODE_LOSS_NOTHING ? "written" : "on disk");
    v->filling = v->unsure = false;
    node_check_stand(c, part, last);
    v->durable = v->recovered = last;
}
