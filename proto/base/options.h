/* Options of a process: one table per program; flag > environment (FOREBAY_NODE__LISTEN) > file >
 * default.
 *
 * A program lists its options as `struct fb_option` and gets parsing with file:line and suggestion,
 * --help,
 * --config-help, --check-config, --print-config, --version for nothing. Values are kept as text and
 * read with the typed getters, which cannot fail after fb_options_load checked them.
 */
#ifndef FB_PROTO_BASE_OPTIONS_H_
#define FB_PROTO_BASE_OPTIONS_H_

#include "proto/base/buf.h"

enum fb_option_type {
    FB_OPT_TEXT,
    FB_OPT_UINT,
    FB_OPT_BOOL,
    FB_OPT_SIZE,
    FB_OPT_DURATION,
    FB_OPT_ENUM
};

struct fb_option {
    const char *section; /* "node" */
    const char *key;     /* "listen" -> --node.listen, FOREBAY_NODE__LISTEN, [node] listen = */
    enum fb_option_type type;
    const char *default_value; /* NULL: required */
    const char *help;          /* one sentence */
    const char *choices;       /* ENUM: "text|json" */
    uint64_t min, max;         /* UINT (max 0 = no bound) */
    bool reloadable;           /* may change on SIGHUP */
    bool secret;               /* --print-config shows *** */
};

struct fb_options;

/* What main should do after load. */
enum fb_options_outcome {
    FB_OPTIONS_RUN,
    FB_OPTIONS_EXIT_OK,
    FB_OPTIONS_EXIT_USAGE,
    FB_OPTIONS_EXIT_BAD
};

/* Value of a file that an option names (*_file: secrets never stand in a configuration or an
 * argument): the first line without its end. Heap string, the caller frees it. Errors: FB_ENOENT,
 * FB_EPERM, FB_EIO; FB_ETOOBIG beyond 64 KiB; FB_EINVAL empty. May block on the file; main thread
 * at start. */
FB_MUST_USE enum fb_status fb_options_read_secret(const char *path, char **out, struct fb_err *err);

/* Reads argv (--config FILE, --SECTION.KEY=VALUE or --SECTION.KEY VALUE, --help, --config-help,
 * --version,
 * --check-config, --print-config), environment and file. Prints what is asked for to stdout,
 * problems to stderr. Sections of other programs in a shared file (all_sections, NULL-terminated)
 * are skipped, unknown ones are errors. Every problem is printed, not only the first. *out is set
 * only with FB_OPTIONS_RUN. Main thread, at start. */
enum fb_options_outcome fb_options_load(const char *program, const char *summary,
                                        const struct fb_option *table, size_t count,
                                        const char *const *all_sections, int argc, char **argv,
                                        struct fb_options **out);
void fb_options_free(struct fb_options *o);

/* Reads all sources again, as fb_options_load did with the same argv, and compares with what runs.
 * Each value that differs is appended to `changes` as a line "router.max_clients 100 -> 200 (file
 * forebay.conf:3)", secrets without their values. Heap, *next is the caller's.
 *
 * Errors, *next is then NULL and `problems` has one line for each, with file:line: FB_EINVAL a
 * value or key is wrong, or the file cannot be read; FB_EREFUSED an option that is not `reloadable`
 * differs. Main thread; blocks on the file. */
FB_MUST_USE enum fb_status fb_options_reload(const struct fb_options *running, int argc,
                                             char **argv, struct fb_options **next,
                                             struct fb_buf *changes, struct fb_buf *problems);
/* Getters: any thread after load; pointers live until fb_options_free; asking for an option that is
 * not in the table is a bug of ours (asserted). `table` is kept: it must outlive the options. */
const char *fb_options_text(const struct fb_options *o, const char *section, const char *key);
/* also SIZE bytes, DURATION ms, ENUM index */
uint64_t fb_options_uint(const struct fb_options *o, const char *section, const char *key);
bool fb_options_bool(const struct fb_options *o, const char *section, const char *key);

#endif
