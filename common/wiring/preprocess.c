#include "feature/aggregates.h"
#include "feature/ahead.h"
#include "feature/items.h"
#include "wire/plan.h"
#include "wiring/load.h"

bool read_kind(struct loader *l, struct at at, const struct key_table *kinds, struct feature_def *def)
{
    const struct aggregate *a;
    size_t n = 0;

    for (size_t i = 0; i < kinds->n; i++)
        if (json_object_get(at.obj, kinds->keys[i].name)) {
            def->aggregate = kinds->keys[i].name;
            n++;
        }
    if (n != 1) {
        fault(l, at.path, "expected one aggregate, such as \"count\", \"sum\" or \"mean\", got %s", n == 0 ? "none" : "several");
        return false;
    }
    def->of = read_string(l, at, def->aggregate, /* required= */ true);
    a = aggregate_find(def->aggregate);
    for (size_t i = 0; i < n_aggregates; i++) {
        const char *key = aggregates[i].parameter;

        if (key == NULL || json_object_get(at.obj, key) == NULL || (a->parameter && strcmp(a->parameter, key) == 0))
            continue;
        fault(l, path_key(l, at.path, key), "expected no \"%s\" beside \"%s\"", key, a->name);
        return false;
    }
    def->has_parameter = a->parameter && json_object_get(at.obj, a->parameter);
    if (def->has_parameter)
        def->parameter = read_number(l, at, a->parameter, 0);
    return def->of != NULL;
}

static bool read_windows(struct loader *l, struct at at, struct feature_def *def)
{
    const struct aggregate *a = def->aggregate ? aggregate_find(def->aggregate) : NULL;
    enum window_kind kind;
    const char **over;
    uint32_t n;
    int64_t ms;
    bool good = true;

    if (a && a->only_latest && json_object_get(at.obj, "over") == NULL)
        return true;
    if (!read_names(l, at, "over", /* required= */ true, &over, &def->n_over))
        return false;
    def->over = over;
    for (size_t i = 0; i < def->n_over; i++)
        if (!features_span(def->over[i], &kind, &ms, &n) || ms > SPAN_MS_MAX) {
            fault(l, path_key(l, at.path, "over"), "expected windows such as \"1d\", \"12h\", \"last10\", \"gap30m\" or \"ever\", of at most %s, got \"%.48s\"",
                  duration_text(l, SPAN_MS_MAX), def->over[i]);
            good = false;
        }
    return good;
}

static bool read_aggregate(struct loader *l, struct at at, struct feature_def *def)
{
    const json_t *self = json_object_get(at.obj, "self");
    size_t before = l->faults->n;
    bool good;

    check_keys(l, at, "an aggregate", keys_aggregates(), &keys_feature);
    good = read_kind(l, at, keys_aggregates(), def);
    good = read_windows(l, at, def) && good;
    def->where = read_string(l, at, "where", /* required= */ false);
    if (self && !json_is_boolean(self)) {
        fault_got(l, path_key(l, at.path, "self"), "true or false", self);
        good = false;
    }
    def->others = json_is_false(self);
    def->delay = read_string(l, at, "delay", /* required= */ false);
    if (def->delay)
        (void)read_duration(l, at, "delay", 0, 0, SPAN_MS_MAX);
    def->resolution = read_string(l, at, "resolution", /* required= */ false);
    if (def->resolution)
        (void)read_duration(l, at, "resolution", 0, 0, SPAN_MS_MAX);
    return good && l->faults->n == before;
}

/* The steps ahead, beside "for". */
static void read_ahead(struct loader *l, struct at at, struct feature_def *def)
{
    static const char *const keys[] = {"every", "zone", "ahead"};
    int64_t every_ms;

    def->valid = read_string(l, at, "for", /* required= */ false);
    for (size_t i = 0; json_object_get(at.obj, "for") == NULL && i < ARRAY_LEN(keys); i++)
        if (json_object_get(at.obj, keys[i]))
            fault(l, path_key(l, at.path, keys[i]), "expected it beside \"for\", got it without");
    if (def->valid == NULL)
        return;
    if (json_object_get(at.obj, "ahead") == NULL)
        fault_got(l, path_key(l, at.path, "ahead"), "a whole number of steps", NULL);
    def->ahead = (size_t)read_int(l, at, "ahead", 1, 1, AHEAD_MAX);
    every_ms = read_duration(l, at, "every", -1, SECOND_MS, 366 * DAY_MS);
    def->every = duration_text(l, every_ms);
    read_zone(l, at, every_ms, &def->zone);
}

