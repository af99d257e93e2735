#include <math.h>

#include "model/booster.h"
#include "model/record.h"
#include "wiring/load.h"

/* What a fit may be told. Devices and verbosity are the worker's: they must not change a model. */
const char *const xgboost_known[] = {
    "objective", "tree_method", "base_score", "seed", "rounds", "max_depth", "eta", "learning_rate", "gamma",
    "min_split_loss", "min_child_weight", "max_delta_step", "subsample", "sampling_method", "colsample_bytree",
    "colsample_bylevel", "colsample_bynode", "lambda", "reg_lambda", "alpha", "reg_alpha", "scale_pos_weight",
    "grow_policy", "max_leaves", "max_bin", "num_parallel_tree", "monotone_constraints", "interaction_constraints",
    "eval_metric", "booster", "quantile_alpha", "tweedie_variance_power", "huber_slope", "max_cat_to_onehot",
    "refresh_leaf", "process_type", "seed_per_iteration", "nthread",
};
const char *const xgboost_required[] = {"tree_method", "base_score", "seed"};
const size_t n_xgboost_known = ARRAY_LEN(xgboost_known), n_xgboost_required = ARRAY_LEN(xgboost_required);

void read_xgboost(struct loader *l, struct at at, const char *own, struct booster_param **ret_params, size_t *ret_n, int *ret_rounds)
{
    struct booster_param *params = arena_zalloc(l->arena, (json_object_size(at.obj) + 1) * sizeof(*params));
    const char *key;
    json_t *value;

    *ret_rounds = (int)read_int(l, at, "rounds", *ret_rounds, 1, 10000);
    *ret_params = params;
    json_object_foreach((json_t *)at.obj, key, value) {
        const char *text = scalar_text(l, value);
        bool known = false;

        if (strcmp(key, own) == 0)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(xgboost_known); i++)
            known = known || strcmp(xgboost_known[i], key) == 0;
        if (!known)
            fault(l, path_key(l, at.path, key), "expected a parameter that a fit may be told, got an unknown one%s",
                  hint(l, key, xgboost_known, ARRAY_LEN(xgboost_known)));
        else if (text == NULL)
            fault_got(l, path_key(l, at.path, key), "a number, a text, true or false", value);
        else if (strcmp(key, "rounds") != 0)
            params[(*ret_n)++] = (struct booster_param){arena_strdup(l->arena, key), text};
    }
}

static void need(struct loader *l, struct at at, const char *param)
{
    if (json_object_get(at.obj, param) == NULL)
        fault(l, path_key(l, at.path, param),
              "expected a value (said, not left to the library: equal inputs, equal model), got nothing");
}

static void load_xgboost(struct loader *l, struct stage_def *s, struct at at)
{
    const json_t *json = read_object(l, at, "xgboost");
    struct at here = {json, path_key(l, at.path, "xgboost")};

    s->rounds = 100;
    if (json == NULL)
        return;
    read_xgboost(l, here, /* own= */ "", &s->xgboost, &s->n_xgboost, &s->rounds);
    if (s->target == NULL)
        need(l, here, "objective");
    for (size_t i = 0; i < ARRAY_LEN(xgboost_required); i++)
        need(l, here, xgboost_required[i]);
    if (s->target && json_object_get(json, "objective"))
        fault(l, path_key(l, here.path, "objective"), "expected it in each of \"outputs\" beside \"target\", got one for all");
}

static const struct schema *field_of(const struct schema *record, const char *name)
{
    for (size_t i = 0; record && i < record->n; i++)
        if (strcmp(record->fields[i].name, name) == 0)
            return record->fields[i].type;
    return NULL;
}

static const char *fields_hint(struct loader *l, const struct schema *record, const char *name)
{
    const char **names = arena_alloc(l->arena, (record->n + 1) * sizeof(*names));

    for (size_t i = 0; i < record->n; i++)
        names[i] = record->fields[i].name;
    return hint(l, name, names, record->n);
}

