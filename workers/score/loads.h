/* workers/score/loads.h */
/*
 * loads: the versions of a stage's model that are in memory, each loaded at its first use.
 *
 * Refused  a version that does not load, or whose outputs are not the stage's, is there without a model: logged once, not tried again.
 * Owner    begins zeroed but for def and numbers, which are borrowed; loads_done frees. What loads_get gives lives until LOADS_MAX others
 *          were used after it.
 * Threads  one.
 */
#ifndef WORKERS_LOADS_H
#define WORKERS_LOADS_H

#include "model/forecaster.h"
#include "model/model.h"
#include "model/store.h"
#include "wiring/pipeline.h"

#define LOADS_MAX 64 /* the oldest unused gives way */

struct loaded {
    int32_t version; /* 0: none */
    struct model *model; /* NULL: refused; */
    struct forecaster *forecaster; /* or of a target */
    const struct model_record *record;
    uint64_t used;
};

struct loads {
    const struct stage_def *def;
    const struct feature_col *numbers; /* of the input: what a target's expressions speak of */
    size_t n_numbers;
    struct loaded all[LOADS_MAX];
    struct loaded *last; /* row after row has the same */
    uint64_t uses;
};

/* NULL: the store has no such version. */
const struct loaded *loads_get(struct loads *c, const struct model_store *store, int32_t version);
void loads_done(struct loads *c);

#endif
