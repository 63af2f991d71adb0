/* Goal: frames arrive whole and in order whatever their size, peers that are not ours are turned
 * away with the reason on both sides, garbage and silence cost only that connection, every dial
 * gets exactly one closed, and nothing leaks in a storm. Method: two adapters over loopback TCP;
 * raw sockets play the bad peers. Events are counted under one lock. */
#include "tests/unit/net/side.h"

#include "proto/base/clock.h"
#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void put_frame(struct fb_buf *b, uint64_t id, size_t n)
{
    struct fb_frame f = {.kind = FB_FRAME_ADMIN_REQ, .id = id};
    size_t mark = fb_frame_begin(b, &f);
    if (n > 0)
        memset(fb_buf_grow(b, n), (int)(id & 0xff), n);
    fb_frame_end(b, mark, 1);
}

static void frames_of_all_sizes(void **state)
{
    static const size_t sizes[] = {0,     1,     100,   4000,  4096,    20000,   32750,
                                   32768, 65500, 65536, 70000, 1 << 20, 5 << 20, 3};
    struct side a, b;
    struct fb_conn *c;
    struct fb_err err;
    struct fb_buf buf = {0};
    char url[FB_ADDRESS_BYTES_MAX + 1];
    uint64_t id = 0, bytes = 0;
    (void)state;

    side_open(&a, "node-1", 1);
    side_open(&b, "router", 1);
    a.echo = true;
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    assert_null(strstr(url, ":0"));
    assert_int_equal(fb_net_dial(b.net, url, "node-1", NULL, &c, &err), FB_OK);
    WAIT_FOR(b.opened == 1);
    assert_string_equal(b.peer, "node-1");
    assert_int_equal(fb_conn_peer(c)->inc, 7);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < FB_COUNT_OF(sizes); i++) {
            put_frame(&buf, id++, sizes[i]);
            bytes += sizes[i];
            if (i % 3 == 0) /* one or several frames a send */
                assert_int_equal(fb_conn_send(c, &buf), FB_OK);
        }
    assert_int_equal(fb_conn_send(c, &buf), FB_OK);
    for (int i = 0; i < 5000; i++) {
        put_frame(&buf, id++, 64);
        bytes += 64;
        assert_int_equal(fb_conn_send(c, &buf), FB_OK);
        assert_int_equal(buf.n, 0);
    }
    WAIT_FOR(b.frames == id);
    assert_int_equal(b.bytes, bytes);
    assert_false(a.bad_order || b.bad_order);
    fb_conn_close(c);
    WAIT_FOR(b.closed == 1 && a.closed == 1);
    put_frame(&buf, 0, 1);
    assert_int_equal(fb_conn_send(c, &buf), FB_ECLOSED);
    assert_true(buf.n > 0);
    fb_buf_fini(&buf);
    side_close(&b);
    side_close(&a);
    fb_conn_put(c);
}

#define SENDERS 4
#define SENDS 5000u

