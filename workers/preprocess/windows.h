/* workers/preprocess/windows.h */
/*
 * windows: a stage's tumbling windows: one row for each key and window, when it closes and for each event that comes after that.
 *
 * Pure but for the state that the loop hands over; what a window is, is in common/feature/tumbling.h.
 */
#ifndef WORKERS_PREPROCESS_WINDOWS_H
#define WORKERS_PREPROCESS_WINDOWS_H

#include "stage/stage.h"

enum status windows_transform(const struct stage_def *def, const struct topic *from, struct rows *in, struct out *outs, struct error *err);
enum status windows_close(const struct stage_def *def, const struct topic *from, struct rows *last, int64_t end_ms, size_t n, size_t *p,
                          struct out *outs, bool *ret_all, struct error *err);

#endif
