/* The file system of one simulated machine: what processes see (the page cache) and what is on the
 * platter, kept apart.
 *
 * A kill leaves the cache as it is. A power loss leaves the platter: of what was not synced each
 * page may be old, new, or torn at a sector; sizes and names may be old or new, names in the order
 * in which they were changed (a journal). fsync of a file makes its pages and size durable, fsync
 * of a directory its names.
 *
 * The calls of the C library that reach this are in os_file.c.
 */
#ifndef FB_TESTS_SIM_FS_H_
#define FB_TESTS_SIM_FS_H_

#include "tests/sim/kernel.h"

#define FS_PAGE 4096u
#define FS_SECTOR 512u
#define FS_FILE_BYTES_MAX (64u << 20)
#define FS_NAME_BYTES 96u

struct fs_name {
    char name[FS_NAME_BYTES];
    uint32_t node;
};

struct fs_names {
    struct fs_name *e;
    uint32_t n, cap;
};

/* A change of a directory that is not durable yet. */
struct fs_change {
    char from[FS_NAME_BYTES], to[FS_NAME_BYTES]; /* "" = none: made, or unlinked */
    uint32_t node;
};

struct fs_node {
    uint32_t number;
    bool dir;
    /* file */
    uint8_t *cache, *disk;
    uint64_t size, disk_size, cap;
    uint8_t *dirty;    /* a flag a page */
    uint64_t reserved; /* fallocate: writes below do not need room */
    /* directory */
    struct fs_names names, disk_names;
    struct fs_change *changes;
    uint32_t change_n, change_cap;
    void *lock_of; /* OFD lock: the open file that has it */
};

struct sim_fs {
    struct sim *sim;
    struct fs_node **nodes;
    uint32_t node_n, node_cap;
    uint64_t room;   /* bytes that files may still take; UINT64_MAX = plenty */
    bool low;        /* statvfs says below 5 % */
    uint64_t errors; /* calls that change something and failed with EIO */
    bool failed;     /* any call failed with EIO */
    bool full_said;  /* a call failed with ENOSPC */
    bool lied;       /* an fsync said yes and did nothing since the last power loss */
    uint32_t lose;   /* per million: how much of what is not synced a power loss takes; by run */
};

struct sim_fs *sim_fs_new(struct sim *s);
void sim_fs_free(struct sim_fs *fs);

/* Paths begin with "/"; directories are looked up in the cache. NULL: not there. */
struct fs_node *fs_lookup(struct sim_fs *fs, const char *path);
struct fs_node *fs_child(struct sim_fs *fs, struct fs_node *dir, const char *name);
struct fs_node *fs_make(struct sim_fs *fs, struct fs_node *dir, const char *name, bool is_dir);
bool fs_unlink(struct sim_fs *fs, struct fs_node *dir, const char *name);
bool fs_rename(struct sim_fs *fs, struct fs_node *dir, const char *from, const char *to);
/* Grows or cuts the cached file. False: no room. */
bool fs_resize(struct sim_fs *fs, struct fs_node *f, uint64_t size);
/* How many bytes were taken (fewer: no room). */
size_t fs_write(struct sim_fs *fs, struct fs_node *f, const void *p, size_t n, uint64_t at);
size_t fs_read(const struct fs_node *f, void *p, size_t n, uint64_t at);
bool fs_reserve(struct sim_fs *fs, struct fs_node *f, uint64_t bytes);
void fs_sync(struct fs_node *f);

/* The machine lost power. torn_node/torn_at: a write that was under way, of which a part is there
 * (the cache holds all of it). */
void sim_fs_power_loss(struct sim_fs *fs);
/* Everything is gone. */
void sim_fs_wipe(struct sim_fs *fs);
/* Is this range on the platter as it is in the cache, in a file of at least that size? */
bool fs_durable(const struct fs_node *f, uint64_t at, uint64_t n);
/* Is the file's present name on the platter? */
bool fs_name_durable(struct sim_fs *fs, struct fs_node *dir, const char *name);
/* Turns one bit round, in cache and platter. */
void fs_flip(struct fs_node *f, uint64_t at, unsigned bit);
/* A name is back, in cache and platter. */
void fs_restore(struct fs_node *dir, const char *name, uint32_t node);
uint64_t fs_fingerprint(const struct sim_fs *fs);

#endif
