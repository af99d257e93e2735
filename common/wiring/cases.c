#include "wiring/cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "wire/text.h"
#include "wiring/load.h"

/* ---- the chain of stages ---- */

static bool makes(const struct stage_def *s, size_t topic)
{
    for (size_t i = 0; i < s->n_to; i++)
        if (s->to[i] == (int)topic)
            return true;
    return false;
}

static bool reads(const struct stage_def *s, size_t topic)
{
    for (size_t i = 0; i < s->n_from; i++)
        if (s->from[i] == (int)topic)
            return true;
    return false;
}

static bool any(bool (*does)(const struct stage_def *, size_t), const struct test_case *c, size_t topic)
{
    for (size_t i = 0; i < c->n_stages; i++)
        if (does(c->stages[i], topic))
            return true;
    return false;
}

static bool read_stages(struct loader *l, struct at at, struct test_case *c)
{
    const char **names, **known = arena_alloc(l->arena, (l->p->n_stages + 1) * sizeof(*known));
    const char *path = path_key(l, at.path, "stages");
    size_t n, n_known = 0;

    for (size_t i = 0; i < l->p->n_stages; i++)
        if (l->p->stages[i].n_from > 0 && l->p->stages[i].n_to > 0)
            known[n_known++] = l->p->stages[i].name;
    if (!read_names(l, at, "stages", /* required= */ true, &names, &n))
        return false;
    c->stages = arena_alloc(l->arena, n * sizeof(struct stage_def *));
    for (size_t i = 0; i < n; i++) {
        const struct stage_def *s = pipeline_stage(l->p, names[i]);

        if (s == NULL || s->n_from == 0 || s->n_to == 0) {
            fault(l, path, "expected a stage that reads and writes topics, got '%.60s'%s", names[i],
                  hint(l, names[i], known, n_known));
            return false;
        }
        for (size_t k = 0; k < s->n_to; k++)
            if (any(reads, c, (size_t)s->to[k])) {
                fault(l, path, "expected '%s' before the stage that reads its '%s'", s->name,
                      l->p->topics[s->to[k]].name);
                return false;
            }
        c->stages[c->n_stages++] = s;
    }
    return true;
}

/* The topics that go into the chain, or that it makes. */
static const char **chain_topics(struct loader *l, const struct test_case *c, bool made, size_t *ret_n)
{
    const char **names = arena_alloc(l->arena, (l->p->n_topics + 1) * sizeof(*names));

    *ret_n = 0;
    for (size_t t = 0; t < l->p->n_topics; t++)
        if (made ? any(makes, c, t) : any(reads, c, t) && !any(makes, c, t))
            names[(*ret_n)++] = l->p->topics[t].name;
    return names;
}

static const struct topic *chain_topic(struct loader *l, const struct test_case *c, bool made, const char *name,
                                       const char *path)
{
    size_t n;
    const char **names = chain_topics(l, c, made, &n);

    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return pipeline_topic(l->p, name);
    fault(l, path, "expected a topic that the case's stages %s, got '%.60s'%s",
          made ? "write" : "read and do not write", name, hint(l, name, names, n));
    return NULL;
}

/* ---- events ---- */

static bool time_of(const json_t *value, int64_t *ret_ms)
{
    if (json_is_integer(value))
        *ret_ms = json_integer_value(value);
    return json_is_integer(value) ||
           (json_is_string(value) && text_parse_time(view_str(json_string_value(value)), ret_ms));
}

/* As if the first task of the stage that writes the topic had made the records, in this order, of as many of its
 * input. */
static json_t *lineage(const struct loader *l, const struct topic *t, const json_t *event, size_t i, int64_t *at)
{
    const struct stage_def *writer = &l->p->stages[t->writer];
    const struct stage_def *orders = pipeline_orders(l->p, t);
    const struct topic *root = t;
    int tasks = orders ? l->p->topics[orders->from[0]].partitions : t->partitions;
    int64_t ms;

    while (root->writer >= 0)
        root = &l->p->topics[l->p->stages[root->writer].from[l->p->stages[root->writer].emit]];
    if (t->time && time_of(json_object_get(event, t->time), &ms) && (i == 0 || ms > *at))
        *at = ms;
    return json_pack("{s{ss,si,sI},si,sI,si,si,si,sI,s[],ss?,si}", "source", "topic", root->broker_name, "partition",
                     0, "offset", (json_int_t)i, "task", 0, "offset", (json_int_t)i, "index", 0, "tasks", tasks,
                     "epoch", writer->epoch, "at", (json_int_t)*at, "seen", "feature_set", writer->feature_set,
                     "channel", 0);
}

