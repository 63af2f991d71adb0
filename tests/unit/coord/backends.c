/* Fresh stores of each kind. */
#include "tests/unit/coord/backends.h"

#include "tests/unit/coord/etcd_server.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct etcd_server server;

int file_setup(void **state)
{
    struct place *p = fb_xcalloc(1, sizeof(*p));
    snprintf(p->dir, sizeof(p->dir), "/tmp/fb-coord-XXXXXX");
    if (mkdtemp(p->dir) == NULL)
        return -1;
    snprintf(p->url, sizeof(p->url), "file://%s/store", p->dir);
    *state = p;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

int file_teardown(void **state)
{
    struct place *p = *state;
    int rc = nftw(p->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(p);
    return rc;
}

int etcd_group_setup(void **state)
{
    (void)state;
    etcd_server_start(&server, 1);
    return 0;
}

int etcd_group_teardown(void **state)
{
    (void)state;
    etcd_server_stop(&server);
    return 0;
}

int etcd_setup(void **state)
{
    static unsigned number;
    struct place *p = fb_xcalloc(1, sizeof(*p));
    char name[32];

    p->etcd = true;
    snprintf(name, sizeof(name), "test-%u", ++number);
    etcd_server_url(&server, name, p->url);
    *state = p;
    return 0;
}

int etcd_teardown(void **state)
{
    free(*state);
    return 0;
}

struct fb_coord *must_open(const struct place *p)
{
    struct fb_coord *c;
    struct fb_err err;
    if (fb_coord_open(p->url, true, &c, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return c;
}

static void move(const struct place *p, const char *from, const char *to)
{
    char a[128], b[128];
    snprintf(a, sizeof(a), "%s/store/%s", p->dir, from);
    snprintf(b, sizeof(b), "%s/store/%s", p->dir, to);
    assert_int_equal(rename(a, b), 0);
}

void store_away(const struct place *p)
{
    if (p->etcd)
        etcd_server_kill(&server, 0);
    else
        move(p, "state", "gone");
}

void store_back(const struct place *p)
{
    if (p->etcd)
        etcd_server_run(&server, 0);
    else
        move(p, "gone", "state");
}
