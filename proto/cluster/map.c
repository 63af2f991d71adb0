/* The map's memory, lookups, and the text of members. */
#include "proto/cluster/map.h"

#include "proto/cluster/json.h"

#include <jansson.h>

#include <stdlib.h>

#define MEMBER_BYTES_MAX 8192u
static const char *const kind_names[] = {"node", "sync", "router"};

void fb_map_free(struct fb_map *m)
{
    if (m == NULL)
        return;
    free(m->members);
    free(m->parts);
    free(m->part_revs);
    free(m);
}

const char *fb_member_kind_name(enum fb_member_kind kind)
{
    return kind_names[kind];
}

const struct fb_member_info *fb_map_member(const struct fb_map *m, enum fb_member_kind kind,
                                           const char *name)
{
    uint32_t low = 0, high = m->member_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct fb_member_info *at = &m->members[mid];
        int c = at->kind != kind ? (int)kind - (int)at->kind : strcmp(name, at->name);
        if (c == 0)
            return at;
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static void put_field(struct fb_buf *out, const char *field, const char *value)
{
    fb_buf_printf(out, ",\"%s\":", field);
    fb_json_put_text(out, value);
}

void fb_member_info_encode(struct fb_buf *out, const struct fb_member_info *m)
{
    fb_buf_printf(out, "{\"kind\":\"%s\"", kind_names[m->kind]);
    put_field(out, "name", m->name);
    put_field(out, "zone", m->zone);
    put_field(out, "listen", m->listen);
    put_field(out, "admin", m->admin);
    put_field(out, "client", m->client);
    fb_buf_printf(out, ",\"inc\":\"%016llx\",\"weight\":%u,\"started_ms\":%llu,\"pid\":%u%s}",
                  (unsigned long long)m->inc, m->weight, (unsigned long long)m->started_ms, m->pid,
                  m->leaving ? ",\"leaving\":true" : "");
}

static enum fb_status take_kind(const json_t *obj, enum fb_member_kind *out, struct fb_err *err)
{
    char text[16];
    enum fb_status st = fb_json_text(obj, "kind", sizeof(text) - 1, text, err);
    if (st != FB_OK)
        return st;
    for (size_t i = 0; i < FB_COUNT_OF(kind_names); i++) {
        if (strcmp(text, kind_names[i]) == 0) {
            *out = (enum fb_member_kind)i;
            return FB_OK;
        }
    }
    return fb_err_set(err, FB_EPROTO, "kind \"%s\" is none of node, sync, router", text);
}

static enum fb_status take_info(const json_t *obj, struct fb_member_info *m, struct fb_err *err)
{
    uint64_t weight = 0, pid = 0;
    enum fb_status st = take_kind(obj, &m->kind, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "name", FB_NAME_BYTES_MAX, m->name, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "zone", FB_NAME_BYTES_MAX, m->zone, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "listen", FB_ADDRESS_BYTES_MAX, m->listen, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "admin", FB_ADDRESS_BYTES_MAX, m->admin, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "client", FB_ADDRESS_BYTES_MAX, m->client, err);
    if (st == FB_OK)
        st = fb_json_hex64(obj, "inc", &m->inc, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "weight", 1000000, &weight, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "started_ms", INT64_MAX, &m->started_ms, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "pid", UINT32_MAX, &pid, err);
    if (st == FB_OK && json_object_get(obj, "leaving") != NULL)
        st = fb_json_bool(obj, "leaving", &m->leaving, err);
    m->weight = (uint32_t)weight;
    m->pid = (uint32_t)pid;
    if (st == FB_OK && m->name[0] == '\0')
        st = fb_err_set(err, FB_EPROTO, "the name is empty");
    return st;
}

enum fb_status fb_member_info_decode(struct fb_bytes in, struct fb_member_info *out,
                                     struct fb_err *err)
{
    json_t *obj;
    enum fb_status st = fb_json_parse_object(in, MEMBER_BYTES_MAX, &obj, err);

    *out = (struct fb_member_info){0};
    if (st == FB_OK) {
        st = take_info(obj, out, err);
        json_decref(obj);
    }
    if (st != FB_OK)
        *out = (struct fb_member_info){0};
    return st == FB_OK ? st : fb_err_wrap(err, st, "member");
}
