/* The shape of a log: first and last version of each of its epochs. */
#include "node/core/replica_impl.h"

bool runs_has(const struct runs *s, uint64_t ver)
{
    if (ver == 0)
        return true; /* every log begins with nothing */
    for (uint32_t i = s->n; i > 0 && s->r[i - 1].last >= ver; i--)
        if (s->r[i - 1].first <= ver)
            return true;
    return false;
}

bool runs_may_have(const struct runs *s, uint64_t ver)
{
    return ver <= s->last && (runs_has(s, ver) || s->n == 0 || ver < s->r[0].first);
}

void runs_append(struct runs *s, uint64_t ver, uint64_t prev)
{
    fb_assert(prev == s->last && ver > prev);
    if (fb_ver_epoch(ver) == fb_ver_epoch(prev)) {
        fb_assert(ver == prev + 1);
        s->last = ver;
        if (s->n > 0) {
            s->r[s->n - 1].last = ver;
            return;
        }
    }
    s->last = ver;
    if (s->n == FB_TAIL_RUNS_MAX)
        memmove(s->r, s->r + 1, --s->n * sizeof s->r[0]);
    s->r[s->n++] = (struct fb_tail_run){ver, ver};
}

void runs_cut(struct runs *s, uint64_t ver)
{
    fb_assert(ver <= s->last);
    while (s->n > 0 && s->r[s->n - 1].first > ver)
        s->n--;
    if (s->n > 0 && s->r[s->n - 1].last > ver)
        s->r[s->n - 1].last = ver;
    s->last = ver;
}

uint64_t runs_match(const struct runs *s, struct fb_bytes theirs)
{
    for (uint32_t j = fb_tail_run_count(theirs); j > 0; j--) {
        struct fb_tail_run t = fb_tail_run_at(theirs, j - 1);
        for (uint32_t i = s->n; i > 0; i--) {
            const struct fb_tail_run *m = &s->r[i - 1];
            uint64_t last = t.last < m->last ? t.last : m->last;
            if (fb_ver_epoch(m->first) == fb_ver_epoch(t.first) && last >= t.first &&
                last >= m->first)
                return last;
        }
    }
    return 0;
}
