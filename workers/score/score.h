/* workers/score/score.h */
/*
 * score: rows and a model in, scores and reasons out. Pure: no clock, no broker.
 *
 * Rows     float32 in the model's order; null is NaN (missing). A number beyond float32 makes the row bad.
 * Reasons  an Avro array of {feature string, value null|double, contribution double}, strongest first; equal
 *          contributions in the model's order.
 */
#ifndef WORKERS_SCORE_H
#define WORKERS_SCORE_H

#include "base/batch.h"
#include "model/model.h"

/* ret_x: in->n_rows x n_features. Sets bad[r] of a row that cannot be given to a model. */
enum status score_gather(const struct batch *in, const char *const *features, size_t n_features, const char **bad,
                         float *ret_x, struct error *err);

/* Scores of the chosen rows: ret_scores[rows[i]] for each i. x as made by score_gather. */
enum status score_rows(struct model *m, const float *x, size_t n_features, const uint32_t *rows, size_t n_rows,
                       struct arena *arena, double *ret_scores, struct error *err);

/* The Avro body of the `top` strongest contributions of row `row`. contributions: n_features and the bias. */
void score_reasons(const struct batch *in, uint32_t row, const char *const *features, size_t n_features,
                   const float *contributions, int top, struct bytes *out);

/* Whether a key belongs to the share of a canary: the same keys on every machine. */
bool score_in_share(struct view key, double share);

#endif
