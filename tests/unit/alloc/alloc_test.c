/* Goal: where memory may be refused, a refusal is one clean error: FB_ENOMEM (never "damaged" or
 * "malformed"), nothing leaked, nothing half done; and with the memory it works again. Method: the
 * call runs again and again with allocation 1, 2, 3, ... failing, alone and with all behind it,
 * until it gets through without reaching the one that fails. The leak checker looks at the rest.
 */
#include "tests/unit/alloc/fail.h"

#include "node/control/controller.h"
#include "node/disk/dump.h"
#include "node/disk/log.h"
#include "node/disk/snapshot.h"
#include "proto/base/buf.h"
#include "proto/base/log.h"
#include "proto/cluster/rebalance.h"
#include "proto/coord/coord.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS_MAX 20000u

static char dir[128];

/* Repeats `call` until no allocation of it fails; it gives a status. `maybe`: another status that
 * is right when it was memory that was missing. */
static void each(const char *what, enum fb_status (*call)(void *arg, struct fb_err *err), void *arg,
                 enum fb_status maybe)
{
    uint64_t rounds = 0;
    for (int all = 0; all < 2; all++) {
        for (uint64_t n = 1;; n++) {
            struct fb_err err = {0};
            enum fb_status s;
            bool reached;
            fail_from(n, all);
            s = call(arg, &err);
            reached = fail_done();
            rounds++;
            assert_true(n < ROUNDS_MAX);
            if (!reached) {
                if (s != FB_OK)
                    fail_msg("%s: %s", what, err.msg);
                break;
            }
            if (s != FB_OK && s != FB_ENOMEM && s != maybe)
                fail_msg("%s, allocation %lu: %s (%s)", what, (unsigned long)n, fb_status_text(s),
                         err.msg);
            if (s == FB_ENOMEM && maybe != FB_OK && strstr(err.msg, "emory") == NULL)
                fail_msg("%s, allocation %lu: \"%s\" does not say what is missing", what,
                         (unsigned long)n, err.msg);
        }
    }
    print_message("%s: %lu rounds\n", what, (unsigned long)rounds);
}

/* --- the map --- */

static enum fb_status plan(void *arg, struct fb_err *err)
{
    static struct control_step steps[4];
    const struct control_node node = {
        .place = {.name = "n1", .weight = 100}, .inc = 7, .alive = true};
    const struct control_in in = {.settled = true, .nodes = &node, .node_count = 1};
    struct control_plan made = {.steps = steps};
    struct fb_part_record parts[4] = {{.epoch = 0}};
    uint64_t revs[4] = {0};
    struct fb_map map = {.partitions = 4, .parts = parts, .part_revs = revs, .hash_seed = 1};
    enum fb_status s = control_plan(&map, &in, &made, err);
    (void)arg;
    if (s == FB_OK)
        assert_int_equal(made.count, 4);
    return s;
}

static void test_plan(void **state)
{
    (void)state;
    each("placement", plan, NULL, FB_ENOMEM);
}

/* --- moves --- */

static enum fb_status plan_moves(void *arg, struct fb_err *err)
{
    struct fb_plan *made;
    enum fb_status s = fb_rebalance(arg, &made, err);

    if (s == FB_OK)
        assert_true(made->move_count > 0);
    else
        assert_null(made);
    fb_plan_free(made);
    return s;
}

static void test_moves(void **state)
{
    struct fb_plan_node nodes[] = {{.place = {.name = "n1", .weight = 100}},
                                   {.place = {.name = "n2", .weight = 100}}}; /* n2 is new */
    const struct fb_member n1 = {.node = "n1", .inc = 7};
    struct fb_part_record parts[4] = {{.epoch = 0}};
    uint64_t revs[4] = {0};
    struct fb_map map = {.partitions = 4, .parts = parts, .part_revs = revs, .hash_seed = 1};
    struct fb_rebalance_in in = {
        .map = &map, .nodes = nodes, .node_count = 2, .copies = 1, .goal = FB_PLAN_BALANCE};
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        parts[i] = (struct fb_part_record){.epoch = 1, .primary = n1, .isr_count = 1};
        parts[i].isr[0] = n1;
        revs[i] = 1;
    }
    each("plan of moves", plan_moves, &in, FB_ENOMEM);
}

