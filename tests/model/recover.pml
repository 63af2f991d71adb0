/* recover.pml - what each level survives when whole sets die (sections 3, 7 and 8 of the protocol):
 * min_isr, last-set recovery, damaged logs, degraded service.
 *
 * Three nodes, a record {primary, in-sync set}; changes of the record are atomic here (replica.pml has
 * what can go wrong between). A node may be killed (its log stays), lose power (any suffix that was not
 * synced goes), be damaged (its log is known to be broken), or be lost for good. A restarted node is
 * another incarnation: it is in the set by name but counts for nothing until it has caught up as a
 * learner, or until last-set recovery: every node of the recorded set is back and has told what it has,
 * none is damaged, and the one with the most becomes the primary, alone.
 *
 * R1  acknowledged `replicated` => in the log of some node that is not lost, whatever one node is lost
 * R2  a primary that opens has everything acknowledged `durable`; after kills, after one lost node and
 *     after one node's power loss also everything acknowledged `replicated`
 * R3  acknowledged `local` by a degraded partition (one member, synced there) survives kills and power
 * R4  a damaged log leads nothing
 * Must fail with: BUG_MINISR      `replicated` is said while the set is one node
 *                 BUG_NOTALL      recovery although a node of the set has not come back
 *                 BUG_NOTGREATEST recovery takes any node of the set
 *                 BUG_DAMAGED     recovery does not ask for damage
 *                 BUG_KEEPINC     a restarted node is still a member
 *                 BUG_ACKEARLY    a backup acknowledges before it has written
 *                 BUG_LOCALNOSYNC a degraded partition answers before its fsync
 *                 BUG_SHRINKNOSYNC the set falls to one although what it acknowledged is not synced there:
 *                                 the others were only cut off, and one node's power loss takes it away
 *                 BUG_RECOVERNOSYNC the same after last-set recovery
 */
#ifndef W
#define W 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef POWERS
#define POWERS 1    /* nodes that lose power one by one, before or after anything */
#endif
#ifndef BLACKOUTS
#define BLACKOUTS 0 /* times all lose power at once */
#endif
#ifndef DAMAGES
#define DAMAGES 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef CHANGES
#define CHANGES 2   /* shrinks and expansions */
#endif
#define N 3
#define B(b) (1 << (b))
#define KEEP(l, k) ((l) & ((1 << (2 * (k))) - 1))
#define ENT(l, k) (((l) >> (2 * (k))) & 3)
#define ALONE(s) ((s) == 1 || (s) == 2 || (s) == 4)

byte prim = 0, isr = 7, open = 1;
byte lg[N], ln[N], syn[N], wr[N]; /* wr: written; ln may be ahead of it only with BUG_ACKEARLY */
byte ack[N];                      /* what the primary knows to be equal there, in its epoch */
byte alive = 7, valid = 7, dmg = 0, lost = 0;
byte com = 0, next = 1;
byte a_repl = 0, a_dur = 0, a_local = 0; /* ids promised */
byte kills = 0, powers = 0, blackouts = 0, damages = 0, losses = 0, changes = 0;
hidden byte h, k, m;

inline ids(res, b) { res = 0; k = 0; do :: k < ln[b] -> res = res | (1 << ENT(lg[b], k)); k++ :: else -> break od; k = 0 }

