/* Questions to etcd's JSON gateway over libcurl. */
#include "proto/coord/etcd_call.h"

#include "proto/base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define TRY_MS                                                                                     \
    2000u /* of one endpoint, where there are others and the question may be repeated              \
           */
#define CONNECT_MS 1000u
#define ANSWER_BYTES_MAX (64u << 20) /* 4096 partitions are listed in less than 8 */

/* gRPC's codes, as far as they mean that nothing happened. */
enum {
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAUTHENTICATED = 16,
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static bool curl_ready;

static void curl_start(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

enum fb_status etcd_shared_init(struct etcd_shared *s, const char *url, struct fb_err *err)
{
    enum fb_status st;

    *s = (struct etcd_shared){0};
    pthread_once(&curl_once, curl_start);
    pthread_mutex_init(&s->mtx, NULL);
    st = curl_ready ? etcd_url_parse(url, &s->url, err)
                    : fb_err_set(err, FB_ENOMEM, "coordinator: libcurl does not start");
    if (st == FB_OK && s->url.user != NULL) { /* so that a start says it */
        struct fb_buf password = {0};
        st = etcd_url_password(&s->url, &password, err);
        fb_buf_fini(&password);
    }
    return st;
}

void etcd_shared_fini(struct etcd_shared *s)
{
    etcd_url_fini(&s->url);
    pthread_mutex_destroy(&s->mtx);
}

enum fb_status etcd_link_init(struct etcd_link *l, struct etcd_shared *s, struct fb_err *err)
{
    *l = (struct etcd_link){.shared = s, .easy = curl_easy_init()};
    return l->easy != NULL ? FB_OK : fb_err_set(err, FB_ENOMEM, "coordinator: no memory");
}

void etcd_link_fini(struct etcd_link *l)
{
    if (l->easy != NULL)
        curl_easy_cleanup(l->easy);
    l->easy = NULL;
    fb_buf_fini(&l->answer);
}

void etcd_next_endpoint(struct etcd_shared *s, uint32_t at)
{
    uint32_t next = (at + 1) % s->url.count;
    (void)atomic_compare_exchange_strong(&s->endpoint, &at, next);
}

void etcd_forget_login(struct etcd_shared *s)
{
    pthread_mutex_lock(&s->mtx);
    s->token[0] = '\0';
    pthread_mutex_unlock(&s->mtx);
}

enum fb_status etcd_same_cluster(struct etcd_shared *s, const struct etcd_header *h,
                                 struct fb_err *err)
{
    uint64_t first;

    pthread_mutex_lock(&s->mtx);
    if (s->cluster_id == 0)
        s->cluster_id = h->cluster_id;
    first = s->cluster_id;
    pthread_mutex_unlock(&s->mtx);
    if (first == h->cluster_id)
        return FB_OK;
    return fb_err_set(err, FB_EFOREIGN,
                      "an endpoint is of another etcd cluster (%016llx) than the one this process "
                      "began with (%016llx); it is not used: correct the coordinator URL, or "
                      "restart this process if etcd was restored",
                      (unsigned long long)h->cluster_id, (unsigned long long)first);
}

/* ---- one transfer ---- */

static size_t take(char *p, size_t size, size_t n, void *arg)
{
    struct etcd_link *l = arg;
    uint8_t *to;

    n *= size;
    to = l->answer.n + n <= ANSWER_BYTES_MAX ? fb_buf_try_reserve(&l->answer, n) : NULL;
    if (to == NULL)
        return 0;
    memcpy(to, p, n);
    l->answer.n += n;
    return n;
}

void etcd_prepare(struct etcd_shared *s, CURL *easy, uint32_t at, const char *path,
                  struct fb_bytes body, struct curl_slist **headers)
{
    char url[ETCD_ADDRESS_BYTES_MAX + 64], login[ETCD_TOKEN_BYTES_MAX + 20];

    snprintf(url, sizeof(url), "%s://%s%s", s->url.tls ? "https" : "http", s->url.endpoint[at],
             path);
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSL_ENABLE_ALPN, 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 5L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 2L);
    if (s->url.ca != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, s->url.ca);
    if (s->url.cert != NULL) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, s->url.cert);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, s->url.key);
    }
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, (const char *)body.p);
    *headers = curl_slist_append(NULL, "Content-Type: application/json");
    *headers = curl_slist_append(*headers, "Expect:"); /* etcd would have to be waited for */
    pthread_mutex_lock(&s->mtx);
    if (s->token[0] != '\0') {
        snprintf(login, sizeof(login), "Authorization: %s", s->token);
        *headers = curl_slist_append(*headers, login);
    }
    pthread_mutex_unlock(&s->mtx);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
}

