/* workers/train/job.h */
/*
 * job: one training: read features and labels by offset, join, fit, evaluate. Touches no loop: runs in its own thread.
 *
 * Needs    def, pipeline and the settings, which do not change; the champion's bytes, copied before.
 * Stopped  where the process is to end, it ends with its next record or round, ERR_RETRY.
 * Result   a record that lacks version, signature and creation time, and the bytes, and whether it becomes champion; or
 *          nothing_to_train; each with the reason.
 */
#ifndef WORKERS_TRAIN_JOB_H
#define WORKERS_TRAIN_JOB_H

#include "model/forecaster.h"
#include "wire/registry.h"
#include "workers/train/schedule.h"

struct job {
    const struct pipeline *pipeline;
    const struct stage_def *def;
    const char *brokers;
    const char *rows_file, *labels_file; /* in the topics' place; NULL: from Kafka */
    struct registry *registry;
    struct span span;
    const struct booster_param *params;
    size_t n_params;
    int rounds;
    struct bytes champion; /* model to compare with; empty: none */
    int32_t champion_version;
    const struct model_record *champion_record; /* of the store, which keeps it; NULL: none */

    /* the result */
    struct arena arena;
    enum status status;
    struct error err;
    bool trained, promoted;
    const char *reason; /* why not, or why it is promoted or refused */
    struct model_record record;
    struct bytes model;
    int64_t rows_all; /* in the span, before labels */
};

/* forecasts.c: what is left of a job with a target once it is described: read, fit, evaluate. */
enum status forecasts_learn(struct job *j, struct error *err);

void job_run(struct job *j);
/* As the verdict says it: "promoted", "refused", "nothing_to_train". */
const char *job_outcome(const struct job *j);
void job_done(struct job *j);

#endif
