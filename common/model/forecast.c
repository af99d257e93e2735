#include "model/forecast.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "feature/borders.h"
#include "feature/expr.h"

struct forecast {
    struct arena arena; /* what lives as long as it */
    const struct forecast_def *def;
    struct borders borders;
    struct expr *scale, *offset, **known;
    const char *zone_data;
    const char **cols;
    size_t n_features, n_known, n_cols, n_steps;
    const char **needed; /* fields of a row that known expressions speak of */
    size_t n_needed;
    struct arena scratch; /* of one call */
    int64_t *times;       /* of one row */
};

static enum status compile(const char *name, const char *text, const struct feature_col *cols, size_t n, struct expr **ret,
                           struct error *err)
{
    enum col_type type;

    if (expr_new(text, cols, n, ret, &type, err) != OK)
        return err_wrap(err, "%s", name);
    return type <= COL_DOUBLE ? OK : err_set(err, ERR_FATAL, "%s: expected a number, got a %s", name, col_type_name(type));
}

/* Whether what is evaluated at the target's time needs that field of the row. */
static bool at_target(const struct forecast *f, const char *col)
{
    bool needs = f->offset && expr_needs(f->offset, col);

    for (size_t k = 0; k < f->n_known; k++)
        needs = needs || expr_needs(f->known[k], col);
    return needs;
}

static enum status compile_all(struct forecast *f, const struct feature_col *cols, size_t n_cols, struct error *err)
{
    const struct forecast_def *d = f->def;
    struct feature_col *all = arena_alloc(&f->arena, (n_cols + 2) * sizeof(*all));

    if (d->scale[0] && compile("scale", d->scale, cols, n_cols, &f->scale, err) != OK)
        return err->status;
    if (n_cols)
        memcpy(all, cols, n_cols * sizeof(*all));
    all[n_cols] = (struct feature_col){FORECAST_STEP, COL_INT, false, -1};
    all[n_cols + 1] = (struct feature_col){FORECAST_TIME, COL_INT, true, -1};
    if (d->offset[0] && compile("offset", d->offset, all, n_cols + 2, &f->offset, err) != OK)
        return err->status;
    f->needed = arena_alloc(&f->arena, (n_cols + 1) * sizeof(*f->needed));
    for (; f->n_known < d->n_known; f->n_known++)
        if (compile(d->known[f->n_known].name, d->known[f->n_known].expr, all, n_cols + 2, &f->known[f->n_known], err) != OK) {
            f->n_known += f->known[f->n_known] != NULL;
            return err->status;
        }
    for (size_t i = 0; i < n_cols; i++)
        if (at_target(f, cols[i].name))
            f->needed[f->n_needed++] = arena_strdup(&f->arena, cols[i].name);
    return OK;
}

static bool names_zone(const struct forecast *f)
{
    bool names = f->borders.zone || (f->scale && expr_zone_data(f->scale)) || (f->offset && expr_zone_data(f->offset));

    for (size_t i = 0; i < f->n_known; i++)
        names = names || expr_zone_data(f->known[i]);
    return names;
}

static enum status check_zone_data(struct forecast *f, struct error *err)
{
    const char *trained = f->def->zone_data;

    f->zone_data = "";
    if (names_zone(f) && zone_version(&f->arena, &f->zone_data, err) != OK)
        return err->status;
    if (trained && trained[0] && strcmp(trained, f->zone_data) != 0)
        return err_set(err, ERR_FATAL, "zone data: the model was trained with version %.40s, here is %s: retrain it, or set TZDIR to that version",
                       trained, f->zone_data[0] ? f->zone_data : "none");
    return OK;
}

