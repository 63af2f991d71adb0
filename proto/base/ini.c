/* Strict INI: one line at a time, every byte accounted for. */
#include "proto/base/ini.h"

#include <stdio.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct fb_bytes trim(struct fb_bytes s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* A comment starts the line or follows a blank, so that "a;b" and "#1" inside of a word stay what
 * they are. */
static struct fb_bytes without_comment(struct fb_bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] == ';' || s.p[i] == '#') && (i == 0 || is_blank(s.p[i - 1])))
            return fb_bytes(s.p, i);
    return s;
}

static struct fb_bytes take_line(struct fb_bytes *rest)
{
    const uint8_t *nl = memchr(rest->p, '\n', rest->n);
    size_t n = nl ? (size_t)(nl - rest->p) : rest->n;
    struct fb_bytes line = fb_bytes(rest->p, n);
    size_t used = n + (nl ? 1 : 0);
    rest->p += used;
    rest->n -= used;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

static bool has_control(struct fb_bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return true;
    return false;
}

static struct fb_bytes take_word(struct fb_bytes *s)
{
    size_t n = 0;
    struct fb_bytes word;
    *s = trim(*s);
    while (n < s->n && !is_blank(s->p[n]))
        n++;
    word = fb_bytes(s->p, n);
    s->p += n;
    s->n -= n;
    *s = trim(*s);
    return word;
}

static enum fb_status read_section(struct fb_bytes line, struct fb_ini_item *item,
                                   struct fb_err *err)
{
    const uint8_t *close = memchr(line.p, ']', line.n);
    struct fb_bytes inner, after;

