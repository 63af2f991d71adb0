/* What the coordinator may say: its store's file with any content, each kind of value alone, and a
 * whole cluster of keys. The first byte says which; 0xff separates values.
 *
 * Besides sanitizers: an error has a reason, and what is taken is written as something that is
 * taken and written the same.
 */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/input.h"

#include "proto/base/buf.h"
#include "proto/base/log.h"
#include "proto/coord/cluster_state.h"
#include "proto/coord/file_state.h"

static struct fb_bytes until_separator(struct fuzz_in *in)
{
    const uint8_t *end = in->n > 0 ? memchr(in->p, 0xff, in->n) : NULL;
    struct fb_bytes b = fuzz_bytes(in, end != NULL ? (size_t)(end - in->p) : in->n);
    (void)fuzz_bytes(in, 1);
    return b;
}

static void check_record(struct fb_bytes text)
{
    struct fb_part_record r, again;
    struct fb_buf one = {0}, two = {0};
    struct fb_err err = {0};

    if (fb_part_record_decode(text, &r, &err) != FB_OK) {
        fb_assert(err.msg[0] != 0);
        return;
    }
    fb_assert(fb_part_record_broken(&r) == NULL);
    fb_part_record_encode(&one, &r);
    fb_assert(fb_part_record_decode(fb_buf_view(&one), &again, &err) == FB_OK);
    fb_part_record_encode(&two, &again);
    fb_assert(fb_bytes_equal(fb_buf_view(&one), fb_buf_view(&two)));
    fb_buf_fini(&one);
    fb_buf_fini(&two);
}

/* Any event on any record that decodes: refused, or a record that is right. */
static void check_next(struct fb_bytes text)
{
    struct fuzz_in in = {text.p, text.n};
    struct fb_record_event ev = {.kind = (enum fb_record_event_kind)(fuzz_u8(&in) % 10)};
    uint8_t how = fuzz_u8(&in);
    struct fb_part_record r, next;
    struct fb_err err = {0};

    snprintf(ev.member.node, sizeof(ev.member.node), "n%u", how % 8);
    ev.member.inc = how / 8 % 4;
    ev.drop_old = how & 0x80;
    ev.min_isr = fuzz_u8(&in);
    if (fb_part_record_decode(fb_bytes(in.p, in.n), &r, &err) != FB_OK)
        return;
    if (fb_record_next(&r, &ev, &next, &err) == FB_OK)
        fb_assert(fb_part_record_broken(&next) == NULL && next.epoch >= r.epoch);
}

