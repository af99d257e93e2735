/*
 * forecast_metrics: how far forecasts were from what came, as forecasting literature measures it.
 *
 * Shape    truth and forecast are n values of one series, the step ahead 1 first; history is what was known when it was made.
 * Units    smape in percent, 0 to 200; mase, rmsse, wape, owa are ratios; pinball is the value's unit.
 * Scales   mase divides by the history's mean |y(t) - y(t - season)|, rmsse by its root mean (y(t) - y(t - 1))^2. Where a scale is 0
 *          or the history too short for it, NaN: such a series is in no mean.
 * Errors   none; n is at least 1.
 * Source   Hyndman, Koehler 2006 (MASE); Makridakis, Spiliotis, Assimakopoulos 2020 (sMAPE, OWA), 2022 (RMSSE).
 */
#ifndef MODEL_FORECAST_METRICS_H
#define MODEL_FORECAST_METRICS_H

#include <stddef.h>

double forecast_smape(const double *truth, const double *forecast, size_t n);
double forecast_mase(const double *truth, const double *forecast, size_t n, const double *history, size_t n_history, size_t season);
double forecast_rmsse(const double *truth, const double *forecast, size_t n, const double *history, size_t n_history);
/* Of a quantile: what lies above it costs `share`, what lies below it 1 - share. */
double forecast_pinball(double truth, double forecast, double share);
/* The mean of two ratios, to the errors of the benchmark (forecast_naive2) over the same series. */
double forecast_owa(double smape, double mase, double naive_smape, double naive_mase);

/* Sums over series and origins. Begin with zeros. */
struct forecast_sums {
    size_t n_mase, n_rmsse; /* series that have one */
    double mase, rmsse, abs_error, abs_truth;
};
/* p50: mase and wape; mean: rmsse. They may be the same. */
void forecast_sums_add(struct forecast_sums *s, const double *truth, const double *p50, const double *mean, size_t n, const double *history,
                       size_t n_history, size_t season);
/* NaN of nothing. */
double forecast_sums_mase(const struct forecast_sums *s);
double forecast_sums_wape(const struct forecast_sums *s);
double forecast_sums_rmsse(const struct forecast_sums *s);

#endif
