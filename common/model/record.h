/* common/model/record.h */
/*
 * record: what the models topic holds: models, their parts, routings and verdicts, as Avro bodies.
 *
 * Shape    fields in the order of schemas/{Model,ModelPart,Routing,Verdict}.avsc. An int that may be absent is -1 here
 *          and null there; a double that may be absent is NaN here.
 * Signed   the bytes of the body before its last field, `signature`; so key_id is covered too.
 * Bounds   strings <= 4 KiB, 4,096 features, 1,024 other items a list, 20 bins; nothing may follow the last field.
 * Owner    decode puts all it points to in the arena; encode borrows.
 * Errors   decode: ERR_RECORD "model record: <field>: <why>".
 * Source   docs: DESIGN "Models"; keys: see model_key.
 */
#ifndef MODEL_RECORD_H
#define MODEL_RECORD_H

#include "base/arena.h"
#include "crypto/hash.h"
#include "crypto/sign.h"
#include "model/booster.h"
#include "model/target.h"

#define MODEL_NAME_MAX 100
#define MODEL_PART_BYTES_MAX ((size_t)512 * 1024)
#define MODEL_BINS_MAX 20

/* ---- keys: "<name>/<version>", "<name>/<version>/<part>", "<name>/routing/<seq>", "<name>/verdict/<boundary_ms>" ---- */
enum model_key_kind { MODEL_KEY_RECORD, MODEL_KEY_PART, MODEL_KEY_ROUTING, MODEL_KEY_VERDICT };

struct model_key {
    enum model_key_kind kind;
    char name[MODEL_NAME_MAX + 1];
    int32_t version;     /* RECORD, PART: >= 1 */
    int32_t part;        /* PART: >= 0 */
    int64_t seq;         /* ROUTING: >= 1 */
    int64_t boundary_ms; /* VERDICT */
};

/* False unless key is exactly what model_key_put would write. */
bool model_key_parse(struct view key, struct model_key *ret_key);
void model_key_put(const struct model_key *key, struct bytes *out);
/* The four kinds, ready to put; `out` is cleared first. */
void model_key_record(const char *name, int32_t version, struct bytes *out);
void model_key_part(const char *name, int32_t version, int32_t part, struct bytes *out);
void model_key_routing(const char *name, int64_t seq, struct bytes *out);
void model_key_verdict(const char *name, int64_t boundary_ms, struct bytes *out);
/* Letters, digits, '_', '-', '.'; 1 to MODEL_NAME_MAX of them. */
bool model_name_ok(struct view name);

/* ---- a model ---- */
struct model_range { /* records [from_offset, to_offset) of a partition */
    const char *topic;
    int32_t partition;
    int64_t from_offset;
    int64_t to_offset;
};

struct model_metric { /* on the holdout */
    const char *name;
    double value;
    double champion; /* the champion's on the same rows; NaN: there was none */
};

struct model_histogram { /* of a feature or of "score" over the training rows */
    const char *name;
    double *edges;   /* n_edges rising; bin i holds edges[i-1] <= x < edges[i], the outer ones are open */
    int64_t *counts; /* n_edges + 1 */
    size_t n_edges;  /* < MODEL_BINS_MAX */
    int64_t missing;
};

struct model_record {
    const char *name;
    int32_t version;
    const char **features; /* in column order */
    size_t n_features;
    const char *feature_set;
    const char *objective;
    struct booster_param *params; /* all that the fit was given */
    size_t n_params;
    int32_t rounds;
    int64_t seed;
    const char *library; /* "xgboost 3.2.0" */
    struct model_range *lineage;
    size_t n_lineage;
    int64_t from_ms; /* event time of the training rows: [from, to) */
    int64_t to_ms;
    int64_t holdout_to_ms; /* holdout rows: [to_ms, holdout_to_ms); equal: no holdout */
    int64_t as_of_ms;      /* labels that had come by then */
    int64_t rows;
    int64_t positives;
    int64_t holdout_rows;
    struct model_metric *metrics;
    size_t n_metrics;
    int32_t champion; /* the version compared with; -1: none */
    struct model_histogram *histograms;
    size_t n_histograms;
    int64_t created_ms;
    uint8_t sha256[HASH_BYTES]; /* of the model bytes */
    int64_t n_bytes;            /* of the model bytes */
    int32_t n_parts;
    const char *key_id;
    struct forecast_def *target;   /* NULL: the model gives one score a row */
    struct model_output *outputs;  /* of a target */
    size_t n_outputs;
    uint8_t signature[SIGN_BYTES];
};

/* Sets key_id, signature, n_bytes, n_parts and sha256, then appends the body. key_id is borrowed from the key. */
void model_record_sign(struct model_record *m, struct view model_bytes, const struct sign_key *key, struct bytes *out);
void model_record_encode(const struct model_record *m, struct bytes *out);
enum status model_record_decode(struct view body, struct arena *arena, struct model_record *ret_record,
                                struct error *err);
/* Signature and key id of a body. */
enum status model_record_verify(struct view body, const struct model_record *m, const struct sign_keys *keys,
                                struct error *err);

/* Part `part` of the bytes as a ModelPart body. */
size_t model_part_count(size_t n_bytes);
void model_part_encode(struct view model_bytes, size_t part, struct bytes *out);
enum status model_part_decode(struct view body, struct view *ret_bytes, struct error *err); /* view into body */

/* Fills h from values (NaN: missing): at most MODEL_BINS_MAX bins of about equal counts. Memory from the arena. */
void model_histogram_make(const char *name, const float *values, size_t n, size_t stride, struct arena *arena,
                          struct model_histogram *ret_histogram);

/* The share of values that lie below an output: a quantile's, 0.5 of reg:absoluteerror; NaN: it is none. */
double model_output_share(const struct model_record *m, size_t output);
/* How far it is from the truth is measured by its "pinball" loss or its "rmse": metric `<output>_<this>`. */
const char *model_output_metric(const struct model_record *m, size_t output);

/* ---- a routing ---- */
struct routing {
    const char *name;
    int64_t seq;
    int32_t champion;
    int32_t *challengers;
    size_t n_challengers;
    int32_t canary_version; /* -1: none */
    double canary_share;    /* 0..1 of the keys */
    int64_t from_ms;        /* event time from which it holds */
    const char *reason;
    int64_t created_ms;
    const char *key_id;
    uint8_t signature[SIGN_BYTES];
};

void routing_sign(struct routing *r, const struct sign_key *key, struct bytes *out);
void routing_encode(const struct routing *r, struct bytes *out);
enum status routing_decode(struct view body, struct arena *arena, struct routing *ret_routing, struct error *err);
enum status routing_verify(struct view body, const struct routing *r, const struct sign_keys *keys, struct error *err);

/* ---- a verdict: how a boundary of the training schedule ended ---- */
struct verdict {
    const char *name;
    int64_t boundary_ms;
    const char *outcome; /* "promoted", "refused", "nothing_to_train" */
    const char *reason;
    int32_t version; /* -1: none */
    struct model_metric *metrics;
    size_t n_metrics;
    int64_t routing_seq; /* -1: none */
    int64_t created_ms;
};

void verdict_encode(const struct verdict *v, struct bytes *out);
enum status verdict_decode(struct view body, struct arena *arena, struct verdict *ret_verdict, struct error *err);

#endif
