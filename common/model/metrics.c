#include "model/metrics.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/arena.h"

struct scored {
    double score;
    bool positive;
};

static int highest_first(const void *a, const void *b)
{
    double x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;

    return (x < y) - (x > y);
}

/* NULL when a score is NaN: it has no place in an order. The caller frees. */
static struct scored *sorted(const double *score, const double *label, size_t n)
{
    struct scored *s = xmalloc((n + 1) * sizeof(*s));

    for (size_t i = 0; i < n; i++) {
        if (isnan(score[i])) {
            free(s);
            return NULL;
        }
        s[i] = (struct scored){score[i], label[i] > 0.5};
    }
    qsort(s, n, sizeof(*s), highest_first);
    return s;
}

/* The rows from i on that share its score: their end, and how many are positive. */
static size_t tie(const struct scored *s, size_t n, size_t i, size_t *ret_positives)
{
    size_t end = i;

    *ret_positives = 0;
    while (end < n && s[end].score == s[i].score)
        *ret_positives += s[end++].positive;
    return end;
}

/* The share of (positive, negative) pairs in right order, a tie counting half: the area under the curve. */
double metrics_roc_auc(const double *score, const double *label, size_t n)
{
    struct scored *s = sorted(score, label, n);
    double area = 0, above = 0, below = 0;
    size_t positives;

    if (s == NULL)
        return NAN;
    for (size_t i = 0, end; i < n; i = end) {
        end = tie(s, n, i, &positives);
        area += (double)(end - i - positives) * (above + (double)positives / 2);
        above += (double)positives;
        below += (double)(end - i - positives);
    }
    free(s);
    return above > 0 && below > 0 ? area / (above * below) : NAN;
}

/* Sum over thresholds of (recall gained) x precision: no interpolation, as scikit-learn. */
double metrics_average_precision(const double *score, const double *label, size_t n)
{
    struct scored *s = sorted(score, label, n);
    double sum = 0, found = 0;
    size_t positives;

    if (s == NULL)
        return NAN;
    for (size_t i = 0, end; i < n; i = end) {
        end = tie(s, n, i, &positives);
        found += (double)positives;
        sum += (double)positives * (found / (double)end);
    }
    free(s);
    return found > 0 ? sum / found : NAN;
}

double metrics_logloss(const double *score, const double *label, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double p = score[i];

        p = p < DBL_EPSILON ? DBL_EPSILON : p > 1 - DBL_EPSILON ? 1 - DBL_EPSILON : p;
        sum -= label[i] > 0.5 ? log(p) : log(1 - p);
    }
    return n ? sum / (double)n : NAN;
}

double metrics_rmse(const double *score, const double *label, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (score[i] - label[i]) * (score[i] - label[i]);
    return n ? sqrt(sum / (double)n) : NAN;
}

double metrics_mae(const double *score, const double *label, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += fabs(score[i] - label[i]);
    return n ? sum / (double)n : NAN;
}

double metrics_pinball(const double *score, const double *label, size_t n, double share)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double above = label[i] - score[i];

        sum += above >= 0 ? share * above : (share - 1) * above;
    }
    return n ? sum / (double)n : NAN;
}

static int smallest_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double metrics_conformal(double *residuals, size_t n, double share)
{
    size_t k = (size_t)ceil((double)(n + 1) * share);

    if (n == 0)
        return 0;
    qsort(residuals, n, sizeof(*residuals), smallest_first);
    return residuals[k < 1 ? 0 : k > n ? n - 1 : k - 1];
}

/* ---- precision among the k most suspicious groups of each day ---- */

struct grouped {
    uint64_t group;
    int64_t day;
    double score;
    bool positive;
};

static int by_group(const void *a, const void *b)
{
    const struct grouped *x = a, *y = b;

    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return (x->group > y->group) - (x->group < y->group);
}

static int most_suspicious_first(const void *a, const void *b)
{
    const struct grouped *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->group > y->group) - (x->group < y->group);
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Sorted rows to one entry a (day, group): the largest score and label. Returns how many. */
static size_t fold(struct grouped *g, size_t n)
{
    size_t m = 0;

    for (size_t i = 0; i < n; i++) {
        if (m > 0 && g[m - 1].day == g[i].day && g[m - 1].group == g[i].group) {
            g[m - 1].score = g[i].score > g[m - 1].score ? g[i].score : g[m - 1].score;
            g[m - 1].positive = g[m - 1].positive || g[i].positive;
        } else {
            g[m++] = g[i];
        }
    }
    return m;
}

/* One day's groups: leaves out those found before, adds those found now to `found`; returns the hits. */
static size_t one_day(struct grouped *g, size_t n, size_t k, uint64_t *found, size_t *n_found)
{
    size_t left = 0, hits = 0;

    for (size_t i = 0; i < n; i++) {
        if (bsearch(&g[i].group, found, *n_found, sizeof(*found), by_id) == NULL)
            g[left++] = g[i];
    }
    qsort(g, left, sizeof(*g), most_suspicious_first);
    for (size_t i = 0; i < left && i < k; i++) {
        if (g[i].positive)
            found[*n_found + hits++] = g[i].group;
    }
    *n_found += hits;
    qsort(found, *n_found, sizeof(*found), by_id);
    return hits;
}

static double mean_of_days(struct grouped *g, size_t n, size_t k)
{
    uint64_t *found = xmalloc((n + 1) * sizeof(*found));
    size_t n_found = 0, n_days = 0;
    double sum = 0;

    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n && g[end].day == g[i].day; end++)
            ;
        sum += (double)one_day(g + i, end - i, k, found, &n_found) / (double)k;
        n_days++;
    }
    free(found);
    return n_days ? sum / (double)n_days : NAN;
}

double metrics_precision_top_k(const uint64_t *group, const int64_t *day, const double *score, const double *label,
                               const uint8_t *excluded, size_t n, size_t k)
{
    struct grouped *g = xmalloc((n + 1) * sizeof(*g));
    size_t m = 0;
    double mean;

    for (size_t i = 0; i < n; i++) {
        if (excluded != NULL && excluded[i])
            continue;
        if (isnan(score[i]) || k == 0) {
            free(g);
            return NAN;
        }
        g[m++] = (struct grouped){group[i], day[i], score[i], label[i] > 0.5};
    }
    qsort(g, m, sizeof(*g), by_group);
    mean = mean_of_days(g, fold(g, m), k);
    free(g);
    return mean;
}