static void check_schema(struct fb_bytes text)
{
    struct fb_schema *s = NULL, *again = NULL;
    struct fb_buf one = {0}, two = {0}, scratch = {0};
    struct fb_bytes parts[16];
    struct fb_err err = {0};

    if (fb_schema_decode(text, &s, &err) != FB_OK) {
        fb_assert(s == NULL && err.msg[0] != 0);
        return;
    }
    fb_schema_encode(&one, s);
    if (fb_schema_decode(fb_buf_view(&one), &again, &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    fb_schema_encode(&two, again);
    fb_assert(fb_bytes_equal(fb_buf_view(&one), fb_buf_view(&two)));
    for (uint32_t i = 0; i < s->column_count; i++) {
        fb_assert(fb_schema_column(s, fb_bytes_str(s->columns[i].name)) == &s->columns[i]);
        (void)fb_column_bit(&s->columns[i]);
        fb_assert(fb_column_check(&s->columns[i], fb_bytes_str("12"), &err) != FB_ENOENT);
    }
    if (s->key_count > 0 && fb_schema_check_id(s, fb_bytes_str("1/a%2f"), &err) == FB_OK)
        fb_assert(fb_schema_split_id(s, fb_bytes_str("1/a%2f"), &scratch, parts) == FB_OK);
    fb_schema_free(s);
    fb_schema_free(again);
    fb_buf_fini(&one);
    fb_buf_fini(&two);
    fb_buf_fini(&scratch);
}

static void check_member(struct fb_bytes text)
{
    struct fb_member_info m, again;
    struct fb_buf one = {0}, two = {0};
    struct fb_err err = {0};

    if (fb_member_info_decode(text, &m, &err) != FB_OK) {
        fb_assert(err.msg[0] != 0);
        return;
    }
    fb_member_info_encode(&one, &m);
    fb_assert(fb_member_info_decode(fb_buf_view(&one), &again, &err) == FB_OK);
    fb_member_info_encode(&two, &again);
    fb_assert(fb_bytes_equal(fb_buf_view(&one), fb_buf_view(&two)));
    fb_buf_fini(&one);
    fb_buf_fini(&two);
}

static void use_state(struct fb_cluster_state *s)
{
    fb_assert(s->map->partitions >= 1 && s->map->partitions <= FB_PARTITIONS_MAX);
    for (size_t i = 1; i < s->schema_count; i++)
        fb_assert(strcmp(s->schemas[i - 1]->ns, s->schemas[i]->ns) < 0);
    for (uint32_t i = 0; i < s->namespaces->count; i++) {
        (void)fb_cluster_state_schema(s, s->namespaces->ns[i].name);
        (void)fb_cluster_state_paused(s, s->namespaces->ns[i].name);
    }
    (void)fb_map_member(s->map, FB_MEMBER_NODE, "n1");
    fb_cluster_state_put(s);
}

/* Keys in their order; values as they come. */
static void check_cluster(struct fb_bytes text)
{
    static const char *const keys[] = {
        "config",  "control/sync", "meta",      "node/n1",  "node/n2",  "part/0",  "part/1",
        "part/16", "part/x",       "router/r1", "schema/u", "schema/v", "strange", "sync/s1"};
    static const char meta[] = "{\"cluster\":\"00000000-0000-0000-0000-000000000001\","
                               "\"partitions\":4,\"seed\":\"1f\"}";
    struct fuzz_in in = {text.p, text.n};
    uint16_t which = fuzz_u16(&in);
    struct fb_coord_kv kv[FB_COUNT_OF(keys)];
    struct fb_coord_list list = {.rev = 9, .kv = kv};
    struct fb_cluster_state *s = NULL;
    struct fb_err err = {0};

    for (size_t i = 0; i < FB_COUNT_OF(keys); i++) {
        if (!(which & 1u << i) && i != 2)
            continue;
        kv[list.count++] = (struct fb_coord_kv){.key = (char *)keys[i],
                                                .value = which & 1u << i ? until_separator(&in)
                                                                         : fb_bytes_str(meta),
                                                .rev = i + 1,
                                                .alive = i & 1};
    }
    if (fb_cluster_state_of_list(&list, &s, &err) != FB_OK)
        fb_assert(err.msg[0] != 0);
    else
        use_state(s);
}

/* The store as a process uses it. */
static void use_store(const char *url)
{
    struct fb_coord *c = NULL;
    struct fb_coord_list list = {0};
    struct fb_cluster_state *s = NULL;
    struct fb_err err = {0};
    uint64_t rev = 0;

    if (fb_coord_open(url, false, &c, &err) != FB_OK) {
        fb_assert(err.msg[0] != 0);
        return;
    }
    if (fb_coord_list(c, "", &list, &err) == FB_OK) {
        for (size_t i = 1; i < list.count; i++)
            fb_assert(strcmp(list.kv[i - 1].key, list.kv[i].key) < 0);
        fb_coord_list_free(&list);
        if (fb_cluster_state_read(c, &s, &err) == FB_OK)
            use_state(s);
        if (fb_coord_cas(c, "fuzz/new", 0, fb_bytes_str("v"), &rev, &err) == FB_OK) {
            struct fb_buf value = {0};
            fb_assert(rev > 0);
            fb_assert(fb_coord_get(c, "fuzz/new", &value, &rev, &err) == FB_OK);
            fb_assert(fb_bytes_is(fb_buf_view(&value), "v"));
            fb_buf_fini(&value);
        }
    }
    fb_coord_close(c);
}

static void check_store(struct fb_bytes text)
{
    static char url[128];
    struct file_state st = {0};
    struct fb_err err = {0};
    int fd;

    if (url[0] == 0) {
        struct fb_coord *c = NULL;
        snprintf(url, sizeof(url), "file:%s", folder());
        fb_assert(fb_coord_open(url, true, &c, &err) == FB_OK); /* makes what belongs there */
        fb_coord_close(c);
    }
    folder_put("state", text);
    fd = open(folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fb_assert(fd >= 0);
    if (file_state_load(&st, fd, folder(), &err) == FB_OK)
        use_store(url); /* takes milliseconds, so only what is no nonsense */
    else
        fb_assert(err.msg[0] != 0 && st.keys == NULL);
    file_state_fini(&st);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const checks[])(struct fb_bytes) = {check_record, check_next,    check_schema,
                                                      check_member, check_cluster, check_store};
    uint8_t *exact;

    fb_log_set_level(FB_LOG_ERROR);
    if (n < 1)
        return 0;
    exact = fb_xmalloc(n - 1);
    memcpy(exact, data + 1, n - 1);
    checks[data[0] % FB_COUNT_OF(checks)](fb_bytes(exact, n - 1));
    free(exact);
    return 0;
}
