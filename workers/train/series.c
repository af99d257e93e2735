#define _GNU_SOURCE /* qsort_r */
#include "workers/train/series.h"

#include <math.h>
#include <stdlib.h>

#define CHUNK_ROWS 8192 /* of the model, about: pairs that are in memory as numbers at a time */

void series_init(struct series *s, size_t n_features, const struct feature_col *cols, size_t n_cols, const struct expr *where)
{
    *s = (struct series){.n_features = n_features, .cols = cols, .n_cols = n_cols, .where = where};
}

void series_done(struct series *s)
{
    free(s->rows);
    free(s->x);
    free(s->fields);
    free(s->null);
    bytes_done(&s->text);
    *s = (struct series){0};
}

/* What expressions speak of, of n rows with numbers. */
static void fields_of(const struct series *s, const size_t *rows, size_t n, struct arena *arena, struct batch *ret)
{
    arena_reset(arena);
    batch_init(ret, arena, n);
    ret->n_rows = n;
    for (size_t k = 0; k < s->n_cols; k++) {
        struct col *c = batch_add_col(ret, s->cols[k].name, s->cols[k].type);

        for (size_t r = 0; r < n; r++) {
            size_t at = (size_t)s->rows[rows[r]].x * s->n_cols + k;

            c->null[r] = s->null[at];
            c->i64[r] = s->fields[at];
        }
    }
}

/* The numbers of those that are asked move together. */
static void keep_asked(struct series *s, const struct col *c)
{
    size_t k = s->rows[s->n_settled].x;

    for (size_t i = s->n_settled; i < s->n; i++) {
        struct series_row *r = &s->rows[i];

        r->asked = !c->null[i - s->n_settled] && c->i64[i - s->n_settled];
        if (!r->asked)
            continue;
        memmove(s->x + k * s->n_features, s->x + (size_t)r->x * s->n_features, s->n_features * sizeof(*s->x));
        memmove(s->fields + k * s->n_cols, s->fields + (size_t)r->x * s->n_cols, s->n_cols * sizeof(*s->fields));
        memmove(s->null + k * s->n_cols, s->null + (size_t)r->x * s->n_cols, s->n_cols);
        r->x = (uint32_t)k++;
    }
    s->n_x = k;
}

/* Decides of the rows that came since which are asked. */
static enum status settle(struct series *s, struct error *err)
{
    struct arena arena = ARENA_EMPTY;
    size_t n = s->n - s->n_settled, *rows = xmalloc((n + 1) * sizeof(*rows));
    enum status st = OK;
    struct batch fields;
    struct col c;

    for (size_t i = 0; i < n; i++)
        rows[i] = s->n_settled + i;
    if (n && s->where) {
        fields_of(s, rows, n, &arena, &fields);
        st = expr_eval(s->where, &fields, &c, err);
        if (st == OK)
            keep_asked(s, &c);
    }
    s->n_settled = s->n;
    free(rows);
    arena_done(&arena);
    return st == OK ? OK : err_wrap(err, "where");
}

static void grow(struct series *s)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : CHUNK_ROWS;
        s->rows = xrealloc(s->rows, s->cap * sizeof(*s->rows));
    }
    if (s->n_x == s->cap_x) {
        s->cap_x = s->cap_x ? s->cap_x * 2 : CHUNK_ROWS;
        s->x = xrealloc(s->x, (s->cap_x * s->n_features + 1) * sizeof(*s->x));
        s->fields = xrealloc(s->fields, (s->cap_x * s->n_cols + 1) * sizeof(*s->fields));
        s->null = xrealloc(s->null, s->cap_x * s->n_cols + 1);
    }
}

enum status series_add(struct series *s, const struct series_row *row, struct view key, float **ret_x, int64_t **ret_fields,
                       uint8_t **ret_null, struct error *err)
{
    struct series_row *r;

    if (s->n - s->n_settled == CHUNK_ROWS && settle(s, err) != OK)
        return err->status;
    grow(s);
    r = &s->rows[s->n++];
    *r = *row;
    r->x = (uint32_t)s->n_x;
    r->key = s->text.n;
    r->key_n = key.n;
    r->asked = true;
    bytes_append(&s->text, key.data, key.n);
    *ret_x = s->x + s->n_x * s->n_features;
    *ret_fields = s->fields + s->n_x * s->n_cols;
    *ret_null = s->null + s->n_x * s->n_cols;
    s->n_x++;
    return OK;
}

