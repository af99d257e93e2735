#include "wiring/load.h"

#include <stdlib.h>

static bool is_taken(const char *name, const char *key)
{
    static const char *const own[] = {TUMBLING_START, TUMBLING_TIME, TUMBLING_REVISION, "lineage"};

    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
        if (strcmp(name, own[i]) == 0)
            return true;
    return key && strcmp(name, key) == 0;
}

static bool read_value(struct loader *l, struct at at, struct feature_def *def)
{
    bool good;

    if (!json_is_object(at.obj)) {
        fault_got(l, at.path, "an aggregate", at.obj);
        return false;
    }
    check_keys(l, at, "a window's value", keys_values(), &keys_value);
    good = read_kind(l, at, keys_values(), def);
    def->where = read_string(l, at, "where", /* required= */ false);
    def->has_fill = json_object_get(at.obj, "fill") != NULL;
    def->fill = read_number(l, at, "fill", 0);
    return good;
}

static bool read_values(struct loader *l, struct stage_def *s, struct at at)
{
    const json_t *values = read_object(l, at, "values");
    const char *path = path_key(l, at.path, "values"), *name, *key = l->topics[s->from[0]].key;
    json_t *json;
    bool good = true;

    if (values == NULL)
        return false;
    s->features = arena_zalloc(l->arena, json_object_size(values) * sizeof(*s->features));
    json_object_foreach((json_t *)values, name, json) {
        struct feature_def *def = &s->features[s->n_features++];
        struct at here = {json, path_key(l, path, name)};

        def->name = arena_strdup(l->arena, name);
        if (!column_ok(name) || is_taken(name, key)) {
            fault(l, here.path, "expected a value's name of letters, digits and _, no word of expressions, other than those that a window's row has already");
            good = false;
        }
        good = read_value(l, here, def) && good;
    }
    return good;
}

/* Later events than the input lets through cannot be waited for; and what is waited for is kept. */
static bool read_allowed(struct loader *l, const struct topic *in, struct tumbling_def *def, struct at at)
{
    const char *path = path_key(l, at.path, "allowed");

    def->allowed_ms = read_duration(l, at, "allowed", in->lateness_ms, 0, INT64_MAX);
    if (def->allowed_ms > in->lateness_ms)
        fault_got(l, path, arena_printf(l->arena, "no more than the lateness of its input '%s', which lets nothing later through", in->name),
                  json_object_get(at.obj, "allowed"));
    else if (def->allowed_ms / def->every_ms > TUMBLING_KEPT_MAX)
        fault(l, path, "expected at most %d windows of \"every\", which are all kept, got %lld", TUMBLING_KEPT_MAX,
              (long long)(def->allowed_ms / def->every_ms));
    else
        return true;
    return false;
}

/* NULL: the key is none of the input's fields. */
static const struct schema_field *key_field(const struct loader *l, const struct stage_def *s)
{
    const struct schema *input = l->p->topics[s->from[0]].schema;
    const char *key = l->topics[s->from[0]].key;

    for (size_t i = 0; input && key && i < input->n; i++)
        if (strcmp(input->fields[i].name, key) == 0)
            return &input->fields[i];
    return NULL;
}

bool read_tumbling(struct loader *l, struct stage_def *s, struct at at)
{
    struct at inside = {json_object_get(at.obj, "tumbling"), path_key(l, at.path, "tumbling")};
    struct tumbling_def *def = arena_zalloc(l->arena, sizeof(*def));
    bool good;

    if (!json_is_object(inside.obj)) {
        fault_got(l, inside.path, "an object", inside.obj);
        return false;
    }
    check_keys(l, inside, "\"tumbling\"", &keys_tumbling, NULL);
    if (json_object_get(at.obj, "features"))
        fault(l, inside.path, "expected \"features\" or \"tumbling\", got both: features of windows are those of a stage behind this one");
    if (s->n_from != 1) {
        if (s->n_from > 1)
            fault(l, path_key(l, at.path, "from"), "expected one topic beside \"tumbling\", got %zu", s->n_from);
        return false;
    }
    s->tumbling = def;
    def->every_ms = read_duration(l, inside, "every", -1, SECOND_MS, 366 * DAY_MS);
    def->fill_for_ms = read_duration(l, inside, "fill.for", INT64_MAX, 0, INT64_MAX);
    good = read_zone(l, inside, def->every_ms, &def->zone);
    good = read_allowed(l, &l->p->topics[s->from[0]], def, inside) && good;
    good = read_values(l, s, inside) && good;
    if (key_field(l, s))
        return good;
    if (l->topics[s->from[0]].key == NULL && !l->topics[s->from[0]].doubtful && !l->topics[s->from[0]].broken)
        fault(l, path_key(l, at.path, "from"), "expected a topic whose key is a field of it, for a window's row has that field, got '%s'",
              l->p->topics[s->from[0]].name);
    return false;
}

static struct made key_made(struct loader *l, const struct stage_def *s)
{
    const struct schema_field *f = key_field(l, s);
    char *dump = json_dumps(f->props, JSON_COMPACT);
    struct made made = {l->topics[s->from[0]].key, arena_strdup(l->arena, dump), schema_unwrap(f->type)->type};

    free(dump);
    return made;
}

struct made *tumbling_made(struct loader *l, const struct stage_def *s, size_t *ret_n)
{
    static const struct made own[] = {
        {TUMBLING_START, "{\"name\":\"" TUMBLING_START "\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}}", SCHEMA_LONG},
        {TUMBLING_TIME, "{\"name\":\"" TUMBLING_TIME "\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}}", SCHEMA_LONG},
        {TUMBLING_REVISION, "{\"name\":\"" TUMBLING_REVISION "\",\"type\":\"int\"}", SCHEMA_INT},
    };
    size_t n_own = sizeof(own) / sizeof(*own), n = features_n_cols(s->compiled);
    struct made *made = arena_alloc(l->arena, (1 + n_own + n) * sizeof(*made));

    made[0] = key_made(l, s);
    memcpy(made + 1, own, sizeof(own));
    for (size_t i = 0; i < n; i++)
        made[1 + n_own + i] = made_of(l, &features_cols(s->compiled)[i]);
    *ret_n = 1 + n_own + n;
    return made;
}
