/* HTTP by nng's client. */
#include "proto/net/http_get.h"

#include <nng/nng.h>
#include <nng/supplemental/http/http.h>

static int transact(nng_url *u, uint32_t timeout_ms, nng_http_res *res)
{
    nng_http_client *client = NULL;
    nng_http_req *req = NULL;
    nng_aio *aio = NULL;
    int rc = nng_http_client_alloc(&client, u);

    if (rc == 0)
        rc = nng_http_req_alloc(&req, u);
    if (rc == 0)
        rc = nng_aio_alloc(&aio, NULL, NULL);
    if (rc == 0) {
        nng_aio_set_timeout(aio, (nng_duration)timeout_ms);
        nng_http_client_transact(client, req, res, aio);
        nng_aio_wait(aio);
        rc = nng_aio_result(aio);
        nng_aio_free(aio);
    }
    if (req != NULL)
        nng_http_req_free(req);
    if (client != NULL)
        nng_http_client_free(client);
    return rc;
}

enum fb_status fb_http_get(const char *url, uint32_t timeout_ms, struct fb_buf *body,
                           struct fb_err *err)
{
    nng_http_res *res = NULL;
    nng_url *u = NULL;
    void *data = NULL;
    size_t n = 0;
    int rc = nng_url_parse(&u, url);

    if (rc != 0)
        return fb_err_set(err, FB_EINVAL, "%s: %s", url, nng_strerror(rc));
    rc = nng_http_res_alloc(&res);
    if (rc == 0)
        rc = transact(u, timeout_ms, res);
    if (rc == 0) {
        nng_http_res_get_data(res, &data, &n);
        fb_buf_put(body, data, n);
    }
    if (res != NULL)
        nng_http_res_free(res);
    nng_url_free(u);
    return rc == 0 ? FB_OK : fb_err_set(err, FB_ECLOSED, "%s: %s", url, nng_strerror(rc));
}
