/* forebayctl: command line to verb. */
#include "proto/base/ini.h"
#include "proto/base/log.h"
#include "proto/base/number.h"
#include "proto/base/units.h"
#include "tools/ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Does standard output understand escape sequences? */
static bool ansi_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

static const struct ctl_flag *find_flag(const char *s, size_t n)
{
    for (size_t i = 0; i < ctl_flag_count; i++) {
        const struct ctl_flag *f = &ctl_flags[i];
        if ((strlen(f->name) == n && memcmp(f->name, s, n) == 0) ||
            (f->alias != NULL && strlen(f->alias) == n && memcmp(f->alias, s, n) == 0))
            return f;
    }
    return NULL;
}

static int unknown_flag(const char *s)
{
    const char *names[64];
    size_t n = 0;
    const char *near;
    for (; n < ctl_flag_count; n++)
        names[n] = ctl_flags[n].name;
    near = fb_nearest(fb_bytes_str(s), names, n);
    return near ? ctl_fail(CTL_USAGE, "unknown flag %s; did you mean %s?", s, near)
                : ctl_fail(CTL_USAGE, "unknown flag %s; forebayctl --help lists them", s);
}

static int parse_format(struct ctl *c, const char *v)
{
    static const char *const names[] = {"table", "wide", "json", "jsonl", "name", "ini"};
    for (size_t i = 0; i < FB_COUNT_OF(names); i++) {
        if (strcmp(v, names[i]) == 0) {
            c->format = (enum ctl_format)i;
            return 0;
        }
    }
    return ctl_fail(CTL_USAGE, "-o %s: must be table, wide, json, jsonl, name or ini", v);
}

static int set_flag(struct ctl *c, const struct ctl_flag *f, const char *v, bool *help)
{
    struct fb_err err;
    uint64_t *at;
    const struct {
        const char *name;
        bool *yes;
        bool value;
    } bools[] = {{"--quiet", &c->quiet, true},
                 {"--verbose", &c->verbose, true},
                 {"--no-color", &c->color, false},
                 {"--help", help, true},
                 {"--dry-run", &c->dry_run, true},
                 {"--yes", &c->yes, true},
                 {"--wait", &c->wait, true},
                 {"--no-wait", &c->wait, false},
                 {"--watch", &c->watch, true},
                 {"--error-unchanged", &c->error_unchanged, true},
                 {"--strict", &c->strict, true},
                 {"--print", &c->print, true},
                 {"--follow", &c->follow, true},
                 {"--restore", &c->restore, true},
                 {"--under-replicated", &c->under_replicated, true},
                 {"--force", &c->force, true},
                 {"--keep", &c->keep, true},
                 {"--discard", &c->discard, true}};
    const struct {
        const char *name;
        const char **value;
    } texts[] = {{"--cluster", &c->cluster_url},
                 {"--namespace", &c->namespace_name},
                 {"--node", &c->node_name},
                 {"--state", &c->state},
                 {"--to", &c->to},
                 {"--conninfo-file", &c->conninfo_file},
                 {"--file", &c->file},
                 {"--ttl", &c->ttl},
                 {"--weights", &c->weights},
                 {"--add", &c->add},
                 {"--drain", &c->drain},
                 {"--gone", &c->gone},
                 {"--save", &c->save},
                 {"--rate", &c->rate}};
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {{"--limit", &c->limit},      {"--count", &c->count},
                   {"--sample", &c->sample},    {"--revision", &c->revision},
                   {"--epoch", &c->epoch},      {"--max-moves", &c->max_moves},
                   {"--parallel", &c->parallel}};
    for (size_t i = 0; i < FB_COUNT_OF(bools); i++) {
        if (strcmp(f->name, bools[i].name) == 0) {
            *bools[i].yes = bools[i].value;
            return 0;
        }
    }
    for (size_t i = 0; i < FB_COUNT_OF(texts); i++) {
        if (strcmp(f->name, texts[i].name) == 0) {
            *texts[i].value = v;
            return 0;
        }
    }
    if (strcmp(f->name, "--output") == 0)
        return parse_format(c, v);
    for (size_t i = 0; i < FB_COUNT_OF(numbers); i++) {
        if (strcmp(f->name, numbers[i].name) != 0)
            continue;
        if (fb_parse_u64(fb_bytes_str(v), numbers[i].value) && *numbers[i].value > 0)
            return 0;
        return ctl_fail(CTL_USAGE, "%s %s: must be a number above 0", f->name, v);
    }
    at = strcmp(f->name, "--interval") == 0 ? &c->interval_ms : &c->timeout_ms;
    if (fb_duration_parse(fb_bytes_str(v), at, &err) != FB_OK || *at == 0)
        return ctl_fail(CTL_USAGE, "%s %s: must be a time such as 10s", f->name, v);
    return 0;
}

