/* Kinds of faults of routers and clients: (name, text, percent of runs). */
#ifndef FB_TESTS_SIM_FAULTS_ROUTER_H_
#define FB_TESTS_SIM_FAULTS_ROUTER_H_

#define SIM_FAULT_LIST_ROUTER(X)

#endif
