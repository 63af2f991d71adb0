/* Strict INI: [section name], key = value, comments with ';' or '#', no continuation, no limit on
 * line length but the file's. Pure: text in, callbacks out. Debian's inih splits long lines
 * silently and gives no line numbers, hence our own. */
#ifndef FB_PROTO_BASE_INI_H_
#define FB_PROTO_BASE_INI_H_

#include "proto/base/bytes.h"
#include "proto/base/status.h"

#define FB_INI_FILE_BYTES_MAX (1u << 20)

struct fb_ini_item {
    uint32_t line;           /* from 1 */
    struct fb_bytes section; /* first word of the section: "namespace" */
    struct fb_bytes name;    /* second word, "" if none: "user" */
    struct fb_bytes key;     /* empty: this is the section line itself */
    struct fb_bytes value;   /* without surrounding blanks and trailing comment (" ;" or " #") */
};
/* Return other than FB_OK to stop. */
typedef enum fb_status (*fb_ini_fn)(void *arg, const struct fb_ini_item *item, struct fb_err *err);

/* Stops at the first problem. Errors are "file:line: what", FB_EINVAL for the text itself; what
 * `fn` returns is handed on with "file:line: " before its message. Item views point into `text`.
 * Any thread. */
FB_MUST_USE enum fb_status fb_ini_parse(const char *file, struct fb_bytes text, fb_ini_fn fn,
                                        void *arg, struct fb_err *err);
/* The same walk, but a malformed line is told to `problem` and skipped, so that one run names
 * everything that is wrong. `line` 0 is about the whole text. What `fn` returns other than FB_OK is
 * a problem too and does not stop the walk. */
typedef void (*fb_ini_problem_fn)(void *arg, uint32_t line, const char *what);
void fb_ini_walk(struct fb_bytes text, fb_ini_fn fn, fb_ini_problem_fn problem, void *arg);
/* The candidate nearest to `word` (edit distance at most 3 and at most half of the word), NULL if
 * none is near: "did you mean". A swap of neighbours counts as one edit. Ties: the first. Gives one
 * of `candidates`. */
const char *fb_nearest(struct fb_bytes word, const char *const *candidates, size_t count);

#endif
