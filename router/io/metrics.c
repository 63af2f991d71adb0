/* Metrics of a router: the cores count in plain memory, their loops publish once a
 * second from their own thread. */
#include "proto/rt/memory.h"
#include "router/io/process.h"

#include "router/resp/command.h"

#include <stdio.h>

static struct fb_counter *ok[RESP_CMDS], *failed[RESP_CMDS];
static struct fb_counter *retries[ROUTER_RETRIES], *rejected[ROUTER_REJECTS];
static struct fb_counter *bytes_in, *bytes_out, *frames, *batched;
static struct fb_histogram *duration;

static void gauge_clients(void *arg, struct fb_buf *out)
{
    struct process *p = arg;
    fb_gauge_emit(out, "connected_clients", NULL, atomic_load(&p->client_count));
}

static void gauge_map(void *arg, struct fb_buf *out)
{
    struct process *p = arg;
    fb_gauge_emit(out, "map_epoch", NULL, (double)atomic_load(&p->map_rev));
}

static void gauge_coordinator(void *arg, struct fb_buf *out)
{
    struct process *p = arg;
    fb_gauge_emit(out, "coordinator_up", NULL, p->agent != NULL && fb_agent_up(p->agent));
}

static void gauge_memory(void *arg, struct fb_buf *out)
{
    struct process *p = arg;
    struct router_memory m = {0};
    for (uint32_t i = 0; i < p->loop_count; i++)
        loop_memory_add(p->loops[i], &m);
    const struct fb_memory_kind kinds[] = {
        {"clients", m.clients},
        {"operations", m.operations},
        {"batches", m.batches},
        {"loops", m.core},
        {"connections", fb_net_memory_bytes(p->net)},
    };
    fb_memory_emit(out, kinds, FB_COUNT_OF(kinds));
}

static void gauge_in_flight(void *arg, struct fb_buf *out)
{
    struct process *p = arg;
    uint64_t n = 0;
    for (uint32_t i = 0; i < p->loop_count; i++)
        n += loop_ops_in_flight(p->loops[i]);
    fb_gauge_emit(out, "requests_in_flight", NULL, (double)n);
}

void metrics_register(struct process *p)
{
    char labels[96];
    for (uint32_t c = 0; c < RESP_CMDS; c++) {
        const char *name =
            c == RESP_CMD_NONE ? "unknown" : resp_command_row((enum resp_cmd)c)->name;
        snprintf(labels, sizeof(labels), "command=\"%s\",result=\"ok\"", name);
        ok[c] = fb_counter_register("requests_total", labels, "Commands of clients answered.");
        snprintf(labels, sizeof(labels), "command=\"%s\",result=\"error\"", name);
        failed[c] = fb_counter_register("requests_total", labels, "Commands of clients answered.");
    }
    for (uint32_t i = 0; i < ROUTER_RETRIES; i++) {
        snprintf(labels, sizeof(labels), "reason=\"%s\"",
                 router_retry_reason_name((enum router_retry_reason)i));
        retries[i] = fb_counter_register("router_retries_total", labels,
                                         "Operations that had to be sent again.");
    }
    for (uint32_t i = 0; i < ROUTER_REJECTS; i++) {
        snprintf(labels, sizeof(labels), "reason=\"%s\"",
                 router_reject_reason_name((enum router_reject_reason)i));
        rejected[i] =
            fb_counter_register("rejected_total", labels, "Clients and commands turned away.");
    }
    bytes_in =
        fb_counter_register("client_received_bytes_total", NULL, "Bytes of clients' commands.");
    bytes_out =
        fb_counter_register("client_sent_bytes_total", NULL, "Bytes of replies to clients.");
    frames = fb_counter_register("router_batches_total", NULL, "Batches sent to nodes.");
    batched = fb_counter_register("router_operations_total", NULL, "Operations sent to nodes.");
    duration = fb_histogram_register("request_duration_seconds", NULL,
                                     "From the arrival of a command to its reply.", false);
    slowlog_register();
    fb_gauge_register("memory_bytes", FB_MEMORY_HELP, gauge_memory, p);
    fb_gauge_register("resident_memory_bytes", FB_MEMORY_RESIDENT_HELP, gauge_memory, p);
    fb_gauge_register("connected_clients", "Client connections.", gauge_clients, p);
    fb_gauge_register("map_epoch", "Coordinator revision of the map in use.", gauge_map, p);
    fb_gauge_register("coordinator_up", "1 while the coordinator answers.", gauge_coordinator, p);
    fb_gauge_register("requests_in_flight", "Operations on their way.", gauge_in_flight, p);
}

static uint64_t add(struct fb_counter *c, uint64_t now, uint64_t last)
{
    if (now != last)
        fb_counter_add(c, now - last);
    return now - last;
}

void metrics_publish(struct process *p, const struct router_stats *now, struct router_stats *last)
{
    uint64_t commands = 0, refused = 0;
    for (uint32_t c = 0; c < RESP_CMDS; c++) {
        commands += add(ok[c], now->ok[c], last->ok[c]);
        commands += add(failed[c], now->err[c], last->err[c]);
    }
    for (uint32_t i = 0; i < ROUTER_RETRIES; i++)
        add(retries[i], now->retries[i], last->retries[i]);
    for (uint32_t i = 0; i < ROUTER_REJECTS; i++)
        add(rejected[i], now->rejected[i], last->rejected[i]);
    refused = now->rejected[ROUTER_REJECT_MAXCLIENTS] - last->rejected[ROUTER_REJECT_MAXCLIENTS];
    for (uint32_t i = 0; i < ROUTER_LATENCY_BUCKETS; i++) {
        uint64_t n = now->latency_count[i] - last->latency_count[i];
        if (n > 0) /* each bucket by its mean: the sum stays exact */
            fb_histogram_observe_ns(duration, (now->latency_ns[i] - last->latency_ns[i]) / n, n);
    }
    add(frames, now->frames_out, last->frames_out);
    add(batched, now->ops_out, last->ops_out);
    atomic_fetch_add(&p->bytes_in, add(bytes_in, now->bytes_in, last->bytes_in));
    atomic_fetch_add(&p->bytes_out, add(bytes_out, now->bytes_out, last->bytes_out));
    atomic_fetch_add(&p->commands_total, commands);
    atomic_fetch_add(&p->rejected, refused);
    atomic_fetch_add(&p->hits, now->hits - last->hits);
    atomic_fetch_add(&p->misses, now->misses - last->misses);
    *last = *now;
}
