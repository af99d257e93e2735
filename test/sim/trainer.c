/* test/sim/trainer.c: what a train stage would say on the models topic, ready made; and libxgboost's part of a simulated process. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/rand.h"
#include "kafka/kafka.h"
#include "model/model.h"
#include "model/record.h"
#include "test/sim/sim.h"
#include "wire/frame.h"

#define MODELS 3
#define ROWS 400
#define CHECKED_MAX (MODELS + 1)

static const char *const features[TRAINER_FEATURES] = {"customer_n_1h", "customer_sum_1h", "customer_mean_6h", "terminal_n_2h",
                                                       "terminal_frauds_30d", "terminal_sum_30d"};
static struct bytes models[MODELS];
static struct booster *reference[MODELS];
static const char *feature_set;
static struct sign_key *ours, *stranger;
static uint32_t id_model, id_part, id_routing, id_verdict;
static char keys[] = "/tmp/millrace-sim-XXXXXX";
static pid_t maker;

/* ---- models ---- */

/* A label that some of the features decide, others for each model. */
static enum status train(int i, struct error *err)
{
    const struct booster_param params[] = {{"objective", "binary:logistic"}, {"tree_method", "exact"}, {"base_score", "0.5"},
                                           {"max_depth", "3"}, {"seed", "7"}};
    static const float most[TRAINER_FEATURES] = {4, 200, 100, 4, 4, 1000};
    static float rows[ROWS][TRAINER_FEATURES], labels[ROWS];
    struct booster_fit fit = {params, ARRAY_LEN(params), 4, features, TRAINER_FEATURES, rows[0], labels, NULL, ROWS, NULL};
    struct rand r;

    rand_seed(&r, (uint64_t)i + 1);
    for (int k = 0; k < ROWS; k++) {
        for (int f = 0; f < TRAINER_FEATURES; f++)
            rows[k][f] = (float)(rand_unit(&r) * (double)most[f]);
        labels[k] = rows[k][i] / most[i] + rows[k][3 + i] / most[3 + i] + (float)rand_unit(&r) / 2 > 1.2F;
    }
    if (booster_train(&fit, &models[i], err) != OK)
        return err->status;
    return booster_load(view_of(models[i].data, models[i].n), &reference[i], err);
}

double trainer_predict(int32_t version, const double row[TRAINER_FEATURES])
{
    float x[TRAINER_FEATURES], score = 0;
    struct error err;

    for (int f = 0; f < TRAINER_FEATURES; f++)
        x[f] = (float)row[f];
    if (booster_predict(reference[(version - 1) % MODELS], x, 1, &score, &err) != OK)
        fail("the oracle: %s", err.text);
    return (double)score;
}

/* ---- keys ---- */

static void remove_keys(void)
{
    char path[64];

    if (getpid() != maker)
        return;
    snprintf(path, sizeof(path), "%s/trusted", keys);
    unlink(path);
    rmdir(keys);
}

static enum status make_key(const char *list, struct sign_key **ret, struct error *err)
{
    char secret[64], public[64];

    snprintf(secret, sizeof(secret), "%s/secret", keys);
    snprintf(public, sizeof(public), "%s/%s", keys, list);
    if (sign_key_make(secret, public, err) != OK || sign_key_load(secret, ret, err) != OK)
        return err->status;
    unlink(secret);
    return OK;
}

/* The folder that score reads the trusted keys from, each time it starts. */
static enum status make_keys(struct error *err)
{
    char strangers[64];

    if (mkdtemp(keys) == NULL)
        return err_set(err, ERR_FATAL, "%s: no folder for the keys", keys);
    maker = getpid();
    atexit(remove_keys);
    setenv("MILLRACE_KEYS", keys, 1);
    if (make_key("trusted", &ours, err) != OK || make_key("strangers", &stranger, err) != OK)
        return err->status;
    snprintf(strangers, sizeof(strangers), "%s/strangers", keys);
    unlink(strangers);
    return OK;
}

/* ---- records ---- */

static enum status schema_number(const char *name, uint32_t *ret, struct error *err)
{
    struct schema *s;

    if (pipeline_schema(world_pipeline(), name, &s, err) != OK)
        return err->status;
    *ret = schema_id(s);
    schema_free(s);
    return OK;
}

enum status trainer_open(const char *its_feature_set, struct error *err)
{
    feature_set = its_feature_set;
    for (int i = 0; i < MODELS; i++)
        if (train(i, err) != OK)
            return err->status;
    if (schema_number("Model", &id_model, err) != OK || schema_number("ModelPart", &id_part, err) != OK ||
        schema_number("Routing", &id_routing, err) != OK || schema_number("Verdict", &id_verdict, err) != OK)
        return err->status;
    return make_keys(err);
}

static void put(uint32_t id, const struct bytes *key, struct bytes *body)
{
    struct bytes value = BYTES_EMPTY, own_key = BYTES_EMPTY;
    struct produced p = {.topic = broker_topic(sim.broker, MODELS_TOPIC)};

    frame_put(&value, id);
    bytes_append(&value, body->data, body->n);
    bytes_append(&own_key, key->data, key->n);
    p.key = view_of(own_key.data, own_key.n); /* for ever */
    p.value = view_of(value.data, value.n);
    broker_append(sim.broker, &p);
    bytes_clear(body);
}

