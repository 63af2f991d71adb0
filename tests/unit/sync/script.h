/* A scripted world around the sync core: one node, one database in memory, time by hand. */
#ifndef FB_TESTS_UNIT_SYNC_SCRIPT_H_
#define FB_TESTS_UNIT_SYNC_SCRIPT_H_

#include "proto/wire/frame.h"
#include "sync/core/core.h"

#define SCRIPT_PARTS 64
#define SCRIPT_OBJECTS 4096

struct script_object {
    uint64_t ver;
    char id[32];
    bool parked;
};

struct script {
    struct sync_core *core;
    struct fb_nsset *namespaces;
    uint64_t now;
    uint32_t node;
    struct fb_schema schema;
    /* What the node has: objects by partition, namespace "default". */
    struct script_object objects[SCRIPT_PARTS][SCRIPT_OBJECTS];
    size_t count[SCRIPT_PARTS];
    uint64_t synced[SCRIPT_PARTS]; /* last FEED_POS */
    uint32_t parks, conflicts, retries, positions, requests;
    bool letters_lost; /* the next batch that passes a parked object finds no letter of it */
    uint64_t note_age; /* of the notes of script_pass */
    bool mute;         /* the node does not answer */
    uint16_t ack_status;
    /* What PostgreSQL has. */
    uint64_t ckpt[SCRIPT_PARTS];
    uint32_t rows;         /* applied in all */
    uint32_t transactions; /* committed */
    uint32_t attempts;
    size_t most_rows, most_feeds; /* in one transaction */
    size_t last_feeds;            /* in the latest one */
    uint32_t last_lock_wait_ms;
    uint64_t dead_letters;
    unsigned park_lost; /* so many letters come too late */
    const char *poison; /* id that PostgreSQL refuses */
    enum pg_class poison_class;
    bool vague;         /* the error is one of the whole statement: of all the feeds in it */
    const char *needs;  /* `poison` is refused until this id has been written */
    bool needed;        /* it has */
    enum pg_class next; /* outcome of the next apply, PG_OK = decide by value */
    bool next_commits;  /* PG_UNKNOWN: committed all the same */
    bool down;
    struct pg_standbys standbys;  /* what PostgreSQL says of itself */
    bool replicated;              /* commits are confirmed by a synchronous standby */
    uint64_t dsafe[SCRIPT_PARTS]; /* last told to the node */
    uint64_t knows[SCRIPT_PARTS]; /* the node: greatest checkpoint it heard of; 0 = believes all */
    uint32_t barriers, behinds;
    uint32_t events[SYNC_EVENT_COUNT];
};

struct script *script_new(void);
void script_free(struct script *s);
/* An object at `ver` (greater than all before it in its partition). */
void script_write(struct script *s, uint16_t part, uint64_t ver, const char *id);
/* n objects "PART/VER" with versions from first_ver on. */
void script_fill(struct script *s, uint16_t part, uint64_t first_ver, size_t n);
/* The node's note of a partition. */
void script_note(struct script *s, uint16_t part, uint64_t age_ms, bool due);
/* Runs node and database until nothing moves at the present time. */
void script_settle(struct script *s);
/* Lets time pass in steps, settling after each; notes of non-empty feeds every second. */
void script_pass(struct script *s, uint64_t ms);

#endif
