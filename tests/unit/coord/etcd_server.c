/* Starts and ends etcd processes. */
#include "tests/unit/coord/etcd_server.h"

#include "proto/base/clock.h"
#include "proto/base/random.h"
#include "proto/coord/coord.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Below the range of outgoing connections, which may take a port before etcd does. */
uint16_t etcd_free_port(void)
{
    for (int i = 0; i < 200; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        uint16_t port = (uint16_t)(12000 + fb_random_u64() % 20000);
        int rc;
        at.sin_port = htons(port);
        rc = bind(fd, (struct sockaddr *)&at, sizeof(at));
        close(fd);
        if (rc == 0)
            return port;
    }
    fail_msg("no free port");
    return 0;
}

void etcd_server_run(struct etcd_server *s, unsigned m)
{
    char name[8], data[96], log[96], client[64], peer[64], cluster[256] = "";

    snprintf(name, sizeof(name), "m%u", m);
    snprintf(data, sizeof(data), "%s/%s", s->dir, name);
    snprintf(log, sizeof(log), "%s/%s.log", s->dir, name);
    snprintf(client, sizeof(client), "http://127.0.0.1:%u", s->port[m]);
    snprintf(peer, sizeof(peer), "http://127.0.0.1:%u", s->peer[m]);
    for (unsigned i = 0; i < s->members; i++)
        snprintf(cluster + strlen(cluster), sizeof(cluster) - strlen(cluster),
                 "%sm%u=http://127.0.0.1:%u", i == 0 ? "" : ",", i, s->peer[i]);
    assert_int_equal(s->pid[m], 0);
    s->pid[m] = fork();
    assert_true(s->pid[m] >= 0);
    if (s->pid[m] == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 1);
        dup2(fd, 2);
        execlp("etcd", "etcd", "--name", name, "--data-dir", data, "--listen-client-urls", client,
               "--advertise-client-urls", client, "--listen-peer-urls", peer,
               "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, "--logger",
               "zap", "--log-level", "warn", (char *)NULL);
        _exit(127);
    }
}

void etcd_server_url(const struct etcd_server *s, const char *name, char *out)
{
    size_t n = (size_t)snprintf(out, 256, "etcd://");
    for (unsigned i = 0; i < s->members; i++)
        n += (size_t)snprintf(out + n, 256 - n, "%s127.0.0.1:%u", i == 0 ? "" : ",", s->port[i]);
    snprintf(out + n, 256 - n, "/%s", name);
}

void etcd_server_wait(const struct etcd_server *s)
{
    uint64_t until = fb_mono_ns() + UINT64_C(40000000000);
    struct fb_coord *c;
    struct fb_err err;
    char url[256];

    etcd_server_url(s, "probe", url);
    while (fb_coord_open(url, true, &c, &err) != FB_OK) {
        if (fb_mono_ns() > until)
            fail_msg("etcd does not answer within 40 s: %s; see %s (Debian: etcd-server)", err.msg,
                     s->dir);
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    fb_coord_close(c);
}

void etcd_server_start(struct etcd_server *s, unsigned members)
{
    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "/tmp/fb-etcd-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    s->members = members;
    for (unsigned i = 0; i < members; i++) {
        s->port[i] = etcd_free_port();
        s->peer[i] = etcd_free_port();
    }
    for (unsigned i = 0; i < members; i++)
        etcd_server_run(s, i);
    etcd_server_wait(s);
}

void etcd_server_kill(struct etcd_server *s, unsigned m)
{
    if (s->pid[m] == 0)
        return;
    kill(s->pid[m], SIGKILL);
    waitpid(s->pid[m], NULL, 0);
    s->pid[m] = 0;
}

/* A signal is under way for a while: its threads still answer until each has taken notice. */
void etcd_server_pause(struct etcd_server *s, unsigned m)
{
    int status;
    assert_int_equal(kill(s->pid[m], SIGSTOP), 0);
    assert_int_equal(waitpid(s->pid[m], &status, WUNTRACED), s->pid[m]);
    assert_true(WIFSTOPPED(status));
}

void etcd_server_resume(struct etcd_server *s, unsigned m)
{
    assert_int_equal(kill(s->pid[m], SIGCONT), 0);
}

void etcd_server_shell(const struct etcd_server *s, const char *command)
{
    char port[8];
    int status;
    pid_t pid;

    snprintf(port, sizeof(port), "%u", s->port[0]);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/bin/sh", "sh", "-ec", command, "sh", s->dir, port, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("status %d of: %s", status, command);
}

void etcd_server_stop(struct etcd_server *s)
{
    for (unsigned i = 0; i < s->members; i++)
        etcd_server_kill(s, i);
    etcd_server_shell(s, "rm -rf -- \"$1\"");
}
