/* A shadow history to play with: hand-made records, commands and answers. */
#ifndef FB_TESTS_SIM_HISTORY_FIXTURE_H_
#define FB_TESTS_SIM_HISTORY_FIXTURE_H_

#include "tests/sim/history.h"

#include "proto/cluster/slot.h"
#include "proto/wire/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PARTS 4u

struct fixture {
    struct history *h;
    uint64_t now_ns;
    uint64_t last[PARTS];
    char found[8]; /* the invariant, "" = nothing */
    char text[4096];
    uint64_t row;
};

static inline void violation(void *arg, const char *what, const char *text)
{
    struct fixture *f = arg;
    snprintf(f->found, sizeof f->found, "%s", what);
    snprintf(f->text, sizeof f->text, "%s", text);
}

static inline uint64_t row_version(void *arg, const char *key)
{
    (void)key;
    return ((struct fixture *)arg)->row;
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct history_config c = {
        .arg = f, .partitions = PARTS, .violation = violation, .row_version = row_version};
    f->h = history_new(&c);
    f->now_ns = 1000000;
    history_wall(f->h, 1000, 1000);
    for (uint16_t p = 0; p < PARTS; p++) {
        struct fb_record r = {
            .type = FB_RECORD_EPOCH_START, .part = p, .ver = fb_ver(1, 0), .ptime_ms = 1000};
        history_record(f->h, f->now_ns, &r);
        f->last[p] = r.ver;
    }
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    history_free(f->h);
    free(f);
    return 0;
}

static inline void expect(const struct fixture *f, const char *what)
{
    if (strcmp(f->found, what) != 0)
        fail_msg("expected \"%s\", found \"%s\": %s", what, f->found, f->text);
}

static inline uint16_t part_of(const char *key)
{
    return fb_key_partition(fb_bytes_str(key), PARTS);
}

static inline uint64_t record(struct fixture *f, uint8_t type, const char *key, const char *value,
                              int64_t expires, uint32_t count)
{
    uint16_t p = part_of(key);
    struct fb_record r = {.type = type,
                          .kind = type == FB_RECORD_PUT ? FB_KIND_STRING : FB_KIND_NONE,
                          .part = p,
                          .ver = f->last[p] + 1,
                          .prev = f->last[p],
                          .ptime_ms = 1000,
                          .expires_ms = expires,
                          .count = count,
                          .key = type == FB_RECORD_GROUP ? fb_bytes("", 0) : fb_bytes_str(key)};
    if (value != NULL)
        r.value = fb_bytes_str(value);
    f->now_ns += 1000;
    f->last[p] = r.ver;
    history_record(f->h, f->now_ns, &r);
    return r.ver;
}

static inline uint64_t put(struct fixture *f, const char *key, const char *value)
{
    return record(f, FB_RECORD_PUT, key, value, 0, 0);
}

static inline uint64_t del(struct fixture *f, const char *key)
{
    return record(f, FB_RECORD_DEL, key, NULL, 0, 0);
}

static inline struct shadow_cmd cmd(enum shadow_op op, const char *key, const char *value,
                                    int64_t a)
{
    struct shadow_cmd c = {.op = op, .a = a};
    snprintf(c.key, sizeof c.key, "%s", key);
    if (value != NULL)
        fb_buf_put_str(&c.value, value);
    return c;
}

static inline struct history_op *send_as(struct fixture *f, uint32_t client, uint8_t level,
                                         struct shadow_cmd c)
{
    f->now_ns += 1000;
    return history_invoke(f->h, f->now_ns, client, client, &c, level);
}

static inline struct history_op *send(struct fixture *f, struct shadow_cmd c)
{
    return send_as(f, 1, FB_LEVEL_LOCAL, c);
}

static inline void answer(struct fixture *f, struct history_op *op, const char *bytes)
{
    struct reply r;
    f->now_ns += 1000;
    assert_int_equal(reply_parse((const uint8_t *)bytes, strlen(bytes), &r), strlen(bytes));
    history_reply(f->h, op, f->now_ns, &r);
    reply_fini(&r);
}

static inline void exec_answer(struct fixture *f, struct history_txn *t, const char *bytes)
{
    struct reply r;
    f->now_ns += 1000;
    assert_int_equal(reply_parse((const uint8_t *)bytes, strlen(bytes), &r), strlen(bytes));
    history_txn_reply(f->h, t, f->now_ns, &r);
    reply_fini(&r);
}

static inline struct shadow_cmd set(const char *key, const char *v)
{
    return cmd(SHADOW_SET, key, v, 0);
}
static inline struct shadow_cmd get(const char *key)
{
    return cmd(SHADOW_GET, key, NULL, 0);
}
static inline struct shadow_cmd incr(const char *key, int64_t by)
{
    return cmd(SHADOW_INCRBY, key, NULL, by);
}

/* key = value, written and acknowledged. */
static inline uint64_t have(struct fixture *f, const char *key, const char *value)
{
    struct history_op *op = send(f, set(key, value));
    uint64_t ver = put(f, key, value);
    answer(f, op, "+OK\r\n");
    expect(f, "");
    return ver;
}

#endif
