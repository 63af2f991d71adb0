/* Virtual time, events, random streams, trace (kernel.h). */
#include "tests/sim/kernel.h"

#include "proto/base/hash.h"
#include "proto/base/mutant.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRACE_LINES 400u
#define TRACE_BYTES 240u

struct event {
    uint64_t at_ns, order;
    sim_fn fn;
    void *arg;
    uint64_t tag;
};

struct stream {
    uint64_t s[4]; /* xoshiro256** */
};

struct sim {
    struct sim_config config;
    struct sim_plan plan;
    uint64_t now_ns, next_order, events;
    struct event *heap;
    size_t n, cap;
    struct stream streams[SIM_STREAM_COUNT];
    uint64_t *counts;
    bool healed;
    uint64_t hash, lines;
    char tail[TRACE_LINES][TRACE_BYTES];
};

static struct sim *the_sim; /* for sim_crash_report */

static const struct {
    const char *text;
    uint32_t percent;
} fault_list[] = {
#define X(name, text, percent) {text, percent},
    SIM_FAULT_LIST(X)
#undef X
};

static const char *const stream_names[] = {
#define X(name) #name,
    SIM_STREAM_LIST(X)
#undef X
};

const char *sim_fault_name(enum sim_fault kind)
{
    return fault_list[kind].text;
}

/* ---- random numbers ---- */

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t sim_rand(struct sim *s, enum sim_stream st)
{
    uint64_t *v = s->streams[st].s;
    uint64_t out = rotl(v[1] * 5, 7) * 9, t = v[1] << 17;
    v[2] ^= v[0];
    v[3] ^= v[1];
    v[1] ^= v[2];
    v[0] ^= v[3];
    v[2] ^= t;
    v[3] = rotl(v[3], 45);
    return out;
}

uint64_t sim_range(struct sim *s, enum sim_stream st, uint64_t lo, uint64_t hi)
{
    fb_assert(lo <= hi);
    if (hi - lo == UINT64_MAX)
        return sim_rand(s, st);
    return lo + (uint64_t)(((unsigned __int128)sim_rand(s, st) * (hi - lo + 1)) >> 64);
}

bool sim_chance(struct sim *s, enum sim_stream st, uint32_t per_million)
{
    return sim_range(s, st, 0, 999999) < per_million;
}

uint64_t sim_spread(struct sim *s, enum sim_stream st, uint64_t lo, uint64_t hi)
{
    uint64_t top = lo;
    uint32_t doublings = 0;
    fb_assert(lo > 0 && lo <= hi);
    while (top <= hi / 2) {
        top *= 2;
        doublings++;
    }
    uint64_t from = lo << sim_range(s, st, 0, doublings);
    return sim_range(s, st, from, from <= hi / 2 ? from * 2 : hi);
}

/* ---- faults ---- */

bool sim_fault_on(const struct sim *s, enum sim_fault kind)
{
    return s->plan.on[kind] && !s->healed;
}

void sim_fault(struct sim *s, enum sim_fault kind)
{
    s->counts[kind]++;
}

bool sim_strikes(struct sim *s, enum sim_stream st, enum sim_fault kind, uint32_t per_million)
{
    if (!sim_fault_on(s, kind))
        return false;
    uint64_t scaled = (uint64_t)per_million * s->plan.heat / 30;
    if (sim_range(s, st, 0, 999999) >= scaled)
        return false;
    sim_fault(s, kind);
    return true;
}

void sim_heal(struct sim *s)
{
    s->healed = true;
    sim_trace(s, "world heals");
}

bool sim_healed(const struct sim *s)
{
    return s->healed;
}

bool sim_dangerous(const struct sim *s, const char *danger)
{
    return s->plan.danger != NULL && strcmp(s->plan.danger, danger) == 0;
}