/* May etcd have got the request? */
static bool was_sent(CURL *easy, CURLcode code)
{
    long bytes = 0;

    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return false;
    case CURLE_OPERATION_TIMEDOUT: /* while it connected? */
        curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &bytes);
        return bytes > 0;
    default:
        return true;
    }
}

/* What a failed transfer means for the one who has to do something. */
static enum fb_status explain(const struct etcd_link *l, const char *at, CURLcode code,
                              struct fb_err *err)
{
    const struct etcd_url *u = &l->shared->url;
    const char *why = l->why[0] != '\0' ? l->why : curl_easy_strerror(code);
    long verify = 0;

    curl_easy_getinfo(l->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return fb_err_set(err, FB_ECLOSED, "etcd at %s: this name has no address", at);
    case CURLE_COULDNT_CONNECT:
        return fb_err_set(err, FB_ECLOSED, "etcd at %s cannot be reached: %s", at, why);
    case CURLE_OPERATION_TIMEDOUT:
        return fb_err_set(err, FB_ETIMEOUT, "etcd at %s does not answer in time", at);
    case CURLE_SSL_CERTPROBLEM:
        return fb_err_set(err, FB_EPERM,
                          "the certificate cert=%s with key=%s cannot be used (%s); give a PEM "
                          "certificate and its own key",
                          u->cert, u->key, why);
    case CURLE_SSL_CACERT_BADFILE:
        return fb_err_set(err, FB_EPERM, "ca=%s cannot be read as PEM certificates: %s",
                          u->ca != NULL ? u->ca : "(the system's)", why);
    case CURLE_PEER_FAILED_VERIFICATION:
        if (verify == 10) /* X509_V_ERR_CERT_HAS_EXPIRED */
            return fb_err_set(err, FB_EPERM, "the certificate of etcd at %s has expired; renew it",
                              at);
        if (verify >= 18 && verify <= 21) /* self-signed, or no issuer that is known */
            return fb_err_set(err, FB_EPERM,
                              "the certificate of etcd at %s is not signed by a CA of ca=%s; give "
                              "the one that signed it",
                              at, u->ca != NULL ? u->ca : "(the system's)");
        return fb_err_set(err, FB_EPERM, "the certificate of etcd at %s is not accepted: %s", at,
                          why);
    case CURLE_WRITE_ERROR: /* see take */
        return fb_err_set(
            err, FB_ENOMEM,
            "the answer of etcd at %s was not taken: there is no memory for it, or it "
            "is larger than %u MiB",
            at, ANSWER_BYTES_MAX >> 20);
    default:
        break;
    }
    if (code == CURLE_SSL_CONNECT_ERROR && strstr(why, "alert") == NULL)
        return fb_err_set(
            err, FB_EPERM,
            "etcd at %s does not speak TLS (%s); leave ca=, cert=, key= and tls= away, "
            "or switch TLS on there",
            at, why);
    /* etcd closes at once behind its alert, which gets lost when the request is on its way */
    if (u->tls)
        return fb_err_set(
            err, FB_ECLOSED,
            "etcd at %s broke the connection, as it does when it refuses this process's "
            "certificate (cert=%s: none, expired, or not signed by its trusted CA): %s",
            at, u->cert != NULL ? u->cert : "not given", why);
    if (code == CURLE_GOT_NOTHING)
        return fb_err_set(
            err, FB_ECLOSED,
            "etcd at %s closed the connection without an answer; if it speaks TLS only, "
            "add ca=FILE to the coordinator URL",
            at);
    return fb_err_set(err, FB_ECLOSED, "the connection to etcd at %s broke: %s", at, why);
}