size_t series_bytes(const struct series *s)
{
    return s->cap * sizeof(*s->rows) + s->cap_x * (s->n_features * sizeof(*s->x) + s->n_cols * (sizeof(*s->fields) + 1)) + s->text.n;
}

static int by_key(const struct series *s, const struct series_row *p, const struct series_row *q)
{
    size_t n = p->key_n < q->key_n ? p->key_n : q->key_n;
    int c = n ? memcmp(s->text.data + p->key, s->text.data + q->key, n) : 0;

    return c ? c : (p->key_n > q->key_n) - (p->key_n < q->key_n);
}

static int by_key_and_time(const void *a, const void *b, void *ctx)
{
    const struct series_row *p = a, *q = b;
    int c = by_key(ctx, p, q);

    if (c)
        return c;
    if (p->event_ms != q->event_ms)
        return p->event_ms < q->event_ms ? -1 : 1;
    if (p->partition != q->partition)
        return p->partition < q->partition ? -1 : 1;
    return (p->offset > q->offset) - (p->offset < q->offset);
}

static bool same_key(const struct series *s, size_t a, size_t b)
{
    return by_key(s, &s->rows[a], &s->rows[b]) == 0;
}

enum status series_finish(struct series *s, struct error *err)
{
    size_t n = 0;

    if (settle(s, err) != OK)
        return err->status;
    if (s->n)
        qsort_r(s->rows, s->n, sizeof(*s->rows), by_key_and_time, s);
    for (size_t i = 0; i < s->n; i++)
        if (i + 1 == s->n || s->rows[i].event_ms != s->rows[i + 1].event_ms || !same_key(s, i, i + 1))
            s->rows[n++] = s->rows[i];
    s->n = n;
    return OK;
}

/* ---- pairs ---- */
struct pairs {
    const struct series *s;
    struct forecast *f;
    const struct expr *weight;
    struct pairs_span span;
    size_t n_steps, n_cols, cap_rows; /* cap_rows: rows of a series a chunk */
    size_t next;                      /* row */
    struct arena arena;               /* of a chunk's fields */
    /* of a chunk: by row */
    size_t *taken;
    uint32_t *all; /* 0, 1, 2, ... */
    int64_t *event_ms;
    float *x;
    double *truth, *scale; /* truth: n_steps each, NaN: no pair */
    /* by pair, of cap_rows * n_steps */
    float *wide, *label, *weights;
    struct pair *pairs;
    int64_t *times;
};

struct pairs *pairs_new(const struct series *s, struct forecast *f, const struct expr *weight, const struct pairs_span *span)
{
    struct pairs *p = xcalloc(1, sizeof(*p));
    size_t steps = forecast_n_steps(f), rows = CHUNK_ROWS / steps + 1;

    *p = (struct pairs){.s = s, .f = f, .weight = weight, .span = *span, .n_steps = steps, .n_cols = forecast_n_cols(f), .cap_rows = rows};
    p->taken = xmalloc(rows * sizeof(*p->taken));
    p->all = xmalloc(rows * sizeof(*p->all));
    for (size_t i = 0; i < rows; i++)
        p->all[i] = (uint32_t)i;
    p->event_ms = xmalloc(rows * sizeof(*p->event_ms));
    p->x = xmalloc((rows * s->n_features + 1) * sizeof(*p->x));
    p->truth = xmalloc(rows * steps * sizeof(*p->truth));
    p->scale = xmalloc(rows * sizeof(*p->scale));
    p->wide = xmalloc(rows * steps * p->n_cols * sizeof(*p->wide));
    p->label = xmalloc(rows * steps * sizeof(*p->label));
    p->weights = xmalloc(rows * steps * sizeof(*p->weights));
    p->pairs = xmalloc(rows * steps * sizeof(*p->pairs));
    p->times = xmalloc(steps * sizeof(*p->times));
    return p;
}

void pairs_free(struct pairs *p)
{
    if (p == NULL)
        return;
    arena_done(&p->arena);
    free(p->taken);
    free(p->all);
    free(p->event_ms);
    free(p->x);
    free(p->truth);
    free(p->scale);
    free(p->wide);
    free(p->label);
    free(p->weights);
    free(p->pairs);
    free(p->times);
    free(p);
}

void pairs_again(struct pairs *p)
{
    p->next = 0;
}

