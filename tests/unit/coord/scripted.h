/* An HTTP server that gives prepared answers, one after the other, whatever is asked. */
#ifndef FB_TESTS_UNIT_COORD_SCRIPTED_H_
#define FB_TESTS_UNIT_COORD_SCRIPTED_H_

#include "proto/coord/coord.h"
#include "proto/rt/thread.h"

#include <stdbool.h>

#define SCRIPTED_ANSWERS_MAX 16

/* An etcd's refusal, and the beginning of what it answers (without the last brace). */
#define REFUSAL(code, text) "{\"error\":\"" text "\",\"code\":" #code ",\"message\":\"" text "\"}"
#define HEADER(cluster, revision)                                                                  \
    "{\"header\":{\"cluster_id\":\"" #cluster "\",\"revision\":\"" #revision "\"}"

enum scripted_how {
    SCRIPTED_ANSWER,  /* HTTP `status` and `body` */
    SCRIPTED_STREAM,  /* the same without an end: the connection stays open */
    SCRIPTED_SHORT,   /* the body ends before the promised length, the connection is closed */
    SCRIPTED_ENDLESS, /* a body of more bytes than anybody takes */
    SCRIPTED_CLOSE,   /* no answer, the connection is closed */
    SCRIPTED_SILENT,  /* no answer, the connection stays open */
    SCRIPTED_RAW, /* `body` as it is, also to what is no HTTP request; the connection is closed */
};

struct scripted {
    uint16_t port; /* const */
    int listener;
    int stopped, stop; /* a pipe: closing `stop` ends the thread */
    struct fb_thread *thread;
    pthread_mutex_t mtx;
    struct {
        enum scripted_how how;
        int status;
        const char *body;
    } answers[SCRIPTED_ANSWERS_MAX]; /* mtx */
    unsigned count, next;            /* mtx */
};

void scripted_start(struct scripted *s);
void scripted_stop(struct scripted *s); /* fails the test unless all answers were given */
/* `body` must live until it was given. */
void scripted_add(struct scripted *s, enum scripted_how how, int status, const char *body);
/* Returns when all have been given. */
void scripted_wait(struct scripted *s);
/* Its address as a coordinator; static. */
const char *scripted_url(const struct scripted *s);
/* A handle on it: the answer to its first question has the revision 5. Fails the test if it does
 * not open. */
struct fb_coord *scripted_open(struct scripted *s);

#endif
