/* common/stage/merge.h */
/*
 * merge: the records of one input partition in the order that the log itself decides.
 *
 * Shape    one first-in-first-out channel per upstream task that writes into the partition; a topic from outside
 *          is one channel. After each word of the log (record or mark) all that may be released is: the smallest
 *          (at, task, offset) as long as every other channel is idle or beyond it. So the order is a function of the log
 *          alone, not of how it arrives.
 * Progress of a channel comes from its records and marks. Every task of the upstream stage is waited for from the start.
 * Epochs   a channel goes on in a higher epoch where it stood; but from its first word on nobody rests any more, until it says so again.
 * Restart  merge_low is the lowest offset that is not taken, and channel.low what the channels had said before it: from there
 *          the log gives the same order again.
 * Owner    pending records are the caller's; the merge keeps them by value until merge_pop.
 * Threads  one. Pure: no clock; merge_end says that nothing more can come (a file's end).
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
    struct page *page; /* where it is decoded, in row `row`; NULL: nowhere yet */
    uint32_t row;
    bool replay; /* taken before: rebuilds state only */
    uint64_t step; /* the merge's */
};

struct pendings {
    struct pending *ring;
    size_t head, n, cap;
};

struct said {
    int64_t at; /* nothing smaller comes; INT64_MIN: not heard of */
    int64_t record_at; /* of its last record: the next is not smaller. It may be smaller than a mark: of one that was idle upstream */
    bool idle;
};

struct channel {
    int task;
    struct said now, low; /* as of the last word that was fed, and as of the lowest that is not taken */
    int64_t next_offset;  /* one after the last taken */
    struct pendings waiting;
};

/* One word of the log: what it said, and whether it is a record that is not taken yet. */
struct merge_step {
    int64_t offset, at;
    int task; /* CHANNEL_FOREIGN: says nothing */
    int epoch;
    bool idle, record, pending;
};

struct merge {
    struct channel *channels;
    size_t n_channels;
    int tasks;
    int epoch, low_epoch;
    size_t n_pending, pending_bytes; /* with what a record takes besides its key and value, about */
    bool ended;
    bool repeats; /* written at least once: what says no more than is known may be a zombie's, and wakes no idle channel */
    bool unordered; /* no channel waits for another: the log's own order */
    bool keeps_known; /* somebody asks for it */
    int64_t known;
    struct pendings ready;
    struct merge_step *steps; /* from the lowest that is not taken on; number n lies at n & (cap_steps - 1) */
    uint64_t first_step, end_step;
    size_t cap_steps;
};

void merge_init(struct merge *m, int tasks);
void merge_done(struct merge *m, void (*release)(void *ctx, struct pending *p), void *ctx);

/* The channel of an upstream task, made when new. */
struct channel *merge_channel(struct merge *m, int task);

/* The next word of the log: a record, or a mark at an offset. */
void merge_push(struct merge *m, const struct pending *p);
void merge_mark(struct merge *m, const struct mark *mark, int64_t offset);
/* Its words are those that follow. It must be higher than the present one. */
void merge_epoch(struct merge *m, int epoch);
void merge_end(struct merge *m);

/* The record to take next, or NULL. */
struct pending *merge_head(struct merge *m);
/* Takes the head out; its memory is the caller's copy. */
struct pending merge_pop(struct merge *m);

/* What the records that wait are waiting for: the task, and the first of them. False: nothing waits. */
bool merge_waits(const struct merge *m, int *ret_task, int64_t *ret_at);

/* The task that is furthest behind and does not rest, as far as it has said; -1: none. */
int merge_last(const struct merge *m);

/* Whether records that were taken before a restore are still to be taken again. */
bool merge_replays(const struct merge *m);

/* Every channel said that it rests, and nothing is pending. */
bool merge_idle(const struct merge *m);

/* The least and the most that a channel has said, resting or not. */
int64_t merge_said(const struct merge *m);
int64_t merge_furthest(const struct merge *m);

/* No record that comes from now on has a smaller `at`; INT64_MAX: all idle or ended. INT64_MIN: not known. */
int64_t merge_at(const struct merge *m);

/* The most that was known so of what comes behind any of the log's words, pending records aside: a function of the log, where it matters to
 * merge_at that channels have turned idle meanwhile. */
int64_t merge_known(const struct merge *m);

/* The smallest offset that is not taken, or `next` when all is. */
int64_t merge_low(const struct merge *m, int64_t next);

/* Where the taken records end: one after the last of them, or the lowest below it that is pending. However much is fetched. */
int64_t merge_seen(const struct merge *m);

#endif
