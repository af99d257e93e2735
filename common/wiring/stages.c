#include <math.h>

#include "wiring/load.h"

#define DAY_MS ((int64_t)86400000)

/* The topics of `names`; an unknown one is a fault and marks the stage broken. */
static void find_topics(struct loader *l, struct stage_more *more, const char *key, const char **names, size_t n,
                        int **ret_topics, size_t *ret_n)
{
    int *topics = arena_alloc(l->arena, (n + 1) * sizeof(*topics));
    const char *path = path_key(l, more->path, key);
    bool is_list = json_is_array(json_object_get(more->json, key));
    size_t found = 0;

    for (size_t i = 0; i < n; i++) {
        int t = find_topic(l, names[i]);

        if (t >= 0) {
            topics[found++] = t;
            continue;
        }
        more->broken = true;
        if (l->p->n_topics == 0) /* that was said */
            continue;
        fault(l, is_list ? path_index(l, path, i) : path, "expected a topic under $.topics, got '%s'%s", names[i],
              hint(l, names[i], topic_names(l), l->p->n_topics));
    }
    *ret_topics = topics;
    *ret_n = found;
}

static void load_from(struct loader *l, struct stage_def *s, struct stage_more *more)
{
    struct at at = {more->json, more->path};
    const char **names;
    size_t n;

    if (strcmp(s->worker, "ingest") == 0)
        return;
    if (!read_names(l, at, "from", /* required= */ true, &names, &n)) {
        more->broken = true;
        return;
    }
    find_topics(l, more, "from", names, n, &s->from, &s->n_from);
    if (strcmp(s->worker, "preprocess") == 0) {
        const char *emit = read_string(l, at, "emit_on", /* required= */ false);
        const char *path = path_key(l, more->path, "emit_on");
        int topic = emit ? find_topic(l, emit) : -1;
        bool found = false;

        for (size_t i = 0; emit && i < s->n_from; i++)
            if (s->from[i] == topic) {
                s->emit = (int)i;
                found = true;
            }
        if (more->broken) /* one of the inputs is not known: this may be it */
            return;
        if (emit && !found)
            fault(l, path, "expected one of the stage's inputs, got '%s'%s", emit, hint(l, emit, names, n));
        else if (emit == NULL && n > 1 && !json_object_get(more->json, "emit_on"))
            fault(l, path, "expected one of the stage's %zu inputs, got nothing%s", n, hint(l, "?", names, n));
        else
            return;
        more->broken = true;
    } else if (n > 1) {
        fault(l, path_key(l, more->path, "from"), "expected one topic, got %zu (worker %s takes one input)", n, s->worker);
        more->broken = true;
    }
}

static void load_to(struct loader *l, struct stage_def *s, struct stage_more *more)
{
    const char **names;
    size_t n;

    if (strcmp(s->worker, "train") == 0)
        return;
    if (!read_names(l, (struct at){more->json, more->path}, "to", /* required= */ true, &names, &n)) {
        l->writers_unknown = true;
        return;
    }
    find_topics(l, more, "to", names, n, &s->to, &s->n_to);
    l->writers_unknown = l->writers_unknown || s->n_to < n;
}

static void load_stage(struct loader *l, struct stage_def *s, struct stage_more *more)
{
    struct at at = {more->json, more->path};
    const char *worker, *order, *guarantee, *workers[ARRAY_LEN(keys_workers)];

    more->broken = true;
    s->label_from = -1;
    s->label_absent = NAN;
    if (!json_is_object(more->json)) {
        fault_got(l, more->path, "an object", more->json);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        workers[i] = keys_workers[i].worker;
    worker = read_string(l, at, "worker", /* required= */ true);
    if (worker == NULL)
        return;
    if (keys_worker(worker) == NULL) {
        fault(l, path_key(l, more->path, "worker"), "expected a worker, got '%s'%s", worker,
              hint(l, worker, workers, ARRAY_LEN(workers)));
        return;
    }
    more->broken = false;
    s->worker = worker;
    check_keys(l, at, arena_printf(l->arena, "worker %s", worker), &keys_stage, keys_worker(worker));
    s->commit_interval_ms = read_duration(l, at, "commit.interval", 100, 10, 60000);
    s->memory_bytes = read_size(l, at, "memory", MEMORY_BYTES, MEMORY_BYTES_MIN, MEMORY_BYTES_MAX);
    s->drift_ms = read_duration(l, at, "drift", DAY_MS, 60000, 366 * DAY_MS);
    s->epoch = (int)read_int(l, at, "epoch", 0, 0, INT32_MAX);
    order = read_string(l, at, "order", /* required= */ false);
    if (order && strcmp(order, "arrival") != 0 && strcmp(order, "at") != 0)
        fault_got(l, path_key(l, more->path, "order"), "\"at\" or \"arrival\"", json_object_get(more->json, "order"));
    s->arrival_order = order && strcmp(order, "arrival") == 0;
    guarantee = read_string(l, at, "processing_guarantee", /* required= */ false);
    if (guarantee && strcmp(guarantee, "exactly_once") != 0 && strcmp(guarantee, "at_least_once") != 0)
        fault_got(l, path_key(l, more->path, "processing_guarantee"), "\"exactly_once\" or \"at_least_once\"",
                  json_object_get(more->json, "processing_guarantee"));
    s->at_least_once = guarantee && strcmp(guarantee, "at_least_once") == 0;
    load_from(l, s, more);
    load_to(l, s, more);
}

/* Where a train stage's labels come from is part of the graph, so it is read before it. */
static void load_label_topic(struct loader *l, struct stage_def *s, struct stage_more *more)
{
    const json_t *label = json_object_get(more->json, "label");
    struct at at = {label, path_key(l, more->path, "label")};
    const char *from;

    if (json_object_get(more->json, "target")) {
        if (label)
            fault(l, at.path, "expected \"label\" or \"target\", got both");
        return;
    }
    if (!json_is_object(label)) {
        fault_got(l, at.path, "an object that says where the truth comes from", label);
        return;
    }
    check_keys(l, at, "a label", &keys_label, NULL);
    from = read_string(l, at, "from", /* required= */ true);
    if (from == NULL)
        return;
    s->label_from = find_topic(l, from);
    if (s->label_from < 0 && l->p->n_topics > 0)
        fault(l, path_key(l, at.path, "from"), "expected a topic under $.topics, got '%s'%s", from,
              hint(l, from, topic_names(l), l->p->n_topics));
}

void load_stages(struct loader *l, const json_t *root)
{
    const json_t *stages = read_object(l, (struct at){root, "$"}, "stages");
    size_t n = stages ? json_object_size(stages) : 0;
    struct pipeline *p = l->p;
    const char *name;
    json_t *json;

    p->stages = arena_zalloc(l->arena, (n + 1) * sizeof(*p->stages));
    l->stages = arena_zalloc(l->arena, (n + 1) * sizeof(*l->stages));
    if (stages == NULL)
        return;
    json_object_foreach((json_t *)stages, name, json) {
        struct stage_def *s = &p->stages[p->n_stages];
        struct stage_more *more = &l->stages[p->n_stages];

        p->n_stages++;
        s->name = arena_strdup(l->arena, name);
        more->path = path_key(l, "$.stages", name);
        more->json = json;
        s->worker = "";
        if (!name_ok(name))
            fault(l, more->path, "expected a stage's name of at most 60 small letters, digits, _ or -, beginning with a letter");
        load_stage(l, s, more);
        l->writers_unknown = l->writers_unknown || s->worker[0] == '\0';
        if (strcmp(s->worker, "train") == 0)
            load_label_topic(l, s, more);
    }
}
