/* Goal: the whole forebay-sync does its work between a node and a real PostgreSQL.
 * Method: the real program, a fake node in this process, the server of tests/integration/pg_server.
 */
#include "tests/unit/pg/fixture.h"
#include "tests/unit/sync/fake_node.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define VER(n) ((UINT64_C(1) << 40) + (n))

static const char config[] =
    "[cluster]\npartitions = 4\n[namespace user]\ntable = public.users\nkey = id\nvalue = row\n"
    "sync_interval = 1s\n";

struct world {
    struct fixture *f;
    char dir[64], url[96], conninfo_file[96], log[96], sync_listen[FB_ADDRESS_BYTES_MAX + 1];
    struct fb_coord *coord;
    struct fake_node node;
    pid_t pid;
};
static struct world w;

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

static pid_t start_sync(const char *name)
{
    char a[128], b[160], c[160];
    pid_t pid;

    snprintf(a, sizeof(a), "--process.name=%s", name);
    snprintf(b, sizeof(b), "--process.coordinator=%s", w.url);
    snprintf(c, sizeof(c), "--sync.conninfo_file=%s", w.conninfo_file);
    pid = fork();
    if (pid == 0) {
        int fd = open(w.log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        (void)dup2(fd, 2);
        execl(FOREBAY_SYNC, FOREBAY_SYNC, a, b, c, "--admin.listen=127.0.0.1:0", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void find_sync(void)
{
    for (int i = 0; i < 200; i++) {
        struct fb_cluster_state *s;
        struct fb_err err;
        const struct fb_member_info *m;
        assert_int_equal(fb_cluster_state_read(w.coord, &s, &err), FB_OK);
        m = fb_map_member(s->map, FB_MEMBER_SYNC, "s1");
        if (m != NULL && m->alive && fb_cluster_state_schema(s, "user") != NULL) {
            snprintf(w.sync_listen, sizeof(w.sync_listen), "%s", m->listen);
            fb_cluster_state_put(s);
            return;
        }
        fb_cluster_state_put(s);
        usleep(50000);
    }
    fail_msg("sync process did not register or publish the schema; see %s", w.log);
}

static int start(void **state)
{
    struct fb_part_record rec = {
        .epoch = 1, .primary = {"node-1", 5}, .isr_count = 1, .isr = {{"node-1", 5}}, .min_isr = 1};
    struct fb_member_info m = {.kind = FB_MEMBER_NODE, .name = "node-1", .inc = 5, .weight = 100};
    struct fb_cluster_state *s;
    struct fb_err err = {0};
    struct fb_buf text = {0}, part = {0};
    struct fb_coord_op ops[3];

    assert_int_equal(fixture_start(state), 0);
    w.f = *state;
    fixture_sql(
        w.f, "create table public.users(id int primary key, name text, age int check (age < 100), "
             "at timestamptz default now())");
    snprintf(w.dir, sizeof(w.dir), "/tmp/fbsync.XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    snprintf(w.url, sizeof(w.url), "file://%s/coord", w.dir);
    snprintf(w.conninfo_file, sizeof(w.conninfo_file), "%s/conninfo", w.dir);
    snprintf(w.log, sizeof(w.log), "%s/log", w.dir);
    write_file(w.conninfo_file, w.f->conninfo);
    w.pid = start_sync("s1"); /* before the cluster exists: it waits */
    assert_int_equal(fb_coord_open(w.url, true, &w.coord, &err), FB_OK);
    assert_int_equal(fb_cluster_init(w.coord, 4, &err), FB_OK);
    assert_int_equal(fb_cluster_state_read(w.coord, &s, &err), FB_OK);
    fake_node_open(&w.node, s->map->cluster);
    fb_cluster_state_put(s);
    assert_int_equal(fb_coord_session(w.coord, "node/node-1", &err), FB_OK);
    snprintf(m.listen, sizeof(m.listen), "%s", w.node.listen);
    fb_member_info_encode(&text, &m);
    fb_part_record_encode(&part, &rec);
    ops[0] = (struct fb_coord_op){
        .key = "node/node-1", .rev = UINT64_MAX, .value = fb_buf_view(&text), .session = true};
    ops[1] = (struct fb_coord_op){.key = "part/1", .rev = UINT64_MAX, .value = fb_buf_view(&part)};
    ops[2] =
        (struct fb_coord_op){.key = "config", .rev = UINT64_MAX, .value = fb_bytes_str(config)};
    if (fb_coord_txn(w.coord, ops, 3, NULL, &err) != FB_OK)
        fail_msg("%s", err.msg);
    fb_buf_fini(&text);
    fb_buf_fini(&part);
    find_sync();
    return 0;
}

static int stop(void **state)
{
    char command[128];

    if (w.pid > 0) {
        (void)kill(w.pid, SIGKILL);
        (void)waitpid(w.pid, NULL, 0);
    }
    fake_node_close(&w.node);
    fb_coord_close(w.coord);
    snprintf(command, sizeof(command), "cat %s/log >&2; rm -rf %s", w.dir, w.dir);
    (void)!system(command);
    return fixture_stop(state);
}

static void changes_arrive(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        char id[16];
        snprintf(id, sizeof(id), "k%d", i);
        fake_node_write(&w.node, "default", id, FB_KIND_STRING, fb_bytes_str("hello"));
    }
    fake_node_note(&w.node, "default");
    assert_true(fake_node_wait_u64(&w.node, &w.node.pos_default, VER(100)));
    assert_string_equal(
        fixture_text(w.f, "select count(*) from forebay.objects where ns = 'default'"), "100");
}

static void misses_are_answered(void **state)
{
    const char *value;

    (void)state;
    assert_int_equal(fake_node_load(&w.node, "default", "k7", &value), FB_LOAD_FOUND);
    assert_string_equal(value, "hello");
    assert_int_equal(fake_node_load(&w.node, "default", "nobody", &value), FB_LOAD_ABSENT);
    assert_int_equal(fake_node_load(&w.node, "nowhere", "k7", &value), FB_LOAD_REFUSED);
}

static void user(const char *id, const char *name, const char *age)
{
    struct fb_buf v = {0};

    fb_hash_put(&v, fb_bytes_str("name"), fb_bytes_str(name));
    fb_hash_put(&v, fb_bytes_str("age"), fb_bytes_str(age));
    fake_node_write(&w.node, "user", id, FB_KIND_HASH, fb_buf_view(&v));
    fb_buf_fini(&v);
}

static void one_row_parks_alone(void **state)
{
    const char *reply;

    (void)state;
    for (int i = 1; i <= 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%d", i);
        user(id, "somebody", i == 13 ? "200" : "30");
    }
    fake_node_note(&w.node, "user");
    assert_true(fake_node_wait_u64(&w.node, &w.node.pos_user, VER(120)));
    assert_int_equal(w.node.parks, 1);
    assert_string_equal(fixture_text(w.f, "select count(*) from public.users"), "19");
    assert_string_equal(fixture_text(w.f, "select id from forebay.dead_letter"), "13");
    reply =
        fake_node_admin(&w.node, w.sync_listen, "{\"verb\":\"deadletter.list\",\"ns\":\"user\"}");
    assert_non_null(strstr(reply, "\"id\":\"13\""));
    assert_non_null(strstr(reply, "\"sqlstate\":\"23514\""));
    reply = fake_node_admin(&w.node, w.sync_listen,
                            "{\"verb\":\"deadletter.retry\",\"ns\":\"user\",\"id\":\"13\"}");
    assert_non_null(strstr(reply, "\"ok\":true"));
    assert_int_equal(w.node.retries, 1);
    reply = fake_node_admin(&w.node, w.sync_listen,
                            "{\"verb\":\"deadletter.discard\",\"ns\":\"user\",\"id\":\"99\"}");
    assert_non_null(strstr(reply, "no such dead letter"));
    /* Corrected: the letter goes. */
    user("13", "somebody", "31");
    fake_node_note(&w.node, "user");
    assert_true(fake_node_wait_u64(&w.node, &w.node.pos_user, VER(121)));
    for (int i = 0; i < 100 && *fixture_text(w.f, "select id from forebay.dead_letter") != '\0';
         i++)
        usleep(50000);
    assert_string_equal(fixture_text(w.f, "select count(*) from forebay.dead_letter"), "0");
}

static void admin_verbs(void **state)
{
    const char *reply = fake_node_admin(&w.node, w.sync_listen, "{\"verb\":\"sync.status\"}");

    (void)state;
    assert_non_null(strstr(reply, "\"db_up\":true"));
    assert_non_null(strstr(reply, "\"ns\":\"user\""));
    reply = fake_node_admin(&w.node, w.sync_listen, "{\"verb\":\"sync.lsn\"}");
    assert_non_null(strstr(reply, "\"lsn\":\"0/"));
    reply = fake_node_admin(&w.node, w.sync_listen, "{\"verb\":\"sync.flush\",\"wait_ms\":5000}");
    assert_non_null(strstr(reply, "\"done\":true"));
    reply = fake_node_admin(&w.node, w.sync_listen, "{\"verb\":\"dance\"}");
    assert_non_null(strstr(reply, "unknown verb"));
    reply = fake_node_admin(&w.node, w.sync_listen, "no json");
    assert_non_null(strstr(reply, "not a JSON object"));
}

static void postgres_away_and_back(void **state)
{
    char command[256];
    const char *value;
    uint64_t end;

    (void)state;
    snprintf(command, sizeof(command), "%s stop %s immediate", PG_SERVER, w.f->dir);
    PQfinish(w.f->sql);
    assert_int_equal(system(command), 0);
    assert_int_equal(fake_node_load(&w.node, "default", "k7", &value), FB_LOAD_DB_DOWN);
    end = VER(122);
    fake_node_write(&w.node, "default", "later", FB_KIND_STRING, fb_bytes_str("kept"));
    fake_node_note(&w.node, "default");
    usleep(1500000);
    assert_int_equal(fake_node_load(&w.node, "default", "k7", &value), FB_LOAD_DB_DOWN);
    snprintf(command, sizeof(command), "%s start %s >/dev/null", PG_SERVER, w.f->dir);
    assert_int_equal(system(command), 0);
    w.f->sql = PQconnectdb(w.f->conninfo);
    assert_true(fake_node_wait_u64(&w.node, &w.node.pos_default, end));
    assert_string_equal(
        fixture_text(w.f, "select count(*) from forebay.objects where id = 'later'"), "1");
    for (int i = 0; i < 100 && fake_node_load(&w.node, "default", "k7", &value) != FB_LOAD_FOUND;
         i++)
        usleep(50000);
    assert_int_equal(fake_node_load(&w.node, "default", "k7", &value), FB_LOAD_FOUND);
    assert_int_equal(w.node.parks, 1);
}

/* s1 is paused with its feeds: s2 takes them over, and s1 finds that out by its compare. */
static void paused_process_is_replaced(void **state)
{
    pid_t second;
    struct fb_conn *first;

    (void)state;
    fixture_sql(w.f, "create table public.audit(id text, n bigint)");
    fixture_sql(w.f, "create function public.note_it() returns trigger language plpgsql as "
                     "$$ begin insert into public.audit values (new.id, 1); return new; end $$");
    fixture_sql(w.f, "create trigger note_it after insert or update on forebay.objects "
                     "for each row execute function public.note_it()");
    fixture_sql(w.f, "grant all on public.audit to public");
    first = fb_conn_get(w.node.sync);
    second = start_sync("s2");
    assert_true(fake_node_wait_sync(&w.node, "s2"));
    assert_int_equal(kill(w.pid, SIGSTOP), 0);
    w.node.note_age_ms = 60000;
    for (int i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        fake_node_write(&w.node, "default", id, FB_KIND_STRING, fb_bytes_str("once"));
    }
    fake_node_note(&w.node, "default");
    assert_true(fake_node_wait_u64(&w.node, &w.node.pos_default, VER(172)));
    assert_int_equal(kill(w.pid, SIGCONT), 0);
    /* Both are told of more, as a node does: each applies or loses, nothing is written twice. */
    for (int round = 0; round < 20; round++) {
        char id[16];
        struct fb_conn *other;
        snprintf(id, sizeof(id), "u%d", round);
        fake_node_write(&w.node, "default", id, FB_KIND_STRING, fb_bytes_str("once"));
        fake_node_note(&w.node, "default");
        pthread_mutex_lock(&w.node.mtx);
        other = w.node.sync;
        w.node.sync = first;
        first = other;
        pthread_mutex_unlock(&w.node.mtx);
        fake_node_note(&w.node, "default");
    }
    for (int i = 0;
         i < 200 &&
         strcmp(fixture_text(w.f, "select count(*) from forebay.objects where id ~ '^u'"), "20") !=
             0;
         i++) {
        fake_node_note(&w.node, "default");
        usleep(50000);
    }
    assert_string_equal(fixture_text(w.f, "select count(*) from public.audit"), "70");
    assert_string_equal(fixture_text(w.f, "select count(distinct id) from public.audit"), "70");
    fb_conn_put(first);
    assert_int_equal(kill(second, SIGTERM), 0);
    assert_int_equal(waitpid(second, NULL, 0), second);
}

static void ends_on_sigterm(void **state)
{
    int status;

    (void)state;
    assert_int_equal(kill(w.pid, SIGTERM), 0);
    assert_int_equal(waitpid(w.pid, &status, 0), w.pid);
    w.pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void bad_database_stops_the_start(void **state)
{
    char text[400];
    int status;
    pid_t pid;

    (void)state;
    snprintf(text, sizeof(text), "%s dbname=nowhere", w.f->conninfo);
    write_file(w.conninfo_file, text);
    pid = start_sync("s2");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    fixture_sql(w.f, "drop schema forebay cascade");
    write_file(w.conninfo_file, w.f->conninfo);
    pid = start_sync("s2");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_arrive),         cmocka_unit_test(misses_are_answered),
        cmocka_unit_test(one_row_parks_alone),    cmocka_unit_test(admin_verbs),
        cmocka_unit_test(postgres_away_and_back), cmocka_unit_test(paused_process_is_replaced),
        cmocka_unit_test(ends_on_sigterm),        cmocka_unit_test(bad_database_stops_the_start),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
