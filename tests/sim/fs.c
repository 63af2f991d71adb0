/* Page cache and platter of one machine (fs.h). */
#include "tests/sim/fs.h"

#include "proto/base/hash.h"

#include <stdio.h>
#include <stdlib.h>

static struct fs_node *node_new(struct sim_fs *fs, bool dir)
{
    struct fs_node *f = fb_xcalloc(1, sizeof *f);
    if (fs->node_n == fs->node_cap) {
        fs->node_cap = fs->node_cap == 0 ? 64 : fs->node_cap * 2;
        fs->nodes = fb_xrealloc(fs->nodes, fs->node_cap * sizeof(struct fs_node *));
    }
    f->number = fs->node_n;
    f->dir = dir;
    fs->nodes[fs->node_n++] = f;
    return f;
}

struct sim_fs *sim_fs_new(struct sim *s)
{
    struct sim_fs *fs = fb_xcalloc(1, sizeof *fs);
    fs->sim = s;
    fs->room = UINT64_MAX;
    fs->lose = (uint32_t)sim_range(s, SIM_DISK, 0, 4) * 250000;
    node_new(fs, true); /* "/" */
    return fs;
}

static void node_free(struct fs_node *f)
{
    free(f->cache);
    free(f->disk);
    free(f->dirty);
    free(f->names.e);
    free(f->disk_names.e);
    free(f->changes);
    free(f);
}

void sim_fs_free(struct sim_fs *fs)
{
    if (fs == NULL)
        return;
    for (uint32_t i = 0; i < fs->node_n; i++)
        node_free(fs->nodes[i]);
    free(fs->nodes);
    free(fs);
}

/* ---- names ---- */

static uint32_t names_find(const struct fs_names *d, const char *name)
{
    for (uint32_t i = 0; i < d->n; i++)
        if (strcmp(d->e[i].name, name) == 0)
            return i;
    return UINT32_MAX;
}

static void names_put(struct fs_names *d, const char *name, uint32_t node)
{
    uint32_t i = names_find(d, name);
    if (i == UINT32_MAX) {
        if (d->n == d->cap) {
            d->cap = d->cap == 0 ? 16 : d->cap * 2;
            d->e = fb_xrealloc(d->e, d->cap * sizeof *d->e);
        }
        i = d->n++;
        snprintf(d->e[i].name, sizeof d->e[i].name, "%s", name);
    }
    d->e[i].node = node;
}

static void names_take(struct fs_names *d, const char *name)
{
    uint32_t i = names_find(d, name);
    if (i != UINT32_MAX)
        memmove(&d->e[i], &d->e[i + 1], (--d->n - i) * sizeof *d->e);
}

static void names_copy(struct fs_names *to, const struct fs_names *from)
{
    to->n = 0;
    for (uint32_t i = 0; i < from->n; i++)
        names_put(to, from->e[i].name, from->e[i].node);
}

static void names_change(struct fs_names *d, const struct fs_change *c)
{
    if (c->from[0] != 0)
        names_take(d, c->from);
    if (c->to[0] != 0)
        names_put(d, c->to, c->node);
}

static void change(struct fs_node *dir, const char *from, const char *to, uint32_t node)
{
    struct fs_change *c;
    if (dir->change_n == dir->change_cap) {
        dir->change_cap = dir->change_cap == 0 ? 16 : dir->change_cap * 2;
        dir->changes = fb_xrealloc(dir->changes, dir->change_cap * sizeof *dir->changes);
    }
    c = &dir->changes[dir->change_n++];
    snprintf(c->from, sizeof c->from, "%s", from);
    snprintf(c->to, sizeof c->to, "%s", to);
    c->node = node;
    names_change(&dir->names, c);
}

struct fs_node *fs_child(struct sim_fs *fs, struct fs_node *dir, const char *name)
{
    uint32_t i;
    if (strcmp(name, ".") == 0)
        return dir;
    i = names_find(&dir->names, name);
    return i == UINT32_MAX ? NULL : fs->nodes[dir->names.e[i].node];
}

struct fs_node *fs_lookup(struct sim_fs *fs, const char *path)
{
    struct fs_node *at = fs->nodes[0];
    while (at != NULL && *path != 0) {
        char name[FS_NAME_BYTES];
        size_t n = strcspn(path, "/");
        fb_assert(n < sizeof name);
        memcpy(name, path, n);
        name[n] = 0;
        path += n + (path[n] == '/');
        if (n > 0)
            at = at->dir ? fs_child(fs, at, name) : NULL;
    }
    return at;
}

