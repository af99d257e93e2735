/*
 * forecast: one row of a series becomes one row of a model for each step ahead, the same way in training and in score.
 *
 * Shape    a row of event time t and n_features numbers gives n_steps rows of n_cols numbers: the features, the known
 *          expressions at the target's time, `step` (1 to horizon), and with a lead time `steps`, over how many the target is
 *          a mean. Step i's target is the value at t + i * every_ms; where every_ms is whole days of a zone and t is the
 *          beginning of one, at the beginning of the i-th day after it. The lead time comes last: `step` and `steps` are its length,
 *          a known expression is the mean over its steps of those that are there.
 * Scale    an expression over the row; where it is null, 0 or less, 1. Offset: one at the target's time; null is 0; of the lead
 *          time the mean over its steps. A booster learns (truth - offset) / scale.
 * Missing  a known value that is null, or beyond a float, is NaN.
 * Zones    other rules, other steps and numbers: a model that was trained with another version of the zones' data is refused.
 * Errors   forecast_new: ERR_FATAL naming the expression. Owner: forecast_free. Threads: one at a time.
 */
#ifndef MODEL_FORECAST_H
#define MODEL_FORECAST_H

#include "base/batch.h"
#include "feature/feature.h"
#include "model/record.h"

#define FORECAST_STEP "step"
#define FORECAST_STEPS "steps"
#define FORECAST_TIME "target_time"

struct forecast;

/* cols: what expressions may speak of beside `step` and `target_time`: the row's fields. features: the model's columns of a row. */
enum status forecast_new(const struct forecast_def *def, const struct feature_col *cols, size_t n_cols,
                         const char *const *features, size_t n_features, struct forecast **ret_forecast, struct error *err);
void forecast_free(struct forecast *f);

size_t forecast_n_steps(const struct forecast *f);
size_t forecast_horizon(const struct forecast *f);
size_t forecast_lead_time(const struct forecast *f); /* 0: none */
/* The model's columns. */
size_t forecast_n_cols(const struct forecast *f);
const char *const *forecast_cols(const struct forecast *f);
/* The version of the zones' data that steps and expressions rest on; "": they name no zone. */
const char *forecast_zone_data(const struct forecast *f);
/* Whether an expression needs that field of a row. */
bool forecast_needs(const struct forecast *f, const char *col);

/* ret_times: n_steps target times of a row at t, the lead time's end last. */
void forecast_times(const struct forecast *f, int64_t t, int64_t *ret_times);
/* ret_scale: one for each row of the batch. */
enum status forecast_scale(const struct forecast *f, const struct batch *in, double *ret_scale, struct error *err);
/* The n rows of the batch whose indexes are rows: x is in->n_rows x n_features, ret_x n x n_steps x n_cols, ret_offset n x n_steps. */
enum status forecast_expand(struct forecast *f, const struct batch *in, const int64_t *event_ms, const float *x,
                            const uint32_t *rows, size_t n, float *ret_x, double *ret_offset, struct error *err);

#endif
