/* Clients: connections, pipelines, replies into the history (clients.h). */
#include "tests/sim/clients_impl.h"

#include "tests/sim/node_proc.h"
#include "tests/sim/pg_check.h"
#include "tests/sim/raw.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define GIVE_UP_NS (40 * SIM_S)
#define CALM_COMMANDS 12u

void client_trace(struct sim_client *c, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_trace(c->set->sim, "c%u %s", c->number, text);
}

struct expect *client_expect(struct sim_client *c, enum expect_kind kind)
{
    struct expect *e;
    fb_assert(c->pending_n < FB_COUNT_OF(c->pending));
    e = &c->pending[c->pending_n++];
    *e = (struct expect){.kind = kind, .number = ++c->asked, .sent_ns = sim_now_ns(c->set->sim)};
    return e;
}

struct history_op *client_invoke(struct sim_client *c, struct shadow_cmd *cmd, uint8_t level)
{
    return history_invoke(c->set->history, sim_now_ns(c->set->sim), c->number, c->conn, cmd, level);
}

static void turn_later(struct sim_client *c, uint64_t ns);

static void look_at_clock(struct client_set *set)
{
    uint64_t now_ms = node_proc_wall_ms(set->world);
    /* A clock that is 5 min ahead of PostgreSQL's is not believed (PROTOCOL 14); that one is a few
     * seconds off the truth at most. */
    uint64_t believed_ms = SIM_WALL_START_MS + sim_now_ns(set->sim) / SIM_MS + 290000;
    if (now_ms > believed_ms)
        now_ms = believed_ms;
    history_wall(set->history, now_ms, node_proc_wall_seen_ms(set->world));
    history_wall_set_back(set->history, node_proc_take_set_back_ms(set->world));
}

/* --- replies --- */

static void note_version(struct sim_client *c, const char *key, const struct reply *r)
{
    if (r->type != '*' || r->n != 4 || r->items[1].type != ':')
        return;
    snprintf(c->seen_key, sizeof c->seen_key, "%s", key);
    c->seen_ver = r->items[1].num;
}

static void take_each(struct sim_client *c, struct expect *e, const struct reply *r)
{
    static const struct reply nil = {.type = 'N'};
    uint64_t now = sim_now_ns(c->set->sim);
    for (uint32_t i = 0; i < e->n; i++) {
        if (r->type == '-')
            history_reply(c->set->history, e->ops[i], now, r);
        else if (r->n != e->n)
            sim_violation(c->set->sim, "P2", "client %u: MGET of %u keys has %zu items", c->number,
                          e->n, r->n);
        else
            history_reply(c->set->history, e->ops[i], now,
                          r->items[i].type == 'N' ? &nil : &r->items[i]);
    }
}

static void take_reply(struct sim_client *c, struct expect *e, const struct reply *r)
{
    struct history *h = c->set->history;
    uint64_t now = sim_now_ns(c->set->sim);
    switch (e->kind) {
    case EXPECT_OK:
        if (r->type == '-')
            sim_violation(c->set->sim, "reply", "client %u: %.*s", c->number, (int)r->text.n,
                          (const char *)r->text.p);
        break;
    case EXPECT_ONE:
        history_reply(h, e->ops[0], now, r);
        break;
    case EXPECT_EACH:
        take_each(c, e, r);
        break;
    case EXPECT_ALL:
        for (uint32_t i = 0; i < e->n; i++)
            history_reply(h, e->ops[i], now, r);
        break;
    case EXPECT_SUM:
        history_reply_sum(h, e->ops, e->n, now, r);
        break;
    case EXPECT_WATCH:
        history_txn_watched(h, e->txn);
        break;
    case EXPECT_QUEUED:
        if (r->type != '+' && r->type != '-')
            sim_violation(c->set->sim, "P2", "client %u: a command within MULTI was answered %c",
                          c->number, r->type);
        break;
    case EXPECT_EXEC:
        history_txn_reply(h, e->txn, now, r);
        break;
    }
}

