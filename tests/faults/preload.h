/* Between the interception of calls (preload.c) and the keeping of what was synced (cut.c). */
#ifndef FB_TESTS_FAULTS_PRELOAD_H_
#define FB_TESTS_FAULTS_PRELOAD_H_

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Absolute path of an open file; false when it has none (sockets). */
bool fault_path_of(int fd, char *out, size_t cap);
void fault_path_at(int dir, const char *name, char *out, size_t cap);

/* True while this thread makes calls for itself: they get no fault and are not kept. */
extern __thread bool fault_own_calls;

/* Told after (truncates: before) the real call, for any file; those not below ROOT are ignored. */
void cut_opened(int fd);                     /* made or emptied */
void cut_wrote(int fd, off_t at, ssize_t n); /* at -1: the bytes before the file's position */
void cut_truncates(int fd, off_t n);
void cut_synced(int fd); /* file or directory */

#endif
