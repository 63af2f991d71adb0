/* One client connection: taking commands off its bytes, stalling, ending. */
#include "router/core/state.h"

#include "proto/base/probe.h"

#include <stdio.h>
#include <stdlib.h>

#define OUT_KEEP_BYTES (16u << 10)

struct router_session *router_session_new(struct router *r, uint64_t id, const char *addr,
                                          const char *laddr, void *user)
{
    struct router_session *s = fb_xcalloc(1, sizeof(*s));
    s->router = r;
    s->id = id;
    s->proto = 2;
    s->user = user;
    s->created_ns = s->last_ns = r->now_ns;
    s->authed = r->config.password[0] == 0;
    s->retry_first = s->retry_last = OP_NONE;
    snprintf(s->addr, sizeof(s->addr), "%s", addr);
    snprintf(s->laddr, sizeof(s->laddr), "%s", laddr);
    resp_parser_init(&s->parser);
    s->next_all = r->all;
    if (r->all != NULL)
        r->all->prev_all = s;
    r->all = s;
    r->session_count++;
    return s;
}

/* Take `s` out of a singly linked list. Rare: sessions that end. */
static void list_remove(struct router_session **head, struct router_session *s, size_t offset)
{
    while (*head != s)
        head = (struct router_session **)(void *)((char *)*head + offset);
    *head = *(struct router_session **)(void *)((char *)s + offset);
}

void router_session_gone(struct router_session *s)
{
    struct router *r = s->router;
    fb_assert(!s->dead);
    for (; s->head != s->tail; s->head++)
        slot_release(slot_at(s, s->head));
    if (s->on_ready)
        list_remove(&r->ready, s, offsetof(struct router_session, next_ready));
    if (s->on_stalled)
        list_remove(&r->stalled, s, offsetof(struct router_session, next_stalled));
    if (s->on_resume)
        list_remove(&r->resume, s, offsetof(struct router_session, next_resume));
    s->on_ready = s->on_stalled = s->on_resume = false;
    if (s->prev_all != NULL)
        s->prev_all->next_all = s->next_all;
    else
        r->all = s->next_all;
    if (s->next_all != NULL)
        s->next_all->prev_all = s->prev_all;
    r->session_count--;
    s->dead = true;
    s->user = NULL;
    txn_discard(s);
    if (s->ops == 0 && !s->on_retry)
        session_free(s);
}

void session_free(struct router_session *s)
{
    fb_assert(s->dead && s->ops == 0 && !s->on_retry);
    resp_parser_fini(&s->parser);
    fb_buf_fini(&s->out);
    txn_free(s->txn);
    free(s->ring);
    free(s);
}

void session_mark_ready(struct router_session *s)
{
    if (s->on_ready || s->dead)
        return;
    s->on_ready = true;
    s->next_ready = s->router->ready;
    s->router->ready = s;
}

struct router_session *router_next_session(struct router *r)
{
    struct router_session *s = r->ready;
    if (s == NULL)
        return NULL;
    r->ready = s->next_ready;
    s->next_ready = NULL;
    s->on_ready = false;
    return s;
}

bool session_may_take(const struct router_session *s)
{
    const struct router *r = s->router;
    return s->waiting == 0 && s->watch_pending == 0 && s->exec_pending == 0 && !s->ending &&
           s->tail - s->head < r->config.inflight_per_client &&
           r->ops_used < r->config.inflight_max && (s->sent == 0 || s->map_gen == r->map_gen);
}

static void session_stall(struct router_session *s)
{
    struct router *r = s->router;
    s->stalled = true;
    /* who waits for its own operations is woken by their end, who waits for others' by the tick */
    if (r->ops_used >= r->config.inflight_max && !s->on_stalled) {
        s->on_stalled = true;
        s->next_stalled = r->stalled;
        r->stalled = s;
    }
}

void session_unstall(struct router_session *s)
{
    if (!s->stalled || s->on_resume || s->dead || s->close || !session_may_take(s))
        return;
    s->on_resume = true;
    s->next_resume = s->router->resume;
    s->router->resume = s;
}

void session_resume_stalled(struct router *r)
{
    struct router_session *s = r->stalled;
    if (s == NULL || r->ops_used >= r->config.inflight_max)
        return;
    r->stalled = NULL;
    while (s != NULL) {
        struct router_session *next = s->next_stalled;
        s->next_stalled = NULL;
        s->on_stalled = false;
        session_unstall(s);
        s = next;
    }
}

struct router_session *router_next_resume(struct router *r)
{
    struct router_session *s = r->resume;
    if (s == NULL)
        return NULL;
    r->resume = s->next_resume;
    s->next_resume = NULL;
    s->on_resume = false;
    s->stalled = false;
    return s;
}

struct fb_buf *session_reply(struct router_session *s, uint16_t cmd)
{
    struct router *r = s->router;
    if (s->head == s->tail) {
        bool mute = s->reply_off || s->reply_skip || s->close;
        struct fb_buf *out = mute ? &r->scratch : &s->out;
        if (mute)
            fb_buf_clear(out);
        session_mark_ready(s);
        r->reply_out = out;
        r->reply_at = out->n;
        r->reply_cmd = cmd;
        return out;
    }
    return &slot_at(s, slot_push(s, SLOT_TEXT, cmd, 0))->text;
}

