/* replica.pml - one partition, N replicas, external CAS register (etcd) holding
 *   { epoch, primary, in-sync set of (node,incarnation), rev }.
 * Models: log replication (lossy, delayed append and ack messages), all-in-sync
 * commit, maximal in-sync set while a CAS is in flight, arbitrary (wrong)
 * suspicion => promotion at any time (also = planned hand-off), late delivery
 * of promotion notices, crash-restart that loses ANY suffix of the log and the
 * promised epoch, learner catch-up, shrink/expand, linearizable reads confirmed
 * by the in-sync set instead of by a clock.
 *
 * Checked:  A1 no committed (acked) or ever-read entry is missing from the
 *              visible prefix of any primary that has opened for service
 *           A2 a read that completes returns every entry acked or read before
 *              the read was invoked (no stale read by a deposed primary)
 *           A3 an in-sync replica never truncates below its commit watermark
 *           A4 two replicas' committed prefixes never differ
 * Bugs that can be switched on (each must give a counter-example):
 *   BUG_HWTRUNC   truncate to own commit watermark on a new epoch   (KIP-101)
 *   BUG_NOINC     a restarted node keeps its in-sync membership     (KIP-966)
 *   BUG_NOMAXISR  commit with the known set while an expand is in flight
 *   BUG_CASFORGET treat an unresolved CAS as failed
 *   BUG_LOCALREAD deposed primary answers reads without confirmation
 *   BUG_EARLYOPEN new primary serves before its inherited tail is committed
 *   BUG_DIRTY     reads expose entries that are not yet committed
 *   BUG_NOFENCE   backup accepts appends of a lower epoch
 *   BUG_ACKINC    primary counts acks / read confirmations of another incarnation
 */
#ifndef W
#define W 2      /* writes */
#endif
#ifndef MAXP
#define MAXP 2   /* promotions (fail-overs or hand-offs) */
#endif
#ifndef MAXC
#define MAXC 1   /* crashes with loss */
#endif
#ifndef MAXK
#define MAXK 2   /* in-sync set changes */
#endif
#ifndef MAXR
#define MAXR 1   /* reads */
#endif
#ifndef ISR0
#define ISR0 5   /* initial in-sync set: bit (2*node+inc): 5 = {0,1}, 21 = {0,1,2} */
#endif
#define N 3
#ifndef NODES
#define NODES 3
#endif

#define BIT(b,i)  (1 << (2*(b)+(i)))
#define ME(b)     BIT(b, inc[b])
#define BOTH(b)   (3 << (2*(b)))
#define ENT(l,k)  (((l) >> (2*(k))) & 3)          /* id (1..3) at position k */
#define KEEP(l,k) ((l) & ((1 << (2*(k))) - 1))    /* first k entries */

/* coordinator */
byte cEp = 1, cPrim = 0, cIsr = ISR0, cRev = 1;
/* replicas */
byte ep[N], inc[N], lg[N], ln[N], cmt[N], base[N];
bit  prim[N], opn[N];
byte kIsr[N], kRev[N], pIsr[N], pRev[N];    /* known set, proposed set */
byte fIsr[N], fRev[N];                      /* CAS in flight on the wire */
byte ak[18];                                /* acked length + 1, per (primary, node, inc) */
byte nEp[N], nIsr[N], nRev[N], nInc[N];     /* promotion notice for a node */
/* append p->b and ack b->p, one (overwritable) slot per pair */
byte mEp[9], mLen[9], mLg[9], mCmt[9];
byte rEp[9], rLen[9], rInc[9];
/* ghosts and budgets */
byte acked = 0, seen = 0, nextId = 1;
byte nP = 0, nC = 0, nK = 0, nR = 0;
byte rd = 0, rP = 0, rE = 0, rNeed = 0, rMust = 0, rGot = 0;

hidden byte hT, hK, hM, hS, hG;

