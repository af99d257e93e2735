/*
 * target: what a model of forecasts says of itself, in its record and in the pipeline file.
 *
 * Owner    whoever made it: the record's or the file's arena.
 */
#ifndef MODEL_TARGET_H
#define MODEL_TARGET_H

#include <stddef.h>
#include <stdint.h>

#define FORECAST_STEPS_MAX 1000
#define MODEL_OUTPUTS_MAX 16

struct booster_param;

struct forecast_known {
    const char *name, *expr;
};

/* What a row is forecast from and for; all that a score needs beside the boosters. */
struct forecast_def {
    const char *value; /* the field whose later values are the truth */
    int32_t horizon;   /* steps ahead */
    int64_t every_ms;  /* a step's length */
    const char *zone;  /* whose days the steps are; "": UTC */
    int32_t lead_time; /* steps whose mean is forecast besides; 0: none */
    const char *scale; /* an expression over the row that the truth is divided by; "": 1 */
    const char *offset; /* one at the target's time that is taken off before; "": 0 */
    double min;        /* no forecast is less; NaN: any number */
    struct forecast_known *known; /* columns evaluated at the target's time */
    size_t n_known;
    const char *zone_data; /* the version of the time zones' data that a model was trained with; "": its target names no zone; NULL: none was */
};

/* One number of a forecast: a booster of its own, whose bytes follow those of the output before. */
struct model_output {
    const char *name;
    struct booster_param *params; /* its own, beside the record's */
    size_t n_params;
    int32_t rounds;
    double clip; /* a truth beyond it was learnt as this; NaN: none */
    int64_t n_bytes;
    double *corrections; /* one a step, the lead time last: added before the scale is multiplied in and the offset added; none: not calibrated */
    size_t n_corrections;
};

#endif
