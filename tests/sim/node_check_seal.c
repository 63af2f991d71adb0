/* A footer says that all before it is on disk, and a recovery that what it has replayed is: a power
 * loss behind either takes nothing of it (I18). */
#include "tests/sim/node_check_impl.h"

#include "node/disk/log_dir.h"
#include "node/disk/log_segment.h"
#include "tests/sim/os.h"

#include <stdio.h>

/* Another segment of the lane that `f` is the footer of, in front of that one? */
static bool in_front(const char *name, const struct log_footer *f)
{
    struct log_file other;
    return log_name_parse(name, &other.generation, &other.lane, &other.segment) &&
           other.generation == f->generation && other.lane == f->lane && other.segment < f->segment;
}

int __wrap_log_segment_seal(int fd, const char *name, const struct log_footer *f, uint64_t salt);
int __real_log_segment_seal(int fd, const char *name, const struct log_footer *f, uint64_t salt);
int __wrap_log_segment_seal(int fd, const char *name, const struct log_footer *f, uint64_t salt)
{
    struct node_check *c = node_check_mine();
    struct sim_fs *fs = c->proc->fs;
    struct fs_node *dir;
    const char *opened_as;
    const struct fs_node *file = sim_os_file(fd, &dir, &opened_as);
    char own[LOG_NAME_BYTES];

    log_name_format(own, f->generation, f->lane, f->segment);
    if (!fs->lied && (!fs_durable(file, 0, f->offset) || !fs_name_durable(fs, dir, own)))
        sim_violation(c->sim, "I18",
                      "%s gets its footer while its name or what is before it is not on disk", own);
    for (uint32_t i = 0; !fs->lied && i < dir->names.n; i++) {
        const char *other = dir->names.e[i].name;
        const struct fs_node *g;
        if (!in_front(other, f))
            continue;
        g = fs_child(fs, dir, other);
        if (!fs_durable(g, 0, g->size) || !fs_name_durable(fs, dir, other))
            sim_violation(c->sim, "I18", "%s gets its footer while %s in front is not on disk", own,
                          other);
    }
    return __real_log_segment_seal(fd, name, f, salt);
}

void node_check_recovered_files(const struct node_check *c)
{
    struct sim_fs *fs = c->proc->fs;
    char path[FS_NAME_BYTES];
    struct fs_node *dir;

    snprintf(path, sizeof path, "/data/%s/log", c->proc->name);
    dir = fs_lookup(fs, path);
    for (uint32_t i = 0; !fs->lied && dir != NULL && i < dir->names.n; i++) {
        const char *name = dir->names.e[i].name;
        struct log_file parsed;
        const struct fs_node *f;
        if (!log_name_parse(name, &parsed.generation, &parsed.lane, &parsed.segment))
            continue;
        f = fs_child(fs, dir, name);
        if (!fs_durable(f, 0, f->size) || !fs_name_durable(fs, dir, name))
            sim_violation(c->sim, "I18", "recovery has replayed %s, which is not on disk", name);
    }
}