inline ids(res, l, n) { /* set of ids in first n entries of l */
  res = 0; hT = 0;
  do :: hT < n -> res = res | (1 << ENT(l,hT)); hT++ :: else -> break od
}
inline seff(res, p) {
#ifdef BUG_NOMAXISR
  res = kIsr[p];
#else
  res = kIsr[p] | pIsr[p];
#endif
}
inline clrak(p) { ak[p*6]=0; ak[p*6+1]=0; ak[p*6+2]=0; ak[p*6+3]=0; ak[p*6+4]=0; ak[p*6+5]=0 }
inline depose(b) { clrak(b); prim[b] = 0; opn[b] = 0; pIsr[b] = 0; pRev[b] = 0; kIsr[b] = 0; kRev[b] = 0; base[b] = 0 }
inline chk1(q) { /* A1: the current primary, once open, shows everything acked or read */
  if :: prim[q] && opn[q] && ep[q] == cEp -> ids(hG, lg[q], cmt[q]); assert(((acked | seen) & ~hG) == 0) :: else fi
}
inline agree(a, b) { /* A4 */
  hM = (cmt[a] < cmt[b] -> cmt[a] : cmt[b]);
  assert(KEEP(lg[a],hM) == KEEP(lg[b],hM))
}

/* commit rule: every member of the effective in-sync set has it (run eagerly) */
#define MINI(p,x) if :: (hS & (1<<x)) && !(ME(p) & (1<<x)) -> if :: ak[p*6+x] < hM -> hM = ak[p*6+x] :: else fi :: else fi;
inline commit(p) {
  if :: prim[p] ->
       seff(hS, p); hM = ln[p] + 1;
       MINI(p,0) MINI(p,1) MINI(p,2) MINI(p,3) MINI(p,4) MINI(p,5)
       if :: hM > 0 ->
             hM--;
             if :: hM > cmt[p] -> cmt[p] = hM :: else fi;
             if :: hM >= base[p] -> opn[p] = 1; ids(hG, lg[p], cmt[p]); acked = acked | hG;
                chk1(0); chk1(1); chk1(2) :: else fi
          :: else fi
     :: else fi;
  hM = 0; hS = 0; hG = 0; hT = 0
}

#define WRITE(p) \
  :: d_step { prim[p] && opn[p] && nextId <= W && ln[p] < W -> \
       lg[p] = lg[p] | (nextId << (2*ln[p])); ln[p]++; nextId++; commit(p) }

/* something to tell b: longer log, newer epoch or newer commit than it has (cuts no-op traffic) */
#define NEWS(p,b) (ak[p*6+2*b+inc[b]] != ln[p]+1 || cmt[p] > cmt[b])
#define SEND(p,b) \
  :: atomic { prim[p] && mEp[3*p+b] == 0 && NEWS(p,b) -> \
       mEp[3*p+b] = ep[p]; mLen[3*p+b] = ln[p]; mLg[3*p+b] = lg[p]; mCmt[3*p+b] = cmt[p] }

#ifdef BUG_NOFENCE
#define STALE(p,b) false
#else
#define STALE(p,b) (mEp[3*p+b] < ep[b])
#endif

#define RECV(p,b) \
  :: d_step { mEp[3*p+b] != 0 -> \
       if :: STALE(p,b) -> skip \
          :: else -> \
             if :: mEp[3*p+b] > ep[b] -> ep[b] = mEp[3*p+b]; depose(b) :: else fi; \
             hK = 0; \
             do :: hK < ln[b] && hK < mLen[3*p+b] && ENT(lg[b],hK) == ENT(mLg[3*p+b],hK) -> hK++ \
                :: else -> break od; \
             if :: hK < ln[b] && hK < mLen[3*p+b] -> assert(hK >= cmt[b] || !(cIsr & ME(b))); /* A3 */ \
                   if :: cmt[b] > hK -> cmt[b] = hK :: else fi; \
                   lg[b] = mLg[3*p+b]; ln[b] = mLen[3*p+b] \
                :: else -> if :: mLen[3*p+b] > ln[b] -> lg[b] = mLg[3*p+b]; ln[b] = mLen[3*p+b] :: else fi \
             fi; \
             if :: mCmt[3*p+b] > cmt[b] -> cmt[b] = mCmt[3*p+b] :: else fi; \
             agree(p,b); \
             rEp[3*b+p] = mEp[3*p+b]; rLen[3*b+p] = mLen[3*p+b]; rInc[3*b+p] = inc[b] \
       fi; \
       mEp[3*p+b] = 0; mLen[3*p+b] = 0; mLg[3*p+b] = 0; mCmt[3*p+b] = 0; hK = 0; hM = 0 }

#define ACK(b,p) \
  :: d_step { rEp[3*b+p] != 0 -> \
       if :: prim[p] && rEp[3*b+p] == ep[p] -> \
             hS = p*6 + 2*b + rInc[3*b+p]; ACKANY(b,p) \
             if :: rLen[3*b+p] + 1 > ak[hS] -> ak[hS] = rLen[3*b+p] + 1 :: else fi \
          :: else fi; \
       rEp[3*b+p] = 0; rLen[3*b+p] = 0; rInc[3*b+p] = 0; hS = 0; commit(p) }