/* The latest record of another input. What its fields are is features_new's to find. */
static bool read_join(struct loader *l, const struct stage_def *s, struct at at, struct feature_def *def)
{
    size_t n_faults = l->faults->n, n = 0;
    const char **names = arena_alloc(l->arena, (s->n_from + 1) * sizeof(*names)), **fields;
    bool is_input = false;

    check_keys(l, at, "a join", &keys_join, NULL);
    def->join = read_string(l, at, "join", /* required= */ true);
    for (size_t i = 0; i < s->n_from; i++) {
        names[n++] = l->p->topics[s->from[i]].name;
        is_input = is_input || (def->join && strcmp(names[n - 1], def->join) == 0);
    }
    if (def->join && n > 0 && !is_input)
        fault(l, path_key(l, at.path, "join"), "expected one of the stage's inputs, got '%.48s'%s", def->join, hint(l, def->join, names, n));
    if (read_names(l, at, "fields", /* required= */ true, &fields, &def->n_fields))
        def->fields = fields;
    def->where = read_string(l, at, "where", /* required= */ false);
    read_duration(l, at, "delay", 0, 0, SPAN_MS_MAX);
    read_duration(l, at, "within", 1, 1, SPAN_MS_MAX);
    read_ahead(l, at, def);
    if (l->faults->n != n_faults)
        return false;
    def->delay = read_string(l, at, "delay", /* required= */ false);
    def->within = read_string(l, at, "within", /* required= */ false);
    return true;
}

/* The first items of a list of the emitting input. */
static bool read_list_feature(struct loader *l, const struct stage_def *s, struct at at, struct feature_def *def)
{
    const struct topic *from = s->n_from ? &l->p->topics[s->from[s->emit]] : NULL;
    const struct schema *list = NULL;
    size_t n_faults = l->faults->n;
    const char **fields;

    check_keys(l, at, "a list", &keys_list, NULL);
    def->list = read_string(l, at, "list", /* required= */ true);
    if (from && from->schema && def->list) {
        list = schema_at(from->schema, def->list);
        if (list == NULL || schema_unwrap(list)->type != SCHEMA_ARRAY)
            fault(l, path_key(l, at.path, "list"), "expected a field of '%s' that is a list, got '%.48s'", from->name, def->list);
        else
            def->item = schema_unwrap(list)->items;
    }
    if (read_names(l, at, "fields", /* required= */ true, &fields, &def->n_fields))
        def->fields = fields;
    if (json_object_get(at.obj, "items") == NULL)
        fault_got(l, path_key(l, at.path, "items"), "a whole number of items", NULL);
    def->n_items = (size_t)read_int(l, at, "items", 1, 1, ITEMS_COLS_MAX);
    return l->faults->n == n_faults && def->item;
}

static bool is_join(const json_t *json)
{
    return json_object_get(json, "join") || json_object_get(json, "fields");
}

static bool read_features(struct loader *l, struct stage_def *s, struct at at)
{
    const json_t *features = read_object(l, at, "features");
    const char *path = path_key(l, at.path, "features");
    const char *name;
    json_t *json;
    bool good = true;

    if (features == NULL)
        return false;
    s->features = arena_zalloc(l->arena, json_object_size(features) * sizeof(*s->features));
    json_object_foreach((json_t *)features, name, json) {
        struct feature_def *def = &s->features[s->n_features++];
        struct at here = {json, path_key(l, path, name)};

        def->name = arena_strdup(l->arena, name);
        if (!column_ok(name) || strcmp(name, "lineage") == 0) {
            fault(l, here.path, "expected a feature's name of letters, digits and _, not 'lineage' nor a word of expressions");
            good = false;
        }
        if (json_is_string(json) && json_string_length(json) > 0) {
            def->expr = arena_strdup(l->arena, json_string_value(json));
        } else if (json_is_object(json)) {
            good = (json_object_get(json, "list") ? read_list_feature(l, s, here, def)
                    : is_join(json)               ? read_join(l, s, here, def)
                                                  : read_aggregate(l, here, def)) && good;
        } else {
            fault_got(l, here.path, "an expression, an aggregate, a join or a list", json);
            good = false;
        }
    }
    return good;
}

