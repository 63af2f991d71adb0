/* Goal: memory that is not there costs one connection, or one try to get one, and nothing else;
 * with the memory the same works. Method: two adapters over loopback TCP; what may be refused is
 * refused (crash/refuse.h), and the n-th object that nng is asked for does not come. */
#include "tests/unit/crash/refuse.h"
#include "tests/unit/net/side.h"

#include "proto/net/conn.h"

#include <stdatomic.h>

/* --- nng without memory --- */

static atomic_uint no_aio, no_listener, no_dialer; /* the n-th from now on; 0: all come */

static bool comes(atomic_uint *n)
{
    return atomic_load(n) == 0 || atomic_fetch_sub(n, 1) != 1;
}

int __real_nng_aio_alloc(nng_aio **aio, void (*fn)(void *), void *arg);
int __wrap_nng_aio_alloc(nng_aio **aio, void (*fn)(void *), void *arg);
int __wrap_nng_aio_alloc(nng_aio **aio, void (*fn)(void *), void *arg)
{
    return comes(&no_aio) ? __real_nng_aio_alloc(aio, fn, arg) : NNG_ENOMEM;
}

int __real_nng_stream_listener_alloc(nng_stream_listener **l, const char *url);
int __wrap_nng_stream_listener_alloc(nng_stream_listener **l, const char *url);
int __wrap_nng_stream_listener_alloc(nng_stream_listener **l, const char *url)
{
    return comes(&no_listener) ? __real_nng_stream_listener_alloc(l, url) : NNG_ENOMEM;
}

int __real_nng_stream_dialer_alloc(nng_stream_dialer **d, const char *url);
int __wrap_nng_stream_dialer_alloc(nng_stream_dialer **d, const char *url);
int __wrap_nng_stream_dialer_alloc(nng_stream_dialer **d, const char *url)
{
    return comes(&no_dialer) ? __real_nng_stream_dialer_alloc(d, url) : NNG_ENOMEM;
}

/* --- two sides --- */

static struct side a, b; /* listens; dials */
static char url[FB_ADDRESS_BYTES_MAX + 1];

static int setup(void **state)
{
    struct fb_err err;
    (void)state;
    side_open(&a, "node-1", 0);
    side_open(&b, "router", 0);
    return fb_net_listen(a.net, "tcp://127.0.0.1:0", url, &err) == FB_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    side_close(&b);
    side_close(&a);
    return 0;
}

static struct fb_conn *dial(void)
{
    struct fb_conn *c;
    struct fb_err err;
    if (fb_net_dial(b.net, url, NULL, NULL, &c, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return c;
}

static void send_frame(struct fb_conn *c, size_t n)
{
    struct fb_frame f = {.kind = FB_FRAME_ADMIN_REQ};
    struct fb_buf buf = {0};
    size_t mark = fb_frame_begin(&buf, &f);
    memset(fb_buf_grow(&buf, n), 'x', n);
    fb_frame_end(&buf, mark, 1);
    assert_int_equal(fb_conn_send(c, &buf), FB_OK);
    fb_buf_fini(&buf);
}

/* A frame of `n` bytes, with no memory for more than `above`: the connection it came on is closed,
 * with the reason; the other one goes on, and another takes the frame once there is memory. */
static void frame_of(size_t n, size_t above)
{
    struct fb_conn *c = dial(), *other = dial();

    WAIT_FOR(a.opened == 2 && b.opened == 2);
    send_frame(other, 10);
    WAIT_FOR(a.frames == 1); /* it has a small box now, which goes round */
    refuse_above(above);
    send_frame(c, n);
    WAIT_FOR(a.closed == 1 && b.closed == 1);
    assert_non_null(strstr(a.why, "no memory for a frame of"));
    send_frame(other, 10);
    WAIT_FOR(a.frames == 2);
    assert_int_equal(refuse_done(), 1);
    fb_conn_put(c);
    c = dial();
    WAIT_FOR(a.opened == 3 && b.opened == 3);
    send_frame(c, n);
    WAIT_FOR(a.frames == 3);
    assert_int_equal(a.bytes, 20 + n);
    assert_int_equal(a.closed + b.closed, 2);
    fb_conn_put(c);
    fb_conn_put(other);
}

static void a_frame_larger_than_what_is_read(void **state)
{
    (void)state;
    frame_of(1 << 20, 100000);
}

static void a_frame_above_4_kib(void **state)
{
    (void)state;
    frame_of(6000, 5000);
}

/* The dialer is told, has no connection and hears of none. */
static void a_dial(void **state)
{
    atomic_uint *const calls[] = {&no_aio, &no_aio, &no_aio, &no_dialer};
    (void)state;
    for (unsigned i = 0; i < FB_COUNT_OF(calls); i++) {
        struct fb_conn *c;
        struct fb_err err;
        atomic_store(calls[i], calls[i] == &no_aio ? i + 1 : 1);
        assert_int_equal(fb_net_dial(b.net, url, NULL, NULL, &c, &err), FB_ENOMEM);
        assert_null(c);
        assert_int_equal(atomic_load(calls[i]), 0);
        if (strstr(err.msg, url) == NULL || strstr(err.msg, "emory") == NULL)
            fail_msg("%s", err.msg);
        c = dial();
        WAIT_FOR(a.opened == i + 1 && b.opened == i + 1);
        fb_conn_put(c);
    }
    assert_int_equal(a.closed + b.closed, 0);
}

/* Who dialed is closed, as by any peer that goes away; the listener takes the next. */
static void an_accept(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct fb_conn *c;
        atomic_store(&no_aio, 3 + i + 1); /* the first three are the dialer's */
        c = dial();
        WAIT_FOR(b.closed == i + 1);
        assert_int_equal(a.opened, i);
        fb_conn_put(c);
        c = dial();
        WAIT_FOR(a.opened == i + 1 && b.opened == i + 1);
        fb_conn_put(c);
    }
    assert_int_equal(a.closed, 0);
}

/* Nothing of a listener that did not come is left: the address is free. */
static void a_listener(void **state)
{
    atomic_uint *const calls[] = {&no_listener, &no_aio};
    char bound[FB_ADDRESS_BYTES_MAX + 1], again[FB_ADDRESS_BYTES_MAX + 1];
    struct fb_err err;
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(calls); i++) {
        atomic_store(calls[i], 1);
        assert_int_equal(fb_net_listen(b.net, "tcp://127.0.0.1:0", bound, &err), FB_ENOMEM);
        if (strstr(err.msg, "listen on tcp://127.0.0.1:0") == NULL ||
            strstr(err.msg, "emory") == NULL)
            fail_msg("%s", err.msg);
    }
    assert_int_equal(fb_net_listen(b.net, "tcp://127.0.0.1:0", bound, &err), FB_OK);
    assert_int_equal(fb_net_listen(b.net, bound, again, &err), FB_EBUSY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_frame_larger_than_what_is_read),
        TEST(a_frame_above_4_kib),
        TEST(a_dial),
        TEST(an_accept),
        TEST(a_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
