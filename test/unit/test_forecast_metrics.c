/* test/unit/test_forecast_metrics.c: against figures worked out by hand, and a benchmark computed another way. */
#include "base/rand.h"
#include "model/baselines.h"
#include "model/forecast_metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * (1 + fabs(want))))
        fail_msg("want %.17g, got %.17g", want, got);
}

static void errors_are_as_worked_out_by_hand(void **state)
{
    static const double history[] = {10, 20, 12, 26}, truth[] = {10, 30, 0}, forecast[] = {12, 24, 0};

    (void)state;
    near(forecast_smape(truth, forecast, 3), (200.0 * 2 / 22 + 200.0 * 6 / 54 + 0) / 3);
    near(forecast_mase(truth, forecast, 3, history, 4, 2), (8.0 / 3) / ((2 + 6) / 2.0));
    near(forecast_mase(truth, forecast, 3, history, 4, 1), (8.0 / 3) / ((10 + 8 + 14) / 3.0));
    near(forecast_rmsse(truth, forecast, 3, history, 4), sqrt((40.0 / 3) / ((100 + 64 + 196) / 3.0)));
    near(forecast_pinball(10, 6, 0.9), 3.6);
    near(forecast_pinball(6, 10, 0.9), 0.4);
    assert_true(fabs(forecast_owa(13.912, 1.193, 18.383, 2.395) - 0.627) < 0.0005); /* as published of seasonal naive at hourly */
}

static void a_history_without_a_scale_has_no_scaled_error(void **state)
{
    static const double flat[] = {3, 3, 3}, truth[] = {1}, forecast[] = {2};
    struct forecast_sums sums = {0};

    (void)state;
    assert_true(isnan(forecast_mase(truth, forecast, 1, flat, 3, 1)) && isnan(forecast_mase(truth, forecast, 1, flat, 3, 3)));
    assert_true(isnan(forecast_rmsse(truth, forecast, 1, flat, 3)) && isnan(forecast_rmsse(truth, forecast, 1, flat, 1)));
    assert_true(isnan(forecast_sums_mase(&sums)) && isnan(forecast_sums_wape(&sums)) && isnan(forecast_sums_rmsse(&sums)));
    forecast_sums_add(&sums, truth, forecast, forecast, 1, flat, 3, 1);
    assert_true(isnan(forecast_sums_mase(&sums)) && isnan(forecast_sums_rmsse(&sums)));
    near(forecast_sums_wape(&sums), 1);
}

static void scaled_errors_are_means_over_series_wape_is_of_all(void **state)
{
    static const double history[] = {0, 4, 0, 4}, small[] = {1, 1}, large[] = {10, 20}, p50[] = {2, 2}, mean[] = {9, 17};
    struct forecast_sums sums = {0};

    (void)state;
    forecast_sums_add(&sums, small, p50, small, 2, history, 4, 1);
    forecast_sums_add(&sums, large, p50, mean, 2, history, 4, 1);
    near(forecast_sums_mase(&sums), (1.0 / 4 + 13.0 / 4) / 2);
    near(forecast_sums_wape(&sums), (2 + 26) / 32.0);
    near(forecast_sums_rmsse(&sums), (0 + sqrt(5.0 / 16)) / 2);
}

static void naive_and_level_repeat_what_they_should(void **state)
{
    static const double history[] = {9, 1, 2, 3}, constant[] = {5, 5, 5}, step[] = {0, 0, 0, 8, 8, 8, 8, 8, 8, 8};
    double f[5];

    (void)state;
    baseline_seasonal_naive(history, 4, 3, f, 5);
    assert_true(f[0] == 1 && f[1] == 2 && f[2] == 3 && f[3] == 1 && f[4] == 2);
    baseline_seasonal_naive(history, 2, 3, f, 2);
    assert_true(f[0] == 1 && f[1] == 1);
    baseline_smoothed_level(constant, 3, f, 2);
    assert_true(f[0] == 5 && f[1] == 5);
    baseline_smoothed_level(step, 10, f, 1); /* the largest weight follows at once */
    assert_true(fabs(f[0] - 8) < 1e-9);
    baseline_smoothed_level(history, 1, f, 1);
    assert_true(f[0] == 9);
}

/* The level as a weighted sum of all values, which the smoothing never writes out. */
static double level_of(const double *y, size_t n, double weight)
{
    double level = pow(1 - weight, (double)n - 1) * y[0];

    for (size_t i = 1; i < n; i++)
        level += weight * pow(1 - weight, (double)(n - 1 - i)) * y[i];
    return level;
}

static void the_level_is_that_of_the_weight_whose_errors_are_least(void **state)
{
    double y[30], f[3], best = INFINITY, want = 0;
    struct rand r;

    (void)state;
    rand_seed(&r, 11);
    for (size_t i = 0; i < 30; i++)
        y[i] = (double)rand_below(&r, 1000);
    for (int percent = 1; percent < 100; percent++) {
        double squares = 0;

        for (size_t i = 1; i < 30; i++)
            squares += pow(y[i] - level_of(y, i, percent / 100.0), 2);
        want = squares < best ? level_of(y, 30, percent / 100.0) : want;
        best = fmin(best, squares);
    }
    baseline_smoothed_level(y, 30, f, 3);
    assert_true(fabs(f[0] - want) < 1e-6 && f[0] == f[2]);
}

/* Of y = level x index without rest the indices are found exactly, and the forecast goes on with it; where nothing is seasonal it is the last value. */
static void naive2_finds_the_season_that_there_is(void **state)
{
    static const double index[] = {0.5, 1.5, 0.8, 1.2}; /* of mean 1 */
    double y[43], f[9], noise[43];
    struct arena arena = ARENA_EMPTY;
    struct rand r;

    (void)state;
    rand_seed(&r, 7);
    for (size_t i = 0; i < 43; i++) {
        y[i] = 40 * index[i % 4];
        noise[i] = 100 + (double)rand_below(&r, 1000) / 100;
    }
    baseline_naive2(y, 43, 4, f, 9, &arena);
    for (size_t i = 0; i < 9; i++)
        near(f[i], 40 * index[(43 + i) % 4]);
    baseline_naive2(noise, 43, 4, f, 9, &arena);
    for (size_t i = 0; i < 9; i++)
        near(f[i], noise[42]);
    for (size_t i = 0; i < 43; i++)
        y[i] = i % 4 == 1 ? 0 : 40 * index[i % 4]; /* closed on one day */
    baseline_naive2(y, 43, 4, f, 9, &arena);
    near(f[5], y[42]);
    baseline_naive2(y, 11, 4, f, 9, &arena); /* less than three seasons */
    near(f[3], y[10]);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_as_worked_out_by_hand),
        cmocka_unit_test(a_history_without_a_scale_has_no_scaled_error),
        cmocka_unit_test(scaled_errors_are_means_over_series_wape_is_of_all),
        cmocka_unit_test(naive_and_level_repeat_what_they_should),
        cmocka_unit_test(the_level_is_that_of_the_weight_whose_errors_are_least),
        cmocka_unit_test(naive2_finds_the_season_that_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
