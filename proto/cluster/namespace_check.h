/* Defaults and cross checks of one namespace, between reading and use. Private to proto/cluster. */
#ifndef FB_PROTO_CLUSTER_NAMESPACE_CHECK_H_
#define FB_PROTO_CLUSTER_NAMESPACE_CHECK_H_

#include "proto/cluster/namespace.h"
#include "proto/cluster/namespace_keys.h"

#define FB_NS_KEY_COLUMNS_MAX 16u

/* What was said about a namespace: line of each key, 0 = not said. */
struct fb_ns_said {
    uint32_t line; /* of the section; 0 = not in the file */
    uint32_t key_line[FB_NS_KEY_COUNT];
};

/* Told each problem: the line it is about and a sentence. */
typedef void (*fb_ns_problem_fn)(void *arg, uint32_t line, const char *what);

/* Fill what was not said with the defaults, which depend on what was. */
void fb_ns_defaults(struct fb_namespace *ns, const struct fb_ns_said *said);
/* Everything that can only be judged with the whole namespace known; call after fb_ns_defaults. */
void fb_ns_check(const struct fb_namespace *ns, const struct fb_ns_said *said,
                 fb_ns_problem_fn problem, void *arg);

/* A row must have one key only: no table twice. */
void fb_ns_check_tables(const struct fb_nsset *s, const struct fb_ns_said *said,
                        fb_ns_problem_fn problem, void *arg);

#endif
