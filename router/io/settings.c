/* The options of forebay-router, and what they mean as numbers. */
#include "proto/rt/cpus.h"
#include "proto/rt/process.h"
#include "router/io/process.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *const router_all_sections[] = {"process", "node", "router", "sync", "admin", NULL};

const struct fb_option router_options[] = {
    {"process", "name", FB_OPT_TEXT, "router-1",
     "Name of this process, unique among the routers of the cluster.", NULL, 0, 0, false, false},
    {"process", "zone", FB_OPT_TEXT, "", "Failure zone, for display.", NULL, 0, 0, false, false},
    {"process", "coordinator", FB_OPT_TEXT, NULL,
     "Coordinator URL: file:///directory, or etcd://host:port,host:port/cluster.", NULL, 0, 0,
     false, false},
    FB_PROCESS_OPTIONS,
    {"router", "listen", FB_OPT_TEXT, "0.0.0.0:6380",
     "Where Redis clients connect, host:port; port 0 picks a free one.", NULL, 0, 0, false, false},
    {"router", "threads", FB_OPT_UINT, "0",
     "Loop threads; 0 = one per two cores (batches get larger, which measured better).", NULL, 0,
     ROUTER_LOOPS_MAX, false, false},
    {"router", "max_clients", FB_OPT_UINT, "10000", "Client connections; more are turned away.",
     NULL, 1, 1000000, true, false},
    {"router", "max_in_flight", FB_OPT_UINT, "65536",
     "Operations in flight of all clients; beyond it no commands are read.", NULL, 64, 1u << 22,
     true, false},
    {"router", "max_in_flight_per_client", FB_OPT_UINT, "1024",
     "Unanswered commands of one client; beyond it its socket is not read.", NULL, 1, 65536, true,
     false},
    {"router", "max_client_output", FB_OPT_SIZE, "64MiB",
     "Replies a client has not taken; beyond it the client is cut.", NULL, 1u << 16, 0, true,
     false},
    {"router", "idle_timeout", FB_OPT_DURATION, "0",
     "Close clients that are silent for so long; 0 = never.", NULL, 0, 0, true, false},
    {"router", "retry_timeout", FB_OPT_DURATION, "5s",
     "How long an operation is tried again while its partition has no primary.", NULL, 0, 0, true,
     false},
    {"router", "request_timeout", FB_OPT_DURATION, "30s",
     "How long a node may take for an operation before it counts as lost.", NULL, 0, 0, true,
     false},
    {"router", "drain_timeout", FB_OPT_DURATION, "10s",
     "How long a stopping router waits for what is in flight.", NULL, 0, 0, true, false},
    {"router", "batch_window", FB_OPT_UINT, "1",
     "Batches on their way to a node before the next one collects.", NULL, 1, 64, true, false},
    {"router", "batch_hold_us", FB_OPT_UINT, "60",
     "Microseconds a batch may wait for company while many clients are active; 0 = never.", NULL, 0,
     1000, true, false},
    {"router", "slow_request", FB_OPT_DURATION, "100ms",
     "A command that takes longer is logged with the time at each hop and kept for SLOWLOG; 0 = "
     "none.",
     NULL, 0, 0, true, false},
    {"router", "slow_request_keys", FB_OPT_BOOL, "no",
     "Keys of slow commands as they are, else a hash of each.", NULL, 0, 0, true, false},
    {"router", "password_file", FB_OPT_TEXT, "",
     "File with the password clients must give (AUTH); empty = none.", NULL, 0, 0, true, false},
    {"admin", "listen", FB_OPT_TEXT, "127.0.0.1:9401",
     "Admin port: /livez /readyz /metrics /statusz.", NULL, 0, 0, false, false},
};
const size_t router_option_count = FB_COUNT_OF(router_options);

static enum fb_status split_address(struct settings *s, const char *text, struct fb_err *err)
{
    const char *colon = strrchr(text, ':');
    char *end;
    unsigned long port;
    size_t n;
    if (colon == NULL || colon[1] == 0)
        return fb_err_set(err, FB_EINVAL, "router.listen = %s: write host:port", text);
    errno = 0;
    port = strtoul(colon + 1, &end, 10);
    if (*end != 0 || errno != 0 || port > UINT16_MAX || !isdigit((unsigned char)colon[1]))
        return fb_err_set(err, FB_EINVAL, "router.listen = %s: the port must be 0 to 65535", text);
    n = (size_t)(colon - text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n >= sizeof(s->host))
        return fb_err_set(err, FB_EINVAL, "router.listen: the host is too long");
    memcpy(s->host, text, n);
    s->host[n] = 0;
    s->port = (uint16_t)port;
    return FB_OK;
}

