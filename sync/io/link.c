/* Links to the nodes. */
#include "sync/io/link.h"

#include "proto/base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 2000u

struct sync_link *sync_links_find(struct sync_links *ls, const char *name)
{
    for (size_t i = 0; i < ls->count; i++)
        if (strcmp(ls->link[i]->name, name) == 0)
            return ls->link[i];
    return NULL;
}

/* A place for a new name: a fresh one, or that of a node which left long ago. */
static struct sync_link *add(struct sync_links *ls)
{
    if (ls->count < FB_NODES_MAX)
        return ls->link[ls->count++] = fb_xcalloc(1, sizeof(struct sync_link));
    for (size_t i = 0; i < ls->count; i++)
        if (!ls->link[i]->wanted && ls->link[i]->conn == NULL)
            return ls->link[i];
    return NULL;
}

void sync_links_map(struct sync_links *ls, const struct fb_map *map, uint64_t now_ms)
{
    for (size_t i = 0; i < ls->count; i++)
        ls->link[i]->wanted = false;
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        struct sync_link *l;
        if (m->kind != FB_MEMBER_NODE || !m->alive || m->listen[0] == '\0')
            continue;
        l = sync_links_find(ls, m->name);
        if (l == NULL) {
            l = add(ls);
            if (l == NULL)
                continue;
            memset(l, 0, sizeof(*l));
            (void)snprintf(l->name, sizeof(l->name), "%s", m->name);
        }
        if (strcmp(l->url, m->listen) != 0) {
            (void)snprintf(l->url, sizeof(l->url), "%s", m->listen);
            l->next_dial_ms = now_ms;
            l->backoff_ms = 0;
            if (l->conn != NULL)
                fb_conn_close(l->conn);
        }
        l->wanted = true;
    }
    for (size_t i = 0; i < ls->count; i++)
        if (!ls->link[i]->wanted && ls->link[i]->conn != NULL && !ls->link[i]->up)
            fb_conn_close(ls->link[i]->conn);
}

static void again_later(struct sync_link *l, uint64_t now_ms)
{
    l->backoff_ms = l->backoff_ms == 0 ? BACKOFF_MIN_MS : l->backoff_ms * 2;
    if (l->backoff_ms > BACKOFF_MAX_MS)
        l->backoff_ms = BACKOFF_MAX_MS;
    l->next_dial_ms = now_ms + l->backoff_ms;
}

void sync_links_tick(struct sync_links *ls, uint64_t now_ms)
{
    for (size_t i = 0; i < ls->count; i++) {
        struct sync_link *l = ls->link[i];
        struct fb_err err = {0};
        if (!l->wanted || l->conn != NULL || now_ms < l->next_dial_ms)
            continue;
        if (fb_net_dial(ls->p->net, l->url, l->name, l, &l->conn, &err) != FB_OK) {
            l->conn = NULL;
            if (!l->told)
                FB_LOG(WARN, "cannot dial node", FB_KS("node", l->name), FB_KS("url", l->url),
                       FB_KS("error", err.msg));
            l->told = true;
            again_later(l, now_ms);
        }
    }
}

uint64_t sync_links_deadline_ms(const struct sync_links *ls)
{
    uint64_t at = UINT64_MAX;

    for (size_t i = 0; i < ls->count; i++)
        if (ls->link[i]->wanted && ls->link[i]->conn == NULL && ls->link[i]->next_dial_ms < at)
            at = ls->link[i]->next_dial_ms;
    return at;
}

void sync_links_opened(struct sync_links *ls, struct sync_link *l, const struct fb_hello *peer)
{
    if (l->conn == NULL)
        return; /* closed meanwhile */
    l->peer = sync_core_peer_up(ls->core, l->name, peer->inc);
    if (l->peer == SYNC_PEER_NONE) {
        fb_conn_close(l->conn);
        return;
    }
    l->up = true;
    l->told = false;
    l->backoff_ms = 0;
    FB_LOG(INFO, "node connected", FB_KS("node", l->name), FB_KS("url", l->url));
}

void sync_links_closed(struct sync_links *ls, struct sync_link *l, const struct fb_conn *c,
                       const char *why, uint64_t now_ms)
{
    if (l->conn != c)
        return;
    if (l->up)
        sync_core_peer_down(ls->core, l->peer);
    if (l->up || !l->told)
        FB_LOG(WARN, "node not connected", FB_KS("node", l->name), FB_KS("url", l->url),
               FB_KS("why", why));
    l->told = true;
    l->up = false;
    fb_conn_put(l->conn);
    l->conn = NULL;
    again_later(l, now_ms);
}

void sync_links_tell_clock(struct sync_links *ls, uint64_t ms)
{
    for (size_t i = 0; i < ls->count; i++) {
        struct sync_link *l = ls->link[i];
        struct fb_frame f = {.kind = FB_FRAME_DB_CLOCK, .src_inc = ls->p->inc};
        struct fb_buf out = {0};
        size_t mark;
        if (!l->up)
            continue;
        mark = fb_frame_begin(&out, &f);
        fb_buf_put_u64(&out, ms);
        fb_frame_end(&out, mark, 1);
        if (fb_conn_send(l->conn, &out) != FB_OK)
            fb_conn_close(l->conn);
        fb_buf_fini(&out);
    }
}

void sync_links_send(struct sync_links *ls)
{
    for (size_t i = 0; i < ls->count; i++) {
        struct sync_link *l = ls->link[i];
        struct fb_buf *out;
        if (!l->up)
            continue;
        out = sync_core_peer_frames(ls->core, l->peer);
        if (out->n == 0)
            continue;
        if (fb_conn_send(l->conn, out) != FB_OK) {
            /* A node that does not read, or is gone: start over with it. */
            fb_buf_clear(out);
            fb_conn_close(l->conn);
        }
    }
}

void sync_links_free(struct sync_links *ls)
{
    for (size_t i = 0; i < ls->count; i++) {
        if (ls->link[i]->conn != NULL)
            fb_conn_put(ls->link[i]->conn);
        free(ls->link[i]);
    }
    ls->count = 0;
}
