/* What options print: help, a commented sample file, the values in force. */
#include "proto/base/options_impl.h"

#include <ctype.h>
#include <stdio.h>

#define NAME_COLUMNS 34

void fb_options_env_name(struct fb_buf *out, const struct fb_option *opt)
{
    fb_buf_put_str(out, "FOREBAY_");
    for (const char *c = opt->section; *c != '\0'; c++)
        fb_buf_put_u8(out, (uint8_t)toupper((unsigned char)*c));
    fb_buf_put_str(out, "__");
    for (const char *c = opt->key; *c != '\0'; c++)
        fb_buf_put_u8(out, (uint8_t)toupper((unsigned char)*c));
}

static const char *value_word(const struct fb_option *opt)
{
    switch (opt->type) {
    case FB_OPT_TEXT:
        return "TEXT";
    case FB_OPT_UINT:
        return "N";
    case FB_OPT_BOOL:
        return "yes|no";
    case FB_OPT_SIZE:
        return "SIZE";
    case FB_OPT_DURATION:
        return "TIME";
    case FB_OPT_ENUM:
        return opt->choices;
    }
    return "";
}

/* First option of its section? Sections are printed in the order in which the table names them
 * first. */
static bool starts_section(const struct fb_options *o, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(o->table[j].section, o->table[i].section) == 0)
            return false;
    return true;
}

typedef void (*print_fn)(const struct fb_options *o, size_t i);

static void by_section(const struct fb_options *o, bool headings, print_fn print)
{
    for (size_t s = 0; s < o->count; s++) {
        if (!starts_section(o, s))
            continue;
        if (headings)
            printf("\n[%s]\n", o->table[s].section);
        for (size_t i = s; i < o->count; i++)
            if (strcmp(o->table[i].section, o->table[s].section) == 0)
                print(o, i);
    }
}

static void print_default(const struct fb_option *opt)
{
    if (opt->default_value == NULL)
        printf("(required)");
    else if (opt->default_value[0] == '\0')
        printf("(default: none)");
    else
        printf("(default: %s)", opt->default_value);
}

static void print_help_item(const struct fb_options *o, size_t i)
{
    const struct fb_option *opt = &o->table[i];
    char name[200];
    int n = snprintf(name, sizeof(name), "--%s.%s %s", opt->section, opt->key, value_word(opt));
    printf("  %-*s", NAME_COLUMNS, name);
    if (n >= NAME_COLUMNS)
        printf("\n  %-*s", NAME_COLUMNS, "");
    printf(" %s ", opt->help ? opt->help : "");
    print_default(opt);
    printf("%s\n", opt->reloadable ? " [reload]" : "");
}

void fb_options_print_help(const struct fb_options *o, const char *summary)
{
    printf("%s: %s\n\nUsage: %s [--config FILE] [--SECTION.KEY VALUE ...]\n\n", o->program, summary,
           o->program);
    printf("  %-*s %s\n", NAME_COLUMNS, "--config FILE",
           "Configuration file (also FOREBAY_CONFIG); without one only flags and variables count.");
    printf("  %-*s %s\n", NAME_COLUMNS, "--check-config",
           "Check the configuration, say what is wrong, and exit.");
    printf("  %-*s %s\n", NAME_COLUMNS, "--print-config",
           "Print every value in force and where it came from, and exit.");
    printf("  %-*s %s\n", NAME_COLUMNS, "--config-help",
           "Print a commented sample of the configuration file, and exit.");
    printf("  %-*s %s\n", NAME_COLUMNS, "-h, --help", "Print this text, and exit.");
    printf("  %-*s %s\n", NAME_COLUMNS, "-V, --version", "Print the version, and exit.");
    by_section(o, true, print_help_item);
    printf(
        "\nEach option is also a key of the file ([node] listen = ...) and a variable "
        "(FOREBAY_NODE__LISTEN).\n"
        "A flag wins over a variable, a variable over the file, the file over the default.\n"
        "[reload]: read again on SIGHUP. Times are 250ms 5s 30m 2h 1d, sizes 64KiB 8MiB 2GiB.\n");
}

static void print_sample_item(const struct fb_options *o, size_t i)
{
    const struct fb_option *opt = &o->table[i];
    printf("# %s %s%s\n", opt->help ? opt->help : "", value_word(opt),
           opt->reloadable ? ", reload" : "");
    if (opt->default_value == NULL)
        printf("%s =\n", opt->key);
    else
        printf("# %s = %s\n", opt->key, opt->default_value);
}

void fb_options_print_config_help(const struct fb_options *o)
{
    printf("# Configuration of %s. Lines that start with '#' show the defaults; keys without '#' "
           "are required.\n",
           o->program);
    by_section(o, true, print_sample_item);
}

static void print_value_item(const struct fb_options *o, size_t i)
{
    const struct fb_option *opt = &o->table[i];
    const struct option_value *v = &o->values[i];
    bool hide = opt->secret && v->text[0] != '\0';
    printf("%s.%s = %s  # %s%s\n", opt->section, opt->key, hide ? "***" : v->text,
           v->where ? "from " : "", v->where ? v->where : "default");
}

void fb_options_print_config(const struct fb_options *o)
{
    by_section(o, false, print_value_item);
}
