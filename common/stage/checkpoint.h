/*
 * checkpoint: a task's record on the changelog as it was read: positions, what it knows of its writers, what is due.
 *
 * Errors   the record is from outside: what cannot be of this stage is ERR_FATAL that names it, and nothing is an index before it is
 *          checked (docs/adr/0003).
 * Owner    the caller frees positions.cursors, whatever was returned.
 */
#ifndef STAGE_CHECKPOINT_H
#define STAGE_CHECKPOINT_H

#include "stage/internal.h"
#include "wire/avro.h"

struct checkpoint {
    int64_t epoch;
    struct positions positions;
    int64_t low[INPUTS_MAX];
    int64_t at, marked_at;
    int64_t keys;
    int tasks;
    int layout; /* 0: of before it was said */
    char feature_set[64];
    int64_t taken[INPUTS_MAX];
    int upstream_epoch[INPUTS_MAX];
    struct due due;
};

/* `positions`, of a checkpoint or a key. False: they cannot be; what was read of them is in *ret all the same. */
bool checkpoint_positions(const struct stage *s, struct avro_reader *r, struct positions *ret);
/* What follows in a checkpoint's record: into *ret, whose epoch and positions are read, and the task's origins, in the place of those
 * that an older checkpoint said. */
enum status checkpoint_get(const struct stage *s, struct task *t, struct avro_reader *r, struct checkpoint *ret, struct error *err);
void checkpoint_forget_origins(struct task *t, size_t n_inputs);

#endif