static enum fb_status read_password(struct settings *s, const char *path, struct fb_err *err)
{
    FILE *f;
    size_t n;
    if (path[0] == 0)
        return FB_OK;
    f = fopen(path, "re");
    if (f == NULL)
        return fb_err_set(err, FB_EIO, "router.password_file %s: %s", path, strerror(errno));
    n = fread(s->password, 1, sizeof(s->password), f);
    fclose(f);
    while (n > 0 && n <= sizeof(s->password) &&
           (s->password[n - 1] == '\n' || s->password[n - 1] == '\r'))
        n--;
    if (n == 0 || n >= sizeof(s->password))
        return fb_err_set(err, FB_EINVAL, "router.password_file %s: %s", path,
                          n == 0 ? "it is empty" : "the password is longer than 511 bytes");
    s->password[n] = 0;
    if (strlen(s->password) != n)
        return fb_err_set(err, FB_EINVAL, "router.password_file %s: it holds a zero byte", path);
    return FB_OK;
}

static enum fb_status check_name(const char *name, struct fb_err *err)
{
    size_t n = strlen(name);
    if (n == 0 || n > FB_NAME_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL, "process.name must have 1 to %u characters",
                          FB_NAME_BYTES_MAX);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && strchr("-_.", name[i]) == NULL)
            return fb_err_set(err, FB_EINVAL,
                              "process.name = %s: letters, digits, '-', '_' and '.' only", name);
    return FB_OK;
}

/* What may change while the router runs. */
static void read_limits(struct settings *s, const struct fb_options *o)
{
    s->max_clients = (uint32_t)fb_options_uint(o, "router", "max_clients");
    s->inflight_max = (uint32_t)fb_options_uint(o, "router", "max_in_flight");
    if (s->inflight_max / s->threads > ROUTER_OPS_MAX)
        s->inflight_max = ROUTER_OPS_MAX * s->threads;
    s->inflight_per_client = (uint32_t)fb_options_uint(o, "router", "max_in_flight_per_client");
    s->output_bytes_max = fb_options_uint(o, "router", "max_client_output");
    s->idle_timeout_ms = fb_options_uint(o, "router", "idle_timeout");
    s->retry_deadline_ms = fb_options_uint(o, "router", "retry_timeout");
    s->request_timeout_ms = fb_options_uint(o, "router", "request_timeout");
    s->drain_timeout_ms = fb_options_uint(o, "router", "drain_timeout");
    s->window = (uint32_t)fb_options_uint(o, "router", "batch_window");
    s->window_wait_us = 1000;
    s->slow_ms = fb_options_uint(o, "router", "slow_request");
    s->slow_keys = fb_options_bool(o, "router", "slow_request_keys");
    s->hold_us = fb_options_uint(o, "router", "batch_hold_us");
}

enum fb_status settings_reload(const struct settings *start, struct settings *next,
                               const struct fb_options *o, struct fb_err *err)
{
    *next = *start;
    next->password[0] = 0;
    read_limits(next, o);
    return read_password(next, fb_options_text(o, "router", "password_file"), err);
}

enum fb_status settings_load(struct settings *s, const struct fb_options *o, struct fb_err *err)
{
    enum fb_status st = check_name(fb_options_text(o, "process", "name"), err);
    if (st == FB_OK)
        st = split_address(s, fb_options_text(o, "router", "listen"), err);
    if (st == FB_OK)
        st = read_password(s, fb_options_text(o, "router", "password_file"), err);
    if (st != FB_OK)
        return st;
    snprintf(s->name, sizeof(s->name), "%s", fb_options_text(o, "process", "name"));
    snprintf(s->zone, sizeof(s->zone), "%s", fb_options_text(o, "process", "zone"));
    s->threads = (uint32_t)fb_options_uint(o, "router", "threads");
    if (s->threads == 0)
        s->threads = (fb_cpus() + 1) / 2;
    if (s->threads > ROUTER_LOOPS_MAX)
        s->threads = ROUTER_LOOPS_MAX;
    read_limits(s, o);
    return FB_OK;
}
