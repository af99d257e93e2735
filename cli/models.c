/* models: what millrace.models holds, each signature checked. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "model/store.h"
#include "stage/models.h"
#include "wire/frame.h"
#include "wire/text.h"

static enum status read_store(const char *brokers, struct model_store *store, struct error *err)
{
    struct reader *r = NULL;
    bool end = false;
    int n = 0;
    enum status s = reader_new(brokers, NULL, &r, err);

    if (s == OK)
        s = reader_partitions(r, MODELS_TOPIC, &n, err);
    for (int p = 0; p < n && s == OK; p++) {
        int64_t low, high;

        s = reader_bounds(r, MODELS_TOPIC, p, &low, &high, err);
        if (s == OK)
            s = reader_add(r, MODELS_TOPIC, p, low, high, err);
    }
    while (s == OK && n > 0 && !end) {
        struct reader_msg m;
        struct frame frame;
        struct error why;

        s = reader_next(r, -1, &m, &end, err);
        if (s != OK || end || m.value.data == NULL)
            continue;
        if (frame_parse(m.value, &frame, &why) != OK || model_store_add(store, m.key, frame.body, &why) != OK)
            fprintf(stderr, "%s/%d/%" PRId64 " refused: %s\n", MODELS_TOPIC, m.partition, m.offset, why.text);
    }
    reader_free(r);
    return s;
}

static json_t *ranges_of(const struct model_record *m)
{
    json_t *list = json_array();

    for (size_t i = 0; i < m->n_lineage; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:I, s:I}", "topic", m->lineage[i].topic, "partition",
                                              m->lineage[i].partition, "from", (json_int_t)m->lineage[i].from_offset, "to",
                                              (json_int_t)m->lineage[i].to_offset));
    return list;
}

static json_t *time_text(int64_t ms)
{
    char text[32];

    text_format_time(ms, text);
    return json_string(text);
}

/* Of a model of forecasts: what it forecasts, and each output's settings. */
static void describe_target(const struct model_record *m, json_t *model)
{
    const struct forecast_def *d = m->target;
    json_t *known = json_object(), *outputs = json_object();

    for (size_t i = 0; i < d->n_known; i++)
        json_object_set_new(known, d->known[i].name, json_string(d->known[i].expr));
    for (size_t i = 0; i < m->n_outputs; i++) {
        const struct model_output *o = &m->outputs[i];
        json_t *params = json_object();

        for (size_t k = 0; k < o->n_params; k++)
            json_object_set_new(params, o->params[k].name, json_string(o->params[k].value));
        json_object_set_new(outputs, o->name, json_pack("{s:o, s:i, s:I, s:b}", "params", params, "rounds", o->rounds, "bytes",
                                                        (json_int_t)o->n_bytes, "calibrated", o->n_corrections != 0));
    }
    json_object_set_new(model, "target", json_pack("{s:s, s:i, s:I, s:s, s:s, s:i, s:s, s:s, s:o}", "value", d->value, "horizon", d->horizon,
                                                   "every_ms", (json_int_t)d->every_ms, "zone", d->zone, "zone_data", d->zone_data, "lead_time", d->lead_time,
                                                   "scale", d->scale, "offset", d->offset, "known", known));
    json_object_set_new(model, "outputs", outputs);
}

static json_t *describe(const struct model_record *m, bool champion)
{
    json_t *metrics = json_object(), *params = json_object(), *features = json_array();
    char sha256[2 * HASH_BYTES + 1];

    hash_to_hex(m->sha256, HASH_BYTES, sha256);
    for (size_t i = 0; i < m->n_metrics; i++)
        json_object_set_new(metrics, m->metrics[i].name, json_real(m->metrics[i].value));
    for (size_t i = 0; i < m->n_params; i++)
        json_object_set_new(params, m->params[i].name, json_string(m->params[i].value));
    for (size_t i = 0; i < m->n_features; i++)
        json_array_append_new(features, json_string(m->features[i]));
    return json_pack("{s:s, s:i, s:b, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "name",
                     m->name, "version", m->version, "champion", champion, "from", time_text(m->from_ms), "to",
                     time_text(m->to_ms), "as_of", time_text(m->as_of_ms), "created", time_text(m->created_ms), "rows",
                     (json_int_t)m->rows, "positives", (json_int_t)m->positives, "holdout_rows", (json_int_t)m->holdout_rows,
                     "feature_set", m->feature_set, "objective", m->objective, "rounds", m->rounds, "library", m->library,
                     "sha256", sha256, "params", params, "metrics", metrics, "features", features, "lineage", ranges_of(m));
}

