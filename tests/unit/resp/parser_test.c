/* Goal: every request parses the same whole, byte by byte and cut anywhere; bad bytes give
 * Redis 7.0's words. Method: tables of input and expected arguments; each input is fed in all ways,
 * from memory that moves between calls.
 */
#include "router/resp/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Feed `in` with the first call seeing `first` bytes and each later one `step` more; describe what
 * came as text: arguments in brackets, a line for each command, "!error" at the end.
 */
static void feed(const char *in, size_t n, size_t first, size_t step, char *out, size_t out_n)
{
    struct resp_parser p;
    size_t have = first < n ? first : n, gone = 0, at = 0;
    resp_parser_init(&p);
    for (;;) {
        /* a copy of its own each time: the sanitizer sees any look outside, and addresses change */
        uint8_t *copy = malloc(have - gone + 1);
        size_t used = 0;
        enum resp_parse r;
        assert_non_null(copy);
        memcpy(copy, in + gone, have - gone);
        copy = realloc(copy, have - gone ? have - gone : 1);
        r = resp_parse(&p, copy, have - gone, &used);
        assert_true(used <= have - gone);
        gone += used;
        if (r == RESP_PARSE_COMMAND) {
            for (uint32_t i = 0; i < p.argc; i++)
                at += (size_t)snprintf(out + at, out_n - at, "[%.*s]", (int)p.argv[i].n,
                                       (const char *)p.argv[i].p);
            at += (size_t)snprintf(out + at, out_n - at, "\n");
        }
        free(copy);
        if (r == RESP_PARSE_ERROR) {
            (void)snprintf(out + at, out_n - at, "!%s", resp_parser_error(&p));
            break;
        }
        if (r == RESP_PARSE_MORE) {
            assert_true(resp_parser_wants(&p, have - gone) >= 1);
            if (have == n)
                break;
            have = have + step < n ? have + step : n;
        }
    }
    resp_parser_fini(&p);
}

static void check(const char *in, size_t n, const char *want)
{
    char got[4096];
    for (size_t first = 0; first <= n; first++) {
        got[0] = 0;
        feed(in, n, first, n, got, sizeof(got));
        assert_string_equal(got, want);
    }
    got[0] = 0;
    feed(in, n, 0, 1, got, sizeof(got));
    assert_string_equal(got, want);
}

static void test_requests(void **state)
{
    static const struct {
        const char *in, *want;
    } t[] = {
        {"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "[GET][k]\n"},
        {"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n", "[SET][k][hello\r\nworld]\n"},
        {"*1\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", "[]\n[PING]\n"},
        {"*0\r\n*-1\r\n\r\n\n  \r\n*1\r\n$4\r\nPING\r\n", "[PING]\n"},
        {"PING\r\nPING\n", "[PING]\n[PING]\n"},
        {"SET key \"a b\\x41\\n\" 'it\\'s' x\"y\"\r\n", "[SET][key][a bA\n][it's][xy]\n"},
        {"ECHO \"\"\r\n", "[ECHO][]\n"},
        {"*1\r\n$4\r\nPI", ""},
        {"*1\r\n$4\r\nPINGxx*1\r\n$1\r\na\r\n",
         "[PING]\n[a]\n"}, /* Redis does not look at these two either */
    };
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++)
        check(t[i].in, strlen(t[i].in), t[i].want);
}

