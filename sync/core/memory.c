/* What the core holds. */
#include "sync/core/state.h"

static void of_feed(const struct feed *f, struct sync_memory *m)
{
    m->feeds += sizeof(*f);
    m->batches += f->bytes.cap + f->cap * sizeof(*f->objects);
}

void sync_core_memory(const struct sync_core *s, struct sync_memory *m)
{
    *m = (struct sync_memory){.feeds = sizeof(*s)};
    for (size_t i = 0; i < s->ns_count; i++) {
        m->feeds += sizeof(*s->ns[i]) + FB_PARTITIONS_MAX * sizeof(struct feed *);
        for (uint32_t p = 0; p < FB_PARTITIONS_MAX; p++)
            if (s->ns[i]->feeds[p] != NULL)
                of_feed(s->ns[i]->feeds[p], m);
    }
    for (uint32_t i = 0; i < s->peer_count; i++)
        if (s->peers[i] != NULL)
            m->feeds += sizeof(*s->peers[i]) + s->peers[i]->out.cap;
}
