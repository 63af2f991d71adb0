/* Resident set, heap, and what is left over. */
#include "proto/rt/memory.h"

#include "proto/rt/metrics.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct process_memory {
    uint64_t resident, shared; /* shared: pages of files, which are code and libraries */
};

static struct process_memory of_process(void)
{
    unsigned long size = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    char line[128];

    if (f != NULL) {
        if (fgets(line, sizeof(line), f) != NULL) {
            char *at = line;
            size = strtoul(at, &at, 10);
            resident = strtoul(at, &at, 10);
            shared = strtoul(at, &at, 10);
        }
        fclose(f);
    }
    (void)size;
    return (struct process_memory){.resident = resident * page, .shared = shared * page};
}

static void emit(struct fb_buf *out, const char *kind, uint64_t bytes)
{
    char labels[64];

    snprintf(labels, sizeof(labels), "kind=\"%s\"", kind);
    fb_gauge_emit(out, "memory_bytes", labels, (double)bytes);
}

/* What malloc holds free takes memory only where its pages were ever touched, and malloc does not
 * know that: at most what the resident set leaves room for. */
static uint64_t free_resident(const struct process_memory *p, uint64_t in_use, uint64_t held)
{
    uint64_t room = p->resident > p->shared + in_use ? p->resident - p->shared - in_use : 0;

    return held < room ? held : room;
}

void fb_memory_emit(struct fb_buf *out, const struct fb_memory_kind *kinds, size_t n)
{
    struct process_memory p = of_process();
    struct mallinfo2 m = mallinfo2();
    uint64_t in_use = m.uordblks + m.hblkhd, counted = fb_metrics_memory_bytes();

    fb_gauge_emit(out, "resident_memory_bytes", NULL, (double)p.resident);
    for (size_t i = 0; i < n; i++) {
        emit(out, kinds[i].kind, kinds[i].bytes);
        counted += kinds[i].bytes;
    }
    emit(out, "metrics", fb_metrics_memory_bytes());
    emit(out, "program", p.shared);
    emit(out, "allocator_free", free_resident(&p, in_use, m.fordblks));
    emit(out, "other", in_use > counted ? in_use - counted : 0);
}
