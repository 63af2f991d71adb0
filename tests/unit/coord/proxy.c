/* The proxy's thread: one poll loop over all connections. */
#include "tests/unit/coord/proxy.h"

#include "tests/unit/coord/etcd_server.h"
#include "tests/unit/coord/send_all.h"

#include "proto/base/bytes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct sockaddr_in local(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* -1: it is not there. */
static int connect_server(struct proxy *p)
{
    struct sockaddr_in to = local(atomic_load(&p->server));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        shut(&fd);
    return fd;
}

static void accept_one(struct proxy *p)
{
    int client = accept(p->listener, NULL, NULL), server;

    for (int i = 0; i < PROXY_CONNS_MAX && client >= 0; i++) {
        if (p->conn[i].client >= 0 || p->conn[i].server >= 0 || p->conn[i].held_n > 0)
            continue;
        server = atomic_load(&p->mode) == PROXY_CUT ? -1 : connect_server(p);
        if (server < 0)
            break;
        p->conn[i].client = client;
        p->conn[i].server = server;
        p->conn[i].held_n = 0;
        p->conn[i].owed = false;
        return;
    }
    shut(&client);
}

static void serve(struct proxy *p, int i, bool from_client, bool from_server)
{
    int mode = atomic_load(&p->mode);
    int *client = &p->conn[i].client, *server = &p->conn[i].server;
    char b[16384];

    if (from_client) {
        ssize_t n = recv(*client, b, sizeof(b), 0);
        if (n <= 0) {
            shut(client);
            if (p->conn[i].held_n == 0 && !p->conn[i].owed)
                shut(server);
        } else if (mode == PROXY_HOLD && p->conn[i].held_n + (size_t)n <= sizeof(p->conn[i].held)) {
            memcpy(p->conn[i].held + p->conn[i].held_n, b, (size_t)n);
            p->conn[i].held_n += (size_t)n;
        } else if (!send_all(*server, b, (size_t)n)) {
            shut(client);
            shut(server);
        }
    }
    if (from_server && *server >= 0) {
        ssize_t n = recv(*server, b, sizeof(b), 0);
        if (n > 0 && mode == PROXY_LOSE) {
            atomic_fetch_add(&p->lost, 1);
            n = 0;
        }
        if (n <= 0 && p->conn[i].held_n > 0) {
            shut(server); /* it does not wait for ever; what is held goes to a new connection */
            return;
        }
        p->conn[i].owed = false;
        if (n <= 0 || (*client >= 0 && !send_all(*client, b, (size_t)n))) {
            shut(server);
            shut(client);
        } else if (*client < 0) {
            shut(server); /* what was held has been answered, to nobody */
        }
    }
}

static void between(struct proxy *p)
{
    for (int i = 0; i < PROXY_CONNS_MAX; i++) {
        int mode = atomic_load(&p->mode);
        if (mode == PROXY_CUT && (p->conn[i].client >= 0 || p->conn[i].server >= 0)) {
            atomic_fetch_add(&p->lost, 1);
            shut(&p->conn[i].client);
            shut(&p->conn[i].server);
        } else if (mode == PROXY_PASS && p->conn[i].held_n > 0) {
            if (p->conn[i].server < 0)
                p->conn[i].server = connect_server(p);
            p->conn[i].owed = p->conn[i].server >= 0 &&
                              send_all(p->conn[i].server, p->conn[i].held, p->conn[i].held_n);
            p->conn[i].held_n = 0;
        }
    }
}

static void proxy_loop(void *arg)
{
    struct proxy *p = arg;

    while (!atomic_load(&p->stop)) {
        struct pollfd fds[1 + 2 * PROXY_CONNS_MAX] = {{.fd = p->listener, .events = POLLIN}};
        for (int i = 0; i < PROXY_CONNS_MAX; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = p->conn[i].client, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = p->conn[i].server, .events = POLLIN};
        }
        (void)poll(fds, 1 + 2 * PROXY_CONNS_MAX, 5);
        between(p);
        for (int i = 0; i < PROXY_CONNS_MAX; i++)
            serve(p, i, p->conn[i].client >= 0 && fds[1 + 2 * i].revents != 0,
                  p->conn[i].server >= 0 && fds[2 + 2 * i].revents != 0);
        if (fds[0].revents != 0)
            accept_one(p);
    }
}

void proxy_start(struct proxy *p, uint16_t server)
{
    struct sockaddr_in at;
    struct fb_err err;
    int one = 1;

    memset(p, 0, sizeof(*p));
    for (int i = 0; i < PROXY_CONNS_MAX; i++)
        p->conn[i].client = p->conn[i].server = -1;
    p->port = etcd_free_port();
    atomic_store(&p->server, server);
    at = local(p->port);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(p->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(p->listener, 64), 0);
    assert_int_equal(fb_thread_start("proxy", proxy_loop, p, &p->thread, &err), FB_OK);
}

void proxy_stop(struct proxy *p)
{
    atomic_store(&p->stop, true);
    fb_thread_join(p->thread);
    close(p->listener);
    for (int i = 0; i < PROXY_CONNS_MAX; i++) {
        shut(&p->conn[i].client);
        shut(&p->conn[i].server);
    }
}
