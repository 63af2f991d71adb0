/* Any bytes from a client: parsed whole and in pieces they must give the same commands, and each
 * must get a plan whose operations survive their own encoding. The first byte chooses the size of
 * the pieces.
 */
#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>

#include "router/resp/parser.h"
#include "router/resp/translate.h"

#define NOW_MS INT64_C(1700000000000)

static void check_plan(struct resp_arena *arena, struct fb_buf *out, const struct resp_parser *p)
{
    struct resp_plan plan;
    struct fb_buf wire = {0};
    bool late;
    fb_buf_clear(out);
    resp_translate(&plan, arena, out, p->argv, p->argc, NOW_MS);
    late =
        plan.kind != RESP_PLAN_ERROR && plan.nops > 0 &&
        (plan.shape.form == RESP_FORM_LATE_ERROR || plan.shape.form == RESP_FORM_HSCAN_LATE_ERROR);
    fb_assert((plan.kind == RESP_PLAN_ERROR || late) == (out->n > 0));
    fb_assert(!late || fb_bytes_equal(plan.shape.match, fb_buf_view(out)));
    for (uint32_t i = 0; i < plan.nops; i++) {
        struct fb_reader in;
        struct fb_req back;
        fb_buf_clear(&wire);
        fb_req_encode(&wire, &plan.ops[i]);
        in = fb_reader(fb_buf_view(&wire));
        fb_assert(fb_req_decode(&in, &back) == FB_OK && in.n == 0);
        fb_assert(back.op == plan.ops[i].op && fb_bytes_equal(back.key, plan.ops[i].key));
        fb_assert(fb_bytes_equal(back.args, plan.ops[i].args));
    }
    fb_buf_fini(&wire);
}

/* Parse all, `step` bytes more at a time, from copies of the exact size; the commands as one run of
 * bytes. */
static void parse_all(const uint8_t *data, size_t n, size_t step, struct fb_buf *told,
                      struct resp_arena *arena)
{
    struct resp_parser p;
    struct fb_buf out = {0};
    size_t have = 0, gone = 0, used;
    enum resp_parse r = RESP_PARSE_MORE;
    resp_parser_init(&p);
    while (r != RESP_PARSE_ERROR && have < n) {
        have = n - have > step ? have + step : n;
        do {
            uint8_t *copy = malloc(have - gone + 1);
            fb_assert(copy != NULL);
            memcpy(copy + 1, data + gone, have - gone);
            r = resp_parse(&p, copy + 1, have - gone, &used);
            gone += used;
            for (uint32_t i = 0; r == RESP_PARSE_COMMAND && i < p.argc; i++)
                fb_list_put(told, p.argv[i]);
            if (r == RESP_PARSE_COMMAND) {
                fb_list_put_null(told);
                check_plan(arena, &out, &p);
            }
            free(copy);
        } while (r == RESP_PARSE_COMMAND);
    }
    if (r == RESP_PARSE_ERROR)
        fb_buf_put_str(told, resp_parser_error(&p));
    fb_buf_fini(&out);
    resp_parser_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fb_buf whole = {0}, pieces = {0};
    struct resp_arena arena = {0};
    if (n < 2)
        return 0;
    parse_all(data + 1, n - 1, n, &whole, &arena);
    parse_all(data + 1, n - 1, 1 + data[0] % 32, &pieces, &arena);
    fb_assert(fb_bytes_equal(fb_buf_view(&whole), fb_buf_view(&pieces)));
    fb_buf_fini(&whole);
    fb_buf_fini(&pieces);
    resp_arena_fini(&arena);
    return 0;
}
