/* Text of a node's report (report.h). */
#include "node/control/report.h"

#include "proto/base/number.h"

#include <inttypes.h>
#include <stdio.h>

#define INC_DIGITS 16u

void control_report_encode(struct fb_buf *out, uint64_t inc, const struct control_report *reports,
                           uint32_t count)
{
    fb_buf_printf(out, "%016" PRIx64 "\n", inc);
    for (uint32_t i = 0; i < count; i++)
        fb_buf_printf(out, "%u %u %u %" PRIu64 " %d\n", reports[i].part, reports[i].history,
                      reports[i].epoch, reports[i].last_ver, reports[i].damaged);
}

/* The text up to the next `end`, which is taken off too. False: there is none. */
static bool word(struct fb_bytes *text, char end, struct fb_bytes *out)
{
    const uint8_t *at = text->n > 0 ? memchr(text->p, end, text->n) : NULL;

    if (at == NULL)
        return false;
    *out = fb_bytes(text->p, (size_t)(at - text->p));
    *text = fb_bytes(at + 1, text->n - out->n - 1);
    return true;
}

static bool take_inc(struct fb_bytes line, uint64_t *inc)
{
    *inc = 0;
    for (size_t i = 0; i < line.n; i++) {
        uint8_t c = line.p[i];
        uint8_t digit = c >= '0' && c <= '9'   ? (uint8_t)(c - '0')
                        : c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10)
                                               : 16;
        if (digit == 16)
            return false;
        *inc = *inc << 4 | digit;
    }
    return line.n == INC_DIGITS && *inc != 0;
}

/* NULL, or what is wrong with the line. */
static const char *take_line(struct fb_bytes line, uint32_t partitions, struct control_report *r)
{
    static const char *const names[] = {"partition", "history", "epoch", "version"};
    uint64_t field[4], damaged;
    struct fb_bytes text;

    for (uint32_t i = 0; i < FB_COUNT_OF(field); i++)
        if (!word(&line, ' ', &text) || !fb_parse_u64(text, &field[i]))
            return names[i];
    if (!fb_parse_u64(line, &damaged) || damaged > 1)
        return "damaged: 0 or 1";
    if (field[0] >= partitions)
        return "partition: there is none of that number";
    if (field[1] > UINT32_MAX || field[2] > UINT32_MAX)
        return "history or epoch: out of range";
    if (field[3] > INT64_MAX)
        return "version: out of range";
    r->part = (uint16_t)field[0];
    r->history = (uint32_t)field[1];
    r->epoch = (uint32_t)field[2];
    r->last_ver = r->synced_ver = field[3];
    r->damaged = damaged != 0;
    return NULL;
}

enum fb_status control_report_decode(struct fb_bytes text, const char *node, uint32_t partitions,
                                     struct control_report *out, uint32_t *count,
                                     struct fb_err *err)
{
    struct fb_member member = {.inc = 0};
    struct fb_bytes line;
    uint32_t n = 0;

    *count = 0;
    if (node[0] == '\0' || strlen(node) > FB_NAME_BYTES_MAX)
        return fb_err_set(err, FB_EPROTO, "a report of a node without a name, or with a long one");
    memcpy(member.node, node, strlen(node) + 1);
    if (!word(&text, '\n', &line) || !take_inc(line, &member.inc))
        return fb_err_set(err, FB_EPROTO,
                          "line 1: must be the incarnation, 16 hexadecimal digits, and not 0");
    while (text.n > 0) {
        struct control_report r = {.member = member};
        const char *wrong = "does not end";
        if (word(&text, '\n', &line))
            wrong = take_line(line, partitions, &r);
        if (wrong == NULL && n > 0 && r.part <= out[n - 1].part)
            wrong = "partition: not above that of the line before";
        if (wrong != NULL)
            return fb_err_set(err, FB_EPROTO, "line %u: %s", n + 2, wrong);
        out[n++] = r; /* partitions grow, so that there is room */
    }
    *count = n;
    return FB_OK;
}
