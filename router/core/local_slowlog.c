/* SLOWLOG: the entries are the process's, of all its loops; the core only speaks Redis about them.
 */
#include "router/core/state.h"

#include "proto/base/number.h"

static void slowlog_get(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                        struct fb_buf *out)
{
    const struct router_hooks *h = &s->router->config.hooks;
    int64_t count = 10;

    if (argc > 3) {
        resp_put_errorf(out,
                        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try "
                        "SLOWLOG HELP.",
                        (int)(argv[1].n < 128 ? argv[1].n : 128), (const char *)argv[1].p);
        return;
    }
    if (argc == 3 && (!fb_parse_i64(argv[2], &count) || count < -1)) {
        resp_put_error(out, fb_bytes_str("ERR count should be greater than or equal to -1"));
        return;
    }
    if (h->slowlog_get != NULL)
        h->slowlog_get(h->arg, out, count < 0 || count > UINT32_MAX ? UINT32_MAX : (uint32_t)count);
    else
        resp_put_array(out, 0);
}

static void slowlog_help(struct fb_buf *out)
{
    static const char *const lines[] = {
        "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
        "HELP",
        "    Prints this help.",
    };

    resp_put_array(out, FB_COUNT_OF(lines));
    for (size_t i = 0; i < FB_COUNT_OF(lines); i++)
        resp_put_simple(out, lines[i]);
}

void local_slowlog(struct router_session *s, enum resp_cmd id, const struct fb_bytes *argv,
                   uint32_t argc, struct fb_buf *out)
{
    const struct router_hooks *h = &s->router->config.hooks;

    if (id == RESP_CMD_SLOWLOG_GET) {
        slowlog_get(s, argv, argc, out);
    } else if (id == RESP_CMD_SLOWLOG_HELP) {
        slowlog_help(out);
    } else if (id == RESP_CMD_SLOWLOG_LEN) {
        resp_put_int(out, h->slowlog_len != NULL ? (int64_t)h->slowlog_len(h->arg) : 0);
    } else {
        if (h->slowlog_reset != NULL)
            h->slowlog_reset(h->arg);
        resp_put_ok(out);
    }
}
