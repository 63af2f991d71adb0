/* What is said about a PostgreSQL that cannot be used, what of an error may be logged, and the
 * sweep of expired rows. */
#include "tests/unit/pg/fixture.h"

#include "sync/pg/internal.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What lets everybody in, says which PostgreSQL it is, and then what it is told to. */
struct false_server {
    const char *version;
    const struct fb_bytes *answers; /* to what is asked behind the start of a session */
    size_t count;
    int fd;
    char dir[32];
};

static void listen_in(struct false_server *s, char *conninfo, size_t n)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/.s.PGSQL.5432", s->dir);
    (void)snprintf(conninfo, n, "host=%s port=5432 user=u dbname=d", s->dir);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->fd, 1), 0);
}

static void listen_end(struct false_server *s)
{
    char path[64];

    (void)close(s->fd);
    (void)snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", s->dir);
    (void)unlink(path);
    (void)rmdir(s->dir);
}

static void message(struct fb_buf *out, char type, const void *body, size_t n)
{
    fb_buf_put_u8(out, (uint8_t)type);
    for (int shift = 24; shift >= 0; shift -= 8)
        fb_buf_put_u8(out, (uint8_t)((n + 4) >> shift));
    fb_buf_put(out, body, n);
}

static void *serve_once(void *arg)
{
    static const char encoding[] = "server_encoding\0UTF8", ready[] = "I";
    struct false_server *s = arg;
    struct fb_buf out = {0}, version = {0};
    size_t asked = 0;
    char in[4096];
    int conn = accept(s->fd, NULL, NULL);

    assert_true(conn >= 0);
    assert_true(read(conn, in, sizeof(in)) > 8); /* the start-up packet */
    message(&out, 'R', "\0\0\0\0", 4);
    fb_buf_put(&version, "server_version", sizeof("server_version"));
    fb_buf_put(&version, s->version, strlen(s->version) + 1);
    message(&out, 'S', version.p, version.n);
    message(&out, 'S', encoding, sizeof(encoding));
    message(&out, 'Z', ready, 1);
    assert_int_equal(write(conn, out.p, out.n), out.n);
    for (; read(conn, in, sizeof(in)) > 0 && in[0] == 'Q'; asked++) {
        fb_buf_clear(&out);
        if (asked == 0) { /* show transaction_read_only */
            message(&out, 'T', "\0\1x\0\0\0\0\0\0\0\0\0\0\31\377\377\377\377\377\377\0\0", 22);
            message(&out, 'D', "\0\1\0\0\0\3off", 9);
        } else if (asked > 1) { /* behind the settings */
            const struct fb_bytes *answer = &s->answers[asked - 2];
            assert_true(asked - 2 < s->count);
            message(&out, (char)answer->p[0], answer->p + 1, answer->n - 1);
        }
        if (out.n == 0 || out.p[0] != 'E')
            message(&out, 'C', "SHOW", 5);
        message(&out, 'Z', ready, 1);
        assert_int_equal(write(conn, out.p, out.n), out.n);
    }
    (void)close(conn);
    fb_buf_fini(&out);
    fb_buf_fini(&version);
    return NULL;
}

/* A connection to a false server. */
struct visit {
    struct pg *pg;
    pthread_t server;
    enum pg_class class;
    bool fatal;
    struct pg_error err;
};

static struct visit visit(struct false_server *s)
{
    char conninfo[128];
    struct pg_config config = {.conninfo = conninfo, .connect_timeout_s = 5};
    struct visit v = {.fatal = false};

    listen_in(s, conninfo, sizeof(conninfo));
    assert_int_equal(pthread_create(&v.server, NULL, serve_once, s), 0);
    v.pg = pg_new(&config);
    v.class = pg_connect(v.pg, &v.fatal, &v.err);
    return v;
}

static void visit_end(struct visit *v, struct false_server *s)
{
    pg_free(v->pg);
    assert_int_equal(pthread_join(v->server, NULL), 0);
    listen_end(s);
}

