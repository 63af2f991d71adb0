/* Goal: whatever answers in etcd's place, or fails on the way to it, is told as what it is, with
 * what to do about it, and a write that may have been carried out is never told as one that was
 * not. Method: prepared answers, one after the other, with certificates where they matter. Without
 * etcd. */
#include "tests/unit/coord/scripted.h"

#include "proto/coord/etcd_call.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- one call ---- */

static struct scripted server;
static char dir[] = "/tmp/fb-answers-XXXXXX";

static int group_setup(void **state)
{
    (void)state;
    scripted_start(&server);
    return mkdtemp(dir) == NULL;
}

static void shell(const char *command)
{
    char line[2048];
    int n = snprintf(line, sizeof(line), "cd %s && {\n%s\n}", dir, command);
    assert_in_range(n, 1, sizeof(line) - 1);
    if (system(line) != 0)
        fail_msg("failed: %s", line);
}

static int group_teardown(void **state)
{
    (void)state;
    scripted_stop(&server);
    shell("rm -rf -- \"$PWD\"");
    return 0;
}

/* The scripted server with these options of the URL. */
static char *url_of(const char *options)
{
    static char url[512];
    (void)snprintf(url, sizeof(url), "etcd://127.0.0.1:%u/m%s", server.port, options);
    return url;
}

/* One question to `url`; the text of its failure must have `text` in it. */
static void call_is(const char *url, enum etcd_kind kind, uint32_t ms, enum fb_status want,
                    const char *text)
{
    struct etcd_shared s;
    struct etcd_link l;
    struct fb_bytes answer;
    struct fb_err err = {0};
    enum fb_status st;

    assert_int_equal(etcd_shared_init(&s, url, &err), FB_OK);
    assert_int_equal(etcd_link_init(&l, &s, &err), FB_OK);
    st = etcd_call(&l, "/v3/kv/txn", fb_bytes_str("{}"), kind, ms, &answer, &err);
    if (st != want || (text != NULL && strstr(err.msg, text) == NULL))
        fail_msg("status %d, not %d, or no \"%s\" in: %s", st, want, text, err.msg);
    assert_true(st == FB_OK || answer.n == 0);
    etcd_link_fini(&l);
    etcd_shared_fini(&s);
}

static void refusals(void **state)
{
    static const struct {
        int http;
        const char *body;
        enum fb_status want;
        const char *text;
    } t[] = {
        {404, REFUSAL(5, "etcdserver: requested lease not found"), FB_ENOENT, "lease not found"},
        {429, REFUSAL(8, "etcdserver: mvcc: database space exceeded"), FB_EREFUSED, "compact"},
        {400, REFUSAL(3, "etcdserver: duplicate key"), FB_EREFUSED, "duplicate key"},
        {400, REFUSAL(9, "etcdserver: not now"), FB_EREFUSED, "nothing was changed: etcdserver"},
        {400, REFUSAL(11, "etcdserver: out of range"), FB_EREFUSED, "nothing was changed"},
        {501, REFUSAL(12, "unknown"), FB_EREFUSED, "nothing was changed"},
        {403, REFUSAL(7, "etcdserver: permission denied"), FB_EPERM, "user (none) has no right"},
        {400, REFUSAL(3, "etcdserver: user name is empty"), FB_EPERM, "add user=NAME"},
        {400, "Client sent an HTTP request to an HTTPS server.\n", FB_EPERM, "add ca=FILE"},
        {404, "404 page not found\n", FB_EREFUSED, "is it etcd 3.4 or newer"},
    };
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++)
        for (int write = 0; write < 2; write++) {
            scripted_add(&server, SCRIPTED_ANSWER, t[i].http, t[i].body);
            call_is(url_of(""), write ? ETCD_WRITE : ETCD_READ, 3000, t[i].want, t[i].text);
        }
}

/* Sent, and no answer that says what became of it. */
static void what_may_have_happened_is_unknown(void **state)
{
    static const struct {
        enum scripted_how how;
        int http;
        const char *body, *text;
    } t[] = {
        {SCRIPTED_SHORT, 200, "{}", "broke"},
        {SCRIPTED_CLOSE, 0, "", "without an answer"},
        {SCRIPTED_SILENT, 0, "", "does not answer in time"},
        {SCRIPTED_RAW, 0, "+OK\r\n", "broke"},
        {SCRIPTED_ENDLESS, 0, "", "larger than 64 MiB"},
        {SCRIPTED_ANSWER, 503, REFUSAL(14, "etcdserver: request timed out"), "request timed out"},
        {SCRIPTED_ANSWER, 502, "<html>", "<html>"},
    };
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        uint32_t ms = t[i].how == SCRIPTED_SILENT ? 300 : 20000;
        scripted_add(&server, t[i].how, t[i].http, t[i].body);
        call_is(url_of(""), ETCD_READ, ms, FB_ETIMEOUT, t[i].text);
        scripted_add(&server, t[i].how, t[i].http, t[i].body);
        call_is(url_of(""), ETCD_WRITE, ms, FB_EUNKNOWN, "is not known");
    }
}

