/* common/wiring/load.h */
/*
 * load: what the parts of the pipeline file's check share; nobody outside common/wiring includes it.
 *
 * A part that finds a fault says so by fault() and goes on with a default, so that one run names all of them. What
 * rests on something that is already at fault stays silent: `broken` marks a topic or stage whose columns are not known.
 * Paths are JSON paths ("$.stages.alert.rules[0].when"); they live in the pipeline's arena.
 */
#ifndef WIRING_LOAD_H
#define WIRING_LOAD_H

#include "feature/zone.h"
#include "json/json.h"
#include "wiring/pipeline.h"

#define SCHEMAS_MAX 256
#define SECOND_MS ((int64_t)1000)
#define DAY_MS ((int64_t)86400000)
#define SPAN_MS_MAX (3660 * DAY_MS)

struct topic_more {
    const json_t *json;
    const char *path;
    bool broken;     /* its schema is not known */
    bool doubtful;   /* what a fault upstream leaves unknown of it (its key, its writer) is no fault of its own */
    bool ingested;   /* an ingest stage writes it */
    bool done;       /* its schema is resolved, or never will be */
    int n_uses;      /* stages that read or write it */
    const char *key; /* the field whose text partitions it, where that is known */
};

struct stage_more {
    const char *path;
    const json_t *json;
    bool broken;
    bool done;
    int visit; /* of the search for cycles: 0 new, 1 on the way, 2 done */
};

struct loader {
    struct pipeline *p;
    struct arena *arena;
    const char *file;
    const char *schemas; /* folder */
    struct bytes *faults;
    bool lineage_checked;
    bool writers_unknown; /* some stage does not say what it writes: a topic without writer may be its */
    struct topic_more *topics; /* as p->topics */
    struct stage_more *stages; /* as p->stages */
    const char *texts[2 * SCHEMAS_MAX]; /* schemas read so far: name, text */
    size_t n_texts;
};

/* ---- read.c: a JSON object's values, typed; every mismatch is a fault ---- */
struct at {
    const json_t *obj;
    const char *path;
};

void fault(struct loader *l, const char *path, const char *fmt, ...) PRINTF(3, 4);
/* "expected <what>, got <value>" */
void fault_got(struct loader *l, const char *path, const char *what, const json_t *value);
/* "; did you mean 'x'?", or the candidates when none is near and they are few, or "". */
const char *hint(struct loader *l, const char *name, const char *const *candidates, size_t n);
/* The same over the files of the schemas folder. */
const char *hint_schema(struct loader *l, const char *name);
const char *path_key(struct loader *l, const char *path, const char *key);
const char *path_index(struct loader *l, const char *path, size_t i);

/* A name that a topic, stage or pipeline may have. */
bool name_ok(const char *name);
/* A name that a feature, rule or field may have. */
bool identifier_ok(const char *name);
bool column_ok(const char *name); /* one that expressions can name */
/* "7d", "12h", "30s", "250ms"; false if it is none. */
/* The shortest that duration_parse reads as that. */
const char *duration_text(struct loader *l, int64_t ms);
/* A number as XGBoost and librdkafka read it back, in as few digits as it takes. NULL: not a scalar. */
const char *scalar_text(struct loader *l, const json_t *value);

/* NULL when absent (a fault if required) or not a string. */
const char *read_string(struct loader *l, struct at at, const char *key, bool required);
int64_t read_int(struct loader *l, struct at at, const char *key, int64_t deflt, int64_t min, int64_t max);
bool read_bool(struct loader *l, struct at at, const char *key); /* false when absent */
double read_number(struct loader *l, struct at at, const char *key, double deflt);
/* deflt < 0: required. */
/* "512MiB" */
bool size_parse(const char *text, size_t *ret_bytes);
size_t read_size(struct loader *l, struct at at, const char *key, size_t deflt, size_t min, size_t max);
int64_t read_duration(struct loader *l, struct at at, const char *key, int64_t deflt, int64_t min, int64_t max);
/* "zone", beside steps that long. False: a fault; *ret_zone is NULL where there is none. */
bool read_zone(struct loader *l, struct at at, int64_t every_ms, const char **ret_zone);
/* A string or a list of different strings; false when there is none. */
bool read_names(struct loader *l, struct at at, const char *key, bool required, const char ***ret_names, size_t *ret_n);
/* A required object or list that is not empty; NULL after a fault. */
const json_t *read_object(struct loader *l, struct at at, const char *key);
const json_t *read_list(struct loader *l, struct at at, const char *key);

/* ---- keys.c: which keys there are, and what they mean ---- */
struct key_def {
    const char *name;
    const char *type;
    const char *about;
};
struct key_table {
    const char *title;
    const char *worker; /* of a stage's keys; NULL */
    const struct key_def *keys;
    size_t n;
};
extern const struct key_table keys_file, keys_topic, keys_stage, keys_label, keys_explain, keys_rule, keys_feature, keys_join, keys_list, keys_tumbling,
    keys_value, keys_target;
