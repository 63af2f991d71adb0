/* Answers of etcd's JSON gateway. */
#include "proto/coord/etcd_json.h"

#include "proto/base/base64.h"
#include "proto/base/number.h"
#include "proto/base/utf8.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>

static enum fb_status strange(struct fb_err *err, const char *what)
{
    return fb_err_set(err, FB_EPROTO,
                      "etcd answered something that is not understood (%s); is it etcd 3.4 or "
                      "newer, and nothing in between that changes answers?",
                      what);
}

static enum fb_status parse(struct fb_bytes text, json_t **root, struct fb_err *err)
{
    json_error_t je;

    *root = json_loadb(text.p == NULL ? "" : (const char *)text.p, text.n, 0, &je);
    if (json_is_object(*root)) /* NULL is none */
        return FB_OK;
    json_decref(*root);
    *root = NULL;
    return strange(err, "no JSON object");
}

/* A 64-bit number as a string, or a small one as a number; missing is 0. */
static bool number(const json_t *obj, const char *field, uint64_t *out)
{
    const json_t *v = json_object_get(obj, field);

    *out = 0;
    if (v == NULL)
        return true;
    if (json_is_string(v))
        return fb_parse_u64(fb_bytes(json_string_value(v), json_string_length(v)), out);
    if (json_typeof(v) != JSON_INTEGER || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static enum fb_status header(const json_t *root, struct etcd_header *h, struct fb_err *err)
{
    const json_t *o = json_object_get(root, "header");

    *h = (struct etcd_header){0};
    if (!json_is_object(o) || !number(o, "cluster_id", &h->cluster_id) ||
        !number(o, "revision", &h->revision))
        return strange(err, "no header");
    return FB_OK;
}

static bool base64(const json_t *obj, const char *field, struct fb_buf *out)
{
    const json_t *v = json_object_get(obj, field);

    if (v == NULL)
        return true;
    return json_is_string(v) &&
           fb_base64_take(out, fb_bytes(json_string_value(v), json_string_length(v)));
}

/* Of what is stored: the value, and the session it is bound to ("" = none). False: not ours. */
static bool split(struct fb_buf *stored, char session[ETCD_SESSION_BYTES_MAX])
{
    const uint8_t *nul = stored->n == 0 ? NULL : memchr(stored->p, 0, stored->n);
    size_t n = nul == NULL ? 0 : stored->n - (size_t)(nul - stored->p) - 1;

    session[0] = '\0';
    if (nul != NULL) {
        if (n == 0 || n >= ETCD_SESSION_BYTES_MAX || memchr(nul + 1, 0, n) != NULL)
            return false;
        memcpy(session, nul + 1, n);
        session[n] = '\0';
        stored->n = (size_t)(nul - stored->p);
    }
    return fb_utf8_valid(fb_buf_view(stored), NULL);
}

static const json_t *range_of(const json_t *root, size_t i)
{
    return json_object_get(json_array_get(json_object_get(root, "responses"), i), "response_range");
}

/* ---- list ---- */

/* Is the session "<name>:<token>" among the sessions that are there? */
static bool alive(const json_t *sessions, const char *prefix, const char *session)
{
    const char *token = strrchr(session, ':');
    struct fb_buf want = {0}, have = {0};
    const json_t *kv;
    bool yes = false;
    size_t i;

    if (token == NULL)
        return false;
    fb_buf_printf(&want, "%s%s%.*s", prefix, ETCD_SESSION_PREFIX, (int)(token - session), session);
    token++;
    json_array_foreach(sessions, i, kv)
    {
        fb_buf_clear(&have);
        if (!base64(kv, "key", &have) || !fb_bytes_equal(fb_buf_view(&have), fb_buf_view(&want)))
            continue;
        fb_buf_clear(&have);
        yes = base64(kv, "value", &have) && have.n >= strlen(token) &&
              memcmp(have.p, token, strlen(token)) == 0 &&
              (have.n == strlen(token) || have.p[strlen(token)] == ' ');
        break;
    }
    fb_buf_fini(&want);
    fb_buf_fini(&have);
    return yes;
}

/* One key into `to`. False: it is nothing of ours. *skip: it is ours and not to be listed. */
static bool list_key(const json_t *kv, const char *prefix, const json_t *sessions,
                     struct fb_coord_kv *to, bool *skip)
{
    char session[ETCD_SESSION_BYTES_MAX];
    struct fb_buf name = {0}, value = {0};
    size_t prefix_n = strlen(prefix);
    bool ok = base64(kv, "key", &name) && name.n > prefix_n &&
              memcmp(name.p, prefix, prefix_n) == 0 && memchr(name.p, 0, name.n) == NULL &&
              number(kv, "mod_revision", &to->rev) && to->rev > 0;

    *skip = ok && name.p[prefix_n] == '.';
    if (ok && !*skip) {
        ok = base64(kv, "value", &value) && split(&value, session);
        if (ok) {
            fb_buf_put_u8(&name, 0);
            to->key = fb_xstrdup((const char *)name.p + prefix_n);
            to->alive = session[0] == '\0' || alive(sessions, prefix, session);
            fb_buf_put_u8(&value, 0); /* as file: does it */
            to->value = fb_bytes(value.p, value.n - 1);
            value = (struct fb_buf){0};
        }
    }
    fb_buf_fini(&name);
    fb_buf_fini(&value);
    return ok;
}

enum fb_status etcd_take_list(struct fb_bytes text, const char *prefix, struct etcd_header *h,
                              struct fb_coord_list *out, struct fb_err *err)
{
    const json_t *kvs, *sessions, *kv;
    json_t *root;
    enum fb_status s = parse(text, &root, err);
    size_t i;

    *out = (struct fb_coord_list){0};
    if (s != FB_OK)
        return s;
    s = header(root, h, err);
    kvs = json_object_get(range_of(root, 0), "kvs");
    sessions = json_object_get(range_of(root, 1), "kvs");
    if (s == FB_OK &&
        (range_of(root, 1) == NULL || !json_is_true(json_object_get(root, "succeeded"))))
        s = strange(err, "not two ranges");
    if (s == FB_OK) {
        out->rev = h->revision;
        out->kv = fb_xcalloc(json_array_size(kvs) + 1, sizeof(*out->kv));
    }
    json_array_foreach(kvs, i, kv)
    {
        struct fb_coord_kv *to = s == FB_OK ? &out->kv[out->count] : NULL;
        bool skip;
        if (s != FB_OK)
            break;
        if (!list_key(kv, prefix, sessions, to, &skip))
            s = fb_err_set(err, FB_ECORRUPT,
                           "etcd holds something below %s that is not Forebay's; use another "
                           "cluster name in the coordinator URL, or remove it",
                           prefix);
        else if (!skip && out->count > 0 && strcmp(to[-1].key, to->key) >= 0)
            s = strange(err, "keys are not sorted");
        if (to->key != NULL)
            out->count++;
    }
    json_decref(root);
    return s;
}

/* ---- one key ---- */

enum fb_status etcd_take_get(struct fb_bytes text, struct etcd_header *h, struct fb_buf *value,
                             uint64_t *rev, struct fb_err *err)
{
    char session[ETCD_SESSION_BYTES_MAX];
    struct fb_buf stored = {0};
    json_t *root;
    const json_t *kv;
    enum fb_status s = parse(text, &root, err);

    *rev = 0;
    if (s != FB_OK)
        return s;
    s = header(root, h, err);
    kv = json_array_get(json_object_get(root, "kvs"), 0);
    if (s == FB_OK && kv == NULL)
        s = FB_ENOENT;
    else if (s == FB_OK && (!number(kv, "mod_revision", rev) || *rev == 0 ||
                            !base64(kv, "value", &stored) || !split(&stored, session)))
        s = strange(err, "a key's record");
    if (s == FB_OK)
        fb_buf_put_bytes(value, fb_buf_view(&stored));
    fb_buf_fini(&stored);
    json_decref(root);
    return s;
}

/* ---- transactions ---- */

static uint64_t range_rev(const json_t *root, size_t i)
{
    uint64_t rev = 0;
    return number(json_array_get(json_object_get(range_of(root, i), "kvs"), 0), "mod_revision",
                  &rev)
               ? rev
               : 0;
}

enum fb_status etcd_take_txn(struct fb_bytes text, const struct fb_coord_op *ops, size_t count,
                             struct etcd_header *h, struct fb_err *err)
{
    json_t *root;
    enum fb_status s = parse(text, &root, err);
    size_t compared = 0;

    if (s != FB_OK)
        return s;
    s = header(root, h, err);
    if (s == FB_OK && h->revision == 0)
        s = strange(err, "no revision");
    if (s == FB_OK && !json_is_true(json_object_get(root, "succeeded"))) {
        s = fb_err_set(err, FB_EMISMATCH, "another revision than expected");
        for (size_t i = 0; i < count; i++) {
            uint64_t is = ops[i].rev;
            if (ops[i].rev != UINT64_MAX)
                is = range_rev(root, compared++);
            if (is == ops[i].rev)
                continue;
            s = fb_err_set(err, FB_EMISMATCH, "%s changed meanwhile (revision %llu, expected %llu)",
                           ops[i].key, (unsigned long long)is, (unsigned long long)ops[i].rev);
            break;
        }
    }
    json_decref(root);
    return s;
}

enum fb_status etcd_take_session(struct fb_bytes text, struct etcd_header *h, struct fb_buf *value,
                                 uint64_t *rev, struct fb_err *err)
{
    json_t *root;
    const json_t *kv;
    enum fb_status s = parse(text, &root, err);

    *rev = 0;
    if (s != FB_OK)
        return s;
    s = header(root, h, err);
    if (s == FB_OK && !json_is_true(json_object_get(root, "succeeded"))) {
        s = FB_EMISMATCH;
        kv = json_array_get(json_object_get(range_of(root, 0), "kvs"), 0);
        if (range_of(root, 0) == NULL || !number(kv, "mod_revision", rev) ||
            !base64(kv, "value", value) || (value->n > 0 && memchr(value->p, 0, value->n) != NULL))
            s = strange(err, "a session's record");
    } else if (s == FB_OK) {
        *rev = h->revision;
    }
    json_decref(root);
    return s;
}

/* ---- leases, log-in ---- */

enum fb_status etcd_take_lease(struct fb_bytes text, struct etcd_header *h, uint64_t *lease,
                               uint64_t *ttl_s, struct fb_err *err)
{
    json_t *root;
    const json_t *o;
    enum fb_status s = parse(text, &root, err);

    *lease = *ttl_s = 0;
    if (s != FB_OK)
        return s;
    o = json_object_get(root, "result") != NULL ? json_object_get(root, "result") : root;
    s = header(o, h, err);
    if (s == FB_OK && (!number(o, "ID", lease) || !number(o, "TTL", ttl_s) || *lease == 0))
        s = strange(err, "a lease");
    json_decref(root);
    return s;
}

enum fb_status etcd_take_login(struct fb_bytes text, char token[ETCD_TOKEN_BYTES_MAX],
                               struct fb_err *err)
{
    json_t *root;
    enum fb_status s = parse(text, &root, err);
    const char *t = json_string_value(json_object_get(root, "token"));

    token[0] = '\0';
    if (s != FB_OK)
        return s;
    if (t == NULL || t[0] == '\0' || strlen(t) >= ETCD_TOKEN_BYTES_MAX ||
        t[strcspn(t, "\r\n")] != '\0')
        s = strange(err, "no token");
    else
        snprintf(token, ETCD_TOKEN_BYTES_MAX, "%s", t);
    json_decref(root);
    return s;
}

/* ---- watch, errors ---- */

/* At most what fits, on one line. */
static void one_line(char out[ETCD_REASON_BYTES_MAX], const char *text)
{
    size_t n = 0;

    for (; *text != '\0' && n + 1 < ETCD_REASON_BYTES_MAX; text++)
        out[n++] = (uint8_t)*text < ' ' ? ' ' : *text;
    out[n] = '\0';
}

enum fb_status etcd_take_watch(struct fb_bytes line, struct etcd_watched *out, struct fb_err *err)
{
    json_t *root;
    const json_t *result, *event, *error;
    enum fb_status s = parse(line, &root, err);
    const char *reason;
    size_t i;

    *out = (struct etcd_watched){0};
    if (s != FB_OK)
        return s;
    result = json_object_get(root, "result");
    error = json_object_get(root, "error");
    reason = json_string_value(error != NULL ? json_object_get(error, "message")
                                             : json_object_get(result, "cancel_reason"));
    if (error != NULL && !json_is_object(error)) /* an answer, and no stream: see etcd_take_error */
        s = strange(err, "no stream");
    else if (result == NULL && error == NULL)
        s = strange(err, "no event");
    out->created = json_is_true(json_object_get(result, "created"));
    out->ended = error != NULL || json_is_true(json_object_get(result, "canceled"));
    if (out->ended)
        one_line(out->reason, reason != NULL ? reason : "canceled");
    json_array_foreach(json_object_get(result, "events"), i, event)
    {
        uint64_t rev;
        if (!number(json_object_get(event, "kv"), "mod_revision", &rev) || rev == 0)
            s = strange(err, "an event without revision");
        else if (rev > out->revision)
            out->revision = rev;
    }
    json_decref(root);
    return s;
}

int etcd_take_error(struct fb_bytes body, char text[ETCD_REASON_BYTES_MAX])
{
    json_t *root = json_loadb(body.p == NULL ? "" : (const char *)body.p, body.n, 0, NULL);
    const json_t *code = json_object_get(root, "code");
    const char *message = json_string_value(json_object_get(root, "message"));
    int out = json_is_integer(code) ? (int)json_integer_value(code) : -1;

    if (message == NULL)
        message = json_string_value(json_object_get(root, "error"));
    if (message != NULL && out >= 0) {
        one_line(text, message);
    } else {
        char raw[ETCD_REASON_BYTES_MAX] = "";
        size_t n = body.n < sizeof(raw) - 1 ? body.n : sizeof(raw) - 1;
        out = -1;
        if (n > 0)
            memcpy(raw, body.p, n);
        raw[n] = '\0';
        one_line(text, raw);
    }
    json_decref(root);
    return out;
}
