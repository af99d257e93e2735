/* workers/score/worker.h: what the loop calls; the models it follows, by the routing that holds for each row. */
#ifndef WORKERS_SCORE_WORKER_H
#define WORKERS_SCORE_WORKER_H

#include "stage/stage.h"

enum status worker_open(struct stage *s, void **ret_ctx, struct error *err);
enum status worker_transform(void *ctx, struct rows *in, struct out *outs, struct error *err);
enum status worker_turn(void *ctx, struct stage *s, struct error *err);
int64_t worker_limit(void *ctx, int task, int64_t at_next);
int64_t worker_waits(void *ctx, int64_t now_ms, char *ret_why, size_t cap);
void worker_close(void *ctx);

#endif
