/* Client connections of a loop: accepting, reading, writing, closing. */
#include "router/io/loop.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 511
#define IN_KEEP_BYTES (64u << 10)
#define IN_READ_BYTES_MIN (16u << 10)

static void address_text(const struct sockaddr_storage *a, char *out, size_t n)
{
    char host[INET6_ADDRSTRLEN] = "?";
    uint16_t port = 0;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        port = ntohs(in->sin_port);
        snprintf(out, n, "%s:%u", host, port);
    } else {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)a;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        port = ntohs(in->sin6_port);
        snprintf(out, n, "[%s]:%u", host, port);
    }
}

/* --- writing --- */

static void write_cb(uv_write_t *w, int status)
{
    struct client *c = w->data;
    c->write_busy = false;
    if (c->closing)
        return;
    if (status < 0) {
        client_close(c);
        return;
    }
    router_session_output(c->session, c->writing.n - c->writing_at, 0);
    fb_buf_clear(&c->writing);
    client_flush(c);
}

static bool session_finished(const struct client *c)
{
    return c->session->close && c->session->out.n == 0 && !c->write_busy;
}

void client_flush(struct client *c)
{
    struct router_session *s = c->session;
    uv_buf_t buf;
    int n;
    if (s->cut) {
        client_close(c);
        return;
    }
    if (c->write_busy)
        return; /* what is in s->out goes with the next */
    if (s->out.n > 0) {
        buf = uv_buf_init((char *)s->out.p, (unsigned)s->out.n);
        n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
        if (n < 0 && n != UV_EAGAIN) {
            client_close(c);
            return;
        }
        if (n < 0)
            n = 0;
        if ((size_t)n < s->out.n) {
            struct fb_buf swap = c->writing;
            c->writing = s->out;
            s->out = swap;
            c->writing_at = (size_t)n;
            buf = uv_buf_init((char *)c->writing.p + n, (unsigned)(c->writing.n - (size_t)n));
            c->write.data = c;
            if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, write_cb) != 0) {
                client_close(c);
                return;
            }
            c->write_busy = true;
            router_session_output(s, (size_t)n, c->writing.n - (size_t)n);
            return;
        }
        fb_buf_clear(&s->out);
        router_session_output(s, (size_t)n, 0);
        fb_buf_shrink(&c->writing, 0);
    }
    if (session_finished(c))
        client_close(c);
    else if (c->loop->stopping)
        clients_check(c->loop);
}

/* --- reading --- */

static void alloc_cb(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct client *c = h->data;
    size_t want;
    uint8_t *p;
    (void)suggested;
    if (c->in.n == 0) {
        /* most reads end with a whole command: straight from the loop's buffer */
        *buf = uv_buf_init((char *)c->loop->read_buf, ROUTER_READ_BYTES);
        return;
    }
    want = router_session_wants(c->session, c->in.n);
    if (want < IN_READ_BYTES_MIN)
        want = IN_READ_BYTES_MIN;
    if (want > (1u << 20))
        want = 1u << 20;
    /* none: read_cb hears UV_ENOBUFS and closes this client, rather than the process */
    p = fb_buf_try_reserve(&c->in, want);
    *buf = uv_buf_init((char *)p, p != NULL ? (unsigned)want : 0);
}

static void client_take(struct client *c, const uint8_t *p, size_t n);

static void read_cb(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = st->data;
    if (n < 0) {
        client_close(c);
        return;
    }
    if (n == 0)
        return;
    loop_time(c->loop);
    atomic_store_explicit(&c->entry.last_ns, fb_mono_ns(), memory_order_relaxed);
    if (buf->base == (char *)c->loop->read_buf) {
        client_take(c, c->loop->read_buf, (size_t)n);
    } else {
        c->in.n += (size_t)n;
        client_take(c, NULL, 0);
    }
}

static void reading_set(struct client *c, bool on)
{
    if (c->reading == on || c->closing)
        return;
    c->reading = on;
    if (on && uv_read_start((uv_stream_t *)&c->tcp, alloc_cb, read_cb) != 0)
        client_close(c);
    else if (!on)
        uv_read_stop((uv_stream_t *)&c->tcp);
}

/* p..n: fresh bytes outside of c->in, which is empty then; p NULL: what is in c->in. */
static void client_take(struct client *c, const uint8_t *p, size_t n)
{
    size_t used;
    if (p != NULL) {
        used = router_session_input(c->session, p, n);
        fb_buf_put(&c->in, p + used, n - used);
    } else {
        used = router_session_input(c->session, c->in.p, c->in.n);
        fb_buf_consume(&c->in, used);
        if (c->in.n == 0)
            fb_buf_shrink(&c->in, IN_KEEP_BYTES);
    }
    if (router_output_due(c->loop->core))
        peers_send(c->loop);
    reading_set(c, !c->session->stalled && !c->session->close && !c->session->ending);
}

void client_resume(struct client *c)
{
    client_take(c, NULL, 0);
}

/* --- life --- */

static void closed_cb(uv_handle_t *h)
{
    struct client *c = h->data;
    struct loop *l = c->loop;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        l->clients = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    fb_buf_fini(&c->in);
    fb_buf_fini(&c->writing);
    free(c);
}

void client_close(struct client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    registry_remove(c->loop->process, &c->entry);
    router_session_gone(c->session);
    c->session = NULL;
    uv_close((uv_handle_t *)&c->tcp, closed_cb);
}

static bool client_admit(struct loop *l, struct client *c)
{
    static const char full[] = "-ERR max number of clients reached\r\n";
    struct process *p = l->process;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)full, sizeof(full) - 1);
    if (atomic_load(&p->client_count) < atomic_load(&p->max_clients) && !l->stopping)
        return true;
    router_count_reject(l->core, ROUTER_REJECT_MAXCLIENTS);
    (void)uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    return false;
}

