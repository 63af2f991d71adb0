/* Private etcd servers for tests: own data directory, free loopback ports, ended by pid. */
#ifndef FB_TESTS_UNIT_COORD_ETCD_SERVER_H_
#define FB_TESTS_UNIT_COORD_ETCD_SERVER_H_

#include <stdint.h>
#include <sys/types.h>

#define ETCD_MEMBERS_MAX 3

struct etcd_server {
    char dir[64]; /* below /tmp, removed at the end */
    unsigned members;
    pid_t pid[ETCD_MEMBERS_MAX]; /* 0 = does not run */
    uint16_t port[ETCD_MEMBERS_MAX], peer[ETCD_MEMBERS_MAX];
};

/* All of these fail the test when they cannot. start: 1 or 3 members, waits until they answer. */
void etcd_server_start(struct etcd_server *s, unsigned members);
void etcd_server_run(struct etcd_server *s, unsigned member); /* again, on its data */
void etcd_server_kill(struct etcd_server *s, unsigned member);
void etcd_server_pause(struct etcd_server *s, unsigned member); /* returns when all of it stands */
void etcd_server_resume(struct etcd_server *s, unsigned member);
void etcd_server_stop(struct etcd_server *s); /* all, and the directory */
/* "etcd://..." of all members and the cluster `name`. `out` has at least 256 bytes. */
void etcd_server_url(const struct etcd_server *s, const char *name, char *out);
void etcd_server_wait(const struct etcd_server *s); /* until it answers, bounded */
/* Runs a shell command with $1 = directory, $2 = first client port; its failure fails the test. */
void etcd_server_shell(const struct etcd_server *s, const char *command);
uint16_t etcd_free_port(void);

#endif
