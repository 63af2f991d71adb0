/* HELLO and AUTH: version of the protocol, password. */
#include "router/core/state.h"

#include "proto/base/number.h"

#include <stdio.h>

#define WRONGPASS "WRONGPASS invalid username-password pair or user is disabled."

/* Takes the same time wherever the two differ. */
static bool password_is(const char *password, struct fb_bytes given)
{
    size_t n = strlen(password);
    uint8_t differ = given.n != n;
    for (size_t i = 0; i < given.n; i++)
        differ |= (uint8_t)(given.p[i] ^ (uint8_t)password[n == 0 ? 0 : i % n]);
    return differ == 0;
}

/* The only user is "default"; without a configured password every one fits it, as in Redis. */
static bool auth_ok(struct router_session *s, struct fb_bytes user, struct fb_bytes password)
{
    struct router *r = s->router;
    if (fb_bytes_is(user, "default") &&
        (r->config.password[0] == 0 || password_is(r->config.password, password))) {
        s->authed = true;
        return true;
    }
    r->stats.rejected[ROUTER_REJECT_AUTH]++;
    return false;
}

void local_auth(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                struct fb_buf *out)
{
    if (argc > 3) {
        resp_put_error(out, fb_bytes_str("ERR syntax error"));
        return;
    }
    if (argc == 2 && s->router->config.password[0] == 0) {
        resp_put_error(out, fb_bytes_str("ERR AUTH <password> called without any password "
                                         "configured for the default user. Are you sure your "
                                         "configuration is correct?"));
        return;
    }
    if (auth_ok(s, argc == 2 ? fb_bytes_str("default") : argv[1], argv[argc - 1]))
        resp_put_ok(out);
    else
        resp_put_error(out, fb_bytes_str(WRONGPASS));
}

static void hello_reply(struct router_session *s, struct fb_buf *out)
{
    resp_put_map(out, s->proto, 7);
    resp_put_bulk_str(out, "server");
    resp_put_bulk_str(out, "redis");
    resp_put_bulk_str(out, "version");
    resp_put_bulk_str(out, "7.0.15");
    resp_put_bulk_str(out, "proto");
    resp_put_int(out, s->proto);
    resp_put_bulk_str(out, "id");
    resp_put_int(out, (int64_t)s->id);
    resp_put_bulk_str(out, "mode");
    resp_put_bulk_str(out, "standalone");
    resp_put_bulk_str(out, "role");
    resp_put_bulk_str(out, "master");
    resp_put_bulk_str(out, "modules");
    resp_put_array(out, 0);
}

/* Options after the version. False: the error is written. */
static bool hello_options(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                          const struct fb_bytes **name, struct fb_buf *out)
{
    for (uint32_t i = 2; i < argc; i++) {
        if (bytes_is_nocase(argv[i], "auth") && i + 2 < argc) {
            if (!auth_ok(s, argv[i + 1], argv[i + 2])) {
                resp_put_error(out, fb_bytes_str(WRONGPASS));
                return false;
            }
            i += 2;
        } else if (bytes_is_nocase(argv[i], "setname") && i + 1 < argc) {
            *name = &argv[i + 1];
            if (!local_client_name_valid(argv[i + 1])) {
                resp_put_error(out, fb_bytes_str("ERR Client names cannot contain spaces, newlines "
                                                 "or special characters."));
                return false;
            }
            i++;
        } else {
            resp_put_errorf(out, "ERR Syntax error in HELLO option '%.*s'",
                            (int)(argv[i].n > 128 ? 128 : argv[i].n), (const char *)argv[i].p);
            return false;
        }
    }
    return true;
}

void local_hello(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                 struct fb_buf *out)
{
    const struct router_hooks *h = &s->router->config.hooks;
    const struct fb_bytes *name = NULL;
    int64_t version = s->proto;
    if (argc > 1) {
        if (!fb_parse_i64(argv[1], &version)) {
            resp_put_error(out,
                           fb_bytes_str("ERR Protocol version is not an integer or out of range"));
            return;
        }
        if (version < 2 || version > 3) {
            resp_put_error(out, fb_bytes_str("NOPROTO unsupported protocol version"));
            return;
        }
    }
    if (!hello_options(s, argv, argc, &name, out))
        return;
    if (!s->authed) {
        resp_put_error(out,
                       fb_bytes_str("NOAUTH HELLO must be called with the client already "
                                    "authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
                                    "option can be used to authenticate the client and select the "
                                    "RESP protocol version at the same time"));
        return;
    }
    if (name != NULL) {
        snprintf(s->name, sizeof(s->name), "%.*s", (int)name->n, (const char *)name->p);
        if (h->client_changed != NULL)
            h->client_changed(h->arg, s);
    }
    s->proto = (uint8_t)version;
    hello_reply(s, out);
}
