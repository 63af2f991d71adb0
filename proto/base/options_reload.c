/* Options read a second time: what may change while the process runs, and what may not. */
#include "proto/base/options_impl.h"

#include <stdio.h>

static const char *shown(const struct fb_option *opt, const char *text)
{
    if (opt->secret)
        return "***";
    return text[0] == '\0' ? "(none)" : text;
}

/* Two spellings of one value are no change; a text is what it says. */
static bool differs(const struct fb_option *opt, const struct option_value *a,
                    const struct option_value *b)
{
    return opt->type == FB_OPT_TEXT ? strcmp(a->text, b->text) != 0 : a->num != b->num;
}

/* Where the new value stands; a key that was taken away stands nowhere, so where it stood. */
static void place(struct fb_buf *out, const struct option_value *was,
                  const struct option_value *now)
{
    if (now->where != NULL)
        fb_buf_put_str(out, now->where);
    else if (was->where != NULL)
        fb_buf_printf(out, "the default, now that %s does not set it", was->where);
    else
        fb_buf_put_str(out, "the default");
}

static void refuse(struct fb_buf *problems, const struct fb_option *opt,
                   const struct option_value *was, const struct option_value *now)
{
    place(problems, was, now);
    fb_buf_printf(problems,
                  ": %s.%s cannot change while the process runs: it is %s and would be %s; put it "
                  "back, or restart the process\n",
                  opt->section, opt->key, shown(opt, was->text), shown(opt, now->text));
}

static void tell(struct fb_buf *changes, const struct fb_option *opt,
                 const struct option_value *was, const struct option_value *now)
{
    fb_buf_printf(changes, "%s.%s %s -> %s (", opt->section, opt->key, shown(opt, was->text),
                  shown(opt, now->text));
    place(changes, was, now);
    fb_buf_put_str(changes, ")\n");
}

enum fb_status fb_options_reload(const struct fb_options *running, int argc, char **argv,
                                 struct fb_options **next, struct fb_buf *changes,
                                 struct fb_buf *problems)
{
    struct fb_options *o = fb_options_again(running, argc, argv);
    enum fb_status st = FB_OK;

    *next = NULL;
    if (o->problems.n > 0) {
        fb_buf_put_bytes(problems, fb_buf_view(&o->problems));
        st = FB_EINVAL;
    }
    for (size_t i = 0; st != FB_EINVAL && i < o->count; i++) {
        const struct fb_option *opt = &o->table[i];
        if (!differs(opt, &running->values[i], &o->values[i]))
            continue;
        if (opt->reloadable) {
            tell(changes, opt, &running->values[i], &o->values[i]);
        } else {
            refuse(problems, opt, &running->values[i], &o->values[i]);
            st = FB_EREFUSED;
        }
    }
    if (st == FB_OK)
        *next = o;
    else
        fb_options_free(o);
    return st;
}
