/* Kinds of faults of PostgreSQL and of the sync processes: (name, text, percent of runs). */
#ifndef FB_TESTS_SIM_FAULTS_SYNC_H_
#define FB_TESTS_SIM_FAULTS_SYNC_H_

#define SIM_FAULT_LIST_SYNC(X)

#endif
