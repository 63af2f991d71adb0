/* What the threads of a sync process share. */
#include "sync/io/process.h"

#include <stdio.h>
#include <string.h>

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

bool sync_process_set_conninfo(struct sync_process *p, const char *text)
{
    bool same;

    pthread_mutex_lock(&p->mtx);
    same = p->conninfo.n > 0 && strcmp((const char *)p->conninfo.p, text) == 0;
    if (!same) {
        fb_buf_clear(&p->conninfo);
        fb_buf_put(&p->conninfo, text, strlen(text) + 1);
        atomic_fetch_add(&p->conninfo_gen, 1);
    }
    pthread_mutex_unlock(&p->mtx);
    return !same;
}

bool sync_process_conninfo_is(struct sync_process *p, const char *text)
{
    bool same;

    pthread_mutex_lock(&p->mtx);
    same = p->conninfo.n > 0 && strcmp((const char *)p->conninfo.p, text) == 0;
    pthread_mutex_unlock(&p->mtx);
    return same;
}

bool sync_process_pg(struct sync_process *p, struct pg *pg, uint64_t *gen)
{
    if (atomic_load_explicit(&p->conninfo_gen, memory_order_relaxed) == *gen)
        return false;
    pthread_mutex_lock(&p->mtx);
    pg_set_conninfo(pg, (const char *)p->conninfo.p);
    *gen = atomic_load(&p->conninfo_gen);
    pthread_mutex_unlock(&p->mtx);
    return true;
}
