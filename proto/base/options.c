/* Options: the table, the command line, checks and getters. */
#include "proto/base/options_impl.h"

#include "proto/base/build.h"
#include "proto/base/ini.h"
#include "proto/base/units.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

#define SECRET_BYTES_MAX (64u << 10)

size_t fb_options_find(const struct fb_options *o, struct fb_bytes section, struct fb_bytes key)
{
    for (size_t i = 0; i < o->count; i++)
        if (fb_bytes_is(section, o->table[i].section) && fb_bytes_is(key, o->table[i].key))
            return i;
    return SIZE_MAX;
}

bool fb_options_own_section(const struct fb_options *o, struct fb_bytes section)
{
    for (size_t i = 0; i < o->count; i++)
        if (fb_bytes_is(section, o->table[i].section))
            return true;
    return false;
}

bool fb_options_any_section(const struct fb_options *o, struct fb_bytes section)
{
    for (size_t i = 0; o->all_sections != NULL && o->all_sections[i] != NULL; i++)
        if (fb_bytes_is(section, o->all_sections[i]))
            return true;
    return fb_options_own_section(o, section);
}

const char *fb_options_near_key(const struct fb_options *o, struct fb_bytes section,
                                struct fb_bytes key)
{
    const char **keys = fb_xcalloc(o->count, sizeof(*keys));
    const char *near;
    size_t n = 0;
    for (size_t i = 0; i < o->count; i++)
        if (fb_bytes_is(section, o->table[i].section))
            keys[n++] = o->table[i].key;
    near = fb_nearest(key, keys, n);
    free(keys);
    return near;
}

const char *fb_options_near_section(const struct fb_options *o, struct fb_bytes section)
{
    const char *near;
    size_t n = 0, known = 0;
    const char **names;
    while (o->all_sections != NULL && o->all_sections[known] != NULL)
        known++;
    names = fb_xcalloc(o->count + known, sizeof(*names));
    for (size_t i = 0; i < o->count; i++)
        names[n++] = o->table[i].section;
    for (size_t i = 0; i < known; i++)
        names[n++] = o->all_sections[i];
    near = fb_nearest(section, names, n);
    free(names);
    return near;
}

/* Index of `text` in "a|b|c", false if it is none of them. */
static bool choice_index(const char *choices, struct fb_bytes text, uint64_t *index)
{
    const char *at = choices;
    for (uint64_t i = 0;; i++) {
        size_t n = strcspn(at, "|");
        if (fb_bytes_equal(text, fb_bytes(at, n))) {
            *index = i;
            return true;
        }
        if (at[n] == '\0')
            return false;
        at += n + 1;
    }
}

static enum fb_status parse_uint(struct fb_bytes text, uint64_t *out, struct fb_err *err)
{
    uint64_t v = 0;
    bool ok = text.n > 0;
    for (size_t i = 0; ok && i < text.n; i++)
        ok = text.p[i] >= '0' && text.p[i] <= '9' && !__builtin_mul_overflow(v, 10u, &v) &&
             !__builtin_add_overflow(v, (uint64_t)(text.p[i] - '0'), &v);
    *out = ok ? v : 0;
    return ok ? FB_OK
              : fb_err_set(err, FB_EINVAL, "\"%.40s\" is not a whole number", (const char *)text.p);
}

static enum fb_status parse_bool(struct fb_bytes text, uint64_t *out, struct fb_err *err)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < FB_COUNT_OF(words); i++) {
        if (fb_bytes_is(text, words[i])) {
            *out = i & 1;
            return FB_OK;
        }
    }
    return fb_err_set(err, FB_EINVAL, "\"%.40s\" is neither yes nor no", (const char *)text.p);
}