/* What etcd answered instead of 200. FB_EAGAIN: the log-in is no more valid. FB_EUNKNOWN: it may or
 * may not have done it. All others: nothing happened. */
static enum fb_status refused(const struct etcd_link *l, const char *at, long http,
                              struct fb_err *err)
{
    const struct etcd_url *u = &l->shared->url;
    char text[ETCD_REASON_BYTES_MAX];
    int code = etcd_take_error(fb_buf_view(&l->answer), text);

    if (code == GRPC_UNAUTHENTICATED || strstr(text, "revision in header is old") != NULL)
        return fb_err_set(err, FB_EAGAIN, "etcd at %s wants a new log-in: %s", at, text);
    if (strstr(text, "user name is empty") != NULL)
        return fb_err_set(err, FB_EPERM,
                          "etcd at %s wants a user: add user=NAME&password_file=FILE to the "
                          "coordinator URL",
                          at);
    if (strstr(text, "authentication failed") != NULL)
        return fb_err_set(err, FB_EPERM,
                          "etcd at %s does not know user %s with the password in %s (%s)", at,
                          u->user, u->password_file, text);
    if (code == GRPC_PERMISSION_DENIED)
        return fb_err_set(err, FB_EPERM,
                          "etcd at %s: user %s has no right to this; grant its role readwrite on "
                          "the prefix %s",
                          at, u->user != NULL ? u->user : "(none)", u->prefix);
    if (code < 0 && http == 400 && strstr(text, "HTTPS server") != NULL)
        return fb_err_set(err, FB_EPERM,
                          "etcd at %s speaks TLS only, add ca=FILE to the coordinator URL", at);
    switch (code) {
    case GRPC_NOT_FOUND:
        return fb_err_set(err, FB_ENOENT, "etcd at %s: %s", at, text);
    case GRPC_RESOURCE_EXHAUSTED:
        return fb_err_set(
            err, FB_EREFUSED,
            "etcd at %s takes no more (%s); nothing was changed: compact and defragment "
            "it, then disarm its alarm",
            at, text);
    case GRPC_INVALID_ARGUMENT:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNIMPLEMENTED:
        return fb_err_set(err, FB_EREFUSED, "etcd at %s refuses, nothing was changed: %s", at,
                          text);
    default:
        if (code < 0 && http >= 400 && http < 500)
            return fb_err_set(
                err, FB_EREFUSED,
                "%s answers %ld to a question for etcd (%s); is it etcd 3.4 or newer?", at, http,
                text);
        return fb_err_set(err, FB_EUNKNOWN, "etcd at %s is not able to answer now: %s", at, text);
    }
}

/* One endpoint, once. FB_EUNKNOWN: it was sent, and what became of it is not known. *final: asking
 * another endpoint would give the same. */
static enum fb_status post(struct etcd_link *l, uint32_t at, const char *path, struct fb_bytes body,
                           enum etcd_kind kind, uint32_t timeout_ms, bool *final,
                           struct fb_err *err)
{
    const struct etcd_url *u = &l->shared->url;
    const char *endpoint = u->endpoint[at];
    struct curl_slist *headers;
    enum fb_status s = FB_OK;
    CURLcode code;
    long http = 0;

    *final = false;
    etcd_prepare(l->shared, l->easy, at, path, body, &headers);
    fb_buf_clear(&l->answer);
    l->why[0] = '\0';
    curl_easy_setopt(l->easy, CURLOPT_ERRORBUFFER, l->why);
    curl_easy_setopt(l->easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(l->easy, CURLOPT_WRITEDATA, l);
    curl_easy_setopt(l->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(l->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(u->count > 1 && timeout_ms > CONNECT_MS ? CONNECT_MS : timeout_ms));
    /* libcurl sends a request again by itself when a connection that was used before turns out to
     * be closed, also when etcd carried it out before it died: the second would be told of a
     * mismatch.
     */
    curl_easy_setopt(l->easy, CURLOPT_FRESH_CONNECT, kind == ETCD_WRITE ? 1L : 0L);
    code = curl_easy_perform(l->easy);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        s = explain(l, endpoint, code, err);
        if (was_sent(l->easy, code))
            s = FB_EUNKNOWN;
        return s;
    }
    curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &http);
    if (http != 200)
        s = refused(l, endpoint, http, err);
    *final = s != FB_EUNKNOWN;
    return s;
}

