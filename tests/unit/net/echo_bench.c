/* How long a frame takes there and back over loopback TCP, alone and with DEPTH under way:
 * net_echo_bench [depth [count [size]]]. Two adapters in one process; the echo side answers from
 * its callback, the asking side counts in its callback. */
#include "proto/base/clock.h"
#include "proto/net/net.h"

#include <dirent.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static sem_t opened_sem, done_sem;
static struct fb_bytes payload;
static uint64_t sent, got, total;

static void send_one(struct fb_conn *c, struct fb_buf *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct fb_frame f = {.kind = FB_FRAME_REQ, .id = i};
        size_t mark = fb_frame_begin(b, &f);
        fb_buf_put_bytes(b, payload);
        fb_frame_end(b, mark, 1);
    }
    if (fb_conn_send(c, b) != FB_OK)
        abort();
}

static void on_open(void *arg, struct fb_conn *c, const struct fb_hello *peer)
{
    (void)peer;
    (void)c;
    if (arg != NULL)
        sem_post(&opened_sem);
}

static void on_echo(void *arg, struct fb_conn *c, struct fb_net_frame *f)
{
    static _Thread_local struct fb_buf b;
    (void)arg;
    fb_net_frame_free(f);
    send_one(c, &b, 1);
}

static void on_reply(void *arg, struct fb_conn *c, struct fb_net_frame *f)
{
    static _Thread_local struct fb_buf b;
    (void)arg;
    fb_net_frame_free(f);
    if (++got == total)
        sem_post(&done_sem);
    else if (sent < total) {
        sent++;
        send_one(c, &b, 1);
    }
}

static void on_close(void *arg, struct fb_conn *c, const char *why)
{
    (void)arg;
    (void)c;
    (void)why;
}

static unsigned threads(void)
{
    DIR *d = opendir("/proc/self/task");
    unsigned n = 0;
    while (d != NULL && readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

int main(int argc, char **argv)
{
    uint64_t depth = argc > 1 ? strtoull(argv[1], NULL, 10) : 1,
             size = argc > 3 ? strtoull(argv[3], NULL, 10) : 64;
    struct fb_net_config echo = {.role = FB_ROLE_NODE,
                                 .name = "echo",
                                 .opened = on_open,
                                 .received = on_echo,
                                 .closed = on_close};
    struct fb_net_config ask = {.role = FB_ROLE_ROUTER,
                                .name = "ask",
                                .arg = &total,
                                .opened = on_open,
                                .received = on_reply,
                                .closed = on_close};
    struct fb_net *a, *b;
    struct fb_conn *c;
    struct fb_buf buf = {0};
    struct fb_err err;
    char url[FB_ADDRESS_BYTES_MAX + 1];
    struct rusage r0, r1;
    uint64_t t0, ns, cpu;

    total = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    payload = fb_bytes(fb_xcalloc(1, size), size);
    sem_init(&opened_sem, 0, 0);
    sem_init(&done_sem, 0, 0);
    if (fb_net_open(&echo, &a, &err) != FB_OK || fb_net_open(&ask, &b, &err) != FB_OK ||
        fb_net_listen(a, "tcp://127.0.0.1:0", url, &err) != FB_OK ||
        fb_net_dial(b, url, "echo", NULL, &c, &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    sem_wait(&opened_sem);
    getrusage(RUSAGE_SELF, &r0);
    t0 = fb_mono_ns();
    sent = depth;
    send_one(c, &buf, (uint32_t)depth);
    sem_wait(&done_sem);
    ns = fb_mono_ns() - t0;
    getrusage(RUSAGE_SELF, &r1);
    cpu = (uint64_t)(r1.ru_utime.tv_sec - r0.ru_utime.tv_sec + r1.ru_stime.tv_sec -
                     r0.ru_stime.tv_sec) *
              1000000u +
          (uint64_t)(r1.ru_utime.tv_usec - r0.ru_utime.tv_usec + r1.ru_stime.tv_usec -
                     r0.ru_stime.tv_usec);
    printf("depth %llu, %llu bytes: %.2f us per round trip in line, %.0f a second, %.2f us CPU "
           "each, %ld switches, %u threads\n",
           (unsigned long long)depth, (unsigned long long)size,
           (double)ns / 1e3 * (double)depth / (double)total, (double)total * 1e9 / (double)ns,
           (double)cpu / (double)total, r1.ru_nvcsw + r1.ru_nivcsw - r0.ru_nvcsw - r0.ru_nivcsw,
           threads());
    fb_net_close(b);
    fb_net_close(a);
    fb_conn_put(c);
    fb_buf_fini(&buf);
    free((void *)(uintptr_t)payload.p);
    return 0;
}
