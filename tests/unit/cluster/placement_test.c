/* Goal: even load within its bound, zones kept apart, little movement, independence of the order of
 * input. Method: many clusters by size, weight, zone and seed; figures are asserted with the limits
 * that the manual states. */
#include "proto/cluster/placement.h"
#include "tests/unit/cmocka.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fb_placement a, b;

static void make(struct fb_place_node *n, uint32_t count, uint32_t zones)
{
    memset(n, 0, sizeof(*n) * count);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(n[i].name, sizeof(n[i].name), "node-%u", i + 1);
        if (zones > 0)
            snprintf(n[i].zone, sizeof(n[i].zone), "z%u", i % zones);
        n[i].weight = 100;
    }
}

static void loads(const struct fb_placement *p, uint32_t parts, uint32_t *primary, uint32_t *all)
{
    memset(primary, 0, sizeof(uint32_t) * FB_NODES_MAX);
    memset(all, 0, sizeof(uint32_t) * FB_NODES_MAX);
    for (uint32_t i = 0; i < parts; i++) {
        primary[p->node[i][0]]++;
        for (uint32_t c = 0; c < p->count[i]; c++)
            all[p->node[i][c]]++;
    }
}

static void load_is_bounded(void **state)
{
    struct fb_place_node n[FB_NODES_MAX];
    uint32_t primary[FB_NODES_MAX], all[FB_NODES_MAX];
    double worst = 0;
    (void)state;
    for (uint32_t count = 1; count <= 64; count += count < 8 ? 1 : 7) {
        for (uint32_t copies = 1; copies <= 3; copies++) {
            for (uint64_t seed = 1; seed <= 5; seed++) {
                uint32_t parts = 256, have = copies < count ? copies : count;
                make(n, count, 0);
                assert_int_equal(fb_place(n, count, parts, copies, seed, &a, NULL), FB_OK);
                assert_int_equal(a.copies, have);
                loads(&a, parts, primary, all);
                for (uint32_t i = 0; i < count; i++) {
                    double fair = (double)parts * have / count;
                    assert_true(primary[i] <= (uint32_t)((double)parts * 1.05 / count) + 1);
                    if (all[i] / fair > worst)
                        worst = all[i] / fair;
                    assert_true(all[i] <= fair * 1.05 + 3);
                }
            }
        }
    }
    print_message("copies: worst load %.3f of the fair share\n", worst);
}

static void weights_count(void **state)
{
    struct fb_place_node n[4];
    uint32_t primary[FB_NODES_MAX], all[FB_NODES_MAX];
    (void)state;
    make(n, 4, 0);
    n[1].weight = 200;
    n[2].weight = 0;
    assert_int_equal(fb_place(n, 4, 4096, 1, 7, &a, NULL), FB_OK);
    loads(&a, 4096, primary, all);
    assert_int_equal(primary[2], 0);
    assert_in_range(primary[0], 920, 1076);
    assert_in_range(primary[1], 1940, 2151);
    assert_in_range(primary[3], 920, 1076);
}

static void zones_are_apart(void **state)
{
    struct fb_place_node n[7];
    (void)state;
    for (uint32_t zones = 2; zones <= 4; zones++) {
        for (uint64_t seed = 0; seed < 10; seed++) {
            make(n, 7, zones);
            assert_int_equal(fb_place(n, 7, 256, 3, seed, &a, NULL), FB_OK);
            for (uint32_t i = 0; i < 256; i++) {
                uint32_t used = 0, distinct = 0;
                for (uint32_t c = 0; c < 3; c++)
                    used |= 1u << (a.node[i][c] % zones);
                for (; used; used &= used - 1)
                    distinct++;
                assert_int_equal(distinct, zones < 3 ? zones : 3);
                assert_true(a.node[i][0] != a.node[i][1] && a.node[i][1] != a.node[i][2] &&
                            a.node[i][0] != a.node[i][2]);
            }
        }
    }
}

static void order_does_not_matter(void **state)
{
    struct fb_place_node n[9], shuffled[9];
    uint32_t where[9];
    (void)state;
    srand(3);
    make(n, 9, 3);
    n[4].weight = 250;
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 9; i++)
            where[i] = i;
        for (uint32_t i = 8; i > 0; i--) {
            uint32_t j = (uint32_t)rand() % (i + 1), t = where[i];
            where[i] = where[j];
            where[j] = t;
        }
        for (uint32_t i = 0; i < 9; i++)
            shuffled[i] = n[where[i]];
        assert_int_equal(fb_place(n, 9, 256, 3, 11, &a, NULL), FB_OK);
        assert_int_equal(fb_place(shuffled, 9, 256, 3, 11, &b, NULL), FB_OK);
        for (uint32_t i = 0; i < 256; i++)
            for (uint32_t c = 0; c < 3; c++)
                assert_int_equal(a.node[i][c], where[b.node[i][c]]);
    }
}

/* From `count` to `count + 1` nodes: how many primaries move beyond those that go to the new node
 * (which is also what moves beyond its own when the last node is taken away again: the function
 * knows no past), relative to 1/(count+1). */
static double excess_moves(uint32_t count, uint32_t parts, uint32_t *to_new)
{
    struct fb_place_node n[FB_NODES_MAX];
    uint32_t moved = 0, fresh = 0;
    const uint32_t seeds = 20;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        make(n, count + 1, 0);
        assert_int_equal(fb_place(n, count, parts, 1, seed, &a, NULL), FB_OK);
        assert_int_equal(fb_place(n, count + 1, parts, 1, seed, &b, NULL), FB_OK);
        for (uint32_t i = 0; i < parts; i++) {
            fresh += b.node[i][0] == count;
            moved += a.node[i][0] != b.node[i][0];
        }
    }
    *to_new = fresh / seeds;
    return (double)(moved - fresh) / ((double)parts * seeds);
}

