/* Goal: a plan ends balanced, keeps every rule at every step, moves as little as possible and is
 * the same for the same cluster. Method: thousands of random clusters; each plan is carried out on
 * partition records by fb_record_next, one step after the other, with the invariants asserted from
 * outside (rebalance_world.c); small clusters are compared with all placements there are. */
#include "tests/unit/cluster/rebalance_world.h"

#include "proto/base/buf.h"

static struct world w, other;

static struct shape any_shape(void)
{
    struct shape s = {.nodes = 1 + world_random(9),
                      .partitions = 1 + world_random(40),
                      .zones = world_random(6),
                      .weights = world_random(2),
                      .states = world_random(2),
                      .junk = world_random(4) > 0};
    s.copies = 1 + world_random(4);
    if (s.copies > s.nodes && !s.junk)
        s.copies = s.nodes;
    return s;
}

static bool none_lost(const struct world *x)
{
    for (uint32_t i = 0; i < x->map.partitions; i++)
        if (world_in_sync(x, i, true) == 0)
            return false;
    return true;
}

static void plans_end_balanced(void **state)
{
    uint32_t planned = 0, moved = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 6000; seed++) {
        struct fb_plan *p, *again;
        world_seed(seed);
        world_make(&w, any_shape());
        w.in.fewer = true;
        w.in.goal = world_random(3) ? FB_PLAN_BALANCE : FB_PLAN_NEEDED;
        if (!none_lost(&w))
            continue;
        p = world_plan(&w);
        planned++;
        moved += world_apply(&w, p);
        world_check_end(&w, p);
        again = world_plan(&w); /* and then there is nothing to do */
        if (again->move_count != 0)
            fail_msg("seed %u: %u moves more", (unsigned)seed, again->move_count);
        fb_plan_free(again);
        fb_plan_free(p);
    }
    assert_true(planned > 3000 && moved > 50000);
}

/* Moves one after the other, each from a new plan: the same number of copies in the end. */
static void small_plans_lead_there_too(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint32_t whole = 0, parts = 0;
        struct fb_plan *p;
        struct shape s;
        world_seed(seed);
        s = any_shape();
        s.states = false;
        world_make(&w, s);
        for (uint32_t i = 0; i < s.partitions; i++) /* learners are worth less than a copy */
            w.rec[i].learner_count = 0;
        w.in.fewer = true;
        world_copy(&other, &w);
        p = world_plan(&w);
        whole = world_apply(&w, p);
        fb_plan_free(p);
        other.in.max_moves = 1 + world_random(5);
        for (;;) {
            p = world_plan(&other);
            if (p->move_count == 0)
                break;
            assert_true(p->move_count <= other.in.max_moves);
            parts += world_apply(&other, p);
            fb_plan_free(p);
        }
        world_check_end(&other, p);
        fb_plan_free(p);
        assert_int_equal(whole, parts);
    }
}

static void same_input_same_plan(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct fb_plan *a, *b;
        world_seed(seed);
        world_make(&w, any_shape());
        w.in.fewer = true;
        a = world_plan(&w);
        for (uint32_t i = w.nodes; i-- > 1;) {
            uint32_t j = world_random(i + 1);
            struct fb_plan_node n = w.node[i];
            w.node[i] = w.node[j];
            w.node[j] = n;
        }
        b = world_plan(&w);
        assert_int_equal(a->move_count, b->move_count);
        assert_memory_equal(a->node, b->node, a->node_count * sizeof(*a->node));
        for (uint32_t i = 0; i < a->move_count; i++)
            assert_memory_equal(&a->move[i], &b->move[i], sizeof(a->move[i]));
        fb_plan_free(a);
        fb_plan_free(b);
    }
}

/* 1 / (N + 1) of the copies, and nothing between nodes that were there. */
static void a_new_node_gets_its_share(void **state)
{
    (void)state;
    for (uint32_t nodes = 1; nodes <= 40; nodes += nodes < 8 ? 1 : 8) {
        for (uint32_t copies = 1; copies <= 3 && copies <= nodes; copies++) {
            uint32_t made, share = 256 * copies / (nodes + 1);
            struct fb_plan *p;
            world_seed(nodes);
            world_make(&w, (struct shape){.nodes = nodes, .partitions = 256, .copies = copies});
            world_balance(&w);
            world_add_node(&w, "", 100);
            p = world_plan(&w);
            for (uint32_t i = 0; i < p->move_count; i++)
                assert_true(p->move[i].to == FB_PLAN_NO_NODE ||
                            world_index(&w, p->node[p->move[i].to].place.name) == (int)nodes);
            made = world_apply(&w, p);
            world_check_end(&w, p);
            assert_in_range(made, share, share + 1);
            fb_plan_free(p);
        }
    }
}

