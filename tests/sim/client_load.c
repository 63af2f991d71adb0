/* What clients ask for: drawn anew for each run, so that some runs are all counters and others all
 * transactions (clients_impl.h). */
#include "tests/sim/clients_impl.h"

#include <stdio.h>

static uint64_t pick(struct client_set *set, uint64_t lo, uint64_t hi)
{
    return sim_range(set->sim, SIM_CLIENT, lo, hi);
}

static bool percent(struct client_set *set, uint32_t p)
{
    return pick(set, 1, 100) <= p;
}

/* --- the run --- */

static void add_keys(struct client_set *set, const struct fb_namespace *ns)
{
    static const char families[] = "snhm";
    uint32_t each = (uint32_t)pick(set, 1, 4);
    for (const char *f = families; *f != 0; f++) {
        if (percent(set, 20))
            continue;
        for (uint32_t i = 0; i < each && set->key_n < KEYS_MAX; i++) {
            struct key_info *k = &set->keys[set->key_n++];
            *k = (struct key_info){.family = *f,
                                   .tag = i % set->tags,
                                   .level = ns->durability,
                                   .value_max = ns->max_value};
            if (strcmp(ns->name, "default") == 0)
                snprintf(k->name, sizeof k->name, "{t%u}%c%u", k->tag, *f, i);
            else
                snprintf(k->name, sizeof k->name, "%.20s:{t%u}%c%u", ns->name, k->tag, *f, i);
        }
    }
}

void load_plan(struct client_set *set)
{
    const struct fb_nsset *all = set->world->namespaces;
    set->tags = (uint32_t)pick(set, 1, 4);
    for (uint32_t i = 0; i < all->count; i++)
        if (!all->ns[i].mapped && all->ns[i].ttl_ms == 0 && !all->ns[i].read_only)
            add_keys(set, &all->ns[i]);
    if (set->key_n == 0) {
        set->key_n = 1;
        set->keys[0] = (struct key_info){.name = "{t0}s0", .family = 's'};
    }
    for (uint32_t op = 0; op < SHADOW_OPS; op++)
        if (percent(set, 75))
            set->weight_sum += set->weight[op] = (uint32_t)pick(set, 1, 20);
    if (set->weight_sum == 0)
        set->weight_sum = set->weight[SHADOW_SET] = 1;
    set->txn_percent = percent(set, 70) ? (uint32_t)pick(set, 1, 30) : 0;
    set->multi_percent = percent(set, 70) ? (uint32_t)pick(set, 1, 15) : 0;
    set->skew = (uint32_t)pick(set, 1, 4);
    set->big_percent = percent(set, 40) ? (uint32_t)pick(set, 1, 10) : 0;
    set->ttl_percent = percent(set, 60) ? (uint32_t)pick(set, 1, 30) : 0;
}

/* --- one command --- */

static const struct key_info *draw_key(struct client_set *set)
{
    uint64_t i = set->key_n - 1;
    for (uint32_t k = 0; k < set->skew; k++) { /* the smallest of several: a few keys are hot */
        uint64_t j = pick(set, 0, set->key_n - 1);
        i = j < i ? j : i;
    }
    return &set->keys[i];
}

static enum shadow_op draw_op(struct client_set *set)
{
    uint64_t at = pick(set, 1, set->weight_sum);
    for (uint32_t op = 0; op < SHADOW_OPS; op++) {
        if (at <= set->weight[op])
            return (enum shadow_op)op;
        at -= set->weight[op];
    }
    return SHADOW_GET;
}

static bool of_family(enum shadow_op op, char family)
{
    switch (op) {
    case SHADOW_GET:
    case SHADOW_STRLEN:
        return family != 'h';
    case SHADOW_SET:
    case SHADOW_SETIF:
    case SHADOW_GETDEL:
        return family == 's' || family == 'm';
    case SHADOW_APPEND:
        return family == 's' || family == 'm';
    case SHADOW_INCRBY:
        return family == 'n' || family == 'm';
    case SHADOW_HGET:
    case SHADOW_HGETALL:
    case SHADOW_HLEN:
    case SHADOW_HSET:
    case SHADOW_HDEL:
    case SHADOW_HINCRBY:
        return family == 'h' || family == 'm';
    default:
        return true;
    }
}

/* Bytes that no other command writes, of a size that is drawn. */
static void draw_value(struct sim_client *c, const struct key_info *k, struct fb_buf *out)
{
    struct client_set *set = c->set;
    size_t size = sim_spread(set->sim, SIM_CLIENT, 1, 300);
    if (percent(set, 2))
        return; /* empty */
    if (percent(set, set->big_percent)) {
        size = sim_spread(set->sim, SIM_CLIENT, 300, 40000);
        if (k->value_max != 0 && k->value_max <= 100000 && percent(set, 30))
            size = k->value_max + pick(set, 0, 1);
    }
    fb_buf_printf(out, "v%u-%llu", c->number, (unsigned long long)++set->unique);
    while (out->n < size)
        fb_buf_put(out, "........................................",
                   size - out->n < 40 ? size - out->n : 40);
}

