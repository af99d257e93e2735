/* workers/train/train.h: what the loop calls: boundaries become jobs beside the loop, jobs become records in its transaction. */
#ifndef WORKERS_TRAIN_TRAIN_H
#define WORKERS_TRAIN_TRAIN_H

#include "stage/stage.h"
#include "workers/train/job.h"

enum status train_open(struct stage *s, void **ret_ctx, struct error *err);
enum status train_transform(void *ctx, struct rows *in, struct out *outs, struct error *err);
enum status train_turn(void *ctx, struct stage *s, struct error *err);
void train_progress(void *ctx, int64_t at_min);
enum status train_finish(void *ctx, struct stage *s, struct error *err);
void train_close(void *ctx);

/* The stage's definition can be trained by; ERR_FATAL says what is missing. */
enum status train_check(const struct pipeline *p, const struct stage_def *def, struct error *err);
/* Starts a job's settings from the stage's; `store` for the champion. */
void train_job(struct job *j, const struct pipeline *p, const struct stage_def *def, const struct model_store *store,
               struct booster_param *params);

/* `train PIPELINE STAGE --once ...`: the exit status. */
int once_main(int argc, char **argv);

#endif
