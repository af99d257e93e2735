/* test/unit/test_modelmetrics.c: metrics against their definitions done slowly, and against scikit-learn's published examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/attr.h"
#include "base/rand.h"
#include "model/metrics.h"

#define N 60

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-12))
        fail_msg("expected %.17g, got %.17g", want, got);
}

static void scikit_learns_examples_come_out(void **state)
{
    /* sklearn.metrics: documentation of roc_auc_score, average_precision_score, log_loss */
    static const double y[] = {0, 0, 1, 1}, s[] = {0.1, 0.4, 0.35, 0.8}, p[] = {0.1, 0.2, 0.7, 0.99};

    (void)state;
    near(metrics_roc_auc(s, y, 4), 0.75);
    near(metrics_average_precision(s, y, 4), 0.8333333333333333);
    near(metrics_logloss(p, y, 4), -(log(0.9) + log(0.8) + log(0.7) + log(0.99)) / 4);
    near(metrics_rmse(p, y, 4), sqrt((0.01 + 0.04 + 0.09 + 0.0001) / 4));
    near(metrics_mae(p, y, 4), (0.1 + 0.2 + 0.3 + 0.01) / 4);
}

static void what_is_not_defined_is_nan(void **state)
{
    static const double ones[] = {1, 1}, zeros[] = {0, 0}, s[] = {0.2, 0.3}, bad[] = {0.2, NAN}, mixed[] = {0, 1};
    static const int64_t day[] = {1, 1};
    static const uint64_t group[] = {1, 2};

    (void)state;
    assert_true(isnan(metrics_roc_auc(s, ones, 2)) && isnan(metrics_roc_auc(s, zeros, 2)));
    assert_true(isnan(metrics_roc_auc(bad, mixed, 2)) && isnan(metrics_average_precision(bad, mixed, 2)));
    assert_true(isnan(metrics_average_precision(s, zeros, 2)) && isnan(metrics_rmse(s, ones, 0)));
    assert_true(isnan(metrics_roc_auc(NULL, NULL, 0)) && isnan(metrics_logloss(s, ones, 0)));
    assert_true(isnan(metrics_precision_top_k(group, day, s, ones, NULL, 0, 3)));
    assert_true(isnan(metrics_precision_top_k(group, day, bad, ones, NULL, 2, 3)));
    near(metrics_logloss(zeros, ones, 1), -log(2.2204460492503131e-16));
}

static double slow_auc(const double *s, const double *y)
{
    double right = 0, pairs = 0;

    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            if (y[i] < 0.5 || y[j] > 0.5)
                continue;
            pairs++;
            right += s[i] > s[j] ? 1 : s[i] == s[j] ? 0.5 : 0;
        }
    }
    return right / pairs;
}

/* For each distinct score as threshold, highest first: (recall gained) x precision. */
static double slow_ap(const double *s, const double *y)
{
    double sum = 0, before = 0, positives = 0, threshold = INFINITY;

    for (size_t i = 0; i < N; i++)
        positives += y[i];
    for (;;) {
        double next = -INFINITY, taken = 0, hits = 0;

        for (size_t i = 0; i < N; i++)
            next = s[i] < threshold && s[i] > next ? s[i] : next;
        if (isinf(next))
            return sum;
        for (size_t i = 0; i < N; i++) {
            taken += s[i] >= next;
            hits += s[i] >= next && y[i] > 0.5;
        }
        sum += (hits - before) / positives * (hits / taken);
        before = hits;
        threshold = next;
    }
}

static void area_and_precision_equal_their_slow_definitions_with_ties(void **state)
{
    uint64_t seed = 11;
    struct rand r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rand_seed(&r, seed);
    for (int round = 0; round < 300; round++) {
        double s[N], y[N];
        uint64_t levels = 1 + rand_below(&r, 40);

        for (size_t i = 0; i < N; i++) {
            s[i] = (double)rand_below(&r, levels) / 8;
            y[i] = i < 2 ? (double)i : (double)(rand_below(&r, 4) == 0);
        }
        near(metrics_roc_auc(s, y, N), slow_auc(s, y));
        near(metrics_average_precision(s, y, N), slow_ap(s, y));
    }
}

#define GROUPS 9
#define DAYS 4

