/* Lines of a file for `forebayctl deadletter retry --file`, which people edit.
 *
 * Besides sanitizers and assertions: an error has a reason; a line that is taken has a key, and
 * arguments that are a whole request; written as `deadletter export` writes what is not text, it is
 * read the same.
 */
#include "tests/fuzz/input.h"
#include "tools/ctl/letter_line.h"

#include "proto/base/bounds.h"
#include "proto/wire/request.h"
#include "proto/wire/value.h"

static void put_json_string(struct fb_buf *out, struct fb_bytes text)
{
    fb_buf_put_u8(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < 0x20 || text.p[i] == '"' || text.p[i] == '\\')
            fb_buf_printf(out, "\\u%04x", text.p[i]);
        else
            fb_buf_put_u8(out, text.p[i]);
    }
    fb_buf_put_u8(out, '"');
}

/* The value as it is stored; false: no hash that any object holds (a field is longer). */
static bool stored(const struct letter_line *l, struct fb_buf *out)
{
    struct fb_bytes rest = fb_buf_view(&l->args), name, value;
    bool ok = true;

    if (l->kind == FB_KIND_STRING) {
        fb_assert(l->nargs == 1 && fb_list_next(&rest, &value) && rest.n == 0);
        fb_buf_put_bytes(out, value);
        return true;
    }
    fb_assert(l->nargs > 0 && l->nargs % 2 == 0);
    for (uint32_t i = 0; i < l->nargs; i += 2) {
        fb_assert(fb_list_next(&rest, &name) && fb_list_next(&rest, &value));
        ok = ok && name.n <= FB_FIELD_BYTES_MAX;
        if (ok)
            fb_hash_put(out, name, value);
    }
    fb_assert(rest.n == 0);
    return ok;
}

static void check_again(const struct letter_line *l)
{
    static const char *const kinds[] = {"none", "string", "hash"};
    struct fb_buf value = {0}, line = {0};
    struct letter_line again;
    struct fb_err err;

    if (l->kind == FB_KIND_NONE || stored(l, &value)) {
        fb_buf_put_str(&line, "{\"key\":");
        put_json_string(&line, fb_buf_view(&l->key));
        fb_buf_printf(&line, ",\"expires_ms\":%lld,\"kind\":\"%s\",\"value\":{\"hex\":\"",
                      (long long)l->expires_ms, kinds[l->kind]);
        for (size_t i = 0; i < value.n; i++)
            fb_buf_printf(&line, "%02x", value.p[i]);
        fb_buf_put_str(&line, "\"}}\n");
        fb_assert(letter_line_read(fb_buf_view(&line), &again, &err) == FB_OK);
        fb_assert(fb_bytes_equal(fb_buf_view(&again.key), fb_buf_view(&l->key)));
        fb_assert(fb_bytes_equal(fb_buf_view(&again.args), fb_buf_view(&l->args)));
        fb_assert(again.kind == l->kind && again.nargs == l->nargs &&
                  again.expires_ms == l->expires_ms);
        letter_line_fini(&again);
    }
    fb_buf_fini(&value);
    fb_buf_fini(&line);
}

static void check_request(const struct letter_line *l)
{
    struct fb_req req = {.op = l->kind == FB_KIND_NONE   ? FB_OP_DEL
                               : l->kind == FB_KIND_HASH ? FB_OP_HSET
                                                         : FB_OP_SET,
                         .key = fb_buf_view(&l->key),
                         .args = fb_buf_view(&l->args),
                         .nargs = l->nargs,
                         .b = l->expires_ms},
                  back;
    struct fb_buf bytes = {0};
    struct fb_reader r;

    fb_req_encode(&bytes, &req);
    r = fb_reader(fb_buf_view(&bytes));
    fb_assert(fb_req_decode(&r, &back) == FB_OK && r.n == 0);
    fb_assert(fb_bytes_equal(back.args, req.args) && back.nargs == req.nargs && back.b == req.b);
    fb_buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct letter_line l;
    struct fb_err err = {0};

    if (letter_line_read(fb_bytes(data, n), &l, &err) != FB_OK) {
        fb_assert(err.msg[0] != 0);
    } else {
        fb_assert(l.key.n > 0 && l.key.n <= FB_KEY_BYTES_MAX && l.expires_ms >= 0);
        check_again(&l);
        check_request(&l);
    }
    letter_line_fini(&l);
    return 0;
}