static void movement_is_small(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= 32; count *= 2) {
        uint32_t fresh;
        double excess = excess_moves(count, 256, &fresh);
        print_message("%2u -> %2u nodes: %u of 256 to the new one, %.1f %% besides\n", count,
                      count + 1, fresh, excess * 100);
        assert_true(fresh <= (uint32_t)(256 * 1.05 / (count + 1)) + 1);
        assert_true(excess <= 0.05);
    }
}

/* Copies of all partitions that are on another node than before, whatever their order. */
static uint32_t copies_moved(const struct fb_placement *old, const struct fb_placement *new,
                             uint32_t parts)
{
    uint32_t moved = 0;
    for (uint32_t p = 0; p < parts; p++)
        for (uint32_t c = 0; c < new->count[p]; c++) {
            bool there = false;
            for (uint32_t o = 0; o < old->count[p]; o++)
                there = there || old->node[p][o] == new->node[p][c];
            moved += !there;
        }
    return moved;
}

/* With 2 and 3 copies, in 0 and 3 zones: a node that comes takes its share, and one that goes
 * leaves its share to the others; what moves besides is little. The ideal is what the new node has
 * to get, or what the gone node had. */
static void copies_move_little(void **state)
{
    struct fb_place_node n[FB_NODES_MAX];
    const uint32_t parts = 256, seeds = 10;
    (void)state;
    for (uint32_t zones = 0; zones <= 3; zones += 3) {
        for (uint32_t copies = 2; copies <= 3; copies++) {
            double worst = 0;
            for (uint32_t count = 4; count <= 32; count *= 2) {
                uint32_t come = 0, gone = 0, ideal_come = 0, ideal_gone = 0;
                for (uint64_t seed = 1; seed <= seeds; seed++) {
                    uint32_t primary[FB_NODES_MAX], all[FB_NODES_MAX];
                    make(n, count + 1, zones);
                    assert_int_equal(fb_place(n, count, parts, copies, seed, &a, NULL), FB_OK);
                    assert_int_equal(fb_place(n, count + 1, parts, copies, seed, &b, NULL), FB_OK);
                    come += copies_moved(&a, &b, parts);
                    gone += copies_moved(&b, &a, parts);
                    loads(&b, parts, primary, all);
                    ideal_come += all[count];
                    ideal_gone += all[count];
                }
                print_message("%u zones, %u copies, %2u <-> %2u nodes: %5.1f %% of the copies move "
                              "when one comes, %5.1f %% when it goes; ideal %5.1f %%\n",
                              zones, copies, count, count + 1,
                              100.0 * come / (parts * copies * seeds),
                              100.0 * gone / (parts * copies * seeds),
                              100.0 * ideal_come / (parts * copies * seeds));
                assert_true(come >= ideal_come && gone >= ideal_gone);
                if ((double)come / ideal_come > worst)
                    worst = (double)come / ideal_come;
                if ((double)gone / ideal_gone > worst)
                    worst = (double)gone / ideal_gone;
            }
            print_message("   at most %.2f of the ideal\n", worst);
            assert_true(worst <= (zones == 0 ? 1.9 : 2.2));
        }
    }
}

/* A primary that goes is followed, where the load allows it, by one of its backups: no copying. */
static void backups_follow(void **state)
{
    struct fb_place_node n[6], left[5];
    uint32_t had = 0, followed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        make(n, 6, 0);
        assert_int_equal(fb_place(n, 6, 256, 2, seed, &a, NULL), FB_OK);
        memcpy(left, n, sizeof(left));
        assert_int_equal(fb_place(left, 5, 256, 2, seed, &b, NULL), FB_OK);
        for (uint32_t p = 0; p < 256; p++) {
            if (a.node[p][0] != 5)
                continue;
            had++;
            followed += b.node[p][0] == a.node[p][1] || b.node[p][1] == a.node[p][1];
        }
    }
    print_message("%u of %u partitions keep their backup when their primary goes\n", followed, had);
    assert_true(followed * 10 >= had * 9);
}

static void bad_input(void **state)
{
    struct fb_place_node n[2];
    struct fb_err err;
    (void)state;
    make(n, 2, 0);
    n[0].weight = n[1].weight = 0;
    assert_int_equal(fb_place(n, 2, 256, 1, 1, &a, &err), FB_EINVAL);
    assert_string_equal(err.msg, "no node has weight");
    assert_int_equal(fb_place(n, 0, 256, 1, 1, &a, &err), FB_EINVAL);
    make(n, 2, 0);
    assert_int_equal(fb_place(n, 2, 0, 1, 1, &a, &err), FB_EINVAL);
    assert_int_equal(fb_place(n, 2, 4097, 1, 1, &a, &err), FB_EINVAL);
    assert_int_equal(fb_place(n, 2, 16, 0, 1, &a, &err), FB_EINVAL);
    memcpy(n[1].name, n[0].name, sizeof(n[0].name));
    assert_int_equal(fb_place(n, 2, 16, 1, 1, &a, &err), FB_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_is_bounded),   cmocka_unit_test(weights_count),
        cmocka_unit_test(zones_are_apart),   cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(movement_is_small), cmocka_unit_test(copies_move_little),
        cmocka_unit_test(backups_follow),    cmocka_unit_test(bad_input)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