static uint64_t true_wall_ms(struct client_set *set)
{
    return SIM_WALL_START_MS + sim_now_ns(set->sim) / SIM_MS;
}

static void draw_set(struct sim_client *c, const struct key_info *k, struct shadow_cmd *cmd)
{
    struct client_set *set = c->set;
    draw_value(c, k, &cmd->value);
    if (percent(set, 10))
        cmd->flags |= SHADOW_NX;
    else if (percent(set, 10))
        cmd->flags |= SHADOW_XX;
    if (percent(set, 10))
        cmd->flags |= SHADOW_GIVE_OLD;
    if (percent(set, set->ttl_percent)) {
        bool absolute = percent(set, 50);
        cmd->flags |= absolute ? SHADOW_PXAT : SHADOW_PX;
        cmd->b = (int64_t)sim_spread(set->sim, SIM_CLIENT, 1, 100000);
        if (percent(set, 25)) {
            /* longer than a run, however long the command waits in it; clocks that are not set
             * differ by less */
            cmd->b += 600000;
            if (!sim_plan(set->sim)->on[SIM_FAULT_CLOCK_JUMP])
                cmd->flags |= SHADOW_FUTURE;
        }
        if (absolute)
            cmd->b += (int64_t)true_wall_ms(set) - (int64_t)pick(set, 0, 500);
    } else if (percent(set, 5)) {
        cmd->flags |= SHADOW_KEEPTTL;
    }
}

/* False: not now. */
static bool draw_cmd(struct sim_client *c, const struct key_info *k, enum shadow_op op,
                     struct shadow_cmd *cmd)
{
    struct client_set *set = c->set;
    uint64_t ver;
    const struct shadow *now;
    *cmd = (struct shadow_cmd){.op = op, .value_max = k->value_max};
    snprintf(cmd->key, sizeof cmd->key, "%s", k->name);
    snprintf(cmd->field, sizeof cmd->field, "f%llu", (unsigned long long)pick(set, 0, 3));
    switch (op) {
    case SHADOW_SET:
        draw_set(c, k, cmd);
        break;
    case SHADOW_SETIF:
        draw_value(c, k, &cmd->value);
        if (strcmp(c->seen_key, k->name) == 0)
            cmd->a = c->seen_ver;
        break;
    case SHADOW_APPEND:
    case SHADOW_HSET:
        now = history_newest(set->history, k->name, &ver);
        if (op == SHADOW_APPEND && now != NULL && now->value.n > 3000)
            return false;
        draw_value(c, k, &cmd->value);
        if (cmd->value.n > 500)
            cmd->value.n = 500;
        break;
    case SHADOW_INCRBY:
    case SHADOW_HINCRBY:
        cmd->a = (int64_t)++set->unique; /* by its amount a change tells whose it is */
        break;
    case SHADOW_PEXPIREAT:
        cmd->b = (int64_t)(true_wall_ms(set) + sim_spread(set->sim, SIM_CLIENT, 1, 100000)) -
                 (int64_t)pick(set, 0, 200);
        break;
    case SHADOW_SYNC:
        cmd->b = (int64_t)sim_spread(set->sim, SIM_CLIENT, 1, 8000);
        break;
    default:
        break;
    }
    if (history_has_twin(set->history, cmd, cmd->op == SHADOW_GETDEL)) {
        shadow_cmd_fini(cmd);
        return false;
    }
    return true;
}

static uint8_t level_of(const struct sim_client *c, const struct key_info *k)
{
    uint8_t level = c->level != FB_LEVEL_NONE ? c->level : k->level;
    if (level == FB_LEVEL_NONE)
        level = c->set->world->replicas > 0 ? FB_LEVEL_REPLICATED : FB_LEVEL_LOCAL;
    return level;
}

static void trace_cmd(struct sim_client *c, const struct shadow_cmd *cmd, const char *where)
{
    struct fb_buf b = {0};
    shadow_cmd_text(cmd, &b);
    client_trace(c, "%s%.*s", where, (int)b.n, (const char *)b.p);
    fb_buf_fini(&b);
}

static void put_one(struct sim_client *c, struct shadow_cmd *cmd, uint8_t level, const char *how,
                    uint32_t tries)
{
    struct expect *e;
    shadow_cmd_encode(cmd, &c->out);
    e = client_expect(c, EXPECT_ONE);
    trace_cmd(c, cmd, how);
    e->ops[0] = client_invoke(c, cmd, level);
    e->n = 1;
    e->tries = tries;
}