static void read_events(struct loader *l, const char *path, const json_t *list, struct case_input *in)
{
    int64_t at = 0;

    in->records = arena_alloc(l->arena, (json_array_size(list) + 1) * sizeof(*in->records));
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_auto_t *event = json_copy(json_array_get(list, i));
        const char *here = path_index(l, path, i);
        struct bytes body = BYTES_EMPTY;
        struct error err;
        char *text;

        if (!json_is_object(event)) {
            fault_got(l, here, "an event (an object of fields)", event);
            continue;
        }
        if (in->topic->writer >= 0 && json_object_get(event, "lineage") == NULL)
            json_object_set_new(event, "lineage", lineage(l, in->topic, event, i, &at));
        text = json_dumps(event, JSON_COMPACT);
        if (text_to_avro(in->topic->schema, view_str(text), &body, &err) != OK)
            fault(l, here, "expected an event of '%s', got: %s", in->topic->name, err.text);
        else
            in->records[in->n++] = view_of(arena_copy(l->arena, body.data, body.n), body.n);
        free(text);
        bytes_done(&body);
    }
}

static void read_in(struct loader *l, struct at at, struct test_case *c)
{
    const json_t *in = read_object(l, at, "in");
    const char *path = path_key(l, at.path, "in"), *name;
    json_t *list;

    c->in = arena_zalloc(l->arena, (json_object_size(in) + 1) * sizeof(*c->in));
    json_object_foreach((json_t *)in, name, list) {
        const char *here = path_key(l, path, name);
        const struct topic *t = chain_topic(l, c, /* made= */ false, name, here);

        if (t == NULL)
            continue;
        if (!json_is_array(list)) {
            fault_got(l, here, "a list of events", list);
            continue;
        }
        c->in[c->n_in].topic = t;
        read_events(l, here, list, &c->in[c->n_in++]);
    }
}

/* ---- what is expected ---- */

static bool is_time(const struct schema *s)
{
    return s->type == SCHEMA_LONG && s->logical && strstr(s->logical, "timestamp-");
}

/* What a value of the type looks like in JSON, where this one does not; NULL: it does. */
static const char *lacks(const struct schema *s, const json_t *value)
{
    int64_t ms;

    switch (s->type) {
    case SCHEMA_BOOLEAN:
        return json_is_boolean(value) ? NULL : "true or false";
    case SCHEMA_INT:
    case SCHEMA_LONG:
        if (is_time(s))
            return time_of(value, &ms) ? NULL
                                       : "a time: a text such as \"2018-07-25T10:00:00Z\", or milliseconds since 1970";
        return json_is_integer(value) ? NULL : "a whole number";
    case SCHEMA_FLOAT:
    case SCHEMA_DOUBLE:
        return json_is_number(value) || json_is_string(value) ? NULL : "a number";
    case SCHEMA_RECORD:
    case SCHEMA_MAP:
        return json_is_object(value) ? NULL : "an object";
    case SCHEMA_ARRAY:
        return json_is_array(value) ? NULL : "a list";
    case SCHEMA_UNION:
        return NULL;
    default:
        return json_is_string(value) ? NULL : "a text";
    }
}

static bool takes_null(const struct schema *s)
{
    for (size_t i = 0; s->type == SCHEMA_UNION && i < s->n; i++)
        if (s->branches[i]->type == SCHEMA_NULL)
            return true;
    return s->type == SCHEMA_NULL;
}

