#include "wiring/load.h"

#define DAY_MS ((int64_t)86400000)

static const char reasons_field[] =
    "{\"name\":\"reasons\",\"default\":[],\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Reason\","
    "\"fields\":[{\"name\":\"feature\",\"type\":\"string\"},{\"name\":\"value\",\"type\":[\"null\",\"double\"],"
    "\"default\":null},{\"name\":\"contribution\",\"type\":\"double\"}]}}}";
static const struct made score_made[] = {
    {"score", "{\"name\":\"score\",\"type\":[\"null\",\"double\"],\"default\":null}", SCHEMA_DOUBLE},
    {"score_reason", "{\"name\":\"score_reason\",\"type\":[\"null\",\"string\"],\"default\":null}", SCHEMA_STRING},
    {"reasons", reasons_field, SCHEMA_ARRAY},
};
static const struct made alert_made[] = {
    {"rule", "{\"name\":\"rule\",\"type\":\"string\"}", SCHEMA_STRING},
    {"severity", "{\"name\":\"severity\",\"type\":\"string\"}", SCHEMA_STRING},
};

/* What is no `what` over the columns is a fault at `path`; false too. */
static bool check_expression(struct loader *l, const char *path, const char *text, const char *what, const struct feature_col *cols,
                             size_t n, enum col_type *ret_type)
{
    struct expr *expr = NULL;
    struct error err;

    if (expr_new(text, cols, n, &expr, ret_type, &err) != OK) {
        fault(l, path, "expected %s, got: %s", what, err.text);
        return false;
    }
    expr_free(expr);
    return true;
}

void check_condition(struct loader *l, const char *path, const char *text, const struct feature_col *cols, size_t n)
{
    enum col_type type;

    if (check_expression(l, path, text, "a condition", cols, n, &type) && type != COL_BOOL)
        fault(l, path, "expected a condition (true or false), got a value of type %s", col_type_name(type));
}

void resolve_score(struct loader *l, size_t stage)
{
    struct stage_def *s = &l->p->stages[stage];
    struct stage_more *more = &l->stages[stage];
    struct at at = {more->json, more->path};
    const json_t *explain = json_object_get(more->json, "explain");
    const struct made *made;
    size_t n_made;

    s->model = read_string(l, at, "model", /* required= */ true);
    s->model_wait_ms = read_duration(l, at, "model.wait", 60000, 0, DAY_MS);
    if (explain && !json_is_object(explain)) {
        fault_got(l, path_key(l, at.path, "explain"), "an object", explain);
    } else if (explain) {
        struct at here = {explain, path_key(l, at.path, "explain")};

        check_keys(l, here, "explain", &keys_explain, NULL);
        if (json_object_get(explain, "top") == NULL)
            fault_got(l, path_key(l, here.path, "top"), "a whole number from 1 to 100", NULL);
        s->explain_top = (int)read_int(l, here, "top", 0, 1, 100);
        s->explain_when = read_string(l, here, "when", /* required= */ false);
        if (s->explain_when && !more->broken) {
            size_t n;
            struct feature_col *cols = topic_cols(l, (size_t)s->from[0], 1, &n);

            cols[n++] = (struct feature_col){.name = "score", .type = COL_DOUBLE, .scale = -1};
            check_condition(l, path_key(l, here.path, "when"), s->explain_when, cols, n);
        }
    }
    made = forecast_made(l, s->model, &n_made);
    if (made && explain)
        fault(l, path_key(l, at.path, "explain"), "expected none, for a forecast is many numbers");
    if (!more->broken)
        resolve_outputs(l, stage, made ? made : score_made, made ? n_made : ARRAY_LEN(score_made));
}

static void check_rule_key(struct loader *l, const struct stage_def *s, struct at at, struct rule *r, bool broken)
{
    const char *key = broken ? NULL : l->topics[s->from[0]].key;

    if (broken || l->topics[s->from[0]].doubtful)
        return;
    if (r->key && key && strcmp(r->key, key) != 0)
        fault(l, path_key(l, at.path, "key"), "expected '%s', the field that partitions '%s', got '%s'%s", key,
              l->p->topics[s->from[0]].name, r->key, hint(l, r->key, &key, 1));
    else if (r->key && key == NULL)
        fault(l, path_key(l, at.path, "key"), "expected none, for '%s' does not hold the field that partitions it, got '%s'",
              l->p->topics[s->from[0]].name, r->key);
    if (r->key == NULL)
        r->key = key;
}

static void load_rule(struct loader *l, const struct stage_def *s, struct at at, struct rule *r, bool broken)
{
    static const char *const levels[] = {"low", "medium", "high", "critical"};
    bool known = false;

    check_keys(l, at, "a rule", &keys_rule, NULL);
    r->name = read_string(l, at, "name", /* required= */ true);
    if (r->name && !identifier_ok(r->name))
        fault_got(l, path_key(l, at.path, "name"), "a name of letters, digits and _", json_object_get(at.obj, "name"));
    r->when = read_string(l, at, "when", /* required= */ true);
    r->severity = read_string(l, at, "severity", /* required= */ true);
    for (size_t i = 0; r->severity && i < ARRAY_LEN(levels); i++)
        known = known || strcmp(levels[i], r->severity) == 0;
    if (r->severity && !known)
        fault(l, path_key(l, at.path, "severity"), "expected low, medium, high or critical, got '%.48s'%s", r->severity,
              hint(l, r->severity, levels, ARRAY_LEN(levels)));
    r->cooldown_ms = read_duration(l, at, "cooldown", 0, 0, 366 * DAY_MS);
    r->once_per = read_string(l, at, "once_per", /* required= */ false);
    r->key = read_string(l, at, "key", /* required= */ false);
    check_rule_key(l, s, at, r, broken);
    if (!broken) {
        size_t n;
        struct feature_col *cols = topic_cols(l, (size_t)s->from[0], 0, &n);
        enum col_type type;

        if (r->when)
            check_condition(l, path_key(l, at.path, "when"), r->when, cols, n);
        if (r->once_per)
            (void)check_expression(l, path_key(l, at.path, "once_per"), r->once_per, "an expression", cols, n, &type);
    }
}

void resolve_alert(struct loader *l, size_t stage)
{
    struct stage_def *s = &l->p->stages[stage];
    struct stage_more *more = &l->stages[stage];
    const json_t *rules = read_list(l, (struct at){more->json, more->path}, "rules");
    const char *path = path_key(l, more->path, "rules");

    s->rules = arena_zalloc(l->arena, (json_array_size(rules) + 1) * sizeof(*s->rules));
    for (size_t i = 0; i < json_array_size(rules); i++) {
        struct at at = {json_array_get(rules, i), path_index(l, path, i)};
        struct rule *r = &s->rules[s->n_rules];

        if (!json_is_object(at.obj)) {
            fault_got(l, at.path, "an object", at.obj);
            continue;
        }
        load_rule(l, s, at, r, more->broken);
        for (size_t k = 0; r->name && k < s->n_rules; k++)
            if (s->rules[k].name && strcmp(s->rules[k].name, r->name) == 0)
                fault(l, path_key(l, at.path, "name"), "expected each rule's name once, got '%.48s' again", r->name);
        s->n_rules++;
    }
    if (!more->broken)
        resolve_outputs(l, stage, alert_made, ARRAY_LEN(alert_made));
}
