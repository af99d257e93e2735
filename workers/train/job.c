#include "workers/train/job.h"

#include <math.h>
#include <stdlib.h>

#include "model/metrics.h"
#include "model/model.h"
#include "ops/signals.h"
#include "workers/train/gate.h"
#include "workers/train/read.h"

#define ROWS_MIN 100

static const char *param(const struct job *j, const char *name, const char *otherwise)
{
    for (size_t i = 0; i < j->n_params; i++)
        if (strcmp(j->params[i].name, name) == 0)
            return j->params[i].value;
    return otherwise;
}

/* Why nothing can be learnt from these rows, or NULL. */
static const char *refuse(struct job *j, size_t rows, size_t positives)
{
    if (rows < ROWS_MIN)
        return arena_printf(&j->arena, "%zu matured rows of %lld; at least %d are needed", rows,
                            (long long)j->rows_all, ROWS_MIN);
    if (strncmp(j->record.objective, "binary:", 7) == 0 && (positives == 0 || positives == rows))
        return arena_printf(&j->arena, "one class only: %zu positives in %zu rows", positives, rows);
    return NULL;
}

static void add_metric(struct job *j, const char *name, double value, double champion)
{
    if (!isnan(value))
        j->record.metrics[j->record.n_metrics++] = (struct model_metric){name, value, champion};
}

/* Scores of rows [from, from + n) by a model's bytes; false: it does not fit these rows. */
static bool predict(struct job *j, struct view bytes, const float *x, size_t n, double *ret_scores)
{
    struct model *m = NULL;
    struct error err;
    float *scores = xmalloc((n + 1) * sizeof(*scores));
    bool ok = model_load(bytes, &m, &err) == OK && model_n_outputs(m) == 1 &&
              model_expects(m, (const char *const *)j->record.features, j->record.n_features, &err) == OK &&
              model_predict(m, x, n, scores, &err) == OK;

    for (size_t i = 0; ok && i < n; i++)
        ret_scores[i] = (double)scores[i];
    model_free(m);
    free(scores);
    return ok;
}

/* On the holdout: this model beside the champion, on the same rows. */
static void evaluate(struct job *j, const struct data *d, size_t from)
{
    size_t n = d->n - from;
    double *label = arena_alloc(&j->arena, (n + 1) * sizeof(*label));
    double *mine = arena_alloc(&j->arena, (n + 1) * sizeof(*mine)), *theirs = arena_alloc(&j->arena, (n + 1) * sizeof(*theirs));
    const float *x = d->x + from * d->n_features;
    bool rival;

    j->record.metrics = arena_zalloc(&j->arena, 3 * sizeof(*j->record.metrics));
    j->record.holdout_rows = (int64_t)n;
    j->record.champion = -1;
    if (n == 0 || !predict(j, view_of(j->model.data, j->model.n), x, n, mine))
        return;
    for (size_t i = 0; i < n; i++)
        label[i] = (double)d->rows[from + i].label;
    rival = j->champion.n != 0 && predict(j, view_of(j->champion.data, j->champion.n), x, n, theirs);
    j->record.champion = rival ? j->champion_version : -1;
    add_metric(j, "auc", metrics_roc_auc(mine, label, n), rival ? metrics_roc_auc(theirs, label, n) : (double)NAN);
    add_metric(j, "average_precision", metrics_average_precision(mine, label, n),
               rival ? metrics_average_precision(theirs, label, n) : (double)NAN);
    add_metric(j, "logloss", metrics_logloss(mine, label, n), rival ? metrics_logloss(theirs, label, n) : (double)NAN);
}