void load_read(struct sim_client *c, const struct key_info *k)
{
    struct shadow_cmd cmd = {.op = SHADOW_FBGET};
    snprintf(cmd.key, sizeof cmd.key, "%s", k->name);
    put_one(c, &cmd, FB_LEVEL_NONE, "> ", 0);
}

static void one(struct sim_client *c)
{
    for (int tries = 0; tries < 20; tries++) {
        const struct key_info *k = draw_key(c->set);
        enum shadow_op op = draw_op(c->set);
        struct shadow_cmd cmd;
        if (!of_family(op, k->family) && !percent(c->set, 3))
            continue;
        if (!draw_cmd(c, k, op, &cmd))
            continue;
        put_one(c, &cmd, level_of(c, k), "> ", 0);
        return;
    }
    load_read(c, draw_key(c->set));
}

static const struct several {
    enum shadow_op op;
    enum expect_kind kind;
    const char *word;
} severals[] = {{SHADOW_GET, EXPECT_EACH, "MGET"},
                {SHADOW_SET, EXPECT_ALL, "MSET"},
                {SHADOW_DEL, EXPECT_SUM, "DEL"}};

static void put_several(struct sim_client *c, const struct several *what, struct shadow_cmd *cmds,
                        const uint8_t *levels, uint32_t n, uint32_t tries)
{
    bool values = what->kind == EXPECT_ALL;
    struct expect *e;
    char word[24];
    fb_buf_printf(&c->out, "*%u\r\n$%zu\r\n%s\r\n", values ? n * 2 + 1 : n + 1, strlen(what->word),
                  what->word);
    e = client_expect(c, n == 1 && what->kind == EXPECT_SUM ? EXPECT_ONE : what->kind);
    e->n = n;
    e->tries = tries;
    for (uint32_t i = 0; i < n; i++) {
        fb_buf_printf(&c->out, "$%zu\r\n%s\r\n", strlen(cmds[i].key), cmds[i].key);
        if (values) {
            fb_buf_printf(&c->out, "$%zu\r\n", cmds[i].value.n);
            fb_buf_put_bytes(&c->out, fb_buf_view(&cmds[i].value));
            fb_buf_put_str(&c->out, "\r\n");
        }
        snprintf(word, sizeof word, "> %s with ", what->word);
        trace_cmd(c, &cmds[i], i > 0 ? word : tries > 0 ? "> several again: " : "> several: ");
        e->ops[i] = client_invoke(c, &cmds[i], levels[i]);
    }
}

/* Several keys in one command: each once. */
static void several(struct sim_client *c)
{
    struct client_set *set = c->set;
    uint32_t which = (uint32_t)pick(set, 0, 2), n = (uint32_t)pick(set, 2, MULTI_MAX), got = 0;
    struct shadow_cmd cmds[MULTI_MAX];
    uint8_t levels[MULTI_MAX];

    for (uint32_t tries = 0; tries < 3 * n && got < n; tries++) {
        const struct key_info *k = draw_key(set);
        bool again = false;
        for (uint32_t i = 0; i < got; i++)
            again |= strcmp(cmds[i].key, k->name) == 0;
        if (again || (which == 0 && k->family == 'h') ||
            (which == 1 && k->family != 's' && k->family != 'm') ||
            !draw_cmd(c, k, severals[which].op, &cmds[got]))
            continue;
        if (which == 2 && history_has_twin(set->history, &cmds[got], true))
            continue; /* which of the keys was deleted is not told */
        cmds[got].flags = which == 0 ? SHADOW_ONE_OF : 0;
        levels[got++] = level_of(c, k);
    }
    if (got == 0)
        one(c);
    else
        put_several(c, &severals[which], cmds, levels, got, 0);
}

/* What a client that was not told the outcome sends a second time. */
void load_again(struct sim_client *c, struct again *a)
{
    struct client_set *set = c->set;
    uint8_t levels[MULTI_MAX] = {0};
    bool twin = false;
    for (uint32_t i = 0; i < a->n; i++) {
        struct shadow_cmd *cmd = &a->cmds[i];
        for (uint32_t k = 0; k < set->key_n; k++)
            if (strcmp(set->keys[k].name, cmd->key) == 0)
                levels[i] = level_of(c, &set->keys[k]);
        /* which of two deleted the value that it was told is not to be told */
        twin = twin || history_has_twin(set->history, cmd, cmd->op == SHADOW_GETDEL);
        cmd->flags |= SHADOW_AGAIN;
    }
    for (uint32_t i = 0; i < a->n && twin; i++)
        shadow_cmd_fini(&a->cmds[i]);
    if (twin)
        return;
    sim_fault(set->sim, SIM_FAULT_CLIENT_AGAIN);
    if (a->kind == EXPECT_ONE)
        put_one(c, &a->cmds[0], levels[0], "> again: ", a->tries);
    else
        put_several(c, &severals[a->kind == EXPECT_ALL], a->cmds, levels, a->n, a->tries);
}

