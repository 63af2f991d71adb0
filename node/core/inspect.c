/* One key or one partition as JSON text, for the command line. */
#include "node/core/lane_impl.h"

static void json_text(struct fb_buf *out, struct fb_bytes s)
{
    fb_buf_put_u8(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == '"' || c == '\\')
            fb_buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            fb_buf_printf(out, "\\u%04x", c); /* bytes, not characters: keys need not be UTF-8 */
        else
            fb_buf_put_u8(out, c);
    }
    fb_buf_put_u8(out, '"');
}

static const char *state_of(const struct object *o)
{
    uint8_t flags = object_flags(o);
    if (flags & OBJECT_NEGATIVE)
        return "negative";
    if (flags & OBJECT_PARKED)
        return "parked";
    if (o->kind == FB_KIND_NONE)
        return "tombstone";
    return flags & OBJECT_DIRTY ? "dirty" : "clean";
}

void lane_inspect_key(struct lane *l, struct fb_bytes key, struct fb_buf *json)
{
    static const char *const kinds[] = {"none", "string", "hash"};
    uint64_t hash = object_hash(key);
    const struct object *o = newest_object(l, key, hash);
    struct pending *e = pending_find(l, key, hash);
    const struct object_extra *x;
    uint8_t flags;

    lane_check_writer(l);
    fb_buf_put_str(json, "{\"key\":");
    json_text(json, key);
    if (o == NULL) {
        fb_buf_printf(json, ",\"state\":\"%s\"}",
                      key_is_loading(l, key, hash) ? "loading" : "absent");
        return;
    }
    flags = object_flags(o);
    x = e != NULL ? e->extra : slot_extra(l->parts[o->part], o);
    fb_buf_printf(
        json,
        ",\"state\":\"%s\",\"partition\":%u,\"namespace\":\"%s\",\"kind\":\"%s\",\"version\":%llu,"
        "\"epoch\":%u,"
        "\"counter\":%llu,\"dirty\":%s,\"value_bytes\":%u,\"expires_ms\":%lld,\"has_base\":%s,"
        "\"base_xid\":%u",
        state_of(o), o->part, l->ns[o->ns].name, kinds[o->kind], (unsigned long long)o->ver,
        fb_ver_epoch(o->ver), (unsigned long long)fb_ver_counter(o->ver),
        flags & OBJECT_DIRTY ? "true" : "false", o->vlen, (long long)object_expires(o),
        flags & OBJECT_HAS_BASE ? "true" : "false", flags & OBJECT_TOKEN_KNOWN ? object_xid(o) : 0);
    if (x != NULL)
        fb_buf_printf(json, ",\"changed_at_ms\":%llu",
                      (unsigned long long)(e != NULL ? e->changed_at_ms : x->changed_at_ms));
    if (x != NULL && x->park != NULL) {
        fb_buf_printf(json, ",\"sqlstate\":\"%s\",\"reason\":", x->park->sqlstate);
        json_text(json, fb_bytes(x->park->message, x->park->n));
    }
    fb_buf_put_u8(json, '}');
}

void lane_inspect_partition(struct lane *l, uint16_t part, struct fb_buf *json)
{
    const struct part *p = part < l->config.partitions ? l->parts[part] : NULL;
    bool first = true;

    lane_check_writer(l);
    if (p == NULL) {
        fb_buf_printf(json, "{\"partition\":%u,\"open\":false}", part);
        return;
    }
    fb_buf_printf(json,
                  "{\"partition\":%u,\"open\":%s,\"epoch\":%u,\"history\":%llu,\"last_ver\":%llu,"
                  "\"synced_ver\":%llu,\"safe_ver\":%llu,"
                  "\"ptime_ms\":%llu,\"keys\":%u,\"feeds\":[",
                  part, p->open ? "true" : "false", p->epoch, (unsigned long long)p->history,
                  (unsigned long long)p->last_ver, (unsigned long long)p->synced_ver,
                  (unsigned long long)part_safe_ver(p), (unsigned long long)p->ptime,
                  atomic_load_explicit(&p->sp->live, memory_order_relaxed));
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        const struct feed *f = p->feeds[i];
        if (f == NULL)
            continue;
        fb_buf_printf(
            json,
            "%s{\"namespace\":\"%s\",\"dirty\":%u,\"parked\":%u,\"checkpoint\":%llu,\"dsafe\":%llu,"
            "\"purge_ver\":%llu,\"oldest_ms\":%llu}",
            first ? "" : ",", l->ns[i].name, f->dirty.count, f->parked.count,
            (unsigned long long)f->ckpt, (unsigned long long)f->dsafe,
            (unsigned long long)f->purge_ver, (unsigned long long)f->oldest_ms);
        first = false;
    }
    fb_buf_put_str(json, "]}");
}
