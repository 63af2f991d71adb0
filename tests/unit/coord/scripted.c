/* One thread, one connection at a time but for those that are to stay open. */
#include "tests/unit/coord/scripted.h"
#include "tests/unit/coord/send_all.h"

#include "proto/base/assert.h"
#include "proto/base/bytes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CONNS_MAX 32
#define REQUEST_BYTES_MAX 65536
#define ENDLESS_BYTES (70u << 20)

struct conn {
    int fd; /* -1 = closed */
    char in[REQUEST_BYTES_MAX];
    size_t n;
};

static void shut(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->n = 0;
}

static bool whole(const struct conn *c)
{
    const char *end = memmem(c->in, c->n, "\r\n\r\n", 4), *length;
    size_t n;
    if (end == NULL)
        return false;
    n = (size_t)(end - c->in) + 4;
    length = memmem(c->in, n, "Content-Length: ", 16);
    if (length != NULL)
        n += strtoul(length + 16, NULL, 10);
    return c->n >= n;
}

static void endless(int fd)
{
    static const char dots[65536] = "";
    char head[128];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n",
                     ENDLESS_BYTES);
    bool on = send_all(fd, head, (size_t)n);
    for (size_t sent = 0; on && sent < ENDLESS_BYTES; sent += sizeof(dots))
        on = send_all(fd, dots, sizeof(dots));
}

static void answer(struct scripted *s, struct conn *c)
{
    enum scripted_how how = SCRIPTED_CLOSE;
    int status = 0;
    const char *body = "";
    char head[160];
    size_t n;

    pthread_mutex_lock(&s->mtx);
    if (s->next < s->count) {
        how = s->answers[s->next].how;
        status = s->answers[s->next].status;
        body = s->answers[s->next].body;
        s->next++;
    }
    pthread_mutex_unlock(&s->mtx);
    c->n = 0;
    n = strlen(body);
    switch (how) {
    case SCRIPTED_ANSWER:
    case SCRIPTED_SHORT:
        (void)snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status,
                       n + (how == SCRIPTED_SHORT ? 10 : 0));
        (void)(send_all(c->fd, head, strlen(head)) && send_all(c->fd, body, n));
        if (how == SCRIPTED_SHORT)
            shut(c);
        break;
    case SCRIPTED_STREAM:
        (void)snprintf(head, sizeof(head),
                       "HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", status, n);
        (void)(send_all(c->fd, head, strlen(head)) && send_all(c->fd, body, n) &&
               send_all(c->fd, "\r\n", 2));
        break;
    case SCRIPTED_ENDLESS:
        endless(c->fd);
        shut(c);
        break;
    case SCRIPTED_RAW:
        (void)send_all(c->fd, body, n);
        shut(c);
        break;
    case SCRIPTED_SILENT:
        break;
    case SCRIPTED_CLOSE:
        shut(c);
        break;
    }
}

static void receive(struct scripted *s, struct conn *c)
{
    ssize_t got = recv(c->fd, c->in + c->n, sizeof(c->in) - c->n, 0);
    if (got <= 0) {
        shut(c);
        return;
    }
    c->n += (size_t)got;
    if (whole(c) || c->in[0] == 0x16) /* TLS's first byte: no request will come */
        answer(s, c);
}

static void run(void *arg)
{
    static struct conn conns[CONNS_MAX];
    struct scripted *s = arg;

    for (int i = 0; i < CONNS_MAX; i++)
        conns[i].fd = -1;
    for (;;) {
        struct pollfd p[CONNS_MAX + 2] = {{.fd = s->listener, .events = POLLIN},
                                          {.fd = s->stopped, .events = POLLIN}};
        for (int i = 0; i < CONNS_MAX; i++)
            p[i + 2] = (struct pollfd){.fd = conns[i].fd, .events = POLLIN};
        (void)poll(p, CONNS_MAX + 2, -1);
        if (p[1].revents != 0)
            break;
        for (int i = 0; i < CONNS_MAX; i++)
            if (conns[i].fd >= 0 && p[i + 2].revents != 0)
                receive(s, &conns[i]);
        for (int i = 0; i < CONNS_MAX && p[0].revents != 0; i++)
            if (conns[i].fd < 0) {
                conns[i].fd = accept(s->listener, NULL, NULL);
                break;
            }
    }
    for (int i = 0; i < CONNS_MAX; i++)
        shut(&conns[i]);
}

void scripted_start(struct scripted *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    struct fb_err err;
    int ends[2];

    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->mtx, NULL);
    assert_int_equal(pipe(ends), 0);
    s->stopped = ends[0];
    s->stop = ends[1];
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &n), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(fb_thread_start("scripted", run, s, &s->thread, &err), FB_OK);
}

void scripted_stop(struct scripted *s)
{
    close(s->stop);
    fb_thread_join(s->thread);
    close(s->stopped);
    close(s->listener);
    pthread_mutex_destroy(&s->mtx);
    assert_int_equal(s->next, s->count);
}

void scripted_add(struct scripted *s, enum scripted_how how, int status, const char *body)
{
    pthread_mutex_lock(&s->mtx);
    if (s->next == s->count)
        s->next = s->count = 0;
    fb_assert(s->count < SCRIPTED_ANSWERS_MAX);
    s->answers[s->count].how = how;
    s->answers[s->count].status = status;
    s->answers[s->count++].body = body;
    pthread_mutex_unlock(&s->mtx);
}

void scripted_wait(struct scripted *s)
{
    bool all = false;
    for (int i = 0; i < 2000 && !all; i++) {
        pthread_mutex_lock(&s->mtx);
        all = s->next == s->count;
        pthread_mutex_unlock(&s->mtx);
        if (!all)
            (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    if (!all)
        fail_msg("answer %u of %u was not asked for within 10 s", s->next + 1, s->count);
}

const char *scripted_url(const struct scripted *s)
{
    static char text[64];
    (void)snprintf(text, sizeof(text), "etcd://127.0.0.1:%u/m", s->port);
    return text;
}

struct fb_coord *scripted_open(struct scripted *s)
{
    struct fb_coord *c;
    struct fb_err err;

    scripted_add(s, SCRIPTED_ANSWER, 200, HEADER(7, 5) "}");
    if (fb_coord_open(scripted_url(s), true, &c, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return c;
}