/* `text` ends with NUL. */
static enum fb_status parse_value(const struct fb_option *opt, struct fb_bytes text, uint64_t *num,
                                  struct fb_err *err)
{
    enum fb_status st = FB_OK;
    *num = 0;
    switch (opt->type) {
    case FB_OPT_TEXT:
        return FB_OK;
    case FB_OPT_BOOL:
        return parse_bool(text, num, err);
    case FB_OPT_ENUM:
        if (choice_index(opt->choices, text, num))
            return FB_OK;
        return fb_err_set(err, FB_EINVAL, "\"%.40s\" is none of %s", (const char *)text.p,
                          opt->choices);
    case FB_OPT_UINT:
        st = parse_uint(text, num, err);
        break;
    case FB_OPT_SIZE:
        st = fb_size_parse(text, num, err);
        break;
    case FB_OPT_DURATION:
        st = fb_duration_parse(text, num, err);
        break;
    }
    if (st == FB_OK && (*num < opt->min || (opt->max != 0 && *num > opt->max))) {
        if (opt->max != 0)
            st = fb_err_set(err, FB_EINVAL, "%.40s is out of range, %llu to %llu are allowed",
                            (const char *)text.p, (unsigned long long)opt->min,
                            (unsigned long long)opt->max);
        else
            st = fb_err_set(err, FB_EINVAL, "%.40s is too small, at least %llu is needed",
                            (const char *)text.p, (unsigned long long)opt->min);
    }
    return st;
}

void fb_options_assign(struct fb_options *o, size_t i, struct fb_bytes text,
                       enum option_source source, const char *at)
{
    static const char *const kinds[] = {
        [SOURCE_FILE] = "file", [SOURCE_ENV] = "environment", [SOURCE_FLAG] = "flag"};
    const struct fb_option *opt = &o->table[i];
    struct option_value *v = &o->values[i];
    struct fb_err err = {0};
    char *copy = fb_xmalloc(text.n + 1);
    uint64_t num;

    memcpy(copy, text.p ? text.p : (const uint8_t *)"", text.n);
    copy[text.n] = '\0';
    /* a weaker source is checked too: an error in the file must not hide behind a flag */
    if (parse_value(opt, fb_bytes(copy, text.n), &num, &err) != FB_OK) {
        if (source == SOURCE_DEFAULT)
            fb_assert(!"a default in the option table is invalid");
        if (opt->secret)
            fb_buf_printf(&o->problems, "%s: %s.%s: the value is invalid\n", at, opt->section,
                          opt->key);
        else
            fb_buf_printf(&o->problems, "%s: %s.%s: %s\n", at, opt->section, opt->key, err.msg);
        o->bad_usage |= source == SOURCE_FLAG;
        num = 0; /* nothing that is out of range gets any further */
    }
    if (source < v->source) {
        free(copy);
        return;
    }
    free(v->text);
    free(v->where);
    v->text = copy;
    v->num = num;
    v->source = source;
    v->where = NULL;
    if (source >= SOURCE_FILE) {
        struct fb_buf where = {0};
        fb_buf_printf(&where, "%s %s", kinds[source], at);
        v->where = (char *)where.p; /* printf leaves a NUL behind */
    }
}

struct asked {
    bool help, config_help, version, check, print;
    const char *config;
};

static void usage_problem(struct fb_options *o, const char *fmt, ...) FB_PRINTF(2, 3);
static void usage_problem(struct fb_options *o, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    fb_buf_printf(&o->problems, "%s\n", line);
    o->bad_usage = true;
}

static bool standard_flag(struct asked *a, const char *arg)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
        a->help = true;
    else if (strcmp(arg, "--config-help") == 0)
        a->config_help = true;
    else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0)
        a->version = true;
    else if (strcmp(arg, "--check-config") == 0)
        a->check = true;
    else if (strcmp(arg, "--print-config") == 0)
        a->print = true;
    else
        return false;
    return true;
}

static void unknown_flag(struct fb_options *o, struct fb_bytes name)
{
    static const char *const standard[] = {"config",  "help",         "config-help",
                                           "version", "check-config", "print-config"};
    size_t n = FB_COUNT_OF(standard);
    const char **all = fb_xcalloc(n + o->count, sizeof(*all));
    struct fb_buf names = {0};
    const char *near;
    size_t at = 0;

    for (size_t i = 0; i < o->count; i++) {
        fb_buf_printf(&names, "%s.%s", o->table[i].section, o->table[i].key);
        fb_buf_put_u8(&names, 0);
    }
    for (size_t i = 0; i < n; i++)
        all[i] = standard[i];
    for (size_t i = 0; i < o->count; i++) {
        all[n + i] = (const char *)names.p + at;
        at += strlen(all[n + i]) + 1;
    }
    near = fb_nearest(name, all, n + o->count);
    if (near != NULL)
        usage_problem(o, "unknown flag --%.*s; did you mean --%s?", (int)name.n,
                      (const char *)name.p, near);
    else
        usage_problem(o, "unknown flag --%.*s; --help lists what there is", (int)name.n,
                      (const char *)name.p);
    free(all);
    fb_buf_fini(&names);
}

