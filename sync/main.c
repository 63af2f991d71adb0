/* forebay-sync: takes changes from the nodes to PostgreSQL in batches, and rows from PostgreSQL to
 * the nodes on a miss. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/coord/entry.h"
#include "proto/rt/admin.h"
#include "proto/rt/process.h"
#include "sync/io/conninfo.h"
#include "sync/io/metrics.h"
#include "sync/io/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_S 5u
#define STATEMENT_TIMEOUT_MS 60000u
#define LOCK_TIMEOUT_MS 1000u /* the others in the transaction wait along */
#define PROBLEM_BYTES 512u

static const struct fb_option sync_options[] = {
    {.section = "process",
     .key = "name",
     .type = FB_OPT_TEXT,
     .help = "Name of this process, unique in the cluster."},
    {.section = "process",
     .key = "coordinator",
     .type = FB_OPT_TEXT,
     .help = "Coordinator URL: file:///directory, or etcd://host:port,host:port/cluster."},
    {.section = "process",
     .key = "zone",
     .type = FB_OPT_TEXT,
     .default_value = "",
     .help = "Failure zone."},
    FB_PROCESS_OPTIONS,
    {.section = "sync",
     .key = "conninfo_file",
     .type = FB_OPT_TEXT,
     .reloadable = true,
     .help = "File with the libpq connection string (keep it unreadable for others)."},
    {.section = "sync",
     .key = "listen",
     .type = FB_OPT_TEXT,
     .default_value = "tcp://127.0.0.1:0",
     .help = "URL where forebayctl reaches this process; port 0 picks a free one."},
    {.section = "sync",
     .key = "apply_connections",
     .type = FB_OPT_UINT,
     .default_value = "1",
     .min = 1,
     .max = SYNC_LANES_MAX,
     .help = "PostgreSQL connections that write batches."},
    {.section = "sync",
     .key = "load_connections",
     .type = FB_OPT_UINT,
     .default_value = "1",
     .min = 1,
     .max = SYNC_LOADERS_MAX,
     .help = "PostgreSQL connections that answer misses."},
    {.section = "admin",
     .key = "listen",
     .type = FB_OPT_TEXT,
     .default_value = "127.0.0.1:9402",
     .help = "host:port of /livez /readyz /metrics /statusz."},
};
static const char *const all_sections[] = {"process", "node", "router", "sync", "admin", NULL};

/* All that main has. Threads may use it until the process has ended, whatever a start came to, so
 * it is given back after a clean stop only. */
struct program {
    struct sync_process process;
    struct fb_options *options;
    struct fb_buf conninfo;
    struct fb_buf next_conninfo; /* what a reload has read, main thread */
};
static struct program *volatile the_program; /* for who looks for leaks; read by nobody else */

static bool ready(void *arg, struct fb_buf *why)
{
    struct sync_process *p = arg;

    if (atomic_load(&p->db_up))
        return true;
    pthread_mutex_lock(&p->mtx);
    fb_buf_put_str(why,
                   p->db_problem[0] != '\0' ? p->db_problem : "PostgreSQL is not connected yet");
    pthread_mutex_unlock(&p->mtx);
    return false;
}

static void status(void *arg, struct fb_buf *json)
{
    struct sync_process *p = arg;

    pthread_mutex_lock(&p->mtx);
    if (p->status.n > 0)
        fb_buf_put_bytes(json, fb_buf_view(&p->status));
    else
        fb_buf_put_str(json, "{}");
    pthread_mutex_unlock(&p->mtx);
}

static int stop_with(const char *what, const struct fb_err *err)
{
    FB_LOG(ERROR, what, FB_KS("error", err->msg[0] != '\0' ? err->msg : fb_status_text(err->code)));
    return EXIT_FAILURE;
}

/* Before there is anything to log about: one line for the one who starts it. */
static void complain(const char *text)
{
    (void)fprintf(stderr, "forebay-sync: %s\n", text);
}

/* The first problem pg_check tells. */
static void keep_problem(void *arg, int level, const char *text)
{
    char *first = arg;

    if (level == 2 && first[0] == '\0')
        (void)snprintf(first, PROBLEM_BYTES, "%s", text);
}

/* What can be known to be wrong stops the start; a PostgreSQL that is merely away does not. False:
 * problem says what. */
static bool check_database(const struct pg_config *config, char problem[PROBLEM_BYTES])
{
    static const struct fb_nsset none;
    struct pg *pg = pg_new(config);
    struct pg_error err = {.class = PG_OK};
    bool fatal = false;

    if (pg_connect(pg, &fatal, &err) != PG_OK) {
        if (fatal)
            (void)snprintf(problem, PROBLEM_BYTES, "%s", err.message);
    } else if (pg_check(pg, &none, keep_problem, problem, &err) == PG_OK && problem[0] != '\0') {
        fatal = true;
    }
    pg_free(pg);
    return !fatal;
}

/* Processes start in any order: wait for the node that makes the cluster. False: told to stop. */
static enum fb_status find_cluster(struct sync_process *p, const char *url, bool *stopped,
                                   struct fb_err *err)
{
    bool said = false;

