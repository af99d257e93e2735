/* common/model/flat.h */
/*
 * flat: trees laid out for evaluation, many rows a step, bit-equal to libxgboost.
 *
 * Shape    siblings lie side by side (right = left + 1), so a step down is an addition; a leaf points to itself, so all
 *          rows take the tree's depth in steps and nothing branches. FLAT_ROWS rows go down a tree together. Shallow trees
 *          are not walked at all where the processor can compare many rows at once: lanes.h.
 * Order    output = base margin, plus leaf of tree 0, plus leaf of tree 1, ... in float32, then the objective's
 *          transform: the order of libxgboost's CPU predictor, hence the same bits.
 * Missing  NaN takes the node's default direction; -0.0 equals 0.0.
 * Objectives  binary:logistic, reg:logistic (sigmoid); binary:logitraw, reg:squarederror, reg:absoluteerror,
 *          reg:quantileerror, reg:pseudohubererror (identity); count:poisson, reg:gamma, reg:tweedie (exp).
 * Owner    flat_free frees. Threads: immutable once made.
 */
#ifndef MODEL_FLAT_H
#define MODEL_FLAT_H

#include "model/ubj.h"

#define FLAT_ROWS 16

struct flat;

/* A base score behind the objective's link: what trees' leaves are added to. */
float flat_margin(const char *objective, float base);

struct flat *flat_new(const struct ubj_trees *t);
void flat_free(struct flat *f);

/* rows: n_rows x n_features, row-major. ret_scores: n_rows x n_outputs. Allocates nothing. */
void flat_predict(const struct flat *f, const float *rows, size_t n_rows, float *ret_scores);
/* The same where lanes.h has nothing for this processor or these trees. */
void flat_walk(const struct flat *f, const float *rows, size_t n_rows, float *ret_scores);

#endif
