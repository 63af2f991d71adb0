/* Loaded before a process of ours (LD_PRELOAD): holds a thread where a test wants it to be held.
 *
 * $FB_STALL_DIR/<thread name>   the thread stops in its next look at the clock, as if its code hung
 * $FB_STALL_DIR/fdatasync       whoever syncs a file stops in the call, as on a disk that is stuck
 *
 * Until the file is gone. Calls go by the system call, so nothing of libc is needed.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *ts);
int fdatasync(int fd);

static void hold_while(const char *name)
{
    const char *dir = getenv("FB_STALL_DIR");
    const struct timespec pause = {.tv_nsec = 5000000};
    char path[512];

    if (dir == NULL || snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return;
    while (syscall(SYS_access, path, F_OK) == 0)
        (void)syscall(SYS_nanosleep, &pause, NULL);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    char name[16] = "";

    (void)prctl(PR_GET_NAME, name);
    hold_while(name);
    return (int)syscall(SYS_clock_gettime, id, ts);
}

int fdatasync(int fd)
{
    hold_while("fdatasync");
    return (int)syscall(SYS_fdatasync, fd);
}