enum status forecast_new(const struct forecast_def *def, const struct feature_col *cols, size_t n_cols,
                         const char *const *features, size_t n_features, struct forecast **ret_forecast, struct error *err)
{
    struct forecast *f = xcalloc(1, sizeof(*f));
    enum status st = OK;

    f->def = def;
    f->n_features = n_features;
    f->n_steps = (size_t)def->horizon + (def->lead_time > 0);
    f->borders.every_ms = def->every_ms;
    f->known = arena_zalloc(&f->arena, (def->n_known + 1) * sizeof(*f->known));
    f->times = arena_alloc(&f->arena, f->n_steps * sizeof(*f->times));
    f->cols = arena_alloc(&f->arena, (n_features + def->n_known + 2) * sizeof(*f->cols));
    for (size_t i = 0; i < n_features; i++)
        f->cols[f->n_cols++] = features[i];
    for (size_t i = 0; i < def->n_known; i++)
        f->cols[f->n_cols++] = def->known[i].name;
    f->cols[f->n_cols++] = FORECAST_STEP;
    if (def->lead_time > 0)
        f->cols[f->n_cols++] = FORECAST_STEPS;
    if (def->zone[0])
        st = zone_load(def->zone, &f->arena, &f->borders.zone, err);
    if (st == OK)
        st = compile_all(f, cols, n_cols, err);
    if (st == OK)
        st = check_zone_data(f, err);
    if (st == OK)
        *ret_forecast = f;
    else
        forecast_free(f);
    return st;
}

void forecast_free(struct forecast *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->n_known; i++)
        expr_free(f->known[i]);
    expr_free(f->scale);
    expr_free(f->offset);
    arena_done(&f->scratch);
    arena_done(&f->arena);
    free(f);
}

size_t forecast_n_steps(const struct forecast *f)
{
    return f->n_steps;
}

size_t forecast_horizon(const struct forecast *f)
{
    return (size_t)f->def->horizon;
}

size_t forecast_lead_time(const struct forecast *f)
{
    return (size_t)f->def->lead_time;
}

size_t forecast_n_cols(const struct forecast *f)
{
    return f->n_cols;
}

const char *const *forecast_cols(const struct forecast *f)
{
    return f->cols;
}

const char *forecast_zone_data(const struct forecast *f)
{
    return f->zone_data;
}

bool forecast_needs(const struct forecast *f, const char *col)
{
    return (f->scale && expr_needs(f->scale, col)) || at_target(f, col);
}

void forecast_times(const struct forecast *f, int64_t t, int64_t *ret_times)
{
    size_t horizon = (size_t)f->def->horizon;

    borders_steps(&f->borders, t, horizon, ret_times);
    if (f->def->lead_time > 0)
        ret_times[horizon] = ret_times[f->def->lead_time - 1];
}

static double number_of(const struct col *c, size_t row)
{
    if (c->null[row])
        return (double)NAN;
    return c->type == COL_DOUBLE ? c->f64[row] : (double)c->i64[row];
}

enum status forecast_scale(const struct forecast *f, const struct batch *in, double *ret_scale, struct error *err)
{
    struct col c;

    if (f->scale && expr_eval(f->scale, in, &c, err) != OK)
        return err_wrap(err, "scale");
    for (size_t r = 0; r < in->n_rows; r++) {
        double v = f->scale ? number_of(&c, r) : 1;

        ret_scale[r] = v > 0 && isfinite(v) ? v : 1;
    }
    return OK;
}

static void repeat(const struct col *from, size_t row, size_t n, struct col *to, size_t at)
{
    memset(to->null + at, from->null[row], n);
    for (size_t i = at; i < at + n; i++)
        if (from->type >= COL_STRING)
            to->view[i] = from->view[row];
        else
            to->i64[i] = from->i64[row]; /* of a double its bits */
}

/* The batch that the known expressions are evaluated over: a row for each step of each row. */
static enum status steps_batch(struct forecast *f, const struct batch *in, const int64_t *event_ms, const uint32_t *rows, size_t n,
                               struct batch *ret, struct error *err)
{
    struct col *step, *time;