static void set_flag(struct fb_options *o, struct asked *a, struct fb_bytes name, const char *value)
{
    const uint8_t *dot = memchr(name.p, '.', name.n);
    struct fb_bytes section = fb_bytes(name.p, dot ? (size_t)(dot - name.p) : 0);
    char at[128];
    size_t i;

    if (fb_bytes_is(name, "config")) {
        a->config = value;
        return;
    }
    i = dot ? fb_options_find(o, section, fb_bytes(dot + 1, name.n - section.n - 1)) : SIZE_MAX;
    fb_assert(i != SIZE_MAX);
    snprintf(at, sizeof(at), "--%.*s", (int)name.n, (const char *)name.p);
    fb_options_assign(o, i, fb_bytes_str(value), SOURCE_FLAG, at);
}

static bool known_flag(const struct fb_options *o, struct fb_bytes name)
{
    const uint8_t *dot = memchr(name.p, '.', name.n);
    size_t n = dot ? (size_t)(dot - name.p) : 0;
    if (dot == NULL)
        return fb_bytes_is(name, "config");
    return fb_options_find(o, fb_bytes(name.p, n), fb_bytes(dot + 1, name.n - n - 1)) != SIZE_MAX;
}

static void from_argv(struct fb_options *o, struct asked *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        const char *eq = strchr(arg, '=');
        struct fb_bytes name;
        if (standard_flag(a, arg))
            continue;
        if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0') {
            usage_problem(o, "unexpected argument \"%.100s\"; options are --SECTION.KEY VALUE",
                          arg);
            continue;
        }
        name = fb_bytes(arg + 2, eq ? (size_t)(eq - arg) - 2 : strlen(arg + 2));
        if (!known_flag(o, name)) {
            unknown_flag(o, name);
            /* its value, if it has one, is not a problem of its own */
            if (eq == NULL && i + 1 < argc && argv[i + 1][0] != '-')
                i++;
        } else if (eq != NULL) {
            set_flag(o, a, name, eq + 1);
        } else if (i + 1 < argc) {
            set_flag(o, a, name, argv[++i]);
        } else {
            usage_problem(o, "%s needs a value", arg);
        }
    }
}

static void fill_defaults(struct fb_options *o)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct fb_option *opt = &o->table[i];
        struct option_value *v = &o->values[i];
        bool empty = v->source != SOURCE_NONE && v->text[0] == '\0';
        if (opt->default_value == NULL && (v->source == SOURCE_NONE || empty)) {
            struct fb_buf env = {0};
            if (o->no_file)
                continue; /* one cause, one line */
            fb_options_env_name(&env, opt);
            fb_buf_printf(&o->problems,
                          "%s.%s is required: %s; set it in the configuration file ([%s] %s = "
                          "...), with --%s.%s or %.*s\n",
                          opt->section, opt->key, opt->help ? opt->help : "no default",
                          opt->section, opt->key, opt->section, opt->key, (int)env.n,
                          (const char *)env.p);
            fb_buf_fini(&env);
        } else if (v->source == SOURCE_NONE) {
            fb_options_assign(o, i, fb_bytes_str(opt->default_value), SOURCE_DEFAULT, "default");
        }
    }
}

static void print_problems(const struct fb_options *o)
{
    const char *at = (const char *)o->problems.p;
    const char *end = at + o->problems.n;
    while (at < end) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        fprintf(stderr, "%s: %.*s\n", o->program, (int)(nl - at), at);
        at = nl + 1;
    }
}

static enum fb_options_outcome finish(struct fb_options *o, const struct asked *a)
{
    if (o->problems.n > 0) {
        print_problems(o);
        return o->bad_usage ? FB_OPTIONS_EXIT_USAGE : FB_OPTIONS_EXIT_BAD;
    }
    if (a->print)
        fb_options_print_config(o);
    if (a->check)
        printf("%s: configuration is ok\n", o->file ? o->file : o->program);
    return a->print || a->check ? FB_OPTIONS_EXIT_OK : FB_OPTIONS_RUN;
}

