/* Coroutines and processes (proc.h). */
#include "tests/sim/proc.h"

#include <stdlib.h>
#include <sys/mman.h>

#ifdef FB_SANITIZED
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES (512u << 10)

struct sim_coro {
    struct sim_coro *of_proc;
    struct sim_proc *proc;
    void *sp; /* where it stopped */
    void *stack;
    void (*fn)(void *arg);
    void *arg;
    uint64_t turn; /* counts its runs: an event of an earlier turn is stale */
    bool done, woken, queued;
    struct sim_waitq *in;
    struct sim_coro *next_in;
    struct sim_waitq joiners;
    void *fake_stack;
};

static void *kernel_sp;
static struct sim_coro *running;
static struct sim_proc *self;
static void *free_stacks[64];
static uint32_t free_stack_n;
#ifdef FB_SANITIZED
static void *kernel_fake_stack;
static const void *kernel_bottom;
static size_t kernel_size;
#endif

/* Saves the registers that a call keeps on the present stack, its place in *from, and goes on with
 * what was saved at `to`. ucontext does the same with a system call each time, which costs more
 * than all the rest of an event. */
void sim_switch(void **from, void *to);
#if defined(__x86_64__)
__asm__(".text\n"
        ".globl sim_switch\n"
        ".type sim_switch,@function\n"
        "sim_switch:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n"
        "    pushq %r13\n    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n"
        "    popq %r12\n    popq %rbx\n    popq %rbp\n"
        "    ret\n"
        ".size sim_switch,.-sim_switch\n");
#define SAVED_WORDS 6u
#define RETURN_WORD 6u
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl sim_switch\n"
        ".type sim_switch,@function\n"
        "sim_switch:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n    str x9, [x0]\n    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n    ret\n"
        ".size sim_switch,.-sim_switch\n");
#define SAVED_WORDS 20u
#define RETURN_WORD 11u
#else
#error "the simulator has no sim_switch for this processor: a few lines of assembler"
#endif

static void *stack_take(void)
{
    void *p;
    if (free_stack_n > 0)
        return free_stacks[--free_stack_n];
    p = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
    fb_assert(p != MAP_FAILED);
    return p;
}

static void stack_give(struct sim_coro *c)
{
    if (c->stack == NULL)
        return;
#ifdef FB_SANITIZED
    __asan_unpoison_memory_region(c->stack, STACK_BYTES);
#endif
    if (free_stack_n < FB_COUNT_OF(free_stacks))
        free_stacks[free_stack_n++] = c->stack;
    else
        munmap(c->stack, STACK_BYTES);
    c->stack = NULL;
}

/* From a coroutine to the kernel. `last`: it is never gone on with. */
static void to_kernel(struct sim_coro *c, bool last)
{
#ifdef FB_SANITIZED
    __sanitizer_start_switch_fiber(last ? NULL : &c->fake_stack, kernel_bottom, kernel_size);
#else
    (void)last;
#endif
    sim_switch(&c->sp, kernel_sp);
#ifdef FB_SANITIZED
    __sanitizer_finish_switch_fiber(c->fake_stack, &kernel_bottom, &kernel_size);
#endif
}

static void coro_main(void)
{
    struct sim_coro *c = running;
#ifdef FB_SANITIZED
    __sanitizer_finish_switch_fiber(NULL, &kernel_bottom, &kernel_size);
#endif
    c->fn(c->arg);
    c->done = true;
    sim_wake_all(&c->joiners);
    to_kernel(c, true);
    abort();
}

static void bury(struct sim_proc *p)
{
    for (struct sim_coro *c = p->coros; c != NULL; c = c->of_proc) {
        c->done = true;
        stack_give(c);
    }
    if (p->ended != NULL)
        p->ended(p, p->how, p->code);
}

static void to_coro(struct sim_coro *c)
{
    fb_assert(running == NULL);
    running = c;
    self = c->proc;
#ifdef FB_SANITIZED
    __sanitizer_start_switch_fiber(&kernel_fake_stack, c->stack, STACK_BYTES);
#endif
    sim_switch(&kernel_sp, c->sp);
#ifdef FB_SANITIZED
    __sanitizer_finish_switch_fiber(kernel_fake_stack, NULL, NULL);
#endif
    running = NULL;
    self = NULL;
    if (!c->proc->alive)
        bury(c->proc);
    else if (c->done)
        stack_give(c);
}

static void unqueue(struct sim_coro *c)
{
    struct sim_coro **at, *before = NULL;
    if (c->in == NULL)
        return;
    for (at = &c->in->head; *at != c; at = &(*at)->next_in)
        before = *at;
    *at = c->next_in;
    if (c->in->tail == c)
        c->in->tail = before;
    c->in = NULL;
}

static void resume_ev(void *arg, uint64_t turn)
{
    struct sim_coro *c = arg;
    if (!c->proc->alive || c->done || c->turn != turn)
        return;
    if (c->proc->paused) {
        sim_after(c->proc->sim, 5 * SIM_MS, resume_ev, c, turn);
        return;
    }
    c->turn++;
    if (c->in != NULL) { /* time is up before anybody woke it */
        unqueue(c);
        c->woken = false;
    }
    to_coro(c);
}

