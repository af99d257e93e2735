/* workers/train/read.h */
/*
 * read: a job's rows and labels from their topics, by ranges of offsets, filtered by event time; or from files in their place.
 *
 * A partition's rows are only nearly in the order of `at` (several tasks write it), so a range begins and ends
 * their stage's `drift` outside of what is wanted (reader_between).
 */
#ifndef WORKERS_TRAIN_READ_H
#define WORKERS_TRAIN_READ_H

#include "workers/train/data.h"
#include "workers/train/job.h"
#include "workers/train/series.h"

/* The least `at` of the file that is read in the topic's place; INT64_MIN: it is empty. */
enum status read_first(struct job *j, int64_t *ret_at, struct error *err);
/* Features of rows with event time in [from, holdout_to); sets j->record.lineage. */
enum status read_rows(struct job *j, struct data *d, struct error *err);
/* Rows of a target with event time in [from, holdout_to) that had come by as_of; sets j->record.lineage. */
enum status read_series(struct job *j, struct series *s, struct error *err);
/* Labels with time in [from, as_of] (a label is not older than its row); an as_of of INT64_MAX becomes the largest label time seen. */
enum status read_labels(struct job *j, struct data *d, struct error *err);

#endif