static void check_join(struct loader *l, const struct stage_def *s, const char *path)
{
    int sides[2] = {s->label_from, s->from[0]};
    const struct schema *types[2] = {NULL, NULL};

    for (size_t i = 0; i < 2; i++) {
        const struct topic *t = &l->p->topics[sides[i]];

        if (l->topics[sides[i]].broken)
            return;
        types[i] = field_of(t->schema, s->label_on);
        if (types[i] == NULL)
            fault(l, path, "expected a field of '%s', got '%s'%s", t->name, s->label_on,
                  fields_hint(l, t->schema, s->label_on));
    }
    if (types[0] && types[1] && schema_unwrap(types[0])->type != schema_unwrap(types[1])->type)
        fault(l, path, "expected a field of one type in '%s' and '%s', got '%s' with two",
              l->p->topics[sides[0]].name, l->p->topics[sides[1]].name, s->label_on);
}

static void load_label(struct loader *l, struct stage_def *s, const struct stage_more *more)
{
    const json_t *label = json_object_get(more->json, "label");
    struct at at = {label, path_key(l, more->path, "label")};

    if (!json_is_object(label)) /* said by load_stages */
        return;
    s->label_on = read_string(l, at, "on", /* required= */ true);
    s->label_value = read_number(l, at, "value", 1);
    s->label_absent = read_number(l, at, "absent", NAN);
    s->label_after_ms = read_duration(l, at, "after", 0, 0, SPAN_MS_MAX);
    if (json_object_get(label, "absent") && !json_object_get(label, "after"))
        fault(l, path_key(l, at.path, "after"),
              "expected the time after which an absent label means \"absent\", got nothing");
    if (s->label_on && s->label_from >= 0 && !more->broken)
        check_join(l, s, path_key(l, at.path, "on"));
}

/* ---- the model's columns ---- */
static void add_stage(struct loader *l, const struct stage_def *s, struct candidates *c)
{
    const struct feature_col *cols = features_cols(s->compiled);
    size_t n = features_n_cols(s->compiled);
    struct candidates all = {.n = 0};

    all.cols = arena_alloc(l->arena, (n + c->n) * sizeof(*all.cols));
    all.families = arena_alloc(l->arena, (n + c->n) * sizeof(*all.families));
    all.types = arena_alloc(l->arena, (n + c->n) * sizeof(*all.types));
    for (size_t i = 0; i < n; i++) {
        all.cols[all.n] = cols[i].name;
        all.families[all.n] = features_family(s->compiled, i);
        all.types[all.n++] = cols[i].type;
    }
    for (size_t i = 0; i < c->n; i++) {
        all.cols[all.n] = c->cols[i];
        all.families[all.n] = c->families[i];
        all.types[all.n++] = c->types[i];
    }
    *c = all;
}

bool collect_candidates(struct loader *l, int topic, struct candidates *c, const char **ret_feature_set)
{
    struct pipeline *p = l->p;
    const char *feature_set = NULL;

    while (p->topics[topic].writer >= 0) {
        const struct stage_def *s = &p->stages[p->topics[topic].writer];

        if (l->stages[p->topics[topic].writer].broken || s->n_from == 0)
            return false;
        if (s->compiled) {
            if (feature_set == NULL)
                feature_set = s->feature_set;
            add_stage(l, s, c);
        }
        topic = s->from[s->emit];
    }
    *ret_feature_set = feature_set;
    return true;
}

static void use_column(struct stage_def *s, const struct candidates *c, size_t i)
{
    for (size_t k = 0; k < s->n_model_features; k++)
        if (strcmp(s->model_features[k], c->cols[i]) == 0)
            return;
    s->model_features[s->n_model_features++] = c->cols[i];
}

