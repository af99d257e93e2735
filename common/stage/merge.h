/* common/stage/merge.h */
/*
 * merge: the records of one input partition in the order that the log itself decides.
 *
 * Shape    one first-in-first-out channel per upstream task that writes into the partition; a topic from outside
 *          is one channel. Released is the smallest (at, task, offset) once every other channel is idle or beyond it.
 * Progress of a channel comes from its records and marks. A channel nobody has heard of is waited for: how many
 *          there are (`tasks`) stands in every record and mark.
 * Owner    pending records are the caller's; the merge keeps them by value until merge_pop.
 * Threads  one. Pure: no clock; `ended` says that nothing more can come (a file's end).
 */
#ifndef STAGE_MERGE_H
#define STAGE_MERGE_H

#include "kafka/log.h"
#include "stage/mark.h"
#include "stage/origin.h"

#define CHANNEL_FOREIGN (-1) /* records that no upstream task can have written: released at once, dead-lettered */

struct pending {
    struct log_record rec;
    int task; /* channel */
    int64_t event_ms;
    int64_t at;
    struct origin origin;
    char *bad;   /* heap text: why it goes to the dead letters, or NULL */
    bool replay; /* taken before: rebuilds state only */
};

struct channel {
    int task;
    int64_t at;          /* nothing smaller comes; INT64_MIN: not heard of */
    bool idle;
    int64_t next_offset; /* one after the last taken */
    int64_t taken_at;    /* `at` of the last taken; INT64_MIN: none */
    struct pending *ring;
    size_t head, n, cap;
};

struct merge {
    struct channel *channels;
    size_t n_channels;
    int tasks; /* channels expected; 0: not known yet */
    size_t n_pending;
    bool ended;
    bool repeats; /* written at least once: what says no more than is known may be a zombie's, and wakes no idle channel */
    bool unordered; /* no channel waits for another: the log's own order */
};

void merge_init(struct merge *m, int tasks);
void merge_done(struct merge *m, void (*release)(void *ctx, struct pending *p), void *ctx);

/* The channel of an upstream task, made when new. */
struct channel *merge_channel(struct merge *m, int task);
void merge_expect(struct merge *m, int tasks);

void merge_push(struct merge *m, const struct pending *p);
void merge_mark(struct merge *m, const struct mark *mark);

/* The record to release next, or NULL; then *ret_waits_for is the task waited for (-1: there is nothing). */
struct pending *merge_head(struct merge *m, int *ret_waits_for);
/* Takes the head out; its memory is the caller's copy. */
struct pending merge_pop(struct merge *m, struct pending *head);

/* Every channel said that it rests, and nothing is pending. */
bool merge_idle(const struct merge *m);

/* The least that a channel has said, resting or not. */
int64_t merge_said(const struct merge *m);

/* No record that comes from now on has a smaller `at`; INT64_MAX: all idle or ended. INT64_MIN: not known. */
int64_t merge_at(const struct merge *m);

/* The smallest offset that is pending, or `next` when nothing is. */
int64_t merge_lowest(const struct merge *m, int64_t next);

/* Where the taken records end: one after the last of them, or the lowest below it that is pending. However much is fetched. */
int64_t merge_seen(const struct merge *m);

#endif