static void put_model(int32_t version, struct view bytes)
{
    static struct booster_param params[] = {{"max_depth", "3"}};
    struct model_record m = {.name = TRAINER_MODEL, .version = version, .features = (const char **)(uintptr_t)features,
                             .n_features = TRAINER_FEATURES, .feature_set = feature_set, .objective = "binary:logistic",
                             .params = params, .n_params = 1, .rounds = 4, .library = "xgboost", .rows = ROWS, .champion = -1};
    struct bytes key = BYTES_EMPTY, body = BYTES_EMPTY;

    model_key_part(m.name, version, 0, &key);
    model_part_encode(bytes, 0, &body);
    put(id_part, &key, &body);
    model_key_record(m.name, version, &key);
    model_record_sign(&m, bytes, ours, &body);
    put(id_model, &key, &body);
    bytes_done(&key);
    bytes_done(&body);
}

static void put_routing(int64_t seq, int32_t champion, int64_t from_ms, const struct sign_key *by)
{
    struct routing r = {.name = TRAINER_MODEL, .seq = seq, .champion = champion, .canary_version = -1, .from_ms = from_ms,
                        .reason = "trained", .key_id = ""};
    struct bytes key = BYTES_EMPTY, body = BYTES_EMPTY;

    model_key_routing(r.name, seq, &key);
    routing_sign(&r, by, &body);
    put(id_routing, &key, &body);
    bytes_done(&key);
    bytes_done(&body);
}

/* One boundary's records, as a trainer's transaction has them: model, routing, verdict. */
void trainer_publish(const struct decision *d)
{
    struct verdict v = {.name = TRAINER_MODEL, .boundary_ms = d->boundary_ms, .version = -1, .routing_seq = -1,
                        .outcome = "nothing_to_train", .reason = "few rows"};
    struct bytes key = BYTES_EMPTY, body = BYTES_EMPTY;
    static const char garbled[] = "{not a model";

    story("boundary %lld is decided: %s%d", (long long)d->boundary_ms,
          d->version == 0 ? "no model " : d->garbled ? "a garbled model, version " : "version ", d->version);
    if (d->version) {
        const struct bytes *m = &models[(d->version - 1) % MODELS];

        put_model(d->version, d->garbled ? view_of((const uint8_t *)garbled, sizeof(garbled)) : view_of(m->data, m->n));
        put_routing(d->version + 1000, d->version, INT64_MIN / 2, stranger); /* nobody may obey it */
        put_routing(d->version, d->version, d->from_ms, ours);
        v.outcome = "promoted";
        v.version = d->version;
        v.routing_seq = d->version;
    }
    model_key_verdict(v.name, v.boundary_ms, &key);
    verdict_encode(&v, &body);
    put(id_verdict, &key, &body);
    bytes_done(&key);
    bytes_done(&body);
}

/* ---- libxgboost in a process: loading is pure, so that one of all processes does it ---- */

static struct {
    struct view bytes;
    enum status tried, loaded;
    struct error err;
    struct model *model;
} checked[CHECKED_MAX];
static size_t n_checked;
static bool trying; /* this is the child in which a model is tried */

enum status __real_model_try(struct view bytes, struct error *err);
enum status __wrap_model_try(struct view bytes, struct error *err);
enum status __real_model_load(struct view bytes, struct model **ret_model, struct error *err);
enum status __wrap_model_load(struct view bytes, struct model **ret_model, struct error *err);
void __wrap_model_free(struct model *m);

static size_t check(struct view bytes)
{
    size_t i;

    for (i = 0; i < n_checked && !view_eq(checked[i].bytes, bytes); i++)
        ;
    if (i < n_checked)
        return i;
    if (i == CHECKED_MAX) {
        fail("more than %d models", CHECKED_MAX);
        return 0;
    }
    n_checked++;
    checked[i].bytes = view_of(memcpy(xmalloc(bytes.n), bytes.data, bytes.n), bytes.n);
    trying = true;
    checked[i].tried = __real_model_try(bytes, &checked[i].err);
    trying = false;
    checked[i].loaded = checked[i].tried == OK ? __real_model_load(bytes, &checked[i].model, &checked[i].err) : ERR_RECORD;
    if (checked[i].loaded == OK && !model_is_flat(checked[i].model))
        fail("a model's trees and libxgboost do not agree");
    return i;
}

enum status __wrap_model_try(struct view bytes, struct error *err)
{
    size_t i = check(bytes);

    if (checked[i].tried != OK)
        *err = checked[i].err;
    return checked[i].tried;
}

enum status __wrap_model_load(struct view bytes, struct model **ret_model, struct error *err)
{
    size_t i;
    int how;

    if (trying)
        return __real_model_load(bytes, ret_model, err);
    i = check(bytes);
    (void)step_begin(STEP_SWAP, 2000, &how);
    step_end(0);
    *ret_model = checked[i].model;
    if (checked[i].loaded != OK)
        *err = checked[i].err;
    return checked[i].loaded;
}

void __wrap_model_free(struct model *m)
{
    (void)m; /* others use it too */
}