static void only_what_drains_moves(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct shape s = {.nodes = 4 + world_random(6), .partitions = 60, .copies = 2};
        uint32_t held = 0, gone;
        struct fb_plan *p;
        world_seed(seed);
        s.zones = world_random(2) ? 3 : 0;
        world_make(&w, s);
        w.in.fewer = true;
        world_balance(&w);
        gone = world_random(s.nodes);
        w.node[gone].state = world_random(2) ? FB_PLAN_DRAIN : FB_PLAN_GONE;
        w.in.goal = FB_PLAN_NEEDED;
        for (uint32_t i = 0; i < 60; i++)
            held += world_in_sync(&w, i, false) >> gone & 1;
        p = world_plan(&w);
        if (s.zones == 0) {
            assert_int_equal(world_apply(&w, p), held);
            for (uint32_t i = 0; i < p->move_count; i++)
                if (p->move[i].to != FB_PLAN_NO_NODE)
                    assert_true(
                        p->move[i].reason ==
                        (w.node[gone].state == FB_PLAN_DRAIN ? FB_MOVE_DRAIN : FB_MOVE_GONE));
        } else {
            assert_true(world_apply(&w, p) >= held);
        }
        world_check_end(&w, p);
        fb_plan_free(p);
    }
}

static void replace_moves_one_nodes_copies(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct shape s = {.nodes = 3 + world_random(6), .partitions = 60, .copies = 2};
        uint32_t held = 0, old;
        char from[FB_NAME_BYTES_MAX + 1], to[FB_NAME_BYTES_MAX + 1];
        struct fb_plan *p;
        world_seed(seed);
        s.weights = world_random(2);
        world_make(&w, s);
        for (uint32_t i = 0; i < s.nodes; i++)
            w.node[i].place.weight += w.node[i].place.weight == 0;
        world_balance(&w);
        old = world_random(s.nodes);
        w.node[old].state = world_random(2) ? FB_PLAN_UP : FB_PLAN_GONE;
        world_add_node(&w, w.node[old].place.zone, 100);
        memcpy(from, w.node[old].place.name, sizeof(from));
        memcpy(to, w.node[s.nodes].place.name, sizeof(to));
        w.in.goal = FB_PLAN_REPLACE;
        w.in.from = from;
        w.in.to = to;
        for (uint32_t i = 0; i < 60; i++)
            held += world_in_sync(&w, i, false) >> old & 1;
        p = world_plan(&w);
        assert_int_equal(world_apply(&w, p), held);
        for (uint32_t i = 0; i < p->move_count; i++)
            assert_true(p->move[i].to == FB_PLAN_NO_NODE ||
                        strcmp(p->node[p->move[i].to].place.name, to) == 0);
        world_check_end(&w, p);
        fb_plan_free(p);
    }
}

/* All sets of nodes a partition could be on. */
static uint32_t all_sets(const struct world *x, uint32_t copies, uint32_t zones, uint64_t *sets)
{
    uint32_t n = 0;
    for (uint64_t set = 0; set < UINT64_C(1) << x->nodes; set++) {
        bool fine = (uint32_t)__builtin_popcountll(set) == copies && world_zones(x, set) == zones;
        for (uint32_t i = 0; i < x->nodes; i++)
            fine = fine && (!(set >> i & 1) || world_usable(x, i));
        if (fine)
            sets[n++] = set;
    }
    return n;
}

/* What copies have to be made for it, begun ones being worth less; primaries that lose their place
 * count an eighth. */
static int cost_of(const struct world *x, uint32_t part, uint64_t set)
{
    uint64_t held = world_in_sync(x, part, true), begun = world_begun(x, part);
    int primary = world_index(x, x->rec[part].primary.node);
    return 8 * __builtin_popcountll(set & ~held & ~begun) +
           6 * __builtin_popcountll(set & ~held & begun) -
           (int)((set & held) >> (unsigned)primary & 1);
}

struct search {
    const struct world *x;
    uint64_t sets[64];
    uint32_t set_count;
    int lo[FB_NODES_MAX], hi[FB_NODES_MAX], load[FB_NODES_MAX];
    int best;
};

