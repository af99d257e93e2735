/* workers/train/data.h */
/*
 * data: rows that a model learns from: gathered in any order, labelled, sorted, split by event time.
 *
 * Label    a row whose `on` text has a label gets `value`; one without gets `absent` once its time + after_ms <= as_of_ms;
 *          before, nobody knows: it is left out.
 * Order    (event time, partition, offset), so that the same log gives the same bytes whatever came first.
 * Owner    data_done frees. Threads: one at a time.
 */
#ifndef WORKERS_TRAIN_DATA_H
#define WORKERS_TRAIN_DATA_H

#include "base/bytes.h"
#include "base/err.h"
#include "state/state.h"

struct row {
    int64_t event_ms, offset;
    int32_t partition;
    float label;
    uint32_t x;  /* index of its features in data.x, by n_features */
    size_t on, on_n; /* its label's key, in data.text */
};

struct data {
    size_t n_features, n, cap;
    struct row *rows;
    float *x;
    struct bytes text;
    struct state *labels; /* keys that have a label */
    int64_t n_labels;
};

struct labelling {
    double value, absent;
    int64_t after_ms, as_of_ms;
};

void data_init(struct data *d, size_t n_features);
void data_done(struct data *d);
/* Room for a row's n_features numbers, which the caller fills; good until the next call. */
float *data_row(struct data *d, int64_t event_ms, int32_t partition, int64_t offset, struct view on);
enum status data_label(struct data *d, struct view on, struct error *err);
/* Labels, drops the unmatured, sorts; x lies in the order of rows afterwards. */
void data_finish(struct data *d, const struct labelling *l);
/* The first row at or after event_ms. */
size_t data_from(const struct data *d, int64_t event_ms);
void data_labels(const struct data *d, size_t from, size_t to, float *ret_labels, size_t *ret_positives);

#endif