#ifdef BUG_ACKINC
#define ACKANY(b,p) if :: rLen[3*b+p] + 1 > ak[p*6+2*b] -> ak[p*6+2*b] = rLen[3*b+p] + 1 :: else fi;
#else
#define ACKANY(b,p)
#endif

#define SHRINK(p,b) \
  :: atomic { prim[p] && pIsr[p] == 0 && fIsr[p] == 0 && nK < MAXK && (kIsr[p] & BOTH(b)) -> \
       nK++; pIsr[p] = kIsr[p] & ~BOTH(b); pRev[p] = kRev[p]; fIsr[p] = pIsr[p]; fRev[p] = kRev[p] }
#define EXPAND(p,b,i) \
  :: atomic { prim[p] && opn[p] && pIsr[p] == 0 && fIsr[p] == 0 && nK < MAXK && !(kIsr[p] & BIT(b,i)) && ak[p*6+2*b+i] > cmt[p] -> \
       nK++; pIsr[p] = kIsr[p] | BIT(b,i); pRev[p] = kRev[p]; fIsr[p] = pIsr[p]; fRev[p] = kRev[p] }
/* the CAS request reaches the coordinator (maybe long after) */
#define CASX(p) \
  :: atomic { fIsr[p] != 0 -> \
       if :: cRev == fRev[p] -> cIsr = fIsr[p]; cRev++ :: else fi; fIsr[p] = 0; fRev[p] = 0 }
/* primary reads the record back */
#ifdef BUG_CASFORGET
#define RESOLVABLE(p) true
#else
#define RESOLVABLE(p) (cRev != pRev[p])
#endif
#define CASR(p) \
  :: d_step { prim[p] && pIsr[p] != 0 && RESOLVABLE(p) -> \
       if :: cEp > ep[p] -> depose(p) \
          :: else -> kIsr[p] = cIsr; kRev[p] = cRev; pIsr[p] = 0; pRev[p] = 0 fi; commit(p) }

#define PROMOTE(b) \
  :: atomic { nP < MAXP && cPrim != b && (cIsr & ME(b)) -> \
       nP++; \
       if :: cIsr = cIsr & ~BOTH(cPrim) :: skip fi; \
       cEp++; cPrim = b; cRev++; \
       nEp[b] = cEp; nIsr[b] = cIsr; nRev[b] = cRev; nInc[b] = inc[b] }
#ifdef BUG_EARLYOPEN
#define EARLY(b) opn[b] = 1; ids(hG, lg[b], cmt[b]); hG = 0; hT = 0;
#else
#define EARLY(b)
#endif
#define BECOME(b) \
  :: d_step { nEp[b] != 0 -> \
       if :: nEp[b] > ep[b] && nInc[b] == inc[b] -> \
             ep[b] = nEp[b]; prim[b] = 1; opn[b] = 0; kIsr[b] = nIsr[b]; kRev[b] = nRev[b]; \
             pIsr[b] = 0; pRev[b] = 0; base[b] = ln[b]; clrak(b); EARLY(b) commit(b) \
          :: else fi; \
       nEp[b] = 0; nIsr[b] = 0; nRev[b] = 0; nInc[b] = 0 }

#ifdef BUG_HWTRUNC
#define HWT(b) ln[b] = cmt[b]; lg[b] = KEEP(lg[b], cmt[b])
#else
#define HWT(b) skip
#endif
#define LEARN(b) \
  :: atomic { ep[b] < cEp && cPrim != b -> ep[b] = cEp; depose(b); HWT(b) }

#ifdef BUG_NOINC
#define NEWINC(b) skip
#define MAYCRASH(b) true
#else
#define NEWINC(b) inc[b] = 1
#define MAYCRASH(b) (inc[b] == 0)
#endif
#define CRASH1(b,z) \
  :: atomic { nC < MAXC && MAYCRASH(b) && z <= ln[b] -> \
       nC++; lg[b] = KEEP(lg[b], z); ln[b] = z; if :: cmt[b] > z -> cmt[b] = z :: else fi; \
       depose(b); ep[b] = 0; NEWINC(b); \
       /* messages carry the receiver's incarnation: those to the old one are void */ \
       mEp[b] = 0; mLen[b] = 0; mLg[b] = 0; mCmt[b] = 0; \
       mEp[3+b] = 0; mLen[3+b] = 0; mLg[3+b] = 0; mCmt[3+b] = 0; \
       mEp[6+b] = 0; mLen[6+b] = 0; mLg[6+b] = 0; mCmt[6+b] = 0 }
