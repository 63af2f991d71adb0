/* A fresh store of each kind for tests that run over all back ends. */
#ifndef FB_TESTS_UNIT_COORD_BACKENDS_H_
#define FB_TESTS_UNIT_COORD_BACKENDS_H_

#include "proto/coord/coord.h"

struct place {
    bool etcd;
    char dir[64]; /* file: the parent of the store */
    char url[256];
};

/* Groups: etcd's process is started and ended. Tests: a new directory or cluster name. */
int file_setup(void **state);
int file_teardown(void **state);
int etcd_group_setup(void **state);
int etcd_group_teardown(void **state);
int etcd_setup(void **state);
int etcd_teardown(void **state);

struct fb_coord *must_open(const struct place *p);
/* The store cannot be used, for all its handles; and can be again. */
void store_away(const struct place *p);
void store_back(const struct place *p);

#endif
