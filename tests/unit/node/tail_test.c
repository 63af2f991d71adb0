/* Goal: the ring of newest records gives back what was put into it, record by record, grows before
 * it drops anything, and takes nothing while nothing is kept. Method: random records of several
 * partitions beside a plain list of them. */
#include "node/core/replica_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PARTS 5u
#define MAX ((size_t)1 << 20)
#define PUTS 20000u

static uint64_t rng = 88172645463325252u;

static uint64_t below(uint64_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % n;
}

struct kept {
    uint64_t ver;
    uint32_t n;
    uint8_t first; /* all its bytes are this */
};

/* Everything after `from` of the partition is there, in order. Gives how many records. */
static size_t follow(const struct tail *t, uint16_t part, const struct kept *k, size_t from,
                     size_t n)
{
    uint64_t at = 0;
    for (size_t i = from + 1; i < n; i++) {
        const struct tail_entry *e = tail_after(t, part, k[i - 1].ver, &at);
        const uint8_t *bytes = (const uint8_t *)(e + 1);
        assert_non_null(e);
        assert_int_equal(e->ver, k[i].ver);
        assert_int_equal(e->n, k[i].n);
        for (uint32_t b = 0; b<e->n; b += e->n> 64 ? e->n / 7 : 1)
            assert_int_equal(bytes[b], k[i].first);
    }
    return n - from;
}

static void against_a_list(void **state)
{
    static uint8_t bytes[MAX];
    struct kept *k[PARTS];
    size_t n[PARTS], from[PARTS] = {0}, all = 0;
    struct tail t;
    bool dropped = false;

    (void)state;
    tail_init(&t, MAX, PARTS);
    assert_null(t.p);
    for (uint32_t p = 0; p < PARTS; p++) {
        k[p] = calloc(PUTS + 1, sizeof(*k[p]));
        assert_non_null(k[p]);
        n[p] = 1; /* version 0, before all */
    }
    for (uint32_t i = 0; i < PUTS; i++) {
        uint16_t p = (uint16_t)below(PARTS);
        /* most are small, some of them larger than the ring is at first, one in a while too large
         */
        uint32_t size = (uint32_t)below(below(50) == 0 ? 200000 : 400);
        struct kept *last = &k[p][n[p] - 1], *now = &k[p][n[p]];
        size_t cap = t.cap;
        if (below(3000) == 0)
            size = MAX / 2 + 1;
        *now = (struct kept){i + 1, size, (uint8_t)i};
        memset(bytes, (uint8_t)i, size);
        tail_put(&t, p, now->ver, last->ver, fb_bytes(bytes, size));
        assert_in_range(t.cap, cap, MAX);
        n[p]++;
        if (size > MAX / 2) /* all of the partition is forgotten */
            from[p] = n[p] - 1;
        all += size;
        for (uint32_t q = 0; q < PARTS; q++) {
            uint64_t none = 0;
            /* from the oldest that is still there on */
            while (from[q] + 1 < n[q] &&
                   tail_after(&t, (uint16_t)q, k[q][from[q]].ver, &none) == NULL) {
                dropped = true;
                assert_int_equal(t.cap, MAX); /* it grew first */
                from[q]++;
            }
            if (i % 64 == 0)
                (void)follow(&t, (uint16_t)q, k[q], from[q], n[q]);
        }
        if (below(500) == 0 && n[p] > from[p] + 2) { /* cut: a record was not to be */
            n[p]--;
            tail_cut(&t, p, k[p][n[p] - 1].ver);
        }
    }
    assert_true(dropped && all > 4 * MAX);
    tail_fini(&t);
    for (uint32_t p = 0; p < PARTS; p++)
        free(k[p]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_a_list)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