/* A client that retries sends it again: this one, and the next. */
static void note_again(struct sim_client *c, const struct expect *e)
{
    struct again *a;
    if (c->again_n >= c->again_max || e->n == 0 || e->tries + 1 >= TRIES_MAX || c->set->healed ||
        (e->kind != EXPECT_ONE && e->kind != EXPECT_EACH && e->kind != EXPECT_ALL))
        return;
    a = &c->again[c->again_n++];
    *a = (struct again){.kind = e->kind, .n = e->n, .tries = e->tries + 1};
    for (uint32_t i = 0; i < e->n; i++)
        shadow_cmd_copy(&a->cmds[i], history_op_cmd(e->ops[i]));
}

static void drop_again(struct sim_client *c)
{
    for (uint32_t i = 0; i < c->again_n; i++)
        for (uint32_t k = 0; k < c->again[i].n; k++)
            shadow_cmd_fini(&c->again[i].cmds[k]);
    c->again_n = 0;
}

static bool indeterminate(const struct reply *r)
{
    static const char word[] = "INDETERMINATE";
    return r->type == '-' && r->text.n >= sizeof word - 1 &&
           memcmp(r->text.p, word, sizeof word - 1) == 0;
}

static void trace_reply(struct sim_client *c, const struct expect *e, const struct reply *r)
{
    struct fb_buf b = {0}, keys = {0};
    for (uint32_t i = 0; i < e->n; i++)
        fb_buf_printf(&keys, "%s%s", i == 0 ? "" : " ", history_op_key(e->ops[i]));
    if (e->kind == EXPECT_EXEC)
        history_txn_keys(e->txn, &keys);
    reply_text(r, &b);
    if (keys.n > 0) /* QUEUED and the like say nothing */
        client_trace(c, "< %.*s: %.*s after %.3f ms", (int)(keys.n > 200 ? 200 : keys.n),
                     (const char *)keys.p, (int)(b.n > 160 ? 160 : b.n), (const char *)b.p,
                     (double)(sim_now_ns(c->set->sim) - e->sent_ns) / 1e6);
    fb_buf_fini(&b);
    fb_buf_fini(&keys);
}

static void replies(struct sim_client *c)
{
    size_t at = 0, used;
    struct reply r;
    while ((used = reply_parse(c->in.p + at, c->in.n - at, &r)) != 0) {
        struct expect e = c->pending[0];
        char key[SHADOW_TEXT_MAX] = "";
        if (used == SIZE_MAX)
            sim_violation(c->set->sim, "reply", "client %u got what is not RESP", c->number);
        if (c->pending_n == 0)
            sim_violation(c->set->sim, "reply", "client %u got a reply that it did not ask for",
                          c->number);
        if (e.n > 0)
            snprintf(key, sizeof key, "%s", history_op_key(e.ops[0]));
        trace_reply(c, &e, &r);
        c->pending_n--;
        memmove(&c->pending[0], &c->pending[1], c->pending_n * sizeof c->pending[0]);
        look_at_clock(c->set);
        if (c->again_max > 0 && indeterminate(&r)) {
            note_again(c, &e);
            c->reconnects = c->reconnects || sim_chance(c->set->sim, SIM_CLIENT, 500000);
        }
        take_reply(c, &e, &r);
        if (e.kind == EXPECT_ONE)
            note_version(c, key, &r);
        reply_fini(&r);
        at += used;
    }
    fb_buf_consume(&c->in, at);
}

/* --- connections --- */

/* The connection is no more: nobody knows what became of what was not answered. */
static void forget_all(struct sim_client *c)
{
    struct history *h = c->set->history;
    uint64_t now = sim_now_ns(c->set->sim);
    for (uint32_t i = 0; i < c->pending_n; i++) {
        struct expect *e = &c->pending[i];
        note_again(c, e);
        for (uint32_t k = 0; k < e->n; k++)
            history_unknown(h, e->ops[k], now);
        if (e->kind == EXPECT_EXEC)
            history_txn_unknown(h, e->txn, now);
    }
    c->pending_n = 0;
    c->tcp = NULL;
    c->paused = c->reconnects = false;
    fb_buf_clear(&c->in);
    fb_buf_clear(&c->out);
}

static void on_received(void *arg, const uint8_t *p, size_t n)
{
    struct sim_client *c = arg;
    fb_buf_put(&c->in, p, n);
    replies(c);
    if (c->pending_n == 0) /* no need to wait for the next turn */
        turn_later(c, sim_spread(c->set->sim, SIM_CLIENT, SIM_US, c->set->gap_ns));
}

