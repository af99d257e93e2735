/* common/stage/finite.h */
/*
 * finite: what the logs share that have an end, files and replays: every task is theirs from the beginning, nothing is
 * restored, and no position is kept.
 *
 * Owner    a part of the log, its first member; finite_done frees what it holds.
 */
#ifndef STAGE_FINITE_H
#define STAGE_FINITE_H

#include "stage/internal.h"

struct finite {
    struct log log; /* first: a struct log * is this */
    struct stage *stage;
    int *tasks;
    bool assigned;
    bool moved;   /* a record was released since the last take */
    bool stalled; /* nothing moves, for what is waited for lies behind what is paused */
    struct {
        bool ended;
        int n_told; /* partitions that were told of the end */
        int n_paused;
    } in[INPUTS_MAX];
};

void finite_init(struct finite *f, struct stage *s, const struct log_ops *ops);
void finite_done(struct finite *f);
/* Begins a take; the first says who is assigned. */
void finite_take(struct finite *f, struct log_assignment *ret);
/* For each record that is given back. */
void finite_moved(struct finite *f);
/* Whether records of the input are wanted now. A file's partitions cannot be paused one by one: so that two inputs do not wait
 * for each other, both are read on, up to the loop's limit, when nothing moves. */
bool finite_open(const struct finite *f, size_t input);
/* Whether a partition of the ended input is still to be told; then ret is that word, but for its offset. */
bool finite_next_end(struct finite *f, size_t input, struct log_record *ret);

enum status finite_committed(struct log *log, int task, struct log_position *ret, struct error *err);
enum status finite_seek(struct log *log, int input, int partition, int64_t offset, struct error *err);
enum status finite_pause(struct log *log, int input, int partition, bool paused, struct error *err);
enum status finite_abort(struct log *log, struct error *err);
enum status finite_restore(struct log *log, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                           struct error *err);

#endif