    /* keys that follow a broken section line must not land in the section before it */
    item->section = item->name = fb_bytes(NULL, 0);
    if (close == NULL)
        return fb_err_set(err, FB_EINVAL, "section without closing ']'");
    inner = fb_bytes(line.p + 1, (size_t)(close - line.p) - 1);
    after = fb_bytes(close + 1, line.n - (size_t)(close - line.p) - 1);
    if (after.n > 0)
        return fb_err_set(err, FB_EINVAL, "unexpected text after ']'");
    item->section = take_word(&inner);
    item->name = take_word(&inner);
    if (item->section.n == 0)
        return fb_err_set(err, FB_EINVAL, "empty section name");
    if (inner.n > 0) {
        item->section = item->name = fb_bytes(NULL, 0);
        return fb_err_set(err, FB_EINVAL, "a section has at most two words: [kind name]");
    }
    item->key = item->value = fb_bytes(NULL, 0);
    return FB_OK;
}

static enum fb_status read_pair(struct fb_bytes line, struct fb_ini_item *item, struct fb_err *err)
{
    const uint8_t *eq = memchr(line.p, '=', line.n);
    if (eq == NULL)
        return fb_err_set(err, FB_EINVAL, "expected \"key = value\", \"[section]\" or a comment");
    item->key = trim(fb_bytes(line.p, (size_t)(eq - line.p)));
    item->value = trim(fb_bytes(eq + 1, line.n - (size_t)(eq - line.p) - 1));
    if (item->key.n == 0)
        return fb_err_set(err, FB_EINVAL, "no key before '='");
    for (size_t i = 0; i < item->key.n; i++)
        if (is_blank(item->key.p[i]))
            return fb_err_set(err, FB_EINVAL, "a key has no blanks in it");
    return FB_OK;
}

/* One line into `item`; *found says whether it is anything but blank or comment. */
static enum fb_status read_line(struct fb_bytes line, struct fb_ini_item *item, bool *in_lost,
                                bool *found, struct fb_err *err)
{
    enum fb_status st;
    *found = false;
    if (has_control(line))
        return fb_err_set(err, FB_EINVAL, "control character in the line; is this a text file?");
    line = trim(without_comment(line));
    if (line.n == 0)
        return FB_OK;
    if (line.p[0] == '[') {
        st = read_section(line, item, err);
        *in_lost = st != FB_OK;
        *found = st == FB_OK;
        return st;
    }
    if (*in_lost)
        return FB_OK; /* the section line was the problem; its keys are not judged */
    if (item->section.n == 0)
        return fb_err_set(err, FB_EINVAL, "key before the first [section]");
    st = read_pair(line, item, err);
    *found = st == FB_OK;
    return st;
}

struct cursor {
    struct fb_bytes rest;
    struct fb_ini_item item;
    bool in_lost;
};

static enum fb_status cursor_init(struct cursor *c, struct fb_bytes text, struct fb_err *err)
{
    *c = (struct cursor){.rest = text};
    if (text.n > FB_INI_FILE_BYTES_MAX)
        return fb_err_set(err, FB_ETOOBIG, "%zu bytes are more than the %u allowed", text.n,
                          FB_INI_FILE_BYTES_MAX);
    if (text.n >= 3 &&
        memcmp(text.p, "\xef\xbb\xbf", 3) == 0) { /* byte order mark of some editors */
        c->rest.p += 3;
        c->rest.n -= 3;
    }
    return FB_OK;
}

enum fb_status fb_ini_parse(const char *file, struct fb_bytes text, fb_ini_fn fn, void *arg,
                            struct fb_err *err)
{
    struct cursor c;
    enum fb_status st;
    if (err != NULL)
        *err = (struct fb_err){
            0}; /* `fn` may return a status without a message; wrapping needs some text */
    st = cursor_init(&c, text, err);
    if (st != FB_OK)
        return fb_err_wrap(err, st, "%s", file);
    while (c.rest.n > 0) {
        struct fb_bytes line = take_line(&c.rest);
        bool found;
        c.item.line++;
        st = read_line(line, &c.item, &c.in_lost, &found, err);
        if (st == FB_OK && found)
            st = fn(arg, &c.item, err);
        if (st != FB_OK)
            return fb_err_wrap(err, st, "%s:%u", file, c.item.line);
    }
    return FB_OK;
}

void fb_ini_walk(struct fb_bytes text, fb_ini_fn fn, fb_ini_problem_fn problem, void *arg)
{
    struct cursor c;
    struct fb_err err = {0};
    if (cursor_init(&c, text, &err) != FB_OK) {
        problem(arg, 0, err.msg);
        return;
    }
    while (c.rest.n > 0) {
        struct fb_bytes line = take_line(&c.rest);
        bool found;
        enum fb_status st;
        c.item.line++;
        err = (struct fb_err){0};
        st = read_line(line, &c.item, &c.in_lost, &found, &err);
        if (st == FB_OK && found)
            st = fn(arg, &c.item, &err);
        if (st != FB_OK)
            problem(arg, c.item.line, err.msg[0] ? err.msg : fb_status_text(st));
    }
}

#define WORD_BYTES_MAX 64u

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment: insert, delete, replace, swap of neighbours. Both words at most
 * WORD_BYTES_MAX. */
static size_t edit_distance(struct fb_bytes a, struct fb_bytes b)
{
    size_t row[3][WORD_BYTES_MAX + 1];
    size_t *before = row[0], *prev = row[1], *cur = row[2];
    for (size_t j = 0; j <= b.n; j++)
        prev[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *recycled = before;
        cur[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t differ = a.p[i - 1] != b.p[j - 1];
            cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + differ);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                before[j - 2] + 1 < cur[j])
                cur[j] = before[j - 2] + 1;
        }
        before = prev;
        prev = cur;
        cur = recycled;
    }
    return prev[b.n];
}

const char *fb_nearest(struct fb_bytes word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t best_distance = word.n / 2 < 3 ? word.n / 2 : 3;
    if (word.n > WORD_BYTES_MAX || word.n < 2)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct fb_bytes c = fb_bytes_str(candidates[i]);
        size_t d;
        if (c.n > WORD_BYTES_MAX)
            continue;
        d = edit_distance(word, c);
        if (d < best_distance || (d == best_distance && best == NULL)) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}
