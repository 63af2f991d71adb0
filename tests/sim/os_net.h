/* proto/net for simulated processes: what the world sets, and who watches what is sent. */
#ifndef FB_TESTS_SIM_OS_NET_H_
#define FB_TESTS_SIM_OS_NET_H_

#include "tests/sim/net.h"
#include "tests/sim/os.h"

/* Called with whole frames before they leave a process, and with each frame that reaches one (for
 * checkers); may be NULL. */
typedef void (*sim_sent_fn)(struct sim_proc *from, const struct sim_conn *c,
                            struct fb_bytes frames);
typedef void (*sim_received_fn)(struct sim_proc *to, const struct sim_conn *c,
                                const struct fb_frame *f);
void sim_os_net_world(struct sim_wire *w, sim_sent_fn sent, sim_received_fn received);

#endif
