/* test/unit/record_make.h: records of the models topic, a model of two parts, and keys, for the tests of both. */
#ifndef TEST_RECORD_MAKE_H
#define TEST_RECORD_MAKE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "model/record.h"

#define MODEL_BYTES (MODEL_PART_BYTES_MAX + 1000) /* two parts */

static struct sign_key *key, *stranger;
static struct sign_keys *trusted;
static uint8_t model_bytes[MODEL_BYTES];

static struct view view(const struct bytes *b)
{
    return view_of(b->data, b->n);
}

static const char *features[] = {"amount", "night"};
static struct booster_param params[] = {{"max_depth", "3"}, {"objective", "binary:logistic"}, {"eta", "0.1"}};
static struct model_range ranges[] = {{"a.b", 0, 10, 20}, {"a.b", 1, 0, 5}};
static struct model_metric metrics[] = {{"average_precision", 0.639, 0.5}, {"auc", 0.862, 0}};
static double edges[] = {1.5, 2.5};
static int64_t counts[] = {3, 4, 5}, one_count[] = {12};
static struct model_histogram histograms[] = {{"amount", edges, counts, 2, 1}, {"score", NULL, one_count, 0, 0}};

static struct model_record a_record(int32_t version)
{
    metrics[1].champion = NAN;
    return (struct model_record){
        .name = "m", .version = version, .features = features, .n_features = 2, .feature_set = "0123456789abcdef",
        .objective = "binary:logistic", .params = params, .n_params = 3, .rounds = 100, .seed = -1, .library = "xgboost 3.2.0",
        .lineage = ranges, .n_lineage = 2, .from_ms = 1000, .to_ms = 2000, .holdout_to_ms = 3000, .as_of_ms = 4000, .rows = 12,
        .positives = 3, .holdout_rows = 5, .metrics = metrics, .n_metrics = 2, .champion = 7, .histograms = histograms,
        .n_histograms = 2, .created_ms = 5000};
}

static struct routing a_routing(int64_t seq, int32_t champion, int64_t from_ms)
{
    return (struct routing){.name = "m", .seq = seq, .champion = champion, .canary_version = -1, .from_ms = from_ms,
                            .reason = "trained", .created_ms = 9, .key_id = ""};
}

static struct verdict a_verdict(int64_t boundary_ms)
{
    return (struct verdict){.name = "m", .boundary_ms = boundary_ms, .outcome = "promoted", .reason = "better", .version = 1,
                            .metrics = metrics, .n_metrics = 2, .routing_seq = -1, .created_ms = 9};
}

static int make_key(const char *dir, const char *name, const char *list, struct sign_key **ret)
{
    char secret[128], public[128];
    struct error err;

    snprintf(secret, sizeof(secret), "%s/%s", dir, name);
    snprintf(public, sizeof(public), "%s/%s", dir, list);
    if (sign_key_make(secret, public, &err) != OK || sign_key_load(secret, ret, &err) != OK)
        return -1;
    if (*ret == key && sign_keys_load(public, &trusted, &err) != OK)
        return -1;
    unlink(secret);
    unlink(public);
    return 0;
}

static int set_up(void **state)
{
    char dir[] = "/tmp/test_model.XXXXXX";

    (void)state;
    for (size_t i = 0; i < MODEL_BYTES; i++)
        model_bytes[i] = (uint8_t)(i * 7 + i / 251);
    if (mkdtemp(dir) == NULL || make_key(dir, "ours", "trusted", &key) != 0 || make_key(dir, "other", "none", &stranger) != 0)
        return -1;
    return rmdir(dir);
}

static int tear_down(void **state)
{
    (void)state;
    sign_key_free(key);
    sign_key_free(stranger);
    sign_keys_free(trusted);
    return 0;
}

#endif
