/*
 * series: rows of forecasts' training: gathered in any order, sorted by key and event time, each once as it was last corrected.
 *
 * Pair     (row, step) whose truth is there: the value of the row of the same key at the step's target time. Of the lead time: the
 *          mean over its steps, where all of them are there.
 * Order    (key's bytes, event time, step): the same rows give the same pairs in the same chunks, whatever came first.
 * Revision of rows of one key and time the one with the highest offset counts: it came last.
 * Memory   a row's numbers are kept only where it is asked (`where`); of others its time and value. Pairs are made in chunks, again
 *          for each pass.
 * Owner    series_done, pairs_done. Threads: one at a time.
 */
#ifndef WORKERS_TRAIN_SERIES_H
#define WORKERS_TRAIN_SERIES_H

#include "model/booster.h"
#include "model/forecast.h"

struct series_row {
    int64_t event_ms, offset;
    int32_t partition;
    uint32_t x;      /* index of its numbers in series.x and series.fields, where it is asked */
    size_t key, key_n; /* in series.text */
    bool asked;      /* pairs are made of it; else it is but a truth of others */
    double value;    /* NaN: null */
};

struct series {
    size_t n_features;
    const struct feature_col *cols; /* what expressions speak of: numbers, by n_cols; borrowed */
    size_t n_cols;
    const struct expr *where; /* a condition over cols for which a row is asked; NULL: all are; borrowed */
    struct series_row *rows;
    size_t n, cap, n_settled; /* n_settled: of them it is known whether they are asked */
    float *x;
    int64_t *fields; /* n_cols each; of a double its bits */
    uint8_t *null;
    size_t n_x, cap_x; /* rows with numbers */
    struct bytes text;
};

void series_init(struct series *s, size_t n_features, const struct feature_col *cols, size_t n_cols, const struct expr *where);
void series_done(struct series *s);
/* A row; ret_x, ret_fields and ret_null are for the caller to fill, until the next call. */
enum status series_add(struct series *s, const struct series_row *row, struct view key, float **ret_x, int64_t **ret_fields,
                       uint8_t **ret_null, struct error *err);
/* What all that takes. */
size_t series_bytes(const struct series *s);
/* Sorts, and keeps the last of each key and time. */
enum status series_finish(struct series *s, struct error *err);

/* Which pairs. */
struct pairs_span {
    int64_t from_ms;                  /* rows from then on */
    int64_t truth_from_ms, truth_to_ms; /* whose target time is in [from, to) */
    double share;                     /* of the rows, taken as if by chance; 1: all */
};

struct pair {
    size_t row; /* of series.rows */
    size_t step; /* index: horizon's, then the lead time */
    double scale;
};

struct pairs;
/* weight: an expression over cols, or NULL. All but span are borrowed. */
struct pairs *pairs_new(const struct series *s, struct forecast *f, const struct expr *weight, const struct pairs_span *span);
void pairs_free(struct pairs *p);
size_t pairs_count(struct pairs *p);
/* The next chunk; n_rows 0: the end. *ret_pairs tells what each of its rows is; NULL: not asked. */
enum status pairs_next(struct pairs *p, struct booster_chunk *ret, const struct pair **ret_pairs, struct error *err);
void pairs_again(struct pairs *p);

#endif