static void test_errors(void **state)
{
    static const struct {
        const char *in, *want;
    } t[] = {
        {"*abc\r\n", "!ERR Protocol error: invalid multibulk length"},
        {"*\r\n", "!ERR Protocol error: invalid multibulk length"},
        {"*1048577\r\n", "!ERR Protocol error: invalid multibulk length"},
        {"*3000000000\r\n", "!ERR Protocol error: invalid multibulk length"},
        {"*1\r\nx4\r\n", "!ERR Protocol error: expected '$', got 'x'"},
        {"*1\r\n\r\n", "!ERR Protocol error: expected '$', got '\r'"},
        {"*1\r\n$-1\r\n", "!ERR Protocol error: invalid bulk length"},
        {"*1\r\n$x\r\n", "!ERR Protocol error: invalid bulk length"},
        {"*1\r\n$536870913\r\n", "!ERR Protocol error: invalid bulk length"},
        {"*1\r\n$16777216\r\n", "!ERR Protocol error: command is longer than 16777216 bytes"},
        {"PING\r\nSET k \"abc\r\n", "[PING]\n!ERR Protocol error: unbalanced quotes in request"},
        {"SET k \"abc\"d\r\n", "!ERR Protocol error: unbalanced quotes in request"},
        {"SET k 'abc\r\n", "!ERR Protocol error: unbalanced quotes in request"},
    };
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++)
        check(t[i].in, strlen(t[i].in), t[i].want);
}

static void expect_long(const char *start, const char *want)
{
    size_t n = RESP_INLINE_BYTES_MAX + 100;
    char *in = malloc(n);
    char got[256] = "";
    assert_non_null(in);
    memset(in, '1', n);
    memcpy(in, start, strlen(start));
    feed(in, n, n, 1, got, sizeof(got));
    assert_string_equal(got, want);
    got[0] = 0;
    feed(in, n, 1000, 4096, got, sizeof(got));
    assert_string_equal(got, want);
    free(in);
}

static void test_too_big_lines(void **state)
{
    (void)state;
    expect_long("GET ", "!ERR Protocol error: too big inline request");
    expect_long("*1", "!ERR Protocol error: too big mbulk count string");
    expect_long("*1\r\n$1", "!ERR Protocol error: too big bulk count string");
}

/* A wide command byte by byte: quadratic work would take minutes. */
static void test_no_rescan(void **state)
{
    struct resp_parser p;
    struct fb_buf b = {0};
    size_t used = 0;
    enum resp_parse r = RESP_PARSE_MORE;
    (void)state;
    resp_parser_init(&p);
    fb_buf_printf(&b, "*50000\r\n");
    for (int i = 0; i < 50000; i++)
        fb_buf_printf(&b, "$5\r\n%05d\r\n", i);
    for (size_t n = 1; n <= b.n; n++) {
        r = resp_parse(&p, b.p, n, &used);
        assert_true(n == b.n || r == RESP_PARSE_MORE);
    }
    assert_int_equal(r, RESP_PARSE_COMMAND);
    assert_int_equal(used, b.n);
    assert_int_equal(p.argc, 50000);
    assert_memory_equal(p.argv[49999].p, "49999", 5);
    /* the wide argv is given back after a narrow command */
    for (int i = 0; i < 2; i++)
        assert_int_equal(resp_parse(&p, (const uint8_t *)"PING\r\n", 6, &used), RESP_PARSE_COMMAND);
    assert_int_equal(resp_parse(&p, (const uint8_t *)"PING\r\n", 6, &used), RESP_PARSE_COMMAND);
    assert_true(p.argv_cap <= 1024);
    fb_buf_fini(&b);
    resp_parser_fini(&p);
}

static void test_wants(void **state)
{
    struct resp_parser p;
    size_t used;
    (void)state;
    resp_parser_init(&p);
    assert_int_equal(resp_parse(&p, (const uint8_t *)"*1\r\n$100\r\nab", 12, &used),
                     RESP_PARSE_MORE);
    assert_int_equal(resp_parser_wants(&p, 12), 100);
    resp_parser_fini(&p);
}

/* Whatever the bytes, no look outside and no endless loop. */
static void test_noise(void **state)
{
    static const char alphabet[] = "*$\r\n0123456789-x\"'\\ ";
    char in[64], got[8192];
    unsigned seed = 1;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t n = 0;
        for (; n < sizeof(in); n++) {
            seed = seed * 1664525u + 1013904223u;
            in[n] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
        }
        got[0] = 0;
        feed(in, n, (seed >> 8) % n, 1 + (seed >> 12) % 7, got, sizeof(got));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_too_big_lines), cmocka_unit_test(test_no_rescan),
        cmocka_unit_test(test_wants),         cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests_name("resp parser", tests, NULL, NULL);
}