static void choose_features(struct loader *l, struct stage_def *s, struct at at, const struct candidates *c)
{
    const char **names, **known = arena_alloc(l->arena, (2 * c->n + 1) * sizeof(*known));
    const char *path = path_key(l, at.path, "features");
    size_t n_names = 0, n_known = 0;
    bool chosen = json_object_get(at.obj, "features") != NULL;

    s->model_features = arena_alloc(l->arena, (c->n + 1) * sizeof(*s->model_features));
    if (chosen && !read_names(l, at, "features", /* required= */ true, &names, &n_names))
        return;
    for (size_t i = 0; i < c->n; i++) {
        if (i == 0 || strcmp(c->families[i], c->families[i - 1]) != 0)
            known[n_known++] = c->families[i];
        if (!chosen && c->types[i] <= COL_DOUBLE)
            use_column(s, c, i);
    }
    for (size_t k = 0; k < n_names; k++) {
        bool found = false;

        for (size_t i = 0; i < c->n; i++)
            if (strcmp(c->cols[i], names[k]) == 0 || strcmp(c->families[i], names[k]) == 0) {
                use_column(s, c, i);
                found = true;
            }
        if (!found)
            fault(l, json_is_array(json_object_get(at.obj, "features")) ? path_index(l, path, k) : path,
                  "expected a feature of the preprocess stages before it, got '%.48s'%s", names[k],
                  hint(l, names[k], known, n_known));
    }
    for (size_t k = 0; k < s->n_model_features; k++)
        for (size_t i = 0; i < c->n; i++)
            if (strcmp(c->cols[i], s->model_features[k]) == 0 && c->types[i] > COL_DOUBLE)
                fault(l, path, "expected numbers, got '%s' of type %s", c->cols[i], col_type_name(c->types[i]));
}

/* Rows and labels of a whole training lie there at its boundary. */
static void check_reach(struct loader *l, const struct stage_def *s, const char *path)
{
    static const char what[] = "window, holdout and label.after";
    int64_t ms = s->window_ms + s->holdout_ms + s->label_after_ms;

    if (s->n_from)
        check_retention(l, s->from[0], path, what, ms);
    if (s->label_from >= 0)
        check_retention(l, s->label_from, path, what, ms);
}

static void load_forecast(struct loader *l, struct stage_def *s, struct at at)
{
    static const char *const keys[] = {"outputs", "calibrate", "refit"};

    if (s->target) {
        load_outputs(l, s, at);
        check_spans(l, s, at);
    }
    for (size_t i = 0; s->target == NULL && i < ARRAY_LEN(keys); i++)
        if (json_object_get(at.obj, keys[i]))
            fault(l, path_key(l, at.path, keys[i]), "expected it beside \"target\", got it without");
}

/* A trained model's metrics, and the champion's of the same names. */
static void name_metrics(struct loader *l, struct stage_def *s)
{
    static const char *const of_labels[] = {"auc", "average_precision", "logloss"};
    const struct model_record m = {.params = s->xgboost, .n_params = s->n_xgboost, .outputs = s->outputs, .n_outputs = s->n_outputs};
    size_t n = s->target ? s->n_outputs : ARRAY_LEN(of_labels);

    s->promotion = arena_zalloc(l->arena, (2 * n + 1) * sizeof(*s->promotion));
    s->n_promotion = 2 * n;
    for (size_t i = 0; i < n; i++) {
        const char *name = s->target ? arena_printf(l->arena, "%s_%s", m.outputs[i].name, model_output_metric(&m, i)) : of_labels[i];

        s->promotion[i] = (struct feature_col){.name = name, .type = COL_DOUBLE, .scale = -1};
        s->promotion[n + i] = (struct feature_col){.name = arena_printf(l->arena, "champion.%s", name), .type = COL_DOUBLE, .scale = -1};
    }
}

