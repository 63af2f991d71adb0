/* Goal: every page answers with the right status, type and body over a real socket; a taken address
 * is one clear error. */
#include "proto/base/buf.h"
#include "proto/rt/admin.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_ready;

static bool ready(void *arg, struct fb_buf *why)
{
    (void)arg;
    if (!is_ready)
        fb_buf_put_str(why, "no map yet");
    return is_ready;
}

static void status(void *arg, struct fb_buf *json)
{
    (void)arg;
    fb_buf_put_str(json, "{\"parts\":3}");
}

static void fetch(const char *bound, const char *request, char *out, size_t cap)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t n = 0;
    ssize_t got;
    char line[256];

    to.sin_port = htons((uint16_t)atoi(strrchr(bound, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    snprintf(line, sizeof(line), "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", request);
    assert_int_equal(write(fd, line, strlen(line)), strlen(line));
    while (n + 1 < cap && (got = read(fd, out + n, cap - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = '\0';
    close(fd);
}

static void expect(const char *bound, const char *request, const char *code, const char *text)
{
    static char page[65536];
    fetch(bound, request, page, sizeof(page));
    if (strncmp(page, "HTTP/1.1 ", 9) != 0 || strncmp(page + 9, code, 3) != 0 ||
        strstr(page, text) == NULL)
        fail_msg("%s: wanted %s and %s, got\n%s", request, code, text, page);
}

static void pages(void **state)
{
    struct fb_admin_hooks hooks = {.ready = ready, .status = status};
    struct fb_admin *a, *b;
    struct fb_err err;
    char bound[256], again[256];
    (void)state;

    assert_int_equal(fb_admin_start("127.0.0.1:0", &hooks, bound, &a, &err), FB_OK);
    expect(bound, "GET /livez", "200", "\r\n\r\nok\n");
    expect(bound, "HEAD /livez", "200", "text/plain");
    expect(bound, "GET /readyz", "503", "no map yet\n");
    is_ready = true;
    expect(bound, "GET /readyz", "200", "ok\n");
    expect(bound, "GET /metrics", "200", "forebay_build_info");
    expect(bound, "GET /metrics", "200", "version=0.0.4");
    expect(bound, "GET /statusz", "200", "\"status\":{\"parts\":3}}");
    expect(bound, "GET /statusz", "200", "application/json");
    expect(bound, "GET /x", "404", "not found");
    expect(bound, "POST /livez", "405", "GET, HEAD");
    assert_int_equal(fb_admin_start(bound, &hooks, again, &b, &err), FB_EBUSY);
    assert_non_null(strstr(err.msg, "admin.listen"));
    assert_int_equal(fb_admin_start("nonsense", &hooks, again, &b, &err), FB_EINVAL);
    fb_admin_stop(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
