/* A node as a sync process sees it: notes, feeds, loads and verdicts over a real connection. */
#ifndef FB_TESTS_UNIT_SYNC_FAKE_NODE_H_
#define FB_TESTS_UNIT_SYNC_FAKE_NODE_H_

#include "proto/coord/cluster_state.h"
#include "proto/net/net.h"
#include "proto/wire/feed.h"

#include <pthread.h>

#define FAKE_OBJECTS 512

struct fake_object {
    uint64_t ver;
    uint8_t kind;
    bool parked;
    char ns[16], id[32];
    struct fb_buf value;
};

struct fake_node {
    struct fb_net *net;
    char listen[FB_ADDRESS_BYTES_MAX + 1];
    pthread_mutex_t mtx; /* guards the rest */
    pthread_cond_t changed;
    struct fb_conn *sync;
    struct fake_object objects[FAKE_OBJECTS];
    size_t count;
    uint64_t note_age_ms;
    char sync_name[FB_NAME_BYTES_MAX + 1]; /* of the connection used last */
    uint64_t pos_default, pos_user;
    uint32_t parks, retries, discards, refreshes;
    bool loaded;
    uint8_t load_status;
    char load_value[128];
    char reply[4096]; /* of the last admin request */
    bool admin_open, replied;
};

void fake_node_open(struct fake_node *n, const uint8_t cluster[16]);
void fake_node_close(struct fake_node *n);
/* An object in partition 1 of namespace `ns`; its version is its place. */
void fake_node_write(struct fake_node *n, const char *ns, const char *id, uint8_t kind,
                     struct fb_bytes value);
void fake_node_note(struct fake_node *n, const char *ns);
/* Waits for *value == wanted, at most 20 s. */
bool fake_node_wait_u64(struct fake_node *n, const uint64_t *value, uint64_t wanted);
bool fake_node_wait_u32(struct fake_node *n, const uint32_t *value, uint32_t wanted);
/* Status and value of a load. */
uint8_t fake_node_load(struct fake_node *n, const char *ns, const char *id, const char **value);
/* Waits until the sync process of this name connected last. */
bool fake_node_wait_sync(struct fake_node *n, const char *name);
/* Sends an admin request to a sync process at url, as the CLI does; the answer's JSON text. */
const char *fake_node_admin(struct fake_node *n, const char *url, const char *json);

#endif
