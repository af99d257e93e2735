/*
 * How long a training of the fraud demo takes: 200,000 rows of 15 features, 100 rounds of depth 3, exact, by 1 and by 2 threads;
 * and of a small one, where threads wait more than they work. Rows are made up, as many-valued as real ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/rand.h"
#include "model/booster.h"
#include "test/bench/figure.h"

#define FEATURES 15

static const char *const names[FEATURES] = {"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14"};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* An amount to the cent, two flags, counts, means, risks; one in a hundred is a fraud, three of four of which show. */
static void make_row(struct rand *r, float *x, float *label)
{
    bool fraud = rand_below(r, 100) == 0, shows = fraud && rand_below(r, 4) != 0;

    x[0] = (float)(100 + rand_below(r, shows ? 40000 : 20000)) / 100;
    x[1] = (float)(rand_below(r, 7) < 2);
    x[2] = (float)(rand_below(r, 24) < 7);
    for (int w = 0; w < 3; w++) {
        x[3 + w] = (float)(1 + rand_below(r, (uint64_t)(w == 0 ? 8 : w == 1 ? 30 : 110)));
        x[6 + w] = (float)(500 + rand_below(r, 12000 * (uint64_t)x[3 + w])) / 100 / x[3 + w];
        x[9 + w] = (float)(1 + rand_below(r, (uint64_t)(w == 0 ? 4 : w == 1 ? 15 : 50)));
        x[12 + w] = (float)rand_below(r, shows ? (uint64_t)x[9 + w] + 1 : 2) / x[9 + w] * (float)(shows || rand_below(r, 50) == 0);
    }
    *label = (float)fraud;
}

static double fit_seconds(size_t n, const char *nthread)
{
    const struct booster_param params[] = {{"objective", "binary:logistic"}, {"max_depth", "3"}, {"eta", "0.1"},
                                           {"tree_method", "exact"}, {"base_score", "0.5"}, {"seed", "1"}, {"nthread", nthread}};
    float *x = xmalloc(n * FEATURES * sizeof(*x)), *labels = xmalloc(n * sizeof(*labels));
    struct booster_fit fit = {.params = params, .n_params = ARRAY_LEN(params), .rounds = 100, .features = names,
                              .n_features = FEATURES, .rows = x, .labels = labels, .n_rows = n};
    struct bytes model = BYTES_EMPTY;
    struct error err;
    struct rand r;
    double began;

    rand_seed(&r, 1);
    for (size_t i = 0; i < n; i++)
        make_row(&r, x + i * FEATURES, &labels[i]);
    began = seconds();
    if (booster_train(&fit, &model, &err) != OK) {
        fprintf(stderr, "fit: %s\n", err.text);
        exit(1);
    }
    began = seconds() - began;
    bytes_done(&model);
    free(x);
    free(labels);
    return began;
}

int main(void)
{
    figure("fit", "fit_200k_s", fit_seconds(200000, "1"), "s");
    figure("fit", "fit_200k_2_threads_s", fit_seconds(200000, "2"), "s");
    figure("fit", "fit_10k_s", fit_seconds(10000, "1"), "s");
    figure("fit", "fit_10k_2_threads_s", fit_seconds(10000, "2"), "s");
    return 0;
}