    batch_init(ret, &f->scratch, n * f->n_steps);
    ret->n_rows = n * f->n_steps;
    for (size_t k = 0; k < f->n_needed; k++) {
        const struct col *c = batch_col(in, f->needed[k]);
        struct col *to;

        if (c == NULL)
            return err_set(err, ERR_FATAL, "no column '%s', which the model's known columns need", f->needed[k]);
        to = batch_add_col(ret, f->needed[k], c->type);
        for (size_t r = 0; r < n; r++)
            repeat(c, rows[r], f->n_steps, to, r * f->n_steps);
    }
    batch_add_col(ret, FORECAST_STEP, COL_INT);
    batch_add_col(ret, FORECAST_TIME, COL_INT);
    step = batch_col(ret, FORECAST_STEP);
    time = batch_col(ret, FORECAST_TIME);
    for (size_t r = 0; r < n; r++) {
        if (r == 0 || event_ms[rows[r]] != event_ms[rows[r - 1]])
            forecast_times(f, event_ms[rows[r]], f->times);
        for (size_t s = 0; s < f->n_steps; s++) {
            step->i64[r * f->n_steps + s] = s < (size_t)f->def->horizon ? (int64_t)s + 1 : f->def->lead_time;
            time->i64[r * f->n_steps + s] = f->times[s];
        }
    }
    return OK;
}

static enum status offsets(const struct forecast *f, const struct batch *steps, double *ret, struct error *err)
{
    size_t horizon = (size_t)f->def->horizon, lead = (size_t)f->def->lead_time;
    struct col c;

    if (f->offset && expr_eval(f->offset, steps, &c, err) != OK)
        return err_wrap(err, "offset");
    for (size_t r = 0; r < steps->n_rows; r++)
        ret[r] = f->offset && !c.null[r] ? number_of(&c, r) : 0;
    for (size_t r = horizon; lead && r < steps->n_rows; r += f->n_steps) {
        ret[r] = 0;
        for (size_t i = 0; i < lead; i++)
            ret[r] += ret[r - horizon + i] / (double)lead;
    }
    return OK;
}

/* Of the lead time the mean over its steps of those that are there: a weekday's mean, or an offer, of its last day alone says little of the sum. */
static float mean_over_lead_time(const struct forecast *f, const float *steps)
{
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < (size_t)f->def->lead_time; i++) {
        float v = steps[i * f->n_cols];

        sum += isnan(v) ? 0 : (double)v;
        n += isnan(v) ? 0 : 1;
    }
    return n ? (float)(sum / (double)n) : NAN;
}

/* ret: a column of n_rows rows. */
static void put_known(const struct forecast *f, const struct col *c, size_t n_rows, float *ret)
{
    size_t horizon = (size_t)f->def->horizon;

    for (size_t r = 0; r < n_rows; r++) {
        float v = (float)number_of(c, r);

        ret[r * f->n_cols] = isinf(v) ? NAN : v;
    }
    for (size_t r = horizon; f->def->lead_time && r < n_rows; r += f->n_steps)
        ret[r * f->n_cols] = mean_over_lead_time(f, ret + (r - horizon) * f->n_cols);
}

enum status forecast_expand(struct forecast *f, const struct batch *in, const int64_t *event_ms, const float *x,
                            const uint32_t *rows, size_t n, float *ret_x, double *ret_offset, struct error *err)
{
    struct batch b;
    size_t n_rows = n * f->n_steps;
    const struct col *step;

    arena_reset(&f->scratch);
    if (steps_batch(f, in, event_ms, rows, n, &b, err) != OK || offsets(f, &b, ret_offset, err) != OK)
        return err->status;
    step = batch_col(&b, FORECAST_STEP);
    for (size_t r = 0; r < n_rows; r++) {
        float *row = ret_x + r * f->n_cols;

        memcpy(row, x + rows[r / f->n_steps] * f->n_features, f->n_features * sizeof(*x));
        row[f->n_features + f->n_known] = (float)step->i64[r];
        if (f->def->lead_time > 0)
            row[f->n_cols - 1] = r % f->n_steps < (size_t)f->def->horizon ? 1 : (float)f->def->lead_time;
    }
    for (size_t k = 0; k < f->n_known; k++) {
        struct col c;

        if (expr_eval(f->known[k], &b, &c, err) != OK)
            return err_wrap(err, "%s", f->def->known[k].name);
        put_known(f, &c, n_rows, ret_x + f->n_features + k);
    }
    return OK;
}
