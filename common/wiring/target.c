/* target: what a train stage forecasts, "target" and "outputs", and what the stage of score behind it gives out. */
#include <math.h>
#include <stdlib.h>

#include "feature/zone.h"
#include "model/forecast.h"
#include "wire/plan.h"
#include "wiring/load.h"

#define SECOND_MS ((int64_t)1000)

size_t pipeline_numbers(const struct topic *t, struct feature_col *ret, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < t->schema->n && n < cap; i++) {
        const struct schema_field *f = &t->schema->fields[i];
        enum col_type type = schema_col_type(schema_unwrap(f->type));

        if (type <= COL_DOUBLE)
            ret[n++] = (struct feature_col){f->name, type, schema_is_time(f->type), -1};
    }
    return n;
}

/* ---- "target" ---- */
static void check_number(struct loader *l, struct at at, const char *key, const struct feature_col *cols, size_t n)
{
    const char *text = read_string(l, at, key, /* required= */ false);
    struct expr *expr = NULL;
    enum col_type type;
    struct error err;

    if (text && expr_new(text, cols, n, &expr, &type, &err) != OK)
        fault(l, path_key(l, at.path, key), "expected an expression, got: %s", err.text);
    else if (text && type > COL_DOUBLE)
        fault(l, path_key(l, at.path, key), "expected a number, got a value of type %s", col_type_name(type));
    expr_free(expr);
}

static bool is_col(const struct feature_col *cols, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(cols[i].name, name) == 0)
            return true;
    return false;
}

static bool is_ours(const char *name)
{
    return strcmp(name, FORECAST_STEP) == 0 || strcmp(name, FORECAST_STEPS) == 0 || strcmp(name, FORECAST_TIME) == 0;
}

/* What is evaluated at the target's time. */
static void load_known(struct loader *l, struct forecast_def *d, struct at at, struct feature_col *cols, size_t n)
{
    const json_t *known = json_object_get(at.obj, "known");
    const char *path = path_key(l, at.path, "known"), *name;
    json_t *value;

    cols[n++] = (struct feature_col){FORECAST_STEP, COL_INT, false, -1};
    cols[n++] = (struct feature_col){FORECAST_TIME, COL_INT, true, -1};
    check_number(l, at, "offset", cols, n);
    if (known == NULL)
        return;
    if (!json_is_object(known) || json_object_size(known) == 0) {
        fault_got(l, path, "an object of expressions by name", known);
        return;
    }
    d->known = arena_alloc(l->arena, json_object_size(known) * sizeof(*d->known));
    json_object_foreach((json_t *)known, name, value) {
        struct at here = {known, path};

        if (!identifier_ok(name) || is_ours(name) || is_col(cols, n, name))
            fault(l, path_key(l, path, name), "expected a name of letters, digits and _, other than the row's fields, '%s', '%s', '%s'",
                  FORECAST_STEP, FORECAST_STEPS, FORECAST_TIME);
        check_number(l, here, name, cols, n);
        d->known[d->n_known++] = (struct forecast_known){arena_strdup(l->arena, name),
                                                         json_is_string(value) ? arena_strdup(l->arena, json_string_value(value)) : ""};
    }
}

static void check_fields(struct loader *l, struct stage_def *s, struct at at)
{
    const struct topic *t = &l->p->topics[s->from[0]];
    struct feature_col *cols = arena_alloc(l->arena, (t->schema->n + 2) * sizeof(*cols));
    size_t n = pipeline_numbers(t, cols, t->schema->n);
    const char **names = arena_alloc(l->arena, (n + 1) * sizeof(*names));

    for (size_t i = 0; i < n; i++) {
        names[i] = cols[i].name;
        if (is_ours(names[i]))
            fault(l, at.path, "expected an input without a field '%s', for the model has a column of that name", names[i]);
    }
    if (s->target->value && !is_col(cols, n, s->target->value))
        fault(l, path_key(l, at.path, "value"), "expected a field of '%s' that is a number, got '%.48s'%s", t->name, s->target->value,
              hint(l, s->target->value, names, n));
    check_number(l, at, "scale", cols, n);
    check_number(l, at, "weight", cols, n);
    if (s->where)
        check_condition(l, path_key(l, at.path, "where"), s->where, cols, n);
    load_known(l, s->target, at, cols, n);
    if (t->keyed_by == NULL && !l->topics[s->from[0]].doubtful)
        fault(l, path_key(l, l->stages[s - l->p->stages].path, "from"),
              "expected a topic whose key is a field of it, for rows of one key are a series, got '%s'", t->name);
}

