/* session.pml - a write that is sent again has one effect (section 15 of the protocol).
 *
 * One partition, one session of a router with two writes under way. A request may be copied by the
 * network of an old connection and arrive late, at the primary or at a node that is none. The log may
 * lose any suffix that is not committed when the primary changes; the session table is nothing but what
 * the records say, so it is on the new primary as far as the log is. A session ends by a record (expiry).
 *
 * X1  no write is in the log twice, at any moment
 * X2  a definite error was given => the write is not in the log and never will be
 * X3  success was given => the write is committed
 * X4  a write of the client is never executed under two ids
 * Must fail with: BUG_UNKNOWNEXEC a session that is not known is opened on the way by its write
 *                 BUG_VOLATILE    the table is in memory only and empty at a new primary
 *                 BUG_LOWWATER    a write below low_water is not in the table any more, so it is executed
 *                 BUG_FORGET      a result is dropped although low_water has not passed it
 *                 BUG_DEFINITE    the router believes the refusal of its last try and forgets the one before
 *                 BUG_NEWID       after SESSION_EXPIRED the router tries under a new session
 */
#ifndef COPIES
#define COPIES 4    /* requests sent or copied, in all */
#endif
#ifndef CHANGES
#define CHANGES 2   /* of the primary */
#endif
#define LOG 7
#define OPEN 7      /* the session's own records; a write is its number, 1 or 2; under a new id + 2 */
#define CLOSE 8
#define LIVE 1      /* states of a write at the router */
#define DONE 2
#define REFUSED 3
#define UNSURE 4

byte lg[LOG], lw[LOG]; /* records, and the low_water that each carried */
byte ln = 0, com = 0;
bit forgot[3];         /* BUG_FORGET, BUG_VOLATILE: not in the table though in the log */
byte st[3];            /* at the router */
byte net[3], low[3];   /* copies on their way, with the low_water of the newest */
byte copies = 0, changes = 0;
bit closed = 0;
hidden byte i;
/* results of the scans, 0 between steps */
byte twice, water;
bit known, have;

inline scan(r)
{
    i = 0; known = 0; have = 0; water = 0;
    do
    :: i < ln ->
         if :: lg[i] == OPEN -> known = 1 :: lg[i] == CLOSE -> known = 0; have = 0; water = 0 :: else fi;
         if :: lg[i] == r -> have = 1 :: else fi;
         if :: lw[i] > water -> water = lw[i] :: else fi;
         i++
    :: else -> break
    od;
    i = 0
}
/* X1, X4: number of records of write r under any id */
inline count(r)
{
    i = 0; twice = 0;
    do
    :: i < ln -> if :: lg[i] == r || lg[i] == r + 2 -> twice++ :: else fi; i++
    :: else -> break
    od;
    i = 0
}
inline append(x, w)
{
    lg[ln] = x; lw[ln] = w; ln++;
    count(1); assert(twice <= 1);
    count(2); assert(twice <= 1);
    assert(st[1] != REFUSED || x != 1);
    assert(st[2] != REFUSED || x != 2); /* X2 */
    twice = 0
}

#define SEND(r) \
    :: d_step { st[r] <= LIVE && copies < COPIES -> copies++; st[r] = LIVE; net[r]++; \
         low[r] = (st[1] >= DONE && r == 2 -> 1 : 0) }

/* an old connection's copy, or a retry overtaken by the request itself */
#define COPY(r) \
    :: d_step { net[r] > 0 && copies < COPIES -> copies++; net[r]++ }

#ifdef BUG_LOWWATER
#define STALE(r) false
#define HAVE(r) (have && r > water && !forgot[r])
#else
#define STALE(r) (r <= water)
#define HAVE(r) (have && !forgot[r])
#endif
#ifdef BUG_UNKNOWNEXEC
#define KNOWN true
#else
#define KNOWN known
#endif

/* a node that is not primary refuses, definitely */
#ifdef BUG_DEFINITE
#define REFUSE(r) \
    :: d_step { net[r] > 0 && st[r] == LIVE -> net[r]--; \
         count(r); assert(twice == 0); st[r] = REFUSED; twice = 0 }
#else
#define REFUSE(r) \
    :: d_step { net[r] == 1 && st[r] == LIVE && !taken[r] -> net[r]--; \
         count(r); assert(twice == 0); st[r] = REFUSED; twice = 0 } \
    :: d_step { net[r] > 0 && (net[r] > 1 || taken[r] || st[r] != LIVE) -> net[r]-- }
#endif
bit taken[3]; /* some copy reached a primary: the router cannot know what came of it */

#ifdef BUG_NEWID
#define EXPIRED(r) if :: ln < LOG -> append(r + 2, 0) :: else fi; st[r] = UNSURE
#else
#define EXPIRED(r) st[r] = UNSURE
#endif

/* the primary gets it */
#define RECEIVE(r) \
    :: d_step { net[r] > 0 && ln < LOG -> net[r]--; taken[r] = 1; scan(r); \
         if \
         :: !(KNOWN) -> if :: st[r] == LIVE -> EXPIRED(r) :: else fi \
         :: (KNOWN) && STALE(r) -> skip \
         :: (KNOWN) && !STALE(r) && HAVE(r) -> skip /* stored result, or attached while pending: ANSWER */ \
         :: (KNOWN) && !STALE(r) && !HAVE(r) -> append(r, low[r]) \
         fi; known = 0; have = 0; water = 0 }

/* a committed write is answered: to the one that waits, or to a later try out of the table */
#define ANSWER(r) \
    :: d_step { st[r] == LIVE && taken[r] -> \
         i = 0; have = 0; \
         do :: i < com -> if :: lg[i] == r -> have = 1 :: else fi; i++ :: else -> break od; \
         i = 0; \
         if :: have -> st[r] = DONE :: else fi; have = 0 }

#ifdef BUG_FORGET
#define FORGET(r) :: d_step { !forgot[r] -> forgot[r] = 1 }
#else
#define FORGET(r)
#endif

active proctype world()
{
    do
    :: d_step { ln == 0 -> append(OPEN, 0) }
    :: d_step { ln > 0 && !closed && ln < LOG -> closed = 1; append(CLOSE, 0) }
    SEND(1) SEND(2) COPY(1) COPY(2) REFUSE(1) REFUSE(2) RECEIVE(1) RECEIVE(2) ANSWER(1) ANSWER(2)
    FORGET(1) FORGET(2)
    /* replicated */
    :: d_step { com < ln -> com++ }
    /* another primary: what was not committed is there, or in part, or not */
    :: atomic { changes < CHANGES -> changes++;
         do
         :: ln > com -> ln--; if :: lg[ln] == CLOSE -> closed = 0 :: else fi; lg[ln] = 0; lw[ln] = 0
         :: break
         od;
#ifdef BUG_VOLATILE
         forgot[1] = 1; forgot[2] = 1
#endif
       }
    /* what the router told its client stays true */
    :: d_step { st[1] == DONE -> i = 0; have = 0;
         do :: i < com -> if :: lg[i] == 1 -> have = 1 :: else fi; i++ :: else -> break od;
         i = 0; assert(have); have = 0 } /* X3 */
    od
}
