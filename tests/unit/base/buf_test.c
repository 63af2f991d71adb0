/* Goal: buffers, readers, UTF-8 and statuses do what their headers say at their edges. */
#include "proto/base/buf.h"
#include "proto/base/utf8.h"
#include "tests/unit/cmocka.h"

#include <errno.h>
#include <stdlib.h>

static void buffers(void **state)
{
    struct fb_buf b = {0};
    (void)state;
    fb_buf_put(&b, NULL, 0);
    assert_int_equal(b.n, 0);
    for (uint32_t i = 0; i < 5000; i++)
        fb_buf_put_u32(&b, i);
    assert_int_equal(b.n, 20000);
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(fb_get_u32(b.p + (size_t)i * 4), i);
    fb_buf_consume(&b, 19996);
    assert_int_equal(fb_get_u32(b.p), 4999);
    fb_buf_consume(&b, 4);
    fb_buf_shrink(&b, 1 << 20);
    assert_non_null(b.p);
    fb_buf_shrink(&b, 16);
    assert_null(b.p);
    fb_buf_printf(&b, "%0500d|%s", 7, "x");
    assert_int_equal(b.n, 502);
    assert_true(b.p[501] == 'x' && b.p[502] == '\0');
    fb_buf_fini(&b);
    assert_true(b.p == NULL && b.n == 0 && b.cap == 0);
}

static void readers(void **state)
{
    uint8_t bytes[15];
    struct fb_reader r;
    (void)state;
    fb_put_u16(bytes, 0x0102);
    fb_put_u32(bytes + 2, 0x03040506);
    fb_put_u64(bytes + 6, UINT64_C(0x0708090a0b0c0d0e));
    bytes[14] = 9;
    assert_int_equal(bytes[0], 2); /* little-endian */
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        uint8_t *exact = malloc(n ? n : 1);
        bool whole = n == sizeof(bytes);
        memcpy(exact, bytes, n);
        r = fb_reader(fb_bytes(exact, n));
        assert_int_equal(fb_take_u16(&r), n >= 2 ? 0x0102 : 0);
        assert_int_equal(fb_take_u32(&r), n >= 6 ? 0x03040506 : 0);
        assert_true(fb_take_u64(&r) == (n >= 14 ? UINT64_C(0x0708090a0b0c0d0e) : 0));
        assert_int_equal(fb_take_u8(&r), whole ? 9 : 0);
        assert_int_equal(r.bad, !whole);
        assert_null(fb_take(&r, 1).p);
        assert_true(r.bad);
        assert_null(fb_take(&r, 0).p); /* bad stays bad */
        free(exact);
    }
    r = fb_reader(fb_bytes(NULL, 0));
    assert_int_equal(fb_take(&r, 0).n, 0);
    assert_false(r.bad);
    assert_null(fb_take(&r, SIZE_MAX).p);
    assert_true(r.bad);
}

static void utf8(void **state)
{
    size_t chars;
    (void)state;
    assert_true(fb_utf8_valid(fb_bytes_str("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), &chars));
    assert_int_equal(chars, 4);
    assert_true(fb_utf8_valid(fb_bytes(NULL, 0), &chars));
    assert_int_equal(chars, 0);
    assert_false(fb_utf8_valid(fb_bytes_str("\x80"), NULL));
    assert_false(fb_utf8_valid(fb_bytes_str("\xe0\x80\x80"), NULL));
    assert_false(fb_utf8_valid(fb_bytes_str("\xed\xbf\xbf"), NULL));
    assert_true(fb_utf8_valid(fb_bytes_str("\xf4\x8f\xbf\xbf"), NULL));
    assert_false(fb_utf8_valid(fb_bytes_str("\xf5\x80\x80\x80"), NULL));
}

static void statuses(void **state)
{
    struct fb_err err = {0};
    char big[2000];
    (void)state;
    assert_string_equal(fb_status_text(FB_ESTALE), "stale");
    assert_string_equal(fb_status_text((enum fb_status)999), "unknown status");
    assert_int_equal(fb_status_of_errno(0), FB_OK);
    assert_int_equal(fb_status_of_errno(ENOSPC), FB_ENOSPC);
    assert_int_equal(fb_status_of_errno(12345), FB_EIO);
    assert_int_equal(fb_err_set(NULL, FB_EIO, "x"), FB_EIO);
    assert_int_equal(fb_err_wrap(NULL, FB_EIO, "x"), FB_EIO);
    (void)fb_err_set(&err, FB_EIO, "short read");
    (void)fb_err_wrap(&err, FB_ECORRUPT, "read %s", "header");
    assert_int_equal(fb_err_wrap(&err, FB_ECORRUPT, "load snapshot %d", 42), FB_ECORRUPT);
    assert_string_equal(err.msg, "load snapshot 42: read header: short read");
    assert_int_equal(err.code, FB_ECORRUPT);
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    (void)fb_err_wrap(&err, FB_EIO, "%s", big);
    assert_int_equal(strlen(err.msg), FB_ERR_MSG_BYTES_MAX - 1);
    (void)fb_err_wrap(&err, FB_EIO, "more");
    assert_int_equal(strlen(err.msg), FB_ERR_MSG_BYTES_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(buffers), cmocka_unit_test(readers),
                                       cmocka_unit_test(utf8), cmocka_unit_test(statuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
