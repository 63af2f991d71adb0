/* What lies under the real code of a simulated process: os_rt.c, os_file.c, os_net.c. */
#ifndef FB_TESTS_SIM_OS_H_
#define FB_TESTS_SIM_OS_H_

#include "tests/sim/fs.h"
#include "tests/sim/proc.h"

/* Before the first process of a world. */
void sim_os_world(struct sim *s);

/* The file behind a descriptor of a simulated process, its directory and its name when opened. */
struct fs_node *sim_os_file(int fd, struct fs_node **dir, const char **name);

#endif
