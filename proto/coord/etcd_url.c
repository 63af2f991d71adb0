/* Reading the coordinator URL of etcd. */
#include "proto/coord/etcd_url.h"

#include "proto/base/bounds.h"
#include "proto/base/number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define EXAMPLE "etcd://e1:2379,e2:2379,e3:2379/main?ca=/etc/forebay/etcd-ca.pem"
#define PASSWORD_BYTES_MAX 1024u

void etcd_url_fini(struct etcd_url *u)
{
    free(u->prefix);
    free(u->ca);
    free(u->cert);
    free(u->key);
    free(u->user);
    free(u->password_file);
    *u = (struct etcd_url){0};
}

/* HOST, HOST:PORT or [IPv6]:PORT; without a port it is etcd's. */
static enum fb_status endpoint(struct etcd_url *u, struct fb_bytes at, struct fb_err *err)
{
    const uint8_t *bracket = at.n > 0 && at.p[0] == '[' ? memchr(at.p, ']', at.n) : NULL;
    size_t host_n = bracket != NULL ? (size_t)(bracket - at.p) + 1 : 0;
    uint64_t port = 2379;

    if (bracket == NULL)
        while (host_n < at.n && at.p[host_n] != ':')
            host_n++;
    for (size_t i = 0; i < at.n; i++)
        if (at.p[i] <= ' ' || at.p[i] == '@' || at.p[i] >= 0x7f)
            host_n = 0;
    if (host_n < at.n &&
        (at.p[host_n] != ':' ||
         !fb_parse_u64(fb_bytes(at.p + host_n + 1, at.n - host_n - 1), &port) || port > 65535))
        port = 0;
    if (host_n == 0 || host_n > ETCD_ADDRESS_BYTES_MAX || port == 0)
        return fb_err_set(err, FB_EINVAL,
                          "coordinator: \"%.*s\" is no HOST:PORT; write it as " EXAMPLE, (int)at.n,
                          (const char *)at.p);
    if (u->count == ETCD_ENDPOINTS_MAX)
        return fb_err_set(err, FB_EINVAL, "coordinator: more than %u etcd endpoints",
                          ETCD_ENDPOINTS_MAX);
    snprintf(u->endpoint[u->count++], sizeof(u->endpoint[0]), "%.*s:%u", (int)host_n,
             (const char *)at.p, (unsigned)port);
    return FB_OK;
}

static enum fb_status cluster_name(struct etcd_url *u, struct fb_bytes name, struct fb_err *err)
{
    struct fb_buf b = {0};

    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || c == '.'))
            name.n = 0;
    }
    if (name.n == 0 || name.n > FB_NAME_BYTES_MAX)
        return fb_err_set(
            err, FB_EINVAL,
            "coordinator: the cluster's name after the endpoints has 1 to %u letters, "
            "digits, '-', '_' and '.', such as " EXAMPLE,
            FB_NAME_BYTES_MAX);
    fb_buf_printf(&b, "/forebay/%.*s/", (int)name.n, (const char *)name.p);
    fb_buf_put_u8(&b, 0);
    u->prefix = (char *)b.p;
    return FB_OK;
}

static enum fb_status option(struct etcd_url *u, struct fb_bytes kv, struct fb_err *err)
{
    const struct {
        const char *name;
        char **to;
    } texts[] = {{"ca", &u->ca},
                 {"cert", &u->cert},
                 {"key", &u->key},
                 {"user", &u->user},
                 {"password_file", &u->password_file}};
    const uint8_t *eq = memchr(kv.p, '=', kv.n);
    struct fb_bytes name = {kv.p, eq == NULL ? kv.n : (size_t)(eq - kv.p)};
    struct fb_bytes value = eq == NULL ? fb_bytes("", 0) : fb_bytes(eq + 1, kv.n - name.n - 1);

    if (fb_bytes_is(name, "tls") && (fb_bytes_is(value, "yes") || fb_bytes_is(value, "no"))) {
        u->tls = u->tls || fb_bytes_is(value, "yes");
        return FB_OK;
    }
    for (size_t i = 0; i < FB_COUNT_OF(texts); i++) {
        if (!fb_bytes_is(name, texts[i].name) || value.n == 0 || *texts[i].to != NULL)
            continue;
        *texts[i].to = fb_xcalloc(1, value.n + 1);
        memcpy(*texts[i].to, value.p, value.n);
        u->tls = u->tls || i < 3;
        return FB_OK;
    }
    return fb_err_set(err, FB_EINVAL,
                      "coordinator: \"%.*s\" behind the '?': each of tls=yes, ca=FILE, cert=FILE, "
                      "key=FILE, user=NAME and password_file=FILE is possible once",
                      (int)kv.n, (const char *)kv.p);
}

/* Up to one of `stops`; what was taken is cut off `in`, with the stop. */
static struct fb_bytes word(struct fb_bytes *in, const char *stops, uint8_t *stop)
{
    struct fb_bytes w = {in->p, 0};

    while (w.n < in->n && strchr(stops, in->p[w.n]) == NULL)
        w.n++;
    *stop = w.n < in->n ? in->p[w.n] : 0;
    in->p += w.n + (*stop != 0);
    in->n -= w.n + (*stop != 0);
    return w;
}

enum fb_status etcd_url_parse(const char *text, struct etcd_url *out, struct fb_err *err)
{
    struct fb_bytes in = fb_bytes_str(text + strlen("etcd://"));
    uint8_t stop = ',';
    enum fb_status s = FB_OK;

    *out = (struct etcd_url){0};
    while (s == FB_OK && stop == ',') {
        struct fb_bytes w = word(&in, ",/?", &stop);
        s = endpoint(out, w, err);
    }
    if (s == FB_OK)
        s = cluster_name(out, stop == '/' ? word(&in, "?", &stop) : fb_bytes_str("main"), err);
    while (s == FB_OK && (stop == '?' || stop == '&')) {
        struct fb_bytes w = word(&in, "&", &stop);
        s = option(out, w, err);
    }
    if (s == FB_OK && (out->cert == NULL) != (out->key == NULL))
        s = fb_err_set(
            err, FB_EINVAL,
            "coordinator: cert=FILE and key=FILE belong together; one of them is missing");
    if (s == FB_OK && (out->user == NULL) != (out->password_file == NULL))
        s = fb_err_set(err, FB_EINVAL,
                       "coordinator: user=NAME and password_file=FILE belong together; one of them "
                       "is missing");
    return s;
}

enum fb_status etcd_url_password(const struct etcd_url *u, struct fb_buf *out, struct fb_err *err)
{
    char line[PASSWORD_BYTES_MAX];
    FILE *f = fopen(u->password_file, "re");
    bool got;

    if (f == NULL)
        return fb_err_set(err, fb_status_of_errno(errno), "coordinator: open password_file %s: %s",
                          u->password_file, strerror(errno));
    got = fgets(line, sizeof(line), f) != NULL;
    fclose(f);
    if (got)
        line[strcspn(line, "\r\n")] = '\0';
    if (!got || line[0] == '\0')
        return fb_err_set(err, FB_EINVAL, "coordinator: password_file %s has no first line",
                          u->password_file);
    fb_buf_put_str(out, line);
    return FB_OK;
}
