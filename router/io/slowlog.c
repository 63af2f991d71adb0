/* Slow commands of this router: one log line each with the time at every hop, and the newest of
 * them for SLOWLOG. All loops share both. */
#include "router/io/process.h"

#include "proto/base/clock.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "router/resp/writer.h"

#include <stdio.h>

#define ENTRIES_MAX 128u            /* slowlog-max-len of Redis */
#define KEY_BYTES_MAX 128u          /* of an argument, as in Redis */
#define LINE_NS UINT64_C(100000000) /* a line costs so much of the time that passes ... */
#define LINES_BURST 10u             /* ... of which so many lines' worth may be saved up */

struct entry {
    uint64_t id, wall_s, total_us;
    char command[32];
    char key[KEY_BYTES_MAX + 48]; /* or its hash; "" none */
    size_t key_n;
    char addr[FB_ADDRESS_BYTES_MAX + 1];
    char name[ROUTER_CLIENT_NAME_BYTES_MAX + 1];
};

static pthread_mutex_t slow_mtx = PTHREAD_MUTEX_INITIALIZER;
static struct entry entries[ENTRIES_MAX];    /* slow_mtx: by id % ENTRIES_MAX */
static uint64_t next_id, first_id;           /* slow_mtx: kept are [first_id, next_id) */
static uint64_t paid_until_ns, lines_missed; /* slow_mtx */

enum hop {
    HOP_ROUTER,
    HOP_NETWORK,
    HOP_QUEUE,
    HOP_WORK,
    HOP_UNANSWERED,
    HOP_WAIT,
    HOPS = HOP_WAIT + FB_WAIT_COPIES + 1
};
static struct fb_counter *by_hop[HOPS];

static const char *hop_name(unsigned hop)
{
    static const char *const names[] = {"router", "network", "node_queue", "node_work",
                                        "unanswered"};
    return hop < HOP_WAIT ? names[hop] : fb_wait_on_name((uint8_t)(hop - HOP_WAIT));
}

void slowlog_register(void)
{
    for (unsigned h = 0; h < HOPS; h++) {
        char labels[64];
        if (h == HOP_WAIT + FB_WAIT_NOTHING)
            continue;
        snprintf(labels, sizeof(labels), "hop=\"%s\"", hop_name(h));
        by_hop[h] = fb_counter_register(
            "slow_requests_total", labels,
            "Commands that took longer than slow_request, by the hop that took most of it.");
    }
}

/* The hop that took longest. */
static unsigned worst(const struct router_slow *w)
{
    const uint64_t us[] = {w->router_us, w->network_us, w->queue_us, w->work_us, w->unanswered_us};
    unsigned at = HOP_ROUTER;

    for (unsigned h = 0; h < FB_COUNT_OF(us); h++)
        if (us[h] > us[at])
            at = h;
    if (w->wait_us > us[at] && w->wait_on != FB_WAIT_NOTHING && HOP_WAIT + w->wait_on < HOPS)
        at = HOP_WAIT + w->wait_on;
    return at;
}

/* A hash tells the same key from another without telling the key. */
static size_t key_text(char *out, size_t room, struct fb_bytes key, bool keys)
{
    size_t n = key.n < KEY_BYTES_MAX ? key.n : KEY_BYTES_MAX;

    if (key.n == 0)
        return 0;
    if (!keys)
        return (size_t)snprintf(out, room, "hash:%016llx",
                                (unsigned long long)fb_hash64(key.p, key.n, 0));
    memcpy(out, key.p, n);
    if (key.n > n)
        n += (size_t)snprintf(out + n, room - n, "... (%zu more bytes)", key.n - n);
    return n;
}

static void entry_fill(struct entry *e, const struct router_slow *w, bool keys)
{
    *e = (struct entry){.id = next_id, .wall_s = fb_wall_ms() / 1000, .total_us = w->total_us};
    snprintf(e->command, sizeof(e->command), "%s",
             w->cmd == RESP_CMD_NONE ? "?" : resp_command_row((enum resp_cmd)w->cmd)->name);
    e->key_n = key_text(e->key, sizeof(e->key), w->key, keys);
    snprintf(e->addr, sizeof(e->addr), "%s", w->session->addr);
    snprintf(e->name, sizeof(e->name), "%s", w->session->name);
}

static void write_line(const struct entry *e, const struct router_slow *w, uint64_t missed)
{
    FB_LOG(WARN, "slow request", FB_KS("command", e->command),
           FB_KB("key", fb_bytes(e->key, e->key_n)), FB_KU("partition", w->part),
           FB_KS("node", w->node), FB_KU("total_us", w->total_us), FB_KU("router_us", w->router_us),
           FB_KU("network_us", w->network_us), FB_KU("node_queue_us", w->queue_us),
           FB_KU("node_work_us", w->work_us), FB_KU("wait_us", w->wait_us),
           FB_KS("wait_on", fb_wait_on_name(w->wait_on)), FB_KU("unanswered_us", w->unanswered_us),
           FB_KU("retries", w->retries), FB_KU("operations", w->operations),
           FB_KS("result", w->failed ? "error" : "ok"), FB_KU("client", w->session->id),
           FB_KS("addr", e->addr), FB_KU("not_logged", missed));
}

void slowlog_add(const struct router_slow *w, bool keys)
{
    uint64_t now = fb_mono_ns(), missed = 0;
    struct entry copy;
    bool log;

    fb_counter_add(by_hop[worst(w)], 1);
    pthread_mutex_lock(&slow_mtx);
    entry_fill(&entries[next_id % ENTRIES_MAX], w, keys);
    copy = entries[next_id % ENTRIES_MAX];
    next_id++;
    if (next_id - first_id > ENTRIES_MAX)
        first_id = next_id - ENTRIES_MAX;
    if (paid_until_ns < now)
        paid_until_ns = now;
    log = paid_until_ns - now < LINE_NS * LINES_BURST;
    if (log) {
        paid_until_ns += LINE_NS;
        missed = lines_missed;
        lines_missed = 0;
    } else {
        lines_missed++;
    }
    pthread_mutex_unlock(&slow_mtx);
    if (log)
        write_line(&copy, w, missed);
}

/* As Redis 7.0: id, time, microseconds, arguments, address, name. */
static void put_entry(struct fb_buf *out, const struct entry *e)
{
    resp_put_array(out, 6);
    resp_put_int(out, (int64_t)e->id);
    resp_put_int(out, (int64_t)e->wall_s);
    resp_put_int(out, (int64_t)e->total_us);
    resp_put_array(out, e->key_n > 0 ? 2 : 1);
    resp_put_bulk_str(out, e->command);
    if (e->key_n > 0)
        resp_put_bulk(out, fb_bytes(e->key, e->key_n));
    resp_put_bulk_str(out, e->addr);
    resp_put_bulk_str(out, e->name);
}

void slowlog_get(struct fb_buf *out, uint32_t count)
{
    uint64_t n;

    pthread_mutex_lock(&slow_mtx);
    n = next_id - first_id;
    n = count < n ? count : n;
    resp_put_array(out, n);
    for (uint64_t i = 0; i < n; i++)
        put_entry(out, &entries[(next_id - 1 - i) % ENTRIES_MAX]);
    pthread_mutex_unlock(&slow_mtx);
}

size_t slowlog_len(void)
{
    size_t n;

    pthread_mutex_lock(&slow_mtx);
    n = (size_t)(next_id - first_id);
    pthread_mutex_unlock(&slow_mtx);
    return n;
}

void slowlog_reset(void)
{
    pthread_mutex_lock(&slow_mtx);
    first_id = next_id;
    pthread_mutex_unlock(&slow_mtx);
}
