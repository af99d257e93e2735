/* common/model/model_check.h */
/*
 * model_check: does the flat layout of a model predict, bit for bit, what libxgboost predicts?
 *
 * Rows     for each split of each tree (every k-th one in a large model) rows that go down to it and hold its feature at the
 *          split, just below, just above and missing; then random mixes of the model's own split values and missing. At most
 *          MODEL_CHECK_ROWS_MAX, the same ones for the same model.
 * For      model.c alone.
 */
#ifndef MODEL_MODEL_CHECK_H
#define MODEL_MODEL_CHECK_H

#include "model/booster.h"
#include "model/flat.h"

#define MODEL_CHECK_ROWS_MAX 16384

enum status model_check(const struct ubj_trees *t, const struct flat *flat, struct booster *booster, size_t *ret_n_rows,
                        bool *ret_agree, struct error *err);

#endif
