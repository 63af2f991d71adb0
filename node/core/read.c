/* Reads of the published state by any thread (read.h). */
#include "node/core/read.h"

#include "node/core/read_value.h"
#include "proto/base/mutant.h"

enum read_outcome node_read(struct store *s, const struct fb_req *req, struct fb_buf *out,
                            bool batched)
{
    enum read_outcome outcome = READ_WRITER;
    struct fb_rep rep = {.seq = req->seq, .hit = true};
    struct fb_buf scratch = {0};
    const struct object *o;
    int64_t expires;

    if ((req->flags & FB_REQ_ORDERED) || fb_op_class(req->op) != FB_OP_READ)
        return READ_WRITER;
    if (!batched)
        store_read_lock();
    o = store_find(s, req->key, object_hash(req->key));
    if (o != NULL) {
        expires = object_expires(o);
        /* a dirty mapped object has no age; a negative hint and a clean copy have one; else it is
         * an expiry, which the writer carries out as a record */
        bool due = expires != 0 && store_now(s) >= (uint64_t)expires && !FB_MUTANT(expiry_unseen);
        if (due &&
            (object_flags(o) & (OBJECT_MAPPED | OBJECT_DIRTY)) == (OBJECT_MAPPED | OBJECT_DIRTY))
            due = false;
        if (!due && o->part == req->part &&
            read_value(o->kind == FB_KIND_NONE ? NULL : o, req, &scratch, &rep)) {
            if (!(req->flags & FB_REQ_IDLE))
                object_visit(o);
            fb_rep_encode(out, &rep);
            outcome = READ_DONE;
        }
    }
    if (!batched)
        store_read_unlock();
    fb_buf_fini(&scratch);
    return outcome;
}