/* Never sent: a write, too, is known not to have happened. */
static void what_was_not_sent_did_not_happen(void **state)
{
    char url[512], name[80];

    (void)state;
    memset(name, 'a', sizeof(name)); /* longer than a name may be: nobody is asked for it */
    name[70] = '\0';
    (void)snprintf(url, sizeof(url), "etcd://%s:1/m", name);
    call_is(url, ETCD_WRITE, 3000, FB_ECLOSED, "has no address");
    call_is("etcd://127.0.0.1:1/m", ETCD_WRITE, 3000, FB_ECLOSED, "cannot be reached");
    /* the second endpoint is asked when the first cannot be reached, and both are named */
    (void)snprintf(url, sizeof(url), "etcd://127.0.0.1:1,127.0.0.1:%u/m", server.port);
    scripted_add(&server, SCRIPTED_ANSWER, 200, "{}");
    call_is(url, ETCD_WRITE, 3000, FB_OK, NULL);
    call_is("etcd://127.0.0.1:1,127.0.0.1:2/m", ETCD_READ, 3000, FB_ECLOSED, "127.0.0.1:2");
    call_is("etcd://127.0.0.1:1/m", ETCD_READ, 0, FB_ETIMEOUT, NULL);
}

/* ---- TLS ---- */

static void certificates(void)
{
    static const char script[] =
        "exec >openssl.log 2>&1 </dev/null;"
        "new() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        " -subj /O=$1 -keyout $1.key -out $1.csr; };"
        "for ca in ca other; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        " -nodes -days 30 -subj /O=$ca -keyout $ca.key -out $ca.pem || exit 1; done;"
        "echo subjectAltName=IP:127.0.0.1 >ext; echo subjectAltName=DNS:elsewhere >far;"
        "new good && openssl x509 -req -in good.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
        " -days 30 -extfile ext -out good.pem || exit 1;"
        "new far && openssl x509 -req -in far.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
        " -days 30 -extfile far -out far.pem || exit 1;"
        ": >index; printf '[ca]\\ndefault_ca=x\\n[x]\\ndatabase=index\\nnew_certs_dir=.\\n"
        "rand_serial=yes\\ndefault_md=sha256\\npolicy=p\\n[p]\\norganizationName=supplied\\n' "
        ">conf;"
        "new old && openssl ca -batch -notext -config conf -cert ca.pem -keyfile ca.key"
        " -extfile ext -startdate 20200101000000Z -enddate 20200102000000Z -in old.csr"
        " -out old.pem || exit 1; echo nonsense >bad.pem";
    shell(script);
}