/* The Handbook's loop, group by group, taking the best that is left k times. */
static double slow_top_k(const uint64_t *g, const int64_t *d, const double *s, const double *y, const uint8_t *out, size_t k)
{
    int detected[GROUPS] = {0};
    double sum = 0, n_days = 0;

    for (int64_t day = 0; day < DAYS; day++) {
        double score[GROUPS];
        int has[GROUPS] = {0}, fraud[GROUPS] = {0}, now[GROUPS] = {0}, any = 0;

        for (size_t i = 0; i < N; i++) {
            if (out[i] || d[i] != day)
                continue;
            any = 1;
            score[g[i]] = !has[g[i]] || s[i] > score[g[i]] ? s[i] : score[g[i]];
            has[g[i]] = 1;
            fraud[g[i]] |= y[i] > 0.5;
        }
        for (size_t taken = 0; taken < k; taken++) {
            int best = -1;

            for (int c = 0; c < GROUPS; c++) {
                if (has[c] && !detected[c] && (best < 0 || score[c] > score[best]))
                    best = c;
            }
            if (best < 0)
                break;
            has[best] = 0;
            now[best] = fraud[best];
            sum += fraud[best] / (double)k;
        }
        for (int c = 0; c < GROUPS; c++)
            detected[c] |= now[c];
        n_days += any;
    }
    return sum / n_days;
}

static void precision_of_the_top_k_equals_the_handbooks_loop(void **state)
{
    uint64_t seed = 12;
    struct rand r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rand_seed(&r, seed);
    for (int round = 0; round < 500; round++) {
        uint64_t g[N];
        int64_t d[N];
        double s[N], y[N];
        uint8_t out[N];
        size_t k = 1 + rand_below(&r, 5);

        for (size_t i = 0; i < N; i++) {
            g[i] = rand_below(&r, GROUPS);
            d[i] = (int64_t)rand_below(&r, DAYS);
            s[i] = (double)rand_below(&r, 30) / 30;
            y[i] = (double)(rand_below(&r, 6) == 0);
            out[i] = rand_below(&r, 10) == 0;
        }
        near(metrics_precision_top_k(g, d, s, y, out, N, k), slow_top_k(g, d, s, y, out, k));
    }
}

static void a_quantile_pays_by_its_share(void **state)
{
    const double score[] = {10, 10}, label[] = {14, 8}; /* 4 above, 2 below */

    (void)state;
    assert_true(fabs(metrics_pinball(score, label, 2, 0.9) - (0.9 * 4 + 0.1 * 2) / 2) < 1e-12);
    assert_true(fabs(metrics_pinball(score, label, 2, 0.5) - metrics_mae(score, label, 2) / 2) < 1e-12);
    assert_true(isnan(metrics_pinball(score, label, 0, 0.5)));
}

/* Of n + 1 exchangeable numbers the last lies at or below the correction of the others in ceil((n + 1) share) of n + 1 cases. */
static void a_conformal_correction_covers_its_share_of_what_comes(void **state)
{
    const double shares[] = {0.1, 0.5, 0.9};
    double ten[] = {5, 3, 9, 1, 7, 2, 10, 4, 8, 6};
    struct rand r;

    (void)state;
    assert_true(metrics_conformal(ten, 10, 0.5) == 6);  /* ceil(5.5) */
    assert_true(metrics_conformal(ten, 10, 0.9) == 10); /* ceil(9.9) */
    assert_true(metrics_conformal(ten, 10, 0.99) == 10 && metrics_conformal(ten, 10, 0.001) == 1);
    assert_true(metrics_conformal(ten, 0, 0.5) == 0);
    rand_seed(&r, 31);
    for (size_t s = 0; s < 3; s++) {
        size_t covered = 0, rounds = 20000;
        double residuals[19];

        for (size_t i = 0; i < rounds; i++) {
            for (size_t k = 0; k < 19; k++)
                residuals[k] = rand_unit(&r);
            covered += rand_unit(&r) <= metrics_conformal(residuals, 19, shares[s]);
        }
        if (fabs((double)covered / (double)rounds - shares[s]) > 0.01) /* 20 x share is whole: exactly that share */
            fail_msg("%zu of %zu lie below, want a share of %g", covered, rounds, shares[s]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quantile_pays_by_its_share),
        cmocka_unit_test(a_conformal_correction_covers_its_share_of_what_comes),
        cmocka_unit_test(scikit_learns_examples_come_out),
        cmocka_unit_test(what_is_not_defined_is_nan),
        cmocka_unit_test(area_and_precision_equal_their_slow_definitions_with_ties),
        cmocka_unit_test(precision_of_the_top_k_equals_the_handbooks_loop),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
