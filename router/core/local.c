/* Commands the router answers itself: the dispatcher and the small ones. */
#include "router/core/state.h"

#include "proto/base/number.h"

bool bytes_is_nocase(struct fb_bytes a, const char *lower)
{
    size_t i = 0;
    for (; i < a.n && lower[i] != 0; i++) {
        uint8_t c = a.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + 32);
        if (c != (uint8_t)lower[i])
            return false;
    }
    return i == a.n && lower[i] == 0;
}

static void local_ping(struct fb_buf *out, const struct fb_bytes *argv, uint32_t argc)
{
    if (argc > 2)
        resp_put_error(out, fb_bytes_str("ERR wrong number of arguments for 'ping' command"));
    else if (argc == 2)
        resp_put_bulk(out, argv[1]);
    else
        resp_put_simple(out, "PONG");
}

static void local_time(const struct router *r, struct fb_buf *out)
{
    resp_put_array(out, 2);
    resp_put_bulk_int(out, r->wall_ms / 1000);
    resp_put_bulk_int(out, r->wall_ms % 1000 * 1000);
}

static void local_reset(struct router_session *s, struct fb_buf *out)
{
    txn_discard(s);
    s->proto = 2;
    s->name[0] = 0;
    s->reply_off = s->reply_skip = s->reply_skip_next = false;
    s->no_evict = s->no_touch = false;
    s->level = FB_LEVEL_NONE;
    s->authed = s->router->config.password[0] == 0;
    if (s->router->config.hooks.client_changed != NULL)
        s->router->config.hooks.client_changed(s->router->config.hooks.arg, s);
    resp_put_simple(out, "RESET");
}

static void local_require(struct router_session *s, struct fb_bytes level, struct fb_buf *out)
{
    enum fb_level l;
    if (!resp_level_parse(level, &l)) {
        resp_put_error(out, fb_bytes_str("ERR unknown level; use NONE, LOCAL, REPLICATED, DURABLE "
                                         "or DATABASE"));
        return;
    }
    s->level = (uint8_t)l;
    resp_put_ok(out);
}

static void local_info(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                       struct fb_buf *out)
{
    const struct router_hooks *h = &s->router->config.hooks;
    struct fb_buf text = {0};
    if (h->info != NULL)
        h->info(h->arg, &text, argv + 1, argc - 1);
    resp_put_verbatim(out, s->proto, "txt", fb_buf_view(&text));
    fb_buf_fini(&text);
}

void local_run(struct router_session *s, enum resp_cmd id, const struct fb_bytes *argv,
               uint32_t argc, struct fb_buf *out)
{
    switch (id) {
    case RESP_CMD_PING:
        local_ping(out, argv, argc);
        break;
    case RESP_CMD_ECHO:
        resp_put_bulk(out, argv[1]);
        break;
    case RESP_CMD_QUIT:
        resp_put_ok(out);
        session_end(s);
        break;
    case RESP_CMD_RESET:
        local_reset(s, out);
        break;
    case RESP_CMD_SELECT:
        resp_put_ok(out); /* 0: all else was refused before */
        break;
    case RESP_CMD_HELLO:
        local_hello(s, argv, argc, out);
        break;
    case RESP_CMD_AUTH:
        local_auth(s, argv, argc, out);
        break;
    case RESP_CMD_TIME:
        local_time(s->router, out);
        break;
    case RESP_CMD_INFO:
        local_info(s, argv, argc, out);
        break;
    case RESP_CMD_CONFIG_GET:
        local_config_get(s, argv, argc, out);
        break;
    case RESP_CMD_WAIT: /* in MULTI; else local_wait.c. Nothing is awaited there: nobody is known */
        resp_put_int(out, 0);
        break;
    case RESP_CMD_WAITAOF:
        resp_put_array(out, 2);
        resp_put_int(out, 0);
        resp_put_int(out, 0);
        break;
    case RESP_CMD_FB_REQUIRE:
        local_require(s, argv[1], out);
        break;
    case RESP_CMD_MULTI:
        txn_multi(s, out);
        break;
    case RESP_CMD_DISCARD:
        if (s->in_multi) {
            txn_discard(s);
            resp_put_ok(out);
        } else {
            resp_put_error(out, fb_bytes_str("ERR DISCARD without MULTI"));
        }
        break;
    case RESP_CMD_UNWATCH:
        txn_unwatch(s);
        resp_put_ok(out);
        break;
    case RESP_CMD_SLOWLOG_GET:
    case RESP_CMD_SLOWLOG_LEN:
    case RESP_CMD_SLOWLOG_RESET:
    case RESP_CMD_SLOWLOG_HELP:
        local_slowlog(s, id, argv, argc, out);
        break;
    case RESP_CMD_CLIENT_HELP:
    case RESP_CMD_CONFIG_HELP:
        resp_command_help(out, resp_command_row((enum resp_cmd)resp_command_row(id)->parent));
        break;
    default:
        if (resp_command_row(id)->parent == RESP_CMD_CLIENT)
            local_client(s, id, argv, argc, out);
        else
            resp_command_reply(out, s->proto, argv, argc);
        break;
    }
}
