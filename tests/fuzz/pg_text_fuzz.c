/* Texts on their way to and from PostgreSQL, without PostgreSQL: ids, hashes and bytes of
 * forebay.objects and forebay.dead_letter, which anybody may have written there, and the connection
 * file. The first byte says which.
 */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/input.h"

#include "sync/io/conninfo.h"
#include "sync/pg/internal.h"

static const char *terminated(struct fb_bytes b, struct fb_buf *hold)
{
    fb_buf_clear(hold);
    fb_buf_put_bytes(hold, b);
    fb_buf_put_u8(hold, 0);
    return (char *)hold->p;
}

static void check_id(struct fb_bytes id)
{
    struct fb_buf text = {0}, back = {0};

    pg_put_id(&text, id);
    fb_assert(pg_utf8_valid(fb_buf_view(&text)));
    fb_assert(pg_take_id(&back, pg_cstr(&text)));
    fb_assert(fb_bytes_equal(fb_buf_view(&back), id));
    fb_buf_clear(&back);
    (void)pg_take_id(&back, terminated(id, &text)); /* what somebody wrote there */
    fb_buf_fini(&text);
    fb_buf_fini(&back);
}

static void check_hash(struct fb_bytes hash)
{
    struct fb_buf text = {0}, back = {0};

    if (fb_hash_valid(hash) && pg_hash_is_text(hash)) {
        pg_put_hash_json(&text, hash);
        fb_assert(pg_utf8_valid(fb_buf_view(&text)));
        fb_assert(pg_take_hash_json(&back, (char *)text.p, text.n));
        fb_assert(fb_bytes_equal(fb_buf_view(&back), hash));
    }
    fb_buf_fini(&text);
    fb_buf_fini(&back);
}

static void check_json(struct fb_bytes json)
{
    struct fb_buf back = {0};
    if (pg_take_hash_json(&back, (const char *)json.p, json.n))
        fb_assert(fb_hash_valid(fb_buf_view(&back)));
    fb_buf_fini(&back);
}

static void check_hex(struct fb_bytes text)
{
    struct fb_buf back = {0};
    if (pg_take_hex(&back, (const char *)text.p, text.n))
        fb_assert(back.n == text.n / 2 - 1);
    fb_buf_fini(&back);
}

static void check_names(struct fb_bytes b)
{
    struct fb_buf hold = {0}, sql = {0};
    char time[40];
    struct fuzz_in in = {b.p, b.n};

    pg_format_time((int64_t)fuzz_u64(&in), time);
    fb_assert(strlen(time) < sizeof(time));
    pg_put_ident(&sql, terminated(b, &hold));
    fb_assert(sql.n >= 2 && sql.p[0] == '"' && sql.p[sql.n - 1] == '"');
    for (size_t i = 1; i + 1 < sql.n; i++)
        if (sql.p[i] == '"') /* only doubled: nothing ends the name before its end */
            fb_assert(i + 2 < sql.n && sql.p[++i] == '"');
    (void)pg_classify((char *)hold.p);
    fb_buf_fini(&hold);
    fb_buf_fini(&sql);
}

static void check_conninfo(struct fb_bytes text)
{
    struct fb_buf out = {0};
    struct fb_err err = {0};
    char path[128];
    bool exposed;

    folder_put("pg.conninfo", text);
    snprintf(path, sizeof(path), "%s/pg.conninfo", folder());
    if (sync_conninfo_read(path, &out, &exposed, &err) == FB_OK)
        fb_assert(out.n > 1 && strlen((char *)out.p) == out.n - 1 && !exposed &&
                  strpbrk((char *)out.p, "\r\n") == NULL);
    else
        fb_assert(err.msg[0] != 0);
    fb_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const checks[])(struct fb_bytes) = {check_id,  check_hash,  check_json,
                                                      check_hex, check_names, check_conninfo};
    uint8_t *exact;

    if (n < 1)
        return 0;
    exact = fb_xmalloc(n - 1);
    memcpy(exact, data + 1, n - 1);
    checks[data[0] % FB_COUNT_OF(checks)](fb_bytes(exact, n - 1));
    free(exact);
    return 0;
}
