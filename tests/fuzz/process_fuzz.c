/* A whole node, or a whole sync process without PostgreSQL, behind its real sockets: anything as a
 * peer's first frame, then frames of any kind with any contents, and admin requests. The process is
 * the real one, its main called by another name, in a thread of this program.
 *
 * A session of the fuzzer is one connection. It ends with a PING: the process answers it, or it has
 * closed the connection; anything else is a process that hangs.
 */
#include "tests/fuzz/connect.h"
#include "tests/fuzz/folder.h"
#include "tests/fuzz/input.h"

#include "proto/cluster/slot.h"
#include "proto/coord/cluster_state.h"
#include "proto/wire/frame.h"
#include "proto/wire/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define PARTS 256u
#define FRAMES_MAX 12u
#define PATIENCE_MS 20000

int fuzz_process_main(int argc, char **argv);

static pthread_t thread;
static struct sockaddr_in address;
static uint8_t cluster[FB_UUID_BYTES];

static void *process_thread(void *arg)
{
    char **argv = arg;
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    if (fuzz_process_main(argc, argv) != 0)
        abort();
    return NULL;
}

static void process_stop(void)
{
    pthread_kill(thread, SIGTERM);
    pthread_join(thread, NULL);
    folder_end();
}

/* Until the process has said in the coordinator where it listens, and serves. */
static bool look(struct fb_coord *c)
{
    const enum fb_member_kind kind = FUZZ_NODE ? FB_MEMBER_NODE : FB_MEMBER_SYNC;
    struct fb_cluster_state *s = NULL;
    const struct fb_member_info *m;
    struct fb_err err;
    bool found = false;

    if (fb_cluster_state_read(c, &s, &err) != FB_OK)
        return false;
    m = fb_map_member(s->map, kind, "fuzz-1");
    if (m != NULL && (!FUZZ_NODE || s->map->parts[0].epoch > 0)) {
        const char *port = strrchr(m->listen, ':');
        fb_assert(port != NULL);
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
        memcpy(cluster, s->map->cluster, sizeof(cluster));
        found = true;
    }
    fb_cluster_state_put(s);
    return found;
}

static void process_start(void)
{
    static char coordinator[128], data[128], conninfo[128];
    static const char *const argv[] = {"forebay",
                                       coordinator,
                                       data,
                                       conninfo,
                                       "--process.name=fuzz-1",
                                       "--process.log_level=error",
                                       "--admin.listen=127.0.0.1:0",
                                       FUZZ_NODE ? "--node.listen=tcp://127.0.0.1:0"
                                                 : "--sync.listen=tcp://127.0.0.1:0",
                                       FUZZ_NODE ? "--node.threads=2" : NULL,
                                       NULL};
    struct fb_coord *c = NULL;
    struct fb_err err;
    char url[128];

    snprintf(url, sizeof(url), "file:%s/coord", folder());
    snprintf(coordinator, sizeof(coordinator), "--process.coordinator=%s", url);
    if (FUZZ_NODE) {
        snprintf(data, sizeof(data), "--node.data_dir=%s/data", folder());
        snprintf(conninfo, sizeof(conninfo), "--node.segment_bytes=4MiB");
    } else {
        snprintf(data, sizeof(data), "--sync.conninfo_file=%s/pg", folder());
        snprintf(conninfo, sizeof(conninfo), "--sync.load_connections=1");
        folder_put("pg", fb_bytes_str("host=/nonexistent dbname=x"));
    }
    fb_assert(fb_coord_open(url, true, &c, &err) == FB_OK);
    fb_assert(fb_cluster_init(c, PARTS, &err) == FB_OK);
    fb_assert(pthread_create(&thread, NULL, process_thread, (void *)argv) == 0);
    for (int i = 0; !look(c); i++) {
        fb_assert(i < PATIENCE_MS / 20);
        (void)poll(NULL, 0, 20);
    }
    fb_coord_close(c);
    (void)atexit(process_stop);
}

/* --- what is sent --- */

static void put_frame(struct fb_buf *out, enum fb_frame_kind kind, uint32_t count,
                      struct fb_bytes tail)
{
    struct fb_frame f = {.kind = kind, .src_inc = 1, .id = 7};
    size_t mark = fb_frame_begin(out, &f);
    fb_buf_put_bytes(out, tail);
    fb_frame_end(out, mark, count);
}

static void put_hello(struct fb_buf *out, uint8_t how)
{
    struct fb_frame f = {.kind = FB_FRAME_HELLO, .has_hello = true};
    f.hello.protocol = FB_PROTOCOL_VERSION + (how == 255);
    f.hello.role = (enum fb_role)(1 + how % 4);
    snprintf(f.hello.name, sizeof(f.hello.name), "peer");
    f.hello.has_cluster = how < 250;
    memcpy(f.hello.cluster, cluster, sizeof(cluster));
    f.hello.inc = 3;
    fb_frame_end(out, fb_frame_begin(out, &f), 0);
}

