/* Items of a frame that are for partitions of other workers: collected while it is read, handed
 * over at its end, one job a worker. */
#include "node/io/worker.h"

void worker_forward(struct worker *w, uint32_t lane, struct fb_bytes item)
{
    fb_buf_put_bytes(&w->forward[lane], item);
    w->forward_count[lane]++;
}

void worker_hand_over(struct worker *w, struct peer *p, enum job_kind kind,
                      enum fb_frame_kind frame_kind, uint64_t received_ns)
{
    for (uint32_t i = 0; i < w->node->worker_count; i++) {
        struct job *j;
        if (w->forward_count[i] == 0)
            continue;
        j = job_new(kind);
        j->frame_kind = frame_kind;
        j->received_ns = received_ns;
        j->peer = p;
        atomic_fetch_add(&p->refs, 1);
        j->items = w->forward[i];
        j->count = w->forward_count[i];
        w->forward[i] = (struct fb_buf){0};
        w->forward_count[i] = 0;
        worker_post(w->node->workers[i], j);
    }
}
