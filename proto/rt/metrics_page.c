/* The page of metrics: families sorted by name, HELP and TYPE once each, samples sorted by labels.
 */
#include "proto/rt/metrics_registry.h"

#include "proto/base/build.h"

#include <math.h>
#include <stdlib.h>

/* The family whose gauge callbacks run: samples of other names are dropped, so that one callback
 * may serve many names. */
static _Thread_local const char *gauge_family;

static void put_number(struct fb_buf *out, double v)
{
    if (isnan(v))
        fb_buf_put_str(out, "NaN");
    else if (isinf(v))
        fb_buf_put_str(out, v > 0 ? "+Inf" : "-Inf");
    else if (v == floor(v) && fabs(v) < 1e15)
        fb_buf_printf(out, "%.0f", v);
    else
        fb_buf_printf(out, "%.15g", v);
}

static void put_sample_name(struct fb_buf *out, const char *name, const char *suffix,
                            const char *labels)
{
    if (labels[0] == '\0')
        fb_buf_printf(out, "%s%s ", name, suffix);
    else
        fb_buf_printf(out, "%s%s{%s} ", name, suffix, labels);
}

void fb_gauge_emit(struct fb_buf *out, const char *name, const char *labels, double value)
{
    char full[METRIC_NAME_BYTES];
    fb_metric_full_name(full, name);
    if (gauge_family != NULL && strcmp(full, gauge_family) != 0)
        return;
    put_sample_name(out, full, "", labels == NULL ? "" : labels);
    put_number(out, value);
    fb_buf_put_u8(out, '\n');
}

static void put_head(struct fb_buf *out, const struct metric *m)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "histogram"};
    size_t n = strlen(m->name);
    const char *type = m->kind == METRIC_GAUGE && n > 6 && strcmp(m->name + n - 6, "_total") == 0
                           ? "counter"
                           : types[m->kind];
    fb_buf_printf(out, "# HELP %s ", m->name);
    for (const char *c = m->help; *c != '\0'; c++) {
        if (*c == '\\')
            fb_buf_put_str(out, "\\\\");
        else if (*c == '\n')
            fb_buf_put_str(out, "\\n");
        else
            fb_buf_put_u8(out, (uint8_t)*c);
    }
    fb_buf_printf(out, "\n# TYPE %s %s\n", m->name, type);
}

static void put_histogram(struct fb_buf *out, const struct metric *m)
{
    double scale = m->kind == METRIC_HISTOGRAM_SECONDS ? 1e-9 : 1.0;
    const char *comma = m->labels[0] == '\0' ? "" : ",";
    uint64_t total = 0, sum;

    fb_metrics_lock();
    for (uint32_t b = 0; b <= m->bound_count; b++) {
        total += fb_metric_slot_locked(m, b);
        if (b == m->bound_count)
            fb_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", m->name, m->labels, comma,
                          (unsigned long long)total);
        else
            fb_buf_printf(out, "%s_bucket{%s%sle=\"%.9g\"} %llu\n", m->name, m->labels, comma,
                          (double)m->bounds[b] * scale, (unsigned long long)total);
    }
    sum = fb_metric_slot_locked(m, m->bound_count + 1);
    fb_metrics_unlock();
    put_sample_name(out, m->name, "_sum", m->labels);
    put_number(out, (double)sum * scale);
    fb_buf_put_u8(out, '\n');
    put_sample_name(out, m->name, "_count", m->labels);
    fb_buf_printf(out, "%llu\n", (unsigned long long)total);
}

static void put_metric(struct fb_buf *out, const struct metric *m)
{
    uint64_t v;
    switch (m->kind) {
    case METRIC_COUNTER:
        fb_metrics_lock();
        v = fb_metric_slot_locked(m, 0);
        fb_metrics_unlock();
        put_sample_name(out, m->name, "", m->labels);
        fb_buf_printf(out, "%llu\n", (unsigned long long)v);
        return;
    case METRIC_GAUGE:
        /* Without the lock: the callback is the owner's and may take locks of its own. */
        gauge_family = m->name;
        m->fn(m->arg, out);
        gauge_family = NULL;
        return;
    case METRIC_HISTOGRAM_SECONDS:
    case METRIC_HISTOGRAM_ROWS:
        put_histogram(out, m);
        return;
    }
}

static int by_name_and_labels(const void *a, const void *b)
{
    const struct metric *x = *(const struct metric *const *)a,
                        *y = *(const struct metric *const *)b;
    int c = strcmp(x->name, y->name);
    return c != 0 ? c : strcmp(x->labels, y->labels);
}

static void put_build_info(struct fb_buf *out)
{
    fb_buf_put_str(out, "# HELP forebay_build_info Which build this is; always 1.\n# TYPE "
                        "forebay_build_info gauge\n");
    fb_buf_printf(out, "forebay_build_info{version=\"%s\",build=\"%s\"} 1\n", fb_build_version(),
                  fb_build_flavor());
}

void fb_metrics_page(struct fb_buf *out)
{
    const struct metric **list;
    size_t n = 0, i = 0;
    bool info = false;

    fb_metrics_lock();
    for (struct metric *m = fb_metrics_first_locked(); m != NULL; m = m->next)
        n++;
    list = fb_xmalloc(n * sizeof(const struct metric *));
    for (struct metric *m = fb_metrics_first_locked(); m != NULL; m = m->next)
        list[i++] = m;
    fb_metrics_unlock();
    qsort(list, n, sizeof(const struct metric *), by_name_and_labels);
    for (i = 0; i < n; i++) {
        if (!info && strcmp(list[i]->name, "forebay_build_info") > 0) {
            put_build_info(out);
            info = true;
        }
        if (i == 0 || strcmp(list[i - 1]->name, list[i]->name) != 0)
            put_head(out, list[i]);
        put_metric(out, list[i]);
    }
    if (!info)
        put_build_info(out);
    free(list);
}
