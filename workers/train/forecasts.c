/* workers/train/forecasts.c: a job with a target: series -> pairs -> a booster for each output -> metrics, corrections. */
#include <math.h>
#include <stdlib.h>

#include "model/metrics.h"
#include "ops/signals.h"
#include "workers/train/job.h"
#include "workers/train/read.h"

#define PAIRS_MIN 100
#define PAIR_BYTES 48        /* labels, gradients and predictions of one in a fit */
#define ANSWERS_MAX 2000000  /* pairs of the holdout, about: of more a share of the rows */
#define RESIDUALS_MIN 30     /* a step with fewer is corrected by those of all */

struct learning {
    struct job *job;
    struct feature_col *cols; /* that expressions speak of */
    size_t n_cols;
    struct forecast *rows;
    struct expr *weight, *where;
    struct series series;
    float *labels, *clipped; /* of a fit's pairs */
    size_t n_labels;
    double share; /* of the holdout's rows that are asked */
};

/* The model's answers to the holdout's pairs. */
struct answers {
    size_t n, cap, n_outputs;
    double *truth, *values; /* divided by the row's scale; values: n_outputs each */
    size_t *step;
};

static enum status open_learning(struct learning *l, struct error *err)
{
    struct job *j = l->job;
    const struct topic *t = &j->pipeline->topics[j->def->from[0]];
    size_t n, k = 0;
    enum col_type type;

    l->cols = arena_alloc(&j->arena, (t->schema->n + 1) * sizeof(*l->cols));
    n = pipeline_numbers(t, l->cols, t->schema->n);
    if (forecast_new(j->def->target, l->cols, n, j->def->model_features, j->def->n_model_features, &l->rows, err) != OK)
        return err->status;
    if (j->def->weight && expr_new(j->def->weight, l->cols, n, &l->weight, &type, err) != OK)
        return err_wrap(err, "weight");
    if (j->def->where && expr_new(j->def->where, l->cols, n, &l->where, &type, err) != OK)
        return err_wrap(err, "where");
    for (size_t i = 0; i < n; i++)
        if (forecast_needs(l->rows, l->cols[i].name) || (l->weight && expr_needs(l->weight, l->cols[i].name)) ||
            (l->where && expr_needs(l->where, l->cols[i].name)))
            l->cols[k++] = l->cols[i];
    l->n_cols = k;
    series_init(&l->series, j->def->n_model_features, l->cols, l->n_cols, l->where);
    return OK;
}

static struct pairs *pairs_of(const struct learning *l, int64_t truth_from_ms, int64_t truth_to_ms, double share)
{
    const struct job *j = l->job;
    struct pairs_span span = {j->span.from_ms, truth_from_ms, truth_to_ms, share};

    return pairs_new(&l->series, l->rows, l->weight, &span);
}

static const char *param(const struct job *j, const char *name, const char *otherwise)
{
    for (size_t i = 0; i < j->n_params; i++)
        if (strcmp(j->params[i].name, name) == 0)
            return j->params[i].value;
    return otherwise;
}

/* Why nothing can be learnt from so many pairs, or NULL. */
static const char *refuse(struct job *j, size_t n, size_t n_cols)
{
    size_t max = j->def->memory_bytes / 2 / (n_cols * 2 + PAIR_BYTES);

    if (n < PAIRS_MIN)
        return arena_printf(&j->arena, "%zu pairs of row and step whose truth is known, of %lld rows; at least %d are needed", n,
                            (long long)j->rows_all, PAIRS_MIN);
    if (n > max)
        return arena_printf(&j->arena, "%zu pairs of row and step; half of the stage's memory, %zu MiB, takes %zu: narrow \"where\" or raise \"memory\"",
                            n, j->def->memory_bytes >> 20, max);
    return NULL;
}

/* ---- fit ---- */
struct source {
    struct learning *learning;
    struct pairs *pairs;
};

static enum status next_chunk(void *ctx, struct booster_chunk *ret, struct error *err)
{
    struct source *s = ctx;
    struct learning *l = s->learning;

