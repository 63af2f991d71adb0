/* A connection to the process under test. */
#ifndef FB_TESTS_FUZZ_CONNECT_H_
#define FB_TESTS_FUZZ_CONNECT_H_

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

/* The fuzzer's timer interrupts calls. An interrupted connect goes on in the background. */
static bool fuzz_connect(int fd, const struct sockaddr_in *to)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t n = sizeof(error);

    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0)
        return true;
    if (errno != EINTR)
        return false;
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
}

#endif