static void on_closed(void *arg, const char *why)
{
    struct sim_client *c = arg;
    client_trace(c, "connection %s with %u unanswered", why, c->pending_n);
    forget_all(c);
    turn_later(c, sim_spread(c->set->sim, SIM_CLIENT, SIM_MS, 500 * SIM_MS));
}

static void vanish(struct sim_client *c, const char *why)
{
    client_trace(c, "%s with %u unanswered", why, c->pending_n);
    router_tcp_close(c->tcp);
    forget_all(c);
}

static void connect_somewhere(struct sim_client *c)
{
    struct client_set *set = c->set;
    struct router_tcp_client callbacks = {.arg = c, .received = on_received, .closed = on_closed};
    static const char *const levels[] = {"NONE", "LOCAL", "REPLICATED", "DURABLE", "DATABASE"};
    c->router = (uint32_t)sim_range(set->sim, SIM_CLIENT, 0, router_count(set->world) - 1);
    c->tcp = router_tcp_connect(set->world, c->router, &callbacks);
    if (c->tcp == NULL)
        return;
    c->conn = ++set->unique;
    c->level = FB_LEVEL_NONE;
    client_trace(c, "connects to r%u", c->router + 1);
    if (sim_chance(set->sim, SIM_CLIENT, 300000)) {
        fb_buf_put_str(&c->out, "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
        (void)client_expect(c, EXPECT_OK);
    }
    if (sim_chance(set->sim, SIM_CLIENT, 500000)) {
        c->level = (uint8_t)sim_range(set->sim, SIM_CLIENT, FB_LEVEL_LOCAL, FB_LEVEL_DATABASE);
        fb_buf_printf(&c->out, "*2\r\n$10\r\nFB.REQUIRE\r\n$%zu\r\n%s\r\n",
                      strlen(levels[c->level]), levels[c->level]);
        (void)client_expect(c, EXPECT_OK);
    }
}

/* --- turns --- */

static void send_some(struct sim_client *c)
{
    struct client_set *set = c->set;
    uint32_t burst = (uint32_t)sim_range(set->sim, SIM_CLIENT, 1, c->depth);
    look_at_clock(set);
    for (uint32_t i = 0; i < c->again_n; i++)
        load_again(c, &c->again[i]);
    c->again_n = 0;
    while (burst-- > 0 && c->pending_n < DEPTH_MAX && c->sent < set->quota && !set->healed) {
        load_one(c);
        c->sent++;
    }
    if (set->healed && c->pending_n == 0) {
        if (c->calm_left > 0) {
            c->calm_left--;
            load_one(c);
        } else if (c->final_at < set->key_n) {
            load_read(c, &set->keys[c->final_at]);
            c->final_at += set->n;
        } else {
            c->done = true;
        }
    }
    router_tcp_send(c->tcp, fb_buf_view(&c->out));
    fb_buf_clear(&c->out);
}

static void slow_ev(void *arg, uint64_t conn)
{
    struct sim_client *c = arg;
    if (c->tcp == NULL || c->conn != conn)
        return;
    c->paused = false;
    router_tcp_pause(c->tcp, false);
}

static void turn_ev(void *arg, uint64_t tag)
{
    struct sim_client *c = arg;
    struct client_set *set = c->set;
    uint64_t now = sim_now_ns(set->sim);
    if (tag != c->turn_tag)
        return;
    if (c->tcp != NULL && c->pending_n > 0 &&
        sim_strikes(set->sim, SIM_CLIENT, SIM_FAULT_CLIENT_GONE, 20000)) {
        vanish(c, "vanishes");
    } else if (c->tcp != NULL && c->pending_n > 0 && now - c->pending[0].sent_ns > GIVE_UP_NS) {
        vanish(c, "gives up");
    } else if (c->tcp != NULL && c->reconnects) {
        vanish(c, "starts over");
    } else if (c->tcp != NULL && !c->paused &&
               sim_strikes(set->sim, SIM_CLIENT, SIM_FAULT_CLIENT_SLOW, 10000)) {
        c->paused = true;
        router_tcp_pause(c->tcp, true);
        sim_after(set->sim, sim_spread(set->sim, SIM_CLIENT, SIM_MS, 5 * SIM_S), slow_ev, c,
                  c->conn);
    }
    if (c->tcp == NULL && !c->done)
        connect_somewhere(c);
    if (c->tcp != NULL && !c->paused && !c->done)
        send_some(c);
    if (!c->done)
        turn_later(c, c->tcp == NULL ? sim_spread(set->sim, SIM_CLIENT, SIM_MS, 300 * SIM_MS)
                                     : sim_range(set->sim, SIM_CLIENT, 1, 2 * set->gap_ns));
}

static void turn_later(struct sim_client *c, uint64_t ns)
{
    sim_after(c->set->sim, ns, turn_ev, c, ++c->turn_tag);
}

/* --- the module --- */

static void history_violation(void *arg, const char *what, const char *text)
{
    struct client_set *set = arg;
    sim_violation(set->sim, what, "%s", text);
}

static void history_trace(void *arg, const char *line)
{
    struct client_set *set = arg;
    sim_trace(set->sim, "%s", line);
}

/* Rows of tables are written by SQL as well. */
static bool others_write(void *arg, const char *key)
{
    const struct client_set *set = arg;
    uint8_t ns_len;
    uint32_t ns = fb_nsset_of_key(set->world->namespaces, fb_bytes_str(key), &ns_len);
    return set->world->namespaces->ns[ns].mapped;
}

static void on_record(void *arg, const struct fb_record *r)
{
    struct client_set *set = arg;
    look_at_clock(set);
    history_record(set->history, sim_now_ns(set->sim), r);
}

/* It was on its way to PostgreSQL when the disk was lost, and got there. */
static void on_revived(void *arg, const char *key)
{
    struct client_set *set = arg;
    history_others(set->history, key);
}

static void on_recovered(void *arg, uint16_t part, uint64_t last_ver, enum node_loss loss)
{
    static const enum history_loss of[] = {[NODE_LOSS_NOTHING] = HISTORY_KILLED,
                                           [NODE_LOSS_UNSYNCED] = HISTORY_POWER,
                                           [NODE_LOSS_ANY] = HISTORY_DISK,
                                           [NODE_LOSS_LEADER] = HISTORY_LEADER};
    struct client_set *set = arg;
    history_recovered(set->history, sim_now_ns(set->sim), part, last_ver, of[loss]);
}

static void on_opened(void *arg, uint16_t part)
{
    struct client_set *set = arg;
    history_opened(set->history, sim_now_ns(set->sim), part);
}

struct history *clients_history(const struct world *w)
{
    return ((struct client_set *)w->clients)->history;
}

static uint64_t row_version(void *arg, const char *key)
{
    (void)arg;
    return pg_check_row_version(fb_bytes_str(key));
}

static bool held(void *arg, uint16_t part, uint64_t rec_ver)
{
    const struct client_set *set = arg;
    return node_proc_holders(set->world, part, rec_ver) > 0;
}

static void rows_lost_ev(void *arg, uint64_t tag)
{
    struct client_set *set = arg;
    (void)tag;
    if (set->history != NULL)
        history_rows_lost(set->history, sim_now_ns(set->sim));
}

static void row_changed(void *arg, enum pg_table t, struct fb_bytes key, const struct pg_image *was,
                        const struct pg_image *now, bool lost)
{
    struct client_set *set = arg;
    (void)t;
    (void)key;
    (void)was;
    (void)now;
    if (lost)
        sim_after(set->sim, 0, rows_lost_ev, set, 0);
}

/* What PostgreSQL has in the end is what the history ends with. */
static void check_row(void *arg, const struct history_final *f)
{
    struct client_set *set = arg;
    struct raw_row found = {0}, *row = &found;
    bool parked = pg_model_key(set->world, f->key, row);
    uint64_t now_ms = node_proc_wall_max_ms(set->world);
    struct shadow s = {.kind = row->there ? row->kind : FB_KIND_NONE,
                       .expires_ms = row->expires_ms,
                       .value = row->value};
    struct fb_buf a = {0}, b = {0};
    bool due = f->state->kind != FB_KIND_NONE && f->state->expires_ms != 0 &&
               (uint64_t)f->state->expires_ms <= now_ms;
    if (f->others_write || parked || shadow_equal(f->state, &s) || (due && !row->there))
        return;
    shadow_text(f->state, &a);
    shadow_text(&s, &b);
    sim_violation(set->sim, "I36", "%s: the history ends with %.*s, PostgreSQL has %.*s", f->key,
                  (int)a.n, (const char *)a.p, (int)b.n, (const char *)b.p);
}

static void module_start(struct world *w)
{
    struct client_set *set = fb_xcalloc(1, sizeof *set);
    struct history_config config = {.arg = set,
                                    .partitions = w->partitions,
                                    .violation = history_violation,
                                    .row_version = row_version,
                                    .others_write = others_write,
                                    .held = w->replicas > 0 ? held : NULL,
                                    .trace = history_trace};
    const struct sim_plan *plan = sim_plan(w->sim);
    w->clients = set;
    set->world = w;
    set->sim = w->sim;
    set->history = history_new(&config);
    pg_check_on_revived(on_revived, set);
    pg_model_observe(w->pg, &(struct pg_observer){.arg = set, .changed = row_changed});
    ledger_observe(w->ledger, &(struct ledger_observer){.arg = set,
                                                        .record = on_record,
                                                        .recovered = on_recovered,
                                                        .opened = on_opened});
    load_plan(set);
    set->n = (uint32_t)sim_range(w->sim, SIM_CLIENT, 1, CLIENTS_MAX);
    set->quota = plan->ops / set->n + 1;
    for (uint32_t i = 0; i < set->n; i++) {
        struct sim_client *c = &set->c[i];
        c->set = set;
        c->number = i;
        c->depth = (uint32_t)sim_spread(w->sim, SIM_CLIENT, 1, DEPTH_MAX);
        if (plan->on[SIM_FAULT_CLIENT_AGAIN] && sim_chance(w->sim, SIM_CLIENT, 700000))
            c->again_max = (uint32_t)sim_range(w->sim, SIM_CLIENT, 1, AGAIN_MAX);
        c->calm_left = CALM_COMMANDS;
        c->final_at = i;
        turn_later(c, sim_range(w->sim, SIM_CLIENT, SIM_MS, 200 * SIM_MS));
    }
    /* so that the quota lasts about as long as the storm */
    set->gap_ns = plan->storm_ns / (set->quota + 1);
    if (set->gap_ns < 100 * SIM_US)
        set->gap_ns = 100 * SIM_US;
}

static void module_heal(struct world *w)
{
    struct client_set *set = w->clients;
    set->healed = true;
    set->gap_ns = 20 * SIM_MS;
    for (uint32_t i = 0; i < set->n; i++)
        turn_later(&set->c[i], SIM_MS);
}

static bool module_settled(struct world *w, char *why, size_t n)
{
    struct client_set *set = w->clients;
    for (uint32_t i = 0; i < set->n; i++) {
        const struct sim_client *c = &set->c[i];
        if (!c->done) {
            snprintf(why, n, "client %u: %u unanswered, %u commands to send, key %u of %u to read",
                     i, c->pending_n, c->calm_left, c->final_at, set->key_n);
            return false;
        }
    }
    return true;
}

static void module_finish(struct world *w)
{
    const struct history_counts *n = history_counts(clients_history(w));
    history_each(clients_history(w), check_row, w->clients);
    sim_trace(w->sim,
              "history %llu commands %llu acknowledged %llu unknown %llu refused %llu records %llu "
              "lost",
              (unsigned long long)n->commands, (unsigned long long)n->acknowledged,
              (unsigned long long)n->unknown, (unsigned long long)n->refused,
              (unsigned long long)n->records, (unsigned long long)n->lost_records);
}

static void module_stop(struct world *w)
{
    struct client_set *set = w->clients;
    for (uint32_t i = 0; i < set->n; i++) {
        if (set->c[i].tcp != NULL)
            vanish(&set->c[i], "ends");
        drop_again(&set->c[i]);
        set->c[i].turn_tag++;
        fb_buf_fini(&set->c[i].in);
        fb_buf_fini(&set->c[i].out);
    }
    history_free(set->history);
    set->history = NULL;
    free(set);
    w->clients = NULL;
}

const struct world_module clients_module = {.name = "clients",
                                            .start = module_start,
                                            .heal = module_heal,
                                            .settled = module_settled,
                                            .finish = module_finish,
                                            .stop = module_stop};