/* Each field that is named is there, each value one that it could have. */
static void check_expected(struct loader *l, const char *path, const char *of, const struct schema *schema,
                           const json_t *value)
{
    const struct schema *s = schema_unwrap(schema);
    const char *key, *lack = json_is_null(value) && takes_null(schema) ? NULL : lacks(s, value);
    const char **names;
    json_t *item;

    if (lack)
        fault_got(l, path, lack, value);
    else if (s->type == SCHEMA_ARRAY)
        for (size_t i = 0; i < json_array_size(value); i++)
            check_expected(l, path_index(l, path, i), of, s->items, json_array_get(value, i));
    if (s->type != SCHEMA_RECORD)
        return;
    names = arena_alloc(l->arena, (s->n + 1) * sizeof(*names));
    for (size_t i = 0; i < s->n; i++)
        names[i] = s->fields[i].name;
    json_object_foreach((json_t *)value, key, item) {
        const struct schema_field *f = schema_field(s, key);

        if (f)
            check_expected(l, path_key(l, path, key), of, f->type, item);
        else
            fault(l, path_key(l, path, key), "expected a field of '%s', got an unknown one%s", of,
                  hint(l, key, names, s->n));
    }
}

static void read_out(struct loader *l, struct at at, struct test_case *c)
{
    const json_t *out = json_object_get(at.obj, "out") ? read_object(l, at, "out") : NULL;
    const char *path = path_key(l, at.path, "out"), *name;
    json_t *list;

    c->out = arena_zalloc(l->arena, (json_object_size(out) + 1) * sizeof(*c->out));
    json_object_foreach((json_t *)out, name, list) {
        const char *here = path_key(l, path, name);
        const struct topic *t = chain_topic(l, c, /* made= */ true, name, here);

        if (t == NULL)
            continue;
        if (json_array_size(list) == 0 && !(json_is_string(list) && strcmp(json_string_value(list), "none") == 0)) {
            fault_got(l, here, "a list of records, or \"none\"", list);
            continue;
        }
        for (size_t i = 0; i < json_array_size(list); i++)
            check_expected(l, path_index(l, here, i), name, t->schema, json_array_get(list, i));
        c->out[c->n_out++] = (struct case_output){t, json_is_array(list) ? list : NULL};
    }
}

static void check_dead_letter(struct loader *l, struct at at, const struct test_case *c)
{
    const char *stage, *topic, **stages = arena_alloc(l->arena, c->n_stages * sizeof(*stages));
    const json_t *event = json_object_get(at.obj, "event");
    const char *path = path_key(l, at.path, "topic");
    const struct topic *t;
    bool found = false;

    check_keys(l, at, "a dead letter", &keys_dead, NULL);
    (void)read_string(l, at, "reason", /* required= */ true);
    stage = read_string(l, at, "stage", /* required= */ false);
    topic = read_string(l, at, "topic", /* required= */ false);
    for (size_t i = 0; i < c->n_stages; i++) {
        stages[i] = c->stages[i]->name;
        found = found || (stage && strcmp(stage, stages[i]) == 0);
    }
    if (stage && !found)
        fault(l, path_key(l, at.path, "stage"), "expected a stage of the case, got '%.60s'%s", stage,
              hint(l, stage, stages, c->n_stages));
    t = topic ? pipeline_topic(l->p, topic) : NULL;
    if (topic && (t == NULL || !any(reads, c, (size_t)(t - l->p->topics)))) {
        fault(l, path, "expected a topic that the case's stages read, got '%.60s'%s", topic,
              hint(l, topic, topic_names(l), l->p->n_topics));
        return;
    }
    if (event && topic == NULL && !json_object_get(at.obj, "topic"))
        fault(l, path, "expected the topic that \"event\" was on, got nothing");
    else if (event && t)
        check_expected(l, path_key(l, at.path, "event"), topic, t->schema, event);
}

static void read_dead_letters(struct loader *l, struct at at, struct test_case *c)
{
    const json_t *list = json_object_get(at.obj, "dead_letters");
    const char *path = path_key(l, at.path, "dead_letters");

    if (list == NULL)
        return;
    if (json_array_size(list) == 0) {
        fault_got(l, path, "a list of dead letters (without it there must be none)", list);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct at here = {json_array_get(list, i), path_index(l, path, i)};

        if (json_is_object(here.obj))
            check_dead_letter(l, here, c);
        else
            fault_got(l, here.path, "an object", here.obj);
    }
    c->dead_letters = list;
}