static void search(struct search *s, uint32_t part, int cost)
{
    if (cost - (int)(s->x->map.partitions - part) >= s->best)
        return;
    if (part == s->x->map.partitions) {
        for (uint32_t i = 0; i < s->x->nodes; i++)
            if (s->load[i] < s->lo[i] || s->load[i] > s->hi[i])
                return;
        s->best = cost;
        return;
    }
    for (uint32_t k = 0; k < s->set_count; k++) {
        bool full = false;
        for (uint32_t i = 0; i < s->x->nodes; i++) {
            s->load[i] += (int)(s->sets[k] >> i & 1);
            full = full || s->load[i] > s->hi[i];
        }
        if (!full)
            search(s, part + 1, cost + cost_of(s->x, part, s->sets[k]));
        for (uint32_t i = 0; i < s->x->nodes; i++)
            s->load[i] -= (int)(s->sets[k] >> i & 1);
    }
}

static void no_plan_moves_less(void **state)
{
    uint32_t compared = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct search s = {.x = &other, .best = 1 << 20};
        double share[FB_NODES_MAX];
        uint64_t usable = 0;
        struct fb_plan *p;
        struct shape shape;
        int cost = 0;
        world_seed(seed);
        shape = (struct shape){.nodes = 2 + world_random(4),
                               .partitions = 1 + world_random(5),
                               .copies = 1 + world_random(3),
                               .zones = world_random(4),
                               .weights = world_random(2),
                               .states = world_random(3) == 0,
                               .junk = true};
        world_make(&w, shape);
        w.in.fewer = true;
        if (!none_lost(&w))
            continue;
        world_copy(&other, &w);
        p = world_plan(&w);
        (void)world_apply(&w, p);
        world_check_end(&w, p);
        for (uint32_t i = 0; i < w.nodes; i++)
            usable |= (uint64_t)world_usable(&w, i) << i;
        world_shares(&w, p->copies, share);
        for (uint32_t i = 0; i < w.nodes; i++) {
            s.lo[i] = (int)(share[i] + 1e-6);
            s.hi[i] = (int)(share[i] + 1 - 1e-6);
        }
        s.set_count = all_sets(
            &w, p->copies,
            world_zones(&w, usable) < p->copies ? world_zones(&w, usable) : p->copies, s.sets);
        search(&s, 0, 0);
        assert_true(s.best < 1 << 20); /* even load can be had, as fair_share.c says */
        for (uint32_t i = 0; i < w.map.partitions; i++)
            cost += cost_of(&other, i, world_in_sync(&w, i, false));
        if (cost != s.best)
            fail_msg("seed %u: the plan costs %d, the best %d", (unsigned)seed, cost, s.best);
        fb_plan_free(p);
        compared++;
    }
    assert_true(compared > 2000);
}

/* From where copies are to even load cannot take less than what is missing on each node. */
static void large_clusters_stay_near_the_bound(void **state)
{
    (void)state;
    for (uint32_t nodes = 8; nodes <= 64; nodes *= 2) {
        double share[FB_NODES_MAX];
        uint32_t bound = 0, made;
        struct fb_plan *p;
        world_seed(nodes);
        world_make(
            &w, (struct shape){
                    .nodes = nodes, .zones = 4, .partitions = 1024, .copies = 3, .weights = true});
        for (uint32_t i = 0; i < nodes; i++)
            w.node[i].place.weight += w.node[i].place.weight == 0;
        world_shares(&w, 3, share);
        for (uint32_t n = 0; n < nodes; n++) {
            uint32_t load = 0;
            for (uint32_t i = 0; i < 1024; i++)
                load += world_in_sync(&w, i, false) >> n & 1;
            bound += (uint32_t)share[n] > load ? (uint32_t)share[n] - load : 0;
        }
        p = world_plan(&w);
        made = world_apply(&w, p);
        world_check_end(&w, p);
        print_message("%u nodes, 4 zones: %u copies made, bound without zones %u\n", nodes, made,
                      bound);
        assert_true(made >= bound);
        fb_plan_free(p);
    }
}

