/* A TCP proxy in front of a server, which loses or holds back what goes through it. */
#ifndef FB_TESTS_UNIT_COORD_PROXY_H_
#define FB_TESTS_UNIT_COORD_PROXY_H_

#include "proto/rt/thread.h"

#include <stdbool.h>

#define PROXY_CONNS_MAX 32

enum proxy_mode {
    PROXY_PASS,
    PROXY_LOSE, /* the question arrives; instead of the answer both connections are closed */
    PROXY_HOLD, /* questions are kept until the mode is PASS again, also when the asker has gone */
    PROXY_CUT,  /* all connections are closed, new ones at once */
};

struct proxy {
    uint16_t port;           /* const */
    _Atomic uint16_t server; /* any thread */
    _Atomic int mode;        /* any thread */
    _Atomic unsigned lost;   /* answers, connections cut */
    _Atomic bool stop;
    int listener;
    struct fb_thread *thread;
    struct {
        int client, server; /* -1 = closed */
        char held[65536];
        size_t held_n;
        bool owed;           /* what was held was sent and is not answered yet */
    } conn[PROXY_CONNS_MAX]; /* proxy's thread */
};

void proxy_start(struct proxy *p, uint16_t server);
void proxy_stop(struct proxy *p);

#endif
