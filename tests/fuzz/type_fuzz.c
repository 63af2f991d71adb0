/* Texts against the input rules of column types (the differential test against PostgreSQL itself is
 * tests/unit/pg/check_test.c). The first bytes choose type, length and scale.
 *
 * Besides sanitizers: a refusal says why in one line of text; blanks around a number change
 * nothing; what is wider takes what is narrower takes; a canonical text is a valid one; an id that
 * passes splits into parts that give the same id.
 */
#include "tests/fuzz/input.h"

#include "proto/base/buf.h"
#include "proto/base/utf8.h"
#include "proto/cluster/schema.h"
#include "proto/cluster/type_input.h"

#include <stdio.h>
#include <stdlib.h>

static char labels[3][FB_NAME_BYTES_MAX + 1] = {"sad", "so so", "\xc3\xa4"};

static bool takes(struct fb_column *c, struct fb_bytes text)
{
    struct fb_err err = {0};
    enum fb_status s = fb_column_check(c, text, &err);
    if (s == FB_OK)
        return true;
    fb_assert(s == FB_EINVAL && strstr(err.msg, "\"v\"") != NULL);
    fb_assert(strchr(err.msg, '\n') == NULL && strchr(err.msg, '\r') == NULL);
    /* cut at a limit, perhaps, but up to there it is text */
    fb_assert(strlen(err.msg) >= FB_ERR_MSG_BYTES_MAX - 4 ||
              fb_utf8_valid(fb_bytes_str(err.msg), NULL));
    return false;
}

static bool takes_as(enum fb_type_check check, const char *type, struct fb_bytes text)
{
    struct fb_column c = {.name = "v", .check = check, .length = -1, .scale = -1};
    snprintf(c.type, sizeof(c.type), "%s", type);
    return takes(&c, text);
}

static void check_numbers(struct fb_bytes text)
{
    struct fb_buf padded = {0};
    bool two = takes_as(FB_TYPE_INT2, "smallint", text);
    bool four = takes_as(FB_TYPE_INT4, "integer", text);
    bool eight = takes_as(FB_TYPE_INT8, "bigint", text);

    fb_assert((!two || four) && (!four || eight));
    fb_assert(!eight || takes_as(FB_TYPE_NUMERIC, "numeric", text));
    fb_assert(!eight || takes_as(FB_TYPE_FLOAT, "double precision", text));
    fb_assert(!takes_as(FB_TYPE_FLOAT, "real", text) ||
              takes_as(FB_TYPE_FLOAT, "double precision", text));
    fb_buf_put_str(&padded, " \t");
    fb_buf_put_bytes(&padded, text);
    fb_buf_put_str(&padded, "\n ");
    fb_assert(takes_as(FB_TYPE_INT8, "bigint", fb_buf_view(&padded)) == eight);
    fb_assert(takes_as(FB_TYPE_NUMERIC, "numeric", fb_buf_view(&padded)) ==
              takes_as(FB_TYPE_NUMERIC, "numeric", text));
    fb_buf_fini(&padded);
    fb_assert(!fb_canonical_uuid(text) || takes_as(FB_TYPE_UUID, "uuid", text));
    fb_assert(!fb_canonical_date(text) || takes_as(FB_TYPE_DATE, "date", text));
    fb_assert(!takes_as(FB_TYPE_JSONB, "jsonb", text) || takes_as(FB_TYPE_JSON, "json", text));
    fb_assert(!takes_as(FB_TYPE_TEXT, "text", text) || fb_utf8_valid(text, NULL));
    if (fb_canonical_int(text) && text.n < 19)
        fb_assert(eight);
}

/* Percent-escapes: an id made of the parts is the id. */
static void check_id(struct fb_bytes id, uint8_t how)
{
    static const enum fb_type_check types[] = {FB_TYPE_INT4, FB_TYPE_TEXT,    FB_TYPE_UUID,
                                               FB_TYPE_DATE, FB_TYPE_VARCHAR, FB_TYPE_INT8};
    struct fb_column columns[3];
    struct fb_schema s = {.ns = "u", .columns = columns, .column_count = 1 + how % 3};
    struct fb_bytes parts[16];
    struct fb_buf scratch = {0}, joined = {0};
    struct fb_err err = {0};

    memset(columns, 0, sizeof(columns));
    s.key_count = s.column_count;
    for (uint32_t i = 0; i < s.column_count; i++) {
        columns[i].check = types[(how / 3 + i) % FB_COUNT_OF(types)];
        columns[i].length = columns[i].check == FB_TYPE_VARCHAR ? 5 : -1;
        columns[i].scale = -1;
        columns[i].is_key = columns[i].not_null = true;
        columns[i].attnum = (uint16_t)(i + 1);
        snprintf(columns[i].name, sizeof(columns[i].name), "k%u", i);
        snprintf(columns[i].type, sizeof(columns[i].type), "t%u", i);
        s.key_columns[i] = (uint16_t)i;
    }
    if (fb_schema_check_id(&s, id, &err) != FB_OK) {
        fb_assert(err.msg[0] != 0);
        return;
    }
    fb_assert(fb_schema_split_id(&s, id, &scratch, parts) == FB_OK);
    for (uint32_t i = 0; i < s.key_count; i++) {
        fb_assert(fb_column_check(&columns[i], parts[i], &err) == FB_OK);
        if (i > 0)
            fb_buf_put_u8(&joined, '/');
        for (size_t k = 0; k < parts[i].n; k++)
            if (s.key_count > 1 && (parts[i].p[k] == '/' || parts[i].p[k] == '%'))
                fb_buf_printf(&joined, "%%%02X", parts[i].p[k]);
            else
                fb_buf_put_u8(&joined, parts[i].p[k]);
    }
    fb_assert(fb_bytes_equal(fb_buf_view(&joined), id));
    fb_buf_fini(&scratch);
    fb_buf_fini(&joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_in in = {data, n};
    uint8_t how = fuzz_u8(&in);
    struct fb_column c = {.name = "v",
                          .type = "t",
                          .check = (enum fb_type_check)(how % (FB_TYPE_DATE + 1)),
                          .length = (int32_t)(fuzz_u8(&in)) - 1,
                          .scale = (int32_t)(fuzz_u8(&in)) - 1,
                          .label_count = 3,
                          .labels = labels};
    uint8_t *exact = fb_xmalloc(in.n);
    struct fb_bytes text = {exact, in.n};

    if (in.n > 0)
        memcpy(exact, in.p, in.n);
    (void)takes(&c, text);
    check_numbers(text);
    check_id(text, how);
    free(exact);
    return 0;
}
