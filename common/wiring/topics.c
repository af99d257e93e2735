#include <stdio.h>
#include <stdlib.h>

#include "wire/plan.h"
#include "wire/text.h"
#include "wiring/load.h"

#define LATENESS_MS ((int64_t)3600000)
#define TIME_AHEAD_MS ((int64_t)600000)
#define TIME_MIN_MS ((int64_t)946684800000) /* 2000-01-01 */
#define PARTITIONS_MAX 10000
#define SCALE_MAX 12 /* decimals */

int find_topic(const struct loader *l, const char *name)
{
    for (size_t i = 0; i < l->p->n_topics; i++)
        if (strcmp(l->p->topics[i].name, name) == 0)
            return (int)i;
    return -1;
}

const char **topic_names(struct loader *l)
{
    const char **names = arena_alloc(l->arena, (l->p->n_topics + 1) * sizeof(*names));

    for (size_t i = 0; i < l->p->n_topics; i++)
        names[i] = l->p->topics[i].name;
    return names;
}

/* The text of <schemas>/<name>.avsc, or NULL. Kept, for the parser may ask again while it still reads another. */
const char *lookup_schema(void *ctx, const char *name)
{
    struct loader *l = ctx;
    struct error err;
    json_auto_t *value = NULL;
    char *dump;

    for (size_t i = 0; i < l->n_texts; i += 2)
        if (strcmp(l->texts[i], name) == 0)
            return l->texts[i + 1];
    if (!identifier_ok(name) || l->n_texts == 2 * SCHEMAS_MAX)
        return NULL;
    if (json_read_file(arena_printf(l->arena, "%s/%s.avsc", l->schemas, name), &value, &err) != OK)
        return NULL;
    dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (dump == NULL)
        return NULL;
    l->texts[l->n_texts++] = arena_strdup(l->arena, name);
    l->texts[l->n_texts++] = arena_strdup(l->arena, dump);
    free(dump);
    return l->texts[l->n_texts - 1];
}

static void load_schema(struct loader *l, struct topic *t, struct topic_more *more)
{
    const char *path = path_key(l, more->path, "schema");
    struct error err;
    json_auto_t *value = NULL;
    const char *text;

    more->broken = true;
    if (!identifier_ok(t->schema_name)) {
        fault(l, path, "expected the name of a schema (letters, digits, _), got \"%.48s\"", t->schema_name);
        return;
    }
    text = lookup_schema(l, t->schema_name);
    if (text == NULL) {
        (void)json_read_file(arena_printf(l->arena, "%s/%s.avsc", l->schemas, t->schema_name), &value, &err);
        fault(l, path, "expected a schema in %s, got '%s': %s%s", l->schemas, t->schema_name, err.text,
              hint_schema(l, t->schema_name));
        return;
    }
    if (schema_parse(view_str(text), lookup_schema, l, &t->schema, &err) != OK)
        fault(l, path, "expected an Avro schema in %s/%s.avsc, got: %s", l->schemas, t->schema_name, err.text);
    else if (t->schema->type != SCHEMA_RECORD)
        fault(l, path, "expected a record in %s/%s.avsc, got another type", l->schemas, t->schema_name);
    else
        more->broken = false;
}

static int64_t read_time(struct loader *l, struct at at, const char *key, int64_t deflt)
{
    const char *text = read_string(l, at, key, /* required= */ false);
    int64_t ms;

    if (text == NULL)
        return deflt;
    if (text_parse_time(view_str(text), &ms))
        return ms;
    fault_got(l, path_key(l, at.path, key), "a date such as \"2000-01-01\"", json_object_get(at.obj, key));
    return deflt;
}

static int64_t read_retention(struct loader *l, struct at at)
{
    const json_t *value = json_object_get(at.obj, "retention");

    if (json_is_string(value) && strcmp(json_string_value(value), "ever") == 0)
        return RETENTION_EVER;
    return value ? read_duration(l, at, "retention", 36600 * DAY_MS, DAY_MS / 24, 36600 * DAY_MS) : 0;
}

