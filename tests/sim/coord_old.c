/* An older copy in the coordinator (coord_old.h). */
#include "tests/sim/coord_old.h"

#include "proto/cluster/record_next.h"
#include "tests/sim/coord.h"

#include <stdio.h>
#include <stdlib.h>

struct records { /* the values of part/<p>; empty: there was none */
    struct fb_buf value[WORLD_PARTITIONS_MAX];
};

struct coord_old {
    struct world *w;
    uint32_t (*log_epoch)(void *arg, uint16_t part);
    void *log_arg;
    struct records copy, newer;
    bool copied, restored;
    uint64_t number; /* of restorations */
};

static uint32_t epoch_of(const struct fb_buf *value)
{
    struct fb_part_record rec;
    struct fb_err err;
    if (value->n == 0 || fb_part_record_decode(fb_buf_view(value), &rec, &err) != FB_OK)
        return 0;
    return rec.epoch;
}

static void take(struct coord_old *o, struct records *out)
{
    struct fb_coord_list all;
    for (uint32_t p = 0; p < o->w->partitions; p++)
        fb_buf_clear(&out->value[p]);
    sim_coord_list(o->w->coord, &all);
    for (size_t i = 0; i < all.count; i++) {
        unsigned p;
        if (sscanf(all.kv[i].key, "part/%u", &p) == 1 && p < o->w->partitions)
            fb_buf_put_bytes(&out->value[p], all.kv[i].value);
    }
    fb_coord_list_free(&all);
}

static void place(struct coord_old *o, uint32_t p, const struct fb_buf *value)
{
    char key[16];
    snprintf(key, sizeof key, "part/%u", p);
    sim_coord_force(o->w->coord, key, fb_buf_view(value));
}

struct coord_old *coord_old_new(struct world *w, uint32_t (*log_epoch)(void *arg, uint16_t part),
                                void *arg)
{
    struct coord_old *o = fb_xcalloc(1, sizeof *o);
    o->w = w;
    o->log_epoch = log_epoch;
    o->log_arg = arg;
    return o;
}

void coord_old_free(struct coord_old *o)
{
    for (uint32_t p = 0; p < WORLD_PARTITIONS_MAX; p++) {
        fb_buf_fini(&o->copy.value[p]);
        fb_buf_fini(&o->newer.value[p]);
    }
    free(o);
}

void coord_old_end(struct coord_old *o)
{
    struct records now = {0};
    if (!o->restored)
        return;
    o->restored = false;
    take(o, &now);
    /* what has gone on from the older copy meanwhile stays: nobody had known of more */
    for (uint32_t p = 0; p < o->w->partitions; p++) {
        if (epoch_of(&o->newer.value[p]) > epoch_of(&now.value[p]))
            place(o, p, &o->newer.value[p]);
        fb_buf_fini(&now.value[p]);
    }
    sim_trace(o->w->sim, "operator puts the coordinator's newer records back");
}

static void end_ev(void *arg, uint64_t number)
{
    struct coord_old *o = arg;
    if (o->number == number)
        coord_old_end(o);
}

static bool is_known_older(struct coord_old *o, uint32_t p)
{
    return o->copy.value[p].n > 0 &&
           epoch_of(&o->copy.value[p]) < o->log_epoch(o->log_arg, (uint16_t)p);
}

static void restore(struct coord_old *o)
{
    struct sim *s = o->w->sim;
    uint32_t older = 0;
    take(o, &o->newer);
    for (uint32_t p = 0; p < o->w->partitions; p++)
        if (is_known_older(o, p)) {
            place(o, p, &o->copy.value[p]);
            older++;
        }
    if (older == 0)
        return;
    sim_fault(s, SIM_FAULT_COORD_OLD);
    sim_trace(s, "operator restores the coordinator: %u partition records are older", older);
    o->restored = true;
    sim_after(s, sim_spread(s, SIM_COORD, 50 * SIM_MS, 10 * SIM_S), end_ev, o, ++o->number);
}

void coord_old_strike(struct coord_old *o)
{
    struct sim *s = o->w->sim;
    if (o->restored || !sim_fault_on(s, SIM_FAULT_COORD_OLD) || !sim_chance(s, SIM_COORD, 30000))
        return;
    if (o->copied && sim_chance(s, SIM_COORD, 700000)) {
        restore(o);
    } else {
        take(o, &o->copy);
        o->copied = true;
    }
}
