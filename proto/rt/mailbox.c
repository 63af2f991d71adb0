/* Many-to-one queue: producers push on a lock-free stack, the consumer takes all of it and turns it
 * round.
 *
 * Not a wfcqueue: there a producer that is preempted between its two stores keeps the consumer
 * waiting, which shows when there are more threads than cores. Here a push is one compare-and-swap
 * and the consumer never waits for a producer; as items are only ever taken all at once the stack
 * has no ABA problem. Turning round touches memory the consumer needs next.
 */
#include "proto/rt/mailbox.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/rt/watchdog.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { AWAKE = 0, SLEEPING = 1 };

#define CACHE_LINE 64
#define WAIT_NS_MAX UINT64_C(1000000000)

struct fb_mailbox {
    _Alignas(CACHE_LINE) _Atomic(struct fb_mail *) head; /* newest first */
    _Atomic uint32_t count;                              /* items that are queued or about to be */
    _Alignas(CACHE_LINE) _Atomic uint32_t state;         /* futex word: AWAKE or SLEEPING */
    _Atomic bool poked;                                  /* fb_mailbox_wake, until the next wait */
    uint32_t limit;                                      /* const */
};

struct fb_mailbox *fb_mailbox_new(uint32_t limit)
{
    struct fb_mailbox *m = fb_xaligned(CACHE_LINE, sizeof(*m));
    fb_assert(limit > 0);
    atomic_init(&m->head, NULL);
    atomic_init(&m->count, 0);
    atomic_init(&m->state, AWAKE);
    atomic_init(&m->poked, false);
    m->limit = limit;
    return m;
}

void fb_mailbox_free(struct fb_mailbox *m)
{
    if (m == NULL)
        return;
    fb_assert(atomic_load(&m->head) == NULL);
    free(m);
}

static void wake_sleeper(struct fb_mailbox *m)
{
    /* Load first: the consumer is usually awake, and a read keeps the line shared. Sequentially
     * consistent, as is the push before it; partner: the consumer's store of SLEEPING before its
     * look at head and poked. */
    if (atomic_load(&m->state) == SLEEPING && atomic_exchange(&m->state, AWAKE) == SLEEPING)
        (void)syscall(SYS_futex, &m->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void push(struct fb_mailbox *m, struct fb_mail *item)
{
    struct fb_mail *head = atomic_load_explicit(&m->head, memory_order_relaxed);
    do
        item->next = head;
    while (!atomic_compare_exchange_weak(&m->head, &head, item));
    /* The consumer sleeps only on an empty queue, so only the push that ends emptiness can have
     * somebody to wake. */
    if (head == NULL)
        wake_sleeper(m);
}

enum fb_status fb_mailbox_put(struct fb_mailbox *m, struct fb_mail *item)
{
    if (atomic_fetch_add_explicit(&m->count, 1, memory_order_relaxed) >= m->limit) {
        atomic_fetch_sub_explicit(&m->count, 1, memory_order_relaxed);
        return FB_EFULL;
    }
    push(m, item);
    return FB_OK;
}

void fb_mailbox_force(struct fb_mailbox *m, struct fb_mail *item)
{
    atomic_fetch_add_explicit(&m->count, 1, memory_order_relaxed);
    push(m, item);
}

struct fb_mail *fb_mailbox_take(struct fb_mailbox *m)
{
    struct fb_mail *in, *out = NULL;
    uint32_t n = 0;

    if (atomic_load_explicit(&m->head, memory_order_relaxed) == NULL)
        return NULL;
    in = atomic_exchange(&m->head, NULL);
    while (in != NULL) {
        struct fb_mail *next = in->next;
        in->next = out;
        out = in;
        in = next;
        n++;
    }
    atomic_fetch_sub_explicit(&m->count, n, memory_order_relaxed);
    return out;
}

static void mailbox_sleep(struct fb_mailbox *m, uint64_t timeout_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                          .tv_nsec = (long)(timeout_ns % 1000000000u)};

    if (atomic_load(&m->head) == NULL && !atomic_load(&m->poked) && timeout_ns > 0) {
        atomic_store(&m->state, SLEEPING);
        /* A spurious return of the futex is a spurious return of ours: the caller looks again
         * anyway. */
        if (atomic_load(&m->head) == NULL && !atomic_load(&m->poked))
            (void)syscall(SYS_futex, &m->state, FUTEX_WAIT_PRIVATE, SLEEPING, &ts, NULL, 0);
        atomic_store(&m->state, AWAKE);
    }
    atomic_store(&m->poked, false);
}

void fb_mailbox_wait(struct fb_mailbox *m, uint64_t timeout_ns)
{
    /* never longer, so that every thread that waits here beats */
    if (timeout_ns > WAIT_NS_MAX)
        timeout_ns = WAIT_NS_MAX;
    fb_beat("waits for work");
    mailbox_sleep(m, timeout_ns);
    fb_beat("works");
}

void fb_mailbox_wake(struct fb_mailbox *m)
{
    atomic_store(&m->poked, true);
    wake_sleeper(m);
}