    for (;;) {
        struct fb_cluster_state *state = NULL;
        enum fb_status st = p->coord != NULL ? FB_OK : fb_coord_open(url, false, &p->coord, err);
        if (st == FB_OK)
            st = fb_cluster_state_read(p->coord, &state, err);
        if (st == FB_OK) {
            memcpy(p->cluster, state->map->cluster, sizeof(p->cluster));
            fb_cluster_state_put(state);
            return FB_OK;
        }
        if (st != FB_ENOENT)
            return st;
        if (!said)
            FB_LOG(INFO, "no cluster there yet, waiting for its first node",
                   FB_KS("coordinator", url));
        said = true;
        if (fb_signals_wait(200) == FB_SIGNAL_STOP) {
            *stopped = true;
            return FB_OK;
        }
    }
}

static enum fb_status join(struct sync_process *p, const char *listen, const char *admin,
                           struct fb_err *err)
{
    struct fb_member_info m = {.kind = FB_MEMBER_SYNC,
                               .inc = p->inc,
                               .weight = 100,
                               .started_ms = fb_wall_ms(),
                               .pid = (uint32_t)getpid()};

    (void)snprintf(m.name, sizeof(m.name), "%s", p->name);
    (void)snprintf(m.zone, sizeof(m.zone), "%s", p->zone);
    (void)snprintf(m.listen, sizeof(m.listen), "%s", listen);
    (void)snprintf(m.admin, sizeof(m.admin), "%s", admin);
    return fb_entry_of_member(p->coord, &m, &p->entry, err);
}

static enum fb_status open_net(struct sync_process *p, const char *url, char *bound,
                               struct fb_err *err)
{
    struct fb_net_config c = {.role = FB_ROLE_SYNC,
                              .has_cluster = true,
                              .inc = p->inc,
                              .arg = p,
                              .opened = sync_engine_opened,
                              .received = sync_engine_received,
                              .closed = sync_engine_closed};
    enum fb_status st;

    memcpy(c.name, p->name, sizeof(c.name));
    memcpy(c.cluster, p->cluster, sizeof(c.cluster));
    st = fb_net_open(&c, &p->net, err);
    if (st == FB_OK) {
        p->control = sync_control_new(p);
        for (uint32_t i = 0; i < p->loaders && st == FB_OK; i++)
            st = sync_loader_start(p, i, err);
    }
    if (st == FB_OK)
        st = sync_engine_start(p, err);
    if (st == FB_OK)
        st = sync_control_start(p->control, err);
    if (st == FB_OK)
        st = fb_net_listen(p->net, url, bound, err);
    return st;
}

static void stop(struct sync_process *p, struct fb_admin *admin)
{
    sync_engine_stop(p);
    fb_net_shutdown(p->net); /* freed behind those who count its memory */
    for (uint32_t i = 0; i < p->loaders; i++)
        sync_loader_stop(p->loader[i]);
    sync_control_stop(p->control);
    fb_agent_stop(p->agent);
    p->agent = NULL;
    fb_admin_stop(admin);
    fb_net_close(p->net);
    sync_engine_free(p);
    sync_control_free(p->control);
    fb_cluster_state_put(p->state);
    fb_buf_fini(&p->status);
    fb_entry_free(p->entry);
    fb_applied_free(p->applied);
    fb_coord_close(p->coord);
}

/* Tells an operator about a file that is too open; false: it cannot be used. */
static enum fb_status read_conninfo(const struct fb_options *o, struct fb_buf *out,
                                    struct fb_err *err)
{
    const char *path = fb_options_text(o, "sync", "conninfo_file");
    bool exposed = false;
    enum fb_status st = sync_conninfo_read(path, out, &exposed, err);

    if (st == FB_OK && exposed)
        FB_LOG(WARN, "others may read the connection string, run: chmod o= FILE",
               FB_KS("file", path));
    return st;
}

/* As at the start: a wrong password or database refuses the reload, an absent PostgreSQL does not.
 */
static enum fb_status reload_prepare(void *arg, const struct fb_options *next, struct fb_err *err)
{
    struct program *g = arg;
    struct sync_process *p = &g->process;
    struct pg_config config = p->pg;
    char problem[PROBLEM_BYTES] = "";
    enum fb_status st;

    fb_buf_clear(&g->next_conninfo);
    st = read_conninfo(next, &g->next_conninfo, err);
    if (st != FB_OK)
        return st;
    config.conninfo = (const char *)g->next_conninfo.p;
    if (sync_process_conninfo_is(p, config.conninfo) || check_database(&config, problem))
        return FB_OK;
    return fb_err_set(err, FB_EREFUSED, "sync.conninfo_file %s: %s",
                      fb_options_text(next, "sync", "conninfo_file"), problem);
}

static void reload_commit(void *arg, const struct fb_options *next)
{
    struct program *g = arg;

    (void)next;
    if (sync_process_set_conninfo(&g->process, (const char *)g->next_conninfo.p))
        FB_LOG0(INFO, "new connection string, connections are made again one by one");
}

