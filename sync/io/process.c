/* What the threads of a sync process share. */
#include "sync/io/process.h"

#include <stdio.h>

struct fb_cluster_state *sync_process_state(struct sync_process *p)
{
    struct fb_cluster_state *s;

    pthread_mutex_lock(&p->mtx);
    s = fb_cluster_state_get(p->state);
    pthread_mutex_unlock(&p->mtx);
    return s;
}

void sync_process_db_problem(struct sync_process *p, const char *text)
{
    pthread_mutex_lock(&p->mtx);
    (void)snprintf(p->db_problem, sizeof(p->db_problem), "%s", text);
    pthread_mutex_unlock(&p->mtx);
}