static void refused_cb(uv_handle_t *h)
{
    free(h->data);
}

static void client_start(struct loop *l, struct client *c)
{
    struct sockaddr_storage peer = {0}, self = {0};
    int n = sizeof(peer), m = sizeof(self), fd = -1;
    struct registered *e = &c->entry;

    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, 300);
    uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer, &n);
    uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&self, &m);
    uv_fileno((uv_handle_t *)&c->tcp, &fd);
    e->loop = l;
    e->fd = fd;
    e->id = atomic_fetch_add(&l->process->next_client_id, 1) + 1;
    e->created_ns = fb_mono_ns();
    atomic_init(&e->last_ns, e->created_ns);
    atomic_init(&e->state, 2);
    address_text(&peer, e->addr, sizeof(e->addr));
    address_text(&self, e->laddr, sizeof(e->laddr));
    loop_time(l);
    c->session = router_session_new(l->core, e->id, e->addr, e->laddr, c);
    registry_add(l->process, e);
    c->next = l->clients;
    if (l->clients != NULL)
        l->clients->prev = c;
    l->clients = c;
    reading_set(c, true);
}

static void connection_cb(uv_stream_t *server, int status)
{
    struct loop *l = server->data;
    struct client *c;
    if (status < 0) {
        FB_LOG(WARN, "a client could not be accepted", FB_KS("error", uv_strerror(status)));
        return;
    }
    c = fb_xcalloc(1, sizeof(*c));
    c->loop = l;
    if (uv_tcp_init(&l->uv, &c->tcp) != 0) {
        free(c);
        return;
    }
    c->tcp.data = c;
    if (uv_accept(server, (uv_stream_t *)&c->tcp) != 0 || !client_admit(l, c)) {
        uv_close((uv_handle_t *)&c->tcp, refused_cb);
        return;
    }
    client_start(l, c);
}

void clients_check(struct loop *l)
{
    const struct settings *s = &l->settings;
    uint64_t now = fb_mono_ns();
    bool cut_all = l->stopping && now >= l->stop_at_ns;
    for (struct client *c = l->clients, *next; c != NULL; c = next) {
        next = c->next;
        if (c->closing)
            continue;
        if (atomic_load(&c->entry.kill) || cut_all ||
            (l->stopping && !router_session_busy(c->session) && !c->write_busy &&
             c->session->out.n == 0) ||
            (s->idle_timeout_ms > 0 && !router_session_busy(c->session) &&
             now - atomic_load_explicit(&c->entry.last_ns, memory_order_relaxed) >
                 s->idle_timeout_ms * 1000000u))
            client_close(c);
    }
}

/* --- the listener --- */

/* Each loop has its own socket on the same port (SO_REUSEPORT): the kernel spreads clients. */
static enum fb_status listener_socket(const struct settings *s, const struct addrinfo *ai, int *out,
                                      struct fb_err *err)
{
    int on = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        int e = errno;
        close(fd);
        return fb_err_set(err, fb_status_of_errno(e), "listen on %s:%u: %s", s->host, s->port,
                          strerror(e));
    }
    *out = fd;
    return FB_OK;
}

/* SO_REUSEPORT would let a router of another cluster share the port unnoticed: a plain bind tells.
 */
static enum fb_status listener_alone(const struct settings *s, const struct addrinfo *ai,
                                     struct fb_err *err)
{
    int on = 1, rc, e, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    rc = bind(fd, ai->ai_addr, ai->ai_addrlen);
    e = errno;
    close(fd);
    return rc == 0 ? FB_OK
                   : fb_err_set(err, fb_status_of_errno(e), "listen on %s:%u: %s", s->host, s->port,
                                strerror(e));
}

static enum fb_status listener_bind(struct settings *s, bool first, int *fd, struct fb_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *ai;
    char port[8];
    enum fb_status st;
    int rc;
    snprintf(port, sizeof(port), "%u", s->port);
    rc = getaddrinfo(s->host[0] != 0 ? s->host : NULL, port, &hints, &ai);
    if (rc != 0)
        return fb_err_set(err, FB_EINVAL, "router.listen: %s: %s", s->host, gai_strerror(rc));
    st = first ? listener_alone(s, ai, err) : FB_OK;
    if (st == FB_OK)
        st = listener_socket(s, ai, fd, err);
    freeaddrinfo(ai);
    return st;
}

enum fb_status client_listen(struct loop *l, struct fb_err *err)
{
    struct process *p = l->process;
    struct sockaddr_storage self = {0};
    int fd = -1, rc, n = sizeof(self);
    enum fb_status st = listener_bind(&p->settings, l->number == 0, &fd, err);
    if (st != FB_OK)
        return st;
    rc = uv_tcp_init(&l->uv, &l->listener);
    if (rc == 0)
        rc = uv_tcp_open(&l->listener, fd);
    if (rc != 0) {
        close(fd);
        return fb_err_set(err, FB_EIO, "listen: %s", uv_strerror(rc));
    }
    l->listener.data = l;
    l->listening = true;
    rc = uv_listen((uv_stream_t *)&l->listener, BACKLOG, connection_cb);
    if (rc != 0)
        return fb_err_set(err, rc == UV_EADDRINUSE ? FB_EBUSY : FB_EIO, "listen on %s:%u: %s",
                          p->settings.host, p->settings.port, uv_strerror(rc));
    if (p->settings.port == 0) { /* the first loop, before any thread runs: the others follow it */
        uv_tcp_getsockname(&l->listener, (struct sockaddr *)&self, &n);
        p->settings.port =
            ntohs(self.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&self)->sin6_port
                                             : ((struct sockaddr_in *)(void *)&self)->sin_port);
    }
    return FB_OK;
}
