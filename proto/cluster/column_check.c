/* One value against its column, with the message a user reads. */
#include "proto/cluster/schema.h"

#include "proto/base/utf8.h"
#include "proto/cluster/type_input.h"

#include <stdio.h>

#define QUOTE_BYTES_MAX 40u
#define QUOTE_TEXT_MAX (QUOTE_BYTES_MAX * 4 + 8)

/* At most 40 bytes of a value between quotes, whatever they are. */
static const char *quote(struct fb_bytes s, char out[QUOTE_TEXT_MAX])
{
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < s.n;) {
        size_t c = fb_utf8_char(s.p + i, s.n - i);
        if (i + (c ? c : 1) > QUOTE_BYTES_MAX) {
            memcpy(out + n, "...", 3);
            n += 3;
            break;
        }
        if (c == 0 || s.p[i] < 0x20 || s.p[i] == 0x7f) {
            n += (size_t)snprintf(out + n, QUOTE_TEXT_MAX - n, "\\x%02x", s.p[i]);
            c = 1;
        } else {
            if (s.p[i] == '"' || s.p[i] == '\\')
                out[n++] = '\\';
            memcpy(out + n, s.p + i, c);
            n += c;
        }
        i += c;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

static enum fb_status invalid(const struct fb_column *c, struct fb_bytes text, const char *is_not,
                              struct fb_err *err)
{
    char q[QUOTE_TEXT_MAX];
    return fb_err_set(err, FB_EINVAL, "invalid input for column \"%s\" of type %s: %s is not %s",
                      c->name, c->type, quote(text, q), is_not);
}

static enum fb_status judged(const struct fb_column *c, struct fb_bytes text, enum fb_input result,
                             const char *is_not, struct fb_err *err)
{
    char q[QUOTE_TEXT_MAX];
    switch (result) {
    case FB_INPUT_OK:
        return FB_OK;
    case FB_INPUT_SYNTAX:
        return invalid(c, text, is_not, err);
    case FB_INPUT_RANGE:
        break;
    }
    return fb_err_set(err, FB_EINVAL, "value for column \"%s\" of type %s is out of range: %s",
                      c->name, c->type, quote(text, q));
}

/* What every type shares: PostgreSQL takes no value that is not text. */
static enum fb_status check_text(const struct fb_column *c, struct fb_bytes text, size_t *chars,
                                 struct fb_err *err)
{
    char q[QUOTE_TEXT_MAX];
    if (text.n > 0 && memchr(text.p, 0, text.n) != NULL)
        return fb_err_set(err, FB_EINVAL,
                          "value for column \"%s\" of type %s contains a zero byte, which "
                          "PostgreSQL cannot store: %s",
                          c->name, c->type, quote(text, q));
    if (!fb_utf8_valid(text, chars))
        return invalid(c, text, "valid UTF-8", err);
    return FB_OK;
}

static enum fb_status check_length(const struct fb_column *c, size_t chars, struct fb_bytes text,
                                   struct fb_err *err)
{
    char q[QUOTE_TEXT_MAX];
    if (c->length >= 0 && chars > (size_t)c->length)
        return fb_err_set(
            err, FB_EINVAL,
            "value for column \"%s\" of type %s is too long: %zu characters, at most %d: %s",
            c->name, c->type, chars, (int)c->length, quote(text, q));
    return FB_OK;
}

static enum fb_status check_json(const struct fb_column *c, struct fb_bytes text,
                                 struct fb_err *err)
{
    char q[QUOTE_TEXT_MAX];
    const char *why = "";
    if (fb_input_json(text, c->check == FB_TYPE_JSONB, &why) == FB_INPUT_OK)
        return FB_OK;
    return fb_err_set(err, FB_EINVAL,
                      "invalid input for column \"%s\" of type %s: %s is not JSON: %s", c->name,
                      c->type, quote(text, q), why);
}

static enum fb_status check_label(const struct fb_column *c, struct fb_bytes text,
                                  struct fb_err *err)
{
    char q[QUOTE_TEXT_MAX], list[200];
    size_t n = 0;
    uint32_t i;
    for (i = 0; i < c->label_count; i++)
        if (fb_bytes_is(text, c->labels[i]))
            return FB_OK;
    list[0] = '\0';
    for (i = 0; i < c->label_count && n + strlen(c->labels[i]) + 8 < sizeof(list); i++)
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", c->labels[i]);
    return fb_err_set(err, FB_EINVAL,
                      "invalid input for column \"%s\" of type %s: %s is none of its labels (%s%s)",
                      c->name, c->type, quote(text, q), list, i < c->label_count ? ", ..." : "");
}

enum fb_status fb_column_check(const struct fb_column *c, struct fb_bytes text, struct fb_err *err)
{
    size_t chars = 0;
    enum fb_status st = check_text(c, text, &chars, err);
    if (st != FB_OK)
        return st;
    switch (c->check) {
    case FB_TYPE_INT2:
        return judged(c, text, fb_input_int(text, 16), "an integer", err);
    case FB_TYPE_INT4:
        return judged(c, text, fb_input_int(text, 32), "an integer", err);
    case FB_TYPE_INT8:
        return judged(c, text, fb_input_int(text, 64), "an integer", err);
    case FB_TYPE_BOOL:
        return judged(c, text, fb_input_bool(text), "true or false", err);
    case FB_TYPE_UUID:
        return judged(c, text, fb_input_uuid(text), "a uuid", err);
    case FB_TYPE_NUMERIC:
        return judged(c, text, fb_input_numeric(text, c->length, c->scale), "a number", err);
    case FB_TYPE_FLOAT:
        return judged(c, text, fb_input_float(text, strcmp(c->type, "real") == 0), "a number", err);
    case FB_TYPE_VARCHAR:
    case FB_TYPE_CHAR:
        return check_length(c, chars, text, err);
    case FB_TYPE_JSON:
    case FB_TYPE_JSONB:
        return check_json(c, text, err);
    case FB_TYPE_ENUM:
        return check_label(c, text, err);
    case FB_TYPE_BYTEA:
        return judged(c, text, fb_input_bytea(text), "bytea in hex (\\x...) or escape form", err);
    case FB_TYPE_DATE:
        return judged(c, text, fb_input_date(text), "a date written YYYY-MM-DD", err);
    case FB_TYPE_TEXT:
    case FB_TYPE_OTHER:
        break;
    }
    return FB_OK;
}
