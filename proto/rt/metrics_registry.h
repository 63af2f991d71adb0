/* The registry of metrics as the page sees it. Private to rt: others use metrics.h. */
#ifndef FB_PROTO_RT_METRICS_REGISTRY_H_
#define FB_PROTO_RT_METRICS_REGISTRY_H_

#include "proto/rt/metrics.h"

#define METRIC_NAME_BYTES 128

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM_SECONDS, METRIC_HISTOGRAM_ROWS };

/* Never freed, const once registered. Histogram slots: one per bound, one for the rest, then the
 * sum. */
struct metric {
    struct metric *next;
    enum metric_kind kind;
    char *name;   /* with prefix */
    char *labels; /* "" = none */
    char *help;
    uint32_t slot;
    const uint64_t *bounds; /* ns or rows */
    uint32_t bound_count;
    fb_gauge_fn fn;
    void *arg;
};

void fb_metric_full_name(char out[METRIC_NAME_BYTES], const char *name);
void fb_metrics_lock(void);
void fb_metrics_unlock(void);
/* Newest first; entries stay valid for ever, new ones go in front. */
struct metric *fb_metrics_first_locked(void);
uint64_t fb_metric_slot_locked(const struct metric *m, uint32_t index);

#endif