/* ---- a call ---- */

static enum fb_status ask(struct etcd_link *l, const char *path, struct fb_bytes body,
                          enum etcd_kind kind, uint32_t timeout_ms, struct fb_err *err)
{
    struct etcd_shared *sh = l->shared;
    uint64_t until = fb_mono_ns() + timeout_ms * UINT64_C(1000000);
    enum fb_status s = FB_ETIMEOUT;
    struct fb_buf reasons = {0};
    bool final = false;

    for (uint32_t tries = 0; tries < sh->url.count && !final; tries++) {
        uint32_t at = atomic_load(&sh->endpoint);
        uint64_t now = fb_mono_ns();
        uint32_t left = now < until ? (uint32_t)((until - now) / 1000000) : 0;
        if (left == 0)
            break;
        if (kind == ETCD_READ && tries + 1 < sh->url.count && left > TRY_MS)
            left = TRY_MS;
        s = post(l, at, path, body, kind, left, &final, err);
        if (final)
            break;
        etcd_next_endpoint(sh, at);
        if (s == FB_EUNKNOWN && kind == ETCD_WRITE) {
            s = fb_err_wrap(err, s, "whether etcd carried this out is not known");
            final = true;
        }
        fb_buf_printf(&reasons, "%s%s", tries > 0 ? "; " : "", err->msg);
    }
    if (!final) {
        s = fb_err_set(err, s == FB_EUNKNOWN ? FB_ETIMEOUT : s, "%.*s", (int)reasons.n,
                       (const char *)reasons.p);
    }
    fb_buf_fini(&reasons);
    return s;
}

/* With user=: gets a token when there is none. */
static enum fb_status login(struct etcd_link *l, uint32_t timeout_ms, struct fb_err *err)
{
    struct etcd_shared *sh = l->shared;
    char token[ETCD_TOKEN_BYTES_MAX];
    struct fb_buf password = {0}, body = {0};
    enum fb_status s;
    bool have;

    pthread_mutex_lock(&sh->mtx);
    have = sh->url.user == NULL || sh->token[0] != '\0';
    pthread_mutex_unlock(&sh->mtx);
    if (have)
        return FB_OK;
    s = etcd_url_password(&sh->url, &password, err);
    if (s == FB_OK) {
        etcd_put_login(&body, sh->url.user, fb_buf_view(&password));
        s = ask(l, "/v3/auth/authenticate", fb_buf_view(&body), ETCD_READ, timeout_ms, err);
        memset(body.p, 0, body.n);
        memset(password.p, 0, password.n);
    }
    if (s == FB_OK)
        s = etcd_take_login(fb_buf_view(&l->answer), token, err);
    else if (s == FB_EREFUSED && strstr(err->msg, "authentication is not enabled") != NULL)
        token[0] = '\0', s = FB_OK; /* about to be switched on: nobody is asked for one yet */
    if (s == FB_OK) {
        pthread_mutex_lock(&sh->mtx);
        memcpy(sh->token, token, strlen(token) + 1);
        pthread_mutex_unlock(&sh->mtx);
    }
    fb_buf_fini(&password);
    fb_buf_fini(&body);
    return s;
}

enum fb_status etcd_call(struct etcd_link *l, const char *path, struct fb_bytes body,
                         enum etcd_kind kind, uint32_t timeout_ms, struct fb_bytes *answer,
                         struct fb_err *err)
{
    struct fb_err own;
    enum fb_status s = FB_EAGAIN;

    err = err == NULL ? &own : err;
    for (int round = 0; round < 2 && s == FB_EAGAIN; round++) {
        s = login(l, timeout_ms, err);
        if (s == FB_OK)
            s = ask(l, path, body, kind, timeout_ms, err);
        if (s == FB_EAGAIN) /* it was not carried out */
            etcd_forget_login(l->shared);
    }
    if (s == FB_EAGAIN)
        s = FB_EPERM;
    *answer = s == FB_OK ? fb_buf_view(&l->answer) : fb_bytes(NULL, 0);
    return s;
}