void session_end(struct router_session *s)
{
    s->ending = true;
    if (s->head == s->tail)
        s->close = true;
    else
        slot_at(s, s->tail - 1)->last = true;
    session_mark_ready(s);
}

/* Redis's order: unknown command and arity first, then NOAUTH. True: the command may go on. */
static bool session_check_auth(struct router_session *s, const struct fb_bytes *argv, uint32_t argc)
{
    struct fb_buf probe = {0};
    const struct resp_command *c = resp_command_resolve(&probe, argv, argc);
    bool refused = c != NULL && !(c->flags & RESP_F_NO_AUTH);
    fb_buf_fini(&probe);
    if (!refused)
        return true;
    s->router->stats.rejected[ROUTER_REJECT_AUTH]++;
    resp_put_error(session_reply(s, c->id), fb_bytes_str("NOAUTH Authentication required."));
    return false;
}

/* A reply that did not go through a slot is counted here. */
static void session_count_reply(struct router *r)
{
    const struct fb_buf *out = r->reply_out;
    if (out == NULL)
        return;
    r->reply_out = NULL;
    (out->n > r->reply_at && out->p[r->reply_at] == '-' ? r->stats.err
                                                        : r->stats.ok)[r->reply_cmd]++;
}

static void session_command(struct router_session *s, const struct fb_bytes *argv, uint32_t argc)
{
    struct router *r = s->router;
    struct resp_plan plan;

    s->reply_skip = s->reply_skip_next;
    s->reply_skip_next = false;
    if (FB_UNLIKELY(!s->authed) && !session_check_auth(s, argv, argc))
        return;
    fb_buf_clear(&r->args);
    resp_translate(&plan, &r->arena, &r->args, argv, argc, r->wall_ms);
    s->last_cmd = plan.cmd != NULL ? plan.cmd->id : RESP_CMD_NONE;
    FB_PROBE3(receive, s->id, s->last_cmd, argc);
    switch (plan.kind) {
    case RESP_PLAN_OPS:
        if (FB_UNLIKELY(s->in_multi))
            txn_command(s, &plan, argv, argc);
        else
            dispatch_plan(s, &plan);
        return;
    case RESP_PLAN_LOCAL:
        if (s->in_multi) {
            txn_command(s, &plan, argv, argc);
            return;
        }
        if (plan.cmd->id == RESP_CMD_EXEC)
            txn_exec(s);
        else if (plan.cmd->id == RESP_CMD_WATCH)
            txn_watch(s, &plan);
        else if (plan.cmd->id == RESP_CMD_WAIT || plan.cmd->id == RESP_CMD_WAITAOF)
            local_wait(s, &plan, argv);
        else
            local_run(s, (enum resp_cmd)plan.cmd->id, argv, argc, session_reply(s, plan.cmd->id));
        return;
    case RESP_PLAN_ERROR:
        if (plan.cmd == NULL && bytes_is_nocase(argv[0], "exec")) /* arity: EXECABORT, at once */
            txn_discard(s);
        if (s->in_multi)
            txn_command(s, &plan, argv, argc);
        else
            fb_buf_put_bytes(session_reply(s, s->last_cmd), fb_buf_view(&r->args));
        return;
    case RESP_PLAN_CLOSE:
        s->ending = true;
        s->cut = true;
        session_mark_ready(s);
        return;
    }
}

size_t router_session_input(struct router_session *s, const uint8_t *p, size_t n)
{
    struct router *r = s->router;
    size_t done = 0, used;
    s->last_ns = r->now_ns;
    hold_count(s);
    while (done < n && !s->ending) {
        if (!session_may_take(s)) {
            session_stall(s);
            break;
        }
        switch (resp_parse(&s->parser, p + done, n - done, &used)) {
        case RESP_PARSE_COMMAND:
            session_command(s, s->parser.argv, s->parser.argc);
            session_count_reply(r);
            done += used;
            break;
        case RESP_PARSE_MORE:
            done += used;
            goto out;
        case RESP_PARSE_ERROR:
            r->stats.rejected[ROUTER_REJECT_PROTOCOL]++;
            resp_put_error(session_reply(s, RESP_CMD_NONE),
                           fb_bytes_str(resp_parser_error(&s->parser)));
            session_count_reply(r);
            session_end(s);
            break;
        }
    }
out:
    if (s->ending)
        done = n;
    r->stats.bytes_in += done;
    return done;
}

void router_session_output(struct router_session *s, size_t written, size_t pending)
{
    s->router->stats.bytes_out += written;
    s->out_pending = pending;
    if (pending == 0 && s->out.n == 0)
        fb_buf_shrink(&s->out, OUT_KEEP_BYTES);
}

bool router_session_busy(const struct router_session *s)
{
    return s->head != s->tail;
}

size_t router_session_wants(const struct router_session *s, size_t n)
{
    return resp_parser_wants(&s->parser, n);
}
