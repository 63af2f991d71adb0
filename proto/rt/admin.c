/* Admin HTTP over libmicrohttpd, polled by a thread of ours: hooks may use RCU, which a thread of
 * the library could not. */
#include "proto/rt/admin.h"

#include "proto/base/build.h"
#include "proto/base/clock.h"
#include "proto/base/number.h"
#include "proto/rt/events.h"
#include "proto/rt/metrics.h"
#include "proto/rt/reload.h"
#include "proto/rt/thread.h"
#include "proto/rt/watchdog.h"

#include <microhttpd.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64u
#define TIMEOUT_S 10u
#define BOUND_BYTES 256

struct fb_admin {
    struct fb_admin_hooks hooks; /* const */
    uint64_t started_ns;         /* const */
    struct MHD_Daemon *daemon;   /* admin thread */
    struct fb_thread *thread;
    int stop_fd; /* eventfd, const */
    _Atomic bool stop;
};

static enum MHD_Result reply(struct MHD_Connection *con, unsigned code, const char *type,
                             struct fb_buf *body, const char *allow)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(
        body->n, body->p == NULL ? (void *)"" : body->p, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rc;

    fb_buf_fini(body);
    if (r == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(r, "Content-Type", type);
    (void)MHD_add_response_header(r, "Cache-Control", "no-store");
    if (allow != NULL)
        (void)MHD_add_response_header(r, "Allow", allow);
    rc = MHD_queue_response(con, code, r);
    MHD_destroy_response(r);
    return rc;
}

/* {"process":..,"version":..,"build":..,"pid":..,"uptime_seconds":..,"reload":{},"watchdog":{},
 * "status":<the hook's object>} */
static void status_page(struct fb_admin *a, struct fb_buf *out)
{
    size_t before;

    fb_buf_put_str(out, "{\"process\":");
    fb_json_string(out, program_invocation_short_name);
    fb_buf_put_str(out, ",\"version\":");
    fb_json_string(out, fb_build_version());
    fb_buf_put_str(out, ",\"build\":");
    fb_json_string(out, fb_build_flavor());
    fb_buf_printf(out, ",\"pid\":%ld,\"uptime_seconds\":%.3f,\"reload\":", (long)getpid(),
                  (double)(fb_mono_ns() - a->started_ns) / 1e9);
    fb_reload_status(out);
    fb_buf_put_str(out, ",\"watchdog\":");
    fb_watchdog_status(out);
    fb_buf_put_str(out, ",\"status\":");
    before = out->n;
    if (a->hooks.status != NULL)
        a->hooks.status(a->hooks.arg, out);
    if (out->n == before)
        fb_buf_put_str(out, "{}");
    fb_buf_put_str(out, "}\n");
}

static enum MHD_Result page(struct fb_admin *a, struct MHD_Connection *con, const char *url)
{
    static const char text[] = "text/plain; charset=utf-8";
    struct fb_buf body = {0};

    if (strcmp(url, "/livez") == 0) {
        bool live = fb_watchdog_live(&body);
        struct fb_buf page_body = {0};
        if (live)
            fb_buf_put_str(&page_body, body.n > 0 ? "ok, but\n" : "ok");
        fb_buf_put_bytes(&page_body, fb_buf_view(&body));
        fb_buf_put_u8(&page_body, '\n');
        fb_buf_fini(&body);
        return reply(con, live ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text, &page_body,
                     NULL);
    }
    if (strcmp(url, "/readyz") == 0) {
        bool ready = a->hooks.ready == NULL || a->hooks.ready(a->hooks.arg, &body);
        if (ready) {
            fb_buf_clear(&body);
            fb_buf_put_str(&body, "ok");
        } else if (body.n == 0) {
            fb_buf_put_str(&body, "not ready");
        }
        fb_buf_put_u8(&body, '\n');
        return reply(con, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text, &body, NULL);
    }
    if (strcmp(url, "/metrics") == 0) {
        fb_metrics_page(&body);
        return reply(con, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body, NULL);
    }
    if (strcmp(url, "/statusz") == 0) {
        status_page(a, &body);
        return reply(con, MHD_HTTP_OK, "application/json", &body, NULL);
    }
    if (strcmp(url, "/eventsz") == 0) {
        const char *since = MHD_lookup_connection_value(con, MHD_GET_ARGUMENT_KIND, "since");
        uint64_t seq = 0;
        if (since != NULL && !fb_parse_u64(fb_bytes_str(since), &seq)) {
            fb_buf_put_str(&body, "since must be a number: the \"next\" of the answer before\n");
            return reply(con, MHD_HTTP_BAD_REQUEST, text, &body, NULL);
        }
        fb_events_json(&body, seq);
        return reply(con, MHD_HTTP_OK, "application/json", &body, NULL);
    }
    fb_buf_put_str(&body, "not found; there are /livez /readyz /metrics /statusz /eventsz\n");
    return reply(con, MHD_HTTP_NOT_FOUND, text, &body, NULL);
}

static enum MHD_Result handle_cb(void *arg, struct MHD_Connection *con, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_n, void **state)
{
    static int headers_seen;
    struct fb_buf body = {0};

    (void)version;
    (void)upload;
    if (*state ==
        NULL) { /* first call: headers only; answering here would cut off a request's body */
        *state = &headers_seen;
        return MHD_YES;
    }
    if (*upload_n > 0) {
        *upload_n = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        fb_buf_put_str(&body, "method not allowed; use GET or HEAD\n");
        return reply(con, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", &body,
                     "GET, HEAD");
    }
    return page(arg, con, url);
}

static void admin_loop(void *arg)
{
    struct fb_admin *a = arg;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    fb_assert(info != NULL);
    while (!atomic_load(&a->stop)) {
        struct pollfd fds[2] = {{.fd = info->epoll_fd, .events = POLLIN},
                                {.fd = a->stop_fd, .events = POLLIN}};
        MHD_UNSIGNED_LONG_LONG ms;
        int timeout = MHD_get_timeout(a->daemon, &ms) == MHD_YES && ms < 1000 ? (int)ms : 1000;
        fb_beat("waits for requests");
        (void)poll(fds, 2, timeout);
        fb_beat("answers admin requests");
        (void)MHD_run(a->daemon);
    }
}

static enum fb_status split_listen(const char *listen, char host[BOUND_BYTES], char port[8],
                                   struct fb_err *err)
{
    const char *colon = strrchr(listen, ':');
    size_t host_n;

    if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) > 5 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return fb_err_set(err, FB_EINVAL,
                          "admin.listen \"%s\" is not HOST:PORT, such as 127.0.0.1:9400", listen);
    snprintf(port, 8, "%s", colon + 1);
    host_n = (size_t)(colon - listen);
    if (host_n >= 2 && listen[0] == '[' && listen[host_n - 1] == ']') {
        listen++;
        host_n -= 2;
    }
    if (host_n >= BOUND_BYTES)
        return fb_err_set(err, FB_EINVAL, "admin.listen: host name is longer than %d bytes",
                          BOUND_BYTES - 1);
    memcpy(host, listen, host_n);
    host[host_n] = '\0';
    return FB_OK;
}

