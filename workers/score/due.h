/* workers/score/due.h */
/*
 * due: which verdict of the training schedule a record must wait for.
 *
 * Boundaries are multiples of every_ms since the epoch; what is decided at B holds from B + lag_ms, so a record with
 * at >= B + lag_ms waits for B's verdict. The first one that is decided lies behind the least `at` of the whole topic: before any
 * data nobody decides. That is not what this process or this task meets first, and so the caller finds it out (`asks`).
 * Waiting ends after wait_ms of wall clock (an argument here) where the stage is live: where by the clock the next boundary's
 * verdict is not due yet. A stage that is further behind waits for as long as it takes, and for a boundary that was left out until
 * the one after it is decided: what it puts out does not depend on how long a fit takes.
 */
#ifndef WORKERS_DUE_H
#define WORKERS_DUE_H

#include "model/store.h"

struct due {
    int64_t every_ms, lag_ms, wait_ms; /* every_ms 0: nobody trains */
    int64_t begins_at;                 /* the least `at` of the topic; INT64_MIN: not known */
    bool asks;                         /* and should be: a record waits for it */
    int64_t passed;                    /* the last boundary that need not be looked at again */
    int64_t held, held_since_ms;       /* the boundary that is waited for, and since when */
};

#define DUE_NONE ((struct due){.begins_at = INT64_MIN, .passed = INT64_MIN, .held = INT64_MIN})

/* The last boundary whose verdict a record of this progress rests on. */
int64_t due_boundary(const struct due *d, int64_t at);
/* Nothing is waited for, and nobody need ask what time it is. */
bool due_is_past(const struct due *d, int64_t at_next);
/* Records with `at` at or beyond the result wait. *ret_gave_up: the wait for d->held ended now without a verdict. */
int64_t due_limit(struct due *d, const struct model_store *store, const char *model, int64_t at_next, int64_t wall_ms,
                  bool *ret_gave_up);

#endif