extern const struct key_table keys_tests, keys_case, keys_dead; /* of a file of tests (cases.c) */
extern const struct key_table keys_workers[5];

/* Of "xgboost" (learn.c). */
extern const char *const xgboost_known[], *const xgboost_required[];
extern const size_t n_xgboost_known, n_xgboost_required;

/* The table of aggregates (feature/aggregates.h) as keys of a feature. */
const struct key_table *keys_aggregates(void);
const struct key_table *keys_values(void); /* those that a tumbling window can have */
const struct key_table *keys_worker(const char *worker); /* NULL: no such worker */
/* A fault for each key of the object that neither table (b may be NULL) has. what: "a key of a topic". */
void check_keys(struct loader *l, struct at at, const char *what, const struct key_table *a, const struct key_table *b);

/* ---- topics.c ---- */
void load_topics(struct loader *l, const json_t *root);
int find_topic(const struct loader *l, const char *name); /* -1: none */
const char **topic_names(struct loader *l);
/* The fields that a topic from outside must name, and its schema's. */
void check_outside_topic(struct loader *l, size_t topic);
/* Key, time and width of a topic's records. */
void check_row(struct loader *l, size_t topic);
/* schema_lookup_fn over the folder of schemas; ctx: the loader. */
const char *lookup_schema(void *ctx, const char *name);
/* A fault at `path` where `what` reaches further back than the topic is kept. */
void check_retention(struct loader *l, int topic, const char *path, const char *what, int64_t ms);
/* What a reader of a topic sees as columns: fields of one value; arena. */
struct feature_col *topic_cols(struct loader *l, size_t topic, size_t n_more, size_t *ret_n);
const char **col_names(struct loader *l, const struct feature_col *cols, size_t n);

/* ---- stages.c ---- */
void load_stages(struct loader *l, const json_t *root);

/* ---- graph.c ---- */
void check_graph(struct loader *l);  /* writers, readers, cycles, partitions */
void mark_ordered(struct loader *l); /* which topics carry marks */

/* ---- output.c: what a stage's output topics hold ---- */
struct made {
    const char *name;
    const char *field;     /* the Avro field as JSON */
    enum schema_type type; /* of its value */
};
/* The stage's output rows: the emitting input's fields and `made`; derives or checks each output topic's schema. */
void resolve_outputs(struct loader *l, size_t stage, const struct made *made, size_t n_made);

/* ---- one per kind of stage ---- */
void resolve_preprocess(struct loader *l, size_t stage); /* with its outputs */
/* What of an aggregate is its name, one of `kinds`, and the number that goes with it. */
bool read_kind(struct loader *l, struct at at, const struct key_table *kinds, struct feature_def *def);
/* A feature's column as a field of a derived schema. */
struct made made_of(struct loader *l, const struct feature_col *col);
/* tumbling.c: "tumbling" and its values, which are s->features then. */
bool read_tumbling(struct loader *l, struct stage_def *s, struct at at);
/* Its rows' fields; arena. */
struct made *tumbling_made(struct loader *l, const struct stage_def *s, size_t *ret_n);
/* rules.c: a condition over the columns; what it is not is a fault at `path`. */
void check_condition(struct loader *l, const char *path, const char *text, const struct feature_col *cols, size_t n);
/* learn.c: what the preprocess stages before a topic make, along emitting inputs. */
struct candidates {
    const char **cols;     /* first stage first */
    const char **families; /* families[i]: the name that stands for cols[i] and those beside it */
    enum col_type *types;
    size_t n;
};
/* False where some stage on the way is at fault. */
bool collect_candidates(struct loader *l, int topic, struct candidates *c, const char **ret_feature_set);
/* learn.c: a fit's parameters but the key `own` and `rounds`, which is *ret_rounds where it is said. */
void read_xgboost(struct loader *l, struct at at, const char *own, struct booster_param **ret_params, size_t *ret_n, int *ret_rounds);
/* target.c: "target" and "outputs" of train. */
void load_target(struct loader *l, struct stage_def *s, const struct stage_more *more);
void load_outputs(struct loader *l, struct stage_def *s, struct at at);
/* Once both and the schedule are read. */
void check_spans(struct loader *l, const struct stage_def *s, struct at at);
/* The fields of score's rows where the model is one of forecasts, else NULL; arena. */
struct made *forecast_made(struct loader *l, const char *model, size_t *ret_n);
void resolve_score(struct loader *l, size_t stage);
void resolve_alert(struct loader *l, size_t stage);
void resolve_train(struct loader *l, size_t stage);
void link_models(struct loader *l); /* score to the train stage of the same model */

#endif
