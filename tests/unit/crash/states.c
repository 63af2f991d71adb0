/* Enumeration of crash states: see states.h. */
#include "tests/unit/crash/states.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* One part of an operation that may be lost by itself. */
struct part {
    size_t op;
    bool size;         /* of a write: that the file grew */
    uint64_t from, to; /* of a write: these bytes of the file */
};

struct entry {
    uint32_t dir, object;
    char name[CRASH_NAME_BYTES];
};

/* A tree being built. */
struct object {
    struct fb_buf data;
    bool is_dir;
};

struct build {
    const struct crash_plan *plan;
    size_t ops; /* the moment */
    struct part *parts;
    size_t part_count, part_cap;
    bool *keep; /* for each part */
    uint8_t *synced;
    struct object *objects;
    struct entry *entries;
    size_t entry_count;
    uint64_t *seen; /* open addressing, 0 = free */
    size_t seen_count, seen_cap;
    uint64_t random;
    struct crash_tally tally;
};

static struct build *current; /* for the messages of a failing check */

/* splitmix64 */
static uint64_t next_random(struct build *b)
{
    uint64_t z = b->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Which operations before the moment are durable: something synced their file or directory since.
 */
static void find_synced(struct build *b)
{
    const struct crash_record *r = b->plan->record;
    bool *object_synced = fb_xcalloc(r->objects, sizeof(bool));

    for (size_t i = b->ops; i-- > 0;) {
        const struct crash_op *op = &r->ops[i];
        uint32_t owner = op->kind <= CRASH_UNLINK ? op->dir : op->object;
        b->synced[i] = object_synced[owner];
        if (op->kind == CRASH_SYNC)
            object_synced[op->object] = true;
    }
    free(object_synced);
}

static void part_add(struct build *b, struct part p)
{
    if (b->part_count == b->part_cap) {
        b->part_cap = b->part_cap ? b->part_cap * 2 : 256;
        b->parts = fb_xrealloc(b->parts, b->part_cap * sizeof(*b->parts));
        b->keep = fb_xrealloc(b->keep, b->part_cap * sizeof(*b->keep));
    }
    b->parts[b->part_count++] = p;
}

static void find_parts(struct build *b)
{
    const struct crash_record *r = b->plan->record;

    b->part_count = 0;
    for (size_t i = 0; i < b->ops; i++) {
        const struct crash_op *op = &r->ops[i];
        if (b->synced[i] || op->kind == CRASH_SYNC || op->kind == CRASH_NOTE)
            continue;
        if (op->kind != CRASH_WRITE) {
            part_add(b, (struct part){.op = i});
            continue;
        }
        if (op->at + op->n > op->size_before)
            part_add(b, (struct part){.op = i, .size = true});
        for (uint64_t from = op->at, to; from < op->at + op->n; from = to) {
            to = (from / CRASH_BLOCK + 1) * CRASH_BLOCK;
            if (to > op->at + op->n)
                to = op->at + op->n;
            part_add(b, (struct part){.op = i, .from = from, .to = to});
        }
    }
    if (b->part_count > b->tally.unsynced_max)
        b->tally.unsynced_max = (unsigned)b->part_count;
}

static struct entry *entry_find(struct build *b, uint32_t dir, const char *name)
{
    for (size_t i = 0; i < b->entry_count; i++)
        if (b->entries[i].dir == dir && strcmp(b->entries[i].name, name) == 0)
            return &b->entries[i];
    return NULL;
}

static void entry_set(struct build *b, uint32_t dir, const char *name, uint32_t object)
{
    struct entry *e = entry_find(b, dir, name);
    if (e == NULL) {
        b->entries = fb_xrealloc(b->entries, (b->entry_count + 1) * sizeof(*b->entries));
        e = &b->entries[b->entry_count++];
        e->dir = dir;
        memcpy(e->name, name, strlen(name) + 1);
    }
    e->object = object;
}

static void entry_drop(struct build *b, uint32_t dir, const char *name, uint32_t object)
{
    struct entry *e = entry_find(b, dir, name);
    if (e != NULL && e->object == object)
        *e = b->entries[--b->entry_count];
}

static void resize(struct fb_buf *data, uint64_t n)
{
    if (n > data->n)
        memset(fb_buf_grow(data, (size_t)n - data->n), 0, (size_t)n - data->n);
    data->n = (size_t)n; /* shrinking */
}

static void apply(struct build *b, const struct crash_op *op)
{
    struct fb_buf *data = &b->objects[op->object].data;
    switch (op->kind) {
    case CRASH_MAKE:
        entry_set(b, op->dir, op->name, op->object);
        break;
    case CRASH_RENAME:
        entry_drop(b, op->dir, op->name, op->object);
        entry_set(b, op->dir, op->name_to, op->object);
        break;
    case CRASH_UNLINK:
        entry_drop(b, op->dir, op->name, op->object);
        break;
    case CRASH_WRITE:
        if (op->at + op->n > data->n)
            resize(data, op->at + op->n);
        if (op->n > 0)
            memcpy(data->p + op->at, op->data, op->n);
        break;
    case CRASH_TRUNCATE:
        resize(data, op->at);
        break;
    case CRASH_ALLOCATE:
        if (op->at > data->n)
            resize(data, op->at);
        break;
    case CRASH_SYNC:
    case CRASH_NOTE:
        break;
    }
}

static void apply_part(struct build *b, const struct part *p)
{
    const struct crash_op *op = &b->plan->record->ops[p->op];
    struct fb_buf *data = &b->objects[op->object].data;

    if (op->kind != CRASH_WRITE) {
        apply(b, op);
        return;
    }
    if (p->size) {
        if (op->at + op->n > data->n)
            resize(data, op->at + op->n);
        return;
    }
    if (p->to > data->n)
        resize(data, p->to);
    memcpy(data->p + p->from, op->data + (p->from - op->at), (size_t)(p->to - p->from));
}

static void build(struct build *b)
{
    const struct crash_record *r = b->plan->record;
    size_t part = 0;

    b->entry_count = 0;
    for (uint32_t i = 0; i < r->objects; i++)
        fb_buf_clear(&b->objects[i].data);
    for (size_t i = 0; i < b->ops; i++) {
        if (b->synced[i])
            apply(b, &r->ops[i]);
        for (; part < b->part_count && b->parts[part].op == i; part++)
            if (b->keep[part])
                apply_part(b, &b->parts[part]);
    }
}

static int by_place(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->dir != y->dir)
        return x->dir < y->dir ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Of the files that can be reached, and of what was said until now. */
static uint64_t fingerprint(struct build *b)
{
    const struct crash_record *r = b->plan->record;
    uint64_t h = 1;

    if (b->entry_count > 1)
        qsort(b->entries, b->entry_count, sizeof(*b->entries), by_place);
    for (size_t i = 0; i < b->entry_count; i++) {
        const struct entry *e = &b->entries[i];
        const struct fb_buf *data = &b->objects[e->object].data;
        h = fb_hash64(e->name, strlen(e->name) + 1, h ^ e->dir);
        if (data->n > 0)
            h = fb_hash64(data->p, data->n, h);
        h = fb_hash64(&data->n, sizeof(data->n), h);
    }
    for (size_t i = b->ops; i-- > 0;)
        if (r->ops[i].kind == CRASH_NOTE) { /* notes are in order: the last one tells which */
            h = fb_hash64(&i, sizeof(i), h);
            break;
        }
    return h == 0 ? 1 : h;
}

static bool seen_before(struct build *b, uint64_t h)
{
    if (b->seen_count * 2 >= b->seen_cap) {
        uint64_t *old = b->seen;
        size_t old_cap = b->seen_cap;
        b->seen_cap = old_cap ? old_cap * 2 : 1u << 16;
        b->seen = fb_xcalloc(b->seen_cap, sizeof(*b->seen));
        b->seen_count = 0;
        for (size_t i = 0; i < old_cap; i++)
            if (old[i] != 0)
                (void)seen_before(b, old[i]);
        free(old);
    }
    for (size_t i = h & (b->seen_cap - 1);; i = (i + 1) & (b->seen_cap - 1)) {
        if (b->seen[i] == h)
            return true;
        if (b->seen[i] != 0)
            continue;
        b->seen[i] = h;
        b->seen_count++;
        return false;
    }
}

/* Empties a directory that is ours. */
static void empty(int dir_fd)
{
    DIR *d = fdopendir(dir_fd);
    struct dirent *e;
    fb_assert(d != NULL);
    while ((e = readdir(d)) != NULL) {
        int sub;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(dir_fd, e->d_name, 0) == 0)
            continue;
        sub = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fb_assert(sub >= 0);
        empty(sub);
        fb_assert(unlinkat(dir_fd, e->d_name, AT_REMOVEDIR) == 0);
    }
    closedir(d);
}

