/* Goal: only legal records come out of fb_record_next; texts read back the same; broken texts are
 * refused. Method: each event in legal and illegal states; a random walk whose invariants are
 * checked at each step. */
#include "proto/cluster/map.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

static struct fb_member member(const char *node, uint64_t inc)
{
    struct fb_member m = {.inc = inc};
    snprintf(m.node, sizeof(m.node), "%s", node);
    return m;
}

static enum fb_status step(struct fb_part_record *r, enum fb_record_event_kind kind,
                           const char *node, uint64_t inc, bool drop)
{
    struct fb_record_event ev = {
        .kind = kind, .member = member(node, inc), .drop_old = drop, .min_isr = 1};
    struct fb_err err;
    return fb_record_next(r, &ev, r, &err);
}

/* Its text reads back as the same record. */
static void reads_back(const struct fb_part_record *r)
{
    struct fb_part_record back;
    struct fb_buf text = {0};
    struct fb_err err;
    fb_part_record_encode(&text, r);
    assert_int_equal(fb_part_record_decode(fb_buf_view(&text), &back, &err), FB_OK);
    assert_memory_equal(r, &back, sizeof(*r));
    fb_buf_fini(&text);
}

static void wishes_after(const struct fb_part_record *r, enum fb_record_event_kind kind,
                         const char *node, uint64_t inc, const char *leaving, const char *successor)
{
    struct fb_part_record next = *r;
    assert_int_equal(step(&next, kind, node, inc, false), FB_OK);
    assert_string_equal(next.leaving, leaving);
    assert_string_equal(next.successor, successor);
}

static void life(void **state)
{
    struct fb_part_record r = {0};
    struct fb_member b = member("b", 2);
    (void)state;
    assert_int_equal(step(&r, FB_REC_PROMOTE, "a", 1, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_ASSIGN, "a", 0, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_ASSIGN, "", 1, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_ASSIGN, "a", 1, false), FB_OK);
    assert_int_equal(r.epoch, 1);
    assert_int_equal(step(&r, FB_REC_ASSIGN, "a", 1, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_EXPAND, "b", 2, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_LEARNER_ADD, "a", 1, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_LEARNER_ADD, "b", 0, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_LEARNER_ADD, "b", 0, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_PROMOTE, "b", 2, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_EXPAND, "b", 2, false), FB_OK);
    assert_true(fb_part_record_has(&r, &b));
    assert_int_equal(r.learner_count, 0);
    assert_int_equal(r.epoch, 1);
    assert_int_equal(step(&r, FB_REC_PROMOTE, "b", 3, false),
                     FB_EREFUSED); /* another incarnation is another member */
    assert_int_equal(step(&r, FB_REC_SHRINK, "a", 1, false), FB_EREFUSED); /* the primary */
    assert_int_equal(step(&r, FB_REC_PROMOTE, "b", 2, true), FB_OK);
    assert_int_equal(r.epoch, 2);
    assert_int_equal(r.isr_count, 1);
    assert_int_equal(step(&r, FB_REC_PROMOTE, "b", 2, true), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_LAST_SET, "a", 9, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_LAST_SET, "b", 9, false), FB_OK);
    assert_int_equal(r.epoch, 3);
    assert_int_equal(r.history, 0);
    assert_int_equal(step(&r, FB_REC_FORCE, "c", 4, false), FB_OK);
    assert_int_equal(r.epoch, 4);
    assert_int_equal(r.history, 4);
    assert_string_equal(r.primary.node, "c");
    assert_int_equal(step(&r, FB_REC_LEARNER_DROP, "b", 0, false), FB_EREFUSED);
    r.epoch = (1u << 23) - 1;
    assert_int_equal(step(&r, FB_REC_PROMOTE, "c", 4, false), FB_EREFUSED);
}

/* Who is to leave counts until its primary has removed it, and is forgotten when it leads. */
static void leaving(void **state)
{
    struct fb_part_record r = {0};
    (void)state;
    assert_int_equal(step(&r, FB_REC_ASSIGN, "a", 1, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_LEARNER_ADD, "b", 0, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_LEAVE, "b", 2, false), FB_EREFUSED); /* not in the set */
    assert_int_equal(step(&r, FB_REC_EXPAND, "b", 2, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_LEAVE, "a", 1, false), FB_EREFUSED); /* it leads */
    assert_int_equal(step(&r, FB_REC_LEAVE, "b", 3, false), FB_EREFUSED); /* another process */
    assert_int_equal(step(&r, FB_REC_STAY, "b", 2, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_LEAVE, "b", 2, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_LEAVE, "b", 2, false), FB_EREFUSED);
    assert_int_equal(r.isr_count, 2);
    assert_string_equal(r.leaving, "b");
    reads_back(&r);
    wishes_after(&r, FB_REC_STAY, "b", 0, "", "");
    wishes_after(&r, FB_REC_SHRINK, "b", 2, "", "");
    wishes_after(&r, FB_REC_PROMOTE, "b", 2, "", "");
    memcpy(r.leaving, "a", 2);
    assert_non_null(fb_part_record_broken(&r));
    memcpy(r.leaving, "c", 2);
    assert_non_null(fb_part_record_broken(&r));
}

