/* Text as a configuration: the INI reader, the cluster file, the process file. The first byte says
 * which.
 *
 * Besides sanitizers: the reader and the walk agree on whether there is a problem, views lie within
 * the text, every problem is said in one line with a place, and a cluster file that is taken prints
 * as one that is taken and prints the same.
 */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/input.h"

#include "proto/base/ini.h"
#include "proto/base/options_impl.h"
#include "proto/cluster/namespace.h"

struct walk {
    struct fb_bytes text;
    uint32_t items, problems, line;
};

static void within(const struct walk *w, struct fb_bytes v)
{
    fb_assert(v.n == 0 || (v.p >= w->text.p && v.p + v.n <= w->text.p + w->text.n));
}

static enum fb_status item_cb(void *arg, const struct fb_ini_item *item, struct fb_err *err)
{
    struct walk *w = arg;
    (void)err;
    within(w, item->section);
    within(w, item->name);
    within(w, item->key);
    within(w, item->value);
    fb_assert(item->line > w->line); /* one item a line */
    w->line = item->line;
    w->items++;
    return FB_OK;
}

static void problem_cb(void *arg, uint32_t line, const char *what)
{
    struct walk *w = arg;
    (void)line;
    fb_assert(what[0] != 0 && strchr(what, '\n') == NULL);
    w->problems++;
}

static void check_reader(struct fb_bytes text)
{
    struct walk w = {.text = text}, all = {.text = text};
    struct fb_err err = {0};
    enum fb_status s = fb_ini_parse("x.conf", text, item_cb, &w, &err);

    fb_ini_walk(text, item_cb, problem_cb, &all);
    fb_assert((s == FB_OK) == (all.problems == 0));
    fb_assert(s != FB_OK || w.items == all.items);
    fb_assert(s == FB_OK || strncmp(err.msg, "x.conf:", 7) == 0);
}

static void check_cluster_file(struct fb_bytes text)
{
    struct fb_nsset *set = NULL, *again = NULL;
    struct fb_buf problems = {0}, one = {0}, two = {0};
    struct fb_err err = {0};

    if (fb_nsset_parse("c.conf", text, &set, &problems, &err) != FB_OK) {
        fb_assert(set == NULL && strncmp(err.msg, "c.conf", 6) == 0);
        fb_buf_fini(&problems);
        return;
    }
    fb_assert(problems.n == 0 && set->count >= 1 && strcmp(set->ns[0].name, "default") == 0);
    fb_nsset_print(&one, set);
    if (fb_nsset_parse("c.conf", fb_buf_view(&one), &again, &problems, &err) != FB_OK) {
        fprintf(stderr, "%s\n%.*s\n", err.msg, (int)one.n, (char *)one.p);
        abort();
    }
    fb_nsset_print(&two, again);
    fb_assert(fb_bytes_equal(fb_buf_view(&one), fb_buf_view(&two)));
    for (uint32_t i = 0; i < set->count; i++) {
        uint8_t ns_len;
        fb_assert(fb_nsset_find(set, fb_bytes_str(set->ns[i].name)) == i);
        fb_assert(fb_nsset_of_key(set, fb_bytes_str(set->ns[i].name), &ns_len) == 0);
    }
    free(set);
    free(again);
    fb_buf_fini(&problems);
    fb_buf_fini(&one);
    fb_buf_fini(&two);
}

static const struct fb_option table[] = {
    {"process", "name", FB_OPT_TEXT, "n", "Name.", NULL, 0, 0, false, false},
    {"node", "memory", FB_OPT_SIZE, "1GiB", "Bytes.", NULL, 0, 0, false, false},
    {"node", "threads", FB_OPT_UINT, "0", "Threads.", NULL, 0, 64, false, false},
    {"node", "weight", FB_OPT_UINT, "100", "Weight.", NULL, 1, 0, false, false},
    {"node", "interval", FB_OPT_DURATION, "50ms", "Time.", NULL, 0, 0, true, false},
    {"node", "level", FB_OPT_ENUM, "info", "Level.", "trace|debug|info", 0, 0, true, false},
    {"node", "strict", FB_OPT_BOOL, "no", "Strict.", NULL, 0, 0, false, true},
};
static const char *const sections[] = {"process", "node", "router", NULL};

static void check_process_file(struct fb_bytes text)
{
    char path[256];
    struct fb_options o = {.program = "fuzz",
                           .table = table,
                           .count = FB_COUNT_OF(table),
                           .all_sections = sections,
                           .file = path};
    const char *line;

    folder_put("x.conf", text);
    snprintf(path, sizeof(path), "%s/x.conf", folder());
    o.values = fb_xcalloc(o.count, sizeof(*o.values));
    fb_options_from_file(&o);
    fb_assert(!o.no_file);
    fb_buf_put_u8(&o.problems, 0);
    for (line = (char *)o.problems.p; *line != 0; line = strchr(line, '\n') + 1)
        fb_assert(strncmp(line, path, strlen(path)) == 0 && strchr(line, '\n') != NULL);
    for (size_t i = 0; i < o.count; i++) {
        struct option_value *v = &o.values[i];
        fb_assert(v->source == SOURCE_NONE || v->text != NULL);
        if (v->source == SOURCE_FILE && table[i].type == FB_OPT_UINT && table[i].max != 0)
            fb_assert(v->num <= table[i].max);
        free(v->text);
        free(v->where);
    }
    free(o.values);
    fb_buf_fini(&o.problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const checks[])(struct fb_bytes) = {check_reader, check_cluster_file,
                                                      check_process_file};
    uint8_t *exact;

    if (n < 1)
        return 0;
    exact = fb_xmalloc(n - 1);
    memcpy(exact, data + 1, n - 1);
    checks[data[0] % FB_COUNT_OF(checks)](fb_bytes(exact, n - 1));
    free(exact);
    return 0;
}
