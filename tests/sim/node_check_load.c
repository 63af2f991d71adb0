/* I27: which answers to loads a node may believe (node_check.h). What was asked is read off the
 * frames that leave; what the answer may not miss is read off the records of the log. */
#include "tests/sim/node_check_impl.h"

#include <stdlib.h>

/* Of that key, made when there is none. */
static struct load_asked *asked_of(struct node_check *c, uint32_t ns, struct fb_bytes id, bool make)
{
    struct load_asked *a;
    for (uint32_t i = 0; i < c->load.n; i++)
        if (c->load.asked[i].ns == ns && fb_bytes_equal(fb_buf_view(&c->load.asked[i].id), id))
            return &c->load.asked[i];
    if (!make)
        return NULL;
    if (c->load.n == c->load.cap) {
        c->load.cap = c->load.cap == 0 ? 64 : c->load.cap * 2;
        c->load.asked = fb_xrealloc(c->load.asked, c->load.cap * sizeof *c->load.asked);
    }
    a = &c->load.asked[c->load.n++];
    *a = (struct load_asked){.ns = ns};
    fb_buf_put_bytes(&a->id, id);
    return a;
}

void node_check_load_end(struct node_check *c)
{
    for (uint32_t i = 0; i < c->load.n; i++)
        fb_buf_fini(&c->load.asked[i].id);
    free(c->load.asked);
    memset(&c->load, 0, sizeof c->load);
}

void node_check_load_asked(struct node_check *c, const struct fb_load_req *q)
{
    uint32_t ns = fb_nsset_find(c->namespaces, q->ns);
    struct load_asked *a;
    if (ns == UINT32_MAX || q->part >= c->partitions)
        sim_violation(c->sim, "frame", "a load of partition %u, namespace %.*s is asked for",
                      q->part, (int)q->ns.n, (const char *)q->ns.p);
    a = asked_of(c, ns, q->id, true);
    if (a->token == q->token && a->part == q->part)
        return; /* asked once more */
    a->part = q->part;
    a->token = q->token;
    a->epoch = c->parts[q->part].epoch_started;
    a->answered = false;
}

/* A write above the checkpoint that came with the row, of `key` or of any other of its namespace
 * that is not in memory any more: the row is of a time before it. */
static void check_not_older(struct node_check *c, struct lane *l, struct part *p, uint32_t ns,
                            const struct object *o, uint64_t ckpt_ver)
{
    const struct part_view *v = &c->parts[p->id];
    bool *newer = fb_xcalloc(v->keys->n + 1, sizeof *newer);
    for (uint32_t i = v->n; i > 0 && v->r[i - 1].ver > ckpt_ver; i--) {
        const struct seen *s = &v->r[i - 1];
        const struct known_key *k = s->key == 0 ? NULL : &v->keys->k[s->key - 1];
        const struct object *have;
        uint8_t ns_len;
        bool self;
        if ((s->type != FB_RECORD_PUT && s->type != FB_RECORD_DEL && s->type != FB_RECORD_EXPIRE) ||
            newer[s->key - 1])
            continue;
        newer[s->key - 1] = true;
        if (fb_nsset_of_key(c->namespaces, fb_buf_view(&k->key), &ns_len) != ns)
            continue;
        self = fb_bytes_equal(fb_buf_view(&k->key), object_key(o));
        have = store_find(l->store, fb_buf_view(&k->key), k->hash);
        if (!self && have != NULL && have->ver >= s->ver)
            continue;
        sim_violation(c->sim, "I27",
                      "partition %u: a row is installed that was read at checkpoint %u/%llu, and "
                      "\"%.*s\" %s version %u/%llu",
                      p->id, fb_ver_epoch(ckpt_ver), (unsigned long long)fb_ver_counter(ckpt_ver),
                      (int)k->key.n, (const char *)k->key.p,
                      self ? "itself was written at" : "was given to PostgreSQL and evicted at",
                      fb_ver_epoch(s->ver), (unsigned long long)fb_ver_counter(s->ver));
    }
    free(newer);
}

/* The answer that is being taken becomes `o`. */
static void check_install(struct node_check *c, struct lane *l, struct part *p,
                          const struct object *o, const struct fb_load_rep *rep)
{
    const struct part_view *v = &c->parts[p->id];
    struct fb_bytes key = object_key(o);
    uint8_t ns_len;
    uint32_t ns = fb_nsset_of_key(c->namespaces, key, &ns_len);
    struct load_asked *a = asked_of(c, ns, fb_key_id(key, ns_len), false);

    if (a == NULL || a->part != p->id || a->token != rep->token || a->answered)
        sim_violation(
            c->sim, "I27",
            "partition %u: the answer to load %llx is installed as \"%.*s\", for which %s "
            "(%llx)",
            p->id, (unsigned long long)rep->token, (int)key.n, (const char *)key.p,
            a == NULL                ? "none was asked"
            : a->token == rep->token ? "it has been taken before"
                                     : "another one was asked since",
            (unsigned long long)(a == NULL ? 0 : a->token));
    a->answered = true;
    if (a->epoch != v->epoch_started)
        sim_violation(c->sim, "I27",
                      "partition %u: the answer to a load of epoch %u is installed in epoch %u",
                      p->id, a->epoch, v->epoch_started);
    if (rep->history > v->history)
        sim_violation(c->sim, "I27",
                      "partition %u: a row of history %llu is installed, this one is %llu", p->id,
                      (unsigned long long)rep->history, (unsigned long long)v->history);
    if (o->kind != FB_KIND_NONE && !fb_bytes_equal(object_value(o), rep->value))
        sim_violation(c->sim, "I27", "partition %u: \"%.*s\" is installed with another value",
                      p->id, (int)key.n, (const char *)key.p);
    if (!p->tail.kept || p->tail.ver == v->written) /* of several copies: all is committed */
        check_not_older(c, l, p, ns, o, rep->ckpt_ver);
}

void __wrap_lane_load_reply(struct lane *l, const struct fb_load_rep *rep);
void __real_lane_load_reply(struct lane *l, const struct fb_load_rep *rep);
void __wrap_lane_load_reply(struct lane *l, const struct fb_load_rep *rep)
{
    struct node_check *c = node_check_mine();
    c->load.taking = rep;
    __real_lane_load_reply(l, rep);
    c->load.taking = NULL;
}

void __wrap_part_install(struct lane *l, struct part *p, struct object *next,
                         struct object_extra *extra, uint64_t hash);
void __real_part_install(struct lane *l, struct part *p, struct object *next,
                         struct object_extra *extra, uint64_t hash);
void __wrap_part_install(struct lane *l, struct part *p, struct object *next,
                         struct object_extra *extra, uint64_t hash)
{
    struct node_check *c = node_check_mine();
    if (c->load.taking != NULL && extra == NULL) {
        const struct fb_load_rep *rep = c->load.taking;
        c->load.taking = NULL; /* what waited for it goes on behind it */
        check_install(c, l, p, next, rep);
    }
    __real_part_install(l, p, next, extra, hash);
}
