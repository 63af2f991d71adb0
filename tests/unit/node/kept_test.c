/* Goal: on_delete = refuse without a table keeps every key. Method: each command that would end
 * one, also by what it leaves or by a deadline. */
#include "tests/unit/node/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define DO(h, op, key, ...) harness_do(h, FB_OP_##op, key, __VA_ARGS__)

static void expect_err(struct fb_rep r, const char *text)
{
    char got[256];
    snprintf(got, sizeof got, "%.*s", (int)r.payload.n, (const char *)r.payload.p);
    assert_int_equal(r.type, FB_REP_ERR);
    assert_string_equal(got, text);
}

/* Whether it is there or not; in the namespace beside it all is as ever. */
static void test_kept(void **state)
{
    static const char deleted[] = "ERR keys of namespace \"kept\" are not deleted: it has "
                                  "on_delete = refuse (nothing changed)";
    static const char expired[] =
        "ERR keys of namespace \"kept\" do not expire: it has on_delete = refuse (nothing changed)";
    struct harness h;
    (void)state;
    harness_init(&h);
    harness_namespace(&h, "kept")->on_delete = FB_ON_DELETE_REFUSE;
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "kept:s", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    expect_err(DO(&h, DEL, "kept:s", 0, 0, 0, 0, 0), deleted);
    expect_err(DO(&h, DEL, "kept:none", 0, 0, 0, 0, 0), deleted);
    expect_err(DO(&h, GETDEL, "kept:s", 0, 0, 0, 0, 0), deleted);
    expect_err(DO(&h, EXPIREAT, "kept:s", 0, 1, 0, 0, 0), expired);
    expect_err(DO(&h, GETEX, "kept:s", 0, 1, 0, 0, 0), expired);
    expect_err(DO(&h, SET, "kept:s", 0, 1, 0, 0, 1, "w"), expired);
    expect_err(DO(&h, SETIF, "kept:s", 0, 1, 0, 0, 1, "w"), expired);
    harness_do(&h, FB_OP_HSET, "kept:h", 0, 0, 0, 0, 4, "a", "1", "b", "2");
    harness_load(&h, 0, FB_LOAD_ABSENT, 0, fb_bytes("", 0), 0, 0);
    assert_int_equal(DO(&h, HDEL, "kept:h", 0, 0, 0, 0, 1, "a").num, 1);
    expect_err(DO(&h, HDEL, "kept:h", 0, 0, 0, 0, 1, "b"), deleted);
    assert_int_equal(DO(&h, HLEN, "kept:h", 0, 0, 0, 0, 0).num, 1);
    assert_int_equal(DO(&h, GET, "kept:s", 0, 0, 0, 0, 0).type, FB_REP_BULK);
    assert_int_equal(DO(&h, SET, "s", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    assert_int_equal(DO(&h, DEL, "s", 0, 0, 0, 0, 0).num, 1);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