static bool takes_flag(const struct ctl_verb *v, const struct ctl_flag *f)
{
    size_t n = strlen(f->name);
    for (const char *at = v->flags; (at = strstr(at, f->name)) != NULL; at += n)
        if ((at == v->flags || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return f->global;
}

static const struct ctl_verb *find_verb(char **words, int count, int *used)
{
    for (size_t i = 0; i < ctl_verb_count; i++) {
        const struct ctl_verb *v = &ctl_verbs[i];
        if (count < 1 || strcmp(words[0], v->noun) != 0)
            continue;
        if (v->name[0] == '\0') {
            *used = 1;
            return v;
        }
        if (count > 1 && strcmp(words[1], v->name) == 0) {
            *used = 2;
            return v;
        }
    }
    return NULL;
}

static bool is_noun(const char *s)
{
    for (size_t i = 0; i < ctl_verb_count; i++)
        if (strcmp(ctl_verbs[i].noun, s) == 0)
            return true;
    return false;
}

/* "node desc": the verb of that noun that was probably meant. */
static const char *near_verb(const char *noun, const char *word)
{
    const char *names[64];
    size_t n = 0;

    for (size_t i = 0; i < ctl_verb_count && n < 64; i++) {
        if (strcmp(ctl_verbs[i].noun, noun) != 0)
            continue;
        if (strncmp(ctl_verbs[i].name, word, strlen(word)) == 0)
            return ctl_verbs[i].name;
        names[n++] = ctl_verbs[i].name;
    }
    return fb_nearest(fb_bytes_str(word), names, n);
}

static int unknown_command(char **words, int count, bool help)
{
    const char *nouns[64];
    size_t n = 0;
    const char *near;

    if (count == 0) {
        ctl_help_all(help ? stdout : stderr);
        return help ? CTL_OK : CTL_USAGE;
    }
    if (is_noun(words[0])) {
        if (help || count == 1) {
            ctl_help_noun(help ? stdout : stderr, words[0]);
            return help ? CTL_OK : CTL_USAGE;
        }
        near = near_verb(words[0], words[1]);
        return near ? ctl_fail(CTL_USAGE, "unknown command: %s %s; did you mean %s %s?", words[0],
                               words[1], words[0], near)
                    : ctl_fail(CTL_USAGE,
                               "unknown command: %s %s; forebayctl %s --help lists what "
                               "there is",
                               words[0], words[1], words[0]);
    }
    for (; n < ctl_verb_count && n < 64; n++)
        nouns[n] = ctl_verbs[n].noun;
    near = fb_nearest(fb_bytes_str(words[0]), nouns, n);
    return near
               ? ctl_fail(CTL_USAGE, "unknown command: %s; did you mean %s?", words[0], near)
               : ctl_fail(CTL_USAGE, "unknown command: %s; forebayctl --help lists them", words[0]);
}

static int check_args(const struct ctl *c)
{
    const struct ctl_verb *v = c->verb;
    struct fb_buf usage = {0};
    int rc = 0;

    fb_buf_printf(&usage, "usage: forebayctl %s%s%s%s%s", v->noun, v->name[0] ? " " : "", v->name,
                  v->args[0] ? " " : "", v->args);
    if (c->arg_count < v->args_min)
        rc = ctl_fail(CTL_USAGE, "%.*s", (int)usage.n, (const char *)usage.p);
    else if (c->arg_count > v->args_max)
        rc = ctl_fail(CTL_USAGE, "\"%s\" is one word too many; %.*s", c->args[v->args_max],
                      (int)usage.n, (const char *)usage.p);
    fb_buf_fini(&usage);
    return rc;
}

/* Again and again; what fails after the first time, and what is not well, is told and looked at
 * again, for it is then that one watches. */
static int run_watched(struct ctl *c)
{
    const struct timespec second = {.tv_sec = 1};
    int rc = 0;

    for (bool first = true;; first = false) {
        if (c->screen)
            printf("\033[H\033[2J");
        rc = c->verb->run(c);
        if (fflush(stdout) != 0 || (first && rc != 0 && rc < CTL_UNHEALTHY))
            return rc;
        nanosleep(&second, NULL);
        if (c->cluster != NULL)
            (void)ctl_try_refresh(c);
    }
}

/* What was printed must have got there: a full disk is no success. */
static int close_output(int rc)
{
    bool bad = fflush(stdout) != 0 || ferror(stdout) != 0;
    if (bad && rc == CTL_OK)
        return ctl_fail(CTL_FAILED, "standard output cannot be written: %s", strerror(errno));
    return rc;
}

int main(int argc, char **argv)
{
    struct ctl c = {.format = CTL_TABLE,
                    .timeout_ms = 30000,
                    .screen = ansi_terminal(),
                    .wait = true,
                    .limit = 100,
                    .interval_ms = 0};
    const struct ctl_flag *given[64];
    char *words[64];
    int word_count = 0, given_count = 0, used = 0, rc = 0;
    bool help = false, only_words = false;

    fb_log_setup(FB_LOG_ERROR, FB_LOG_LOGFMT, "forebayctl", NULL);
    c.cluster_url = getenv("FOREBAY_CLUSTER");
    c.color = c.screen && (getenv("NO_COLOR") == NULL || getenv("NO_COLOR")[0] == '\0');
    for (int i = 1; i < argc; i++) {
        const struct ctl_flag *f;
        const char *eq = strncmp(argv[i], "--", 2) == 0 ? strchr(argv[i], '=') : NULL;
        const char *value = eq ? eq + 1 : NULL;
        if (strcmp(argv[i], "--") == 0 && !only_words) {
            only_words = true;
            continue;
        }
        if (only_words || argv[i][0] != '-' || argv[i][1] == '\0') {
            if (word_count == 60)
                return ctl_fail(CTL_USAGE, "too many arguments");
            words[word_count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-V") == 0) {
            words[word_count++] = (char *)(uintptr_t) "version";
            continue;
        }
        f = find_flag(argv[i], eq ? (size_t)(eq - argv[i]) : strlen(argv[i]));
        if (f == NULL && argv[i][1] != '-' && argv[i][2] != '\0') { /* -ojson */
            f = find_flag(argv[i], 2);
            value = argv[i] + 2;
            if (f != NULL && f->value == NULL)
                f = NULL;
        }
        if (f == NULL)
            return unknown_flag(argv[i]);
        if (f->value == NULL && eq != NULL)
            return ctl_fail(CTL_USAGE, "%s takes no value", f->name);
        if (f->value != NULL && value == NULL) {
            if (i + 1 == argc)
                return ctl_fail(CTL_USAGE, "%s needs a value: %s", f->name, f->value);
            value = argv[++i];
        }
        rc = set_flag(&c, f, value, &help);
        if (rc != 0)
            return rc;
        if (given_count < 64)
            given[given_count++] = f;
    }
    if (word_count > 0 && strcmp(words[0], "help") == 0) { /* as if it were --help */
        help = true;
        word_count--;
        memmove(words, words + 1, (size_t)word_count * sizeof(words[0]));
    }
    c.verb = find_verb(words, word_count, &used);
    if (c.verb == NULL)
        return close_output(unknown_command(words, word_count, help));
    if (help) {
        ctl_help_verb(stdout, c.verb);
        return close_output(CTL_OK);
    }
    for (int i = 0; i < given_count; i++)
        if (!takes_flag(c.verb, given[i]))
            return ctl_fail(CTL_USAGE, "%s%s%s does not take %s; see forebayctl %s%s%s --help",
                            c.verb->noun, c.verb->name[0] ? " " : "", c.verb->name, given[i]->name,
                            c.verb->noun, c.verb->name[0] ? " " : "", c.verb->name);
    if (c.format == CTL_INI && c.verb->run != ctl_config_show)
        return ctl_fail(CTL_USAGE, "-o ini is for forebayctl config show");
    c.args = words + used;
    c.arg_count = word_count - used;
    rc = check_args(&c);
    if (rc != 0)
        return rc;
    rc = c.watch ? run_watched(&c) : c.verb->run(&c);
    rc = close_output(rc);
    ctl_close(&c);
    return rc;
}