static enum fb_status bound_name(int fd, char *bound, struct fb_err *err)
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof(ss);
    char host[64], port[8];

    if (getsockname(fd, (struct sockaddr *)&ss, &n) != 0 ||
        getnameinfo((struct sockaddr *)&ss, n, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return fb_err_set(err, FB_EIO, "admin.listen: cannot tell the bound address");
    snprintf(bound, BOUND_BYTES, ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return FB_OK;
}

static enum fb_status listen_socket(const char *listen_at, int *out, char *bound,
                                    struct fb_err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE},
                    *ai = NULL;
    char host[BOUND_BYTES], port[8];
    enum fb_status s = split_listen(listen_at, host, port, err);
    int fd = -1, rc, one = 1;

    if (s != FB_OK)
        return s;
    rc = getaddrinfo(host[0] == '\0' || strcmp(host, "*") == 0 ? NULL : host, port, &hints, &ai);
    if (rc != 0)
        return fb_err_set(err, FB_EINVAL, "admin.listen \"%s\": %s", listen_at, gai_strerror(rc));
    fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    if (fd < 0) {
        s = fb_err_set(err, fb_status_of_errno(errno), "admin.listen \"%s\": socket: %s", listen_at,
                       strerror(errno));
        goto out_ai;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, 128) != 0) {
        s = errno == EADDRINUSE ? fb_err_set(err, FB_EBUSY,
                                             "admin address %s is in use by another process; "
                                             "choose another with admin.listen",
                                             listen_at)
                                : fb_err_set(err, fb_status_of_errno(errno),
                                             "admin.listen \"%s\": %s", listen_at, strerror(errno));
        goto out_fd;
    }
    s = bound_name(fd, bound, err);
    if (s == FB_OK) {
        *out = fd;
        fd = -1;
    }
out_fd:
    if (fd >= 0)
        close(fd);
out_ai:
    freeaddrinfo(ai);
    return s;
}

enum fb_status fb_admin_start(const char *listen, const struct fb_admin_hooks *hooks, char *bound,
                              struct fb_admin **out, struct fb_err *err)
{
    struct fb_admin *a;
    int fd;
    enum fb_status s = listen_socket(listen, &fd, bound, err);

    *out = NULL;
    if (s != FB_OK)
        return s;
    a = fb_xcalloc(1, sizeof(*a));
    if (hooks != NULL)
        a->hooks = *hooks;
    a->started_ns = fb_mono_ns();
    a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->stop_fd < 0) {
        s = fb_err_set(err, fb_status_of_errno(errno), "admin: eventfd: %s", strerror(errno));
        goto out_fd;
    }
    a->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, handle_cb, a,
                                 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                 CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
    if (a->daemon == NULL) {
        s = fb_err_set(err, FB_EIO, "admin: the HTTP server does not start on %s", listen);
        goto out_event;
    }
    s = fb_thread_start("fb-admin", admin_loop, a, &a->thread, err);
    if (s != FB_OK) {
        MHD_stop_daemon(a->daemon); /* closes fd */
        fd = -1;
        goto out_event;
    }
    *out = a;
    return FB_OK;
out_event:
    close(a->stop_fd);
out_fd:
    if (fd >= 0)
        close(fd);
    free(a);
    return s;
}

void fb_admin_stop(struct fb_admin *a)
{
    uint64_t one = 1;
    if (a == NULL)
        return;
    atomic_store(&a->stop, true);
    if (write(a->stop_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        fb_assert(errno == EAGAIN);
    fb_thread_join(a->thread);
    MHD_stop_daemon(a->daemon);
    close(a->stop_fd);
    free(a);
}
