/*
 * common/model/baselines.c
 *
 * naive2, as the M4 competition's benchmark has it: a series of at least three seasons is seasonal where |r(season)| exceeds
 * 1.645 sqrt((1 + 2 sum of r(k)^2, k < season) / n). Then y = trend x index x rest, the trend a centred moving average over one season,
 * an index the mean of y / trend at its place; the forecast is the last y / index times the target's index.
 */
#include <math.h>
#include <stdbool.h>

#include "model/baselines.h"

void baseline_seasonal_naive(const double *history, size_t n, size_t season, double *ret, size_t horizon)
{
    for (size_t i = 0; i < horizon; i++)
        ret[i] = n >= season ? history[n - season + i % season] : history[n - 1];
}

/* The level after the last value. */
static double smooth(const double *y, size_t n, double weight, double *ret_squares)
{
    double level = y[0];

    *ret_squares = 0;
    for (size_t i = 1; i < n; i++) {
        double error = y[i] - level;

        *ret_squares += error * error;
        level += weight * error;
    }
    return level;
}

void baseline_smoothed_level(const double *history, size_t n, double *ret, size_t horizon)
{
    double best = INFINITY, level = history[n - 1];

    for (int percent = 1; percent < 100; percent++) {
        double squares, last = smooth(history, n, percent / 100.0, &squares);

        level = squares < best ? last : level;
        best = fmin(best, squares);
    }
    for (size_t i = 0; i < horizon; i++)
        ret[i] = level;
}

/* Autocovariance at lag k; their common divisor does not matter. */
static double covariance(const double *y, size_t n, double mean, size_t k)
{
    double sum = 0;

    for (size_t i = k; i < n; i++)
        sum += (y[i] - mean) * (y[i - k] - mean);
    return sum;
}

static bool is_seasonal(const double *y, size_t n, size_t season)
{
    double mean = 0, variance, squares = 0, r = 0;

    if (season < 2 || n < 3 * season)
        return false;
    for (size_t i = 0; i < n; i++)
        mean += y[i] / (double)n;
    variance = covariance(y, n, mean, 0);
    for (size_t k = 1; k <= season && variance > 0; k++) {
        squares += r * r; /* of the lags before k */
        r = covariance(y, n, mean, k) / variance;
    }
    return fabs(r) > 1.645 * sqrt((1 + 2 * squares) / (double)n);
}

/* The centred mean over one season; of an even one the two ends weigh half. */
static double trend(const double *y, size_t i, size_t season)
{
    size_t half = season / 2;
    double sum = 0;

    for (size_t j = i - half; j <= i + half; j++)
        sum += y[j];
    if (season % 2 == 0)
        sum -= (y[i - half] + y[i + half]) / 2;
    return sum / (double)season;
}

/* False: a place has none above 0, so nothing can be divided by it. */
static bool find_indices(const double *y, size_t n, size_t season, double *ret)
{
    for (size_t place = 0; place < season; place++) {
        size_t n_ratios = 0;

        for (size_t i = place; i + season / 2 < n; i += season) {
            if (i < season / 2)
                continue;
            ret[place] += y[i] / trend(y, i, season);
            n_ratios++;
        }
        ret[place] /= (double)n_ratios;
        if (!(ret[place] > 0) || !isfinite(ret[place]))
            return false;
    }
    return true;
}

void baseline_naive2(const double *history, size_t n, size_t season, double *ret, size_t horizon, struct arena *arena)
{
    double *index = arena_zalloc(arena, season * sizeof(*index));

    if (!is_seasonal(history, n, season) || !find_indices(history, n, season, index))
        for (size_t i = 0; i < season; i++)
            index[i] = 1;
    for (size_t i = 0; i < horizon; i++)
        ret[i] = history[n - 1] / index[(n - 1) % season] * index[(n + i) % season];
}
