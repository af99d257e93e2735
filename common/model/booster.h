/* common/model/booster.h */
/*
 * booster: libxgboost, which trains and is the reference for every prediction. Its only home.
 *
 * Shape    rows are float32, row-major, NaN = missing; infinities are refused (libxgboost does so too).
 * Same bytes  a fit is a function of rows, labels, weights, parameters, rounds and the library's version: one thread, and
 *          `seed`, `tree_method`, `base_score` and `objective` must be given (a library's default may change).
 * Bounds   booster_load walks the bytes first (ubj.h): nothing else may reach libxgboost.
 * Owner    results are copied at this border: libxgboost's die at its next call on the thread.
 * Errors   training and load: ERR_RECORD for what the caller or the bytes bring, ERR_FATAL for the library; ERR_RETRY: stopped.
 * Threads  a booster belongs to one thread at a time. A fit may run in a thread or a child process of its own.
 */
#ifndef MODEL_BOOSTER_H
#define MODEL_BOOSTER_H

#include "model/ubj.h"

struct booster_param {
    const char *name;
    const char *value;
};

struct booster_fit {
    const struct booster_param *params; /* XGBoost's own names; verbosity and num_feature are ours; nthread: 1 to 64, default 1 */
    size_t n_params;
    int rounds;
    const char *const *features; /* ordered names, written into the model */
    size_t n_features;
    const float *rows; /* n_rows x n_features */
    const float *labels;
    const float *weights; /* NULL: all 1 */
    size_t n_rows;
    bool (*stopping)(void); /* asked after each round: true ends the fit with ERR_RETRY; NULL: nobody stops it */
};

struct booster;

/*
 * First of all in a program that trains: a fit's threads sleep while they wait for each other, unless OMP_WAIT_POLICY says
 * otherwise. Spinning, as they would, they hold the cores that the others need: with other work on the machine a fit takes
 * twenty times as long. libgomp reads it when it is loaded, so the program begins again, once.
 */
void booster_threads_sleep(char **argv);

/* UBJSON bytes, which any XGBoost >= 1.6 loads; appended to ret_model. */
enum status booster_train(const struct booster_fit *fit, struct bytes *ret_model, struct error *err);

/*
 * Rows for several fits, taken in chunks and kept as histogram bins: a byte a value instead of twelve, for tree_method "hist" alone.
 * The same rows in the same chunks give the same bins.
 */
struct booster_chunk {
    const float *rows; /* n_rows x n_features, until the next chunk */
    const float *labels, *weights; /* weights NULL: all 1 */
    size_t n_rows;
};
struct booster_source {
    void *ctx;
    /* *ret n_rows 0: that was all. */
    enum status (*next)(void *ctx, struct booster_chunk *ret, struct error *err);
    void (*again)(void *ctx); /* from the beginning: several times */
};
struct booster_matrix;
/* max_bin: 2 to 65536. */
enum status booster_matrix_new(const struct booster_source *source, const char *const *features, size_t n_features, int max_bin,
                               struct booster_matrix **ret_matrix, struct error *err);
void booster_matrix_free(struct booster_matrix *m);
size_t booster_matrix_n_rows(const struct booster_matrix *m);
/* fit: parameters, rounds, labels in the order of the rows, all else is the matrix's; max_bin, where it is one of the parameters, is that of the matrix. */
enum status booster_train_on(struct booster_matrix *m, const struct booster_fit *fit, struct bytes *ret_model, struct error *err);

enum status booster_load(struct view bytes, struct booster **ret_booster, struct error *err);
/* The same without a second walk: t is what ubj_read made of these very bytes. */
enum status booster_load_walked(struct view bytes, const struct ubj_trees *t, struct booster **ret_booster,
                                struct error *err);
void booster_free(struct booster *b);

size_t booster_n_features(const struct booster *b);
size_t booster_n_outputs(const struct booster *b);

/* ERR_RECORD naming the first infinite value. A row at a time, it tells which row to dead-letter. */
enum status booster_rows_ok(const float *rows, size_t n_rows, size_t n_features, struct error *err);

/* ret_scores: n_rows x n_outputs. */
enum status booster_predict(struct booster *b, const float *rows, size_t n_rows, float *ret_scores, struct error *err);

/* SHAP values: ret_contributions: n_rows x n_outputs x (n_features + 1), in the margin's unit; the last is the bias. */
enum status booster_contributions(struct booster *b, const float *rows, size_t n_rows, float *ret_contributions,
                                  struct error *err);

/* "xgboost 3.2.0" */
const char *booster_version(void);

#endif
