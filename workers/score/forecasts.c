#include "workers/score/forecasts.h"

#include <stdio.h>

#include "wire/avro.h"

#define CHUNK_ROWS 4096 /* of the model, about */

void forecasts_init(struct forecasts *f, size_t n, size_t n_outputs, struct arena *arena)
{
    static const uint8_t no_items = 0;

    f->n_outputs = n_outputs;
    f->steps = arena_alloc(arena, (n + 1) * sizeof(*f->steps));
    f->lead = arena_zalloc(arena, (n * n_outputs + 1) * sizeof(*f->lead));
    for (size_t r = 0; r < n; r++)
        f->steps[r] = view_of(&no_items, 1);
}

/* offset: n_steps; values: n_steps x n_outputs. */
static void put_row(struct forecaster *model, int64_t event_ms, double scale, const double *offset, double *values, struct arena *arena, struct view *ret_steps,
                    double *ret_lead, size_t n_outputs)
{
    const struct forecast *f = forecaster_rows(model);
    size_t horizon = forecast_horizon(f), n_steps = forecast_n_steps(f);
    int64_t *times = arena_alloc(arena, n_steps * sizeof(*times));
    struct bytes out = BYTES_EMPTY;

    forecast_times(f, event_ms, times);
    for (size_t i = 0; i < n_steps; i++)
        forecaster_finish(model, i, scale, offset[i], values + i * n_outputs);
    avro_put_long(&out, (int64_t)horizon);
    for (size_t i = 0; i < horizon; i++) {
        avro_put_long(&out, (int64_t)i + 1);
        avro_put_long(&out, times[i]);
        for (size_t k = 0; k < n_outputs; k++)
            avro_put_double(&out, values[i * n_outputs + k]);
    }
    avro_put_long(&out, 0);
    *ret_steps = view_of(arena_copy(arena, out.data, out.n), out.n);
    bytes_done(&out);
    for (size_t k = 0; k < n_outputs && n_steps > horizon; k++) /* the model's is a step's share of it */
        ret_lead[k] = values[horizon * n_outputs + k] * (double)forecast_lead_time(f);
}

enum status forecasts_make(struct forecaster *model, const struct rows *in, const float *x, const uint32_t *rows, size_t n_rows,
                           struct forecasts *ret, struct error *err)
{
    struct forecast *f = forecaster_rows(model);
    struct arena *arena = in->cols->arena;
    size_t n_steps = forecast_n_steps(f), chunk = CHUNK_ROWS / n_steps + 1;
    float *wide = arena_alloc(arena, chunk * n_steps * forecast_n_cols(f) * sizeof(*wide));
    double *values = arena_alloc(arena, chunk * n_steps * ret->n_outputs * sizeof(*values));
    double *offset = arena_alloc(arena, chunk * n_steps * sizeof(*offset));
    double *scale = arena_alloc(arena, (in->cols->n_rows + 1) * sizeof(*scale));

    if (forecast_scale(f, in->cols, scale, err) != OK)
        return err->status;
    for (size_t at = 0; at < n_rows; at += chunk) {
        size_t n = n_rows - at < chunk ? n_rows - at : chunk;

        if (forecast_expand(f, in->cols, in->event_ms, x, rows + at, n, wide, offset, err) != OK ||
            forecaster_predict(model, wide, n * n_steps, values, err) != OK)
            return err_wrap(err, "forecast %zu rows", n);
        for (size_t i = 0; i < n; i++) {
            uint32_t r = rows[at + i];

            put_row(model, in->event_ms[r], scale[r], offset + i * n_steps, values + i * n_steps * ret->n_outputs, arena, &ret->steps[r],
                    ret->lead + r * ret->n_outputs, ret->n_outputs);
        }
    }
    return OK;
}

static bool is_field(const struct schema *record, size_t i, const char *name, enum schema_type type)
{
    return i < record->n && strcmp(record->fields[i].name, name) == 0 && record->fields[i].type->type == type;
}

enum status forecasts_check(const struct schema *to, const struct stage_def *def, struct error *err)
{
    const struct schema *list = schema_at(to, "forecast"), *item = list ? schema_unwrap(list)->items : NULL;
    bool good = item && list->type == SCHEMA_ARRAY && item->type == SCHEMA_RECORD && item->n == 2 + def->n_outputs &&
                is_field(item, 0, "step", SCHEMA_INT) && is_field(item, 1, "time", SCHEMA_LONG);
    char name[256];

    for (size_t i = 0; good && i < def->n_outputs; i++)
        good = is_field(item, 2 + i, def->outputs[i].name, SCHEMA_DOUBLE);
    if (!good)
        return err_set(err, ERR_FATAL, "expected a field 'forecast', an array of records of step (int), time (long) and the outputs of "
                                       "the model's train stage in their order (double); a derived schema has it");
    if (schema_at(to, "score_reason") == NULL)
        return err_set(err, ERR_FATAL, "expected a field 'score_reason' (text or null), got none");
    for (size_t i = 0; def->target->lead_time > 0 && i < def->n_outputs; i++) {
        snprintf(name, sizeof(name), "lead_time_%s", def->outputs[i].name);
        if (schema_at(to, name) == NULL)
            return err_set(err, ERR_FATAL, "expected a field '%s' (a number or null), got none", name);
    }
    return OK;
}
