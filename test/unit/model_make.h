/* test/unit/model_make.h: small models for the tests of common/model. */
#ifndef TEST_MODEL_MAKE_H
#define TEST_MODEL_MAKE_H

#include <math.h>
#include <stdlib.h>

#include "base/rand.h"
#include "model/booster.h"

#define MAKE_FEATURES 5

static const char *const make_names[MAKE_FEATURES] = {"f0", "f1", "f2", "f3", "f4"};

struct make_case {
    const char *objective, *tree_method, *base_score, *max_depth;
    const char *more[6]; /* name, value, ... */
    int rounds;
    size_t n_rows;
};

/* Rows with missing values, whole numbers and ties; labels in (0, 1] that fit every objective. */
static inline void make_rows(uint64_t seed, size_t n, float *rows, float *labels, int binary)
{
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < n; i++) {
        float *x = rows + i * MAKE_FEATURES;

        for (size_t f = 0; f < MAKE_FEATURES; f++)
            x[f] = (float)(rand_unit(&r) * 10 - 5);
        x[1] = floorf(x[1]);
        if (rand_below(&r, 6) == 0)
            x[rand_below(&r, MAKE_FEATURES)] = NAN;
        labels[i] = (isnan(x[0]) ? 1 : x[0]) + (isnan(x[1]) ? 0 : x[1]) * 0.5f + (float)rand_unit(&r) > 1 ? 1 : 0;
        if (!binary)
            labels[i] = 0.1f + labels[i] * 0.5f + (float)rand_unit(&r) * 0.4f;
    }
}

static inline enum status make_model(const struct make_case *c, uint64_t seed, struct bytes *ret, struct error *err)
{
    struct booster_param p[8] = {{"objective", c->objective}, {"tree_method", c->tree_method},
                                 {"base_score", c->base_score}, {"max_depth", c->max_depth}, {"seed", "7"}};
    size_t n = 5;
    float *rows = malloc(c->n_rows * MAKE_FEATURES * sizeof(float)), *labels = malloc(c->n_rows * sizeof(float));
    struct booster_fit fit;
    enum status st;

    for (size_t i = 0; c->more[i] != NULL; i += 2)
        p[n++] = (struct booster_param){c->more[i], c->more[i + 1]};
    make_rows(seed, c->n_rows, rows, labels, c->objective[0] == 'b');
    fit = (struct booster_fit){p, n, c->rounds, make_names, MAKE_FEATURES, rows, labels, NULL, c->n_rows, NULL};
    st = booster_train(&fit, ret, err);
    free(rows);
    free(labels);
    return st;
}

static const struct make_case make_small = {"binary:logistic", "exact", "0.3", "3", {NULL}, 5, 300};

/* Where the value of a key begins: behind its name; NULL: no such key. */
static inline uint8_t *make_find(struct bytes *b, const char *key)
{
    size_t n = strlen(key);

    for (size_t i = 0; i + n <= b->n; i++) {
        if (memcmp(b->data + i, key, n) == 0)
            return b->data + i + n;
    }
    return NULL;
}

/* The first number of a typed array `[$t#L` + 8 bytes of count. */
static inline uint8_t *make_find_array(struct bytes *b, const char *key)
{
    uint8_t *p = make_find(b, key);

    return p ? p + 13 : NULL;
}

#endif