    if (signals_stopping())
        return err_set(err, ERR_RETRY, "stopped");
    if (pairs_next(s->pairs, ret, NULL, err) != OK)
        return err->status;
    memcpy(l->labels + l->n_labels, ret->labels, ret->n_rows * sizeof(*l->labels));
    l->n_labels += ret->n_rows;
    return OK;
}

static void chunks_again(void *ctx)
{
    struct source *s = ctx;

    s->learning->n_labels = 0;
    pairs_again(s->pairs);
}

/* The shared parameters and an output's own, which come in their place. */
static size_t merge(const struct job *j, const struct model_output *o, struct booster_param *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < j->n_params; i++) {
        bool own = false;

        for (size_t k = 0; k < o->n_params; k++)
            own = own || strcmp(o->params[k].name, j->params[i].name) == 0;
        if (!own)
            ret[n++] = j->params[i];
    }
    memcpy(ret + n, o->params, o->n_params * sizeof(*ret));
    return n + o->n_params;
}

static const float *labels_of(const struct learning *l, const struct model_output *o, size_t n)
{
    for (size_t i = 0; i < n; i++)
        l->clipped[i] = l->labels[i] > (float)o->clip ? (float)o->clip : l->labels[i];
    return isnan(o->clip) ? l->labels : l->clipped;
}

static enum status fit_outputs(const struct learning *l, struct booster_matrix *m, struct error *err)
{
    struct job *j = l->job;
    struct model_record *r = &j->record;
    size_t n = booster_matrix_n_rows(m);

    bytes_clear(&j->model);
    for (size_t i = 0; i < r->n_outputs; i++) {
        struct model_output *o = &r->outputs[i];
        struct booster_param *params = arena_alloc(&j->arena, (j->n_params + o->n_params + 1) * sizeof(*params));
        struct booster_fit fit = {.params = params, .n_params = merge(j, o, params), .rounds = o->rounds, .labels = labels_of(l, o, n),
                                  .stopping = signals_stopping};
        size_t before = j->model.n;

        if (booster_train_on(m, &fit, &j->model, err) != OK)
            return err_wrap(err, "output %s", o->name);
        o->n_bytes = (int64_t)(j->model.n - before);
    }
    r->rows = (int64_t)n;
    return OK;
}

static enum status fit(struct learning *l, int64_t truth_to_ms, struct error *err)
{
    struct job *j = l->job;
    struct source s = {l, pairs_of(l, INT64_MIN, truth_to_ms, /* share= */ 1)};
    struct booster_source source = {&s, next_chunk, chunks_again};
    struct booster_matrix *m = NULL;
    size_t n = pairs_count(s.pairs);
    enum status st = OK;

    j->reason = refuse(j, n, forecast_n_cols(l->rows));
    if (j->reason == NULL) {
        l->labels = xrealloc(l->labels, n * sizeof(*l->labels));
        l->clipped = xrealloc(l->clipped, n * sizeof(*l->clipped));
        st = booster_matrix_new(&source, j->record.features, j->record.n_features, atoi(param(j, "max_bin", "256")), &m, err);
    }
    if (j->reason == NULL && st == OK)
        st = fit_outputs(l, m, err);
    booster_matrix_free(m);
    pairs_free(s.pairs);
    return st;
}

/* ---- holdout ---- */
static void answers_done(struct answers *a)
{
    free(a->truth);
    free(a->values);
    free(a->step);
}

static void answers_grow(struct answers *a, size_t n)
{
    while (a->n + n > a->cap)
        a->cap = a->cap ? 2 * a->cap : 8192;
    a->truth = xrealloc(a->truth, a->cap * sizeof(*a->truth));
    a->values = xrealloc(a->values, a->cap * a->n_outputs * sizeof(*a->values));
    a->step = xrealloc(a->step, a->cap * sizeof(*a->step));
}

static enum status ask(struct pairs *pairs, struct forecaster *f, struct answers *a, struct error *err)
{
    struct booster_chunk c;
    const struct pair *of;

