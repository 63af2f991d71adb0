/* Options from the configuration file and from the environment. */
#include "proto/base/ini.h"
#include "proto/base/options_impl.h"

#include <errno.h>
#include <stdio.h>

static void file_problem(void *arg, uint32_t line, const char *what)
{
    struct fb_options *o = arg;
    if (line == 0)
        fb_buf_printf(&o->problems, "%s: %s\n", o->file, what);
    else
        fb_buf_printf(&o->problems, "%s:%u: %s\n", o->file, line, what);
}

static enum fb_status file_section(struct fb_options *o, const struct fb_ini_item *item,
                                   struct fb_err *err)
{
    const char *near;
    if (fb_options_any_section(o, item->section)) {
        if (item->name.n > 0)
            return fb_err_set(err, FB_EINVAL, "section [%.*s] takes no second word",
                              (int)item->section.n, (const char *)item->section.p);
        return FB_OK;
    }
    near = fb_options_near_section(o, item->section);
    if (near != NULL)
        return fb_err_set(err, FB_EINVAL, "unknown section [%.*s]; did you mean [%s]?",
                          (int)item->section.n, (const char *)item->section.p, near);
    return fb_err_set(err, FB_EINVAL, "unknown section [%.*s]", (int)item->section.n,
                      (const char *)item->section.p);
}

static enum fb_status file_item(void *arg, const struct fb_ini_item *item, struct fb_err *err)
{
    struct fb_options *o = arg;
    char at[600];
    size_t i;

    if (item->key.n == 0)
        return file_section(o, item, err);
    if (!fb_options_own_section(o, item->section))
        return FB_OK; /* another program's, or a section already complained about */
    i = fb_options_find(o, item->section, item->key);
    if (i == SIZE_MAX) {
        const char *near = fb_options_near_key(o, item->section, item->key);
        return fb_err_set(err, FB_EINVAL, "unknown key \"%.*s\" in [%.*s]%s%s%s", (int)item->key.n,
                          (const char *)item->key.p, (int)item->section.n,
                          (const char *)item->section.p, near ? "; did you mean \"" : "",
                          near ? near : "", near ? "\"?" : "");
    }
    if (o->values[i].file_line != 0)
        return fb_err_set(err, FB_EINVAL, "key \"%s\" in [%s] is given twice; first at line %u",
                          o->table[i].key, o->table[i].section, o->values[i].file_line);
    o->values[i].file_line = item->line;
    snprintf(at, sizeof(at), "%.500s:%u", o->file, item->line);
    fb_options_assign(o, i, item->value, SOURCE_FILE, at);
    return FB_OK;
}

void fb_options_from_file(struct fb_options *o)
{
    struct fb_buf text = {0};
    FILE *f = fopen(o->file, "re");
    size_t n;

    if (f == NULL) {
        fb_buf_printf(&o->problems, "open configuration file %s: %s\n", o->file, strerror(errno));
        o->no_file = true;
        return;
    }
    /* one byte more than allowed, so that the reader sees what is too large */
    n = fread(fb_buf_reserve(&text, FB_INI_FILE_BYTES_MAX + 1), 1, FB_INI_FILE_BYTES_MAX + 1, f);
    text.n = n;
    if (ferror(f))
        fb_buf_printf(&o->problems, "read configuration file %s: %s\n", o->file, strerror(errno));
    else
        fb_ini_walk(fb_buf_view(&text), file_item, file_problem, o);
    fclose(f);
    fb_buf_fini(&text);
}

static void env_unknown(struct fb_options *o, struct fb_bytes name, const char *near_section,
                        const char *near_key)
{
    fb_buf_printf(&o->problems, "unknown variable %.*s", (int)name.n, (const char *)name.p);
    if (near_key != NULL) {
        struct fb_buf env = {0};
        struct fb_option like = {.section = near_section, .key = near_key};
        fb_options_env_name(&env, &like);
        fb_buf_printf(&o->problems, "; did you mean %.*s?", (int)env.n, (const char *)env.p);
        fb_buf_fini(&env);
    } else if (near_section != NULL) {
        fb_buf_printf(&o->problems, "; there is no such option in [%s]", near_section);
    }
    fb_buf_put_u8(&o->problems, '\n');
}

/* One FOREBAY_<SECTION>__<KEY>=value. */
static void env_item(struct fb_options *o, const char *entry)
{
    static const char prefix[] = "FOREBAY_";
    const size_t prefix_n = sizeof(prefix) - 1;
    const char *eq = strchr(entry, '=');
    struct fb_buf lower = {0};
    const char *cut;
    size_t i;

    if (eq == NULL || strncmp(entry, prefix, prefix_n) != 0 || (size_t)(eq - entry) <= prefix_n)
        return;
    for (const char *c = entry + prefix_n; c < eq; c++)
        fb_buf_put_u8(&lower, (uint8_t)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c));
    fb_buf_put_u8(&lower, 0);
    cut = strstr((const char *)lower.p, "__");
    /* single underscores are others' business: FOREBAY_CLUSTER, or what an orchestrator sets for a
     * service of our name */
    if (cut != NULL) {
        struct fb_bytes name = fb_bytes(entry, (size_t)(eq - entry));
        struct fb_bytes section = fb_bytes(lower.p, (size_t)(cut - (const char *)lower.p));
        struct fb_bytes key = fb_bytes_str(cut + 2);
        if (fb_options_own_section(o, section)) {
            i = fb_options_find(o, section, key);
            if (i != SIZE_MAX) {
                char at[200];
                snprintf(at, sizeof(at), "%.*s", (int)name.n, (const char *)name.p);
                fb_options_assign(o, i, fb_bytes_str(eq + 1), SOURCE_ENV, at);
            } else {
                char own[FB_ERR_MSG_BYTES_MAX];
                snprintf(own, sizeof(own), "%.*s", (int)section.n, (const char *)section.p);
                env_unknown(o, name, own, fb_options_near_key(o, section, key));
            }
        } else if (!fb_options_any_section(o, section)) {
            const char *near = fb_options_near_section(o, section);
            /* far from every section of ours: somebody else's variable */
            if (near != NULL)
                env_unknown(o, name, near, (const char *)key.p);
        }
    }
    fb_buf_fini(&lower);
}

void fb_options_from_env(struct fb_options *o, char **env)
{
    for (; env != NULL && *env != NULL; env++)
        env_item(o, *env);
}
