/* common/model/forecast_metrics.c */
#include <math.h>

#include "model/forecast_metrics.h"

double forecast_smape(const double *truth, const double *forecast, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double both = fabs(truth[i]) + fabs(forecast[i]);

        sum += both > 0 ? 200 * fabs(truth[i] - forecast[i]) / both : 0; /* 0 for 0 is right */
    }
    return sum / (double)n;
}

static double abs_error(const double *truth, const double *forecast, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += fabs(truth[i] - forecast[i]);
    return sum;
}

static double ratio(double of, double to)
{
    return to > 0 ? of / to : NAN;
}

double forecast_mase(const double *truth, const double *forecast, size_t n, const double *history, size_t n_history, size_t season)
{
    double scale = n_history > season ? abs_error(history + season, history, n_history - season) / (double)(n_history - season) : 0;

    return ratio(abs_error(truth, forecast, n) / (double)n, scale);
}

static double mean_square(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum / (double)n;
}

double forecast_rmsse(const double *truth, const double *forecast, size_t n, const double *history, size_t n_history)
{
    double scale = n_history > 1 ? mean_square(history + 1, history, n_history - 1) : 0;

    return sqrt(ratio(mean_square(truth, forecast, n), scale));
}

double forecast_pinball(double truth, double forecast, double share)
{
    return truth >= forecast ? share * (truth - forecast) : (1 - share) * (forecast - truth);
}

double forecast_owa(double smape, double mase, double naive_smape, double naive_mase)
{
    return (ratio(smape, naive_smape) + ratio(mase, naive_mase)) / 2;
}

static void add(double value, double *sum, size_t *n)
{
    if (isnan(value))
        return;
    *sum += value;
    ++*n;
}

void forecast_sums_add(struct forecast_sums *s, const double *truth, const double *p50, const double *mean, size_t n, const double *history,
                       size_t n_history, size_t season)
{
    add(forecast_mase(truth, p50, n, history, n_history, season), &s->mase, &s->n_mase);
    add(forecast_rmsse(truth, mean, n, history, n_history), &s->rmsse, &s->n_rmsse);
    s->abs_error += abs_error(truth, p50, n);
    for (size_t i = 0; i < n; i++)
        s->abs_truth += fabs(truth[i]);
}

double forecast_sums_mase(const struct forecast_sums *s)
{
    return s->n_mase ? s->mase / (double)s->n_mase : NAN;
}

double forecast_sums_wape(const struct forecast_sums *s)
{
    return ratio(s->abs_error, s->abs_truth);
}

double forecast_sums_rmsse(const struct forecast_sums *s)
{
    return s->n_rmsse ? s->rmsse / (double)s->n_rmsse : NAN;
}
