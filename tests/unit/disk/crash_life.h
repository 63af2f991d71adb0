/* Lives of a data directory for the tests of power losses (crash_states_test.c), which note what
 * they are about to do and what was reported to them. */
#ifndef FB_TESTS_UNIT_DISK_CRASH_LIFE_H_
#define FB_TESTS_UNIT_DISK_CRASH_LIFE_H_

#include "tests/unit/disk/disk_util.h"

#include "node/disk/data_dir.h"

#include <pthread.h>
#include <semaphore.h>

#define LIFE_LANES 2u
#define LIFE_SEGMENT 4096u
#define LIFE_PART 3u

enum note {
    NOTE_OPENING, /* data_dir_open is called, of life a */
    NOTE_OPENED,
    NOTE_APPENDING, /* a = life * 256 + lane, b = sequence */
    NOTE_SYNCED,
    NOTE_TRIMMING,       /* a = life * 256 + lane, b = first sequence that must stay */
    NOTE_DROPPING,       /* everything of earlier lives */
    NOTE_SNAPSHOT_BEGUN, /* b = version */
    NOTE_SNAPSHOT,
    NOTE_CLOSING, /* data_dir_close of life a with a marker */
    NOTE_CLOSED,
};

struct life {
    uint64_t number; /* also the log's generation */
    struct log *log;
    uint64_t seq[LIFE_LANES];
    uint64_t version; /* of the latest snapshot */
    pthread_t writer;
    sem_t syncing, go_on; /* a sync of another thread is about to happen; the writer had its turn */
    uint64_t syncs_left;  /* the life ends before the sync that comes then; 0 = never */
    bool dead;            /* the fsync thread stands still for ever */
};

extern const uint8_t life_cluster[16];

/* Opens everything; a start before this one had the version. */
void life_begin(struct life *l, struct data_dir *d, const char *root, uint64_t number,
                uint64_t version);
void life_append(struct life *l, uint32_t lane, unsigned count);
/* Syncs what is there; before each of the thread's own syncs `more` batches are written, as long as
 * there are `turns`. */
void life_sync(struct life *l, uint32_t lane, unsigned more, unsigned turns);
/* Log with rolls, snapshots, trims. False: the process was killed on the way. */
bool life_live(struct life *l, const struct data_dir *d, bool older);

#endif
