/* key verbs: straight to the node that has the key, as a router would. */
#include "proto/base/clock.h"
#include "proto/base/units.h"
#include "proto/cluster/slot.h"
#include "proto/wire/request.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>

static int check_key(const char *key)
{
    if (strlen(key) > FB_KEY_BYTES_MAX)
        return ctl_fail(CTL_USAGE, "the key is longer than %u bytes", FB_KEY_BYTES_MAX);
    return 0;
}

static int request(struct ctl *c, struct fb_req *req, struct fb_rep *rep, struct fb_buf *payload)
{
    struct fb_err err;
    enum fb_status s;
    int rc = check_key(c->args[0]);
    if (rc == 0)
        rc = ctl_open(c);
    if (rc != 0)
        return rc;
    req->key = fb_bytes_str(c->args[0]);
    s = ctl_request(c, req, rep, payload, &err);
    if (s == FB_OK)
        return 0;
    return ctl_fail(s == FB_EREFUSED ? CTL_FAILED : CTL_UNREACHABLE, "%s", err.msg);
}

json_t *ctl_text_json(struct fb_bytes b)
{
    json_t *s = json_stringn((const char *)b.p, b.n);
    if (s == NULL) { /* not UTF-8 */
        struct fb_buf hex = {0};
        fb_buf_put_str(&hex, "\\x");
        for (size_t i = 0; i < b.n; i++)
            fb_buf_printf(&hex, "%02x", b.p[i]);
        s = json_stringn((const char *)hex.p, hex.n);
        fb_buf_fini(&hex);
    }
    return s;
}

static int print_hash(struct ctl *c)
{
    struct fb_req req = {.op = FB_OP_HGETALL};
    struct fb_rep rep;
    struct fb_buf payload = {0};
    int rc = request(c, &req, &rep, &payload);
    if (rc == 0) {
        json_t *o = json_object();
        struct fb_bytes rest = rep.payload, name, value;
        char *text;
        while (fb_list_next(&rest, &name) && fb_list_next(&rest, &value)) {
            json_t *n = ctl_text_json(name);
            json_object_set_new(o, json_string_value(n), ctl_text_json(value));
            json_decref(n);
        }
        text = json_dumps(o, JSON_INDENT(2));
        puts(text ? text : "{}");
        free(text);
        json_decref(o);
    }
    fb_buf_fini(&payload);
    return rc;
}

int ctl_key_get(struct ctl *c)
{
    struct fb_req type = {.op = FB_OP_TYPE}, get = {.op = FB_OP_GET};
    struct fb_rep rep;
    struct fb_buf payload = {0};
    int rc = request(c, &type, &rep, &payload);
    if (rc == 0 && fb_bytes_is(rep.payload, "hash")) {
        fb_buf_fini(&payload);
        return print_hash(c);
    }
    if (rc == 0 && fb_bytes_is(rep.payload, "none"))
        rc = ctl_fail(CTL_FAILED, "there is no key %s", c->args[0]);
    if (rc == 0) {
        fb_buf_clear(&payload);
        rc = request(c, &get, &rep, &payload);
        if (rc == 0 && rep.type == FB_REP_BULK) {
            fwrite(rep.payload.p, 1, rep.payload.n, stdout);
            putchar('\n');
        } else if (rc == 0) {
            rc = ctl_fail(CTL_FAILED, "there is no key %s", c->args[0]);
        }
    }
    fb_buf_fini(&payload);
    return rc;
}

static bool read_stdin(struct fb_buf *out)
{
    size_t n;
    do {
        n = fread(fb_buf_reserve(out, 65536), 1, 65536, stdin);
        out->n += n;
    } while (n > 0 && out->n <= FB_VALUE_BYTES_MAX);
    return out->n <= FB_VALUE_BYTES_MAX;
}