static void too_old(void **state)
{
    struct false_server s = {.version = "12.9", .dir = "/tmp/fbfalse.XXXXXX"};
    struct visit v = visit(&s);

    (void)state;
    assert_int_equal(v.class, PG_OUTAGE);
    assert_true(v.fatal);
    assert_string_equal(v.err.message, "PostgreSQL 12 is too old: Forebay needs 13 or newer");
    visit_end(&v, &s);
}

/* The word by which a message tells how bad it is, whatever the language, is missing where
 * something older than 9.6 is in between; PANIC ends a session as FATAL does. */
static void words_of_servers(void **state)
{
#define SAYS(text) fb_bytes(text "\0", sizeof(text) + 1) /* ends with a field of no type */
    const struct fb_bytes answers[] = {
        SAYS("NSWARNING\0C01000\0Mmind"),
        SAYS("NSWARNUNG\0VWARNING\0C01000\0Mmind"),
        SAYS("ESERROR\0C22000\0Mwrong"),
        SAYS("ESPANIK\0VPANIC\0C22000\0Mthe end"),
    };
    struct false_server s = {.version = "13.1",
                             .answers = answers,
                             .count = FB_COUNT_OF(answers),
                             .dir = "/tmp/fbfalse.XXXXXX"};
    struct visit v = visit(&s);
    struct pg_error err;

    (void)state;
    if (v.class != PG_OK)
        fail_msg("%s", v.err.message);
    assert_int_equal(pg_script(v.pg, "1", &err), PG_OK);
    assert_false(v.pg->warned);
    assert_int_equal(pg_script(v.pg, "2", &err), PG_OK);
    assert_true(v.pg->warned);
    assert_int_equal(pg_script(v.pg, "3", &err), PG_ROW);
    assert_string_equal(err.message, "wrong");
    assert_true(pg_connected(v.pg));
    assert_int_equal(pg_script(v.pg, "4", &err), PG_ROW);
    assert_string_equal(err.message, "the end");
    assert_false(pg_connected(v.pg));
    visit_end(&v, &s);
}

static void refused_login(const char *conninfo, const char *sqlstate, const char *message)
{
    struct pg_config config = {.conninfo = conninfo, .connect_timeout_s = 5};
    struct pg *pg = pg_new(&config);
    struct pg_error err;
    bool fatal = false;

    assert_int_equal(pg_connect(pg, &fatal, &err), PG_OUTAGE);
    assert_true(fatal);
    assert_string_equal(err.sqlstate, sqlstate);
    if (strstr(err.message, message) == NULL || strchr(err.message, '\n') != NULL)
        fail_msg("%s", err.message);
    assert_string_equal(err.remark, err.message);
    assert_false(pg_connected(pg));
    pg_free(pg);
}

static void *ask_for_a_password(void *arg)
{
    struct false_server *s = arg;
    struct fb_buf out = {0};
    char in[4096];
    int conn = accept(s->fd, NULL, NULL);

    assert_true(conn >= 0);
    assert_true(read(conn, in, sizeof(in)) > 8);
    message(&out, 'R', "\0\0\0\3", 4);
    assert_int_equal(write(conn, out.p, out.n), out.n);
    while (read(conn, in, sizeof(in)) > 0)
        ;
    (void)close(conn);
    fb_buf_fini(&out);
    return NULL;
}

/* Each is told with what to change, and that trying again alone does not help. */
static void logins_that_are_refused(void **state)
{
    struct fixture *f = fixture_get(state);
    struct false_server s = {.dir = "/tmp/fbfalse.XXXXXX"};
    pthread_t thread;
    char conninfo[512];

    (void)snprintf(conninfo, sizeof(conninfo), "%s user=nobody", f->conninfo);
    refused_login(conninfo, "28000", "correct user or password in conninfo_file");
    (void)snprintf(conninfo, sizeof(conninfo), "%s dbname=none", f->conninfo);
    refused_login(conninfo, "3D000", "correct dbname in conninfo_file");
    fixture_sql(f, "create role guest login");
    fixture_sql(f, "create database closed");
    fixture_sql(f, "revoke connect on database closed from public");
    (void)snprintf(conninfo, sizeof(conninfo), "%s dbname=closed user=guest", f->conninfo);
    refused_login(conninfo, "42501", "grant connect on the database");

    listen_in(&s, conninfo, sizeof(conninfo));
    (void)snprintf(conninfo + strlen(conninfo), sizeof(conninfo) - strlen(conninfo),
                   " passfile=/dev/null");
    assert_int_equal(pthread_create(&thread, NULL, ask_for_a_password, &s), 0);
    refused_login(conninfo, "", "correct user or password in conninfo_file");
    assert_int_equal(pthread_join(thread, NULL), 0);
    listen_end(&s);
}

