/*
 * forecasts: rows and a model of forecasts in, their steps out. Pure: no clock, no broker.
 *
 * Steps    an Avro array of {step int, time long, one double an output}, the horizon's in order; the lead time's numbers stand apart.
 * Rows     as score.h: a number beyond float32 makes the row bad.
 */
#ifndef WORKERS_SCORE_FORECASTS_H
#define WORKERS_SCORE_FORECASTS_H

#include "model/forecaster.h"
#include "stage/stage.h"

struct forecasts {
    struct view *steps; /* by input row */
    double *lead;       /* by input row, n_outputs each */
    size_t n_outputs;
};

/* Room for n rows, each without a forecast. */
void forecasts_init(struct forecasts *f, size_t n, size_t n_outputs, struct arena *arena);
/* Of the chosen rows. x: as made by score_gather of the model's columns of a row. */
enum status forecasts_make(struct forecaster *model, const struct rows *in, const float *x, const uint32_t *rows, size_t n_rows,
                           struct forecasts *ret, struct error *err);

/* ERR_FATAL unless an output topic's record has the fields of a stage with these outputs, in the form in which they are written. */
enum status forecasts_check(const struct schema *to, const struct stage_def *def, struct error *err);

#endif