    for (;;) {
        if (pairs_next(pairs, &c, &of, err) != OK)
            return err->status;
        if (c.n_rows == 0)
            return OK;
        answers_grow(a, c.n_rows);
        if (forecaster_predict(f, c.rows, c.n_rows, a->values + a->n * a->n_outputs, err) != OK)
            return err->status;
        for (size_t i = 0; i < c.n_rows; i++) {
            a->truth[a->n] = (double)c.labels[i];
            a->step[a->n++] = of[i].step;
        }
    }
}

/* What a model says of the holdout's pairs; false: it is none for these rows. */
static bool answer(const struct learning *l, const struct model_record *r, struct view bytes, struct answers *a)
{
    struct pairs *pairs = pairs_of(l, l->job->span.to_ms, l->job->span.holdout_to_ms, l->share);
    struct forecaster *f = NULL;
    struct error err;
    bool ok;

    a->n_outputs = r->n_outputs;
    ok = forecaster_load(r, bytes, l->cols, l->n_cols, /* tries= */ false, &f, &err) == OK && ask(pairs, f, a, &err) == OK;
    forecaster_free(f);
    pairs_free(pairs);
    return ok;
}

/* Residuals of an output at a step; SIZE_MAX: at all. */
static size_t residuals(const struct answers *a, size_t output, size_t step, double *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++)
        if (step == SIZE_MAX || a->step[i] == step)
            ret[n++] = a->truth[i] - a->values[i * a->n_outputs + output];
    return n;
}

static void calibrate(const struct learning *l, const struct answers *a)
{
    struct model_record *r = &l->job->record;
    size_t n_steps = forecast_n_steps(l->rows);
    double *rest = xmalloc((a->n + 1) * sizeof(*rest));

    for (size_t o = 0; o < r->n_outputs; o++) {
        double share = model_output_share(r, o), all;

        if (isnan(share))
            continue;
        r->outputs[o].corrections = arena_alloc(&l->job->arena, n_steps * sizeof(double));
        r->outputs[o].n_corrections = n_steps;
        all = metrics_conformal(rest, residuals(a, o, SIZE_MAX, rest), share);
        for (size_t i = 0; i < n_steps; i++) {
            size_t n = residuals(a, o, i, rest);

            r->outputs[o].corrections[i] = n < RESIDUALS_MIN ? all : metrics_conformal(rest, n, share);
        }
    }
    free(rest);
}

/* ---- metrics ---- */
static double metric_of(const struct model_record *r, const struct answers *a, size_t output)
{
    double share = model_output_share(r, output), *values = xmalloc((a->n + 1) * sizeof(*values)), metric;

    for (size_t i = 0; i < a->n; i++)
        values[i] = a->values[i * a->n_outputs + output];
    metric = isnan(share) ? metrics_rmse(values, a->truth, a->n) : metrics_pinball(values, a->truth, a->n, share);
    free(values);
    return metric;
}

static double champions(const struct job *j, const struct answers *a, const char *output)
{
    for (size_t i = 0; a->n && i < j->champion_record->n_outputs; i++)
        if (strcmp(j->champion_record->outputs[i].name, output) == 0)
            return metric_of(j->champion_record, a, i);
    return (double)NAN;
}

/* The champion is asked the same only where its rows are the same. */
static bool is_rival(const struct job *j)
{
    const struct model_record *c = j->champion_record, *r = &j->record;

    if (c == NULL || c->target == NULL || c->n_features != r->n_features || c->target->horizon != r->target->horizon ||
        c->target->lead_time != r->target->lead_time || c->target->every_ms != r->target->every_ms ||
        strcmp(c->target->value, r->target->value) != 0 || strcmp(c->target->scale, r->target->scale) != 0 ||
        strcmp(c->target->offset, r->target->offset) != 0 || strcmp(c->target->zone, r->target->zone) != 0 || c->target->n_known != r->target->n_known)
        return false;
    for (size_t i = 0; i < c->target->n_known; i++)
        if (strcmp(c->target->known[i].expr, r->target->known[i].expr) != 0)
            return false;
    for (size_t i = 0; i < c->n_features; i++)
        if (strcmp(c->features[i], r->features[i]) != 0)
            return false;
    return true;
}

