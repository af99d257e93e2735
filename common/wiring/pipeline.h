/* common/wiring/pipeline.h */
/*
 * pipeline: a pipeline file, checked, with every schema resolved: what all workers and the command start from.
 *
 * Shape    plain structs; indexes refer to arrays of the same struct pipeline. Every topic has a schema: the
 *          declared .avsc (from the folder `schemas` beside the folder of the file, or "schemas" in the file), or derived:
 *          the emitting input's fields, then the stage's features (double / long / boolean, nullable where a
 *          feature can be null), then `lineage`.
 * Errors   pipeline_load reports *every* fault: "file: $.json.path: expected ..., got ...; did you mean '...'?"
 * Owner    pipeline_free frees all. Threads: immutable.
 */
#ifndef WIRING_PIPELINE_H
#define WIRING_PIPELINE_H

#include "feature/tumbling.h"
#include "model/target.h"
#include "wire/schema.h"
#include "wiring/memory.h"

#define RETENTION_EVER ((int64_t)-1) /* as Kafka says it */

struct topic {
    const char *name;   /* in the wiring */
    const char *broker_name; /* "<pipeline>.<name>" */
    const char *schema_name; /* as declared, or NULL when derived */
    struct schema *schema;
    const char *key;  /* field name, or NULL (then the record's key goes through) */
    const char *keyed_by; /* the field whose text the key is: `key`, or that of the key that goes through; NULL: not known */
    const char *time; /* field name; for a stage's output: inherited from its emitting input */
    int partitions;   /* declared, or inherited from the writer's input */
    int64_t lateness_ms; /* "lateness", default 1h; of a stage's output: that of its emitting input */
    int64_t replaces_ms; /* a row takes the place of the one of its key and time, which may be this far behind; 0: each is a row of its own */
    int64_t time_min_ms; /* "time.min", default 2000-01-01 */
    int64_t time_ahead_ms; /* "time.ahead", default 10 min */
    int64_t retention_ms;  /* "retention"; 0: not said; RETENTION_EVER */
    int writer;       /* stage that writes it and is not ingest, or -1: from outside */
    bool ordered;     /* some stage of the wiring reads it in order: its writer sends marks */
};

struct rule {
    const char *name, *when, *severity;
    const char *key;      /* the field that partitions the input; NULL: not known */
    int64_t cooldown_ms;
    const char *once_per; /* NULL: none */
};
struct setting { const char *name, *value; }; /* value as text */

struct stage_def {
    const char *name;
    const char *worker; /* ingest preprocess train score alert */
    int *from; size_t n_from;
    int emit;   /* index into `from` of the emitting input ("emit_on"; 0 when there is one input) */
    int *to; size_t n_to;
    int64_t commit_interval_ms; /* "commit.interval", default 100 */
    size_t memory_bytes;        /* "memory" */
    bool arrival_order;         /* "order": "arrival" */
    bool at_least_once;         /* "processing_guarantee"; default exactly_once */
    int epoch;                  /* of its state */
    /* preprocess */
    int64_t drift_ms; /* default 1 d */
    struct feature_def *features; size_t n_features;
    struct tumbling_def *tumbling; /* "tumbling": `features` are its values; NULL: features of each row */
    struct features *compiled; /* also checked here */
    /* train */
    const char *model; /* train and score */
    int label_from; const char *label_on; double label_value, label_absent /* NAN: not trained on */; int64_t label_after_ms; /* label_from -1: none */
    int64_t every_ms, window_ms, holdout_ms, model_lag_ms; /* "model.lag", default 1h */
    struct booster_param *xgboost; size_t n_xgboost; int rounds; /* "rounds" apart */
    const char **model_features; size_t n_model_features; /* columns, families expanded, train and its score; default: all features of upstream preprocess stages */
    const char *feature_set; /* preprocess: fingerprint of its features and those of the stages before; train and score: of the last preprocess stage before */
    /* of forecasts; target and outputs also of the stage of score behind it */
    struct forecast_def *target; /* NULL: by label */
    struct model_output *outputs; size_t n_outputs;
    const char *weight; /* an expression over the row, of its fit; NULL: 1 */
    const char *where;  /* a condition over the row: others are not trained on; NULL: all are */
    bool calibrate, refit;
    const char *promote_when;       /* NULL: each that is trained */
    struct feature_col *promotion; size_t n_promotion; /* what it may speak of: n metrics, then the champion's */
    /* score */
    int explain_top; const char *explain_when; /* 0: none */
    int64_t model_wait_ms; /* "model.wait", default 1 min */
    /* alert */
    struct rule *rules; size_t n_rules;
};

struct pipeline {
    const char *name, *file;
    const char *schemas; /* folder of .avsc files */
    struct topic *topics; size_t n_topics;
    struct stage_def *stages; size_t n_stages;
    struct setting *kafka; size_t n_kafka; /* librdkafka properties as written under "kafka" */
    struct memory memory; /* of the stage that runs in this process; as by default where none does */
    struct arena *arena;
};

/* faults: one line each; empty when OK. */
enum status pipeline_load(const char *path, struct pipeline **ret_pipeline, struct bytes *ret_faults, struct error *err);
void pipeline_free(struct pipeline *p);
struct stage_def *pipeline_stage(const struct pipeline *p, const char *name); /* NULL: none; see nearest_name */
/* How far apart in `at` neighbours in a partition of the topic may be: `drift` of the last stage before it that has an order
 * of its own (score keeps its input's); 0 for a topic from outside. */
int64_t pipeline_drift(const struct pipeline *p, const struct topic *t);
/* The stage whose tasks are the topic's channels: the last before it that has an order of its own; NULL: it is from outside. */
const struct stage_def *pipeline_orders(const struct pipeline *p, const struct topic *t);
struct topic *pipeline_topic(const struct pipeline *p, const char *name);     /* short or broker name */
/* A shared contract ("State", "DeadLetter", "Lineage") from the pipeline's folder of schemas; the caller frees it. */
enum status pipeline_schema(const struct pipeline *p, const char *name, struct schema **ret_schema, struct error *err);
/* The fields of a topic's records that are one number each: what a target's expressions speak of. At most cap; returns how many. */
size_t pipeline_numbers(const struct topic *t, struct feature_col *ret, size_t cap);
/* Every key of a pipeline file as Markdown tables: what docs/pipeline.md holds. */
void pipeline_reference(struct bytes *out);
/* The same keys as a JSON Schema: what schemas/pipeline.schema.json holds. */
void pipeline_json_schema(struct bytes *out);
/* "28d", "12h"; false: it is none. */
bool duration_parse(const char *text, int64_t *ret_ms);
/* The candidate nearest to `name` by edit distance, or NULL when none is near. */
const char *nearest_name(const char *name, const char *const *candidates, size_t n);

#endif
