/* forebayctl: command line to verb. */
#include "proto/base/ini.h"
#include "proto/base/log.h"
#include "proto/base/number.h"
#include "proto/base/units.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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
    static const char *const names[] = {"table", "wide", "json", "jsonl", "name"};
    for (size_t i = 0; i < FB_COUNT_OF(names); i++) {
        if (strcmp(v, names[i]) == 0) {
            c->format = (enum ctl_format)i;
            return 0;
        }
    }
    return ctl_fail(CTL_USAGE, "-o %s: must be table, wide, json, jsonl or name", v);
}

static int set_flag(struct ctl *c, const struct ctl_flag *f, const char *v, bool *help)
{
    struct fb_err err;
    uint64_t *at;
    const struct {
        const char *name;
        bool *yes;
        bool value;
    } bools[] = {{"--quiet", &c->quiet, true},     {"--verbose", &c->verbose, true},
                 {"--no-color", &c->color, false}, {"--help", help, true},
                 {"--dry-run", &c->dry_run, true}, {"--yes", &c->yes, true},
                 {"--wait", &c->wait, true},       {"--no-wait", &c->wait, false},
                 {"--watch", &c->watch, true},     {"--error-unchanged", &c->error_unchanged, true},
                 {"--strict", &c->strict, true},   {"--print", &c->print, true},
                 {"--follow", &c->follow, true},   {"--restore", &c->restore, true}};
    const struct {
        const char *name;
        const char **value;
    } texts[] = {{"--cluster", &c->cluster_url},
                 {"--namespace", &c->namespace_name},
                 {"--node", &c->node_name},
                 {"--state", &c->state},
                 {"--conninfo-file", &c->conninfo_file},
                 {"--file", &c->file},
                 {"--ttl", &c->ttl}};
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {{"--limit", &c->limit},
                   {"--count", &c->count},
                   {"--sample", &c->sample},
                   {"--revision", &c->revision}};
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

static int unknown_command(char **words, int count, bool help)
{
    const char *nouns[64];
    size_t n = 0;
    const char *near;
    if (count > 0 && is_noun(words[0])) {
        ctl_help_noun(words[0]);
        if (help || count == 1)
            return help ? CTL_OK : CTL_USAGE;
        return ctl_fail(CTL_USAGE, "unknown command: %s %s", words[0], words[1]);
    }
    if (count == 0) {
        ctl_help_all();
        return help ? CTL_OK : CTL_USAGE;
    }
    for (; n < ctl_verb_count && n < 64; n++)
        nouns[n] = ctl_verbs[n].noun;
    near = fb_nearest(fb_bytes_str(words[0]), nouns, n);
    return near
               ? ctl_fail(CTL_USAGE, "unknown command: %s; did you mean %s?", words[0], near)
               : ctl_fail(CTL_USAGE, "unknown command: %s; forebayctl --help lists them", words[0]);
}

int main(int argc, char **argv)
{
    struct ctl c = {.format = CTL_TABLE,
                    .timeout_ms = 30000,
                    .color = isatty(STDOUT_FILENO),
                    .wait = true,
                    .limit = 100,
                    .interval_ms = 0};
    const struct ctl_flag *given[64];
    char *words[64];
    int word_count = 0, given_count = 0, used = 0, rc = 0;
    bool help = false, only_words = false;

    fb_log_setup(FB_LOG_ERROR, FB_LOG_LOGFMT, "forebayctl", NULL);
    c.cluster_url = getenv("FOREBAY_CLUSTER");
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
        f = find_flag(argv[i], eq ? (size_t)(eq - argv[i]) : strlen(argv[i]));
        if (f == NULL)
            return unknown_flag(argv[i]);
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
    c.verb = find_verb(words, word_count, &used);
    if (c.verb == NULL)
        return unknown_command(words, word_count, help);
    if (help) {
        ctl_help_verb(c.verb);
        return CTL_OK;
    }
    for (int i = 0; i < given_count; i++)
        if (!takes_flag(c.verb, given[i]))
            return ctl_fail(CTL_USAGE, "%s %s does not take %s; see forebayctl %s %s --help",
                            c.verb->noun, c.verb->name, given[i]->name, c.verb->noun, c.verb->name);
    c.args = words + used;
    c.arg_count = word_count - used;
    if (c.arg_count < c.verb->args_min || c.arg_count > c.verb->args_max)
        return ctl_fail(CTL_USAGE, "usage: forebayctl %s%s%s %s", c.verb->noun,
                        c.verb->name[0] ? " " : "", c.verb->name, c.verb->args);
    do {
        if (c.watch && isatty(STDOUT_FILENO))
            printf("\033[H\033[2J");
        rc = c.verb->run(&c);
        fflush(stdout);
        if (c.watch && rc == 0)
            rc = nanosleep(&(struct timespec){.tv_sec = 1}, NULL) == 0 ? ctl_refresh(&c) : 0;
    } while (c.watch && rc == 0);
    ctl_close(&c);
    return rc;
}