static void draw_plan(struct sim *s)
{
    static const char *const dangers[] = {"openat",    "fsync",    "fdatasync", "pwrite",
                                          "fallocate", "renameat", "unlinkat"};
    static const char *const behind[] = {SIM_DANGER_FEED, SIM_DANGER_PARK, SIM_DANGER_START,
                                         SIM_DANGER_SNAPSHOT};
    static const char *const lingers[] = {"pwritev", "fdatasync", "pwrite", "openat"};
    struct sim_plan *p = &s->plan;
    bool quiet = sim_chance(s, SIM_PLAN, 30000); /* some runs have no fault at all */
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        if (i >= SIM_FAULT_NET_CUT && !s->config.copies)
            continue;
        p->on[i] = !quiet && sim_chance(s, SIM_PLAN, fault_list[i].percent * 10000);
        if (s->config.fault_on != NULL)
            p->on[i] = s->config.fault_on[i];
    }
    if (s->config.copies) /* who has lost what he promised to keep needs a person to go on */
        p->on[SIM_FAULT_DISK_LIE] = p->on[SIM_FAULT_DISK_GONE] = false;
    p->heat = (uint32_t)sim_spread(s, SIM_PLAN, 4, 100);
    p->storm_ns = sim_range(s, SIM_PLAN, 5, 40) * SIM_S;
    /* a client that waits for level database, one command after the other, has 12 s to wait for
     * each where a standby may be 10 s behind */
    p->calm_ns = 600 * SIM_S;
    p->ops = (uint32_t)sim_spread(s, SIM_PLAN, 150, 1500);
    if (sim_chance(s, SIM_PLAN, 300000)) {
        p->danger = dangers[sim_range(s, SIM_PLAN, 0, FB_COUNT_OF(dangers) - 1)];
    } else if (sim_chance(s, SIM_PLAN, 400000)) {
        p->danger = behind[sim_range(s, SIM_PLAN, 0, FB_COUNT_OF(behind) - 1)];
        /* dense: something has always just been written */
        p->storm_ns = sim_range(s, SIM_PLAN, 3, 12) * SIM_S;
        p->ops *= 2;
        if (!quiet && s->config.fault_on == NULL)
            p->on[SIM_FAULT_NODE_POWER] = true;
    }
    if (sim_chance(s, SIM_PLAN, 400000))
        p->linger = lingers[sim_range(s, SIM_PLAN, 0, FB_COUNT_OF(lingers) - 1)];
    if (p->danger == behind[0] || p->danger == behind[1])
        p->linger = "fdatasync"; /* what is promised too early is promised before this */
    if (p->danger == behind[3])
        /* and what a snapshot shows is written meanwhile, or waits to be */
        p->linger = sim_chance(s, SIM_PLAN, 500000) ? "pwrite" : "pwritev";
}

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_at(struct sim *s, uint64_t at_ns, sim_fn fn, void *arg, uint64_t tag)
{
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 1024 : s->cap * 2;
        s->heap = fb_xrealloc(s->heap, s->cap * sizeof *s->heap);
    }
    struct event e = {at_ns < s->now_ns ? s->now_ns : at_ns, s->next_order++, fn, arg, tag};
    size_t i = s->n++;
    while (i > 0 && before(&e, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = e;
}

void sim_after(struct sim *s, uint64_t delay_ns, sim_fn fn, void *arg, uint64_t tag)
{
    sim_at(s, s->now_ns + delay_ns, fn, arg, tag);
}

static struct event pop(struct sim *s)
{
    struct event top = s->heap[0], last = s->heap[--s->n];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= s->n)
            break;
        if (c + 1 < s->n && before(&s->heap[c + 1], &s->heap[c]))
            c++;
        if (!before(&s->heap[c], &last))
            break;
        s->heap[i] = s->heap[c];
        i = c;
    }
    s->heap[i] = last;
    return top;
}

bool sim_run(struct sim *s, uint64_t until_ns, bool (*done)(void *arg), void *arg)
{
    while (s->n > 0 && s->heap[0].at_ns <= until_ns) {
        struct event e = pop(s);
        fb_assert(e.at_ns >= s->now_ns);
        s->now_ns = e.at_ns;
        s->events++;
        e.fn(e.arg, e.tag);
        if (done != NULL && done(arg))
            return true;
    }
    if (until_ns > s->now_ns)
        s->now_ns = until_ns;
    return false;
}

uint64_t sim_now_ns(const struct sim *s)
{
    return s->now_ns;
}

uint64_t sim_events(const struct sim *s)
{
    return s->events;
}

/* ---- making ---- */

struct sim *sim_new(const struct sim_config *config, uint64_t *counts)
{
    struct sim *s = fb_xcalloc(1, sizeof *s);
    s->config = *config;
    s->counts = counts;
    for (int i = 0; i < SIM_STREAM_COUNT; i++) {
        uint64_t x = fb_hash64(stream_names[i], strlen(stream_names[i]), config->seed);
        for (int k = 0; k < 4; k++)
            s->streams[i].s[k] = splitmix(&x);
    }
    draw_plan(s);
    the_sim = s;
    return s;
}

