/* HELLO: what we say of ourselves, and whether a peer is one of ours. */
#include "proto/net/conn.h"

#include <stdio.h>
#include <string.h>

void hello_encode(const struct fb_net_config *config, const char *error, struct fb_buf *out)
{
    struct fb_frame f = {.kind = FB_FRAME_HELLO, .src_inc = config->inc, .has_hello = true};
    size_t mark;

    f.hello.protocol = FB_PROTOCOL_VERSION;
    f.hello.role = config->role;
    memcpy(f.hello.name, config->name, sizeof(f.hello.name));
    f.hello.has_cluster = config->has_cluster;
    memcpy(f.hello.cluster, config->cluster, FB_UUID_BYTES);
    f.hello.inc = config->inc;
    snprintf(f.hello.error, sizeof(f.hello.error), "%s", error);
    mark = fb_frame_begin(out, &f);
    fb_frame_end(out, mark, 0);
}

enum fb_status hello_check(const struct fb_net_config *config, const char *expect,
                           const struct fb_frame *f, bool *tell, struct fb_err *err)
{
    const struct fb_hello *h = &f->hello;

    *tell = false;
    if (f->kind != FB_FRAME_HELLO || !f->has_hello)
        return fb_err_set(err, FB_EPROTO, "first frame is %s, not HELLO",
                          fb_frame_kind_name(f->kind));
    if (h->error[0] != '\0')
        return fb_err_set(err, FB_EREFUSED, "peer %s refused the connection: %s", h->name,
                          h->error);
    *tell = true;
    if (h->protocol != FB_PROTOCOL_VERSION)
        return fb_err_set(err, FB_EPROTO, "%s speaks protocol %u, %s speaks %u", h->name,
                          h->protocol, config->name, FB_PROTOCOL_VERSION);
    if (config->has_cluster && h->has_cluster &&
        memcmp(config->cluster, h->cluster, FB_UUID_BYTES) != 0)
        return fb_err_set(err, FB_EFOREIGN, "%s belongs to another cluster than %s", h->name,
                          config->name);
    if (expect[0] != '\0' && strcmp(expect, h->name) != 0)
        return fb_err_set(err, FB_EREFUSED, "expected %s at this address, found %s", expect,
                          h->name);
    return FB_OK;
}
