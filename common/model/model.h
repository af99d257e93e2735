/* common/model/model.h */
/*
 * model: a loaded model: predicts by its flat trees where these agree with libxgboost, else by libxgboost.
 *
 * Check    model_load walks the bytes (ubj.h), then makes rows for this very model (each feature at, just below and just
 *          above each of its split values, missing, random mixes) and compares both ways bit for bit. Only when all
 *          agree is the flat way used; model_is_flat says so.
 * Shape    rows: float32, row-major, columns in the order of model_feature(0..n-1), NaN = missing.
 * Threads  one thread at a time.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "model/booster.h"

struct model;

enum status model_load(struct view bytes, struct model **ret_model, struct error *err);
void model_free(struct model *m);

size_t model_n_features(const struct model *m);
size_t model_n_outputs(const struct model *m);
/* The i-th column's name, or NULL when the model carries none. */
const char *model_feature(const struct model *m, size_t i);
bool model_is_flat(const struct model *m);
size_t model_rows_checked(const struct model *m);

/* ERR_RECORD unless the model's columns are exactly these, in this order. */
enum status model_expects(const struct model *m, const char *const *features, size_t n_features, struct error *err);

/* ret_scores: n_rows x n_outputs. */
enum status model_predict(struct model *m, const float *rows, size_t n_rows, float *ret_scores, struct error *err);

/* Reason codes: booster_contributions' bits, by shap.h where the trees are small, as soon as 64 rows have agreed. */
enum status model_contributions(struct model *m, const float *rows, size_t n_rows, float *ret_contributions,
                                struct error *err);

/* Loads and checks in a forked child with limits on memory and time, so that whatever libxgboost might do to these
 * bytes does not happen here. ERR_RECORD when the child refused, died or took too long. */
enum status model_try(struct view bytes, struct error *err);

#endif