/* smallest of what the members have */
#define LEAST(b) if :: (isr & B(b)) && b != prim && ack[b] < m -> m = ack[b] :: else fi
#define LEASTSYN(b) if :: (isr & B(b)) && syn[b] < m -> m = syn[b] :: else fi
inline commit()
{
    if
    :: open ->
         m = ln[prim]; LEAST(0); LEAST(1); LEAST(2);
         if :: m > com -> com = m :: else fi;
         k = 0;
         do
         :: k < com ->
#ifdef BUG_MINISR
              a_repl = a_repl | (1 << ENT(lg[prim], k));
#else
              if :: !ALONE(isr) -> a_repl = a_repl | (1 << ENT(lg[prim], k)) :: else fi;
#endif
              k++
         :: else -> break
         od;
         m = syn[prim];
         if
         :: ALONE(isr) ->
#ifdef BUG_LOCALNOSYNC
              m = com;
#endif
              k = 0; do :: k < m && k < com -> a_local = a_local | (1 << ENT(lg[prim], k)); k++ :: else -> break od
         :: else ->
              LEASTSYN(0); LEASTSYN(1); LEASTSYN(2);
              k = 0; do :: k < m && k < com -> a_dur = a_dur | (1 << ENT(lg[prim], k)); k++ :: else -> break od
         fi;
         k = 0; m = 0
    :: else
    fi
}
inline somewhere() /* R1 */
{
    m = 0;
    if :: !(lost & 1) -> ids(h, 0); m = m | h :: else fi;
    if :: !(lost & 2) -> ids(h, 1); m = m | h :: else fi;
    if :: !(lost & 4) -> ids(h, 2); m = m | h :: else fi;
    assert((a_repl & ~m) == 0); h = 0; m = 0
}
inline leads(b) /* R2, R3, R4 */
{
    prim = b; open = 1; assert(!(dmg & B(b)));
    ids(h, b);
    assert((a_dur & ~h) == 0); assert((a_local & ~h) == 0); assert((a_repl & ~h) == 0);
    h = 0; com = 0; ack[0] = 0; ack[1] = 0; ack[2] = 0; commit()
}

#ifdef BUG_ACKEARLY
#define WRITTEN(b) :: d_step { wr[b] < ln[b] -> wr[b] = ln[b] }
#define SETW(b) skip
#else
#define WRITTEN(b)
#define SETW(b) wr[b] = ln[b]
#endif
/* an in-sync backup takes the next record (it may have a tail of its own from before: cut) */
#define COPY(b) \
    :: d_step { open && prim != b && (alive & B(b)) && (isr & B(b)) && (valid & B(b)) && \
         ack[b] < ln[prim] -> \
         k = 0; \
         do :: k < ln[b] && k < ln[prim] && ENT(lg[b], k) == ENT(lg[prim], k) -> k++ :: else -> break od; \
         if :: k < ln[prim] -> lg[b] = KEEP(lg[prim], k + 1); ln[b] = k + 1 :: else -> lg[b] = lg[prim]; ln[b] = ln[prim] fi; \
         if :: syn[b] > k -> syn[b] = k :: else fi; \
         if :: wr[b] > k -> wr[b] = k :: else fi; SETW(b); k = 0; ack[b] = ln[b]; commit() }
#define SYNC(b) :: d_step { (alive & B(b)) && syn[b] < wr[b] -> syn[b] = wr[b]; commit() }
/* a set of one holds what many had acknowledged: all it has is synced before it becomes one. Not only what
 * it knows to be committed: a new primary does not know yet how far its inherited tail was acknowledged. */
#ifdef BUG_SHRINKNOSYNC
#define MAYBEALONE(b) true
#else
#define MAYBEALONE(b) (!ALONE(isr & ~B(b)) || syn[prim] == ln[prim])
#endif
#define SHRINK(b) \
    :: d_step { open && prim != b && (isr & B(b)) && changes < CHANGES && MAYBEALONE(b) -> changes++; isr = isr & ~B(b); commit() }
/* a learner has it all (its copying is one step here) and joins */
#define EXPAND(b) \
    :: d_step { open && prim != b && !(isr & B(b)) && (alive & B(b)) && changes < CHANGES -> changes++; \
         k = 0; \
         do :: k < ln[b] && k < ln[prim] && ENT(lg[b], k) == ENT(lg[prim], k) -> k++ :: else -> break od; \
         if :: syn[b] > k -> syn[b] = k :: else fi; k = 0; \
         lg[b] = lg[prim]; ln[b] = ln[prim]; wr[b] = ln[b]; dmg = dmg & ~B(b); \
         isr = isr | B(b); valid = valid | B(b); ack[b] = ln[b]; commit() }
