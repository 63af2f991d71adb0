/* INFO: what Redis clients and tools look for, and what is Forebay's own. */
#include "router/io/process.h"

#include "proto/base/build.h"
#include "proto/base/clock.h"

#include <stdio.h>
#include <unistd.h>

static uint64_t memory_resident(void)
{
    unsigned long long total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void section_server(struct process *p, struct fb_buf *out)
{
    uint64_t up = (fb_mono_ns() - p->started_ns) / 1000000000u;
    fb_buf_printf(out,
                  "redis_version:7.0.15\r\nforebay_version:%s\r\nredis_mode:standalone\r\n"
                  "os:Linux\r\narch_bits:64\r\nmultiplexing_api:epoll\r\nprocess_id:%u\r\n"
                  "run_id:%016llx%016llx%08x\r\ntcp_port:%u\r\nio_threads_active:%u\r\n"
                  "uptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\nconfig_file:\r\n"
                  "server_name:%s\r\n",
                  fb_build_version(), p->pid, (unsigned long long)p->inc,
                  (unsigned long long)p->started_wall_ms, p->pid, p->settings.port, p->loop_count,
                  (unsigned long long)up, (unsigned long long)(up / 86400), p->settings.name);
}

static void section_clients(struct process *p, struct fb_buf *out)
{
    fb_buf_printf(out, "connected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:0\r\n",
                  atomic_load(&p->client_count), atomic_load(&p->max_clients));
}

static void section_memory(struct process *p, struct fb_buf *out)
{
    unsigned long long rss = (unsigned long long)memory_resident();
    (void)p;
    fb_buf_printf(out,
                  "used_memory:%llu\r\nused_memory_rss:%llu\r\nused_memory_human:%.2fM\r\n"
                  "maxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\n",
                  rss, rss, (double)rss / 1048576.0);
}

static void section_persistence(struct process *p, struct fb_buf *out)
{
    (void)p;
    fb_buf_put_str(out, "loading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\n"
                        "aof_enabled:1\r\n");
}

static void section_stats(struct process *p, struct fb_buf *out)
{
    fb_buf_printf(out,
                  "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
                  "total_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\n"
                  "rejected_connections:%llu\r\nkeyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n",
                  (unsigned long long)atomic_load(&p->connections_total),
                  (unsigned long long)atomic_load(&p->commands_total),
                  (unsigned long long)atomic_load(&p->bytes_in),
                  (unsigned long long)atomic_load(&p->bytes_out),
                  (unsigned long long)atomic_load(&p->rejected),
                  (unsigned long long)atomic_load(&p->hits),
                  (unsigned long long)atomic_load(&p->misses));
}

static void section_replication(struct process *p, struct fb_buf *out)
{
    fb_buf_printf(out,
                  "role:master\r\nconnected_slaves:0\r\nmaster_replid:%016llx%016llx%08x\r\n"
                  "master_repl_offset:0\r\n",
                  (unsigned long long)p->inc, (unsigned long long)p->started_wall_ms, p->pid);
}

static void section_cpu(struct process *p, struct fb_buf *out)
{
    uv_rusage_t u;
    (void)p;
    if (uv_getrusage(&u) != 0)
        return;
    fb_buf_printf(out, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n", u.ru_stime.tv_sec,
                  (long)u.ru_stime.tv_usec, u.ru_utime.tv_sec, (long)u.ru_utime.tv_usec);
}

static void section_cluster(struct process *p, struct fb_buf *out)
{
    uint32_t connected = 0;
    for (uint32_t i = 0; i < p->loop_count; i++) {
        uint32_t n = loop_nodes_connected(p->loops[i]);
        connected = n > connected ? n : connected;
    }
    fb_buf_printf(out,
                  "cluster_enabled:0\r\nforebay_map_revision:%llu\r\nforebay_partitions:%u\r\n"
                  "forebay_nodes:%u\r\nforebay_nodes_connected:%u\r\n",
                  (unsigned long long)atomic_load(&p->map_rev), atomic_load(&p->map_partitions),
                  atomic_load(&p->map_nodes), connected);
}

/* A router holds no objects: DBSIZE asks the nodes. */
static void section_keyspace(struct process *p, struct fb_buf *out)
{
    (void)p;
    (void)out;
}

static const struct {
    const char *name, *title;
    void (*append)(struct process *p, struct fb_buf *out);
} sections[] = {
    {"server", "Server", section_server},
    {"clients", "Clients", section_clients},
    {"memory", "Memory", section_memory},
    {"persistence", "Persistence", section_persistence},
    {"stats", "Stats", section_stats},
    {"replication", "Replication", section_replication},
    {"cpu", "CPU", section_cpu},
    {"cluster", "Cluster", section_cluster},
    {"keyspace", "Keyspace", section_keyspace},
};

static bool same_nocase(struct fb_bytes a, const char *lower)
{
    size_t i = 0;
    for (; i < a.n && lower[i] != 0; i++)
        if ((a.p[i] >= 'A' && a.p[i] <= 'Z' ? a.p[i] + 32 : a.p[i]) != lower[i])
            return false;
    return i == a.n && lower[i] == 0;
}

void info_append(struct process *p, struct fb_buf *out, const struct fb_bytes *names, size_t n)
{
    for (size_t i = 0; i < FB_COUNT_OF(sections); i++) {
        bool shown = n == 0;
        for (size_t k = 0; k < n && !shown; k++)
            shown = same_nocase(names[k], sections[i].name) || same_nocase(names[k], "all") ||
                    same_nocase(names[k], "default") || same_nocase(names[k], "everything");
        if (!shown)
            continue;
        if (out->n > 0)
            fb_buf_put_str(out, "\r\n");
        fb_buf_printf(out, "# %s\r\n", sections[i].title);
        sections[i].append(p, out);
    }
}