struct fs_node *fs_make(struct sim_fs *fs, struct fs_node *dir, const char *name, bool is_dir)
{
    struct fs_node *f = node_new(fs, is_dir);
    change(dir, "", name, f->number);
    return f;
}

bool fs_unlink(struct sim_fs *fs, struct fs_node *dir, const char *name)
{
    struct fs_node *f = fs_child(fs, dir, name);
    if (f == NULL || f == dir)
        return false;
    change(dir, name, "", f->number);
    return true;
}

bool fs_rename(struct sim_fs *fs, struct fs_node *dir, const char *from, const char *to)
{
    struct fs_node *f = fs_child(fs, dir, from);
    if (f == NULL)
        return false;
    change(dir, from, to, f->number);
    return true;
}

/* ---- bytes ---- */

static void file_room(struct fs_node *f, uint64_t size)
{
    uint64_t cap = f->cap == 0 ? FS_PAGE : f->cap;
    if (size <= f->cap)
        return;
    while (cap < size)
        cap *= 2;
    f->cache = fb_xrealloc(f->cache, cap);
    f->disk = fb_xrealloc(f->disk, cap);
    f->dirty = fb_xrealloc(f->dirty, cap / FS_PAGE);
    memset(f->cache + f->cap, 0, cap - f->cap);
    memset(f->disk + f->cap, 0, cap - f->cap);
    memset(f->dirty + f->cap / FS_PAGE, 0, (cap - f->cap) / FS_PAGE);
    f->cap = cap;
}

static bool take_room(struct sim_fs *fs, uint64_t bytes)
{
    if (fs->room == UINT64_MAX)
        return true;
    if (bytes > fs->room)
        return false;
    fs->room -= bytes;
    return true;
}

bool fs_reserve(struct sim_fs *fs, struct fs_node *f, uint64_t bytes)
{
    fb_assert(bytes <= FS_FILE_BYTES_MAX);
    if (bytes > f->reserved && !take_room(fs, bytes - f->reserved))
        return false;
    if (bytes > f->reserved)
        f->reserved = bytes;
    if (bytes > f->size) {
        file_room(f, bytes);
        f->size = bytes;
    }
    return true;
}

bool fs_resize(struct sim_fs *fs, struct fs_node *f, uint64_t size)
{
    fb_assert(size <= FS_FILE_BYTES_MAX);
    if (size > f->size) { /* a hole: no room needed */
        file_room(f, size);
        f->size = size;
        return true;
    }
    if (size < f->size) {
        memset(f->cache + size, 0, f->size - size);
        for (uint64_t p = size / FS_PAGE; p * FS_PAGE < f->size; p++)
            f->dirty[p] = 1;
        if (fs->room != UINT64_MAX && f->reserved > size)
            fs->room += f->reserved - size;
        if (f->reserved > size)
            f->reserved = size;
        f->size = size;
    }
    return true;
}

size_t fs_write(struct sim_fs *fs, struct fs_node *f, const void *p, size_t n, uint64_t at)
{
    if (at + n > f->reserved && fs->room != UINT64_MAX) {
        uint64_t need = at + n - (at > f->reserved ? at : f->reserved);
        if (need > fs->room) {
            n -= (size_t)(need - fs->room);
            need = fs->room;
        }
        fs->room -= need;
    }
    if (n == 0)
        return 0;
    fb_assert(at + n <= FS_FILE_BYTES_MAX);
    file_room(f, at + n);
    memcpy(f->cache + at, p, n);
    for (uint64_t page = at / FS_PAGE; page * FS_PAGE < at + n; page++)
        f->dirty[page] = 1;
    if (at + n > f->size)
        f->size = at + n;
    if (at + n > f->reserved)
        f->reserved = at + n;
    return n;
}

size_t fs_read(const struct fs_node *f, void *p, size_t n, uint64_t at)
{
    if (at >= f->size)
        return 0;
    if (n > f->size - at)
        n = (size_t)(f->size - at);
    memcpy(p, f->cache + at, n);
    return n;
}

void fs_sync(struct fs_node *f)
{
    if (f->dir) {
        names_copy(&f->disk_names, &f->names);
        f->change_n = 0;
        return;
    }
    for (uint64_t p = 0; p * FS_PAGE < f->cap; p++)
        if (f->dirty[p]) {
            memcpy(f->disk + p * FS_PAGE, f->cache + p * FS_PAGE, FS_PAGE);
            f->dirty[p] = 0;
        }
    f->disk_size = f->size;
}

