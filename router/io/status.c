/* Admin port: is the router ready, and what is it doing. Admin thread. */
#include "router/io/process.h"

static uint32_t nodes_connected(const struct process *p)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < p->loop_count; i++) {
        uint32_t n = loop_nodes_connected(p->loops[i]);
        least = n < least ? n : least;
    }
    return least == UINT32_MAX ? 0 : least;
}

bool status_ready(void *arg, struct fb_buf *why)
{
    struct process *p = arg;
    if (atomic_load(&p->stopping)) {
        fb_buf_put_str(why, "stopping");
        return false;
    }
    if (!atomic_load(&p->map_complete)) {
        fb_buf_put_str(why, "the map does not name a primary for every partition yet");
        return false;
    }
    if (nodes_connected(p) == 0) {
        fb_buf_put_str(why, "no node is connected");
        return false;
    }
    return true;
}

void status_json(void *arg, struct fb_buf *json)
{
    struct process *p = arg;
    uint64_t in_flight = 0;
    for (uint32_t i = 0; i < p->loop_count; i++)
        in_flight += loop_ops_in_flight(p->loops[i]);
    fb_buf_printf(
        json,
        "{\"name\":\"%s\",\"client\":\"%s\",\"threads\":%u,\"clients\":%u,\"in_flight\":%llu,"
        "\"commands\":%llu,\"map_revision\":%llu,\"config_revision\":%llu,\"partitions\":%u,\"map_"
        "complete\":%s,"
        "\"nodes\":%u,\"nodes_connected\":%u,\"coordinator_up\":%s,\"stopping\":%s}",
        p->settings.name, p->client_bound, p->loop_count, atomic_load(&p->client_count),
        (unsigned long long)in_flight, (unsigned long long)atomic_load(&p->commands_total),
        (unsigned long long)atomic_load(&p->map_rev),
        (unsigned long long)fb_applied_rev(p->applied), atomic_load(&p->map_partitions),
        atomic_load(&p->map_complete) ? "true" : "false", atomic_load(&p->map_nodes),
        nodes_connected(p), p->agent != NULL && fb_agent_up(p->agent) ? "true" : "false",
        atomic_load(&p->stopping) ? "true" : "false");
}
