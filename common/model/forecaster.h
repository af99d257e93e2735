/*
 * forecaster: a loaded model of forecasts: its boosters, each checked as model.h says, and what makes their numbers a forecast.
 *
 * Finish   correction, scale, offset, least value; then the quantiles of the step are sorted, for p10 <= p50 <= p90.
 * Columns  the record's features are those of a row, then those that forecast.h adds, by these names in this order.
 * Owner    forecaster_free; record and bytes are borrowed (the bytes for the call alone). Threads: one at a time.
 * Errors   ERR_RECORD: the record or the bytes are not such a model.
 */
#ifndef MODEL_FORECASTER_H
#define MODEL_FORECASTER_H

#include "model/forecast.h"
#include "model/model.h"

struct forecaster;

/* cols as for forecast_new. tries: each booster is loaded in a child first (model_try). */
enum status forecaster_load(const struct model_record *record, struct view bytes, const struct feature_col *cols, size_t n_cols,
                            bool tries, struct forecaster **ret_forecaster, struct error *err);
void forecaster_free(struct forecaster *f);

/* How rows become the model's. */
struct forecast *forecaster_rows(const struct forecaster *f);
/* The columns of a row, without those that forecast.h adds: the first of the record's. */
size_t forecaster_n_features(const struct forecaster *f);
/* Whether all of them are evaluated by flat trees. */
bool forecaster_is_flat(const struct forecaster *f);

/* n rows as forecast_expand makes them; ret: n x the record's outputs, as the boosters say them. */
enum status forecaster_predict(struct forecaster *f, const float *rows, size_t n, double *ret, struct error *err);
/* The boosters' numbers of one step, one an output, become its forecast. */
void forecaster_finish(const struct forecaster *f, size_t step, double scale, double offset, double *values);

#endif