/* Who is to lead is a wish of one epoch: forgotten with it, with its copy, or when it is called
 * off. */
static void successor(void **state)
{
    struct fb_part_record r = {0}, leaves;
    (void)state;
    assert_int_equal(step(&r, FB_REC_ASSIGN, "a", 1, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_LEARNER_ADD, "b", 0, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_HAND_OVER, "b", 2, false), FB_EREFUSED); /* not in the set */
    assert_int_equal(step(&r, FB_REC_EXPAND, "b", 2, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_LEARNER_ADD, "c", 0, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_EXPAND, "c", 3, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_HAND_OVER, "a", 1, false), FB_EREFUSED); /* it leads */
    assert_int_equal(step(&r, FB_REC_HAND_OVER, "b", 9, false), FB_EREFUSED); /* another process */
    assert_int_equal(step(&r, FB_REC_KEEP, "b", 0, false), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_HAND_OVER, "b", 2, false), FB_OK);
    assert_string_equal(r.successor, "b");
    assert_int_equal(r.epoch, 1);
    reads_back(&r);
    wishes_after(&r, FB_REC_KEEP, "b", 0, "", "");
    wishes_after(&r, FB_REC_PROMOTE, "b", 2, "", "");
    wishes_after(&r, FB_REC_PROMOTE, "c", 3, "", "");
    wishes_after(&r, FB_REC_SHRINK, "b", 2, "", "");
    wishes_after(&r, FB_REC_SHRINK, "c", 3, "", "b");
    /* of two wishes about one copy the later one counts */
    wishes_after(&r, FB_REC_LEAVE, "b", 2, "b", "");
    leaves = r;
    assert_int_equal(step(&leaves, FB_REC_LEAVE, "b", 2, false), FB_OK);
    wishes_after(&leaves, FB_REC_HAND_OVER, "b", 2, "", "b");
    wishes_after(&r, FB_REC_HAND_OVER, "c", 3, "", "c");
    memcpy(r.successor, "a", 2);
    assert_non_null(fb_part_record_broken(&r));
    memcpy(r.successor, "d", 2);
    assert_non_null(fb_part_record_broken(&r));
}

/* min_isr follows the set and is never more than that has. */
static void min_isr(void **state)
{
    struct fb_part_record r = {0};
    struct fb_record_event ev = {.kind = FB_REC_MIN_ISR, .member = member("a", 1), .min_isr = 2};
    struct fb_err err;
    (void)state;
    assert_int_equal(step(&r, FB_REC_ASSIGN, "a", 1, false), FB_OK);
    assert_int_equal(fb_record_next(&r, &ev, &r, &err), FB_EREFUSED);
    assert_int_equal(step(&r, FB_REC_LEARNER_ADD, "b", 0, false), FB_OK);
    assert_int_equal(step(&r, FB_REC_EXPAND, "b", 2, false), FB_OK);
    assert_int_equal(fb_record_next(&r, &ev, &r, &err), FB_OK);
    assert_int_equal(r.min_isr, 2);
    assert_int_equal(r.epoch, 1);
    ev.min_isr = 0;
    assert_int_equal(fb_record_next(&r, &ev, &r, &err), FB_EREFUSED);
    ev.min_isr = 1;
    ev.member = member("b", 2);
    assert_int_equal(fb_record_next(&r, &ev, &r, &err), FB_EREFUSED);
}

