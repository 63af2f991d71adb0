/* Mapped tables in tests: namespaces, rows, batches of one feed. */
#ifndef FB_TESTS_UNIT_PG_ROWS_UTIL_H_
#define FB_TESTS_UNIT_PG_ROWS_UTIL_H_

#include "tests/unit/pg/fixture.h"

#define HAS_ROW (FB_OBJECT_HAS_BASE | FB_OBJECT_TOKEN_KNOWN)

/* value = row, external = detect, in schema app. */
struct fb_namespace rows_mapping(const char *name, const char *table, const char *key);
/* The table's description; usable also fails the test when it cannot be served. fb_schema_free. */
struct fb_schema *rows_schema(struct fixture *f, const struct fb_namespace *ns);
struct fb_schema *rows_usable(struct fixture *f, const struct fb_namespace *ns);
uint64_t rows_bit(const struct fb_schema *s, const char *column);
/* A field of a hash; the text is valid for the next 7 calls, "(null)" for none. */
void rows_put(struct fb_buf *h, const char *name, const char *value);
const char *rows_field(struct fb_bytes hash, const char *name);
/* One batch of one feed, from the checkpoint as it is now. */
enum pg_class rows_apply(struct fixture *f, struct pg_batch *b, const struct fb_namespace *ns,
                         const struct fb_schema *s, const struct fb_feed_object *o, size_t n,
                         struct pg_error *err);
/* Fails the test with the error. */
void rows_must(enum pg_class c, const struct pg_error *err);
/* A group setup: the fixture's, and schema app. */
int rows_start(void **state);

#endif
