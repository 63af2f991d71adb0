/* Log lines on stderr: constant text plus key=value, as logfmt or JSON. Any thread; one write(2) a
 * line. */
#ifndef FB_PROTO_BASE_LOG_H_
#define FB_PROTO_BASE_LOG_H_

#include "proto/base/bytes.h"
#include "proto/base/compiler.h"
#include "proto/base/status.h"

enum fb_log_level { FB_LOG_TRACE, FB_LOG_DEBUG, FB_LOG_INFO, FB_LOG_WARN, FB_LOG_ERROR };
enum fb_log_format { FB_LOG_LOGFMT, FB_LOG_JSON };

enum fb_kv_type { FB_KV_STR, FB_KV_UINT, FB_KV_INT, FB_KV_BYTES, FB_KV_DOUBLE };
struct fb_kv {
    const char *key;
    enum fb_kv_type type;
    union {
        const char *s;
        uint64_t u;
        int64_t i;
        struct fb_bytes b;
        double d;
    };
};

#define FB_KS(k, v) ((struct fb_kv){.key = (k), .type = FB_KV_STR, .s = (v)})
#define FB_KU(k, v) ((struct fb_kv){.key = (k), .type = FB_KV_UINT, .u = (uint64_t)(v)})
#define FB_KI(k, v) ((struct fb_kv){.key = (k), .type = FB_KV_INT, .i = (int64_t)(v)})
#define FB_KB(k, v) ((struct fb_kv){.key = (k), .type = FB_KV_BYTES, .b = (v)})
#define FB_KD(k, v) ((struct fb_kv){.key = (k), .type = FB_KV_DOUBLE, .d = (v)})

/* Process-wide settings; call from main before threads start. `process` and `name` appear in every
 * line. */
void fb_log_setup(enum fb_log_level level, enum fb_log_format format, const char *process,
                  const char *name);
/* Any time, any thread. */
void fb_log_set_level(enum fb_log_level level);
void fb_log_set_format(enum fb_log_format format);
/* "trace" .. "error"; FB_EINVAL otherwise. */
FB_MUST_USE enum fb_status fb_log_level_parse(const char *s, enum fb_log_level *out);
bool fb_log_enabled(enum fb_log_level level); /* stderr gets it */
bool fb_log_wanted(enum fb_log_level level);  /* stderr or the sink gets it */
/* Gets every line at info and above, whatever the level of stderr is; `text` is a constant, kv is
 * borrowed. Main thread, before others start. */
typedef void (*fb_log_sink_fn)(enum fb_log_level level, const char *text, const struct fb_kv *kv,
                               size_t count);
void fb_log_set_sink(fb_log_sink_fn sink);
void fb_log_emit(enum fb_log_level level, const char *text, const struct fb_kv *kv, size_t count);

/* FB_LOG(INFO, "snapshot written", FB_KU("part", p), FB_KS("file", name)); at least one pair */
#define FB_LOG(level, text, ...)                                                                   \
    do {                                                                                           \
        if (fb_log_wanted(FB_LOG_##level)) {                                                       \
            const struct fb_kv fb_kv_[] = {__VA_ARGS__};                                           \
            fb_log_emit(FB_LOG_##level, (text), fb_kv_, FB_COUNT_OF(fb_kv_));                      \
        }                                                                                          \
    } while (0)
#define FB_LOG0(level, text) fb_log_emit(FB_LOG_##level, (text), NULL, 0)

#endif
