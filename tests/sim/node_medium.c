/* The disk of a machine with a node: what it loses while the process is down, and what the operator
 * does when a start is refused (node_proc_impl.h). */
#include "tests/sim/coord.h"
#include "tests/sim/node_proc_impl.h"

#include <stdio.h>

static void repair_medium(struct node_proc *n)
{
    if (n->lost_file[0] != 0)
        fs_restore(fs_lookup(n->proc.fs, n->log_dir), n->lost_file, n->lost_node);
    else
        fs_flip(n->flipped, n->flipped_at, n->flipped_bit);
    n->lost_file[0] = 0;
    n->broken_medium = false;
    sim_trace(n->w->sim, "operator puts the damaged file back");
}

void node_give_up_dir(struct node_proc *n, const char *why)
{
    sim_trace(n->w->sim, "operator starts node %s with an empty directory: %s", n->proc.name, why);
    sim_fs_wipe(n->proc.fs);
    (void)fs_make(n->proc.fs, n->proc.fs->nodes[0], "data", true);
    fs_sync(n->proc.fs->nodes[0]);
    n->accept_empty = n->gone = true;
    n->broken_medium = n->ever_lied = false;
    n->lost_file[0] = 0;
    node_tell_loss(n, NODE_LOSS_ANY);
}

void node_refused(struct node_proc *n)
{
    const char *why = n->proc.last_error;
    bool excused = n->proc.fs->failed || n->proc.fs->full_said ||
                   sim_coord_failures(n->w->coord) > n->coord_failed;
    n->refusals++;
    if (strstr(why, "corrupt") != NULL || strstr(why, "damaged") != NULL ||
        strstr(why, "records before it are missing") != NULL ||
        strstr(why, "does not follow") != NULL || strstr(why, "shorter than") != NULL) {
        if (n->broken_medium)
            repair_medium(n);
        else if (n->ever_lied)
            node_give_up_dir(n, why);
        else
            sim_violation(n->w->sim, "recovery",
                          "the node refuses to start on a disk that did all "
                          "it promised: %s",
                          why);
        return;
    }
    if (strstr(why, "has no IDENTITY file") != NULL && n->ever_lied) {
        node_give_up_dir(n, why); /* its sync was the one that lied */
        return;
    }
    if (strstr(why, "accept_empty_data_dir") != NULL) {
        if (!n->gone && !n->ever_lied)
            sim_violation(n->w->sim, "I13", "the data directory is gone although nothing took it");
        node_give_up_dir(n, why);
        return;
    }
    if (!excused)
        sim_violation(n->w->sim, "start", "the node ends without a reason: %s", why);
    if (n->refusals > 50)
        sim_violation(n->w->sim, "start", "the node has not started in 50 attempts: %s", why);
}

/* Are there an earlier and a later segment of its lane and generation? Names are hexadecimal, as
 * generation-lane-segment. What is missing at the front of a lane is what a trim leaves. */
static bool in_the_middle(const struct fs_node *dir, const char *name)
{
    bool before = false, after = false;
    for (uint32_t i = 0; i < dir->names.n; i++) {
        const char *other = dir->names.e[i].name;
        if (strstr(other, ".seg") == NULL || strstr(other, ".tmp") != NULL ||
            strncmp(other, name, 11) != 0)
            continue;
        before = before || strcmp(other, name) < 0;
        after = after || strcmp(other, name) > 0;
    }
    return before && after;
}

/* A segment goes away for good. The start notices, or has no need of it: then nothing may be
 * missing of what it shows. */
static void lose_segment(struct node_proc *n)
{
    struct sim *s = n->w->sim;
    struct fs_node *dir = fs_lookup(n->proc.fs, n->log_dir);
    uint32_t found = 0;
    for (uint32_t i = 0; dir != NULL && i < dir->names.n; i++) {
        const struct fs_name *e = &dir->names.e[i];
        if (strstr(e->name, ".seg") == NULL || strstr(e->name, ".tmp") != NULL)
            continue;
        if (!in_the_middle(dir, e->name) && !node_check_followed(n->check, dir, e->node))
            continue; /* nothing tells that there was more */
        found++;
        if (sim_range(s, SIM_DISK, 1, found) != 1)
            continue;
        snprintf(n->lost_file, sizeof n->lost_file, "%s", e->name);
        n->lost_node = e->node;
    }
    if (found == 0 || !node_check_whole(n->check, n->lost_node)) {
        n->lost_file[0] = 0;
        return;
    }
    (void)fs_unlink(n->proc.fs, dir, n->lost_file);
    fs_sync(dir);
    n->broken_medium = true;
    sim_fault(s, SIM_FAULT_DISK_FLIP);
    sim_trace(s, "disk loses %s", n->lost_file);
}

void node_medium_strike(struct node_proc *n)
{
    struct sim *s = n->w->sim;
    if (!n->broken_medium && n->w->replicas == 0 && /* what it held may be void */
        sim_strikes(s, SIM_DISK, SIM_FAULT_DISK_FLIP, 100000))
        lose_segment(n);
    if (!n->broken_medium && sim_strikes(s, SIM_DISK, SIM_FAULT_DISK_FLIP, 300000) &&
        node_check_vital_place(n->check, &n->flipped, &n->flipped_at)) {
        n->flipped_bit = (unsigned)sim_range(s, SIM_DISK, 0, 7);
        fs_flip(n->flipped, n->flipped_at, n->flipped_bit);
        n->broken_medium = true;
        sim_trace(s, "disk turns a bit round in file %u at %llu", n->flipped->number,
                  (unsigned long long)n->flipped_at);
    }
    if (sim_strikes(s, SIM_DISK, SIM_FAULT_DISK_GONE, 100000)) {
        sim_trace(s, "disk is gone");
        sim_fs_wipe(n->proc.fs);
        (void)fs_make(n->proc.fs, n->proc.fs->nodes[0], "data", true);
        fs_sync(n->proc.fs->nodes[0]);
        n->broken_medium = n->ever_lied = false;
        n->lost_file[0] = 0;
        n->gone = true;
        node_tell_loss(n, NODE_LOSS_ANY);
    }
}