#define CRASH(b) CRASH1(b,0) CRASH1(b,1) CRASH1(b,2)

/* reads */
#ifdef BUG_DIRTY
#define VIS(p) ln[p]
#else
#define VIS(p) cmt[p]
#endif
#define RSERVE(p) \
  :: d_step { rd == 1 && prim[p] && opn[p] -> \
       ids(hG, lg[p], VIS(p)); rGot = hG; rP = p; rE = ep[p]; seff(hS, p); RNEED(p); rd = 2; hG = 0; hT = 0; hS = 0 }
#ifdef BUG_LOCALREAD
#define RNEED(p) rNeed = 0
#else
#define RNEED(p) rNeed = hS & ~ME(p)
#endif
#ifdef BUG_ACKINC
#define RBIT(b) BOTH(b)
#else
#define RBIT(b) ME(b)
#endif
/* A deposed primary's confirmation request carries its epoch; a node that has
   promised a higher epoch refuses; one that has promised less adopts it. */
#define RCONF(b) \
  :: atomic { rd == 2 && (rNeed & RBIT(b)) && ep[b] <= rE -> if :: ep[b] < rE -> ep[b] = rE; depose(b) :: else fi; rNeed = rNeed & ~RBIT(b) }

init {
  d_step {
    ep[0] = 1; ep[1] = 1; ep[2] = 1; prim[0] = 1; opn[0] = 1; kIsr[0] = ISR0; kRev[0] = 1
  };
  do
#if NODES == 3
#define THREE(x) x
#else
#define THREE(x)
#endif
  WRITE(0) WRITE(1) THREE(WRITE(2))
  SEND(0,1) SEND(1,0) THREE(SEND(0,2) SEND(1,2) SEND(2,0) SEND(2,1))
  RECV(0,1) RECV(1,0) THREE(RECV(0,2) RECV(1,2) RECV(2,0) RECV(2,1))
  ACK(0,1) ACK(1,0) THREE(ACK(0,2) ACK(1,2) ACK(2,0) ACK(2,1))
#if MAXK > 0
  SHRINK(0,1) SHRINK(1,0) THREE(SHRINK(0,2) SHRINK(1,2) SHRINK(2,0) SHRINK(2,1))
  EXPAND(0,1,0) EXPAND(1,0,0) THREE(EXPAND(0,2,0) EXPAND(1,2,0) EXPAND(2,0,0) EXPAND(2,1,0))
#if MAXC > 0
  EXPAND(0,1,1) EXPAND(1,0,1) THREE(EXPAND(0,2,1) EXPAND(1,2,1) EXPAND(2,0,1) EXPAND(2,1,1))
#endif
  CASX(0) CASX(1) THREE(CASX(2))
  CASR(0) CASR(1) THREE(CASR(2))
#endif
  PROMOTE(0) PROMOTE(1) THREE(PROMOTE(2))
  BECOME(0) BECOME(1) THREE(BECOME(2))
#if defined(LEARN_ON) || defined(BUG_HWTRUNC)
  LEARN(0) LEARN(1) THREE(LEARN(2))
#endif
#if MAXC > 0
  CRASH(0) CRASH(1) THREE(CRASH(2))
#endif
#if MAXR > 0
  :: atomic { rd == 0 && nR < MAXR -> nR++; rMust = acked | seen; rd = 1 }
  RSERVE(0) RSERVE(1) THREE(RSERVE(2))
  RCONF(0) RCONF(1) THREE(RCONF(2))
#ifdef READ_AFTER   /* variant: take the value after the confirmations, not before */
  :: atomic { rd == 2 && rNeed == 0 && prim[rP] && opn[rP] && ep[rP] == rE ->
       ids(hG, lg[rP], VIS(rP)); rGot = hG; hG = 0; hT = 0;
#else
  :: atomic { rd == 2 && rNeed == 0 ->   /* A2 */
#endif
       assert((rMust & ~rGot) == 0);
       seen = seen | rGot; rd = 0; rP = 0; rE = 0; rMust = 0; rGot = 0 }
#endif
  od
}