static void histograms(struct job *j, const struct data *d, size_t n)
{
    struct model_record *r = &j->record;
    double *scores = xmalloc((n + 1) * sizeof(*scores));
    float *column = xmalloc((n + 1) * sizeof(*column));

    r->histograms = arena_zalloc(&j->arena, (d->n_features + 1) * sizeof(*r->histograms));
    for (size_t f = 0; f < d->n_features; f++)
        model_histogram_make(r->features[f], d->x + f, n, d->n_features, &j->arena, &r->histograms[r->n_histograms++]);
    if (predict(j, view_of(j->model.data, j->model.n), d->x, n, scores)) {
        for (size_t i = 0; i < n; i++)
            column[i] = (float)scores[i];
        model_histogram_make("score", column, n, 1, &j->arena, &r->histograms[r->n_histograms++]);
    }
    free(scores);
    free(column);
}

static enum status fit(struct job *j, const struct data *d, size_t n, const float *labels, struct error *err)
{
    struct booster_fit f = {
        .params = j->params, .n_params = j->n_params, .rounds = j->rounds,
        .features = (const char *const *)j->record.features, .n_features = d->n_features,
        .rows = d->x, .labels = labels, .n_rows = n, .stopping = signals_stopping,
    };

    return booster_train(&f, &j->model, err);
}

static void describe(struct job *j)
{
    struct model_record *r = &j->record;

    r->name = j->def->model;
    r->features = j->def->model_features;
    r->n_features = j->def->n_model_features;
    r->feature_set = j->def->feature_set ? j->def->feature_set : "";
    r->objective = param(j, "objective", "");
    r->params = arena_copy(&j->arena, j->params, j->n_params * sizeof(*j->params));
    r->n_params = j->n_params;
    r->rounds = j->rounds;
    r->seed = atoll(param(j, "seed", "0"));
    r->library = booster_version();
    r->from_ms = j->span.from_ms;
    r->to_ms = j->span.to_ms;
    r->holdout_to_ms = j->span.holdout_to_ms;
    r->as_of_ms = j->span.as_of_ms;
    r->champion = -1;
}

static enum status learn_labels(struct job *j, struct data *d, struct error *err)
{
    struct labelling l = {j->def->label_value, j->def->label_absent, j->def->label_after_ms, 0};
    struct model_record *r = &j->record;
    size_t n, positives;
    float *labels;
    enum status st;

    if (read_rows(j, d, err) != OK || read_labels(j, d, err) != OK)
        return err->status;
    j->rows_all = (int64_t)d->n;
    l.as_of_ms = j->span.as_of_ms;
    data_finish(d, &l);
    n = data_from(d, j->span.to_ms);
    labels = xmalloc((n + 1) * sizeof(*labels));
    data_labels(d, 0, n, labels, &positives);
    j->reason = refuse(j, n, positives);
    st = j->reason ? OK : fit(j, d, n, labels, err);
    free(labels);
    if (st != OK || j->reason)
        return st;
    r->as_of_ms = j->span.as_of_ms; /* which reading the labels may have set */
    r->rows = (int64_t)n;
    r->positives = (int64_t)positives;
    evaluate(j, d, n);
    histograms(j, d, n);
    j->trained = true;
    return OK;
}

static enum status by_labels(struct job *j, struct error *err)
{
    struct data d;
    enum status st;

    data_init(&d, j->def->n_model_features);
    st = learn_labels(j, &d, err);
    data_done(&d);
    return st;
}

/* What is trained by command is wanted. */
static enum status judge(struct job *j, struct error *err)
{
    bool single = j->span.boundary_ms == INT64_MIN;

    j->promoted = true;
    j->reason = single ? "trained by command" : "every trained model is promoted";
    if (single || j->def->promote_when == NULL)
        return OK;
    return gate_judge(j->def, &j->record, j->champion.n != 0, &j->arena, &j->promoted, &j->reason, err);
}

void job_run(struct job *j)
{
    describe(j);
    j->status = j->def->target ? forecasts_learn(j, &j->err) : by_labels(j, &j->err);
    if (j->status == OK && j->trained)
        j->status = judge(j, &j->err);
}

const char *job_outcome(const struct job *j)
{
    return !j->trained ? "nothing_to_train" : j->promoted ? "promoted" : "refused";
}

void job_done(struct job *j)
{
    bytes_done(&j->champion);
    bytes_done(&j->model);
    arena_done(&j->arena);
}