/* What goes on with a row, but for its lineage, and is none of the columns that features speak of. */
static const struct feature_col *passed_cols(struct loader *l, const struct topic *t, const struct feature_input *input, size_t *ret_n)
{
    size_t n = schema_wants(t->schema, NULL, 0);
    struct want *leaves = arena_alloc(l->arena, (n + 1) * sizeof(*leaves));
    struct feature_col *cols = arena_alloc(l->arena, (n + 1) * sizeof(*cols));

    (void)schema_wants(t->schema, leaves, n);
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        bool elsewhere = strcmp(leaves[i].path, "lineage") == 0 || strncmp(leaves[i].path, "lineage.", 8) == 0;

        for (size_t k = 0; k < input->n_cols; k++)
            elsewhere = elsewhere || strcmp(input->cols[k].name, leaves[i].path) == 0;
        if (!elsewhere)
            cols[(*ret_n)++] = (struct feature_col){.name = leaves[i].path, .type = leaves[i].type, .scale = -1};
    }
    return cols;
}

static const struct feature_input *stage_inputs(struct loader *l, const struct stage_def *s)
{
    struct feature_input *inputs = arena_zalloc(l->arena, s->n_from * sizeof(*inputs));

    for (size_t i = 0; i < s->n_from; i++) {
        inputs[i].name = l->p->topics[s->from[i]].name;
        inputs[i].cols = topic_cols(l, (size_t)s->from[i], 0, &inputs[i].n_cols);
        inputs[i].replaces_ms = l->p->topics[s->from[i]].replaces_ms;
        if ((int)i == s->emit)
            inputs[i].passed = passed_cols(l, &l->p->topics[s->from[i]], &inputs[i], &inputs[i].n_passed);
    }
    return inputs;
}

/* The definition that a message of features_new begins with ("feature 'x': ..."), and where the rest begins. */
static size_t faulty(const struct feature_def *defs, size_t n, const char *text, const char **ret_why)
{
    static const char head[] = "feature '";

    for (size_t i = 0; i < n && strncmp(text, head, strlen(head)) == 0; i++) {
        const char *name = text + strlen(head);
        size_t n_name = strlen(defs[i].name);

        if (strncmp(name, defs[i].name, n_name) == 0 && strncmp(name + n_name, "': ", 3) == 0) {
            *ret_why = name + n_name + 3;
            return i;
        }
    }
    return n;
}

/* features_new stops at the first fault. The next one is found without the definition that had it; what then fails
 * only because it names a definition that was left out is not said. */
static bool compile(struct loader *l, struct stage_def *s, const char *path)
{
    const struct feature_input *inputs = stage_inputs(l, s);
    struct feature_def *defs = arena_copy(l->arena, s->features, s->n_features * sizeof(*defs));
    const char **out = arena_alloc(l->arena, s->n_features * sizeof(*out)), *why;
    size_t n = s->n_features, n_out = 0;
    struct error err;

    while (n > 0 && (s->tumbling ? tumbling_new(inputs, s->tumbling, defs, n, &s->compiled, &err)
                                 : features_new(inputs, s->n_from, (size_t)s->emit, defs, n, &s->compiled, &err)) != OK) {
        size_t i = faulty(defs, n, err.text, &why);
        bool follows = false;

        s->compiled = NULL;
        if (i == n) {
            fault(l, path, "expected features that compile, got: %s", err.text);
            return false;
        }
        for (size_t k = 0; k < n_out; k++)
            follows = follows || strstr(why, arena_printf(l->arena, "'%s'", out[k])) != NULL;
        if (!follows)
            fault(l, path_key(l, path, defs[i].name), "expected a feature that compiles, got: %s", why);
        out[n_out++] = defs[i].name;
        memmove(&defs[i], &defs[i + 1], (--n - i) * sizeof(*defs));
    }
    if (n_out == 0)
        return true;
    features_free(s->compiled);
    s->compiled = NULL;
    return false;
}

static const char *avro_field(struct loader *l, const struct feature_col *col)
{
    const char *type = col->type == COL_BOOL ? "\"boolean\""
                       : col->is_time        ? "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}"
                       : col->type == COL_INT ? "\"long\""
                       : col->type == COL_DOUBLE ? "\"double\""
                       : col->type == COL_STRING ? "\"string\""
                                                 : "\"bytes\"";

    /* nullable throughout: a feature may turn null by a changed expression, and the schema must bear it */
    if (col->type == COL_DOUBLE && col->scale >= 0)
        return arena_printf(l->arena, "{\"name\":\"%s\",\"type\":[\"null\",%s],\"default\":null,\"scale\":%d}", col->name,
                            type, col->scale);
    return arena_printf(l->arena, "{\"name\":\"%s\",\"type\":[\"null\",%s],\"default\":null}", col->name, type);
}

