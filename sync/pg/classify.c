/* SQLSTATE to class (PROTOCOL 11). Pure. */
#include "sync/pg/pg.h"

#include <string.h>

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

enum pg_class pg_classify(const char *s)
{
    if (s == NULL || s[0] == '\0' || starts(s, "08") || starts(s, "57P0") || starts(s, "53") ||
        starts(s, "58") || starts(s, "XX") || starts(s, "28") || starts(s, "3D") ||
        starts(s, "25P03")) /* ended because it was idle in a transaction: we were paused */
        return PG_OUTAGE;
    if (starts(s, "40001") || starts(s, "40P01"))
        return PG_RETRY;
    if (starts(s, "23503"))
        return PG_FOREIGN_KEY;
    /* P0: raised by a trigger's function; 44: a view's check option; 54: a row too large for its
     * page or index; 2F, 38, 39: what functions do. All of them depend on the row. */
    if (starts(s, "22") || starts(s, "23") || starts(s, "P0") || starts(s, "44") ||
        starts(s, "54") || starts(s, "38") || starts(s, "39") || starts(s, "2F") || starts(s, "21"))
        return PG_ROW;
    return PG_NAMESPACE;
}
