/* The admin port behind its real socket: bytes of HTTP, or a request line made of what the fuzzer
 * says; the hooks answer with what it says, too.
 *
 * Besides sanitizers: the answer is HTTP with one of the statuses we give or the library gives for
 * nonsense, a page that is there is found, and the port goes on.
 */
#include "tests/fuzz/connect.h"
#include "tests/fuzz/input.h"

#include "proto/base/buf.h"
#include "proto/rt/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 100 /* for the rest of a request that does not come */

static struct fb_admin *admin;
static struct sockaddr_in address;
static pthread_mutex_t mtx = PTHREAD_MUTEX_INITIALIZER; /* of the next two */
static struct fb_buf why;
static bool is_ready;

static bool ready(void *arg, struct fb_buf *out)
{
    bool r;
    (void)arg;
    pthread_mutex_lock(&mtx);
    fb_buf_put_bytes(out, fb_buf_view(&why));
    r = is_ready;
    pthread_mutex_unlock(&mtx);
    return r;
}

static void status(void *arg, struct fb_buf *out)
{
    (void)arg;
    pthread_mutex_lock(&mtx);
    fb_json_string(out, is_ready ? "ready" : "not");
    pthread_mutex_unlock(&mtx);
}

static void stop(void)
{
    fb_admin_stop(admin);
    fb_buf_fini(&why);
}

static void start(void)
{
    struct fb_admin_hooks hooks = {.ready = ready, .status = status};
    struct fb_err err;
    char bound[256];

    fb_assert(fb_admin_start("127.0.0.1:0", &hooks, bound, &admin, &err) == FB_OK);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10));
    (void)atexit(stop);
}

/* Everything until the other side closes, or waits for more. False: it waits. */
static bool exchange(struct fb_bytes request, struct fb_buf *answer)
{
    struct linger at_once = {.l_onoff = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), is_there;
    ssize_t n = 1;

    fb_assert(fd >= 0 && fuzz_connect(fd, &address));
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    while (request.n > 0 && n > 0) {
        do
            n = send(fd, request.p, request.n, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        request.p += n > 0 ? n : 0;
        request.n -= n > 0 ? (size_t)n : 0;
    }
    for (n = 1; n > 0; answer->n += n > 0 ? (size_t)n : 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        do
            is_there = poll(&p, 1, PATIENCE_MS);
        while (is_there < 0 && errno == EINTR);
        if (is_there == 0)
            break;
        do
            n = recv(fd, fb_buf_reserve(answer, 4096), 4096, 0);
        while (n < 0 && errno == EINTR);
    }
    close(fd);
    return is_there != 0;
}

static void put_request(struct fuzz_in *in, struct fb_buf *out)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "x"};
    static const char *const paths[] = {"/livez", "/readyz", "/metrics", "/statusz", "/", ""};
    uint8_t how = fuzz_u8(in);

    fb_buf_put_str(out, methods[how % FB_COUNT_OF(methods)]);
    fb_buf_put_u8(out, ' ');
    fb_buf_put_str(out, paths[how / 7 % FB_COUNT_OF(paths)]);
    fb_buf_put_bytes(out, fuzz_short(in)); /* more path, a query, a broken line */
    fb_buf_put_str(out, " HTTP/1.1\r\nHost: x\r\n");
    fb_buf_put_bytes(out, fuzz_short(in)); /* headers */
    fb_buf_put_str(out, "Connection: close\r\n\r\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char live[] = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct fuzz_in in = {data, n};
    struct fb_buf request = {0}, answer = {0};
    uint8_t how = fuzz_u8(&in);

    if (admin == NULL)
        start();
    pthread_mutex_lock(&mtx);
    is_ready = how & 1;
    fb_buf_clear(&why);
    fb_buf_put_bytes(&why, fuzz_bytes(&in, how / 16));
    pthread_mutex_unlock(&mtx);
    if (how & 2)
        put_request(&in, &request);
    else
        fb_buf_put_bytes(&request, fb_bytes(in.p, in.n));
    fb_buf_put_str(&request, "\r\n\r\n"); /* most requests end here at the latest */
    fb_buf_put_str(&request, live);
    (void)exchange(fb_buf_view(&request), &answer);
    if (answer.n > 0) {
        fb_assert(answer.n > 12 && memcmp(answer.p, "HTTP/1.", 7) == 0);
        fb_assert(answer.p[9] >= '1' && answer.p[9] <= '5');
    }
    if (how % 32 == 7) { /* the port goes on */
        fb_buf_clear(&answer);
        for (int i = 0; !exchange(fb_bytes_str(live), &answer); i++)
            fb_assert(i < 100);
        fb_assert(answer.n > 15 && memcmp(answer.p, "HTTP/1.1 200 OK", 15) == 0);
    }
    fb_buf_fini(&request);
    fb_buf_fini(&answer);
    return 0;
}