static void read_models(struct loader *l, struct at at, struct test_case *c)
{
    const char *models = read_string(l, at, "models", /* required= */ false), *path = path_key(l, at.path, "models");
    const char *slash = strrchr(l->file, '/');
    bool scores = false;

    if (models == NULL)
        return;
    for (size_t i = 0; i < c->n_stages; i++)
        scores = scores || c->stages[i]->model;
    c->models = models;
    if (models[0] != '/' && slash)
        c->models = arena_printf(l->arena, "%.*s/%s", (int)(slash - l->file), l->file, models);
    if (!scores)
        fault(l, path, "expected none, for no stage of the case scores");
    else if (access(c->models, R_OK) != 0)
        fault(l, path, "expected a file of models, got %s, which cannot be read", c->models);
}

static void read_case(struct loader *l, struct at at, struct test_case *c)
{
    check_keys(l, at, "a case", &keys_case, NULL);
    c->name = read_string(l, at, "name", /* required= */ true);
    c->within = read_number(l, at, "within", 0);
    if (!(c->within >= 0))
        fault_got(l, path_key(l, at.path, "within"), "a number from 0", json_object_get(at.obj, "within"));
    if (!read_stages(l, at, c)) /* all else rests on it */
        return;
    read_in(l, at, c);
    read_out(l, at, c);
    read_dead_letters(l, at, c);
    read_models(l, at, c);
    if (json_object_get(at.obj, "out") == NULL && json_object_get(at.obj, "dead_letters") == NULL)
        fault(l, at.path, "expected \"out\" or \"dead_letters\", got neither: nothing would be compared");
}

static void load(struct loader *l, struct cases *all)
{
    struct at at = {all->root, "$"};
    const json_t *list;

    if (!json_is_object(all->root)) {
        fault_got(l, "$", "an object", all->root);
        return;
    }
    check_keys(l, at, "a file of tests", &keys_tests, NULL);
    list = read_list(l, at, "cases");
    all->cases = arena_zalloc(l->arena, (json_array_size(list) + 1) * sizeof(*all->cases));
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct at here = {json_array_get(list, i), path_index(l, "$.cases", i)};
        struct test_case *c = &all->cases[all->n++];

        if (!json_is_object(here.obj)) {
            fault_got(l, here.path, "an object", here.obj);
            continue;
        }
        read_case(l, here, c);
        for (size_t k = 0; c->name && k + 1 < all->n; k++)
            if (all->cases[k].name && strcmp(all->cases[k].name, c->name) == 0)
                fault(l, path_key(l, here.path, "name"), "expected each case's name once, got '%.60s' again", c->name);
    }
}

enum status cases_load(const char *path, const struct pipeline *p, struct cases **ret_cases, struct bytes *ret_faults,
                       struct error *err)
{
    struct arena *arena = xcalloc(1, sizeof(*arena));
    struct cases *all = arena_zalloc(arena, sizeof(*all));
    struct loader *l = arena_zalloc(arena, sizeof(*l));

    bytes_clear(ret_faults);
    all->arena = arena;
    *l = (struct loader){.p = (struct pipeline *)(uintptr_t)p, .arena = arena, .file = arena_strdup(arena, path),
                          .faults = ret_faults};
    if (json_read_file(path, &all->root, err) != OK) {
        bytes_printf(ret_faults, "%s\n", err->text);
        cases_free(all);
        return err->status;
    }
    load(l, all);
    if (ret_faults->n == 0) {
        *ret_cases = all;
        return OK;
    }
    cases_free(all);
    return err_set(err, ERR_FATAL, "%s: not a file of tests for %s", path, p->file);
}

void cases_free(struct cases *c)
{
    struct arena *arena;

    if (c == NULL)
        return;
    json_decref(c->root);
    arena = c->arena;
    arena_done(arena); /* c lies in it */
    free(arena);
}