/* An insert that breaks a rule: the dead letter's text quotes the row, the remark does not. */
static void refused(struct fixture *f, const char *id, const char *n, const char *remark)
{
    struct fb_namespace ns = {.name = "rules",
                              .mapped = true,
                              .table_schema = "public",
                              .table_name = "rules",
                              .key = "id",
                              .value = FB_VALUE_ROW};
    struct fb_schema *s = NULL;
    struct fb_feed_object o;
    struct pg_feed feed;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_buf hash = {0};

    assert_int_equal(pg_read_schema(f->pg, &ns, &s, &err), PG_OK);
    fb_hash_put(&hash, fb_bytes_str("n"), fb_bytes_str(n));
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str(id), fb_buf_view(&hash));
    feed = fixture_feed(&ns, s, 0, 1, &o, 1);
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_ROW);
    assert_non_null(strstr(err.message, n));
    assert_string_equal(err.remark, remark);
    pg_batch_fini(&b);
    fb_buf_fini(&hash);
    fb_schema_free(s);
}

static void rows_stay_out_of_remarks(void **state)
{
    struct fixture *f = fixture_get(state);

    fixture_sql(f, "create table rules (id int primary key, n int unique check (n <> 4711));"
                   "insert into rules values (1, 4712)");
    refused(f, "2", "4711", "PostgreSQL refused a row of table rules, constraint rules_n_check");
    refused(f, "2", "4712", "PostgreSQL refused a row of table rules, constraint rules_n_key");
    refused(f, "2", "47x", "PostgreSQL refused a row");
}

static void sweep(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_error err;
    uint64_t swept = 0;

    fixture_sql(f, "insert into forebay.objects (ns, id, kind, expires_at)"
                   " select 's', g::text, 'string', now() - g * interval '1 minute' - interval '30 "
                   "s' from generate_series(0, 9) g;"
                   "insert into forebay.objects (ns, id, kind, expires_at) values"
                   " ('s', 'never', 'string', null), ('s', 'end', 'string', 'infinity'),"
                   " ('s', 'later', 'string', now() + interval '1 hour')");
    fixture_sql(f, "begin");
    fixture_sql(f, "select from forebay.objects where id = '9' for update");
    assert_int_equal(pg_sweep_objects(f->pg, 60000, 4, &swept, &err), PG_OK);
    assert_int_equal(swept, 4); /* 8, 7, 6, 5: the oldest that nobody holds */
    assert_string_equal(fixture_text(f, "select string_agg(id, ' ' order by id) from "
                                        "forebay.objects"),
                        "0 1 2 3 4 9 end later never");
    fixture_sql(f, "rollback");
    assert_int_equal(pg_sweep_objects(f->pg, 60000, 1000, &swept, &err), PG_OK);
    assert_int_equal(swept, 5);
    assert_int_equal(pg_sweep_objects(f->pg, 60000, 1000, &swept, &err), PG_OK);
    assert_int_equal(swept, 0);
    assert_string_equal(fixture_text(f, "select string_agg(id, ' ' order by id) from "
                                        "forebay.objects"),
                        "0 end later never");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_old), cmocka_unit_test(words_of_servers),
        cmocka_unit_test(logins_that_are_refused), cmocka_unit_test(rows_stay_out_of_remarks),
        cmocka_unit_test(sweep)};
    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
