/* Tables for people, JSON for programs. Data on stdout, messages on stderr. */
#include "proto/base/clock.h"
#include "tools/ctl/ctl.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int ctl_fail(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("forebayctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return code;
}

void ctl_note(const struct ctl *c, const char *fmt, ...)
{
    va_list ap;
    if (c->quiet)
        return;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

void ctl_trace(const struct ctl *c, uint64_t since_ns, const char *fmt, ...)
{
    uint64_t us = (fb_mono_ns() - since_ns) / 1000;
    va_list ap;
    if (!c->verbose)
        return;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, ", %llu.%03llu ms\n", (unsigned long long)us / 1000,
            (unsigned long long)us % 1000);
    va_end(ap);
}

bool ctl_confirm(const struct ctl *c, const char *question)
{
    char line[16];
    if (c->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        ctl_fail(0, "%s: there is no terminal to ask on; say -y", question);
        return false;
    }
    fprintf(stderr, "%s [y/N] ", question);
    return fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

const char *ctl_age(uint64_t ms, char *out)
{
    uint64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(out, 32, "%llums", (unsigned long long)ms);
    else if (s < 120)
        snprintf(out, 32, "%llu.%llus", (unsigned long long)s,
                 (unsigned long long)(ms % 1000 / 100));
    else if (s < 7200)
        snprintf(out, 32, "%llum%llus", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
    else
        snprintf(out, 32, "%lluh%llum", (unsigned long long)(s / 3600),
                 (unsigned long long)(s % 3600 / 60));
    return out;
}

const char *ctl_time(uint64_t ms, char *out)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    size_t n;
    if (gmtime_r(&s, &tm) == NULL) {
        snprintf(out, 40, "%llu ms", (unsigned long long)ms);
        return out;
    }
    n = strftime(out, 30, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 40 - n, ".%03uZ", (unsigned)(ms % 1000));
    return out;
}

/* Text of a cell, into a heap string. */
static char *cell(json_t *v)
{
    char num[64];
    if (v == NULL || json_is_null(v))
        return fb_xstrdup("-");
    if (json_is_string(v))
        return fb_xstrdup(json_string_length(v) ? json_string_value(v) : "-");
    if (json_is_boolean(v))
        return fb_xstrdup(json_is_true(v) ? "yes" : "no");
    if (json_is_integer(v)) {
        snprintf(num, sizeof(num), "%lld", (long long)json_integer_value(v));
        return fb_xstrdup(num);
    }
    if (json_is_real(v)) {
        snprintf(num, sizeof(num), fabs(json_real_value(v)) < 100 ? "%.1f" : "%.0f",
                 json_real_value(v));
        return fb_xstrdup(num);
    }
    {
        char *s = json_dumps(v, JSON_COMPACT);
        char *copy = fb_xstrdup(s ? s : "-");
        free(s);
        return copy;
    }
}

/* What a terminal would obey is shown instead: keys and messages are others' bytes. */
static char *printable(char *s)
{
    for (char *p = s; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = *p == '\n' || *p == '\t' ? ' ' : '?';
    return s;
}

/* Characters, not bytes (of UTF-8; each is taken as one column wide). */
static size_t columns_of(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void print_padded(const char *s, size_t width)
{
    size_t n = columns_of(s);
    printf("%s%*s", s, width > n ? (int)(width - n) : 0, "");
}

static void print_table(struct ctl *c, json_t *rows, const struct ctl_column *columns, size_t count)
{
    size_t n = json_array_size(rows), shown[32], cols = 0;
    char **cells;
    size_t width[32] = {0};

    for (size_t i = 0; i < count && cols < 32; i++)
        if (!columns[i].wide || c->format == CTL_WIDE)
            shown[cols++] = i;
    cells = fb_xcalloc(n * cols + 1, sizeof(*cells));
    for (size_t j = 0; j < cols; j++)
        width[j] = strlen(columns[shown[j]].title);
    for (size_t r = 0; r < n; r++) {
        for (size_t j = 0; j < cols; j++) {
            char *s =
                printable(cell(json_object_get(json_array_get(rows, r), columns[shown[j]].field)));
            cells[r * cols + j] = s;
            if (columns_of(s) > width[j])
                width[j] = columns_of(s);
        }
    }
    if (c->color)
        printf("\033[1m");
    for (size_t j = 0; j < cols; j++)
        printf("%-*s%s", (int)(j + 1 < cols ? width[j] : 0), columns[shown[j]].title,
               j + 1 < cols ? "  " : "");
    printf("%s\n", c->color ? "\033[0m" : "");
    for (size_t r = 0; r < n; r++) {
        for (size_t j = 0; j < cols; j++) {
            print_padded(cells[r * cols + j], j + 1 < cols ? width[j] : 0);
            fputs(j + 1 < cols ? "  " : "\n", stdout);
            free(cells[r * cols + j]);
        }
    }
    free(cells);
}

static void print_json(json_t *v, size_t flags)
{
    char *s = json_dumps(v, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    if (s != NULL)
        puts(s);
    free(s);
}

void ctl_print_rows(struct ctl *c, json_t *rows, const struct ctl_column *columns, size_t count)
{
    size_t i;
    json_t *row;
    switch (c->format) {
    case CTL_JSON:
        print_json(rows, JSON_INDENT(2));
        break;
    case CTL_JSONL:
        json_array_foreach(rows, i, row) print_json(row, JSON_COMPACT);
        break;
    case CTL_NAME:
        json_array_foreach(rows, i, row)
        {
            char *s = cell(json_object_get(row, columns[0].field));
            puts(s);
            free(s);
        }
        break;
    default:
        print_table(c, rows, columns, count);
        break;
    }
}

static void print_fields(json_t *o, int indent)
{
    const char *key;
    json_t *v;
    json_object_foreach(o, key, v)
    {
        if (json_is_object(v)) {
            printf("%*s%s\n", indent, "", key);
            print_fields(v, indent + 2);
        } else if (json_is_array(v) && json_is_object(json_array_get(v, 0))) {
            size_t i;
            json_t *e;
            printf("%*s%s\n", indent, "", key);
            json_array_foreach(v, i, e)
            {
                char *s = json_dumps(e, JSON_COMPACT);
                printf("%*s%s\n", indent + 2, "", s ? s : "");
                free(s);
            }
        } else {
            char *s = printable(cell(v));
            printf("%*s%-*s %s\n", indent, "", 24 - indent, key, s);
            free(s);
        }
    }
}

void ctl_print_object(struct ctl *c, json_t *o)
{
    if (c->format == CTL_JSON)
        print_json(o, JSON_INDENT(2));
    else if (c->format == CTL_JSONL)
        print_json(o, JSON_COMPACT);
    else
        print_fields(o, 0);
}
