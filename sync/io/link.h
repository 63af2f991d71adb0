/* Links to the nodes: dialled by us, kept up with back-off. Event thread only. */
#ifndef FB_SYNC_IO_LINK_H_
#define FB_SYNC_IO_LINK_H_

#include "sync/io/process.h"

struct sync_link {
    char name[FB_NAME_BYTES_MAX + 1];
    char url[FB_ADDRESS_BYTES_MAX + 1];
    bool wanted; /* a live member of the cluster */
    bool up;
    bool told;            /* its absence is in the log */
    struct fb_conn *conn; /* our reference while dialling or open */
    uint32_t peer;        /* the core's number while up */
    uint64_t next_dial_ms, backoff_ms;
};

struct sync_links {
    struct sync_process *p;
    struct sync_core *core;
    size_t count;
    struct sync_link *link[FB_NODES_MAX]; /* stay where they are: connections point to them */
};

/* The nodes of a new map. */
void sync_links_map(struct sync_links *ls, const struct fb_map *map, uint64_t now_ms);
/* Dials what is due. */
void sync_links_tick(struct sync_links *ls, uint64_t now_ms);
uint64_t sync_links_deadline_ms(const struct sync_links *ls);
/* Events of connections; NULL link = not one of ours. */
void sync_links_opened(struct sync_links *ls, struct sync_link *l, const struct fb_hello *peer);
void sync_links_closed(struct sync_links *ls, struct sync_link *l, const struct fb_conn *c,
                       const char *why, uint64_t now_ms);
/* Sends what the core has for every node. */
void sync_links_send(struct sync_links *ls);
/* Tells every node PostgreSQL's clock. */
void sync_links_tell_clock(struct sync_links *ls, uint64_t ms);
struct sync_link *sync_links_find(struct sync_links *ls, const char *name);
void sync_links_free(struct sync_links *ls);

#endif