void crash_remove(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fb_assert(fd >= 0);
    empty(fd);
    fb_assert(rmdir(dir) == 0);
}

static void put_tree(const struct build *b, const char *path, uint32_t dir)
{
    for (size_t i = 0; i < b->entry_count; i++) {
        const struct entry *e = &b->entries[i];
        const struct object *o = &b->objects[e->object];
        char sub[PATH_MAX];
        if (e->dir != dir)
            continue;
        fb_assert(snprintf(sub, sizeof(sub), "%s/%s", path, e->name) < (int)sizeof(sub));
        if (o->is_dir) {
            fb_assert(mkdir(sub, 0700) == 0);
            put_tree(b, sub, e->object);
        } else {
            int fd = open(sub, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            fb_assert(fd >= 0);
            fb_assert(o->data.n == 0 || write(fd, o->data.p, o->data.n) == (ssize_t)o->data.n);
            close(fd);
        }
    }
}

void crash_state_again(const struct crash_plan *plan)
{
    int fd = open(plan->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fb_assert(fd >= 0);
    empty(fd);
    put_tree(current, plan->dir, 0);
}

static void state(struct build *b)
{
    b->tally.states++;
    build(b);
    if (seen_before(b, fingerprint(b)))
        return;
    b->tally.distinct++;
    crash_state_again(b->plan);
    b->plan->check(b->plan->arg, b->ops);
}

static void keep_all(struct build *b, bool keep)
{
    for (size_t i = 0; i < b->part_count; i++)
        b->keep[i] = keep;
}

static void all_subsets(struct build *b)
{
    for (uint64_t bits = 0; bits < UINT64_C(1) << b->part_count; bits++) {
        for (size_t i = 0; i < b->part_count; i++)
            b->keep[i] = (bits >> i & 1) != 0;
        state(b);
    }
}

/* One lost, one kept, the first i only; two lost. */
static void regular_subsets(struct build *b)
{
    size_t n = b->part_count, max = b->plan->regular_max;
    size_t step = n > max ? n / max : 1, first = n > max ? next_random(b) % step : 0;

    for (size_t i = first; i < n; i += step) {
        keep_all(b, true);
        b->keep[i] = false;
        state(b);
        keep_all(b, false);
        b->keep[i] = true;
        state(b);
        for (size_t k = 0; k < n; k++)
            b->keep[k] = k < i;
        state(b);
        for (size_t k = i + 1; b->plan->pairs && k < n; k++) {
            keep_all(b, true);
            b->keep[i] = b->keep[k] = false;
            state(b);
        }
    }
}

static void random_subsets(struct build *b)
{
    for (unsigned i = 0; i < b->plan->random; i++) {
        uint64_t weight = next_random(b) % 15 + 1;
        for (size_t k = 0; k < b->part_count; k++)
            b->keep[k] = next_random(b) % 16 < weight;
        state(b);
    }
}

struct crash_tally crash_states(const struct crash_plan *plan)
{
    const struct crash_record *r = plan->record;
    struct build b = {.plan = plan, .random = plan->seed};

    current = &b;
    b.synced = fb_xcalloc(r->count + 1, 1);
    b.objects = fb_xcalloc(r->objects, sizeof(*b.objects));
    b.objects[0].is_dir = true;
    for (size_t i = 0; i < r->count; i++)
        if (r->ops[i].kind == CRASH_MAKE)
            b.objects[r->ops[i].object].is_dir = r->ops[i].is_dir;
    b.ops = r->base;
    while (plan->from_note_a != 0 && b.ops < r->count &&
           !(r->ops[b.ops].kind == CRASH_NOTE && r->ops[b.ops].note == plan->from_note &&
             r->ops[b.ops].a == plan->from_note_a))
        b.ops++;
    for (; b.ops <= r->count; b.ops++) {
        bool boundary = b.ops == r->count || r->ops[b.ops].kind == CRASH_SYNC;
        b.tally.moments++;
        find_synced(&b);
        find_parts(&b);
        keep_all(&b, true);
        state(&b);
        keep_all(&b, false);
        state(&b);
        if (!boundary && (plan->every == 0 || b.ops % plan->every != 0))
            continue;
        if (b.part_count <= plan->all_below) {
            all_subsets(&b);
        } else {
            regular_subsets(&b);
            random_subsets(&b);
        }
    }
    for (uint32_t i = 0; i < r->objects; i++)
        fb_buf_fini(&b.objects[i].data);
    free(b.objects);
    free(b.entries);
    free(b.parts);
    free(b.keep);
    free(b.synced);
    free(b.seen);
    current = NULL;
    return b.tally;
}

void crash_state_print(const struct crash_plan *plan)
{
    const struct build *b = current;
    size_t from = 0;
    fprintf(stderr, "power loss after operation %zu; seed %llu; lost of what was not synced:\n",
            b->ops, (unsigned long long)plan->seed);
    for (size_t i = 0; i < b->part_count; i++)
        if (!b->keep[i])
            fprintf(stderr, "  part of operation %zu: bytes %llu..%llu%s\n", b->parts[i].op,
                    (unsigned long long)b->parts[i].from, (unsigned long long)b->parts[i].to,
                    b->parts[i].size ? " (growth of the file)" : "");
    from = b->ops > 80 ? b->ops - 80 : 0;
    crash_print(plan->record, from, b->ops);
}