/* ---- what can happen to it ---- */

/* One page that was not synced: old, new, or new in some of its sectors. */
static void page_lost(struct sim_fs *fs, struct fs_node *f, uint64_t page)
{
    uint8_t *old = f->disk + page * FS_PAGE, *new = f->cache + page *FS_PAGE;
    if (sim_fault_on(fs->sim, SIM_FAULT_DISK_TORN) && sim_chance(fs->sim, SIM_DISK, 300000)) {
        uint64_t keep = sim_range(fs->sim, SIM_DISK, 0, FS_PAGE / FS_SECTOR);
        bool front = sim_chance(fs->sim, SIM_DISK, 800000);
        for (uint64_t i = 0; i < FS_PAGE / FS_SECTOR; i++)
            if ((i < keep) == front && memcmp(old + i * FS_SECTOR, new + i *FS_SECTOR, FS_SECTOR))
                memcpy(old + i * FS_SECTOR, new + i *FS_SECTOR, FS_SECTOR);
        if (memcmp(old, new, FS_PAGE) != 0)
            sim_fault(fs->sim, SIM_FAULT_DISK_TORN);
        return;
    }
    if (sim_fault_on(fs->sim, SIM_FAULT_DISK_LOST) && sim_chance(fs->sim, SIM_DISK, fs->lose)) {
        if (memcmp(old, new, FS_PAGE) != 0)
            sim_fault(fs->sim, SIM_FAULT_DISK_LOST);
        return;
    }
    memcpy(old, new, FS_PAGE);
}

static void file_power_loss(struct sim_fs *fs, struct fs_node *f)
{
    if (f->cap == 0)
        return;
    if (f->size != f->disk_size && !sim_chance(fs->sim, SIM_DISK, fs->lose))
        f->disk_size = f->size;
    for (uint64_t p = 0; p * FS_PAGE < f->cap; p++) {
        if (f->dirty[p])
            page_lost(fs, f, p);
        f->dirty[p] = 0;
    }
    /* beyond the end there is nothing; what was beyond an old end and came back is zeros */
    memset(f->disk + f->disk_size, 0, f->cap - f->disk_size);
    memcpy(f->cache, f->disk, f->cap);
    f->size = f->disk_size;
    f->reserved = f->size;
}

void sim_fs_power_loss(struct sim_fs *fs)
{
    for (uint32_t i = 0; i < fs->node_n; i++) {
        struct fs_node *f = fs->nodes[i];
        f->lock_of = NULL;
        if (!f->dir) {
            file_power_loss(fs, f);
            continue;
        }
        uint32_t keep = f->change_n;
        if (keep > 0 && sim_chance(fs->sim, SIM_DISK, fs->lose))
            keep = (uint32_t)sim_range(fs->sim, SIM_DISK, 0, f->change_n);
        for (uint32_t k = 0; k < keep; k++)
            names_change(&f->disk_names, &f->changes[k]);
        f->change_n = 0;
        names_copy(&f->names, &f->disk_names);
    }
    fs->lied = false;
}

void sim_fs_wipe(struct sim_fs *fs)
{
    struct fs_node *root = fs->nodes[0];
    root->names.n = root->disk_names.n = root->change_n = 0;
    fs->lied = false;
}

bool fs_durable(const struct fs_node *f, uint64_t at, uint64_t n)
{
    return at + n <= f->disk_size && memcmp(f->disk + at, f->cache + at, n) == 0;
}

bool fs_name_durable(struct sim_fs *fs, struct fs_node *dir, const char *name)
{
    uint32_t now = names_find(&dir->names, name), disk = names_find(&dir->disk_names, name);
    (void)fs;
    return now != UINT32_MAX && disk != UINT32_MAX &&
           dir->names.e[now].node == dir->disk_names.e[disk].node;
}

void fs_flip(struct fs_node *f, uint64_t at, unsigned bit)
{
    f->cache[at] ^= (uint8_t)(1u << bit);
    f->disk[at] ^= (uint8_t)(1u << bit);
}

void fs_restore(struct fs_node *dir, const char *name, uint32_t node)
{
    change(dir, "", name, node);
    fs_sync(dir);
}

uint64_t fs_fingerprint(const struct sim_fs *fs)
{
    uint64_t h = fs->node_n;
    for (uint32_t i = 0; i < fs->node_n; i++) {
        const struct fs_node *f = fs->nodes[i];
        if (!f->dir && f->size > 0)
            h = fb_hash64(f->cache, f->size, h);
    }
    return h;
}
