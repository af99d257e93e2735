/* common/model/shap.h */
/*
 * shap: SHAP values of shallow trees, bit-equal to libxgboost's, each way through a tree computed once.
 *
 * Definition  path-dependent TreeSHAP (Lundberg, Erion, Lee 2018, algorithm 2), in float32 and in the order of libxgboost's
 *          TreeShap(): hence the same bits. A tree's values depend on the row only by which side it takes at each split: a tree of
 *          SHAP_SPLITS_MAX splits has at most 128 outcomes, which are kept.
 * Shape    ret: n_rows x n_outputs x (n_features + 1), in the margin's unit; the last is the bias.
 * Owner    shap_free frees. Threads: one at a time, for it keeps what it computes.
 */
#ifndef MODEL_SHAP_H
#define MODEL_SHAP_H

#include "model/ubj.h"

#define SHAP_SPLITS_MAX 7

struct shap;

/* NULL: a tree has more splits. */
struct shap *shap_new(const struct ubj_trees *t);
void shap_free(struct shap *s);

void shap_contributions(struct shap *s, const float *rows, size_t n_rows, float *ret);

#endif
