/* workers/train/schedule.h */
/*
 * schedule: which boundary is decided next, and which rows belong to it. Boundaries are multiples of every_ms since the
 * epoch (event time); each is decided once, in order.
 *
 *      from ---- window ---- to ---- holdout ---- holdout_to ---- label_after ---- boundary = as_of
 */
#ifndef WORKERS_TRAIN_SCHEDULE_H
#define WORKERS_TRAIN_SCHEDULE_H

#include "model/store.h"
#include "wiring/pipeline.h"

struct span {
    int64_t from_ms, to_ms, holdout_to_ms, as_of_ms, boundary_ms; /* boundary INT64_MIN: a single run */
};

struct span schedule_span(const struct stage_def *def, int64_t boundary_ms);

/* The first boundary after first_at (of the topic's first record) that has no verdict yet. */
int64_t schedule_next(const struct model_store *store, const char *model, int64_t every_ms, int64_t first_at);

#endif
