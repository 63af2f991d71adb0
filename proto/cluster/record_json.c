/* The text of a partition's record in the coordinator. */
#include "proto/cluster/json.h"
#include "proto/cluster/record_next.h"

#include <jansson.h>

#define RECORD_BYTES_MAX 16384u

static void put_member(struct fb_buf *out, const struct fb_member *m)
{
    fb_buf_put_str(out, "{\"node\":");
    fb_json_put_text(out, m->node);
    fb_buf_printf(out, ",\"inc\":\"%016llx\"}", (unsigned long long)m->inc);
}

void fb_part_record_encode(struct fb_buf *out, const struct fb_part_record *r)
{
    fb_assert(fb_part_record_broken(r) == NULL);
    fb_buf_printf(out, "{\"history\":%u,\"epoch\":%u,\"primary\":", r->history, r->epoch);
    if (r->epoch != 0)
        put_member(out, &r->primary);
    else
        fb_buf_put_str(out, "null");
    fb_buf_put_str(out, ",\"isr\":[");
    for (uint32_t i = 0; i < r->isr_count; i++) {
        fb_buf_put_str(out, i ? "," : "");
        put_member(out, &r->isr[i]);
    }
    fb_buf_put_str(out, "],\"learners\":[");
    for (uint32_t i = 0; i < r->learner_count; i++) {
        fb_buf_put_str(out, i ? "," : "");
        fb_json_put_text(out, r->learners[i]);
    }
    fb_buf_printf(out, "],\"min_isr\":%u", r->min_isr);
    if (r->leaving[0] != '\0') {
        fb_buf_put_str(out, ",\"leaving\":");
        fb_json_put_text(out, r->leaving);
    }
    if (r->successor[0] != '\0') {
        fb_buf_put_str(out, ",\"successor\":");
        fb_json_put_text(out, r->successor);
    }
    fb_buf_put_str(out, "}");
}

static enum fb_status take_member(const json_t *obj, struct fb_member *out, struct fb_err *err)
{
    enum fb_status st;
    if (!json_is_object(obj))
        return fb_err_set(err, FB_EPROTO, "a member is not an object");
    st = fb_json_text(obj, "node", FB_NAME_BYTES_MAX, out->node, err);
    return st == FB_OK ? fb_json_hex64(obj, "inc", &out->inc, err) : st;
}

static enum fb_status take_members(const json_t *obj, struct fb_part_record *r, struct fb_err *err)
{
    json_t *list, *item;
    size_t i;
    enum fb_status st = fb_json_array(obj, "isr", FB_REPLICAS_MAX + 1, &list, err);
    if (st != FB_OK)
        return st;
    json_array_foreach(list, i, item)
    {
        st = take_member(item, &r->isr[i], err);
        if (st != FB_OK)
            return st;
    }
    r->isr_count = (uint32_t)json_array_size(list);
    st = fb_json_array(obj, "learners", FB_REPLICAS_MAX, &list, err);
    if (st != FB_OK)
        return st;
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item) || json_string_length(item) > FB_NAME_BYTES_MAX)
            return fb_err_set(err, FB_EPROTO, "a learner is not the name of a node");
        memcpy(r->learners[i], json_string_value(item), json_string_length(item) + 1);
    }
    r->learner_count = (uint32_t)json_array_size(list);
    return FB_OK;
}

static enum fb_status take_record(const json_t *obj, struct fb_part_record *r, struct fb_err *err)
{
    uint64_t history = 0, epoch = 0, min_isr = 0;
    const json_t *primary = json_object_get(obj, "primary");
    const char *wrong;
    bool leaves = json_object_get(obj, "leaving") != NULL;
    bool succeeds = json_object_get(obj, "successor") != NULL;
    enum fb_status st = FB_OK;

    /* a field of a later release would be lost by the next compare-and-swap from here, so it is not
     * passed over */
    if (json_object_size(obj) > 6u + leaves + succeeds)
        return fb_err_set(err, FB_EPROTO, "unknown fields; was it written by a later release?");
    st = fb_json_uint(obj, "history", UINT32_MAX, &history, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "epoch", UINT32_MAX, &epoch, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "min_isr", UINT8_MAX, &min_isr, err);
    if (st == FB_OK && !json_is_null(primary))
        st = take_member(primary, &r->primary, err);
    if (st == FB_OK)
        st = take_members(obj, r, err);
    if (st == FB_OK && leaves)
        st = fb_json_text(obj, "leaving", FB_NAME_BYTES_MAX, r->leaving, err);
    if (st == FB_OK && succeeds)
        st = fb_json_text(obj, "successor", FB_NAME_BYTES_MAX, r->successor, err);
    if (st != FB_OK)
        return st;
    r->history = (uint32_t)history;
    r->epoch = (uint32_t)epoch;
    r->min_isr = (uint8_t)min_isr;
    wrong = fb_part_record_broken(r);
    return wrong == NULL ? FB_OK : fb_err_set(err, FB_EPROTO, "%s", wrong);
}

enum fb_status fb_part_record_decode(struct fb_bytes in, struct fb_part_record *out,
                                     struct fb_err *err)
{
    json_t *obj;
    enum fb_status st = fb_json_parse_object(in, RECORD_BYTES_MAX, &obj, err);

    *out = (struct fb_part_record){0};
    if (st == FB_OK) {
        st = take_record(obj, out, err);
        json_decref(obj);
    }
    if (st != FB_OK)
        *out = (struct fb_part_record){0};
    return st == FB_OK ? st : fb_err_wrap(err, st, "partition record");
}