static void load_topic(struct loader *l, struct topic *t, struct topic_more *more, const json_t *json)
{
    struct at at = {json, more->path};

    t->partitions = 0;
    t->lateness_ms = LATENESS_MS;
    t->time_min_ms = TIME_MIN_MS;
    t->time_ahead_ms = TIME_AHEAD_MS;
    t->writer = -1;
    if (!json_is_object(json)) {
        fault_got(l, more->path, "an object", json);
        more->broken = true;
        return;
    }
    check_keys(l, at, "a topic", &keys_topic, NULL);
    t->schema_name = read_string(l, at, "schema", /* required= */ false);
    t->key = read_string(l, at, "key", /* required= */ false);
    t->time = read_string(l, at, "time", /* required= */ false);
    t->partitions = (int)read_int(l, at, "partitions", 0, 1, PARTITIONS_MAX);
    t->lateness_ms = read_duration(l, at, "lateness", LATENESS_MS, 0, 366 * DAY_MS);
    t->time_min_ms = read_time(l, at, "time.min", TIME_MIN_MS);
    t->time_ahead_ms = read_duration(l, at, "time.ahead", TIME_AHEAD_MS, 0, 36600 * DAY_MS);
    t->retention_ms = read_retention(l, at);
    if (t->schema_name)
        load_schema(l, t, more);
}

void check_retention(struct loader *l, int topic, const char *path, const char *what, int64_t ms)
{
    const struct topic *t = &l->p->topics[topic];

    if (t->retention_ms > 0 && ms > t->retention_ms)
        fault(l, path, "expected no more than the retention of topic '%s' (%s), got %s of %s", t->name, duration_text(l, t->retention_ms),
              what, duration_text(l, ms));
}

void load_topics(struct loader *l, const json_t *root)
{
    const json_t *topics = read_object(l, (struct at){root, "$"}, "topics");
    size_t n = topics ? json_object_size(topics) : 0;
    struct pipeline *p = l->p;
    const char *name;
    json_t *json;

    p->topics = arena_zalloc(l->arena, (n + 1) * sizeof(*p->topics));
    l->topics = arena_zalloc(l->arena, (n + 1) * sizeof(*l->topics));
    if (topics == NULL)
        return;
    json_object_foreach((json_t *)topics, name, json) {
        struct topic *t = &p->topics[p->n_topics];
        struct topic_more *more = &l->topics[p->n_topics];

        p->n_topics++;
        t->name = arena_strdup(l->arena, name);
        t->broker_name = arena_printf(l->arena, "%s.%s", p->name, name);
        more->path = path_key(l, "$.topics", name);
        more->json = json;
        if (!name_ok(name))
            fault(l, more->path, "expected a topic's name of at most 60 small letters, digits, _ or -, beginning with a letter");
        else if (strcmp(name, "dead_letters") == 0)
            fault(l, more->path, "expected another name: 'dead_letters' is made for every pipeline");
        load_topic(l, t, more, json);
    }
}

static bool is_key_field(const struct schema *s)
{
    return s->type == SCHEMA_STRING || s->type == SCHEMA_INT || s->type == SCHEMA_LONG || s->type == SCHEMA_ENUM;
}

static const struct schema *field_type(const struct schema *record, const char *name)
{
    for (size_t i = 0; i < record->n; i++)
        if (strcmp(record->fields[i].name, name) == 0)
            return record->fields[i].type;
    return NULL;
}

static const char *field_hint(struct loader *l, const struct schema *record, const char *name)
{
    const char **names = arena_alloc(l->arena, (record->n + 1) * sizeof(*names));

    for (size_t i = 0; i < record->n; i++)
        names[i] = record->fields[i].name;
    return hint(l, name, names, record->n);
}

