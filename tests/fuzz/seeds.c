/* Writes first inputs for the fuzzers whose input has a form, from the real encoders:
 * fuzz_seeds <directory of corpora>. */
#include "node/control/report.h"
#include "node/disk/data_dir.h"
#include "proto/cluster/map.h"
#include "proto/cluster/namespace.h"
#include "proto/cluster/schema.h"
#include "proto/wire/feed.h"
#include "proto/wire/frame.h"
#include "proto/wire/record.h"
#include "proto/wire/replica.h"
#include "proto/wire/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *top;

/* The selector byte, then what was encoded; empties `b`. */
static void put(const char *fuzzer, const char *name, int selector, struct fb_buf *b)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", top, fuzzer);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/seed-%s", top, fuzzer, name);
    f = fopen(path, "wb");
    if (f == NULL || (selector >= 0 && fputc(selector, f) == EOF) ||
        fwrite(b->p, 1, b->n, f) != b->n || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    fb_buf_clear(b);
}

static void wire(void)
{
    struct fb_buf b = {0}, list = {0};
    int n = 0;
    struct fb_bytes ns = fb_bytes_str("user"), id = fb_bytes_str("42"), v = fb_bytes_str("value");
#define ITEM(name, ...)                                                                            \
    do {                                                                                           \
        struct fb_##name m = {__VA_ARGS__};                                                        \
        fb_##name##_encode(&b, &m);                                                                \
        put("wire", #name, n++, &b);                                                               \
    } while (0)
    ITEM(feed_note, .part = 3, .epoch = 1, .ns = ns, .dirty = 2, .last_ver = 9, .due = true);
    ITEM(feed_req, .part = 3, .ns = ns, .from_ver = 7, .max = 100, .mapping = 5);
    ITEM(feed_object, .ver = 8, .kind = FB_KIND_STRING, .flags = 3, .base_xid = 7, .id = id,
         .value = v);
    ITEM(feed_batch, .part = 3, .ns = ns, .from_ver = 7, .scan_end = 9, .last = true, .objects = v);
    ITEM(feed_pos, .part = 3, .ns = ns, .ver = 9, .dsafe = 9, .xid = 77);
    ITEM(load_req, .part = 3, .token = 5, .ns = ns, .id = id, .mapping = 5);
    ITEM(load_rep, .part = 3, .token = 5, .kind = FB_KIND_STRING, .xmin = 7, .ns = ns, .id = id,
         .value = v);
    ITEM(verdict, .verdict = FB_VERDICT_PARK, .part = 3, .id64 = 1, .ns = ns, .id = id, .ver = 8,
         .sqlstate = "23505", .message = fb_bytes_str("duplicate key"));
    ITEM(verdict_ack, .part = 3, .id64 = 1, .status = FB_ESTALE, .ver = 8);
    fb_list_put(&list, v);
    fb_list_put(&list, id);
    ITEM(req, .seq = 1, .op = FB_OP_HSET, .level = FB_LEVEL_DURABLE, .part = 3, .epoch = 1,
         .key = fb_bytes_str("user:42"), .nargs = 2, .args = fb_buf_view(&list));
    ITEM(rep, .seq = 1, .type = FB_REP_BULK, .hit = true, .ver = 8, .payload = v);
    ITEM(record, .type = FB_RECORD_PUT, .kind = FB_KIND_STRING, .ns_len = 4, .part = 3, .ver = 9,
         .prev = 8, .ptime_ms = 1700000000000, .expires_ms = 1700000001000, .changed = 6, .xid = 7,
         .obj_ver = 8, .history = 1, .base_xid = 7, .count = 2, .session = 1, .req_no = 2,
         .sqlstate = "23505", .key = fb_bytes_str("user:42"), .value = v);
    fb_hash_put(&b, fb_bytes_str("name"), v);
    fb_hash_put(&b, fb_bytes_str("plan"), id);
    put("wire", "hash", n++, &b);
    fb_list_put_null(&b);
    fb_buf_put_bytes(&b, fb_buf_view(&list));
    put("wire", "list", n++, &b);
    for (int hello = 0; hello < 2; hello++) {
        struct fb_frame f = {.kind = hello ? FB_FRAME_HELLO : FB_FRAME_REQ,
                             .src_inc = 1,
                             .dst_inc = 2,
                             .id = 3,
                             .has_hello = hello,
                             .hello = {.protocol = FB_PROTOCOL_VERSION,
                                       .role = FB_ROLE_NODE,
                                       .name = "node-1",
                                       .has_cluster = true,
                                       .inc = 9,
                                       .error = "no"}};
        size_t mark = fb_frame_begin(&b, &f);
        fb_buf_put_bytes(&b, v);
        fb_frame_end(&b, mark, 1);
        put("wire", hello ? "frame-hello" : "frame", n, &b);
    }
    n += 3; /* frame header, size, and then: */
    fb_record_encode(&list, &(struct fb_record){.type = FB_RECORD_EPOCH_START,
                                                .part = 3,
                                                .ver = fb_ver(2, 0),
                                                .prev = fb_ver(1, 9)});
    ITEM(append, .part = 3, .epoch = 2, .prev = fb_ver(1, 9), .com_ver = 9, .token = 5, .count = 1,
         .records = fb_buf_view(&list));
    ITEM(append_ack, .part = 3, .epoch = 2, .acked_ver = 9, .synced_ver = 8, .token = 5);
    fb_buf_clear(&list);
    fb_tail_run_put(&list, (struct fb_tail_run){fb_ver(1, 0), fb_ver(1, 9)});
    fb_tail_run_put(&list, (struct fb_tail_run){fb_ver(2, 0), fb_ver(2, 0)});
    ITEM(replica_hello, .part = 3, .epoch = 2, .com_ver = 9, .last_ver = fb_ver(2, 0),
         .runs = fb_buf_view(&list));
#undef ITEM
    fb_buf_fini(&b);
    fb_buf_fini(&list);
}

static void schema(struct fb_buf *b)
{
    char labels[2][FB_NAME_BYTES_MAX + 1] = {"sad", "ok"};
    struct fb_column columns[] = {
        {.name = "id",
         .type = "integer",
         .attnum = 1,
         .check = FB_TYPE_INT4,
         .length = -1,
         .scale = -1,
         .not_null = true,
         .is_key = true},
        {.name = "mood",
         .type = "public.mood",
         .attnum = 3,
         .check = FB_TYPE_ENUM,
         .length = -1,
         .scale = -1,
         .has_default = true,
         .label_count = 2,
         .labels = labels},
        {.name = "n",
         .type = "numeric",
         .attnum = 4,
         .check = FB_TYPE_NUMERIC,
         .length = 5,
         .scale = 2,
         .generated = true},
    };
    struct fb_table_name parent = {"app", "org"};
    struct fb_schema s = {.ns = "user",
                          .mapping = 77,
                          .config_rev = 5,
                          .column_count = 3,
                          .columns = columns,
                          .key_count = 1,
                          .parent_count = 1,
                          .parents = &parent};
    fb_schema_encode(b, &s);
}

static void coord(void)
{
    struct fb_part_record r = {.epoch = 3,
                               .primary = {"node-1", 7},
                               .isr_count = 1,
                               .isr = {{"node-1", 7}},
                               .learner_count = 1,
                               .learners = {"node-2"},
                               .min_isr = 1};
    struct fb_member_info m = {.kind = FB_MEMBER_NODE,
                               .name = "n1",
                               .zone = "a",
                               .inc = 7,
                               .listen = "tcp://127.0.0.1:7400",
                               .admin = "127.0.0.1:9400",
                               .weight = 100,
                               .started_ms = 1700000000000,
                               .pid = 1};
    struct fb_buf b = {0}, all = {0};

    fb_part_record_encode(&b, &r);
    put("coord", "part", 0, &b);
    fb_buf_put_str(&b, "\x02\x0f\x01");
    fb_part_record_encode(&b, &r);
    put("coord", "next", 1, &b);
    schema(&b);
    put("coord", "schema", 2, &b);
    fb_member_info_encode(&b, &m);
    put("coord", "member", 3, &b);
    m.leaving = true;
    fb_member_info_encode(&b, &m);
    put("coord", "leaving", 3, &b);
    m.leaving = false;
    /* bits of coord_fuzz.c's keys: config, control/sync, node/n1, part/0, schema/u */
    fb_buf_put_u16(&all, 1u << 0 | 1u << 1 | 1u << 3 | 1u << 5 | 1u << 10);
    fb_buf_put_str(&all, "[namespace u]\nttl = 5s\n\xff");
    fb_buf_put_str(&all, "{\"all\":false,\"namespaces\":[\"u\"]}\xff");
    fb_member_info_encode(&all, &m);
    fb_buf_put_u8(&all, 0xff);
    fb_part_record_encode(&all, &r);
    fb_buf_put_u8(&all, 0xff);
    schema(&all);
    put("coord", "cluster", 4, &all);
    fb_buf_put_str(&b, "{\"format\":\"forebay-coordinator-1\",\"revision\":7,\"keys\":{\"config\":"
                       "{\"value\":\"\",\"rev\":2},\"node/n1\":{\"value\":\"x\",\"rev\":7,"
                       "\"session\":\"n1:1\"},\"meta\":{\"rev\":1,\"value\":\"{\\\"cluster\\\":"
                       "\\\"00000000-0000-0000-0000-000000000001\\\",\\\"partitions\\\":4,"
                       "\\\"seed\\\":\\\"1f\\\"}\"}}}");
    put("coord", "store", 5, &b);
    fb_buf_fini(&b);
    fb_buf_fini(&all);
}

static void report(void)
{
    const struct control_report all[3] = {
        {.part = 0},
        {.part = 1, .history = 2, .epoch = 3, .last_ver = UINT64_C(3) << 40 | 9, .damaged = true},
        {.part = 2, .epoch = 1, .last_ver = UINT64_C(1) << 40}};
    struct fb_buf b = {0};

    control_report_encode(&b, 0x1f, all, 3);
    put("report", "three", 2, &b);
    fb_buf_fini(&b);
}

static void ini(void)
{
    static const char cluster[] =
        "[cluster]\npartitions = 16\nmulti = relaxed\n[namespace user]\ntable = app.users\n"
        "key = id\nvalue = row\nconflict = merge-columns\non_delete = null:gone ; why\n"
        "[namespace c]\ntable = c\nkey = k\nvalue = column:v\n"
        "[namespace session]\nttl = 30m\ndurability = durable\nmax_value = 64KiB\n";
    struct fb_nsset *set = NULL;
    struct fb_buf b = {0};
    struct fb_err err;

    if (fb_nsset_parse("c", fb_bytes_str(cluster), &set, NULL, &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    fb_buf_put_str(&b, cluster);
    put("ini", "cluster", 1, &b);
    fb_nsset_print(&b, set);
    put("ini", "cluster-all", 1, &b);
    fb_buf_put_str(&b, "# c\n[process]\nname = n1 ; x\n[node]\nmemory = 8GiB\nthreads = 4\n"
                       "level = debug\nstrict = yes\ninterval = 5s\n[router]\nx = y\n");
    put("ini", "process", 2, &b);
    fb_buf_put_str(&b, "[namespace user]\nkey = a b ; c\n# d\nempty =\n");
    put("ini", "reader", 0, &b);
    free(set);
    fb_buf_fini(&b);
}

static void identity(void)
{
    static const uint8_t cluster[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const char *const files[] = {"IDENTITY", "CLEAN"};
    char dir[64], path[128];
    struct data_dir d;
    struct fb_buf b = {0};
    struct fb_err err;

    snprintf(dir, sizeof(dir), "/tmp/forebay-seeds-XXXXXX");
    if (mkdtemp(dir) == NULL || data_dir_open(dir, cluster, "node-1", &d, &err) != FB_OK)
        exit(1);
    data_dir_close(&d, 77);
    for (int i = 0; i < 2; i++) {
        FILE *f;
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        f = fopen(path, "rb");
        if (f == NULL)
            exit(1);
        b.n = fread(fb_buf_reserve(&b, 4096), 1, 4096, f);
        (void)fclose(f);
        put("data_dir", files[i], i == 0 ? 1 : 2 | 8, &b);
        (void)remove(path);
    }
    for (int i = 0; i < 4; i++) {
        static const char *const rest[] = {"/LOCK", "/log", "/snapshot", ""};
        snprintf(path, sizeof(path), "%s%s", dir, rest[i]);
        (void)remove(path);
    }
    fb_buf_fini(&b);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds DIRECTORY\n");
        return 2;
    }
    top = argv[1];
    wire();
    coord();
    report();
    ini();
    identity();
    return 0;
}
