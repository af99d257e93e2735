/*
 * cli/backtest.h: what a pipeline's forecasts were worth, by what came afterwards.
 *
 * Shape    a series is a key's values in order of time, as they were last corrected. An origin is a moment; the rows before it, back to
 *          origin - span, are judged: for each key the forecast that its row made, step by step, by the values that came.
 * Baseline seasonal naive and a smoothed level, of the same values up to the same row.
 * Owner    everything lies in one arena, until backtest_done.
 */
#ifndef CLI_BACKTEST_H
#define CLI_BACKTEST_H

#include "base/arena.h"
#include "model/forecast_metrics.h"
#include "wiring/pipeline.h"

#define BACKTEST_OUTPUTS_MAX 16

struct backtest_series {
    const char *key;
    int64_t *times; /* ascending */
    double *values;
    size_t n, cap;
    size_t last_row; /* of those that are judged: 1 + its place; 0: none */
};

/* A row's forecast. */
struct backtest_row {
    size_t series, origin;
    size_t before; /* the series' row that was read before it, as last_row */
    int64_t time;
    int64_t *times; /* n_steps */
    double *values; /* n_cells x n_outputs */
};

struct backtest {
    struct arena arena;
    const struct stage_def *score;
    const char *key, *value, *time; /* fields of the rows */
    double shares[BACKTEST_OUTPUTS_MAX]; /* of the outputs that are quantiles; NaN: none */
    size_t n_outputs, n_steps, mean, median; /* which output is the mean, which the median */
    size_t lead_time, n_cells;               /* steps that are summed up, 0: none; the steps, and behind them the lead time's sum */
    struct backtest_series *series;
    size_t n_series, cap_series;
    struct backtest_row *rows;
    size_t n_rows, cap_rows;
    int64_t last_ms;     /* the latest row */
    int64_t *origins_ms; /* descending */
    size_t n_origins;
    size_t season; /* rows */
    int64_t span_ms;
    size_t found; /* the series of the last row that was read */
};

/* How a method did: over all rows that were judged. */
struct backtest_method {
    struct forecast_sums sums;
    double smape; /* a sum over rows */
};

struct backtest_result {
    struct backtest_method forecast, naive, level, naive2;
    size_t n, n_values; /* rows that were judged, and their values */
    size_t n_unjudged;  /* rows without a forecast, or whose values had not all come */
    /* a cell x output */
    size_t *n_at, *n_at_or_below, *n_inside, *n_inside_of; /* inside: between the outermost quantiles, where its phase of the season is not mostly zero */
    double *pinball;
};

/* backtest_read.c: the values, from the rows that are forecast; then those rows with their forecasts that are judged. */
enum status backtest_read_values(struct backtest *b, const char *path, const struct topic *t, struct error *err);
enum status backtest_read_rows(struct backtest *b, const char *path, const struct topic *t, int64_t span_ms, struct error *err);
/* The place of a time in a series; SIZE_MAX: not there. */
size_t backtest_find(const struct backtest_series *s, int64_t time);
/* backtest_judge.c */
void backtest_judge(struct backtest *b, struct backtest_result *ret);
/* backtest_print.c: tables, or figures as JSON. */
void backtest_print(const struct backtest *b, const struct backtest_result *r);
void backtest_print_json(const struct backtest *b, const struct backtest_result *r);
/* backtest_picture.c: the series with most units, at the last origin. */
enum status backtest_picture(const struct backtest *b, const char *path, struct error *err);
void backtest_done(struct backtest *b);

#endif
