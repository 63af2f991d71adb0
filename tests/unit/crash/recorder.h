/* Records what a run does to files below one directory, call by call and in one order, and rebuilds
 * from that every state that a power loss could leave. Literature: Pillai et al., "All File Systems
 * Are Not Created Equal", OSDI 2014 (ALICE); Mohan et al., CrashMonkey, OSDI 2018.
 *
 * How: the program is linked with --wrap for each name in crash.cmake; a call is made for real
 * and noted under one lock, so the order of the notes is the order of the effects. Reads are not
 * noted. Calls of any thread are.
 *
 * The file system that is assumed promises what POSIX and the Linux manual pages do and no more:
 * - fsync and fdatasync of a file make its contents and its size durable, not its name;
 * - fsync of a directory makes the names in it durable: made, renamed, removed;
 * - anything else gets to the disk at any time, in any order, or never; of one write any blocks of
 *   CRASH_BLOCK bytes do, and its growth of the file does or not; a rename is whole or not at all.
 */
#ifndef FB_TESTS_UNIT_CRASH_RECORDER_H_
#define FB_TESTS_UNIT_CRASH_RECORDER_H_

#include "proto/base/bytes.h"

#define CRASH_BLOCK 512u
#define CRASH_NAME_BYTES 80u

enum crash_kind {
    CRASH_MAKE,     /* dir, name -> object: file or directory */
    CRASH_RENAME,   /* dir, name -> name_to, of object */
    CRASH_UNLINK,   /* dir, name of object */
    CRASH_WRITE,    /* object, at, data */
    CRASH_TRUNCATE, /* object, at = size */
    CRASH_ALLOCATE, /* object, at = size it has at least */
    CRASH_SYNC,     /* object: file or directory */
    CRASH_NOTE,     /* what the program had reported by then: note, a, b */
};

struct crash_op {
    enum crash_kind kind;
    uint32_t object, dir; /* numbers of objects; 0 is the directory given to crash_record */
    bool is_dir;
    char name[CRASH_NAME_BYTES], name_to[CRASH_NAME_BYTES];
    uint64_t at, size_before; /* of a write: the file's size until then */
    uint8_t *data;
    size_t n;
    uint32_t note;
    uint64_t a, b;
};

struct crash_record {
    struct crash_op *ops;
    size_t count, cap;
    size_t base; /* the first so many made what was there at the start */
    uint32_t objects;
};

/* Begins to record what happens below `dir`. What is there already counts as durable. */
void crash_record(const char *dir);
/* Ends it and gives the record; free with crash_record_free. */
struct crash_record crash_record_end(void);
void crash_record_free(struct crash_record *r);
/* Any thread: what the program said or began at this moment. */
void crash_note(uint32_t note, uint64_t a, uint64_t b);
/* Called before each sync, outside of the recorder's lock, in the thread that syncs: the place to
 * let other threads act in the middle of things. NULL = none. */
void crash_before_sync(void (*fn)(void *arg), void *arg);
/* One line for each operation from..to, for a person who looks for what went wrong. */
void crash_print(const struct crash_record *r, size_t from, size_t to);

#endif
