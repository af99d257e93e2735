#include "model/forecaster.h"

#include <math.h>
#include <stdlib.h>

struct forecaster {
    const struct model_record *record;
    struct forecast *rows;
    struct model *models[MODEL_OUTPUTS_MAX];
    size_t n_features;
    size_t quantiles[MODEL_OUTPUTS_MAX], n_quantiles; /* outputs, in the order of their shares */
    float *scores;
    size_t cap_scores;
};

static void order_quantiles(struct forecaster *f)
{
    for (size_t i = 0; i < f->record->n_outputs; i++) {
        double share = model_output_share(f->record, i);
        size_t k = f->n_quantiles;

        if (isnan(share))
            continue;
        for (; k > 0 && model_output_share(f->record, f->quantiles[k - 1]) > share; k--)
            f->quantiles[k] = f->quantiles[k - 1];
        f->quantiles[k] = i;
        f->n_quantiles++;
    }
}

static enum status load_output(struct forecaster *f, size_t i, struct view bytes, bool tries, struct error *err)
{
    if ((tries && model_try(bytes, err) != OK) || model_load(bytes, &f->models[i], err) != OK ||
        model_expects(f->models[i], f->record->features, f->record->n_features, err) != OK)
        return err->status;
    if (model_n_outputs(f->models[i]) != 1)
        return err_set(err, ERR_RECORD, "expected one number a row, got %zu", model_n_outputs(f->models[i]));
    return OK;
}

static enum status load_all(struct forecaster *f, struct view bytes, bool tries, struct error *err)
{
    const struct model_record *m = f->record;
    size_t at = 0;

    for (size_t i = 0; i < m->n_outputs; i++) {
        size_t n = (size_t)m->outputs[i].n_bytes;

        if (n > bytes.n - at)
            return err_set(err, ERR_RECORD, "output %s: expected %zu bytes, %zu are left", m->outputs[i].name, n, bytes.n - at);
        if (load_output(f, i, view_of(bytes.data + at, n), tries, err) != OK)
            return err_wrap(err, "output %s", m->outputs[i].name);
        at += n;
    }
    return OK;
}

enum status forecaster_load(const struct model_record *record, struct view bytes, const struct feature_col *cols, size_t n_cols,
                            bool tries, struct forecaster **ret_forecaster, struct error *err)
{
    struct forecaster *f;
    size_t more;
    enum status st;

    if (record->target == NULL || record->n_outputs == 0)
        return err_set(err, ERR_RECORD, "model: expected one of forecasts, it gives one score a row");
    more = record->target->n_known + 1 + (record->target->lead_time > 0);
    if (record->n_features <= more)
        return err_set(err, ERR_RECORD, "model: expected features beside the %zu columns of a step, it has %zu in all", more,
                       record->n_features);
    f = xcalloc(1, sizeof(*f));
    f->record = record;
    f->n_features = record->n_features - more;
    order_quantiles(f);
    st = forecast_new(record->target, cols, n_cols, record->features, f->n_features, &f->rows, err);
    for (size_t i = 0; st == OK && i < record->n_features; i++)
        if (strcmp(record->features[i], forecast_cols(f->rows)[i]) != 0)
            st = err_set(err, ERR_RECORD, "model: column %zu: expected '%.100s', it has '%.100s'", i, forecast_cols(f->rows)[i],
                         record->features[i]);
    if (st == OK)
        st = load_all(f, bytes, tries, err);
    if (st == OK)
        *ret_forecaster = f;
    else
        forecaster_free(f);
    return st;
}

void forecaster_free(struct forecaster *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < MODEL_OUTPUTS_MAX; i++)
        model_free(f->models[i]);
    forecast_free(f->rows);
    free(f->scores);
    free(f);
}

struct forecast *forecaster_rows(const struct forecaster *f)
{
    return f->rows;
}

size_t forecaster_n_features(const struct forecaster *f)
{
    return f->n_features;
}

bool forecaster_is_flat(const struct forecaster *f)
{
    bool flat = true;

    for (size_t i = 0; i < f->record->n_outputs; i++)
        flat = flat && model_is_flat(f->models[i]);
    return flat;
}

enum status forecaster_predict(struct forecaster *f, const float *rows, size_t n, double *ret, struct error *err)
{
    size_t n_outputs = f->record->n_outputs;

    if (n > f->cap_scores) {
        f->cap_scores = n;
        f->scores = xrealloc(f->scores, n * sizeof(*f->scores));
    }
    for (size_t i = 0; i < n_outputs; i++) {
        if (model_predict(f->models[i], rows, n, f->scores, err) != OK)
            return err_wrap(err, "output %s", f->record->outputs[i].name);
        for (size_t r = 0; r < n; r++)
            ret[r * n_outputs + i] = (double)f->scores[r];
    }
    return OK;
}

static void sort_quantiles(const struct forecaster *f, double *values)
{
    for (size_t i = 1; i < f->n_quantiles; i++)
        for (size_t k = i; k > 0 && values[f->quantiles[k - 1]] > values[f->quantiles[k]]; k--) {
            double v = values[f->quantiles[k]];

            values[f->quantiles[k]] = values[f->quantiles[k - 1]];
            values[f->quantiles[k - 1]] = v;
        }
}

void forecaster_finish(const struct forecaster *f, size_t step, double scale, double offset, double *values)
{
    const struct model_record *m = f->record;

    for (size_t i = 0; i < m->n_outputs; i++) {
        const struct model_output *o = &m->outputs[i];

        values[i] = (values[i] + (o->n_corrections ? o->corrections[step] : 0)) * scale + offset;
        if (values[i] < m->target->min)
            values[i] = m->target->min;
    }
    sort_quantiles(f, values);
}
