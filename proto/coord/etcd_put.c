/* Requests to etcd's JSON gateway. */
#include "proto/coord/etcd_json.h"

#include "proto/base/base64.h"
#include "proto/cluster/json.h"

#include <inttypes.h>

static void base64(struct fb_buf *out, const char *a, const char *b, struct fb_bytes c)
{
    struct fb_buf all = {0};

    fb_buf_put_str(&all, a);
    fb_buf_put_str(&all, b);
    fb_buf_put_bytes(&all, c);
    fb_buf_put_u8(out, '"');
    fb_base64_put(out, fb_buf_view(&all));
    fb_buf_put_u8(out, '"');
    fb_buf_fini(&all);
}

static void key(struct fb_buf *out, const char *prefix, const char *name)
{
    fb_buf_put_str(out, "\"key\":");
    base64(out, prefix, name, fb_bytes("", 0));
}

/* "key" and "range_end" of all keys that begin with prefix + name: the end is the first text behind
 * them, its last byte being one more. No prefix ends in 0xff: it is a path. */
static void keys_below(struct fb_buf *out, const char *prefix, const char *name)
{
    struct fb_buf end = {0};

    key(out, prefix, name);
    fb_buf_put_str(&end, prefix);
    fb_buf_put_str(&end, name);
    fb_assert(end.n > 0 && end.p[end.n - 1] < 0xff);
    end.p[end.n - 1]++;
    fb_buf_put_str(out, ",\"range_end\":\"");
    fb_base64_put(out, fb_buf_view(&end));
    fb_buf_put_u8(out, '"');
    fb_buf_fini(&end);
}

void etcd_put_list(struct fb_buf *out, const char *prefix, const char *keys)
{
    fb_buf_put_str(out, "{\"success\":[{\"request_range\":{");
    keys_below(out, prefix, keys);
    fb_buf_put_str(out, "}},{\"request_range\":{");
    keys_below(out, prefix, ETCD_SESSION_PREFIX);
    fb_buf_put_str(out, "}}]}");
}

void etcd_put_get(struct fb_buf *out, const char *prefix, const char *name)
{
    fb_buf_put_u8(out, '{');
    key(out, prefix, name);
    fb_buf_put_u8(out, '}');
}

static void compare(struct fb_buf *out, const char *prefix, const char *name, uint64_t rev)
{
    fb_buf_put_str(out, "{\"target\":\"MOD\",\"result\":\"EQUAL\",");
    key(out, prefix, name);
    fb_buf_printf(out, ",\"mod_revision\":\"%" PRIu64 "\"}", rev);
}

void etcd_put_txn(struct fb_buf *out, const char *prefix, const char *session,
                  const struct fb_coord_op *ops, size_t count)
{
    const char *comma = "";

    fb_buf_put_str(out, "{\"compare\":[");
    for (size_t i = 0; i < count; i++) {
        if (ops[i].rev == UINT64_MAX)
            continue;
        fb_buf_put_str(out, comma);
        compare(out, prefix, ops[i].key, ops[i].rev);
        comma = ",";
    }
    fb_buf_put_str(out, "],\"success\":[");
    for (size_t i = 0; i < count; i++) {
        bool erase = ops[i].value.p == NULL;
        fb_buf_printf(out, "%s{\"%s\":{", i == 0 ? "" : ",",
                      erase ? "request_delete_range" : "request_put");
        key(out, prefix, ops[i].key);
        if (!erase) {
            struct fb_buf v = {0};
            fb_buf_put_bytes(&v, ops[i].value);
            if (ops[i].session) {
                fb_buf_put_u8(&v, 0);
                fb_buf_put_str(&v, session);
            }
            fb_buf_put_str(out, ",\"value\":\"");
            fb_base64_put(out, fb_buf_view(&v));
            fb_buf_put_u8(out, '"');
            fb_buf_fini(&v);
        }
        fb_buf_put_str(out, "}}");
    }
    /* so that a mismatch can say which */
    fb_buf_put_str(out, "],\"failure\":[");
    comma = "";
    for (size_t i = 0; i < count; i++) {
        if (ops[i].rev == UINT64_MAX)
            continue;
        fb_buf_printf(out, "%s{\"request_range\":{\"keys_only\":true,", comma);
        key(out, prefix, ops[i].key);
        fb_buf_put_str(out, "}}");
        comma = ",";
    }
    fb_buf_put_str(out, "]}");
}

void etcd_put_session(struct fb_buf *out, const char *prefix, const char *name, uint64_t rev,
                      const char *value, uint64_t lease)
{
    struct fb_buf full = {0};

    fb_buf_printf(&full, "%s%s", ETCD_SESSION_PREFIX, name);
    fb_buf_put_u8(&full, 0);
    fb_buf_put_str(out, "{\"compare\":[");
    compare(out, prefix, (const char *)full.p, rev);
    fb_buf_put_str(out, "],\"success\":[{\"request_put\":{");
    key(out, prefix, (const char *)full.p);
    fb_buf_put_str(out, ",\"value\":");
    base64(out, value, "", fb_bytes("", 0));
    fb_buf_printf(out, ",\"lease\":\"%" PRId64 "\"}}],\"failure\":[{\"request_range\":{",
                  (int64_t)lease);
    key(out, prefix, (const char *)full.p);
    fb_buf_put_str(out, "}}]}");
    fb_buf_fini(&full);
}

void etcd_put_watch(struct fb_buf *out, const char *prefix, uint64_t from)
{
    fb_buf_put_str(out, "{\"create_request\":{");
    keys_below(out, prefix, "");
    fb_buf_printf(out, ",\"start_revision\":\"%" PRIu64 "\"}}", from);
}

void etcd_put_grant(struct fb_buf *out, uint32_t ttl_s)
{
    fb_buf_printf(out, "{\"TTL\":\"%u\"}", ttl_s);
}

void etcd_put_lease(struct fb_buf *out, uint64_t lease)
{
    fb_buf_printf(out, "{\"ID\":\"%" PRId64 "\"}", (int64_t)lease);
}

void etcd_put_login(struct fb_buf *out, const char *user, struct fb_bytes password)
{
    struct fb_buf text = {0};

    fb_buf_put_bytes(&text, password);
    fb_buf_put_u8(&text, 0);
    fb_buf_put_str(out, "{\"name\":");
    fb_json_put_text(out, user);
    fb_buf_put_str(out, ",\"password\":");
    fb_json_put_text(out, (const char *)text.p);
    fb_buf_put_u8(out, '}');
    memset(text.p, 0, text.n);
    fb_buf_fini(&text);
}