static void refuse(const char *text, enum fb_status status)
{
    struct fb_plan *p = NULL;
    struct fb_err err = {0};
    assert_int_equal(fb_rebalance(&w.in, &p, &err), status);
    assert_null(p);
    if (strstr(err.msg, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.msg, text);
}

static void what_cannot_be_planned_is_refused(void **state)
{
    struct shape s = {.nodes = 3, .partitions = 8, .copies = 2};
    (void)state;
    world_seed(1);
    world_make(&w, s);
    w.node[0].state = w.node[1].state = w.node[2].state = FB_PLAN_DRAIN;
    refuse("no node would be left", FB_EREFUSED);
    w.node[0].state = FB_PLAN_UP;
    refuse("add a node first", FB_EREFUSED);
    w.in.fewer = true;
    fb_plan_free(world_plan(&w));
    world_make(&w, s);
    memset(&w.rec[5], 0, sizeof(w.rec[5]));
    refuse("partition 5 was never assigned", FB_EREFUSED);
    world_make(&w, s);
    w.in.node_count = 1;
    refuse("not among the nodes given", FB_EINVAL);
    world_make(&w, s);
    memcpy(w.node[1].place.name, w.node[0].place.name, sizeof(w.node[0].place.name));
    refuse("twice", FB_EINVAL);
    world_make(&w, s);
    w.node[1].place.weight = 1000001;
    refuse("weight of node", FB_EINVAL);
    world_make(&w, s);
    w.in.copies = 8;
    refuse("8 copies", FB_EINVAL);
    world_make(&w, s);
    w.in.goal = FB_PLAN_REPLACE;
    w.in.from = "node-1";
    w.in.to = "node-1";
    refuse("they are the same", FB_EINVAL);
    w.in.to = "node-9";
    refuse("no such node", FB_EINVAL);
    w.in.to = "node-2";
    w.node[2].state = FB_PLAN_GONE;
    refuse("can replace none", FB_EREFUSED);
    s = (struct shape){.nodes = 8, .partitions = 4, .copies = 7};
    world_make(&w, s);
    w.node[world_index(&w, w.rec[0].primary.node)].state = FB_PLAN_DRAIN;
    refuse("as many as there can be", FB_EREFUSED);
}

static void what_is_lost_is_left(void **state)
{
    struct fb_plan *p;
    uint32_t lost = 0;
    (void)state;
    world_seed(4);
    world_make(&w, (struct shape){.nodes = 4, .partitions = 32, .copies = 1});
    w.node[2].state = FB_PLAN_GONE;
    for (uint32_t i = 0; i < 32; i++)
        lost += strcmp(w.rec[i].primary.node, "node-2") == 0;
    p = world_plan(&w);
    assert_true(lost > 0);
    assert_int_equal(p->lost, lost);
    for (uint32_t i = 0; i < p->move_count; i++)
        assert_string_not_equal(w.rec[p->move[i].part].primary.node, "node-2");
    fb_plan_free(p);
}

static void a_changed_map_is_told(void **state)
{
    struct fb_plan *p;
    struct fb_err err = {0};
    struct fb_part_record *r, old;
    (void)state;
    world_seed(9);
    world_make(&w, (struct shape){.nodes = 4, .partitions = 32, .copies = 2});
    world_add_node(&w, "", 100);
    p = world_plan(&w);
    assert_true(p->move_count > 0);
    w.map.rev = 99; /* something else changed */
    assert_int_equal(fb_plan_check(p, &w.map, &err), FB_OK);
    r = &w.rec[p->move[0].part];
    old = *r;
    r->epoch++;
    assert_int_equal(fb_plan_check(p, &w.map, &err), FB_ESTALE);
    assert_non_null(strstr(err.msg, "make a new plan"));
    *r = old;
    for (uint32_t i = 0; i < p->move_count; i++) {
        const struct fb_move *m = &p->move[i];
        struct fb_member was;
        if (m->from == FB_PLAN_NO_NODE)
            continue;
        r = &w.rec[m->part];
        for (uint32_t k = 0; k < r->isr_count; k++) {
            if (strcmp(r->isr[k].node, p->node[m->from].place.name) != 0)
                continue;
            was = r->isr[k];
            r->isr[k].node[0] = 'x';
            assert_int_equal(fb_plan_check(p, &w.map, &err), FB_ESTALE);
            memcpy(r->isr[k].node, p->node[m->to].place.name, sizeof(was.node));
            assert_int_equal(fb_plan_check(p, &w.map, &err), FB_ESTALE);
            r->isr[k] = was;
        }
    }
    assert_int_equal(fb_plan_check(p, &w.map, &err), FB_OK);
    w.map.cluster[3]++;
    assert_int_equal(fb_plan_check(p, &w.map, &err), FB_EFOREIGN);
    fb_plan_free(p);
}

static struct fb_plan *decoded(const char *text, size_t n)
{
    struct fb_plan *p = NULL;
    struct fb_err err = {0};
    if (fb_plan_decode(fb_bytes(text, n), &p, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return p;
}

static void text_and_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct fb_buf one = {0}, two = {0};
        struct fb_plan *p, *q;
        world_seed(seed);
        world_make(&w, any_shape());
        w.in.fewer = true;
        p = world_plan(&w);
        fb_plan_encode(&one, p);
        q = decoded((const char *)one.p, one.n);
        fb_plan_encode(&two, q);
        assert_true(fb_bytes_equal(fb_buf_view(&one), fb_buf_view(&two)));
        assert_int_equal(p->move_count, q->move_count);
        for (uint32_t i = 0; i < p->move_count; i++)
            assert_memory_equal(&p->move[i], &q->move[i], sizeof(p->move[i]));
        assert_memory_equal(p->node, q->node, p->node_count * sizeof(*p->node));
        fb_plan_free(p);
        fb_plan_free(q);
        fb_buf_fini(&one);
        fb_buf_fini(&two);
    }
}

#define NODE(name, state)                                                                          \
    "{\"name\":\"" name "\",\"zone\":\"\",\"weight\":100,\"state\":\"" state                       \
    "\",\"before\":{\"primaries\":1,\"copies\":1,\"bytes\":0},"                                    \
    "\"after\":{\"primaries\":1,\"copies\":1,\"bytes\":0}}"
#define MOVE(part, nodes)                                                                          \
    "{\"partition\":" part ",\"epoch\":1," nodes                                                   \
    ",\"reason\":\"balance\",\"objects\":1,\"bytes\":2,\"dirty_bytes\":0}"
#define A_TO_B "\"from\":\"a\",\"to\":\"b\",\"lead\":null"
#define PLAN(format, nodes, moves)                                                                 \
    "{\"format\":" format ",\"cluster\":\"00112233445566778899aabbccddeeff\",\"revision\":3,"      \
    "\"goal\":\"balance\",\"partitions\":4,\"copies\":1,\"lost\":0,\"left\":0,\"nodes\":[" nodes   \
    "],\"moves\":[" moves "]}"
#define AB NODE("a", "up") "," NODE("b", "up")

static void wrong_text_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"", "not JSON"},
        {"[]", "not a JSON object"},
        {"{}", "field \"format\" is missing"},
        {PLAN("2", AB, ""), "format 2; this release knows 1"},
        {PLAN("1,\"more\":1", AB, ""), "unknown fields"},
        {PLAN("1", NODE("b", "up") "," NODE("a", "up"), ""), "node 1: nodes must have names"},
        {PLAN("1", NODE("a", "up") "," NODE("a", "up"), ""), "each after the one before"},
        {PLAN("1", NODE("", "up"), ""), "must have names"},
        {PLAN("1", NODE("a", "off"), ""), "\"state\" is \"off\""},
        {PLAN("1", AB, MOVE("4", A_TO_B)), "move 0: field \"partition\" is out of range: 4"},
        {PLAN("1", AB, MOVE("1", "\"from\":\"a\",\"to\":\"c\",\"lead\":null")),
         "there is no node c in the plan"},
        {PLAN("1", AB, MOVE("1", "\"from\":null,\"to\":null,\"lead\":null")), "it does nothing"},
        {PLAN("1", AB, MOVE("1", "\"from\":\"a\",\"to\":\"a\",\"lead\":null")),
         "drops the copy that it makes"},
        {PLAN("1", AB, MOVE("1", "\"from\":\"a\",\"to\":\"b\",\"lead\":\"a\"")), "that is to lead"},
        {PLAN("1", NODE("a", "up") "," NODE("b", "drain"), MOVE("1", A_TO_B)), "drains or is gone"},
        {PLAN("1", NODE("a", "gone"), MOVE("1", "\"from\":null,\"to\":null,\"lead\":\"a\"")),
         "to lead is gone"},
        {PLAN("1", AB, MOVE("1", A_TO_B) "," MOVE("2", A_TO_B) "," MOVE("1", A_TO_B)),
         "moves of partition 1 are apart"},
    };
    const char *right = PLAN("1", AB, MOVE("1", A_TO_B) "," MOVE("2", A_TO_B));
    (void)state;
    fb_plan_free(decoded(right, strlen(right)));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct fb_plan *p = NULL;
        struct fb_err err = {0};
        assert_int_equal(fb_plan_decode(fb_bytes_str(wrong[i].text), &p, &err), FB_EPROTO);
        assert_null(p);
        if (strstr(err.msg, wrong[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.msg, wrong[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_end_balanced),
        cmocka_unit_test(small_plans_lead_there_too),
        cmocka_unit_test(same_input_same_plan),
        cmocka_unit_test(a_new_node_gets_its_share),
        cmocka_unit_test(only_what_drains_moves),
        cmocka_unit_test(replace_moves_one_nodes_copies),
        cmocka_unit_test(no_plan_moves_less),
        cmocka_unit_test(large_clusters_stay_near_the_bound),
        cmocka_unit_test(what_cannot_be_planned_is_refused),
        cmocka_unit_test(what_is_lost_is_left),
        cmocka_unit_test(a_changed_map_is_told),
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(wrong_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