static int run(struct program *g, int argc, char **argv)
{
    struct sync_process *p = &g->process;
    const struct fb_reload_hooks reload = {
        .prepare = reload_prepare, .commit = reload_commit, .arg = g};
    const struct fb_options *o = g->options;
    char problem[PROBLEM_BYTES] = "";
    struct fb_admin_hooks hooks = {.ready = ready, .status = status, .arg = p};
    struct fb_admin *admin = NULL;
    struct fb_err err = {0};
    char bound[FB_ADDRESS_BYTES_MAX + 1] = "", admin_bound[256] = "",
                                      session[FB_NAME_BYTES_MAX + 8];
    bool stopped = false;

    if (fb_process_start(o, &err) != FB_OK)
        return stop_with("process", &err);
    if (!check_database(&p->pg, problem)) {
        complain(problem);
        return EXIT_FAILURE;
    }
    if (find_cluster(p, fb_options_text(o, "process", "coordinator"), &stopped, &err) != FB_OK)
        return stop_with("coordinator cannot be used", &err);
    if (stopped)
        return EXIT_SUCCESS;
    (void)snprintf(session, sizeof(session), "sync/%s", p->name);
    if (fb_coord_session(p->coord, session, &err) != FB_OK)
        return stop_with("another process of this name runs", &err);
    sync_metrics_register(p);
    p->applied = fb_applied_new(p->coord, FB_MEMBER_SYNC, p->name, p->inc, 1);
    if (fb_agent_start(p->coord, sync_engine_state, p, &p->agent, &err) != FB_OK)
        return stop_with("coordinator cannot be used", &err);
    if (open_net(p, fb_options_text(o, "sync", "listen"), bound, &err) != FB_OK)
        return stop_with("cannot listen", &err);
    if (fb_admin_start(fb_options_text(o, "admin", "listen"), &hooks, admin_bound, &admin, &err) !=
        FB_OK)
        return stop_with("admin port", &err);
    if (join(p, bound, admin_bound, &err) != FB_OK)
        return stop_with("cannot register in the coordinator", &err);
    fb_agent_enter(p->agent, p->entry);
    fb_agent_report(p->agent, p->applied);
    FB_LOG(INFO, "ready", FB_KS("listen", bound), FB_KS("admin", admin_bound),
           FB_KU("apply", p->appliers), FB_KU("load", p->loaders));
    fb_process_serve(&g->options, argc, argv, &reload, NULL);
    FB_LOG(INFO, "stopping, the transaction under way is finished", FB_KS("name", p->name));
    stop(p, admin);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct fb_options *o = NULL;
    struct sync_process *p;
    struct program *g;
    struct fb_err err = {0};
    int rc;

    switch (fb_options_load(
        "forebay-sync", "Writes changes to PostgreSQL in batches and answers misses.", sync_options,
        FB_COUNT_OF(sync_options), all_sections, argc, argv, &o)) {
    case FB_OPTIONS_EXIT_OK:
        return EXIT_SUCCESS;
    case FB_OPTIONS_EXIT_USAGE:
        return 2;
    case FB_OPTIONS_EXIT_BAD:
        return EXIT_FAILURE;
    case FB_OPTIONS_RUN:
        break;
    }
    g = the_program = fb_xcalloc(1, sizeof(*g)); /* --help and the like need none */
    p = &g->process;
    g->options = o;
    pthread_mutex_init(&p->mtx, NULL);
    (void)snprintf(p->name, sizeof(p->name), "%s", fb_options_text(o, "process", "name"));
    (void)snprintf(p->zone, sizeof(p->zone), "%s", fb_options_text(o, "process", "zone"));
    (void)snprintf(p->application, sizeof(p->application), "forebay-sync/%s", p->name);
    fb_process_setup(o, "sync", p->name);
    if (read_conninfo(o, &g->conninfo, &err) != FB_OK) {
        rc = stop_with("[sync] conninfo_file", &err);
    } else {
        p->inc = fb_random_u64();
        p->appliers = (uint32_t)fb_options_uint(o, "sync", "apply_connections");
        p->loaders = (uint32_t)fb_options_uint(o, "sync", "load_connections");
        p->pg = (struct pg_config){.conninfo = (const char *)g->conninfo.p,
                                   .application_name = p->application,
                                   .connect_timeout_s = CONNECT_TIMEOUT_S,
                                   .statement_timeout_ms = STATEMENT_TIMEOUT_MS,
                                   .lock_timeout_ms = LOCK_TIMEOUT_MS};
        (void)sync_process_set_conninfo(p, (const char *)g->conninfo.p);
        rc = run(g, argc, argv);
    }
    /* A start that failed ends with threads that still look at it: exit frees nothing of it, and
     * the_program keeps it reachable. */
    if (rc == EXIT_SUCCESS) {
        fb_buf_fini(&g->conninfo);
        fb_buf_fini(&g->next_conninfo);
        fb_buf_fini(&p->conninfo);
        fb_options_free(g->options);
        free(g);
    }
    return rc;
}
