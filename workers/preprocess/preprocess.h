/* workers/preprocess/preprocess.h */
/*
 * preprocess: a stage's declared features, one output row for each good row of the emitting input; or its tumbling windows (windows.h).
 *
 * Pure but for the state that the loop hands over; everything is in common/feature.
 */
#ifndef WORKERS_PREPROCESS_H
#define WORKERS_PREPROCESS_H

#include "stage/stage.h"

enum status preprocess_open(struct stage *s, void **ret_ctx, struct error *err);
enum status preprocess_transform(void *ctx, struct rows *in, struct out *outs, struct error *err);
enum status preprocess_check(void *ctx, struct view value, struct error *err);
int64_t preprocess_due(void *ctx, int64_t after_ms);
enum status preprocess_make_due(void *ctx, struct rows *last, int64_t due_ms, size_t n, size_t *from, struct out *outs, bool *ret_all,
                                struct error *err);
void preprocess_close(void *ctx);

#endif
