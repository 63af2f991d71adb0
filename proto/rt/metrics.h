/* Metrics in Prometheus text format. Counters and histograms are per thread (shards) and summed
 * when read: the hot path writes plain thread-local memory.
 *
 * Names get the prefix forebay_ here (a name that has it already is left alone). Labels are in
 * exposition format, values escaped by the caller. Registered metrics live until the process ends.
 */
#ifndef FB_PROTO_RT_METRICS_H_
#define FB_PROTO_RT_METRICS_H_

#include "proto/base/buf.h"

/* Counter: registered once per name and label set at start-up (or when a namespace appears); then
 * added to by any thread. */
struct fb_counter;
/* labels: "command=\"get\",result=\"ok\"" or NULL. The same name and labels give the same counter.
 * Any thread; takes a lock. */
struct fb_counter *fb_counter_register(const char *name, const char *labels, const char *help);
void fb_counter_add(struct fb_counter *c, uint64_t n); /* wait-free, any thread */
uint64_t fb_counter_value(const struct fb_counter *c);

struct fb_histogram; /* seconds; buckets 50us .. 10s; or counts when unit is rows */
struct fb_histogram *fb_histogram_register(const char *name, const char *labels, const char *help,
                                           bool rows);
void fb_histogram_observe_ns(struct fb_histogram *h, uint64_t ns,
                             uint64_t times); /* wait-free, any thread */
void fb_histogram_observe_rows(struct fb_histogram *h, uint64_t rows);

/* Gauges are asked when the page is read (admin thread, no lock held): fn appends values with
 * fb_gauge_emit. One fn may be registered for several names and always emit all of them: only
 * samples of the family being written are kept. A name that ends in _total is a counter whose owner
 * counts: fn never gives less than before. */
typedef void (*fb_gauge_fn)(void *arg, struct fb_buf *out);
void fb_gauge_register(const char *name, const char *help, fb_gauge_fn fn, void *arg);
void fb_gauge_emit(struct fb_buf *out, const char *name, const char *labels, double value);

/* What counting itself takes. Any thread. */
uint64_t fb_metrics_memory_bytes(void);

/* The whole page, HELP and TYPE lines included; build_info is added by itself. */
void fb_metrics_page(struct fb_buf *out);

#endif