static enum schema_type avro_type(enum col_type type)
{
    switch (type) {
    case COL_BOOL:
        return SCHEMA_BOOLEAN;
    case COL_INT:
        return SCHEMA_LONG;
    case COL_DOUBLE:
        return SCHEMA_DOUBLE;
    case COL_STRING:
        return SCHEMA_STRING;
    default:
        return SCHEMA_BYTES;
    }
}

struct made made_of(struct loader *l, const struct feature_col *col)
{
    return (struct made){col->name, avro_field(l, col), avro_type(col->type)};
}

/* A feature that is the input's field of its own name is that field; any other one of that name would hide it. */
static bool is_passed_on(struct loader *l, const struct stage_def *s, struct at at, const char *col)
{
    const struct schema *input = l->p->topics[s->from[s->emit]].schema;
    const char *path = path_key(l, at.path, "features");
    bool is_field = false;

    for (size_t i = 0; i < input->n; i++)
        is_field = is_field || strcmp(input->fields[i].name, col) == 0;
    for (size_t i = 0; is_field && i < s->n_features; i++)
        if (s->features[i].expr && strcmp(s->features[i].name, col) == 0 && strcmp(s->features[i].expr, col) == 0)
            return true;
    if (is_field)
        fault(l, path_key(l, path, col), "expected another name, for the emitting input has a field '%s' already", col);
    return is_field;
}

/* Of the last preprocess stage before a topic; NULL: none. */
static const char *set_before(const struct loader *l, int topic)
{
    const struct pipeline *p = l->p;

    for (size_t hops = 0; p->topics[topic].writer >= 0 && hops < p->n_stages; hops++) {
        const struct stage_def *s = &p->stages[p->topics[topic].writer];

        if (s->compiled || s->n_from == 0)
            return s->feature_set;
        topic = s->from[s->emit];
    }
    return NULL;
}

/* The feature set of a stage behind others stands for theirs too, or a definition that changes upstream would go unseen:
 * FNV-1a over the sets of the stages before it and its own. The first stage's is its own. */
static const char *chained_set(struct loader *l, const struct stage_def *s)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const char *own = features_fingerprint(s->compiled);
    bool chained = false;

    for (size_t i = 0; i <= s->n_from; i++) {
        const char *set = i == s->n_from ? own : set_before(l, s->from[i]);

        for (const char *c = set; c && *c; c++)
            hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
        chained = chained || (set && i < s->n_from);
    }
    return chained ? arena_printf(l->arena, "%016llx", (unsigned long long)hash) : own;
}

/* What Kafka does not keep, no window can be built of again. */
static void check_reach(struct loader *l, const struct stage_def *s, struct at at)
{
    const char *path = path_key(l, at.path, "features");
    size_t input;

    for (size_t i = 0; i < features_n_cols(s->compiled); i++) {
        int64_t ms = features_reach(s->compiled, i, &input);

        if (ms > 0)
            check_retention(l, s->from[input], path_key(l, path, features_cols(s->compiled)[i].name), "a window with its delay", ms);
    }
}

/* Of the columns that the emitting input does not have already. */
static struct made *feature_made(struct loader *l, const struct stage_def *s, struct at at, size_t *ret_n)
{
    const struct feature_col *cols = features_cols(s->compiled);
    struct made *made = arena_alloc(l->arena, features_n_cols(s->compiled) * sizeof(*made));

    *ret_n = 0;
    for (size_t i = 0; i < features_n_cols(s->compiled); i++)
        if (!is_passed_on(l, s, at, cols[i].name))
            made[(*ret_n)++] = made_of(l, &cols[i]);
    return made;
}

void resolve_preprocess(struct loader *l, size_t stage)
{
    struct stage_def *s = &l->p->stages[stage];
    struct stage_more *more = &l->stages[stage];
    struct at at = {more->json, more->path};
    bool tumbling = json_object_get(more->json, "tumbling") != NULL;
    const char *path = path_key(l, at.path, tumbling ? "tumbling" : "features");
    struct made *made;
    size_t n_made = 0;

    if (!(tumbling ? read_tumbling(l, s, at) : read_features(l, s, at)) || more->broken ||
        !compile(l, s, tumbling ? path_key(l, path, "values") : path)) {
        more->broken = true;
        return;
    }
    if (tumbling)
        check_retention(l, s->from[0], path, "a window with its allowed lateness", s->tumbling->every_ms + s->tumbling->allowed_ms);
    else
        check_reach(l, s, at);
    s->feature_set = chained_set(l, s);
    made = tumbling ? tumbling_made(l, s, &n_made) : feature_made(l, s, at, &n_made);
    resolve_outputs(l, stage, made, n_made);
}