/* A GROUP of deletes and the like could be that of another transaction: one write more, with bytes
 * of its own, tells whose it is. */
static uint32_t name_it(struct sim_client *c, uint32_t tag, struct shadow_cmd *cmds,
                        uint8_t *levels, uint32_t n)
{
    struct client_set *set = c->set;
    bool nameless = false;
    for (uint32_t i = 0; i < n; i++)
        nameless = nameless || history_nameless(&cmds[i]);
    for (uint32_t tries = 0; nameless && tries < 500; tries++) {
        const struct key_info *k = draw_key(set);
        if (k->tag != tag || (k->family != 's' && k->family != 'm'))
            continue;
        cmds[n] = (struct shadow_cmd){.op = SHADOW_SET, .value_max = k->value_max};
        snprintf(cmds[n].key, sizeof cmds[n].key, "%s", k->name);
        fb_buf_printf(&cmds[n].value, "v%u-%llu", c->number, (unsigned long long)++set->unique);
        levels[n] = level_of(c, k);
        return n + 1;
    }
    return n;
}

/* [WATCH keys] MULTI commands EXEC, all on keys of one tag. */
static void transaction(struct sim_client *c)
{
    struct client_set *set = c->set;
    uint32_t tag = (uint32_t)pick(set, 0, set->tags - 1), want = (uint32_t)pick(set, 1, MULTI_MAX);
    uint32_t n = 0, watch_n = percent(set, 50) ? (uint32_t)pick(set, 1, 2) : 0, watched = 0;
    struct shadow_cmd cmds[MULTI_MAX + 1];
    struct history_watch watches[2];
    struct history_txn *t;
    uint8_t levels[MULTI_MAX + 1];
    char names[2][SHADOW_TEXT_MAX];

    for (uint32_t tries = 0; tries < 60 && (n < want || watched < watch_n); tries++) {
        const struct key_info *k = draw_key(set);
        enum shadow_op op = draw_op(set);
        struct shadow_cmd cmd;
        if (k->tag != tag)
            continue;
        if (watched < watch_n) {
            snprintf(names[watched], sizeof names[0], "%s", k->name);
            watches[watched++] = history_watched(set->history, k->name);
            continue;
        }
        if (op == SHADOW_SYNC || op == SHADOW_EVICT || !of_family(op, k->family) ||
            !draw_cmd(c, k, op, &cmd))
            continue;
        for (uint32_t i = 0; i < n; i++) /* their records could not be told apart */
            if (history_nameless(&cmd) && strcmp(cmds[i].key, cmd.key) == 0)
                op = SHADOW_SYNC;
        if (op == SHADOW_SYNC) {
            shadow_cmd_fini(&cmd);
            continue;
        }
        levels[n] = level_of(c, k);
        cmds[n++] = cmd;
    }
    if (n == 0) {
        one(c);
        return;
    }
    n = name_it(c, tag, cmds, levels, n);
    if (watched > 0)
        fb_buf_printf(&c->out, "*%u\r\n$5\r\nWATCH\r\n", watched + 1);
    for (uint32_t i = 0; i < watched; i++) {
        fb_buf_printf(&c->out, "$%zu\r\n%s\r\n", strlen(names[i]), names[i]);
        client_trace(c, "> WATCH %s", names[i]);
    }
    fb_buf_put_str(&c->out, "*1\r\n$5\r\nMULTI\r\n");
    for (uint32_t i = 0; i < n; i++) {
        shadow_cmd_encode(&cmds[i], &c->out);
        trace_cmd(c, &cmds[i], "> within MULTI: ");
    }
    fb_buf_put_str(&c->out, "*1\r\n$4\r\nEXEC\r\n");
    t = history_txn(set->history, sim_now_ns(set->sim), c->number, c->conn, cmds, n, levels,
                    watches, watched);
    if (watched > 0)
        client_expect(c, EXPECT_WATCH)->txn = t;
    for (uint32_t i = 0; i < n + 1; i++)
        (void)client_expect(c, EXPECT_QUEUED);
    client_expect(c, EXPECT_EXEC)->txn = t;
}

void load_one(struct sim_client *c)
{
    if (percent(c->set, c->set->txn_percent))
        transaction(c);
    else if (percent(c->set, c->set->multi_percent))
        several(c);
    else
        one(c);
}