static void put_requests(struct fuzz_in *in, struct fb_buf *out)
{
    static const uint16_t ops[] = {
#define X(name, number, cls) number,
        FB_OP_LIST(X)
#undef X
    };
    struct fb_buf items = {0}, args = {0};
    uint32_t count = 1 + fuzz_u8(in) % 4;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t how = fuzz_u8(in);
        struct fb_req q = {.seq = i, .op = ops[fuzz_u8(in) % FB_COUNT_OF(ops)], .epoch = 1};
        q.key = fuzz_bytes(in, how % 8);
        q.part = how > 250 ? fuzz_u16(in) : fb_key_partition(q.key, PARTS);
        q.level = how % 5;
        q.flags = fuzz_u8(in);
        fb_buf_clear(&args);
        for (uint32_t k = q.nargs = how / 8 % 4; k > 0; k--)
            fb_list_put(&args, fuzz_short(in));
        q.args = fb_buf_view(&args);
        fb_req_encode(&items, &q);
    }
    put_frame(out, FB_FRAME_REQ, count, fb_buf_view(&items));
    fb_buf_fini(&items);
    fb_buf_fini(&args);
}

static void put_admin(struct fuzz_in *in, struct fb_buf *out)
{
    static const char *const verbs[] = {"node.status",        "partition.list",
                                        "partition.describe", "key.inspect",
                                        "sync.flush",         "sync.status",
                                        "sync.lsn",           "deadletter.list",
                                        "deadletter.show",    "deadletter.retry",
                                        "snapshot.list",      "deadletter.discard",
                                        "snapshot.create",    "x"};
    uint8_t how = fuzz_u8(in);
    struct fb_bytes raw = fuzz_short(in);
    struct fb_buf json = {0};

    if (how < 200) {
        fb_buf_printf(&json, "{\"verb\":\"%s\",\"partition\":%u,\"key\":\"k%u\"",
                      verbs[how % FB_COUNT_OF(verbs)], how, how % 8);
        if (raw.n > 0) {
            fb_buf_put_u8(&json, ',');
            fb_buf_put_bytes(&json, raw);
        }
        fb_buf_put_u8(&json, '}');
    } else {
        fb_buf_put_bytes(&json, raw);
    }
    put_frame(out, FB_FRAME_ADMIN_REQ, 1, fb_buf_view(&json));
    fb_buf_fini(&json);
}

static void put_any(struct fuzz_in *in, struct fb_buf *out)
{
    uint8_t what = fuzz_u8(in);
    if (what < 80) {
        put_requests(in, out);
    } else if (what < 150) {
        put_admin(in, out);
    } else if (what < 245) { /* any kind, any tail, a count that may lie */
        uint8_t count = fuzz_u8(in);
        put_frame(out, (enum fb_frame_kind)(1 + what % 15), count, fuzz_short(in));
    } else {
        fb_buf_put_bytes(out, fuzz_short(in)); /* not even a frame */
    }
}

/* --- one connection --- */

static bool send_all(int fd, struct fb_bytes b)
{
    while (b.n > 0) {
        ssize_t n = send(fd, b.p, b.n, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        b.p += n;
        b.n -= (size_t)n;
    }
    return true;
}

/* Frames come back until the answer to our PING, or the end. */
static void drain(int fd)
{
    static uint8_t chunk[1u << 16];
    struct fb_buf got = {0};
    struct fb_frame f;
    struct fb_err err;
    bool done = false;

    while (!done) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        size_t size = 0;
        ssize_t n;
        int ready;
        do
            ready = poll(&p, 1, PATIENCE_MS);
        while (ready < 0 && errno == EINTR); /* the fuzzer's timer */
        fb_assert(ready == 1);
        n = recv(fd, chunk, sizeof(chunk), 0);
        if (n <= 0)
            break;
        fb_buf_put(&got, chunk, (size_t)n);
        while (fb_frame_size(fb_buf_view(&got), &size) == FB_OK && size > 0 && size <= got.n) {
            fb_assert(fb_frame_decode(fb_bytes(got.p, size), &f, &err) == FB_OK);
            done = done || (f.kind == FB_FRAME_PONG && f.id == 99);
            fb_buf_consume(&got, size);
        }
    }
    fb_buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool started;
    struct fuzz_in in = {data, n};
    struct fb_buf out = {0};
    struct fb_frame ping = {.kind = FB_FRAME_PING, .id = 99};
    struct linger at_once = {.l_onoff = 1};
    int fd;

    if (!started)
        process_start();
    started = true;
    put_hello(&out, fuzz_u8(&in));
    for (uint32_t i = 0; i < FRAMES_MAX && in.n > 0; i++)
        put_any(&in, &out);
    fb_frame_end(&out, fb_frame_begin(&out, &ping), 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fb_assert(fd >= 0 && fuzz_connect(fd, &address));
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* ports come back */
    if (send_all(fd, fb_buf_view(&out)))
        (void)shutdown(fd, SHUT_WR); /* half a frame at the end is waited for by nobody */
    drain(fd);
    close(fd);
    fb_buf_fini(&out);
    return 0;
}