/* How long until a thread that may run does: mostly at once, sometimes others come first. */
static uint64_t jitter(struct sim *s)
{
    if (sim_chance(s, SIM_SCHED, 20000))
        return sim_spread(s, SIM_SCHED, 100 * SIM_US, 20 * SIM_MS);
    return sim_range(s, SIM_SCHED, 1000, 30000);
}

static struct sim_coro *coro_new(struct sim_proc *p, void (*fn)(void *arg), void *arg)
{
    struct sim_coro *c = fb_xcalloc(1, sizeof *c);
    c->proc = p;
    c->fn = fn;
    c->arg = arg;
    c->stack = stack_take();
    /* as sim_switch would have left it, about to return into coro_main; 8 off, as after a call */
    void **top = (void **)((char *)c->stack + STACK_BYTES) - 5;
    void **at = top - SAVED_WORDS - 1;
    memset(at, 0, (size_t)((char *)top - (char *)at));
    at[RETURN_WORD] = (void *)coro_main;
    c->sp = at;
    c->of_proc = p->coros;
    p->coros = c;
    sim_after(p->sim, jitter(p->sim), resume_ev, c, c->turn);
    return c;
}

struct main_call {
    int (*fn)(void *arg);
    void *arg;
};

static void main_coro(void *arg)
{
    struct main_call call = *(struct main_call *)arg;
    struct sim_proc *p = self;
    free(arg);
    int code = call.fn(call.arg);
    sim_proc_end(p, SIM_EXITED, code);
}

void sim_proc_start(struct sim_proc *p, int (*fn)(void *arg), void *arg)
{
    struct main_call *call = fb_xmalloc(sizeof *call);
    call->fn = fn;
    call->arg = arg;
    p->alive = true;
    p->paused = p->stop_wanted = p->reload_wanted = false;
    p->coros = NULL;
    p->net = NULL;
    p->number++;
    p->last_error[0] = 0;
    p->started_ns = sim_now_ns(p->sim);
    coro_new(p, main_coro, call);
}

void sim_proc_end(struct sim_proc *p, enum sim_death how, int code)
{
    fb_assert(p->alive);
    p->alive = false;
    p->how = how;
    p->code = code;
    if (running != NULL && running->proc == p)
        to_kernel(running, true); /* does not come back */
    fb_assert(running == NULL);
    bury(p);
}

static void power_ev(void *arg, uint64_t tag)
{
    struct sim_proc *p = arg;
    if (!p->alive || p->number != tag || sim_healed(p->sim))
        return;
    sim_trace(p->sim, "%s power loss behind it", p->name);
    sim_proc_end(p, SIM_POWER, 0);
}

void sim_proc_endanger(struct sim_proc *p, const char *danger, uint32_t per_million,
                       uint64_t within_ns)
{
    if (sim_dangerous(p->sim, danger) &&
        sim_strikes(p->sim, SIM_PROC, SIM_FAULT_NODE_POWER, per_million))
        sim_after(p->sim, sim_spread(p->sim, SIM_PROC, 10 * SIM_US, within_ns), power_ev, p,
                  p->number);
}

void sim_proc_pause(struct sim_proc *p, bool paused)
{
    p->paused = paused;
}

struct sim_proc *sim_self(void)
{
    return self;
}

struct sim_proc *sim_proc_enter(struct sim_proc *p)
{
    struct sim_proc *before = self;
    self = p;
    return before;
}

void sim_proc_leave(struct sim_proc *before)
{
    self = before;
}

bool sim_in_coro(void)
{
    return running != NULL;
}

struct sim_coro *sim_coro_start(void (*fn)(void *arg), void *arg)
{
    fb_assert(self != NULL);
    return coro_new(self, fn, arg);
}

bool sim_wait(struct sim_waitq *q, uint64_t until_ns)
{
    struct sim_coro *c = running;
    fb_assert(c != NULL);
    c->woken = true;
    c->in = q;
    c->next_in = NULL;
    if (q->tail != NULL)
        q->tail->next_in = c;
    else
        q->head = c;
    q->tail = c;
    if (until_ns != UINT64_MAX)
        sim_at(c->proc->sim, until_ns, resume_ev, c, c->turn);
    to_kernel(c, false);
    return c->woken;
}

void sim_sleep(uint64_t ns)
{
    struct sim_coro *c = running;
    fb_assert(c != NULL);
    sim_after(c->proc->sim, ns, resume_ev, c, c->turn);
    to_kernel(c, false);
}

void sim_coro_join(struct sim_coro *c)
{
    while (!c->done)
        sim_wait(&c->joiners, UINT64_MAX);
}

void sim_wake_one(struct sim_waitq *q)
{
    struct sim_coro *c;
    do { /* those of a process that is gone do not count */
        c = q->head;
        if (c == NULL)
            return;
        unqueue(c);
    } while (c->done);
    c->woken = true;
    sim_after(c->proc->sim, jitter(c->proc->sim), resume_ev, c, c->turn);
}

void sim_wake_all(struct sim_waitq *q)
{
    while (q->head != NULL)
        sim_wake_one(q);
}
