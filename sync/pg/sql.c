/* Pieces of SQL text. */
#include "sync/pg/internal.h"

#include <stdio.h>
#include <time.h>

/* 9999-12-31: beyond it PostgreSQL's and our arithmetic part ways; nobody waits for it. */
/* 294276-12-31 23:59:59.999, where timestamptz ends */
#define PG_TIME_MS_MAX INT64_C(9224318015999999)

void pg_put_ident(struct fb_buf *b, const char *name)
{
    fb_buf_put_u8(b, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            fb_buf_put_u8(b, '"');
        fb_buf_put_u8(b, (uint8_t)*name);
    }
    fb_buf_put_u8(b, '"');
}

void pg_put_table(struct fb_buf *b, const struct fb_namespace *ns)
{
    pg_put_ident(b, ns->table_schema[0] == '\0' ? "public" : ns->table_schema);
    fb_buf_put_u8(b, '.');
    pg_put_ident(b, ns->table_name);
}

const char *pg_cstr(struct fb_buf *b)
{
    *fb_buf_reserve(b, 1) = '\0';
    return (const char *)b->p;
}

void pg_put_cast_type(struct fb_buf *b, const struct fb_column *c)
{
    const char *s = c->type;
    bool quoted = false;
    int depth = 0;
    /* "character" and "bit" without a length mean a length of one: their catalog names do not. */
    if (strncmp(s, "character(", 10) == 0 || strcmp(s, "character") == 0 ||
        strncmp(s, "character[", 10) == 0) {
        fb_buf_put_str(b, "pg_catalog.bpchar");
        s += strlen("character");
    } else if (strncmp(s, "bit(", 4) == 0 || strcmp(s, "bit") == 0 || strncmp(s, "bit[", 4) == 0) {
        fb_buf_put_str(b, "pg_catalog.\"bit\"");
        s += strlen("bit");
    }
    for (; *s != '\0'; s++) {
        if (*s == '"')
            quoted = !quoted;
        if (!quoted && *s == '(')
            depth++;
        if (depth == 0)
            fb_buf_put_u8(b, (uint8_t)*s);
        if (!quoted && *s == ')' && depth > 0)
            depth--;
    }
}

void pg_format_time(int64_t ms, char out[40])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (ms <= 0 || ms > PG_TIME_MS_MAX || gmtime_r(&s, &tm) == NULL) {
        snprintf(out, 40, "infinity");
        return;
    }
    snprintf(out, 40, "%04d-%02d-%02d %02d:%02d:%02d.%03d+00", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

void pg_format_uuid(const uint8_t u[16], char out[37])
{
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        snprintf(out + at, 3, "%02x", u[i]);
        at += 2;
    }
}
