/* lease.pml - reads under a lease (section 4 of the protocol, mode `lease`).
 *
 * One partition, primary A of epoch 1 and its in-sync backup B. Any time B may promote itself (epoch 2,
 * A dropped from the set); A does not hear of it unless told. Every acknowledgement of B is a promise
 * not to open a higher epoch for P ticks of B's clock, counted from the moment it was sent; A reads
 * locally for L < P ticks of its own clock, counted from the moment it SENT what was acknowledged.
 * A read copies the value first and looks at lease and epoch afterwards; A may be paused anywhere
 * between two steps, its clock goes on (CLOCK_BOOTTIME).
 *
 * Clocks: A's clock is the time of this model. B's makes at least no tick and at most one tick a tick of
 * A's, and besides one extra tick in every L ticks of A's: rates that differ by P / L at most.
 * Everything is kept as what is left or what has passed, so the model is finite without a bound on time.
 *
 * L1  a read that completes returns a version at least as new as any that was acknowledged, or returned
 *     by a read, before the read began
 * Must fail with: BUG_RATE       B's clock may make extra ticks as it likes (the manual's warning)
 *                 BUG_ACKTIME    A counts its lease from the arrival of the acknowledgement
 *                 BUG_OLDLOOK    A uses a look at the lease from before the read began (a look between
 *                                begin and copy would do, as versions only grow; after is simplest)
 *                 BUG_RESTART    B forgets its promise when it restarts and keeps its incarnation
 *                 BUG_GOODBYE    A says goodbye (so that B opens at once) and goes on reading
 */
#define L 3 /* what A believes, in ticks of A */
#define P 4 /* what B promised, in ticks of B */
#ifndef W
#define W 2 /* writes of B after it opened */
#endif

byte sent = 0;    /* 0 = no append on its way, else ticks of A since it was sent, plus 1 */
byte acked = 0;   /* the same for the acknowledgement on its way back */
byte lease = 0;   /* ticks of A left */
byte promise = 0; /* ticks of B left */
byte since = L;   /* ticks of A since B's last extra tick, at most L */
bit a_primary = 1, b_primary = 0, b_open = 0;
bit goodbye = 0;  /* A's message on its way */
bit restarted = 0;
byte b_ver = 1;   /* committed at B; A's copy stays at 1 */
byte told = 1;    /* newest version acknowledged to a client, or returned by a read */
byte reading = 0; /* 0 = none, 1 = begun, 2 = copied */
bit looked = 0;   /* BUG_OLDLOOK */
byte must = 0;    /* what the read under way has to return at least */

#define OLDER(x) if :: x > 0 && x <= L + 1 -> x++ :: else fi
#define LESS(x) if :: x > 0 -> x-- :: else fi

active proctype world()
{
    do
    /* time */
    :: d_step { OLDER(sent); OLDER(acked); LESS(lease); if :: since < L -> since++ :: else fi }
    :: d_step { OLDER(sent); OLDER(acked); LESS(lease); if :: since < L -> since++ :: else fi; LESS(promise) }
#ifdef BUG_RATE
    :: d_step { promise > 0 -> promise-- }
#else
    :: d_step { promise > 0 && since == L -> promise--; since = 0 }
#endif

    /* heartbeats */
    :: d_step { a_primary && sent == 0 && acked == 0 -> sent = 1 }
    :: d_step { sent > 0 && !b_primary -> acked = sent; sent = 0; promise = P }
    :: d_step { sent > 0 -> sent = 0 } /* lost, or refused: B is of a higher epoch */
    :: d_step { acked > 0 && a_primary ->
#ifdef BUG_ACKTIME
         lease = L;
#else
         if :: L + 1 > acked && L + 1 - acked > lease -> lease = L + 1 - acked :: else fi;
#endif
         acked = 0 }
    :: d_step { acked > 0 -> acked = 0 }

    /* B takes over; A may hear of it or not */
    :: d_step { !b_primary -> b_primary = 1 }
    :: d_step { b_primary && !b_open && promise == 0 -> b_open = 1 }
    :: d_step { b_primary && a_primary -> a_primary = 0; lease = 0 }
    /* B restarts: with its incarnation kept that counts as a promise made at this moment */
    :: d_step { !restarted && !b_primary -> restarted = 1;
#ifdef BUG_RESTART
         promise = 0
#else
         promise = P
#endif
       }
    /* a planned hand-over: A reads no more from the moment it says so */
    :: d_step { a_primary && !goodbye -> goodbye = 1;
#ifndef BUG_GOODBYE
         a_primary = 0; lease = 0
#endif
       }
    :: d_step { goodbye && b_primary && !b_open -> promise = 0; b_open = 1 }

    /* clients */
    :: d_step { b_open && b_ver <= W -> b_ver++; told = b_ver }
    :: d_step { reading == 0 -> reading = 1; must = told }
#ifdef BUG_OLDLOOK
    :: d_step { a_primary && lease > 0 -> looked = 1 }
    :: d_step { reading == 1 && looked -> assert(must <= 1); reading = 0; must = 0; looked = 0 }
#else
    :: d_step { reading == 1 && a_primary -> reading = 2 }
    :: d_step { reading == 2 && a_primary && lease > 0 -> assert(must <= 1); reading = 0; must = 0 } /* L1 */
    :: d_step { reading == 2 -> reading = 1 } /* no lease: another way (`confirmed`), or again */
#endif
    :: d_step { reading == 1 && b_open -> assert(must <= b_ver); reading = 0; must = 0 }
    od
}
