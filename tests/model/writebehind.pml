/* writebehind.pml - write-behind of one partition's committed, de-duplicated feed into
 * PostgreSQL by several (zombie-prone) sync sessions, PostgreSQL fail-over to an
 * asynchronous standby (regression), eviction of clean objects, read-through.
 * The partition itself is a linearizable object here (replica.pml has what is inside).
 *
 * Rule under test: one transaction = rows + "UPDATE ckpt SET ver=:new WHERE
 * ver=:prev" (row lock + compare).  No lease, no generation counter, no clock.
 *
 * S1 row version never ahead of the node       S2 latest<=ckpt => row==latest
 * S3 rows and ckpt move forward only (except at a PostgreSQL regression)
 * S4 a version is applied at most once per PostgreSQL history
 * S5 a read-through load installs only the latest committed version
 * S6 everything newer than ckpt is still resident on the node
 * Bugs: BUG_NOCAS BUG_SEPCKPT BUG_EVICT_CKPT BUG_LOADTOKEN BUG_LOADSTALE
 *       BUG_FEEDGAP (consumer moves its checkpoint past an object it did not get)
 */
#ifndef W
#define W 3
#endif
#ifndef REG
#define REG 1          /* PostgreSQL regressions */
#endif
#define K 2
#define S 2
byte latest[K], cur[K], row[K], srow[K], head = 0;
bit  res[K], ld[K]; byte lv[K], lc[K];
byte qrow[K], qckpt = 0;   /* a second standby, used only for reads, arbitrarily behind */
byte ckpt = 0, sckpt = 0, dsafe = 0, maxev = 0, lock = 0;
bit  on[S]; byte pos[S], bo[S], bv[S], tx[S];
byte applied = 0, sapplied = 0, nreg = 0;
hidden byte hO, hV;

inline inv() {
  assert(row[0] <= latest[0] && row[1] <= latest[1]);                     /* S1 */
  assert(latest[0] > ckpt || row[0] == latest[0]);                        /* S2 */
  assert(latest[1] > ckpt || row[1] == latest[1]);
  assert(latest[0] <= ckpt || res[0]); assert(latest[1] <= ckpt || res[1]) /* S6 */
}
#ifdef BUG_LOADTOKEN
#define CANCEL(o) skip
#else
#define CANCEL(o) ld[o] = 0; lv[o] = 0; lc[o] = 0
#endif
#ifdef BUG_EVICT_CKPT
#define SAFE ckpt
#else
#define SAFE dsafe
#endif
#ifdef BUG_LOADSTALE
#define LOADOK(o) true
#else
#define LOADOK(o) (lc[o] >= maxev)
#endif
#define WRITE(o) \
  :: d_step { head < W -> head++; latest[o] = head; cur[o] = head; res[o] = 1; CANCEL(o) }
#define EVICT(o) \
  :: d_step { res[o] && latest[o] > 0 && latest[o] <= SAFE -> res[o] = 0; cur[o] = 0; \
       if :: latest[o] > maxev -> maxev = latest[o] :: else fi; inv() }
#define LOAD(o) \
  :: atomic { !res[o] && !ld[o] && latest[o] > 0 -> ld[o] = 1; \
       if :: lv[o] = row[o]; lc[o] = ckpt :: lv[o] = srow[o]; lc[o] = sckpt :: lv[o] = qrow[o]; lc[o] = qckpt fi }
#define INSTALL(o) \
  :: d_step { ld[o] -> \
       if :: LOADOK(o) -> assert(lv[o] == latest[o]); /* S5 */ res[o] = 1; cur[o] = lv[o] :: else fi; \
       ld[o] = 0; lv[o] = 0; lc[o] = 0 }
#define START(s) :: d_step { !on[s] && tx[s] == 0 -> on[s] = 1; pos[s] = ckpt }
#ifdef BUG_FEEDGAP
#define PICK (hV == 0 || latest[hO] > hV)
#else
#define PICK (hV == 0 || latest[hO] < hV)
#endif
#define FEED(s) \
  :: d_step { on[s] && bv[s] == 0 && tx[s] == 0 && head > pos[s] -> \
       hV = 0; hO = 0; \
       if :: latest[hO] > pos[s] && res[hO] -> if :: PICK -> hV = latest[hO]; bo[s] = hO :: else fi :: else fi; hO = 1; \
       if :: latest[hO] > pos[s] && res[hO] -> if :: PICK -> hV = latest[hO]; bo[s] = hO :: else fi :: else fi; \
       bv[s] = hV; hO = 0; hV = 0 }
#define DROP(s) on[s] = 0; pos[s] = 0; bo[s] = 0; bv[s] = 0
#ifdef BUG_NOCAS
#define CAS(s) true
#else
#define CAS(s) (ckpt == pos[s])
#endif
#define EXEC(s) \
  :: d_step { bv[s] != 0 && tx[s] == 0 && lock == 0 -> \
       if :: CAS(s) -> lock = s + 1; tx[s] = 1 :: else -> DROP(s) fi }
#ifdef BUG_SEPCKPT
#define SETC(s) skip
#define COMMIT2(s) :: d_step { tx[s] == 2 -> if :: ckpt == pos[s] -> ckpt = bv[s]; inv() :: else fi; tx[s] = 3 }
#define TXE 3
#else
#define SETC(s) assert(bv[s] > ckpt); ckpt = bv[s] /* S3 */
#define COMMIT2(s)
#define TXE 2
#endif
#define COMMIT(s) \
  :: d_step { tx[s] == 1 -> \
       assert(bv[s] > row[bo[s]]); /* S3 */ assert((applied & (1 << bv[s])) == 0); /* S4 */ \
       applied = applied | (1 << bv[s]); row[bo[s]] = bv[s]; SETC(s); lock = 0; tx[s] = 2; inv() }
#define ABORT(s) :: d_step { tx[s] == 1 -> lock = 0; tx[s] = 0; DROP(s) }
#define ACK(s)  :: d_step { tx[s] == TXE -> pos[s] = bv[s]; bo[s] = 0; bv[s] = 0; tx[s] = 0 }
#define LOST(s) :: d_step { tx[s] >= 2 -> tx[s] = 0; DROP(s) }   /* outcome unknown: re-read ckpt */

init {
  do
  WRITE(0) WRITE(1) EVICT(0) EVICT(1) LOAD(0) LOAD(1) INSTALL(0) INSTALL(1)
  START(0) START(1) FEED(0) FEED(1) EXEC(0) EXEC(1) COMMIT(0) COMMIT(1)
  COMMIT2(0) COMMIT2(1) ABORT(0) ABORT(1) ACK(0) ACK(1) LOST(0) LOST(1)
  /* standby replays up to now; node learns the fail-over-safe checkpoint later */
  :: d_step { sckpt != ckpt || srow[0] != row[0] || srow[1] != row[1] ->
       sckpt = ckpt; srow[0] = row[0]; srow[1] = row[1]; sapplied = applied }
  :: d_step { qckpt < ckpt -> qckpt = ckpt; qrow[0] = row[0]; qrow[1] = row[1] }
  :: d_step { dsafe < sckpt -> dsafe = sckpt }
  :: d_step { nreg < REG -> nreg++;            /* fail-over to the standby */
       row[0] = srow[0]; row[1] = srow[1]; ckpt = sckpt; applied = sapplied; lock = 0;
       if :: tx[0] == 1 -> tx[0] = 0; DROP(0) :: else fi;
       if :: tx[1] == 1 -> tx[1] = 0; DROP(1) :: else fi; inv() }
  od
}