void check_row(struct loader *l, size_t topic)
{
    struct topic *t = &l->p->topics[topic];
    struct topic_more *more = &l->topics[topic];
    const struct schema *type;
    size_t n_cols;

    if (more->broken || t->schema == NULL)
        return;
    n_cols = schema_wants(t->schema, NULL, 0);
    if (n_cols > WANTS_MAX)
        fault(l, more->path, "expected at most %d columns in a record (a record's leaves; lineage has some too), got %zu", WANTS_MAX, n_cols);
    if (t->key) {
        const char *path = path_key(l, more->path, "key");

        type = field_type(t->schema, t->key);
        if (type == NULL)
            fault(l, path, "expected a field of the topic's schema, got '%s'%s", t->key, field_hint(l, t->schema, t->key));
        else if (!is_key_field(type))
            fault(l, path, "expected a field of type string, int, long or enum that is never null, got '%s'", t->key);
    }
    if (t->time) {
        const char *path = path_key(l, more->path, "time");
        const char *time = t->time;

        type = field_type(t->schema, time);
        if (type == NULL || !schema_is_time(type))
            t->time = NULL; /* so that no output inherits the fault */
        if (type == NULL)
            fault(l, path, "expected a field of the topic's schema, got '%s'%s", time,
                  field_hint(l, t->schema, time));
        else if (!schema_is_time(type))
            fault(l, path, "expected a field of logicalType timestamp-millis or timestamp-micros, got '%s'", time);
    }
    more->key = t->key ? t->key : more->key;
    t->keyed_by = more->key;
}

/* Sums are of whole numbers at the field's scale, so a scale that is passed over would change them in silence. */
static void check_scales(struct loader *l, size_t topic)
{
    const struct schema *s = l->p->topics[topic].schema;

    for (size_t i = 0; s && !l->topics[topic].broken && i < s->n; i++) {
        const json_t *scale = s->fields[i].props ? json_object_get(s->fields[i].props, "scale") : NULL;

        if (scale && (!json_is_integer(scale) || json_integer_value(scale) < 0 || json_integer_value(scale) > SCALE_MAX))
            fault_got(l, path_key(l, l->topics[topic].path, "schema"),
                      arena_printf(l->arena, "an Avro schema with a whole number from 0 to %d as \"scale\" of the field '%s'", SCALE_MAX, s->fields[i].name), scale);
    }
}

/* A key that is there with a wrong value was said when it was read. */
static void need(struct loader *l, size_t topic, const char *key, const char *what)
{
    if (json_object_get(l->topics[topic].json, key) == NULL)
        fault(l, path_key(l, l->topics[topic].path, key), "expected %s, got nothing", what);
}

void check_outside_topic(struct loader *l, size_t topic)
{
    struct topic *t = &l->p->topics[topic];
    struct topic_more *more = &l->topics[topic];
    bool whole = t->schema_name && t->key && t->time && t->partitions != 0;

    if (json_is_object(more->json) && !more->doubtful && (whole || more->ingested || !l->writers_unknown)) {
        need(l, topic, "schema", "a schema's name, for no stage derives this topic");
        need(l, topic, "key", "the field that partitions it");
        need(l, topic, "time", "the field that holds the event time");
        need(l, topic, "partitions", arena_printf(l->arena, "a whole number from 1 to %d", PARTITIONS_MAX));
    }
    more->broken = more->broken || t->schema == NULL;
    more->doubtful = more->doubtful || !whole;
    check_row(l, topic);
    check_scales(l, topic);
    more->done = true;
}

struct feature_col *topic_cols(struct loader *l, size_t topic, size_t n_more, size_t *ret_n)
{
    const struct topic *t = &l->p->topics[topic];
    struct feature_col *cols = arena_zalloc(l->arena, (t->schema->n + n_more + 1) * sizeof(*cols));
    size_t n = 0;

    for (size_t i = 0; i < t->schema->n; i++) {
        const struct schema_field *f = &t->schema->fields[i];
        const json_t *scale = f->props ? json_object_get(f->props, "scale") : NULL;
        enum col_type type = schema_col_type(schema_unwrap(f->type));

        if (type == COL_AVRO)
            continue;
        cols[n++] = (struct feature_col){
            .name = arena_strdup(l->arena, f->name),
            .type = type,
            .is_time = schema_is_time(f->type),
            .scale = json_is_integer(scale) ? (int)json_integer_value(scale) : -1,
        };
    }
    *ret_n = n;
    return cols;
}

const char **col_names(struct loader *l, const struct feature_col *cols, size_t n)
{
    const char **names = arena_alloc(l->arena, (n + 1) * sizeof(*names));

    for (size_t i = 0; i < n; i++)
        names[i] = cols[i].name;
    return names;
}