void sim_free(struct sim *s)
{
    if (s == NULL)
        return;
    the_sim = NULL;
    free(s->heap);
    free(s);
}

uint64_t sim_seed(const struct sim *s)
{
    return s->config.seed;
}

bool sim_plain(const struct sim *s)
{
    return s->config.plain;
}

bool sim_copies(const struct sim *s)
{
    return s->config.copies;
}

const struct sim_plan *sim_plan(const struct sim *s)
{
    return &s->plan;
}

/* ---- trace ---- */

static bool key_char(char c)
{
    return isalnum((unsigned char)c) || (c != 0 && strchr("_:{}-.", c) != NULL);
}

/* Does a line of the trace belong to the story of `key`? It names it, or says what befell a
 * process, a disk or a client's connection. */
static bool of_story(const char *text, const char *key)
{
    static const char *const life[] = {
        " starts",     " is killed",     " loses power",       " exits",
        " stops",      " is paused",     " goes on",           "disk ",
        "operator ",   " clock is set",  " vanishes",          " gives up",
        " unanswered", " connects to r", " is connected to n", " connection to n"};
    size_t n = strlen(key);
    for (const char *at = strstr(text, key); at != NULL; at = strstr(at + 1, key))
        if ((at == text || !key_char(at[-1])) && !key_char(at[n]))
            return true;
    if (strstr(text, " > ") != NULL || strstr(text, " < ") != NULL || strncmp(text, "log ", 4) == 0)
        return false;
    for (size_t i = 0; i < FB_COUNT_OF(life); i++)
        if (strstr(text, life[i]) != NULL)
            return true;
    return false;
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
    char *line = s->tail[s->lines++ % TRACE_LINES];
    int head =
        snprintf(line, TRACE_BYTES, "%6llu.%06llu  ", (unsigned long long)(s->now_ns / SIM_S),
                 (unsigned long long)(s->now_ns % SIM_S / SIM_US));
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + head, TRACE_BYTES - (size_t)head, fmt, ap);
    va_end(ap);
    size_t len = (size_t)head + (size_t)(n < 0 ? 0 : n);
    if (len >= TRACE_BYTES)
        len = TRACE_BYTES - 1;
    s->hash = fb_hash64(line, len, s->hash);
    if (s->config.trace || (s->config.key != NULL && of_story(line + head, s->config.key)))
        puts(line);
}

uint64_t sim_trace_hash(const struct sim *s)
{
    return s->hash;
}

static void print_end(struct sim *s)
{
    uint64_t from = s->lines > TRACE_LINES ? s->lines - TRACE_LINES : 0;
    if (!s->config.trace && s->config.key == NULL)
        for (uint64_t i = from; i < s->lines; i++)
            puts(s->tail[i % TRACE_LINES]);
    printf("faults of this run:");
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        if (s->counts[i] > 0)
            printf(" %s %llu", fault_list[i].text, (unsigned long long)s->counts[i]);
    printf("\n");
}

static void print_repeat(struct sim *s)
{
    printf("seed %llu, commit %s, at %llu.%06llu s of virtual time, %s\n"
           "to repeat it: forebay-sim%s --seed %llu%s%s --trace\n",
           (unsigned long long)s->config.seed, sim_commit, (unsigned long long)(s->now_ns / SIM_S),
           (unsigned long long)(s->now_ns % SIM_S / SIM_US),
           s->healed ? "faults had stopped" : "while faults struck",
           s->config.copies ? " --copies" : "", (unsigned long long)s->config.seed,
           s->config.mutant != NULL ? " --mutant " : "",
           s->config.mutant != NULL ? s->config.mutant : "");
    fflush(stdout);
}

void sim_violation(struct sim *s, const char *what, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    print_end(s);
    printf("VIOLATION %s: %s\n", what, text);
    print_repeat(s);
    _exit(3);
}

void sim_crash_report(const char *what)
{
    struct sim *s = the_sim;
    if (s == NULL)
        return;
    the_sim = NULL;
    print_end(s);
    printf("VIOLATION crash: the code under test ended with %s (see stderr)\n", what);
    print_repeat(s);
}
