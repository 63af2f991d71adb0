/* All clients of the process, for CLIENT LIST and CLIENT KILL: one list under one lock, touched
 * when clients come, go or rename themselves, never by their commands. */
#include "router/io/process.h"

#include "proto/base/clock.h"
#include "router/resp/command.h"

#include <stdio.h>

void registry_add(struct process *p, struct registered *c)
{
    pthread_mutex_lock(&p->registry_lock);
    c->prev = NULL;
    c->next = p->clients;
    if (p->clients != NULL)
        p->clients->prev = c;
    p->clients = c;
    pthread_mutex_unlock(&p->registry_lock);
    atomic_fetch_add(&p->client_count, 1);
    atomic_fetch_add(&p->connections_total, 1);
}

void registry_remove(struct process *p, struct registered *c)
{
    pthread_mutex_lock(&p->registry_lock);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        p->clients = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    pthread_mutex_unlock(&p->registry_lock);
    atomic_fetch_sub(&p->client_count, 1);
}

void registry_rename(struct process *p, struct registered *c, const struct router_session *s)
{
    pthread_mutex_lock(&p->registry_lock);
    memcpy(c->name, s->name, sizeof(c->name));
    memcpy(c->lib_name, s->lib_name, sizeof(c->lib_name));
    memcpy(c->lib_ver, s->lib_ver, sizeof(c->lib_ver));
    pthread_mutex_unlock(&p->registry_lock);
}

static void line(struct fb_buf *out, struct registered *c, uint64_t now_ns)
{
    uint32_t state = atomic_load_explicit(&c->state, memory_order_relaxed);
    uint32_t cmd = atomic_load_explicit(&c->last_cmd, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&c->last_ns, memory_order_relaxed);
    int multi = (int)(state >> 8 & 0x3fff) - 1;
    fb_buf_printf(out,
                  "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=0 sub=0 "
                  "psub=0 ssub=0 multi=%d qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 "
                  "obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=default redir=-1 resp=%u "
                  "lib-name=%s lib-ver=%s",
                  (unsigned long long)c->id, c->addr, c->laddr, c->fd, c->name,
                  (unsigned long long)((now_ns - c->created_ns) / 1000000000u),
                  (unsigned long long)(now_ns > last ? (now_ns - last) / 1000000000u : 0),
                  multi >= 0 ? "x" : "N", multi,
                  cmd != RESP_CMD_NONE ? resp_command_row((enum resp_cmd)cmd)->name : "NULL",
                  state & 0xff, c->lib_name, c->lib_ver);
}

static bool wanted(const struct registered *c, const uint64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == c->id)
            return true;
    return n == 0;
}

void registry_lines(struct process *p, struct fb_buf *out, const struct registered *only,
                    const uint64_t *ids, size_t n)
{
    uint64_t now = fb_mono_ns();
    pthread_mutex_lock(&p->registry_lock);
    for (struct registered *c = p->clients; c != NULL; c = c->next) {
        if (only != NULL ? c != only : !wanted(c, ids, n))
            continue;
        line(out, c, now);
        fb_buf_put_u8(out, '\n');
    }
    pthread_mutex_unlock(&p->registry_lock);
}

uint32_t registry_kill(struct process *p, const struct registered *self, uint64_t id,
                       struct fb_bytes addr, struct fb_bytes laddr, bool skip_self)
{
    bool hit[ROUTER_LOOPS_MAX] = {false};
    uint32_t killed = 0;
    pthread_mutex_lock(&p->registry_lock);
    for (struct registered *c = p->clients; c != NULL; c = c->next) {
        if ((id != 0 && c->id != id) || (addr.n > 0 && !fb_bytes_is(addr, c->addr)) ||
            (laddr.n > 0 && !fb_bytes_is(laddr, c->laddr)) || (skip_self && c == self))
            continue;
        atomic_store(&c->kill, true);
        killed++;
        for (uint32_t i = 0; i < p->loop_count; i++)
            hit[i] |= p->loops[i] == c->loop;
    }
    pthread_mutex_unlock(&p->registry_lock);
    for (uint32_t i = 0; i < p->loop_count; i++)
        if (hit[i])
            loop_post_kill(p->loops[i]);
    return killed;
}
