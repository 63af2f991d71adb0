/* Goal: the memory for the rest of a command that is refused costs the client that sends it, and
 * nobody else. Method: one loop of a router without nodes, sockets that speak RESP, and what may be
 * refused is refused (crash/refuse.h). */
#include "tests/unit/crash/refuse.h"

#include "proto/base/clock.h"
#include "proto/coord/cluster_state.h"
#include "router/io/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static struct process process = {.registry_lock = PTHREAD_MUTEX_INITIALIZER};

static struct fb_cluster_state *cluster(void)
{
    struct fb_cluster_state *s;
    struct fb_err err;
    char url[128];

    snprintf(dir, sizeof(dir), "/tmp/fbrouter.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof(url), "file:%s", dir);
    assert_int_equal(fb_coord_open(url, true, &process.coord, &err), FB_OK);
    assert_int_equal(fb_cluster_init(process.coord, 4, &err), FB_OK);
    assert_int_equal(fb_cluster_state_read(process.coord, &s, &err), FB_OK);
    return s;
}

static int start(void **state)
{
    struct fb_cluster_state *s = cluster();
    struct fb_err err;

    (void)state;
    process.settings = (struct settings){.host = "127.0.0.1",
                                         .threads = 1,
                                         .max_clients = 100,
                                         .inflight_per_client = 100,
                                         .inflight_max = 1000,
                                         .window = 1,
                                         .output_bytes_max = 64u << 20,
                                         .retry_deadline_ms = 1000,
                                         .request_timeout_ms = 5000,
                                         .drain_timeout_ms = 1000};
    atomic_store(&process.max_clients, 100);
    process.applied = fb_applied_new(process.coord, FB_MEMBER_ROUTER, "r", 1, 1);
    process.started_ns = fb_mono_ns();
    metrics_register(&process);
    if (loop_start(&process, 0, s, &process.loops[0], &err) != FB_OK)
        fail_msg("%s", err.msg);
    process.loop_count = 1;
    fb_cluster_state_put(s);
    return 0;
}

static int stop(void **state)
{
    char command[128];

    (void)state;
    atomic_store(&process.stopping, true);
    loop_post_stop(process.loops[0]);
    loop_join(process.loops[0]);
    loop_free(process.loops[0]);
    fb_applied_free(process.applied);
    fb_coord_close(process.coord);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(process.settings.port)};
    const struct timeval end = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &end, sizeof(end)), 0);
    return fd;
}

static void put(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        assert_true(sent > 0);
        bytes += sent;
        n -= (size_t)sent;
    }
}

/* So many bytes, or the end of the connection. */
static const char *got(int fd, size_t n)
{
    static char text[256];
    size_t have = 0;

    while (have < n) {
        ssize_t more = recv(fd, text + have, n - have, 0);
        assert_true(more >= 0 || errno == ECONNRESET); /* never in vain */
        if (more <= 0)
            break;
        have += (size_t)more;
    }
    text[have] = '\0';
    return text;
}

static void ping(int fd)
{
    put(fd, "PING\r\n", 6);
    assert_string_equal(got(fd, 7), "+PONG\r\n");
}

/* Whole commands, then the beginning of one of 4 MiB. Behind the answer to the first the beginning
 * is in memory, and what follows it asks for more. */
static int begins(void)
{
    static const char first[] = "PING\r\n*2\r\n$4\r\nECHO\r\n$4194304\r\nx";
    int fd = dial();

    put(fd, first, sizeof(first) - 1);
    assert_string_equal(got(fd, 7), "+PONG\r\n");
    return fd;
}

static void the_rest_of_a_command(void **state)
{
    static char rest[4 << 20];
    int other = dial(), big;

    (void)state;
    memset(rest, 'x', sizeof(rest));
    ping(other);
    refuse_above(0);
    big = begins();
    put(big, "x", 1);
    assert_string_equal(got(big, 1), ""); /* closed, without an answer */
    ping(other);
    assert_true(refuse_done() > 0);
    assert_int_equal(atomic_load(&process.client_count), 1);
    close(big);

    big = begins();
    put(big, rest, (4 << 20) - 1);
    put(big, "\r\n", 2);
    assert_string_equal(got(big, 14), "$4194304\r\nxxxx");
    close(big);
    ping(other);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_rest_of_a_command)};
    return cmocka_run_group_tests(tests, start, stop);
}
