/* Reads from one object (see read_value.h). */
#include "node/core/read_value.h"

const char read_wrong_type[] = "WRONGTYPE Operation against a key holding the wrong kind of value";

static bool wrong(struct fb_rep *rep)
{
    rep->type = FB_REP_ERR;
    rep->num = FB_REP_ERR_PLAIN;
    rep->payload = fb_bytes_str(read_wrong_type);
    return true;
}

static void integer(struct fb_rep *rep, int64_t n)
{
    rep->type = FB_REP_INT;
    rep->num = n;
}

static void bulk(struct fb_rep *rep, struct fb_bytes v)
{
    rep->type = FB_REP_BULK;
    rep->payload = v;
}

/* The range of GETRANGE on a value of n bytes, as Redis cuts it. */
static struct fb_bytes range(struct fb_bytes v, int64_t start, int64_t end)
{
    int64_t n = (int64_t)v.n;
    if (start < 0 && end < 0 && start > end)
        return fb_bytes(v.p, 0);
    if (start < 0)
        start = start + n < 0 ? 0 : start + n;
    if (end < 0)
        end = end + n < 0 ? 0 : end + n;
    if (end >= n)
        end = n - 1;
    if (start > end || n == 0)
        return fb_bytes(v.p, 0);
    return fb_bytes(v.p + start, (size_t)(end - start + 1));
}

static int64_t expire_time(const struct object *o)
{
    return object_flags(o) & OBJECT_MAPPED || object_expires(o) == 0 ? -1 : object_expires(o);
}

static void put_number(struct fb_buf *out, int64_t n)
{
    char text[24];
    int len = 0, at = sizeof text;
    uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do {
        text[--at] = (char)('0' + u % 10);
        len++;
        u /= 10;
    } while (u != 0);
    if (n < 0) {
        text[--at] = '-';
        len++;
    }
    fb_list_put(out, fb_bytes(text + at, (size_t)len));
}

static bool read_string(const struct object *o, const struct fb_req *req, struct fb_rep *rep)
{
    struct fb_bytes v = o == NULL ? fb_bytes("", 0) : object_value(o);
    if (o != NULL && o->kind != FB_KIND_STRING)
        return wrong(rep);
    switch (req->op) {
    case FB_OP_GET:
        if (o == NULL)
            rep->type = FB_REP_NIL;
        else
            bulk(rep, v);
        return true;
    case FB_OP_STRLEN:
        integer(rep, (int64_t)v.n);
        return true;
    default:
        bulk(rep, range(v, req->a, req->b));
        return true;
    }
}

static bool read_list(const struct object *o, const struct fb_req *req, struct fb_buf *scratch,
                      struct fb_rep *rep)
{
    struct fb_bytes rest = o == NULL ? fb_bytes("", 0) : object_value(o), v;
    struct fb_field f;

    rep->type = req->op == FB_OP_HGETALL ? FB_REP_MAP : FB_REP_LIST;
    if (req->op == FB_OP_HMGET) {
        struct fb_bytes args = req->args, name;
        while (fb_list_next(&args, &name)) {
            if (fb_hash_get(rest, name, &v))
                fb_list_put(scratch, v);
            else
                fb_list_put_null(scratch);
            if (scratch->n > READ_REPLY_BYTES_MAX) { /* the same field again and again */
                rep->type = FB_REP_ERR;
                rep->num = FB_REP_ERR_PLAIN;
                rep->payload = fb_bytes_str("ERR the reply is too large: ask for fewer fields");
                return true;
            }
        }
    } else {
        while (fb_hash_next(&rest, &f)) {
            if (req->op != FB_OP_HVALS)
                fb_list_put(scratch, f.name);
            if (req->op != FB_OP_HKEYS)
                fb_list_put(scratch, f.value);
        }
    }
    rep->payload = fb_buf_view(scratch);
    return true;
}

static bool read_hash(const struct object *o, const struct fb_req *req, struct fb_buf *scratch,
                      struct fb_rep *rep)
{
    struct fb_bytes hash = o == NULL ? fb_bytes("", 0) : object_value(o), args = req->args, name, v;
    bool found;

    if (o != NULL && o->kind != FB_KIND_HASH)
        return wrong(rep);
    switch (req->op) {
    case FB_OP_HLEN:
        integer(rep, (int64_t)fb_hash_count(hash));
        return true;
    case FB_OP_HGET:
    case FB_OP_HEXISTS:
    case FB_OP_HSTRLEN:
        found = fb_list_next(&args, &name) && fb_hash_get(hash, name, &v);
        if (req->op == FB_OP_HEXISTS)
            integer(rep, found);
        else if (req->op == FB_OP_HSTRLEN)
            integer(rep, found ? (int64_t)v.n : 0);
        else if (found)
            bulk(rep, v);
        else
            rep->type = FB_REP_NIL;
        return true;
    default:
        return read_list(o, req, scratch, rep);
    }
}

static void fbget(const struct object *o, struct fb_buf *scratch, struct fb_rep *rep)
{
    static const char *const kinds[] = {"none", "string", "hash"};
    rep->type = FB_REP_LIST;
    if (o == NULL)
        fb_list_put_null(scratch);
    else
        fb_list_put(scratch, object_value(o));
    put_number(scratch, o == NULL ? 0 : (int64_t)o->ver);
    put_number(scratch, o != NULL && (object_flags(o) & OBJECT_DIRTY) != 0);
    put_number(scratch, o == NULL ? -1 : expire_time(o));
    fb_list_put(scratch, fb_bytes_str(kinds[o == NULL ? 0 : o->kind]));
    rep->payload = fb_buf_view(scratch);
}

bool read_value(const struct object *o, const struct fb_req *req, struct fb_buf *scratch,
                struct fb_rep *rep)
{
    fb_buf_clear(scratch);
    if (o != NULL)
        rep->ver = o->ver;
    switch (req->op) {
    case FB_OP_GET:
    case FB_OP_STRLEN:
    case FB_OP_GETRANGE:
        return read_string(o, req, rep);
    case FB_OP_EXISTS:
        integer(rep, o != NULL);
        return true;
    case FB_OP_TYPE:
        bulk(rep, fb_bytes_str(o == NULL ? "none" : o->kind == FB_KIND_HASH ? "hash" : "string"));
        return true;
    case FB_OP_EXPIRETIME:
        integer(rep, o == NULL ? -2 : expire_time(o));
        return true;
    case FB_OP_FBGET:
        fbget(o, scratch, rep);
        return true;
    case FB_OP_VERSION:
        if (o == NULL)
            return false; /* only the writer knows what stands for it (absent_ver) */
        integer(rep, (int64_t)o->ver);
        return true;
    case FB_OP_HGET:
    case FB_OP_HMGET:
    case FB_OP_HGETALL:
    case FB_OP_HKEYS:
    case FB_OP_HVALS:
    case FB_OP_HLEN:
    case FB_OP_HEXISTS:
    case FB_OP_HSTRLEN:
        return read_hash(o, req, scratch, rep);
    default:
        return false;
    }
}