/* --- the store of the coordinator --- */

struct store_case {
    char url[200];
    uint64_t tries;
};

/* Opens, writes two keys in one transaction, reads. Whatever fails: both are there or neither, and
 * success is said only when they are. */
static enum fb_status use_store(void *arg, struct fb_err *err)
{
    struct store_case *c = arg;
    struct fb_coord *coord = NULL;
    struct fb_coord_op ops[] = {{.key = "a", .rev = UINT64_MAX, .value = fb_bytes_str("1")},
                                {.key = "b", .rev = UINT64_MAX}};
    struct fb_coord_list list = {0};
    char value[32];
    uint64_t rev = 0;
    enum fb_status s = fb_coord_open(c->url, true, &coord, err);

    if (s != FB_OK)
        return s;
    snprintf(value, sizeof(value), "try %lu", (unsigned long)++c->tries);
    ops[1].value = fb_bytes_str(value);
    s = fb_coord_txn(coord, ops, 2, &rev, err);
    if (s == FB_OK) {
        s = fb_coord_list(coord, "", &list, err);
        if (s == FB_OK) {
            assert_int_equal(list.count, 2);
            assert_true(fb_bytes_is(list.kv[1].value, value));
        }
        fb_coord_list_free(&list);
    }
    fb_coord_close(coord);
    return s;
}

static void test_store(void **state)
{
    struct store_case c = {.tries = 0};
    (void)state;
    snprintf(c.url, sizeof(c.url), "file:%s/coord", dir);
    each("coordinator's store", use_store, &c, FB_EUNKNOWN);
}

/* The rest ends the process: with a line that says why, and never with "damaged". Gives false when
 * the allocation was not reached. */
static bool dies_of_memory(const char *url, uint64_t n)
{
    char said[2000];
    ssize_t len = 0, got;
    int fds[2], status;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct store_case c = {.tries = 0};
        struct fb_err err = {0};
        enum fb_status s;
        snprintf(c.url, sizeof(c.url), "%s", url);
        (void)dup2(fds[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        fail_policy_too();
        fail_from(n, true);
        s = use_store(&c, &err);
        _exit(fail_done() ? (s == FB_ENOMEM || s == FB_EUNKNOWN ? 3 : 2) : 0);
    }
    close(fds[1]);
    while ((got = read(fds[0], said + len, sizeof(said) - 1 - (size_t)len)) > 0)
        len += got;
    said[len] = 0;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        return true; /* refused */
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT ||
        strstr(said, "out of memory") == NULL)
        fail_msg("allocation %lu: status %x, said \"%s\"", (unsigned long)n, status, said);
    return true;
}

static void test_policy(void **state)
{
    char url[200];
    uint64_t n = 1;
    (void)state;
    snprintf(url, sizeof(url), "file:%s/coord", dir);
    while (dies_of_memory(url, n))
        n++;
    print_message("%lu allocations, each ends the process or is refused\n", (unsigned long)n - 1);
    assert_true(n > 20); /* those of the JSON among them */
}

/* --- the disk of a node --- */

static enum fb_status count_batch(void *arg, uint64_t generation, uint32_t lane, uint64_t seq,
                                  struct fb_bytes records, struct fb_err *err)
{
    (void)generation, (void)lane, (void)seq, (void)records, (void)err;
    ++*(uint32_t *)arg;
    return FB_OK;
}

static enum fb_status recover(void *arg, struct fb_err *err)
{
    uint32_t batches = 0;
    struct log_recovery r = {.dir = arg, .arg = &batches, .batch = count_batch};
    enum fb_status s = log_recover(&r, err);
    if (s == FB_OK)
        assert_int_equal(batches, 2);
    return s;
}

static enum fb_status count_items(void *arg, uint16_t part, struct fb_bytes items,
                                  struct fb_err *err)
{
    (void)part, (void)err;
    *(size_t *)arg += items.n;
    return FB_OK;
}

