/* Shared by the files of options: what is known of each value. Private to proto/base. */
#ifndef FB_PROTO_BASE_OPTIONS_IMPL_H_
#define FB_PROTO_BASE_OPTIONS_IMPL_H_

#include "proto/base/options.h"

/* Rising order of precedence. */
enum option_source { SOURCE_NONE, SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENV, SOURCE_FLAG };

struct option_value {
    char *text; /* heap, NULL until set */
    uint64_t num;
    enum option_source source;
    char
        *where; /* heap: "file forebay.conf:3", "environment X", "flag --x.y"; NULL for a default */
    uint32_t file_line; /* where the file sets it, 0 = nowhere */
};

struct fb_options {
    const char *program;
    const struct fb_option *table;
    size_t count;
    struct option_value *values;
    const char *const *all_sections;
    char *file; /* heap, NULL = none */
    /* const after load; used while loading: */
    struct fb_buf problems; /* one per line */
    bool bad_usage;         /* a problem is about the command line */
    bool no_file;           /* the file cannot be read: what it would have set is not known */
};

/* Index of an option, SIZE_MAX if the program has none of that name. */
size_t fb_options_find(const struct fb_options *o, struct fb_bytes section, struct fb_bytes key);
bool fb_options_own_section(const struct fb_options *o, struct fb_bytes section);
/* A section of any program. */
bool fb_options_any_section(const struct fb_options *o, struct fb_bytes section);
/* Nearest key of a section, nearest section; NULL if none. */
const char *fb_options_near_key(const struct fb_options *o, struct fb_bytes section,
                                struct fb_bytes key);
const char *fb_options_near_section(const struct fb_options *o, struct fb_bytes section);
/* Check `text` against the option and remember it unless a stronger source has set it. Problems go
 * to o->problems with `at` in front ("forebay.conf:3", "--node.listen", "FOREBAY_NODE__LISTEN"). */
void fb_options_assign(struct fb_options *o, size_t i, struct fb_bytes text,
                       enum option_source source, const char *at);

/* The sources of `running` read once more; problems are kept in it, nothing is printed. */
struct fb_options *fb_options_again(const struct fb_options *running, int argc, char **argv);

/* Sources (options_source.c). */
void fb_options_from_file(struct fb_options *o);
void fb_options_from_env(struct fb_options *o, char **env);

/* Texts (options_text.c), to stdout. */
void fb_options_print_help(const struct fb_options *o, const char *summary);
void fb_options_print_config_help(const struct fb_options *o);
void fb_options_print_config(const struct fb_options *o);
/* FOREBAY_NODE__LISTEN */
void fb_options_env_name(struct fb_buf *out, const struct fb_option *opt);

#endif
