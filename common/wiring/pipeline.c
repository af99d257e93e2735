#include "wiring/pipeline.h"

#include <stdio.h>
#include <stdlib.h>

#include "wiring/load.h"

int64_t pipeline_drift(const struct pipeline *p, const struct topic *t)
{
    while (t->writer >= 0) {
        const struct stage_def *s = &p->stages[t->writer];

        if (strcmp(s->worker, "score") != 0)
            return s->drift_ms;
        t = &p->topics[s->from[0]];
    }
    return 0;
}

const struct stage_def *pipeline_orders(const struct pipeline *p, const struct topic *t)
{
    const struct stage_def *s = NULL;

    while (t->writer >= 0) {
        s = &p->stages[t->writer];
        if (strcmp(s->worker, "score") != 0)
            return s;
        t = &p->topics[s->from[0]];
    }
    return s; /* score takes its order from its input, but for one from outside */
}

struct topic *pipeline_topic(const struct pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_topics; i++)
        if (strcmp(p->topics[i].name, name) == 0 || strcmp(p->topics[i].broker_name, name) == 0)
            return &p->topics[i];
    return NULL;
}

struct stage_def *pipeline_stage(const struct pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_stages; i++)
        if (strcmp(p->stages[i].name, name) == 0)
            return &p->stages[i];
    return NULL;
}

void pipeline_free(struct pipeline *p)
{
    struct arena *arena;

    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n_topics; i++)
        if (p->topics[i].schema)
            schema_free(p->topics[i].schema);
    for (size_t i = 0; i < p->n_stages; i++)
        if (p->stages[i].compiled)
            features_free(p->stages[i].compiled);
    arena = p->arena;
    arena_done(arena); /* p lies in it */
    free(arena);
}

/* ---- "kafka" ---- */
static bool is_secret(const char *property)
{
    static const char *const parts[] = {"password", "secret", "ssl.key.pem", "ssl_key", "sasl.oauthbearer.config", "sasl.jaas"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strstr(property, parts[i]))
            return true;
    return false;
}

/* What exactly-once and the joins rest on is set by the loop alone. */
static bool is_ours(const char *property)
{
    static const char *const ours[] = {
        "bootstrap.servers", "metadata.broker.list", "group.id", "group.instance.id", "transactional.id",
        "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence", "isolation.level",
        "partition.assignment.strategy", "partitioner", "auto.offset.reset", "enable.partition.eof", "group.protocol",
    };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (strcmp(property, ours[i]) == 0)
            return true;
    return false;
}

static const char *env_name(struct loader *l, const char *property)
{
    char *name = arena_printf(l->arena, "MILLRACE_KAFKA_%s", property);

    for (char *c = name; *c; c++)
        *c = *c == '.' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    return name;
}

static void load_kafka(struct loader *l, const json_t *json)
{
    struct pipeline *p = l->p;
    const char *key;
    json_t *value;

    if (json == NULL)
        return;
    if (!json_is_object(json)) {
        fault_got(l, "$.kafka", "an object of librdkafka's properties", json);
        return;
    }
    p->kafka = arena_zalloc(l->arena, (json_object_size(json) + 1) * sizeof(*p->kafka));
    json_object_foreach((json_t *)json, key, value) {
        const char *path = path_key(l, "$.kafka", key);
        const char *text = scalar_text(l, value);

        if (is_secret(key)) /* the value is not shown: the message may go to a log */
            fault(l, path, "expected no secret in the file, got one; set %s in the environment", env_name(l, key));
        else if (strstr(key, "broker.list") || strcmp(key, "bootstrap.servers") == 0)
            fault(l, path, "expected no address in the file, got one; give --brokers or set MILLRACE_BROKERS");
        else if (is_ours(key))
            fault(l, path, "expected a property that is free, got one that the loop sets itself");
        else if (text == NULL)
            fault_got(l, path, "a text, a number, true or false", value);
        else
            p->kafka[p->n_kafka++] = (struct setting){arena_strdup(l->arena, key), text};
    }
}

/* ---- stages in the order of the graph ---- */
static void check_partitions(struct loader *l, size_t stage)
{
    struct pipeline *p = l->p;
    struct stage_def *s = &p->stages[stage];
    struct topic *first = &p->topics[s->from[0]];

    for (size_t i = 1; i < s->n_from; i++) {
        struct topic *t = &p->topics[s->from[i]];

        if (t->partitions != 0 && first->partitions != 0 && t->partitions != first->partitions)
            fault(l, path_key(l, l->stages[stage].path, "from"),
                  "expected inputs of equal partition counts (they are joined by partition), got '%s' with %d and '%s' with %d",
                  first->name, first->partitions, t->name, t->partitions);
    }
    for (size_t k = 0; k < s->n_to; k++)
        if (p->topics[s->to[k]].partitions == 0)
            p->topics[s->to[k]].partitions = p->topics[s->from[s->emit]].partitions;
}

