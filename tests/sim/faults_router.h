/* Kinds of faults of routers and clients: (name, text, percent of runs). */
#ifndef FB_TESTS_SIM_FAULTS_ROUTER_H_
#define FB_TESTS_SIM_FAULTS_ROUTER_H_

#define SIM_FAULT_LIST_ROUTER(X)                                                                   \
    X(SIM_FAULT_ROUTER_KILL, "router-kill", 30)   /* with all its clients' connections */          \
    X(SIM_FAULT_ROUTER_PAUSE, "router-pause", 30) /* SIGSTOP for a while */                        \
    X(SIM_FAULT_CLIENT_GONE, "client-gone", 50)   /* in the middle of a pipeline */                \
    X(SIM_FAULT_CLIENT_SLOW, "client-slow", 30)   /* does not read its replies for a while */      \
    X(SIM_FAULT_CLIENT_AGAIN, "client-again", 50) /* sends again what it has no answer to */

#endif
