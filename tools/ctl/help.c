/* --help, generated from the table. */
#include "tools/ctl/ctl.h"

#include <stdio.h>

static void print_flag(FILE *out, const struct ctl_flag *f)
{
    char left[64];
    snprintf(left, sizeof(left), "%s%s%s%s%s", f->alias ? f->alias : "", f->alias ? ", " : "",
             f->name, f->value ? " " : "", f->value ? f->value : "");
    fprintf(out, "  %-24s %s\n", left, f->help);
}

static void print_globals(FILE *out)
{
    fprintf(out, "\nGlobal flags:\n");
    for (size_t i = 0; i < ctl_flag_count; i++)
        if (ctl_flags[i].global)
            print_flag(out, &ctl_flags[i]);
}

static void print_verb_line(FILE *out, const struct ctl_verb *v)
{
    char left[64];
    snprintf(left, sizeof(left), "%s%s%s%s%s", v->noun, v->name[0] ? " " : "", v->name,
             v->args[0] ? " " : "", v->args);
    fprintf(out, "  %-30s %s\n", left, v->help);
}

void ctl_help_all(FILE *out)
{
    fprintf(out,
            "forebayctl: looks after a Forebay cluster\n\nUsage: forebayctl [global flags] COMMAND "
            "[arguments] "
            "[flags]\n\nCommands:\n");
    for (size_t i = 0; i < ctl_verb_count; i++)
        print_verb_line(out, &ctl_verbs[i]);
    print_globals(out);
    fprintf(
        out,
        "\nExit status: 0 ok, 1 failed, 2 usage, 3 nothing to change (--error-unchanged), 4 "
        "unreachable, 5 "
        "refused by a safety\n"
        "check, 6 wait timed out (goes on in the cluster), 10 unhealthy, 11 degraded (--strict).\n"
        "forebayctl COMMAND --help tells more.\n");
}

void ctl_help_noun(FILE *out, const char *noun)
{
    fprintf(out, "Usage: forebayctl %s VERB\n\n", noun);
    for (size_t i = 0; i < ctl_verb_count; i++)
        if (strcmp(ctl_verbs[i].noun, noun) == 0)
            print_verb_line(out, &ctl_verbs[i]);
    print_globals(out);
}

void ctl_help_verb(FILE *out, const struct ctl_verb *v)
{
    fprintf(out, "Usage: forebayctl %s%s%s%s%s%s\n\n%s\n", v->noun, v->name[0] ? " " : "", v->name,
            v->args[0] ? " " : "", v->args, v->flags[0] ? " [flags]" : "", v->help);
    if (v->more != NULL)
        fprintf(out, "%s\n", v->more);
    if (v->flags[0] != '\0')
        fprintf(out, "\nFlags:\n");
    for (size_t i = 0; i < ctl_flag_count; i++) {
        const char *at = strstr(v->flags, ctl_flags[i].name);
        size_t n = strlen(ctl_flags[i].name);
        if (!ctl_flags[i].global && at != NULL && (at[n] == ' ' || at[n] == '\0') &&
            (at == v->flags || at[-1] == ' '))
            print_flag(out, &ctl_flags[i]);
    }
    print_globals(out);
}
