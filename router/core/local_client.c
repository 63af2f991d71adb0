/* CLIENT and its subcommands. */
#include "router/core/state.h"

#include "proto/base/number.h"

#include <stdio.h>

#define IDS_MAX 128u

static void put_err(struct fb_buf *out, const char *text)
{
    resp_put_error(out, fb_bytes_str(text));
}

bool local_client_name_valid(struct fb_bytes name)
{
    if (name.n > ROUTER_CLIENT_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < '!' || name.p[i] > '~')
            return false;
    return true;
}

static void changed(struct router_session *s)
{
    const struct router_hooks *h = &s->router->config.hooks;
    if (h->client_changed != NULL)
        h->client_changed(h->arg, s);
}

static void client_setname(struct router_session *s, struct fb_bytes name, struct fb_buf *out)
{
    if (!local_client_name_valid(name)) {
        put_err(out, "ERR Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    snprintf(s->name, sizeof(s->name), "%.*s", (int)name.n, (const char *)name.p);
    changed(s);
    resp_put_ok(out);
}

static void client_setinfo(struct router_session *s, const struct fb_bytes *argv,
                           struct fb_buf *out)
{
    char *at;
    if (bytes_is_nocase(argv[2], "lib-name")) {
        at = s->lib_name;
    } else if (bytes_is_nocase(argv[2], "lib-ver")) {
        at = s->lib_ver;
    } else {
        resp_put_errorf(out, "ERR Unrecognized option '%.*s'",
                        (int)(argv[2].n > 128 ? 128 : argv[2].n), (const char *)argv[2].p);
        return;
    }
    if (!local_client_name_valid(argv[3]) || argv[3].n >= sizeof(s->lib_name)) {
        resp_put_errorf(out, "ERR %s cannot contain spaces, newlines or special characters.",
                        at == s->lib_name ? "lib-name" : "lib-ver");
        return;
    }
    snprintf(at, sizeof(s->lib_name), "%.*s", (int)argv[3].n, (const char *)argv[3].p);
    changed(s);
    resp_put_ok(out);
}

/* ON or OFF into *flag. */
static void client_switch(bool *flag, struct fb_bytes word, struct fb_buf *out)
{
    if (bytes_is_nocase(word, "on")) {
        *flag = true;
    } else if (bytes_is_nocase(word, "off")) {
        *flag = false;
    } else {
        put_err(out, "ERR syntax error");
        return;
    }
    resp_put_ok(out);
}

/* OFF silences itself too, SKIP itself and the next command. `out` may be the client's own
 * buffer: whether a reply is dropped was decided before, so these simply write none. */
static void client_reply(struct router_session *s, struct fb_bytes word, struct fb_buf *out)
{
    if (bytes_is_nocase(word, "on")) {
        bool was_muted = s->reply_off || s->reply_skip;
        s->reply_off = s->reply_skip = false;
        if (was_muted) /* the place for the reply was muted when the command began */
            out = session_reply(s, RESP_CMD_CLIENT_REPLY);
        resp_put_ok(out);
    } else if (bytes_is_nocase(word, "off")) {
        s->reply_off = true;
    } else if (bytes_is_nocase(word, "skip")) {
        if (!s->reply_off)
            s->reply_skip_next = true;
    } else {
        put_err(out, "ERR syntax error");
    }
}

static void put_lines(struct router_session *s, const struct router_session *only,
                      const uint64_t *ids, size_t n, struct fb_buf *out)
{
    const struct router_hooks *h = &s->router->config.hooks;
    struct fb_buf text = {0};
    if (h->client_lines != NULL)
        h->client_lines(h->arg, &text, only, ids, n);
    resp_put_verbatim(out, s->proto, "txt", fb_buf_view(&text));
    fb_buf_fini(&text);
}

static void client_list(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                        struct fb_buf *out)
{
    uint64_t ids[IDS_MAX];
    size_t n = 0;
    bool none = false; /* a type we have no clients of */
    for (uint32_t i = 2; i < argc; i++) {
        if (bytes_is_nocase(argv[i], "type") && i + 1 < argc) {
            if (!bytes_is_nocase(argv[i + 1], "normal") &&
                !bytes_is_nocase(argv[i + 1], "pubsub") &&
                !bytes_is_nocase(argv[i + 1], "master") &&
                !bytes_is_nocase(argv[i + 1], "replica")) {
                resp_put_errorf(out, "ERR Unknown client type '%.*s'", (int)argv[i + 1].n,
                                (const char *)argv[i + 1].p);
                return;
            }
            none = !bytes_is_nocase(argv[++i], "normal");
        } else if (bytes_is_nocase(argv[i], "id") && i + 1 < argc) {
            for (i++; i < argc; i++) {
                int64_t id;
                if (!fb_parse_i64(argv[i], &id) || id < 1 || n == IDS_MAX) {
                    put_err(out, "ERR Invalid client ID");
                    return;
                }
                ids[n++] = (uint64_t)id;
            }
        } else {
            put_err(out, "ERR syntax error");
            return;
        }
    }
    if (none)
        resp_put_verbatim(out, s->proto, "txt", fb_bytes("", 0));
    else
        put_lines(s, NULL, ids, n, out);
}

static void client_kill(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                        struct fb_buf *out)
{
    const struct router_hooks *h = &s->router->config.hooks;
    struct fb_bytes addr = {0}, laddr = {0};
    bool skip_self = true, other = false;
    int64_t id = 0;
    uint32_t killed;
    if (argc == 3) { /* the old form: address, OK or an error */
        addr = argv[2];
        skip_self = false;
    }
    for (uint32_t i = 2; argc > 3 && i < argc; i += 2) {
        if (i + 1 == argc) {
            put_err(out, "ERR syntax error");
            return;
        }
        if (bytes_is_nocase(argv[i], "id")) {
            if (!fb_parse_i64(argv[i + 1], &id) || id < 1) {
                put_err(out, "ERR client-id should be greater than 0");
                return;
            }
        } else if (bytes_is_nocase(argv[i], "addr")) {
            addr = argv[i + 1];
        } else if (bytes_is_nocase(argv[i], "laddr")) {
            laddr = argv[i + 1];
        } else if (bytes_is_nocase(argv[i], "user")) {
            other |= !fb_bytes_is(argv[i + 1], "default");
        } else if (bytes_is_nocase(argv[i], "type")) {
            other |= !bytes_is_nocase(argv[i + 1], "normal");
        } else if (bytes_is_nocase(argv[i], "skipme")) {
            if (!bytes_is_nocase(argv[i + 1], "yes") && !bytes_is_nocase(argv[i + 1], "no")) {
                put_err(out, "ERR syntax error");
                return;
            }
            skip_self = bytes_is_nocase(argv[i + 1], "yes");
        } else {
            put_err(out, "ERR syntax error");
            return;
        }
    }
    killed = other || h->client_kill == NULL
                 ? 0
                 : h->client_kill(h->arg, s, (uint64_t)id, addr, laddr, skip_self);
    if (argc > 3)
        resp_put_int(out, killed);
    else if (killed > 0)
        resp_put_ok(out);
    else
        put_err(out, "ERR No such client");
}

void local_client(struct router_session *s, enum resp_cmd id, const struct fb_bytes *argv,
                  uint32_t argc, struct fb_buf *out)
{
    switch (id) {
    case RESP_CMD_CLIENT_SETNAME:
        client_setname(s, argv[2], out);
        break;
    case RESP_CMD_CLIENT_SETINFO:
        client_setinfo(s, argv, out);
        break;
    case RESP_CMD_CLIENT_GETNAME:
        if (s->name[0] == 0)
            resp_put_null(out, s->proto);
        else
            resp_put_bulk_str(out, s->name);
        break;
    case RESP_CMD_CLIENT_ID:
        resp_put_int(out, (int64_t)s->id);
        break;
    case RESP_CMD_CLIENT_INFO:
        put_lines(s, s, NULL, 0, out);
        break;
    case RESP_CMD_CLIENT_LIST:
        client_list(s, argv, argc, out);
        break;
    case RESP_CMD_CLIENT_KILL:
        client_kill(s, argv, argc, out);
        break;
    case RESP_CMD_CLIENT_NO_EVICT:
        client_switch(&s->no_evict, argv[2], out);
        break;
    case RESP_CMD_CLIENT_NO_TOUCH:
        client_switch(&s->no_touch, argv[2], out);
        break;
    case RESP_CMD_CLIENT_REPLY:
        client_reply(s, argv[2], out);
        break;
    default:
        put_err(out, "ERR unknown subcommand");
        break;
    }
}
