/* Load for comparisons of replicated writes, which redis-benchmark cannot make: each write may have
 * a WAIT behind it, in the same packet, and counts once both are answered. Reads alone, too.
 *
 *   replicated_load PORT CONNECTIONS DEPTH VALUE_BYTES KEYS SECONDS set|get WAIT PREFIX
 *
 * WAIT: copies that every write waits for (a WAIT command behind each SET), 0 = no WAIT. `DEPTH`
 * requests of each connection are under way at once. Prints requests per second. Any error reply,
 * and any WAIT that too few copies answered, ends it with status 1: rates of refused work mean
 * nothing. One thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 64
#define REQUEST_MAX 2048

struct load {
    int port, connections, depth, keys, wait;
    size_t value_n;
    double seconds;
    bool set;
    const char *prefix; /* of the keys, in front of a colon */
    uint64_t seed;
};

struct connection {
    int fd;
    char in[REQUEST_MAX]; /* the begin of an answer that has not ended */
    size_t in_n;
    int owed;      /* replies of the requests under way */
    size_t body_n; /* bytes of a bulk reply that have not come */
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "replicated_load: %s: %s\n", what, why);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* xorshift64*, Vigna 2016 */
static uint64_t next_random(struct load *l)
{
    l->seed ^= l->seed >> 12;
    l->seed ^= l->seed << 25;
    l->seed ^= l->seed >> 27;
    return l->seed * UINT64_C(2685821657736338717);
}

/* One request, and the WAIT behind it, as bytes at `out`, which has REQUEST_MAX. */
static size_t request(struct load *l, char *out)
{
    static char value[REQUEST_MAX];
    char key[64], wait[16], tail[64] = "";
    int n, k = snprintf(key, sizeof key, "%s:%012d", l->prefix,
                        (int)(next_random(l) % (uint64_t)l->keys));

    if (value[0] == '\0')
        memset(value, 'x', l->value_n);
    if (l->set && l->wait > 0) {
        int w = snprintf(wait, sizeof wait, "%d", l->wait);
        snprintf(tail, sizeof tail, "*3\r\n$4\r\nWAIT\r\n$%d\r\n%s\r\n$4\r\n5000\r\n", w, wait);
    }
    if (l->set)
        n = snprintf(out, REQUEST_MAX, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n%s\r\n%s", k, key,
                     l->value_n, value, tail);
    else
        n = snprintf(out, REQUEST_MAX, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", k, key);
    return (size_t)n;
}

static void send_batch(struct load *l, struct connection *c)
{
    static char out[DEPTH_MAX * REQUEST_MAX];
    size_t n = 0, at = 0;

    for (int i = 0; i < l->depth; i++)
        n += request(l, out + n);
    c->owed = l->depth * (l->set && l->wait > 0 ? 2 : 1);
    while (at < n) { /* small enough for the socket's buffer */
        ssize_t w = send(c->fd, out + at, n - at, MSG_NOSIGNAL);
        if (w < 0 && errno != EINTR)
            fail("send", strerror(errno));
        at += w > 0 ? (size_t)w : 0;
    }
}

/* One line of an answer, without its end. */
static void take_line(struct load *l, struct connection *c, const char *line)
{
    if (line[0] == '-')
        fail("answer", line);
    if (line[0] == '$' && line[1] != '-')
        c->body_n = strtoul(line + 1, NULL, 10) + 2;
    if (line[0] == ':' && atoi(line + 1) < l->wait)
        fail("WAIT was answered by too few copies", line);
    c->owed--;
}

static void take(struct load *l, struct connection *c, char *p, size_t n)
{
    while (n > 0) {
        char *end;
        if (c->body_n > 0) {
            size_t skip = c->body_n < n ? c->body_n : n;
            c->body_n -= skip;
            p += skip;
            n -= skip;
            continue;
        }
        end = memchr(p, '\n', n);
        if (c->in_n + (end == NULL ? n : (size_t)(end - p)) >= sizeof c->in)
            fail("answer", "a line is too long");
        memcpy(c->in + c->in_n, p, end == NULL ? n : (size_t)(end - p));
        c->in_n += end == NULL ? n : (size_t)(end - p);
        if (end == NULL)
            return;
        c->in[c->in_n] = '\0';
        take_line(l, c, c->in);
        c->in_n = 0;
        n -= (size_t)(end + 1 - p);
        p = end + 1;
    }
}

static int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        fail("connect", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static uint64_t run(struct load *l, struct connection *all)
{
    static char in[1 << 16];
    struct epoll_event ev[64];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    double end = now_s() + l->seconds;
    uint64_t done = 0;

    for (int i = 0; i < l->connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = dial(l->port);
        if (epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &e) != 0)
            fail("epoll", strerror(errno));
        send_batch(l, &all[i]);
    }
    while (now_s() < end) {
        int n = epoll_wait(ep, ev, 64, 6000);
        if (n == 0)
            fail("answer", "none for 6 s");
        for (int i = 0; i < n; i++) {
            struct connection *c = ev[i].data.ptr;
            ssize_t r = recv(c->fd, in, sizeof in, 0);
            if (r <= 0)
                fail("receive", r == 0 ? "closed by the server" : strerror(errno));
            take(l, c, in, (size_t)r);
            if (c->owed == 0 && c->body_n == 0) {
                done += (uint64_t)l->depth;
                send_batch(l, c);
            }
        }
    }
    close(ep);
    return done;
}

int main(int argc, char **argv)
{
    struct load l = {.seed = (uint64_t)getpid() * 2654435761u + 1};
    struct connection *all;
    double began;
    uint64_t done;

    if (argc != 10)
        fail("usage",
             "replicated_load PORT CONNECTIONS DEPTH VALUE_BYTES KEYS SECONDS set|get WAIT PREFIX");
    l.port = atoi(argv[1]);
    l.connections = atoi(argv[2]);
    l.depth = atoi(argv[3]);
    l.value_n = strtoul(argv[4], NULL, 10);
    l.keys = atoi(argv[5]);
    l.seconds = atof(argv[6]);
    l.set = strcmp(argv[7], "set") == 0;
    l.wait = atoi(argv[8]);
    l.prefix = argv[9];
    if (l.connections < 1 || l.depth < 1 || l.depth > DEPTH_MAX || l.keys < 1 || l.seconds <= 0 ||
        l.value_n < 1 || l.value_n > REQUEST_MAX - 256 || strlen(l.prefix) > 32)
        fail("usage", "a number is out of range");
    all = calloc((size_t)l.connections, sizeof *all);
    if (all == NULL)
        fail("memory", "none");
    began = now_s();
    done = run(&l, all);
    printf("%.0f\n", (double)done / (now_s() - began));
    for (int i = 0; i < l.connections; i++)
        close(all[i].fd);
    free(all);
    return 0;
}