int ctl_key_set(struct ctl *c)
{
    struct fb_req req = {.op = FB_OP_SET, .nargs = 1};
    struct fb_rep rep;
    struct fb_buf payload = {0}, value = {0}, args = {0};
    struct fb_err err;
    uint64_t ttl = 0;
    int rc = 0;

    if (c->ttl != NULL && fb_duration_parse(fb_bytes_str(c->ttl), &ttl, &err) != FB_OK)
        return ctl_fail(CTL_USAGE, "--ttl %s: %s", c->ttl, err.msg);
    if (strcmp(c->args[1], "-") == 0) {
        if (!read_stdin(&value))
            rc = ctl_fail(CTL_USAGE, "the value on standard input is larger than %u bytes",
                          FB_VALUE_BYTES_MAX);
    } else {
        fb_buf_put_str(&value, c->args[1]);
    }
    if (rc == 0 && c->dry_run) {
        rc = check_key(c->args[0]);
        if (rc == 0)
            ctl_note(c, "%s would be set to %zu bytes (nothing was changed)", c->args[0], value.n);
    } else if (rc == 0) {
        fb_list_put(&args, fb_bytes(value.p ? value.p : (const uint8_t *)"", value.n));
        req.args = fb_buf_view(&args);
        req.b = ttl ? (int64_t)(fb_wall_ms() + ttl) : 0;
        rc = request(c, &req, &rep, &payload);
    }
    if (rc == 0 && !c->dry_run)
        ctl_note(c, "version %llu", (unsigned long long)rep.ver);
    fb_buf_fini(&payload);
    fb_buf_fini(&value);
    fb_buf_fini(&args);
    return rc;
}

int ctl_key_del(struct ctl *c)
{
    struct fb_req req = {.op = c->dry_run ? FB_OP_EXISTS : FB_OP_DEL};
    struct fb_rep rep;
    struct fb_buf payload = {0};
    int rc = request(c, &req, &rep, &payload);
    if (rc == 0 && c->dry_run)
        ctl_note(c, rep.num
                        ? "it would be deleted, where its mapping allows it (nothing was changed)"
                        : "there is no such key");
    else if (rc == 0)
        ctl_note(c, rep.num ? "deleted" : "there was no such key");
    fb_buf_fini(&payload);
    return rc;
}

static json_t *location(struct ctl *c)
{
    struct fb_bytes key = fb_bytes_str(c->args[0]);
    uint16_t slot = fb_key_slot(key), part = fb_slot_partition(slot, c->cluster->map->partitions);
    const struct fb_part_record *r = &c->cluster->map->parts[part];
    uint8_t ns_len;
    uint32_t ns = fb_nsset_of_key(c->cluster->namespaces, key, &ns_len);
    struct fb_bytes id = fb_key_id(key, ns_len);
    return json_pack("{s:s, s:s, s:o, s:i, s:i, s:s, s:i}", "key", c->args[0], "namespace",
                     c->cluster->namespaces->ns[ns].name, "id", ctl_text_json(id), "slot",
                     (int)slot, "partition", (int)part, "node", r->epoch ? r->primary.node : "",
                     "epoch", (int)r->epoch);
}

int ctl_key_locate(struct ctl *c)
{
    json_t *o;
    int rc = check_key(c->args[0]);
    if (rc == 0)
        rc = ctl_open(c);
    if (rc != 0)
        return rc;
    o = location(c);
    ctl_print_object(c, o);
    json_decref(o);
    return CTL_OK;
}

int ctl_key_inspect(struct ctl *c)
{
    const struct fb_member_info *m;
    struct fb_err err;
    json_t *o, *ask, *reply = NULL;
    int rc = check_key(c->args[0]);
    if (rc == 0)
        rc = ctl_open(c);
    if (rc != 0)
        return rc;
    o = location(c);
    m = fb_map_member(c->cluster->map, FB_MEMBER_NODE,
                      json_string_value(json_object_get(o, "node")));
    ask = json_pack("{s:s, s:s}", "verb", "key.inspect", "key", c->args[0]);
    if (m == NULL || !m->alive) {
        rc = ctl_fail(CTL_UNREACHABLE, "the node that has this key is not running");
    } else if (ctl_ask(c, m, ask, &reply, &err) != FB_OK) {
        rc = ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    } else {
        json_object_set(o, "object", json_object_get(reply, "key"));
        ctl_print_object(c, o);
        json_decref(reply);
    }
    json_decref(ask);
    json_decref(o);
    return rc;
}
