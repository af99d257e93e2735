/*
 * baselines: forecasts that need no model, for a model to be measured by.
 *
 * Shape    history: what is known, n > 0 values, the latest last; ret: horizon values, step 1 first.
 * Short    fewer values than a season: seasonal naive repeats the last value.
 * Errors   none. Owner: the caller's arrays; naive2 takes memory from the arena.
 */
#ifndef MODEL_BASELINES_H
#define MODEL_BASELINES_H

#include "base/arena.h"

/* The value of the same place in the last season. */
void baseline_seasonal_naive(const double *history, size_t n, size_t season, double *ret, size_t horizon);
/* Simple exponential smoothing from the first value on; of the weights 0.01, 0.02 ... 0.99 that whose one-step squared errors in the history are least. */
void baseline_smoothed_level(const double *history, size_t n, double *ret, size_t horizon);
/* The last value, seasonally adjusted where the autocorrelation at the season is significant (90 %): the benchmark of the M competitions. */
void baseline_naive2(const double *history, size_t n, size_t season, double *ret, size_t horizon, struct arena *arena);

#endif