static void resolve_stage(struct loader *l, size_t stage)
{
    struct stage_def *s = &l->p->stages[stage];
    struct stage_more *more = &l->stages[stage];

    more->done = true;
    for (size_t i = 0; i < s->n_from; i++)
        more->broken = more->broken || l->topics[s->from[i]].broken || l->p->topics[s->from[i]].schema == NULL;
    if (s->n_from > 0)
        check_partitions(l, stage);
    if (strcmp(s->worker, "preprocess") == 0)
        resolve_preprocess(l, stage);
    else if (strcmp(s->worker, "train") == 0)
        resolve_train(l, stage);
    else if (strcmp(s->worker, "score") == 0)
        resolve_score(l, stage);
    else if (strcmp(s->worker, "alert") == 0)
        resolve_alert(l, stage);
    for (size_t k = 0; k < s->n_to; k++) {
        l->topics[s->to[k]].done = true;
        if (more->broken)
            l->topics[s->to[k]].doubtful = true;
        for (size_t i = 0; i < s->n_from; i++)
            if (l->topics[s->from[i]].doubtful)
                l->topics[s->to[k]].doubtful = true;
        if (more->broken && l->p->topics[s->to[k]].schema == NULL)
            l->topics[s->to[k]].broken = true;
    }
}

static bool inputs_done(const struct loader *l, const struct stage_def *s)
{
    for (size_t i = 0; i < s->n_from; i++)
        if (!l->topics[s->from[i]].done)
            return false;
    return true;
}

/* Stages on a circle have inputs that are never done; they are taken last, with what is known of them. */
static void resolve_stages(struct loader *l)
{
    struct pipeline *p = l->p;

    for (size_t left = p->n_stages; left > 0; left--) {
        size_t next = p->n_stages;

        for (size_t i = 0; i < p->n_stages && next == p->n_stages; i++)
            if (!l->stages[i].done && inputs_done(l, &p->stages[i]))
                next = i;
        for (size_t i = 0; i < p->n_stages && next == p->n_stages; i++)
            if (!l->stages[i].done)
                next = i;
        resolve_stage(l, next);
    }
    link_models(l);
    mark_ordered(l);
}

static void load_all(struct loader *l, const json_t *root)
{
    struct at at = {root, "$"};
    const char *schemas, *slash = strrchr(l->file, '/');
    int n_folder = slash ? (int)(slash - l->file) : 0;

    if (!json_is_object(root)) {
        fault_got(l, "$", "an object", root);
        return;
    }
    check_keys(l, at, "a pipeline file", &keys_file, NULL);
    (void)read_string(l, at, "$schema", /* required= */ false);
    l->p->name = read_string(l, at, "pipeline", /* required= */ true);
    if (l->p->name && (!name_ok(l->p->name) || strcmp(l->p->name, "millrace") == 0))
        fault_got(l, "$.pipeline", "a name of at most 60 small letters, digits, _ or -, other than \"millrace\"",
                  json_object_get(root, "pipeline"));
    if (l->p->name == NULL)
        l->p->name = "pipeline";
    schemas = read_string(l, at, "schemas", /* required= */ false);
    if (schemas == NULL)
        schemas = "../schemas";
    if (schemas[0] == '/' || slash == NULL)
        l->schemas = schemas;
    else
        l->schemas = arena_printf(l->arena, "%.*s/%s", n_folder, l->file, schemas);
    load_kafka(l, json_object_get(root, "kafka"));
    load_topics(l, root);
    load_stages(l, root);
    if (l->p->n_stages == 0 || l->p->n_topics == 0) /* that was said; all else rests on both */
        return;
    check_graph(l);
    resolve_stages(l);
}

enum status pipeline_load(const char *path, struct pipeline **ret_pipeline, struct bytes *ret_faults, struct error *err)
{
    struct arena *arena = xcalloc(1, sizeof(*arena));
    struct pipeline *p = arena_zalloc(arena, sizeof(*p));
    struct loader *l = arena_zalloc(arena, sizeof(*l)); /* in the arena: looked-up schemas are kept while p lives */
    json_auto_t *root = NULL;
    size_t n = 0;

    bytes_clear(ret_faults);
    p->arena = arena;
    p->file = arena_strdup(arena, path);
    p->memory = memory_split(MEMORY_BYTES);
    *l = (struct loader){.p = p, .arena = arena, .file = p->file, .faults = ret_faults};
    if (json_read_file(path, &root, err) != OK) {
        bytes_printf(ret_faults, "%s\n", err->text);
        pipeline_free(p);
        return err->status;
    }
    load_all(l, root);
    p->schemas = l->schemas;
    for (size_t i = 0; i < ret_faults->n; i++)
        n += ret_faults->data[i] == '\n';
    if (n == 0) {
        *ret_pipeline = p;
        return OK;
    }
    pipeline_free(p);
    return err_set(err, ERR_FATAL, "%s: %zu fault%s", path, n, n == 1 ? "" : "s");
}

enum status pipeline_schema(const struct pipeline *p, const char *name, struct schema **ret_schema, struct error *err)
{
    struct loader *l = arena_zalloc(p->arena, sizeof(*l));
    const char *text;

    l->arena = p->arena;
    l->schemas = p->schemas;
    text = lookup_schema(l, name);
    if (text == NULL)
        return err_set(err, ERR_FATAL, "%s: no %s/%s.avsc, which every stage needs", p->file, p->schemas, name);
    return schema_parse(view_str(text), lookup_schema, l, ret_schema, err);
}
