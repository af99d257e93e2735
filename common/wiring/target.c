/* target: what a train stage forecasts, "target" and "outputs", and what the stage of score behind it gives out. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "model/forecast.h"
#include "wire/plan.h"
#include "wiring/load.h"

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
static const char *text_or(const char *text)
{
    return text ? text : "";
}

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* What expressions speak of. */
struct names {
    struct feature_col *cols; /* the row's numbers; with room for what is of a step */
    size_t n;
    struct candidates families;
};

static bool is_col(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->cols[i].name, name) == 0)
            return true;
    return false;
}

/* The columns of a family, ", " between them; false: it is none, or a column's name too. */
static bool put_family(struct bytes *out, const struct names *names, const char *name)
{
    size_t before = out->n;

    for (size_t i = 0; !is_col(names, name) && i < names->families.n; i++)
        if (strcmp(names->families.families[i], name) == 0)
            bytes_printf(out, "%s%s", out->n > before ? ", " : "", names->families.cols[i]);
    return out->n > before;
}

/* The text with each family that is an argument of its own written out, for the model's record, which knows columns only. */
static const char *spread(struct loader *l, const char *text, const struct names *names)
{
    struct bytes out = BYTES_EMPTY;
    char quote = '\0', last = '\0'; /* that is no space */
    const char *made;

    for (const char *p = text, *end; *p; p = end) {
        size_t len = 1, gap;

        while (quote == '\0' && in_name(*p) && in_name(p[len]))
            len++;
        end = p + len;
        gap = strspn(end, " \t\r\n");
        if (quote || *p == '\'' || *p == '"')
            quote = quote == *p ? '\0' : quote ? quote : *p;
        if (quote || !in_name(*p) || (last != '(' && last != ',') || (end[gap] != ')' && end[gap] != ',') || !put_family(&out, names, arena_printf(l->arena, "%.*s", (int)len, p)))
            bytes_append(&out, p, len);
        last = isspace((unsigned char)*p) ? last : *p;
    }
    made = arena_printf(l->arena, "%.*s", (int)out.n, (const char *)out.data);
    bytes_done(&out);
    return made;
}

/* The expression as the model's record has it. */
static const char *check_number(struct loader *l, const char *path, const char *text, const struct names *names)
{
    struct expr *expr = NULL;
    enum col_type type;
    struct error err;

    if (text == NULL || text[0] == '\0')
        return text;
    text = spread(l, text, names);
    if (expr_new(text, names->cols, names->n, &expr, &type, &err) != OK)
        fault(l, path, "expected an expression, got: %s", err.text);
    else if (type > COL_DOUBLE)
        fault(l, path, "expected a number, got a value of type %s", col_type_name(type));
    expr_free(expr);
    return text;
}

static bool is_ours(const char *name)
{
    return strcmp(name, FORECAST_STEP) == 0 || strcmp(name, FORECAST_STEPS) == 0 || strcmp(name, FORECAST_TIME) == 0;
}

/* What is evaluated at the target's time. */
static void load_known(struct loader *l, struct forecast_def *d, struct at at, struct names *names)
{
    const json_t *known = json_object_get(at.obj, "known");
    const char *path = path_key(l, at.path, "known"), *name;
    json_t *value;

    names->cols[names->n++] = (struct feature_col){FORECAST_STEP, COL_INT, false, -1};
    names->cols[names->n++] = (struct feature_col){FORECAST_TIME, COL_INT, true, -1};
    d->offset = check_number(l, path_key(l, at.path, "offset"), d->offset, names);
    if (known == NULL)
        return;
    if (!json_is_object(known) || json_object_size(known) == 0) {
        fault_got(l, path, "an object of expressions by name", known);
        return;
    }
    d->known = arena_alloc(l->arena, json_object_size(known) * sizeof(*d->known));
    json_object_foreach((json_t *)known, name, value) {
        const char *here = path_key(l, path, name), *text = read_string(l, (struct at){known, path}, name, /* required= */ true);

        if (!column_ok(name) || is_ours(name) || is_col(names, name))
            fault(l, here, "expected a name of letters, digits and _, no word of expressions, other than the row's fields, '%s', '%s', '%s'",
                  FORECAST_STEP, FORECAST_STEPS, FORECAST_TIME);
        d->known[d->n_known++] = (struct forecast_known){arena_strdup(l->arena, name), text_or(check_number(l, here, text, names))};
    }
}

static void check_fields(struct loader *l, struct stage_def *s, struct at at)
{
    const struct topic *t = &l->p->topics[s->from[0]];
    struct names names = {.cols = arena_alloc(l->arena, (t->schema->n + 2) * sizeof(*names.cols))};
    const char *set;

    names.n = pipeline_numbers(t, names.cols, t->schema->n);
    (void)collect_candidates(l, s->from[0], &names.families, &set);
    for (size_t i = 0; i < names.n; i++)
        if (is_ours(names.cols[i].name))
            fault(l, at.path, "expected an input without a field '%s', for the model has a column of that name", names.cols[i].name);
    if (s->target->value && !is_col(&names, s->target->value))
        fault(l, path_key(l, at.path, "value"), "expected a field of '%s' that is a number, got '%.48s'%s", t->name, s->target->value,
              hint(l, s->target->value, col_names(l, names.cols, names.n), names.n));
    s->target->scale = check_number(l, path_key(l, at.path, "scale"), s->target->scale, &names);
    s->weight = check_number(l, path_key(l, at.path, "weight"), s->weight, &names);
    s->where = s->where ? spread(l, s->where, &names) : NULL;
    if (s->where)
        check_condition(l, path_key(l, at.path, "where"), s->where, names.cols, names.n);
    load_known(l, s->target, at, &names);
    if (t->keyed_by == NULL && !l->topics[s->from[0]].doubtful)
        fault(l, path_key(l, l->stages[s - l->p->stages].path, "from"),
              "expected a topic whose key is a field of it, for rows of one key are a series, got '%s'", t->name);
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
    read_zone(l, at, d->every_ms, &d->zone);
    d->zone = text_or(d->zone);
    d->lead_time = (int32_t)read_int(l, at, "lead_time", 0, 1, FORECAST_STEPS_MAX);
    d->scale = text_or(read_string(l, at, "scale", /* required= */ false));
    d->min = read_number(l, at, "min", NAN);
    s->weight = read_string(l, at, "weight", /* required= */ false);
    s->where = read_string(l, at, "where", /* required= */ false);
    d->offset = text_or(read_string(l, at, "offset", /* required= */ false));
    if (d->lead_time > d->horizon && json_integer_value(json_object_get(at.obj, "horizon")) == d->horizon)
        fault(l, path_key(l, at.path, "lead_time"), "expected at most the horizon, %d, got %d", d->horizon, d->lead_time);
    if (!more->broken && s->n_from)
        check_fields(l, s, at);
}

/* ---- "outputs": a fit of its own each ---- */
static bool is_output_name(const char *name)
{
    return column_ok(name) && strcmp(name, FORECAST_STEP) != 0 && strcmp(name, "time") != 0;
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
            fault(l, here.path, "expected a name of letters, digits and _, no word of expressions, other than '%s' and 'time'", FORECAST_STEP);
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