static void send_many(void *arg)
{
    struct fb_conn *c = arg;
    struct fb_buf buf = {0};
    for (uint32_t i = 0; i < SENDS; i++) {
        put_frame(&buf, i, i % 512);
        if (fb_conn_send(c, &buf) != FB_OK)
            abort();
        if (i % 64 == 0) /* so that lone writes and bursts alternate */
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    fb_buf_fini(&buf);
}

static void many_senders(void **state)
{
    struct side a, b;
    struct fb_conn *c;
    struct fb_thread *t[SENDERS];
    struct fb_err err;
    char url[FB_ADDRESS_BYTES_MAX + 1];
    uint64_t bytes = 0;
    (void)state;

    side_open(&a, "node-1", 1);
    side_open(&b, "router", 1);
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    assert_int_equal(fb_net_dial(b.net, url, "node-1", NULL, &c, &err), FB_OK);
    WAIT_FOR(b.opened == 1);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(fb_thread_start("sender", send_many, c, &t[i], &err), FB_OK);
    for (int i = 0; i < SENDERS; i++)
        fb_thread_join(t[i]);
    for (uint32_t i = 0; i < SENDS; i++)
        bytes += (uint64_t)(i % 512) * SENDERS;
    WAIT_FOR(a.frames == SENDERS * SENDS);
    assert_int_equal(a.bytes, bytes);
    side_close(&b);
    side_close(&a);
    fb_conn_put(c);
}

static void queue_is_bounded(void **state)
{
    struct side a, b;
    struct fb_conn *c;
    struct fb_err err;
    struct fb_buf buf = {0};
    char url[FB_ADDRESS_BYTES_MAX + 1];
    bool full = false;
    (void)state;

    side_open(&a, "node-1", 0);
    side_open(&b, "router", 0);
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    assert_int_equal(fb_net_dial(b.net, url, NULL, NULL, &c, &err), FB_OK);
    WAIT_FOR(b.opened == 1 && a.opened == 1);
    pthread_mutex_lock(&mtx); /* the receiver hangs in its callback */
    for (uint64_t i = 0; i < 200 && !full; i++) {
        put_frame(&buf, i, 1 << 20);
        full = fb_conn_send(c, &buf) == FB_EFULL;
    }
    pthread_mutex_unlock(&mtx);
    assert_true(full);
    assert_true(fb_conn_send_queue_bytes(c) <= 64u << 20);
    fb_buf_fini(&buf);
    side_close(&b);
    side_close(&a);
    fb_conn_put(c);
}

static void strangers_are_refused(void **state)
{
    struct side a, b;
    struct fb_conn *c;
    struct fb_err err;
    char url[FB_ADDRESS_BYTES_MAX + 1];
    (void)state;

    side_open(&a, "node-1", 1);
    side_open(&b, "router", 2);
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    assert_int_equal(fb_net_dial(b.net, url, NULL, NULL, &c, &err), FB_OK);
    WAIT_FOR(b.closed == 1);
    assert_non_null(strstr(b.why, "refused"));
    assert_non_null(strstr(b.why, "another cluster"));
    assert_int_equal(a.opened + b.opened + a.closed, 0);
    fb_conn_put(c);
    side_close(&b);

    side_open(&b, "router", 1);
    assert_int_equal(fb_net_dial(b.net, url, "node-2", NULL, &c, &err), FB_OK);
    WAIT_FOR(b.closed == 1 && a.closed == 1);
    assert_non_null(strstr(b.why, "expected node-2"));
    assert_non_null(strstr(a.why, "expected node-2"));
    fb_conn_put(c);
    side_close(&b);
    side_close(&a);
}

static int raw_connect(const char *url)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void put_hello(struct fb_buf *b, uint32_t protocol)
{
    struct fb_frame f = {.kind = FB_FRAME_HELLO, .has_hello = true};
    f.hello = (struct fb_hello){.protocol = protocol, .role = FB_ROLE_CTL, .name = "raw"};
    fb_frame_end(b, fb_frame_begin(b, &f), 0);
}

/* Everything until the other side closes, as one decoded HELLO if there is one. */
static bool raw_read_hello(int fd, struct fb_hello *out)
{
    static uint8_t bytes[65536];
    struct fb_frame f;
    size_t n = 0, size = 0;
    ssize_t got;
    while (n < sizeof(bytes) && (got = read(fd, bytes + n, sizeof(bytes) - n)) > 0)
        n += (size_t)got;
    if (fb_frame_size(fb_bytes(bytes, n), &size) != FB_OK || size == 0 || size > n ||
        fb_frame_decode(fb_bytes(bytes, size), &f, NULL) != FB_OK || !f.has_hello)
        return false;
    *out = f.hello;
    return true;
}

/* A well-formed frame that forebayctl does not send to nodes: not received, and the end. */
static void foreign_frames(void **state)
{
    static const enum fb_frame_kind kinds[] = {
        FB_FRAME_FEED_REQ, FB_FRAME_FEED_POS, FB_FRAME_LOAD_REP, FB_FRAME_VERDICT,
        FB_FRAME_DB_CLOCK, FB_FRAME_NOTE,     FB_FRAME_REP};
    struct fb_counter *count = fb_counter_register("foreign_frames_total", NULL, "");
    uint64_t before;
    struct side a;
    struct fb_err err;
    char url[FB_ADDRESS_BYTES_MAX + 1];
    (void)state;

    side_open(&a, "node-1", 0);
    before = fb_counter_value(count);
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    for (size_t i = 0; i < FB_COUNT_OF(kinds); i++) {
        struct fb_frame f = {.kind = kinds[i]};
        struct fb_buf buf = {0};
        struct fb_hello h;
        int fd = raw_connect(url);
        put_hello(&buf, FB_PROTOCOL_VERSION);
        fb_frame_end(&buf, fb_frame_begin(&buf, &f), 0);
        assert_int_equal(write(fd, buf.p, buf.n), buf.n);
        assert_true(raw_read_hello(fd, &h)); /* returns when the connection is closed */
        assert_string_equal(h.error, "");
        close(fd);
        fb_buf_fini(&buf);
    }
    assert_int_equal(fb_counter_value(count), before + FB_COUNT_OF(kinds));
    assert_int_equal(a.frames, 0);
    side_close(&a);
}

static void bad_peers(void **state)
{
    struct side a;
    struct fb_err err;
    struct fb_hello h;
    struct fb_buf buf = {0};
    char url[FB_ADDRESS_BYTES_MAX + 1];
    uint64_t t0;
    int fd;
    (void)state;

    side_open(&a, "node-1", 1);
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    fd = raw_connect(url); /* a browser */
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    assert_false(raw_read_hello(fd, &h));
    close(fd);
    fd = raw_connect(url); /* a future protocol */
    put_hello(&buf, FB_PROTOCOL_VERSION + 1);
    assert_int_equal(write(fd, buf.p, buf.n), buf.n);
    assert_true(raw_read_hello(fd, &h));
    assert_non_null(strstr(h.error, "protocol"));
    close(fd);
    assert_int_equal(a.opened, 0);
    fd = raw_connect(url); /* polite, then garbage */
    fb_buf_clear(&buf);
    put_hello(&buf, FB_PROTOCOL_VERSION);
    fb_buf_put_u32(&buf, 12);
    fb_buf_put_u32(&buf, 8);
    fb_buf_put_u64(&buf, UINT64_MAX);
    assert_int_equal(write(fd, buf.p, buf.n), buf.n);
    WAIT_FOR(a.closed == 1);
    assert_non_null(strstr(a.why, "bad frame"));
    close(fd);
    fd = raw_connect(url); /* silence */
    t0 = fb_mono_ns();
    assert_false(raw_read_hello(fd, &h));
    assert_true(fb_mono_ns() - t0 > UINT64_C(4000000000) &&
                fb_mono_ns() - t0 < UINT64_C(8000000000));
    close(fd);
    fb_buf_fini(&buf);
    side_close(&a);
}

static unsigned open_files(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void storm_does_not_leak(void **state)
{
    struct side a, b;
    struct fb_err err;
    struct fb_conn *c[50];
    char url[FB_ADDRESS_BYTES_MAX + 1], nobody[] = "tcp://127.0.0.1:1";
    unsigned before = 0;
    uint32_t dials = 0;
    (void)state;

    side_open(&a, "node-1", 1);
    side_open(&b, "router", 1);
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    for (int round = 0; round < 8; round++) {
        for (size_t i = 0; i < FB_COUNT_OF(c); i++) {
            assert_int_equal(fb_net_dial(b.net, i % 3 == 0 ? nobody : url, NULL, NULL, &c[i], &err),
                             FB_OK);
            dials++;
            if (i % 5 == 0)
                fb_conn_close(c[i]); /* while it connects */
        }
        for (size_t i = 0; i < FB_COUNT_OF(c); i++) {
            if (i % 2 == 0)
                nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
            fb_conn_close(c[i]);
            fb_conn_put(c[i]);
        }
        WAIT_FOR(b.closed == dials && a.closed == a.opened);
        if (round == 1)
            before = open_files();
    }
    for (int i = 0; i < 200 && open_files() > before + 5;
         i++) /* nng closes sockets on a thread of its own */
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_true(open_files() <= before + 5);
    for (size_t i = 0; i < FB_COUNT_OF(c); i++) /* close with dials under way */
        assert_int_equal(fb_net_dial(b.net, url, NULL, NULL, &c[i], &err), FB_OK);
    side_close(&b);
    for (size_t i = 0; i < FB_COUNT_OF(c); i++)
        fb_conn_put(c[i]);
    assert_int_equal(b.closed, dials + FB_COUNT_OF(c));
    side_close(&a);
}

static void bad_addresses(void **state)
{
    struct side a;
    struct fb_conn *c;
    struct fb_err err;
    char url[FB_ADDRESS_BYTES_MAX + 1], again[FB_ADDRESS_BYTES_MAX + 1];
    (void)state;

    side_open(&a, "node-1", 1);
    assert_int_equal(fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err), FB_OK);
    assert_int_equal(fb_net_listen(a.net, url, again, &err), FB_EBUSY);
    assert_non_null(strstr(err.msg, "in use"));
    assert_int_equal(fb_net_listen(a.net, "127.0.0.1:7400", again, &err), FB_EINVAL);
    assert_int_equal(fb_net_dial(a.net, "http://x", NULL, NULL, &c, &err), FB_EINVAL);
    side_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_all_sizes), cmocka_unit_test(many_senders),
        cmocka_unit_test(queue_is_bounded),    cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(bad_addresses),       cmocka_unit_test(foreign_frames),
        cmocka_unit_test(bad_peers),           cmocka_unit_test(storm_does_not_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