static struct fb_options *options_new(const char *program, const struct fb_option *table,
                                      size_t count, const char *const *all_sections)
{
    struct fb_options *o = fb_xcalloc(1, sizeof(*o));

    o->program = program;
    o->table = table;
    o->count = count;
    o->all_sections = all_sections;
    o->values = fb_xcalloc(count, sizeof(*o->values));
    return o;
}

/* Everything but the command line, which has been read. */
static void from_elsewhere(struct fb_options *o, const struct asked *a)
{
    const char *path = a->config ? a->config : getenv("FOREBAY_CONFIG");

    if (path != NULL && path[0] != '\0')
        o->file = fb_xstrdup(path);
    fb_options_from_env(o, environ);
    if (o->file != NULL)
        fb_options_from_file(o);
    fill_defaults(o);
}

struct fb_options *fb_options_again(const struct fb_options *running, int argc, char **argv)
{
    struct fb_options *o =
        options_new(running->program, running->table, running->count, running->all_sections);
    struct asked asked = {0};

    from_argv(o, &asked, argc, argv);
    from_elsewhere(o, &asked);
    return o;
}

enum fb_options_outcome fb_options_load(const char *program, const char *summary,
                                        const struct fb_option *table, size_t count,
                                        const char *const *all_sections, int argc, char **argv,
                                        struct fb_options **out)
{
    struct fb_options *o = options_new(program, table, count, all_sections);
    struct asked asked = {0};
    enum fb_options_outcome outcome = FB_OPTIONS_EXIT_OK;

    *out = NULL;
    from_argv(o, &asked, argc, argv);
    if (asked.help) {
        fb_options_print_help(o, summary);
    } else if (asked.config_help) {
        fb_options_print_config_help(o);
    } else if (asked.version) {
        printf("%s %s (%s)\n", program, fb_build_version(), fb_build_flavor());
    } else {
        from_elsewhere(o, &asked);
        outcome = finish(o, &asked);
    }
    if (outcome == FB_OPTIONS_RUN)
        *out = o;
    else
        fb_options_free(o);
    return outcome;
}

void fb_options_free(struct fb_options *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->count; i++) {
        free(o->values[i].text);
        free(o->values[i].where);
    }
    free(o->values);
    free(o->file);
    fb_buf_fini(&o->problems);
    free(o);
}

static const struct option_value *value_of(const struct fb_options *o, const char *section,
                                           const char *key)
{
    size_t i = fb_options_find(o, fb_bytes_str(section), fb_bytes_str(key));
    fb_assert(i != SIZE_MAX);
    return &o->values[i];
}

const char *fb_options_text(const struct fb_options *o, const char *section, const char *key)
{
    return value_of(o, section, key)->text;
}

uint64_t fb_options_uint(const struct fb_options *o, const char *section, const char *key)
{
    return value_of(o, section, key)->num;
}

bool fb_options_bool(const struct fb_options *o, const char *section, const char *key)
{
    return value_of(o, section, key)->num != 0;
}

enum fb_status fb_options_read_secret(const char *path, char **out, struct fb_err *err)
{
    FILE *f = fopen(path, "re");
    char *text;
    size_t n;
    enum fb_status st = FB_OK;

    *out = NULL;
    if (f == NULL)
        return fb_err_set(err, fb_status_of_errno(errno), "open %s: %s", path, strerror(errno));
    text = fb_xmalloc(SECRET_BYTES_MAX + 1);
    n = fread(text, 1, SECRET_BYTES_MAX + 1, f);
    if (ferror(f))
        st = fb_err_set(err, FB_EIO, "read %s: %s", path, strerror(errno));
    else if (n > SECRET_BYTES_MAX)
        st = fb_err_set(err, FB_ETOOBIG, "%s has more than %u bytes", path, SECRET_BYTES_MAX);
    fclose(f);
    if (st == FB_OK) {
        text[n] = '\0';
        text[strcspn(text, "\r\n")] = '\0';
        if (text[0] == '\0')
            st = fb_err_set(err, FB_EINVAL, "%s: the first line is empty", path);
    }
    if (st == FB_OK)
        *out = text;
    else
        free(text);
    return st;
}
