/* Goal: a node's report is read as it was written, and one that no node writes is none: who leads a
 * set that died is decided by it. Method: a round trip, each field wrong, every cut. */
#include "node/control/report.h"

#include "proto/wire/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PARTS 3u

static enum fb_status decode(const char *text, struct control_report *out, uint32_t *count,
                             struct fb_err *err)
{
    return control_report_decode(fb_bytes_str(text), "n1", PARTS, out, count, err);
}

static void test_round_trip(void **state)
{
    const struct control_report all[PARTS] = {
        {.part = 0},
        {.part = 1, .history = 3, .epoch = 7, .last_ver = fb_ver(7, 12), .damaged = true},
        {.part = 2, .last_ver = fb_ver((1u << 23) - 1, 5)}};
    struct control_report back[PARTS];
    struct fb_buf text = {0};
    struct fb_err err;
    uint32_t count;
    (void)state;
    control_report_encode(&text, 0xabcdef, all, PARTS);
    assert_int_equal(control_report_decode(fb_buf_view(&text), "n1", PARTS, back, &count, &err),
                     FB_OK);
    assert_int_equal(count, PARTS);
    for (uint32_t i = 0; i < PARTS; i++) {
        assert_int_equal(back[i].part, i);
        assert_string_equal(back[i].member.node, "n1");
        assert_int_equal(back[i].member.inc, 0xabcdef);
        assert_int_equal(back[i].history, all[i].history);
        assert_int_equal(back[i].epoch, all[i].epoch);
        assert_int_equal(back[i].last_ver, all[i].last_ver);
        assert_int_equal(back[i].synced_ver, all[i].last_ver);
        assert_int_equal(back[i].damaged, all[i].damaged);
    }
    for (size_t n = 0; n < text.n; n++) { /* whole lines are a report, of fewer partitions */
        enum fb_status s =
            control_report_decode(fb_bytes(text.p, n), "n1", PARTS, back, &count, &err);
        assert_int_equal(s, n > 0 && text.p[n - 1] == '\n' ? FB_OK : FB_EPROTO);
    }
    fb_buf_fini(&text);
}

#define INC "0000000000abcdef\n"
static const struct {
    const char *text, *why;
} bad[] = {
    {"", "line 1: "},
    {"0000000000abcde\n", "line 1: "},
    {"0000000000ABCDEF\n", "line 1: "},
    {"0000000000000000\n", "line 1: "},
    {" 00000000abcdef1\n", "line 1: "},
    {INC "0 0 0 0 0", "line 2: does not end"},
    {INC "\n", "line 2: partition"},
    {INC "3 0 0 0 0\n", "line 2: partition"},
    {INC "-1 0 0 0 0\n", "line 2: partition"},
    {INC "01 0 0 0 0\n", "line 2: partition"},
    {INC "0  0 0 0 0\n", "line 2: history"},
    {INC "0 4294967296 0 0 0\n", "line 2: history"},
    {INC "0 0 4294967296 0 0\n", "line 2: history or epoch"},
    {INC "0 0 0x1 0 0\n", "line 2: epoch"},
    {INC "0 0 1 9223372036854775808 0\n", "line 2: version"},
    {INC "0 0 0 18446744073709551616 0\n", "line 2: version"},
    {INC "0 0 0 0 2\n", "line 2: damaged"},
    {INC "0 0 0 0\n", "line 2: version"},
    {INC "0 0 0 0 0 0\n", "line 2: damaged"},
    {INC "1 0 0 0 0\n1 0 0 0 0\n", "line 3: partition"},
    {INC "1 0 0 0 0\n0 0 0 0 0\n", "line 3: partition"},
};

static void test_malformed(void **state)
{
    struct control_report out[PARTS];
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        struct fb_err err = {0};
        uint32_t count = 9;
        if (decode(bad[i].text, out, &count, &err) != FB_EPROTO || count != 0 ||
            strncmp(err.msg, bad[i].why, strlen(bad[i].why)) != 0)
            fail_msg("%zu: %s", i, err.msg);
    }
}

static void test_names(void **state)
{
    struct control_report out[PARTS];
    char name[FB_NAME_BYTES_MAX + 2];
    struct fb_bytes text = fb_bytes_str(INC);
    struct fb_err err;
    uint32_t count;
    (void)state;
    memset(name, 'n', sizeof(name));
    name[FB_NAME_BYTES_MAX + 1] = '\0';
    assert_int_equal(control_report_decode(text, name, PARTS, out, &count, &err), FB_EPROTO);
    assert_int_equal(control_report_decode(text, "", PARTS, out, &count, &err), FB_EPROTO);
    assert_int_equal(control_report_decode(text, name + 1, PARTS, out, &count, &err), FB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