static double holdout_share(const struct learning *l)
{
    struct pairs *pairs = pairs_of(l, l->job->span.to_ms, l->job->span.holdout_to_ms, /* share= */ 1);
    size_t n = pairs_count(pairs);

    pairs_free(pairs);
    return n > ANSWERS_MAX ? (double)ANSWERS_MAX / (double)n : 1;
}

static void evaluate(struct learning *l)
{
    struct job *j = l->job;
    struct model_record *r = &j->record;
    struct answers mine = {0}, theirs = {0};
    bool rival;

    l->share = holdout_share(l);
    if (j->span.to_ms >= j->span.holdout_to_ms || !answer(l, r, view_of(j->model.data, j->model.n), &mine) || mine.n == 0) {
        answers_done(&mine);
        return;
    }
    rival = is_rival(j) && answer(l, j->champion_record, view_of(j->champion.data, j->champion.n), &theirs);
    r->holdout_rows = (int64_t)mine.n;
    r->champion = rival ? j->champion_version : -1;
    r->metrics = arena_zalloc(&j->arena, r->n_outputs * sizeof(*r->metrics));
    for (size_t i = 0; i < r->n_outputs; i++)
        r->metrics[r->n_metrics++] = (struct model_metric){
            arena_printf(&j->arena, "%s_%s", r->outputs[i].name, model_output_metric(r, i)),
            metric_of(r, &mine, i), rival ? champions(j, &theirs, r->outputs[i].name) : (double)NAN};
    if (j->def->calibrate)
        calibrate(l, &mine);
    answers_done(&mine);
    answers_done(&theirs);
}

/* ---- a job ---- */
static void describe(struct learning *l)
{
    struct job *j = l->job;
    struct model_record *r = &j->record;

    r->features = arena_copy(&j->arena, forecast_cols(l->rows), forecast_n_cols(l->rows) * sizeof(*r->features));
    r->n_features = forecast_n_cols(l->rows);
    r->target = arena_copy(&j->arena, j->def->target, sizeof(*r->target));
    r->target->zone_data = arena_strdup(&j->arena, forecast_zone_data(l->rows));
    r->outputs = arena_copy(&j->arena, j->def->outputs, j->def->n_outputs * sizeof(*r->outputs));
    r->n_outputs = j->def->n_outputs;
    for (size_t i = 0; j->rounds != j->def->rounds && i < r->n_outputs; i++) /* by command */
        r->outputs[i].rounds = j->rounds;
}

static void histograms(const struct learning *l)
{
    struct job *j = l->job;
    struct model_record *r = &j->record;
    size_t n = l->series.n_features;

    r->histograms = arena_zalloc(&j->arena, (n + 1) * sizeof(*r->histograms));
    for (size_t f = 0; f < n; f++)
        model_histogram_make(r->features[f], l->series.x + f, l->series.n_x, n, &j->arena, &r->histograms[r->n_histograms++]);
}

static enum status learn(struct learning *l, struct error *err)
{
    struct job *j = l->job;

    if (open_learning(l, err) != OK)
        return err->status;
    describe(l);
    if (read_series(j, &l->series, err) != OK)
        return err->status;
    j->rows_all = (int64_t)l->series.n;
    if (series_finish(&l->series, err) != OK)
        return err->status;
    if (j->span.as_of_ms == INT64_MAX)
        j->span.as_of_ms = j->record.as_of_ms = j->span.holdout_to_ms;
    if (fit(l, j->span.to_ms, err) != OK)
        return err->status;
    if (j->reason == NULL)
        evaluate(l);
    if (j->reason == NULL && j->def->refit) {
        j->record.to_ms = j->span.holdout_to_ms;
        if (fit(l, j->span.holdout_to_ms, err) != OK)
            return err->status;
    }
    if (j->reason == NULL)
        histograms(l);
    j->trained = j->reason == NULL;
    return OK;
}

enum status forecasts_learn(struct job *j, struct error *err)
{
    struct learning l = {.job = j};
    enum status st = learn(&l, err);

    series_done(&l.series);
    expr_free(l.weight);
    expr_free(l.where);
    free(l.labels);
    free(l.clipped);
    forecast_free(l.rows);
    return st;
}
