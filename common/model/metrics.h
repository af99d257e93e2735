/* common/model/metrics.h */
/*
 * metrics: how good scores are, given the truth.
 *
 * Shape    score[i] and label[i] of row i; a label above 0.5 is a positive.
 * Ties     as scikit-learn: rows of equal score are one threshold.
 * Empty    what is not defined (no row, one class only where two are needed) is NaN. A NaN score gives NaN.
 * Source   sklearn.metrics roc_auc_score, average_precision_score, log_loss; the Fraud Detection Handbook,
 *          "Precision top-k metrics".
 */
#ifndef MODEL_METRICS_H
#define MODEL_METRICS_H

#include <stddef.h>
#include <stdint.h>

double metrics_roc_auc(const double *score, const double *label, size_t n);
double metrics_average_precision(const double *score, const double *label, size_t n); /* NaN without positives */
double metrics_logloss(const double *score, const double *label, size_t n); /* scores clipped to float64's epsilon */
double metrics_rmse(const double *score, const double *label, size_t n);
double metrics_mae(const double *score, const double *label, size_t n);
/* Of a quantile, whose share of labels lies below: an error above it counts share, one below 1 - share. */
double metrics_pinball(const double *score, const double *label, size_t n, double share);

/* What a number must be raised by so that, of truths to come like those of these residuals (truth - number), the share lies at or below
 * it: the ceil((n + 1) share)-th smallest, at most the largest (split conformal, Vovk). 0 of none. Sorts. */
double metrics_conformal(double *residuals, size_t n, double share);

/*
 * Mean over days of the precision among each day's k most suspicious groups (cards, in the Handbook). A group's score and
 * label are the largest of its rows that day; a group found (positive among the k) is left out on later days. Divides by
 * k, however few groups a day has. excluded (or NULL): rows with 1 are left out before; a day without rows does not
 * count. Equal scores: the smaller group id first.
 */
double metrics_precision_top_k(const uint64_t *group, const int64_t *day, const double *score, const double *label,
                               const uint8_t *excluded, size_t n, size_t k);

#endif
