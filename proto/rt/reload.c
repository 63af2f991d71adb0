/* Reload, and what is known of the last one. */
#include "proto/rt/reload.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/rt/admin.h"
#include "proto/rt/metrics.h"
#include "proto/rt/process.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t last_mtx = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool ok;             /* true too before the first: the start took its configuration */
    uint64_t at_ms;      /* 0 = none yet */
    uint64_t success_ms; /* of the start, then of the last that was taken over */
    char problem[600];   /* the first one */
} last;                  /* last_mtx */
static struct fb_counter *taken, *refused;

static void gauge_success(void *arg, struct fb_buf *out)
{
    (void)arg;
    pthread_mutex_lock(&last_mtx);
    fb_gauge_emit(out, "config_last_reload_successful", NULL, last.ok ? 1 : 0);
    fb_gauge_emit(out, "config_last_reload_success_timestamp_seconds", NULL,
                  (double)last.success_ms / 1e3);
    pthread_mutex_unlock(&last_mtx);
}

void fb_reload_setup(void)
{
    const char *help = "Reloads of the process file (SIGHUP), by what they came to.";

    last.ok = true;
    last.success_ms = fb_wall_ms();
    taken = fb_counter_register("config_reloads_total", "result=\"ok\"", help);
    refused = fb_counter_register("config_reloads_total", "result=\"refused\"", help);
    fb_gauge_register("config_last_reload_successful",
                      "1 unless the last reload of the process file was refused.", gauge_success,
                      NULL);
    fb_gauge_register("config_last_reload_success_timestamp_seconds",
                      "When the process file in force was read.", gauge_success, NULL);
}

/* Calls `fn` with each line, NUL-terminated. */
static void each_line(struct fb_buf *text, void (*fn)(const char *line))
{
    char *save = NULL;

    fb_buf_put_u8(text, 0);
    for (char *s = strtok_r((char *)text->p, "\n", &save); s != NULL;
         s = strtok_r(NULL, "\n", &save))
        fn(s);
}

static void log_problem(const char *line)
{
    pthread_mutex_lock(&last_mtx);
    if (last.problem[0] == '\0')
        (void)snprintf(last.problem, sizeof(last.problem), "%s", line);
    pthread_mutex_unlock(&last_mtx);
    FB_LOG(ERROR, "reload refused, nothing was changed", FB_KS("problem", line));
}

static void log_change(const char *line)
{
    FB_LOG(INFO, "reloaded", FB_KS("change", line));
}

bool fb_reload(struct fb_options **running, int argc, char **argv,
               const struct fb_reload_hooks *hooks)
{
    struct fb_options *next = NULL;
    struct fb_buf changes = {0}, problems = {0};
    struct fb_err err = {0};
    enum fb_status st = fb_options_reload(*running, argc, argv, &next, &changes, &problems);
    bool ok;

    if (st == FB_OK)
        st = fb_process_check(next, &err);
    if (st == FB_OK && hooks->prepare != NULL)
        st = hooks->prepare(hooks->arg, next, &err);
    if (st != FB_OK && problems.n == 0)
        fb_buf_printf(&problems, "%s\n", err.msg[0] != '\0' ? err.msg : fb_status_text(st));
    ok = st == FB_OK;

    pthread_mutex_lock(&last_mtx);
    last.ok = ok;
    last.at_ms = fb_wall_ms();
    last.problem[0] = '\0';
    if (ok)
        last.success_ms = last.at_ms;
    pthread_mutex_unlock(&last_mtx);
    if (ok) {
        fb_process_apply(next);
        if (hooks->commit != NULL)
            hooks->commit(hooks->arg, next);
        each_line(&changes, log_change);
        FB_LOG0(INFO, "configuration reloaded");
        fb_options_free(*running);
        *running = next;
    } else {
        each_line(&problems, log_problem);
        fb_options_free(next);
    }
    fb_counter_add(ok ? taken : refused, 1); /* last: who waits for it sees the rest done */
    fb_buf_fini(&changes);
    fb_buf_fini(&problems);
    return ok;
}

void fb_reload_status(struct fb_buf *json)
{
    pthread_mutex_lock(&last_mtx);
    fb_buf_printf(json, "{\"result\":\"%s\",\"at_ms\":%llu,\"problem\":",
                  last.at_ms == 0 ? "none yet"
                  : last.ok       ? "ok"
                                  : "refused",
                  (unsigned long long)last.at_ms);
    fb_json_string(json, last.problem);
    pthread_mutex_unlock(&last_mtx);
    fb_buf_put_u8(json, '}');
}