/* How the boundary at which it was trained ended; one that was trained by command has none. */
static void describe_verdict(const struct model_store *store, const struct model_record *m, json_t *model)
{
    const struct verdict *v = model_store_verdict(store, m->name, m->as_of_ms);

    if (v == NULL || v->version != m->version)
        return;
    json_object_set_new(model, "outcome", json_string(v->outcome));
    json_object_set_new(model, "reason", json_string(v->reason));
}

static void print(const json_t *model, bool as_json, bool all)
{
    struct bytes text = BYTES_EMPTY;
    const char *outcome = json_string_value(json_object_get(model, "outcome"));
    bool refused = outcome && strcmp(outcome, "refused") == 0;

    if (as_json) {
        char *line = json_dumps(model, JSON_COMPACT);

        printf("%s\n", line == NULL ? "" : line);
        free(line);
    } else if (all) {
        print_record(model, &text);
        printf("%.*s", (int)text.n, (const char *)text.data);
    } else
        printf("%s/%lld%s  trained on %s .. %s  rows %lld%s%s\n", json_string_value(json_object_get(model, "name")),
               (long long)json_integer_value(json_object_get(model, "version")),
               json_is_true(json_object_get(model, "champion")) ? "  champion" : "",
               json_string_value(json_object_get(model, "from")), json_string_value(json_object_get(model, "to")),
               (long long)json_integer_value(json_object_get(model, "rows")), refused ? "  refused: " : "",
               refused ? json_string_value(json_object_get(model, "reason")) : "");
    bytes_done(&text);
}

/* wanted NULL: all. Returns how many were printed. */
static size_t print_models(const struct model_store *store, const char *wanted, bool as_json)
{
    size_t n_names, n_shown = 0;
    const char *const *names = model_store_names(store, &n_names);

    for (size_t i = 0; i < n_names; i++) {
        const struct routing *now = model_store_routing_last(store, names[i]);
        size_t n;
        const struct model_version *versions = model_store_versions(store, names[i], &n);

        for (size_t j = 0; j < n; j++) {
            const struct model_record *m = versions[j].record;
            char id[MODEL_NAME_MAX + 16];
            json_auto_t *model = NULL;

            snprintf(id, sizeof(id), "%s/%" PRId32, m->name, m->version);
            if (wanted != NULL && strcmp(wanted, id) != 0)
                continue;
            model = describe(m, now != NULL && now->champion == m->version);
            if (m->target)
                describe_target(m, model);
            describe_verdict(store, m, model);
            if (model != NULL)
                print(model, as_json, wanted != NULL);
            n_shown++;
        }
    }
    return n_shown;
}

int cli_models(int argc, char **argv)
{
    const char *brokers = NULL, *output = "text", *words[2] = {NULL, NULL};
    const struct cli_option options[] = {{"--brokers", &brokers, NULL}, {"--output", &output, NULL}};
    struct sign_keys *trusted = NULL;
    struct model_store *store = NULL;
    struct error err;
    char path[PATH_MAX];
    size_t n_words;
    enum status s;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), words, 2, &n_words))
        return EXIT_CALL;
    if (n_words == 0 || (strcmp(words[0], "list") != 0 && strcmp(words[0], "show") != 0) ||
        n_words != (words[0][0] == 'l' ? 1u : 2u))
        return cli_wrong("models", "expected `list` or `show NAME/VERSION`");
    s = models_keys_make(&err);
    models_key_path("trusted", path, sizeof(path));
    if (s == OK)
        s = sign_keys_load(path, &trusted, &err);
    if (s == OK) {
        store = model_store_new(trusted);
        s = read_store(kafka_brokers(brokers), store, &err);
    }
    if (s == OK && print_models(store, words[1], strcmp(output, "json") == 0) == 0) {
        if (words[1] != NULL)
            s = err_set(&err, ERR_FATAL, "there is no model %s: `millrace models list` shows them", words[1]);
        else
            fprintf(stderr, "no models yet\n");
    }
    model_store_free(store);
    sign_keys_free(trusted);
    return s == OK ? 0 : cli_failed("models", &err);
}
