/* common/base/mutant.h */
/*
 * mutant: each safeguard that the guarantees rest on has a name, and can be left out of a build that only `make mutants`
 * makes, with -DMUTANT=<number>: the simulation must then fail. In every other build SAFE is true and costs nothing.
 *
 * What must fail without it stands in test/sim/mutants.
 */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

enum mutant {
    M_RESTORE_BOUND = 1,  /* a restore reads up to the high watermark, not to the last stable offset */
    M_RESTORE_COMMITTED,  /* and committed records alone */
    M_GENERATION_NOW,     /* a commit takes the group's generation of this moment */
    M_GENERATION_NONE,    /* and is not tried without one */
    M_STATE_FENCED,       /* nor is one of state alone: a position goes with it */
    M_PRODUCER_RENEWED,   /* after an end that may still be on its way the producer is a new one */
    M_CONSUMER_RENEWED,   /* so is a consumer that was given up, while its place in the group is ours */
    M_CAUSE_ASKED,        /* why offsets could not be sent is asked again when the transaction failed meanwhile */
    M_OUTCOME_LEARNED,    /* an outcome that is not known is read from the offsets */
    M_OFFSETS_TOGETHER,   /* offsets are committed with the outputs */
    M_POSITION,           /* at a partition's end the position is committed, not the last record's + 1 */
    M_ROLLBACK,           /* after an abort the state is restored */
    M_STALE_ABORTED,      /* a transaction of an assignment that has gone is aborted */
    M_CURSOR_SAVED,       /* a checkpoint has each channel's cursor */
    M_MARK_TAKEN,         /* a mark speaks of what was taken, not of what was fetched */
    M_REFLECTS,           /* a replay passes over what a key reflects */
    M_REPLAY_SILENT,      /* a replay puts nothing out */
    M_REPLAY_WHOLE,       /* no key is written in the middle of a replay */
    M_LOW_OLDEST,         /* `low` is what the oldest unwritten key needs */
    M_LOW_AT,             /* with the progress of what lies below it */
    M_REPLAY_AT,          /* amid a replay the replay's own */
    M_IDLE_PASSED,        /* nobody waits for an idle channel */
    M_IDLE_BEHIND,        /* a channel rests behind its pending records, not before them */
    M_AT_PENDING,         /* a checkpoint's `at` of a channel leaves out what is pending */
    M_CHANNEL_WAITED,     /* a channel that is not idle is waited for */
    M_OUTPUTS_FIRST,      /* at least once, outputs are safe before what reflects them */
    M_REPEATS_DROPPED,    /* what has come before is dropped */
    M_REPEATS_ASLEEP,     /* and wakes no idle channel */
    M_VERDICT_AWAITED,    /* a record waits for the verdict that its model rests on */
    M_VERDICT_SLOW,       /* behind the clock for as long as a fit takes */
    M_BEGINS_KNOWN,       /* where data begins is known once nobody can bring anything smaller */
    M_EPOCH_ALONE,        /* a restore leaves out what a former epoch wrote */
    M_ANEW_WHOLE,         /* a new epoch's state is built from the inputs' beginnings */
    M_ANEW_ORIGINS,       /* and with it what says which records are repeats */
    M_EPOCH_ORDER,        /* what waits in a channel waits on in its writer's new epoch */
    M_MODEL_BEFORE,       /* a model that does not load leaves the one before in place */
    M_HEARS_IN_RESTORE,   /* between two tries of a restore the loop hears of its group */
    M_NAME_LEFT,          /* who was dropped by its group joins again only where nobody else has its name */
    M_GHOST_WAITED,       /* who has its name may be nobody, and is waited for */
    M_OFFSETS_STABLE,     /* where a task begins is asked when transactions over its offsets are decided */
    M_RESTORE_DOUBTED,    /* what does not fit together a restore looks at once more */
    M_POSITIONS_KEPT      /* where a stage without state goes on stands in its changelog too */
};

#ifdef MUTANT
#define SAFE(safeguard) (MUTANT != (safeguard))
#else
#define SAFE(safeguard) true
#endif

#endif
