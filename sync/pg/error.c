/* PostgreSQL's errors as classes. */
#include "sync/pg/internal.h"

#include <stdarg.h>
#include <stdio.h>

/* Text on one line, within the message's bounds. */
static void append(char *out, size_t size, const char *text)
{
    size_t n = strlen(out);
    for (; *text != '\0' && n + 1 < size; text++)
        out[n++] = (*text == '\n' || *text == '\r' || *text == '\t') ? ' ' : *text;
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

enum pg_class pg_error_set(struct pg_error *err, enum pg_class class, const char *sqlstate,
                           const char *fmt, ...)
{
    va_list ap;
    *err = (struct pg_error){.class = class, .feed = UINT32_MAX};
    snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate);
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    append(err->remark, sizeof(err->remark), err->message);
    return class;
}

/* Which rule of the table a row broke, in names of the catalog only. There is a result: its
 * SQLSTATE said that it was a row. */
static void remark_row(const PGresult *res, struct pg_error *err)
{
    static const struct {
        int field;
        const char *word;
    } parts[] = {{PG_DIAG_TABLE_NAME, " of table "},
                 {PG_DIAG_COLUMN_NAME, ", column "},
                 {PG_DIAG_CONSTRAINT_NAME, ", constraint "},
                 {PG_DIAG_DATATYPE_NAME, ", type "}};
    size_t n = (size_t)snprintf(err->remark, sizeof(err->remark), "PostgreSQL refused a row");
    for (size_t i = 0; i < FB_COUNT_OF(parts) && n < sizeof(err->remark); i++) {
        const char *name = PQresultErrorField(res, parts[i].field);
        if (name != NULL)
            n += (size_t)snprintf(err->remark + n, sizeof(err->remark) - n, "%s%s", parts[i].word,
                                  name);
    }
}

enum pg_class pg_error_of(struct pg *pg, const PGresult *res, struct pg_error *err)
{
    const char *state = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    pg_error_set(err, pg_classify(state), state == NULL ? "" : state, "%s", "");
    if (text == NULL && res != NULL)
        text = PQresultErrorMessage(res);
    if (text == NULL || text[0] == '\0')
        text = pg->conn == NULL ? "not connected to PostgreSQL" : PQerrorMessage(pg->conn);
    append(err->message, sizeof(err->message),
           text[0] == '\0' ? "the connection to PostgreSQL broke" : text);
    if (detail != NULL) {
        append(err->message, sizeof(err->message), ": ");
        size_t n = strlen(err->message); /* append drops blanks at the end */
        if (n > 0 && n + 2 < sizeof(err->message))
            memcpy(err->message + n, " ", 2);
        append(err->message, sizeof(err->message), detail);
    }
    if (err->class == PG_ROW || err->class == PG_FOREIGN_KEY)
        remark_row(res, err);
    else
        append(err->remark, sizeof(err->remark), err->message);
    return err->class;
}