static void load_promotion(struct loader *l, struct stage_def *s, struct at at)
{
    s->promote_when = read_string(l, at, "promote_when", /* required= */ false);
    if (s->promote_when == NULL)
        return;
    name_metrics(l, s);
    check_condition(l, path_key(l, at.path, "promote_when"), s->promote_when, s->promotion, s->n_promotion);
    if (s->holdout_ms == 0)
        fault(l, path_key(l, at.path, "holdout"), "expected a span that \"promote_when\" is judged by, got none");
}

void resolve_train(struct loader *l, size_t stage)
{
    struct stage_def *s = &l->p->stages[stage];
    struct stage_more *more = &l->stages[stage];
    struct at at = {more->json, more->path};
    struct candidates c = {.n = 0};

    s->model = read_string(l, at, "model", /* required= */ true);
    if (s->model && !name_ok(s->model))
        fault_got(l, path_key(l, at.path, "model"), "a name of small letters, digits, _ or -",
                  json_object_get(at.obj, "model"));
    if (json_object_get(at.obj, "target"))
        load_target(l, s, more);
    else
        load_label(l, s, more);
    s->every_ms = read_duration(l, at, "every", -1, 1000, SPAN_MS_MAX);
    s->window_ms = read_duration(l, at, "window", -1, 1000, SPAN_MS_MAX);
    s->holdout_ms = read_duration(l, at, "holdout", 0, 0, SPAN_MS_MAX);
    s->model_lag_ms = read_duration(l, at, "model.lag", 3600000, 0, SPAN_MS_MAX);
    s->calibrate = read_bool(l, at, "calibrate");
    s->refit = read_bool(l, at, "refit");
    load_xgboost(l, s, at);
    load_forecast(l, s, at);
    load_promotion(l, s, at);
    check_reach(l, s, path_key(l, at.path, "window"));
    if (more->broken || s->n_from == 0 || !collect_candidates(l, s->from[0], &c, &s->feature_set))
        return;
    if (c.n == 0)
        fault(l, path_key(l, at.path, "from"), "expected a topic behind a preprocess stage, got '%s' without features",
              l->p->topics[s->from[0]].name);
    else
        choose_features(l, s, at, &c);
}

/* A model comes from the train stage of its name, or, where the wiring trains none, from outside. */
static void link_model(struct loader *l, struct stage_def *s, const struct stage_more *more)
{
    const char **names = arena_alloc(l->arena, (l->p->n_stages + 1) * sizeof(*names));
    struct candidates c = {.n = 0};
    struct stage_def *trained = NULL;
    size_t n = 0;

    for (size_t i = 0; i < l->p->n_stages; i++) {
        struct stage_def *t = &l->p->stages[i];

        if (strcmp(t->worker, "train") != 0 || t->model == NULL)
            continue;
        names[n++] = t->model;
        if (strcmp(t->model, s->model) == 0)
            trained = t;
    }
    if (trained == NULL && n > 0)
        fault(l, path_key(l, more->path, "model"), "expected a model that a train stage makes, got '%.48s'%s", s->model,
              hint(l, s->model, names, n));
    if (more->broken || s->n_from == 0 || !collect_candidates(l, s->from[0], &c, &s->feature_set) || trained == NULL)
        return;
    s->model_features = trained->model_features;
    s->n_model_features = trained->n_model_features;
    s->target = trained->target;
    s->outputs = trained->outputs;
    s->n_outputs = trained->n_outputs;
    if (trained->feature_set && s->feature_set && strcmp(trained->feature_set, s->feature_set) != 0)
        fault(l, path_key(l, more->path, "from"),
              "expected rows of the features that model '%s' is trained on (feature set %s), got feature set %s", s->model,
              trained->feature_set, s->feature_set);
}

void link_models(struct loader *l)
{
    for (size_t i = 0; i < l->p->n_stages; i++)
        if (strcmp(l->p->stages[i].worker, "score") == 0 && l->p->stages[i].model)
            link_model(l, &l->p->stages[i], &l->stages[i]);
}
