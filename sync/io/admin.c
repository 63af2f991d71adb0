/* Answers to admin requests. */
#include "sync/io/admin.h"

#include <stdlib.h>

json_t *sync_admin_parse(const struct fb_net_frame *f)
{
    json_t *o = json_loadb((const char *)f->f.tail.p, f->f.tail.n, JSON_REJECT_DUPLICATES, NULL);

    if (o != NULL && !json_is_object(o)) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

void sync_admin_reply(const struct fb_net_frame *f, json_t *body)
{
    struct fb_frame rep = {.kind = FB_FRAME_ADMIN_REP, .id = f->f.id};
    struct fb_buf out = {0};
    char *text = json_dumps(body, JSON_COMPACT);
    size_t mark = fb_frame_begin(&out, &rep);

    fb_buf_put_str(&out, text != NULL ? text : "{\"ok\":false,\"error\":\"out of memory\"}");
    fb_frame_end(&out, mark, 1);
    if (fb_conn_send(f->conn, &out) != FB_OK)
        fb_conn_close(f->conn); /* it asks for more than it reads */
    free(text);
    fb_buf_fini(&out);
    json_decref(body);
}

void sync_admin_fail(const struct fb_net_frame *f, const char *text)
{
    json_t *t = sync_admin_text(fb_bytes_str(text));
    sync_admin_reply(f, json_pack("{s:b, s:o}", "ok", 0, "error", t));
}

void sync_admin_unreachable(const struct fb_net_frame *f, const char *text)
{
    json_t *t = sync_admin_text(fb_bytes_str(text));
    sync_admin_reply(f, json_pack("{s:b, s:b, s:o}", "ok", 0, "unreachable", 1, "error", t));
}

/* As a JSON string; NULL: they are no text. */
static json_t *as_text(struct fb_bytes b)
{
    if (b.n == 0)
        return json_string("");
    return memchr(b.p, 0, b.n) != NULL ? NULL : json_stringn((const char *)b.p, b.n);
}

bool sync_admin_is_text(struct fb_bytes b)
{
    json_t *t = as_text(b);

    json_decref(t);
    return t != NULL;
}

json_t *sync_admin_text(struct fb_bytes b)
{
    json_t *t = as_text(b);
    char *shown;

    if (t != NULL)
        return t;
    shown = fb_xmalloc(b.n);
    for (size_t i = 0; i < b.n; i++)
        shown[i] = b.p[i] != 0 && b.p[i] < 0x80 ? (char)b.p[i] : '?';
    t = json_stringn(shown, b.n);
    free(shown);
    return t;
}