static void check_zone(struct loader *l, const struct forecast_def *d, struct at at)
{
    const struct zone *zone;
    struct error err;

    if (d->zone[0] && zone_load(d->zone, l->arena, &zone, &err) != OK)
        fault(l, path_key(l, at.path, "zone"), "expected a time zone, got: %s", err.text);
    else if (d->zone[0] && d->every_ms % DAY_MS != 0)
        fault_got(l, path_key(l, at.path, "every"), "whole days beside \"zone\"", json_object_get(at.obj, "every"));
}

static const char *text_or(const char *text)
{
    return text ? text : "";
}

void load_target(struct loader *l, struct stage_def *s, const struct stage_more *more)
{
    struct forecast_def *d = arena_zalloc(l->arena, sizeof(*d));
    struct at at = {json_object_get(more->json, "target"), path_key(l, more->path, "target")};

    s->target = d;
    if (!json_is_object(at.obj)) {
        fault_got(l, at.path, "an object that says what is forecast", at.obj);
        return;
    }
    check_keys(l, at, "a target", &keys_target, NULL);
    d->value = read_string(l, at, "value", /* required= */ true);
    if (json_object_get(at.obj, "horizon") == NULL)
        fault_got(l, path_key(l, at.path, "horizon"), "a whole number of steps", NULL);
    d->horizon = (int32_t)read_int(l, at, "horizon", 1, 1, FORECAST_STEPS_MAX);
    d->every_ms = read_duration(l, at, "every", -1, SECOND_MS, 366 * DAY_MS);
    d->zone = text_or(read_string(l, at, "zone", /* required= */ false));
    d->lead_time = (int32_t)read_int(l, at, "lead_time", 0, 1, FORECAST_STEPS_MAX);
    d->scale = text_or(read_string(l, at, "scale", /* required= */ false));
    d->min = read_number(l, at, "min", NAN);
    s->weight = read_string(l, at, "weight", /* required= */ false);
    s->where = read_string(l, at, "where", /* required= */ false);
    d->offset = text_or(read_string(l, at, "offset", /* required= */ false));
    if (d->lead_time > d->horizon && json_integer_value(json_object_get(at.obj, "horizon")) == d->horizon)
        fault(l, path_key(l, at.path, "lead_time"), "expected at most the horizon, %d, got %d", d->horizon, d->lead_time);
    check_zone(l, d, at);
    if (!more->broken && s->n_from)
        check_fields(l, s, at);
}

/* ---- "outputs": a fit of its own each ---- */
static bool is_output_name(const char *name)
{
    return identifier_ok(name) && strcmp(name, FORECAST_STEP) != 0 && strcmp(name, "time") != 0;
}

static void load_output(struct loader *l, const struct stage_def *s, struct model_output *o, struct at at)
{
    static const char *const shared[] = {"tree_method", "max_bin", "nthread", "seed"};
    const char *objective = read_string(l, at, "objective", /* required= */ true);
    double alpha = read_number(l, at, "quantile_alpha", 0.5);

    o->rounds = s->rounds;
    o->clip = read_number(l, at, "clip", NAN);
    read_xgboost(l, at, "clip", &o->params, &o->n_params, &o->rounds);
    for (size_t i = 0; i < ARRAY_LEN(shared); i++)
        if (json_object_get(at.obj, shared[i]))
            fault(l, path_key(l, at.path, shared[i]), "expected it in \"xgboost\", for all outputs, got one for this alone");
    if (objective && strcmp(objective, "reg:quantileerror") == 0 &&
        (json_object_get(at.obj, "quantile_alpha") == NULL || !(alpha > 0 && alpha < 1)))
        fault_got(l, path_key(l, at.path, "quantile_alpha"), "a share between 0 and 1", json_object_get(at.obj, "quantile_alpha"));
}

