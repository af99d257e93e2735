/* workers/train/gate.h */
/*
 * gate: whether a trained model becomes champion, by `promote_when` over its metrics and the champion's. Pure.
 *
 * Null     what there is no number for: a metric of one class alone, the champion's where there is none, all without a holdout row. A
 *          condition that is null promotes only where there is no champion that could be compared: none at all, or one of other rows
 *          than these, which cannot go on anyway.
 */
#ifndef WORKERS_TRAIN_GATE_H
#define WORKERS_TRAIN_GATE_H

#include "model/record.h"
#include "wiring/pipeline.h"

/* has_champion: some version decides now; r->champion says whether it was compared. *ret_reason: in the arena. */
enum status gate_judge(const struct stage_def *def, const struct model_record *r, bool has_champion, struct arena *arena, bool *ret_promoted,
                       const char **ret_reason, struct error *err);

#endif