static enum fb_status read_snapshot(void *arg, struct fb_err *err)
{
    struct snapshot_info info, *list = NULL;
    size_t n = 0, bytes = 0;
    enum fb_status s = snapshot_list(arg, &list, &n, err);
    if (s == FB_OK) {
        assert_int_equal(n, 1);
        /* nobody takes the older one because there was no memory for this one */
        s = snapshot_read(arg, list[0].name, &info, count_items, &bytes, err);
        if (s == FB_OK)
            assert_int_equal(bytes, 100000);
        free(list);
    }
    return s;
}

static enum fb_status dump(void *arg, struct fb_err *err)
{
    FILE *out = fopen("/dev/null", "w");
    enum fb_status s;
    if (out == NULL)
        return fb_err_set(err, FB_ENOMEM, "no memory for a stream");
    s = disk_dump(arg, DISK_DUMP_BLOCKS, out, err);
    (void)fclose(out);
    return s;
}

static void make_log(const char *path)
{
    struct log_config c = {
        .dir = path, .lanes = 2, .segment_bytes = 4096, .generation = 1, .sync_interval_ms = 60000};
    struct fb_err err;
    struct log *log;
    assert_int_equal(log_open(&c, &log, &err), FB_OK);
    for (uint32_t lane = 0; lane < 2; lane++)
        assert_int_equal(log_append(log, lane, 1, fb_bytes_str("records"), false, &err), FB_OK);
    log_close(log);
}

static void make_snapshot(const char *path)
{
    struct snapshot_info info = {.part = 1, .start_ver = 5, .generation = 1, .start_log_seq = 1};
    static uint8_t items[100000];
    struct snapshot_writer *w;
    struct fb_err err;
    assert_int_equal(snapshot_create(path, &info, &w, &err), FB_OK);
    assert_int_equal(snapshot_append(w, fb_bytes(items, sizeof(items)), &err), FB_OK);
    assert_int_equal(snapshot_commit(w, 1000, &err), FB_OK);
}

static void first_file(const char *path, char out[512])
{
    DIR *d = opendir(path);
    struct dirent *e;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        if (strstr(e->d_name, ".seg") != NULL || strstr(e->d_name, ".snap") != NULL)
            snprintf(out, 512, "%s/%.200s", path, e->d_name);
    closedir(d);
}

static void test_disk(void **state)
{
    char log[160], snapshot[160], file[512];
    (void)state;
    snprintf(log, sizeof(log), "%s/log", dir);
    snprintf(snapshot, sizeof(snapshot), "%s/snapshot", dir);
    assert_int_equal(mkdir(log, 0700), 0);
    assert_int_equal(mkdir(snapshot, 0700), 0);
    make_log(log);
    each("log recovery", recover, log, FB_ENOMEM);
    make_snapshot(snapshot);
    each("snapshot", read_snapshot, snapshot, FB_ENOMEM);
    first_file(log, file);
    each("dump of a segment", dump, file, FB_ENOMEM);
    first_file(snapshot, file);
    each("dump of a snapshot", dump, file, FB_ENOMEM);
}

/* --- what a peer can ask for --- */

static enum fb_status reserve(void *arg, struct fb_err *err)
{
    struct fb_buf *b = arg;
    fb_buf_fini(b);
    fb_buf_put_str(b, "kept");
    if (fb_buf_try_reserve(b, 1u << 20) == NULL) {
        assert_true(fb_bytes_is(fb_buf_view(b), "kept"));
        return fb_err_set(err, FB_ENOMEM, "out of memory");
    }
    return FB_OK;
}

static void test_buffer(void **state)
{
    struct fb_buf b = {0};
    (void)state;
    each("buffer", reserve, &b, FB_ENOMEM);
    fb_buf_fini(&b);
}

static void clear(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char sub[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof(sub), "%s/%.200s", path, e->d_name);
        if (unlink(sub) != 0)
            clear(sub);
    }
    if (d != NULL)
        closedir(d);
    (void)rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer), cmocka_unit_test(test_plan),  cmocka_unit_test(test_moves),
        cmocka_unit_test(test_disk),   cmocka_unit_test(test_store), cmocka_unit_test(test_policy)};
    int rc;
    fb_log_set_level(FB_LOG_ERROR);
    snprintf(dir, sizeof(dir), "%s/forebay-alloc-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(dir) == NULL)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    clear(dir);
    return rc;
}
