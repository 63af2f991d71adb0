/* Goal: nothing is lost or reordered per producer, the limit holds, and no wake-up is missed.
 * Method: four producers against a consumer that sleeps without a time limit: a lost wake-up would
 * hang the test. */
#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/thread.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define PRODUCERS 4
#define ITEMS 50000u

struct item {
    struct fb_mail mail;
    int producer;
    uint32_t no;
};

struct producer {
    struct fb_mailbox *box;
    int id;
    struct item *items;
};

static void produce(void *arg)
{
    struct producer *p = arg;
    for (uint32_t i = 0; i < ITEMS; i++) {
        p->items[i] = (struct item){.producer = p->id, .no = i};
        while (fb_mailbox_put(p->box, &p->items[i].mail) == FB_EFULL)
            sched_yield();
    }
}

static void order_and_wake_ups(void **state)
{
    struct producer p[PRODUCERS];
    struct fb_thread *t[PRODUCERS];
    uint32_t next[PRODUCERS] = {0}, seen = 0;
    struct fb_mailbox *box = fb_mailbox_new(100);
    struct fb_err err;
    (void)state;

    for (int i = 0; i < PRODUCERS; i++) {
        p[i] = (struct producer){box, i, fb_xcalloc(ITEMS, sizeof(struct item))};
        assert_int_equal(fb_thread_start("producer", produce, &p[i], &t[i], &err), FB_OK);
    }
    while (seen < PRODUCERS * ITEMS) {
        struct fb_mail *m = fb_mailbox_take(box);
        if (m == NULL)
            fb_mailbox_wait(box, UINT64_MAX);
        for (; m != NULL; m = m->next) {
            struct item *it = FB_CONTAINER_OF(m, struct item, mail);
            assert_int_equal(it->no, next[it->producer]);
            next[it->producer]++;
            seen++;
        }
    }
    for (int i = 0; i < PRODUCERS; i++) {
        fb_thread_join(t[i]);
        free(p[i].items);
    }
    fb_mailbox_free(box);
}

static void limit_and_force(void **state)
{
    struct item a = {0}, b = {0}, c = {0};
    struct fb_mailbox *box = fb_mailbox_new(1);
    struct fb_mail *m;
    (void)state;

    assert_int_equal(fb_mailbox_put(box, &a.mail), FB_OK);
    assert_int_equal(fb_mailbox_put(box, &b.mail), FB_EFULL);
    fb_mailbox_force(box, &c.mail);
    m = fb_mailbox_take(box);
    assert_ptr_equal(m, &a.mail);
    assert_ptr_equal(m->next, &c.mail);
    assert_null(m->next->next);
    assert_null(fb_mailbox_take(box));
    assert_int_equal(fb_mailbox_put(box, &b.mail), FB_OK);
    assert_ptr_equal(fb_mailbox_take(box), &b.mail);
    fb_mailbox_free(box);
}

static void wait_ends_by_time_and_by_wake(void **state)
{
    struct fb_mailbox *box = fb_mailbox_new(1);
    uint64_t t0 = fb_mono_ns();
    (void)state;

    while (fb_mono_ns() - t0 < 20000000u)
        fb_mailbox_wait(box, 20000000u);
    fb_mailbox_wake(box); /* before the wait: must not be forgotten */
    fb_mailbox_wait(box, UINT64_MAX);
    fb_mailbox_free(box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_wake_ups),
        cmocka_unit_test(limit_and_force),
        cmocka_unit_test(wait_ends_by_time_and_by_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
