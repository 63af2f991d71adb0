/* Kinds of faults of PostgreSQL and of the sync processes: (name, text, percent of runs). */
#ifndef FB_TESTS_SIM_FAULTS_SYNC_H_
#define FB_TESTS_SIM_FAULTS_SYNC_H_

#define SIM_FAULT_LIST_SYNC(X)                                                                     \
    X(SIM_FAULT_PG_RESTART, "pg-restart", 40) /* kill -9 of the server, away for a while */        \
    X(SIM_FAULT_PG_KILL, "pg-kill", 40)       /* a backend ends in the middle */                   \
    X(SIM_FAULT_PG_CUT, "pg-cut", 40)         /* a line breaks before or after a request */        \
    X(SIM_FAULT_PG_COMMIT, "pg-commit", 60)   /* the answer to COMMIT is lost: done or not */      \
    X(SIM_FAULT_PG_COMMIT_LATE, "pg-commit-late", 40) /* done long after the client gave up */     \
    X(SIM_FAULT_PG_SLOW, "pg-slow", 40)               /* a statement takes seconds */              \
    X(SIM_FAULT_PG_RETRY, "pg-retry", 40)             /* serialization failures */                 \
    X(SIM_FAULT_PG_FULL, "pg-full", 20)               /* no disk space for a while */              \
    X(SIM_FAULT_PG_POISON, "pg-poison", 40)           /* a check constraint refuses some values */ \
    X(SIM_FAULT_PG_LOCK, "pg-lock", 30)               /* a table is locked for a while */          \
    X(SIM_FAULT_PG_GONE, "pg-table-gone", 30)         /* a table is renamed for a while */         \
    X(SIM_FAULT_PG_SQL, "pg-sql", 60)                 /* others change rows by SQL */              \
    X(SIM_FAULT_PG_REGRESS, "pg-regress", 40)         /* a standby takes over that lags behind */  \
    X(SIM_FAULT_SYNC_KILL, "sync-kill", 50)           /* kill -9 of a sync process */              \
    X(SIM_FAULT_SYNC_STOP, "sync-stop", 40)           /* clean stop and start */                   \
    X(SIM_FAULT_SYNC_PAUSE, "sync-pause", 50)         /* SIGSTOP for a while: a zombie afterwards */

#endif