static void random_walk(void **state)
{
    static const char *const nodes[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    struct fb_part_record r = {0};
    unsigned legal = 0;
    (void)state;
    srand(7); /* the same walk every time */
    for (int i = 0; i < 200000; i++) {
        struct fb_part_record old = r;
        enum fb_record_event_kind kind = (enum fb_record_event_kind)(1 + rand() % FB_REC_KEEP);
        if (step(&r, kind, nodes[rand() % 10], (uint64_t)rand() % 3, rand() % 2 != 0) != FB_OK) {
            assert_memory_equal(&old, &r, sizeof(r));
            continue;
        }
        legal++;
        assert_null(fb_part_record_broken(&r));
        assert_true(r.epoch >= old.epoch && r.epoch <= old.epoch + 1 && r.history >= old.history);
        if (r.epoch == old.epoch)
            assert_memory_equal(&old.primary, &r.primary, sizeof(r.primary));
        if (i % 50 == 0)
            reads_back(&r);
    }
    assert_true(legal > 10000);
}

static void refused(const char *text)
{
    struct fb_part_record r;
    struct fb_err err = {0};
    if (fb_part_record_decode(fb_bytes_str(text), &r, &err) != FB_EPROTO)
        fail_msg("accepted: %s", text);
    assert_true(strncmp(err.msg, "partition record: ", 18) == 0);
}

#define M(n, i) "{\"node\":\"" n "\",\"inc\":\"000000000000000" i "\"}"
static void broken_texts(void **state)
{
    static const char good[] = "{\"history\":0,\"epoch\":3,\"primary\":" M("a", "1") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[\"b\"],\"min_isr\":1}";
    struct fb_part_record r;
    (void)state;
    assert_int_equal(fb_part_record_decode(fb_bytes_str(good), &r, NULL), FB_OK);
    for (size_t n = 0; n < sizeof(good) - 1; n++)
        assert_int_equal(fb_part_record_decode(fb_bytes(good, n), &r, NULL), FB_EPROTO);
    refused("[]");
    refused("{}");
    refused("{\"history\":0,\"epoch\":3,\"primary\":" M("b", "1") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[],\"min_isr\":1}");
    refused("{\"history\":4,\"epoch\":3,\"primary\":" M("a", "1") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[],\"min_isr\":1}");
    refused("{\"history\":0,\"epoch\":3,\"primary\":" M("a", "1") ",\"isr\":[" M("a", "1") "," M(
        "a", "2") "],\"learners\":[],\"min_isr\":1}");
    refused("{\"history\":0,\"epoch\":3,\"primary\":" M("a", "1") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[],\"min_isr\":0}");
    refused("{\"history\":0,\"epoch\":-3,\"primary\":" M("a", "1") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[],\"min_isr\":1}");
    refused("{\"history\":0,\"epoch\":3,\"primary\":" M("a", "x") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[],\"min_isr\":1}");
    refused("{\"history\":0,\"epoch\":0,\"primary\":" M("a", "1") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[],\"min_isr\":1}");
    refused("{\"history\":0,\"epoch\":3,\"primary\":" M("a", "1") ",\"isr\":[" M(
        "a", "1") "],\"learners\":[],\"min_isr\":1,\"new\":1}");
}

static void members(void **state)
{
    struct fb_member_info m = {.kind = FB_MEMBER_ROUTER,
                               .name = "r\"1\n",
                               .zone = "z",
                               .listen = "tcp://[::1]:1",
                               .admin = "h:1",
                               .client = "h:2",
                               .inc = UINT64_MAX,
                               .weight = 100,
                               .started_ms = 5,
                               .pid = 77};
    struct fb_member_info back;
    struct fb_member_info list[4] = {{.kind = FB_MEMBER_NODE, .name = "a"},
                                     {.kind = FB_MEMBER_NODE, .name = "b"},
                                     {.kind = FB_MEMBER_SYNC, .name = "a"},
                                     {.kind = FB_MEMBER_ROUTER, .name = "z"}};
    struct fb_map map = {.member_count = 4, .members = list};
    struct fb_buf text = {0};
    (void)state;
    fb_member_info_encode(&text, &m);
    assert_int_equal(fb_member_info_decode(fb_buf_view(&text), &back, NULL), FB_OK);
    assert_memory_equal(&m, &back, sizeof(m));
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(fb_member_info_decode(fb_bytes(text.p, n), &back, NULL), FB_EPROTO);
    fb_buf_clear(&text);
    m.leaving = true;
    fb_member_info_encode(&text, &m);
    assert_int_equal(fb_member_info_decode(fb_buf_view(&text), &back, NULL), FB_OK);
    assert_memory_equal(&m, &back, sizeof(m));
    fb_buf_fini(&text);
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(fb_map_member(&map, list[i].kind, list[i].name), &list[i]);
    assert_null(fb_map_member(&map, FB_MEMBER_SYNC, "b"));
    assert_null(fb_map_member(&map, FB_MEMBER_NODE, "z"));
    fb_map_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(life),      cmocka_unit_test(leaving),     cmocka_unit_test(min_isr),
        cmocka_unit_test(successor), cmocka_unit_test(random_walk), cmocka_unit_test(broken_texts),
        cmocka_unit_test(members)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