static bool is_asked(const struct pairs *p, size_t row)
{
    const struct series_row *r = &p->s->rows[row];
    double chance = (double)((uint32_t)row * 2654435761U) / 4294967296.0; /* Knuth's: no calendar shows in it */

    return chance < p->span.share && r->asked && r->event_ms >= p->span.from_ms && r->event_ms < p->span.truth_to_ms;
}

/* The truths of a row's steps; how many of them are pairs. Rows of a key lie one after the other. */
static size_t find_truths(struct pairs *p, size_t row, double *truth)
{
    const struct series *s = p->s;
    size_t n = 0, at = row + 1, horizon = forecast_horizon(p->f), lead = forecast_lead_time(p->f);
    double sum = 0;

    forecast_times(p->f, s->rows[row].event_ms, p->times);
    for (size_t i = 0; i < horizon; i++) {
        while (at < s->n && s->rows[at].event_ms < p->times[i] && same_key(s, row, at))
            at++;
        truth[i] = at < s->n && s->rows[at].event_ms == p->times[i] && same_key(s, row, at) ? s->rows[at].value : (double)NAN;
        if (i < lead)
            sum += truth[i];
    }
    if (lead)
        truth[horizon] = sum / (double)lead;
    for (size_t i = 0; i < p->n_steps; i++) {
        if (p->times[i] < p->span.truth_from_ms || p->times[i] >= p->span.truth_to_ms)
            truth[i] = (double)NAN;
        n += isnan(truth[i]) ? 0 : 1;
    }
    return n;
}

size_t pairs_count(struct pairs *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->s->n; i++)
        if (is_asked(p, i))
            n += find_truths(p, i, p->truth);
    return n;
}

static size_t take_rows(struct pairs *p)
{
    const struct series *s = p->s;
    size_t n = 0;

    for (; n < p->cap_rows && p->next < s->n; p->next++) {
        const struct series_row *r = &s->rows[p->next];

        if (!is_asked(p, p->next) || find_truths(p, p->next, p->truth + n * p->n_steps) == 0)
            continue;
        p->taken[n] = p->next;
        p->event_ms[n] = r->event_ms;
        memcpy(p->x + n * s->n_features, s->x + (size_t)r->x * s->n_features, s->n_features * sizeof(*p->x));
        n++;
    }
    return n;
}

static enum status weigh(struct pairs *p, const struct batch *fields, double *ret, struct error *err)
{
    struct col c;

    if (p->weight && expr_eval(p->weight, fields, &c, err) != OK)
        return err_wrap(err, "weight");
    for (size_t r = 0; r < fields->n_rows; r++) {
        double v = p->weight == NULL ? 1 : c.null[r] ? 0 : c.type == COL_DOUBLE ? c.f64[r] : (double)c.i64[r];

        ret[r] = v > 0 ? v : 0;
    }
    return OK;
}

/* The rows of wide that are pairs move together. */
static size_t pack(struct pairs *p, size_t n, const double *weight, const double *offset)
{
    size_t k = 0;

    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < p->n_steps; i++) {
            size_t from = r * p->n_steps + i;
            float label = (float)((p->truth[from] - offset[from]) / p->scale[r]);

            if (!isfinite(label)) /* NaN: none */
                continue;
            memmove(p->wide + k * p->n_cols, p->wide + from * p->n_cols, p->n_cols * sizeof(*p->wide));
            p->label[k] = label;
            p->weights[k] = (float)weight[r];
            p->pairs[k++] = (struct pair){p->taken[r], i, p->scale[r]};
        }
    return k;
}

enum status pairs_next(struct pairs *p, struct booster_chunk *ret, const struct pair **ret_pairs, struct error *err)
{
    size_t n = take_rows(p);
    struct batch fields;
    double *weight, *offset;

    *ret = (struct booster_chunk){.rows = p->wide, .labels = p->label, .weights = p->weight ? p->weights : NULL};
    if (n == 0)
        return OK;
    fields_of(p->s, p->taken, n, &p->arena, &fields);
    weight = arena_alloc(&p->arena, n * sizeof(*weight));
    offset = arena_alloc(&p->arena, n * p->n_steps * sizeof(*offset));
    if (forecast_scale(p->f, &fields, p->scale, err) != OK || weigh(p, &fields, weight, err) != OK ||
        forecast_expand(p->f, &fields, p->event_ms, p->x, p->all, n, p->wide, offset, err) != OK)
        return err->status;
    ret->n_rows = pack(p, n, weight, offset);
    if (ret_pairs)
        *ret_pairs = p->pairs;
    return OK;
}
