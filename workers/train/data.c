#include "workers/train/data.h"

#include <stdlib.h>

#include "base/arena.h"

#define LABELS_BYTES_MAX ((size_t)1 << 30)

void data_init(struct data *d, size_t n_features)
{
    *d = (struct data){.n_features = n_features, .labels = state_new(LABELS_BYTES_MAX)};
}

void data_done(struct data *d)
{
    free(d->rows);
    free(d->x);
    bytes_done(&d->text);
    state_free(d->labels);
    *d = (struct data){0};
}

float *data_row(struct data *d, int64_t event_ms, int32_t partition, int64_t offset, struct view on)
{
    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 4096;
        d->rows = xrealloc(d->rows, d->cap * sizeof(*d->rows));
        d->x = xrealloc(d->x, d->cap * (d->n_features + 1) * sizeof(*d->x));
    }
    d->rows[d->n] = (struct row){event_ms, offset, partition, 0, (uint32_t)d->n, d->text.n, on.n};
    bytes_append(&d->text, on.data, on.n);
    return d->x + d->n++ * d->n_features;
}

enum status data_label(struct data *d, struct view on, struct error *err)
{
    d->n_labels++;
    return state_get(d->labels, on, err) ? OK : err->status;
}

static int by_time(const void *a, const void *b)
{
    const struct row *p = a, *q = b;

    if (p->event_ms != q->event_ms)
        return p->event_ms < q->event_ms ? -1 : 1;
    if (p->partition != q->partition)
        return p->partition < q->partition ? -1 : 1;
    return p->offset < q->offset ? -1 : p->offset > q->offset;
}

void data_finish(struct data *d, const struct labelling *l)
{
    size_t n = 0;
    float *x;

    for (size_t i = 0; i < d->n; i++) {
        struct row *r = &d->rows[i];
        bool labelled = state_find(d->labels, view_of(d->text.data + r->on, r->on_n)) != NULL;

        if (!labelled && r->event_ms + l->after_ms > l->as_of_ms)
            continue;
        r->label = (float)(labelled ? l->value : l->absent);
        d->rows[n++] = *r;
    }
    d->n = n;
    if (n == 0)
        return;
    qsort(d->rows, n, sizeof(*d->rows), by_time);
    x = xmalloc((n * d->n_features + 1) * sizeof(*x));
    for (size_t i = 0; i < n; i++) {
        memcpy(x + i * d->n_features, d->x + d->rows[i].x * d->n_features, d->n_features * sizeof(*x));
        d->rows[i].x = (uint32_t)i;
    }
    free(d->x);
    d->x = x;
    d->cap = n;
}

size_t data_from(const struct data *d, int64_t event_ms)
{
    size_t low = 0, high = d->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (d->rows[mid].event_ms < event_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void data_labels(const struct data *d, size_t from, size_t to, float *ret_labels, size_t *ret_positives)
{
    *ret_positives = 0;
    for (size_t i = from; i < to; i++) {
        ret_labels[i - from] = d->rows[i].label;
        *ret_positives += d->rows[i].label > 0.5F;
    }
}
