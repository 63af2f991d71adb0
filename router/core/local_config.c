/* CONFIG GET: the parameters clients and tools ask a Redis for, with what holds here. */
#include "router/core/state.h"

#include "proto/base/glob.h"

#include <stdio.h>
#include <string.h>

struct shown {
    const char *name;
    const char *value; /* NULL: filled from the configuration */
};

static const struct shown shown[] = {
    {"appendfsync", "everysec"},
    {"appendonly", "yes"},
    {"bind", "*"},
    {"cluster-enabled", "no"},
    {"databases", "1"},
    {"maxclients", NULL},
    {"maxmemory", "0"},
    {"maxmemory-policy", "noeviction"},
    {"notify-keyspace-events", ""},
    {"proto-max-bulk-len", "8388608"},
    {"requirepass", ""},
    {"save", ""},
    {"slowlog-log-slower-than", NULL},
    {"slowlog-max-len", "128"},
    {"timeout", "0"},
};

_Static_assert(FB_VALUE_BYTES_MAX == 8388608u, "proto-max-bulk-len tells the bound of a value");

void local_config_get(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                      struct fb_buf *out)
{
    bool hit[FB_COUNT_OF(shown)] = {false};
    size_t n = 0;
    for (size_t i = 0; i < FB_COUNT_OF(shown); i++) {
        for (uint32_t a = 2; a < argc && !hit[i]; a++) {
            char lower[64];
            size_t k = 0;
            for (; k < argv[a].n && k < sizeof(lower); k++)
                lower[k] = (char)(argv[a].p[k] >= 'A' && argv[a].p[k] <= 'Z' ? argv[a].p[k] + 32
                                                                             : argv[a].p[k]);
            hit[i] = argv[a].n <= sizeof(lower) &&
                     fb_glob_match(fb_bytes(lower, k), fb_bytes_str(shown[i].name));
        }
        n += hit[i];
    }
    resp_put_map(out, s->proto, n);
    for (size_t i = 0; i < FB_COUNT_OF(shown); i++) {
        if (!hit[i])
            continue;
        resp_put_bulk_str(out, shown[i].name);
        if (shown[i].value != NULL)
            resp_put_bulk_str(out, shown[i].value);
        else if (strcmp(shown[i].name, "maxclients") == 0)
            resp_put_bulk_int(out, s->router->config.maxclients_shown);
        else
            resp_put_bulk_int(out, s->router->config.slow_ns == UINT64_MAX
                                       ? -1
                                       : (int64_t)(s->router->config.slow_ns / 1000));
    }
}