void load_outputs(struct loader *l, struct stage_def *s, struct at at)
{
    const json_t *outputs = read_object(l, at, "outputs"), *xgboost = json_object_get(at.obj, "xgboost");
    const char *path = path_key(l, at.path, "outputs"), *name, *method = "";
    json_t *json;

    if (outputs == NULL)
        return;
    if (json_is_string(json_object_get(xgboost, "tree_method")))
        method = json_string_value(json_object_get(xgboost, "tree_method"));
    if (json_object_get(xgboost, "tree_method") && strcmp(method, "hist") != 0)
        fault_got(l, path_key(l, path_key(l, at.path, "xgboost"), "tree_method"),
                  "\"hist\", for rows times steps are many", json_object_get(xgboost, "tree_method"));
    if (json_object_size(outputs) > MODEL_OUTPUTS_MAX)
        fault(l, path, "expected at most %d, got %zu", MODEL_OUTPUTS_MAX, json_object_size(outputs));
    s->outputs = arena_zalloc(l->arena, json_object_size(outputs) * sizeof(*s->outputs));
    json_object_foreach((json_t *)outputs, name, json) {
        struct at here = {json, path_key(l, path, name)};

        if (!is_output_name(name))
            fault(l, here.path, "expected a name of letters, digits and _, other than '%s' and 'time'", FORECAST_STEP);
        if (!json_is_object(json)) {
            fault_got(l, here.path, "an object of a fit's parameters", json);
            continue;
        }
        s->outputs[s->n_outputs].name = arena_strdup(l->arena, name);
        load_output(l, s, &s->outputs[s->n_outputs++], here);
    }
}

void check_spans(struct loader *l, const struct stage_def *s, struct at at)
{
    const struct forecast_def *d = s->target;
    int64_t reach = d->horizon * d->every_ms;

    if (reach > SPAN_MS_MAX)
        fault(l, path_key(l, path_key(l, at.path, "target"), "horizon"), "expected at most %lld days ahead, got %lld",
              (long long)(SPAN_MS_MAX / DAY_MS), (long long)(reach / DAY_MS));
    else if (s->window_ms <= reach)
        fault_got(l, path_key(l, at.path, "window"), "more than the horizon, or no row's target is known",
                  json_object_get(at.obj, "window"));
    if (s->calibrate && s->holdout_ms < d->every_ms)
        fault_got(l, path_key(l, at.path, "holdout"), "at least one step beside \"calibrate\"", json_object_get(at.obj, "holdout"));
    if (s->refit && s->holdout_ms == 0)
        fault_got(l, path_key(l, at.path, "holdout"), "a holdout beside \"refit\", which trains on it afterwards",
                  json_object_get(at.obj, "holdout"));
}

/* ---- what score gives out ---- */
static const json_t *train_json(const struct loader *l, const char *model)
{
    for (size_t i = 0; model && i < l->p->n_stages; i++) {
        const char *name = json_string_value(json_object_get(l->stages[i].json, "model"));

        if (strcmp(l->p->stages[i].worker, "train") == 0 && name && strcmp(name, model) == 0)
            return l->stages[i].json;
    }
    return NULL;
}

static void add_made(struct made *made, size_t *n, const char *name, const char *field, enum schema_type type)
{
    made[(*n)++] = (struct made){name, field, type};
}

struct made *forecast_made(struct loader *l, const char *model, size_t *ret_n)
{
    const json_t *train = train_json(l, model), *target = json_object_get(train, "target"), *outputs = json_object_get(train, "outputs");
    struct made *made = arena_alloc(l->arena, (3 + json_object_size(outputs)) * sizeof(*made));
    struct bytes steps = BYTES_EMPTY;
    const char *name;
    json_t *json;

    *ret_n = 0;
    if (target == NULL)
        return NULL;
    bytes_printf(&steps, "{\"name\":\"forecast\",\"default\":[],\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\","
                         "\"name\":\"ForecastStep\",\"fields\":[{\"name\":\"step\",\"type\":\"int\"},{\"name\":\"time\",\"type\":"
                         "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}}");
    json_object_foreach((json_t *)outputs, name, json)
        if (is_output_name(name))
            bytes_printf(&steps, ",{\"name\":\"%s\",\"type\":\"double\"}", name);
    bytes_printf(&steps, "]}}}");
    add_made(made, ret_n, "forecast", arena_printf(l->arena, "%.*s", (int)steps.n, (const char *)steps.data), SCHEMA_ARRAY);
    bytes_done(&steps);
    json_object_foreach((json_t *)outputs, name, json)
        if (json_object_get(target, "lead_time") && is_output_name(name))
            add_made(made, ret_n, arena_printf(l->arena, "lead_time_%s", name),
                     arena_printf(l->arena, "{\"name\":\"lead_time_%s\",\"type\":[\"null\",\"double\"],\"default\":null}", name),
                     SCHEMA_DOUBLE);
    add_made(made, ret_n, "score_reason", "{\"name\":\"score_reason\",\"type\":[\"null\",\"string\"],\"default\":null}", SCHEMA_STRING);
    return made;
}