#define PROMOTE(b) \
    :: d_step { prim != b && !(alive & B(prim) && valid & B(prim)) && (isr & B(b)) && (valid & B(b)) && (alive & B(b)) -> leads(b) }
#define DOWN(b) alive = alive & ~B(b); if :: prim == b -> open = 0 :: else fi
#ifdef BUG_KEEPINC
#define NEWINC(b)
#else
#define NEWINC(b) valid = valid & ~B(b);
#endif
#define KILL(b) \
    :: d_step { (alive & B(b)) && kills < KILLS -> kills++; NEWINC(b) DOWN(b); \
         lg[b] = KEEP(lg[b], wr[b]); ln[b] = wr[b]; somewhere() }
#define DARK(b) NEWINC(b) DOWN(b); lg[b] = KEEP(lg[b], syn[b]); ln[b] = syn[b]; wr[b] = syn[b]
#define POWER(b) :: d_step { (alive & B(b)) && powers < POWERS -> powers++; DARK(b) }
#define RESTART(b) :: d_step { !(alive & B(b)) && !(lost & B(b)) -> alive = alive | B(b) }
#define DAMAGE(b) \
    :: d_step { !(alive & B(b)) && !(lost & B(b)) && damages < DAMAGES && ln[b] > 0 -> damages++; dmg = dmg | B(b); \
         lg[b] = 0; ln[b] = 0; wr[b] = 0; syn[b] = 0 }
#define LOSE(b) \
    :: d_step { !(lost & B(b)) && losses < LOSSES -> losses++; lost = lost | B(b); DOWN(b); valid = valid & ~B(b); \
         lg[b] = 0; ln[b] = 0; wr[b] = 0; syn[b] = 0; somewhere(); a_local = 0 }

#ifdef BUG_NOTALL
#define ALLBACK (alive & isr)
#else
#define ALLBACK ((alive & isr) == isr)
#endif
#ifdef BUG_DAMAGED
#define SOUND true
#else
#define SOUND ((dmg & isr) == 0)
#endif
#ifdef BUG_NOTGREATEST
#define GREATEST(b) true
#else
#define ATLEAST(b, o) (!(isr & alive & B(o)) || ln[b] >= ln[o])
#define GREATEST(b) (ATLEAST(b, 0) && ATLEAST(b, 1) && ATLEAST(b, 2))
#endif
#ifdef BUG_RECOVERNOSYNC
#define SYNCED(b)
#else
#define SYNCED(b) syn[b] = ln[b];
#endif
#define RECOVER(b) \
    :: d_step { (isr & valid) == 0 && ALLBACK && SOUND && (isr & B(b)) && (alive & B(b)) && GREATEST(b) -> \
         SYNCED(b) isr = B(b); valid = valid | B(b); leads(b) }

active proctype world()
{
    do
    :: d_step { open && next <= W && (alive & B(prim)) -> lg[prim] = lg[prim] | (next << (2 * ln[prim])); ln[prim]++; \
         wr[prim] = ln[prim]; next++; commit() }
    COPY(0) COPY(1) COPY(2) WRITTEN(0) WRITTEN(1) WRITTEN(2) SYNC(0) SYNC(1) SYNC(2)
    SHRINK(0) SHRINK(1) SHRINK(2) EXPAND(0) EXPAND(1) EXPAND(2) PROMOTE(0) PROMOTE(1) PROMOTE(2)
    KILL(0) KILL(1) KILL(2) RESTART(0) RESTART(1) RESTART(2) RECOVER(0) RECOVER(1) RECOVER(2)
#if POWERS > 0
    POWER(0) POWER(1) POWER(2)
#endif
#if BLACKOUTS > 0
    :: d_step { blackouts < BLACKOUTS -> blackouts++; DARK(0); DARK(1); DARK(2); a_repl = 0 } /* not promised */
#endif
#if DAMAGES > 0
    DAMAGE(0) DAMAGE(1) DAMAGE(2)
#endif
#if LOSSES > 0
    LOSE(0) LOSE(1) LOSE(2)
#endif
    od
}