/* An `openssl s_server` with this certificate, on a free port that it says. */
static uint16_t tls_server(const char *cert, const char *more, pid_t *pid)
{
    static unsigned number; /* what it says is in a file of its own */
    char line[600], said[64] = "";
    unsigned port = 0;
    FILE *f;

    number++;
    (void)snprintf(line, sizeof(line),
                   "openssl s_server -accept 127.0.0.1:0 -cert %s.pem -key %s.key -www %s"
                   " >out.%u 2>&1 </dev/null & echo $! >pid.%u",
                   cert, cert, more, number, number);
    shell(line);
    (void)snprintf(line, sizeof(line), "%s/pid.%u", dir, number);
    f = fopen(line, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", pid), 1);
    fclose(f);
    (void)snprintf(line, sizeof(line), "%s/out.%u", dir, number);
    for (int i = 0; i < 2000 && port == 0; i++) {
        f = fopen(line, "re");
        while (f != NULL && port == 0 && fgets(said, sizeof(said), f) != NULL)
            (void)sscanf(said, "ACCEPT 127.0.0.1:%u", &port);
        if (f != NULL)
            fclose(f);
        if (port == 0)
            (void)usleep(5000);
    }
    if (port == 0)
        fail_msg("openssl s_server does not listen; see %s", line);
    return (uint16_t)port;
}

static void tls_is(const char *cert, const char *more, const char *ca, enum fb_status want,
                   const char *text)
{
    char url[512];
    pid_t pid;
    uint16_t port = tls_server(cert, more, &pid);

    (void)snprintf(url, sizeof(url), "etcd://127.0.0.1:%u/m?ca=%s/%s", port, dir, ca);
    call_is(url, ETCD_WRITE, 5000, want, text);
    assert_int_equal(kill(pid, SIGKILL), 0);
}

static void tls(void **state)
{
    char options[512];

    (void)state;
    certificates();
    tls_is("old", "", "ca.pem", FB_EPERM, "has expired");
    tls_is("good", "", "other.pem", FB_EPERM, "is not signed by a CA of");
    tls_is("far", "", "ca.pem", FB_EPERM, "is not accepted");
    /* The server's certificate is right, ours is missing: whether it took the request first is
     * not known. */
    tls_is("good", "-Verify 1 -verify_return_error -CAfile ca.pem -tls1_2", "ca.pem", FB_ECLOSED,
           "refuses this process's certificate");
    (void)snprintf(options, sizeof(options), "?ca=%s/bad.pem", dir);
    scripted_add(&server, SCRIPTED_CLOSE, 0, "");
    call_is(url_of(options), ETCD_WRITE, 3000, FB_EPERM, "cannot be read as PEM");
    (void)snprintf(options, sizeof(options), "?cert=%s/bad.pem&key=%s/bad.pem", dir, dir);
    call_is(url_of(options), ETCD_WRITE, 3000, FB_EPERM, "cannot be used");
    scripted_wait(&server);
    scripted_add(&server, SCRIPTED_RAW, 0, "HTTP/1.0 400 Bad Request\r\n\r\n");
    call_is(url_of("?tls=yes"), ETCD_WRITE, 3000, FB_EPERM, "does not speak TLS");
}

/* ---- log-in ---- */

static const char *login_options(const char *password)
{
    static char options[256];
    FILE *f;

    (void)snprintf(options, sizeof(options), "%s/password", dir);
    f = fopen(options, "we");
    assert_non_null(f);
    fputs(password, f);
    fclose(f);
    (void)snprintf(options, sizeof(options), "?user=u&password_file=%s/password", dir);
    return options;
}

static void log_in(void **state)
{
    static const struct {
        const char *answer;
        int http;
        enum fb_status want;
        const char *text;
    } t[] = {
        {"{\"token\":\"\"}", 200, FB_EPROTO, "no token"},
        {"{", 200, FB_EPROTO, "no JSON"},
        {REFUSAL(3, "etcdserver: authentication failed, invalid user ID or password"), 400,
         FB_EPERM, "does not know user u with the password in"},
        {REFUSAL(14, "no leader"), 503, FB_ETIMEOUT, "no leader"},
        {REFUSAL(9, "etcdserver: not now"), 400, FB_EREFUSED, "nothing was changed"},
    };
    struct etcd_shared s;
    struct fb_err err;

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        scripted_add(&server, SCRIPTED_ANSWER, t[i].http, t[i].answer);
        call_is(url_of(login_options("p\n")), ETCD_WRITE, 3000, t[i].want, t[i].text);
    }
    /* Users are not switched on yet. */
    scripted_add(&server, SCRIPTED_ANSWER, 400,
                 REFUSAL(9, "etcdserver: authentication is not enabled"));
    scripted_add(&server, SCRIPTED_ANSWER, 200, "{}");
    call_is(url_of(login_options("p\n")), ETCD_WRITE, 3000, FB_OK, NULL);
    /* A token that is not valid any more: a new one, once. */
    for (int again = 0; again < 2; again++) {
        scripted_add(&server, SCRIPTED_ANSWER, 200, "{\"token\":\"t1\"}");
        scripted_add(&server, SCRIPTED_ANSWER, 401, REFUSAL(16, "etcdserver: invalid auth token"));
    }
    call_is(url_of(login_options("p\n")), ETCD_WRITE, 3000, FB_EPERM, "wants a new log-in");
    scripted_add(&server, SCRIPTED_ANSWER, 200, "{\"token\":\"t1\"}");
    scripted_add(&server, SCRIPTED_ANSWER, 400,
                 REFUSAL(3, "etcdserver: revision of auth store is old"
                            " (revision in header is old)"));
    scripted_add(&server, SCRIPTED_ANSWER, 200, "{\"token\":\"t2\"}");
    scripted_add(&server, SCRIPTED_ANSWER, 200, "{}");
    call_is(url_of(login_options("p\n")), ETCD_WRITE, 3000, FB_OK, NULL);
    /* The password's file, at the start and later. */
    assert_int_equal(etcd_shared_init(&s, url_of(login_options("\n")), &err), FB_EINVAL);
    assert_non_null(strstr(err.msg, "has no first line"));
    etcd_shared_fini(&s);
    assert_int_equal(etcd_shared_init(&s, url_of(login_options("")), &err), FB_EINVAL);
    etcd_shared_fini(&s);
    assert_int_equal(etcd_shared_init(&s, url_of("?user=u&password_file=/nowhere/p"), &err),
                     FB_ENOENT);
    assert_non_null(strstr(err.msg, "open password_file /nowhere/p"));
    etcd_shared_fini(&s);
    {
        struct etcd_link l;
        struct fb_bytes answer;
        assert_int_equal(etcd_shared_init(&s, url_of(login_options("p")), &err), FB_OK);
        assert_int_equal(etcd_link_init(&l, &s, &err), FB_OK);
        shell("rm password");
        assert_int_equal(
            etcd_call(&l, "/v3/kv/txn", fb_bytes_str("{}"), ETCD_WRITE, 3000, &answer, &err),
            FB_ENOENT);
        etcd_link_fini(&l);
        etcd_shared_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(what_may_have_happened_is_unknown),
        cmocka_unit_test(what_was_not_sent_did_not_happen),
        cmocka_unit_test(tls),
        cmocka_unit_test(log_in),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
