/* What etcd, or whoever stands in its place, may answer: each kind of answer, the coordinator URL,
 * and base64. The first byte says which.
 *
 * Besides sanitizers: an error has a reason on one line, keys come sorted, base64 that is taken is
 * written the same.
 */
#include "tests/fuzz/input.h"

#include "proto/base/base64.h"
#include "proto/coord/etcd_json.h"
#include "proto/coord/etcd_url.h"

#include <stdlib.h>

#define PREFIX "/forebay/main/"

static void failed(enum fb_status s, const struct fb_err *err)
{
    fb_assert(s != FB_OK && err->code == s && err->msg[0] != '\0');
}

static void check_list(struct fb_bytes text)
{
    struct fb_coord_list l;
    struct etcd_header h;
    struct fb_err err = {0};
    enum fb_status s = etcd_take_list(text, PREFIX, &h, &l, &err);

    if (s != FB_OK)
        failed(s, &err);
    for (size_t i = 0; i < l.count; i++) {
        fb_assert(l.kv[i].key[0] != '\0' && l.kv[i].key[0] != '.' && l.kv[i].rev > 0);
        fb_assert(l.kv[i].value.p[l.kv[i].value.n] == 0 &&
                  (l.kv[i].value.n == 0 || memchr(l.kv[i].value.p, 0, l.kv[i].value.n) == NULL));
        if (s == FB_OK && i > 0)
            fb_assert(strcmp(l.kv[i - 1].key, l.kv[i].key) < 0);
    }
    fb_coord_list_free(&l);
}

static void check_get(struct fb_bytes text)
{
    struct etcd_header h;
    struct fb_buf v = {0};
    struct fb_err err = {0};
    uint64_t rev;
    enum fb_status s = etcd_take_get(text, &h, &v, &rev, &err);

    if (s != FB_OK && s != FB_ENOENT)
        failed(s, &err);
    fb_assert(s == FB_OK || v.n == 0);
    fb_buf_fini(&v);
}

static void check_txn(struct fb_bytes text)
{
    const struct fb_coord_op ops[] = {{.key = "part/1", .rev = 3, .value = fb_bytes_str("x")},
                                      {.key = "part/2", .rev = UINT64_MAX},
                                      {.key = "part/3", .rev = 0, .value = fb_bytes_str("")}};
    struct etcd_header h;
    struct fb_buf v = {0};
    struct fb_err err = {0};
    uint64_t rev, lease;
    char token[ETCD_TOKEN_BYTES_MAX];
    enum fb_status s = etcd_take_txn(text, ops, FB_COUNT_OF(ops), &h, &err);

    if (s != FB_OK)
        failed(s, &err);
    s = etcd_take_session(text, &h, &v, &rev, &err);
    fb_assert(s == FB_OK || s == FB_EMISMATCH || err.code == s);
    fb_buf_fini(&v);
    s = etcd_take_lease(text, &h, &lease, &rev, &err);
    if (s != FB_OK)
        failed(s, &err);
    s = etcd_take_login(text, token, &err);
    if (s != FB_OK)
        failed(s, &err);
    else
        fb_assert(token[0] != '\0' && strpbrk(token, "\r\n") == NULL);
}

static void check_watch(struct fb_bytes text)
{
    struct etcd_watched w;
    struct fb_err err = {0};
    char reason[ETCD_REASON_BYTES_MAX];
    enum fb_status s = etcd_take_watch(text, &w, &err);

    if (s != FB_OK)
        failed(s, &err);
    fb_assert(strpbrk(w.reason, "\r\n") == NULL);
    fb_assert(etcd_take_error(text, reason) >= -1);
    fb_assert(strpbrk(reason, "\r\n") == NULL);
}

static void check_url(struct fb_bytes text)
{
    struct fb_buf url = {0};
    struct etcd_url u;
    struct fb_err err = {0};
    enum fb_status s;

    fb_buf_put_str(&url, "etcd://");
    fb_buf_put(&url, text.p, text.n > 0 ? strnlen((const char *)text.p, text.n) : 0);
    fb_buf_put_u8(&url, 0);
    s = etcd_url_parse((const char *)url.p, &u, &err);
    if (s != FB_OK)
        failed(s, &err);
    else
        fb_assert(u.count >= 1 && u.count <= ETCD_ENDPOINTS_MAX &&
                  strncmp(u.prefix, "/forebay/", 9) == 0 && u.prefix[strlen(u.prefix) - 1] == '/' &&
                  (u.cert == NULL) == (u.key == NULL));
    etcd_url_fini(&u);
    fb_buf_fini(&url);
}

static void check_base64(struct fb_bytes text)
{
    struct fb_buf bytes = {0}, again = {0};

    if (fb_base64_take(&bytes, text)) {
        fb_base64_put(&again, fb_buf_view(&bytes));
        fb_assert(fb_bytes_equal(fb_buf_view(&again), text));
    }
    fb_buf_fini(&bytes);
    fb_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const checks[])(struct fb_bytes) = {check_list,  check_get, check_txn,
                                                      check_watch, check_url, check_base64};
    uint8_t *exact;

    if (n < 1)
        return 0;
    exact = fb_xmalloc(n);
    memcpy(exact, data + 1, n - 1);
    checks[data[0] % FB_COUNT_OF(checks)](fb_bytes(exact, n - 1));
    free(exact);
    return 0;
}
