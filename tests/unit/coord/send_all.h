/* All bytes into a socket; false: the other end has closed it. */
#ifndef FB_TESTS_UNIT_COORD_SEND_ALL_H_
#define FB_TESTS_UNIT_COORD_SEND_ALL_H_

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

static inline bool send_all(int fd, const char *b, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, b, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        b += sent;
        n -= (size_t)sent;
    }
    return true;
}

#endif
