/* common/stage/origin.h */
/*
 * origin: what in its writer a record of a partition stems from, and by that, whether it was there before.
 *
 * Repeats  a stage that is at_least_once writes outputs again after a fault. It takes the records of one channel of one of its
 *          inputs in their order (in which order it takes different channels may depend on the clock, where one was idle), and
 *          so writes them: within (task, input, channel) of the writer, (offset, index) rises, and a record that is not beyond the
 *          last one of its origin is a repeat, whatever it holds.
 * Shape    one cursor per origin, sorted; as many as the writer's tasks times their channels.
 * Threads  one. Pure.
 */
#ifndef STAGE_ORIGIN_H
#define STAGE_ORIGIN_H

#include <stdbool.h>

#include "base/batch.h"
#include "base/err.h"

#define ORIGIN_TASKS_MAX 65536
#define ORIGIN_COLS 5

/* As Lineage says it. */
struct origin {
    int task, input, channel; /* channel -1: not said, nothing can be judged */
    int64_t offset;
    int index;
};

/* The columns of a record that say it, all of type COL_INT, in the order in which origin_get takes them. */
extern const char *const origin_cols[ORIGIN_COLS];
/* From row 0. ERR_RECORD: no stage can have written that. */
enum status origin_get(const struct col *cols, struct origin *ret_origin, struct error *err);

struct origins {
    struct origin *last; /* of each origin, the last record that was passed */
    size_t n, cap;
};

/* True: beyond the last one of its origin, which it now is. False: a repeat. */
bool origins_pass(struct origins *all, const struct origin *o);
/* The same for one behind all others, by origin; false also where it is not. */
bool origins_next(struct origins *all, const struct origin *o);
void origins_done(struct origins *all);

/* Offsets of records that were dropped, rising. */
struct dropped {
    int64_t *offsets;
    size_t n, cap;
};

void dropped_add(struct dropped *d, int64_t offset);
bool dropped_has(const struct dropped *d, int64_t offset);
/* Forgets those below `low`. */
void dropped_trim(struct dropped *d, int64_t low);
void dropped_done(struct dropped *d);

#endif
