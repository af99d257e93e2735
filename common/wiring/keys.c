#include "feature/aggregates.h"
#include "feature/tumbling.h"
#include "wiring/cases.h"
#include "wiring/load.h"

/* The tables are the reference: docs/pipeline.md holds them word for word (test_pipeline compares), docs/features.md those of aggregates. */
static const struct key_def file_keys[] = {
    {"$schema", "text", "For editors, which complete and check by it: where `pipeline.schema.json` lies."},
    {"pipeline", "name, required", "The pipeline's name: topic `x` is `<pipeline>.x` on the broker, stage `y` the group `<pipeline>.y`."},
    {"schemas", "folder", "Where the .avsc files lie, relative to the pipeline file. Default: the folder `schemas` beside the file's folder."},
    {"kafka", "object", "librdkafka properties by their own names. Secrets never stand here: set `MILLRACE_KAFKA_<PROPERTY>` (dots as underscores, upper case)."},
    {"topics", "object, required", "Every topic that a stage reads or writes, by name."},
    {"stages", "object, required", "Every stage, by name."},
};
static const struct key_def topic_keys[] = {
    {"schema", "name", "The record's Avro schema: `<name>.avsc` in the schemas folder. Required for a topic from outside; for a stage's output the default is derived: the emitting input's fields, what the stage makes, `lineage`."},
    {"key", "field", "The field whose text is the record's key and chooses its partition. Required for a topic from outside; for a stage's output the default is that the input's key goes through."},
    {"time", "field", "The field that holds the event time (timestamp-millis or timestamp-micros). Required for a topic from outside; for a stage's output the default is the emitting input's."},
    {"partitions", "1 to 10000", "Required for a topic from outside; for a stage's output the default is its input's number."},
    {"retention", "duration or `ever`", "How long Kafka keeps its records, set when the topic is made. No window that reads the topic, nor a training, may reach further back: neither could be built anew. Default: the broker's setting."},
    {"lateness", "duration", "How far behind the newest event of its partition a record may be; later ones are dead-lettered. Only for a topic from outside. Default: `1h`."},
    {"time.min", "date", "Event times before this are dead-lettered. Only for a topic from outside. Default: `2000-01-01`."},
    {"time.ahead", "duration", "Event times this far after the record's arrival at the broker are dead-lettered. Only for a topic from outside. Default: `10m`."},
};
static const struct key_def stage_keys[] = {
    {"worker", "choice, required", "`ingest`, `preprocess`, `train`, `score` or `alert`."},
    {"commit.interval", "10ms to 60s", "How often a transaction commits: the latency floor (`exactly_once`), or how much comes again after a fault (`at_least_once`). Default: `100ms`."},
    {"processing_guarantee", "`exactly_once` or `at_least_once`", "`exactly_once`: outputs, state and input positions commit together. `at_least_once`: outputs leave at once, milliseconds a hop, and some come again after a fault; state stays exact, and every stage that reads them drops the repeats ([operations](operations.md#guarantees)). Default: `exactly_once`."},
    {"memory", "96MiB to 1024GiB", "What a process of it may take: give a container that much. Split into fetched and unsent records, batches and state, and printed when it starts; past its part for state it stops with an error, and goes on with more ([operations](operations.md#memory)). Default: `4GiB`."},
    {"order", "`at` or `arrival`", "`at`: stateful stages take records in event-time order of their channels and wait for slow ones; `arrival` never waits. Default: `at`."},
    {"epoch", "0 to 2147483647", "Of the stage's state. One more than before builds the state anew from the inputs' beginnings, without output, and goes on where the former stopped: needed when its features change. Stop all of its processes first. Default: 0."},
};
static const struct key_def ingest_keys[] = {
    {"to", "topic or list, required", "The topics that it may write: those from outside."},
};
static const struct key_def preprocess_keys[] = {
    {"from", "topic or list, required", "Its inputs, in order. Several must have equal partition counts and the same text as key."},
    {"emit_on", "topic", "The input whose records come out with features; the others feed state, or are joined. Required with several inputs."},
    {"to", "topic or list, required", "Its outputs."},
    {"drift", "1m to 366d", "How far ahead of the stage's slowest task, in event time, another may run; it pauses there. Bounds what readers hold back. Default: `1d`."},
    {"features", "object", "Features by name: a text is an expression, an object an aggregate, a join or a list (below). Required without `tumbling`."},
    {"tumbling", "object", "Instead of `features`: one row for each key and window comes out when the window closes, also of an empty one (below). Such a stage has one input."},
};
static const struct key_def tumbling_keys[] = {
    {"every", "1s to 366d, required", "How long a window is. Windows begin at multiples of it since 1970 in UTC, those of whole weeks on Mondays."},
    {"zone", "text", "A time zone such as `Europe/Berlin`, whose days the windows are. `every` is whole days then; a day may have 23 or 25 hours. Default: UTC."},
    {"allowed", "duration", "The allowed lateness: how long after a window's end its events are still taken. Each makes its row come out again, with `revision` one more; later ones are dead-lettered. At most the input's `lateness`. Default: that."},
    {"fill.for", "duration", "How long after its last event a key has rows of empty windows. Default: for good."},
    {"values", "object, required", "What a row says of its window, by name: aggregates (below). Beside them it has the key's field, `start`, `end` (its event time) and `revision` (0 at first)."},
};
static const struct key_def value_keys[] = {
    {"where", "condition", "Over the fields of the input: other records are not there. Null is not true. A record that no value takes begins no key. Default: all."},
    {"fill", "number", "The value in a window without a record for it. Default: what the aggregate gives of nothing: 0 of `count` and `sum`, else null."},
};
static const struct key_def train_keys[] = {
    {"from", "topic, required", "Feature rows."},
    {"model", "name, required", "The model's name in `millrace.models`."},
    {"label", "object", "Where the truth comes from (below): one score a row. This or `target`."},
    {"target", "object", "What is forecast (below): the truth are later rows of the same topic."},
    {"outputs", "object", "Beside `target`, required: the numbers of a forecast by name, each a fit of its own with what XGBoost is told for it beside `xgboost`: `\"p90\": {\"objective\": \"reg:quantileerror\", \"quantile_alpha\": 0.9}`. `objective` must be said; with `\"clip\": 5` a scaled truth beyond 5 is learnt as 5. Quantiles come out in order."},
    {"calibrate", "boolean", "Beside `target`: each quantile is moved, step by step, to where its share of the holdout's truths lay below it. Default: `false`."},
    {"refit", "boolean", "Beside `target`: after metrics and calibration it is trained again, holdout included. Default: `false`."},
    {"every", "duration, required", "A boundary of the schedule, in event time."},
    {"window", "duration, required", "How much is trained on: the rows of this span before the holdout."},
    {"holdout", "duration", "The last part of the rows whose labels are due, kept for the metrics. Default: `0s`, none."},
    {"features", "name or list", "The model's columns, in order. A family stands for its windows. Default: all features of the preprocess stages before it that are no text."},
    {"xgboost", "object, required", "XGBoost's parameters, and `rounds` (default 100). `objective` (of a target: in `outputs`), `tree_method` (of a target: `hist`), `base_score` and `seed` must be said: equal inputs, equal model. `nthread` (default 1) is a setting of the model too: it decides in which order gradients are summed."},
    {"promote_when", "condition", "Which trained model becomes champion, by its metrics on the holdout and the champion's on the same rows: `average_precision >= champion.average_precision`. Names: `auc`, `average_precision`, `logloss`; of a target `<output>_pinball` of a quantile, `<output>_rmse` of others ([retrain](retrain.md#which-model-becomes-champion)). Default: each one that is trained."},
    {"model.lag", "duration", "A new champion holds from boundary + this, in event time. Default: `1h`."},
};
static const struct key_def score_keys[] = {
    {"from", "topic, required", "Feature rows."},
    {"to", "topic or list, required", "Scores: the input's fields, `score`, `score_reason`, `reasons`; of a model with a target: `forecast`, `lead_time_<output>`, `score_reason`."},
    {"model", "name, required", "The model that it follows in `millrace.models`."},
    {"explain", "object", "Reason codes (below). Default: none."},
    {"model.wait", "duration", "How long (wall clock) a live stage waits for a verdict that is due, before it goes on by the former model. One that is more than `every` behind the clock waits for as long as it takes. Default: `1m`."},
};
static const struct key_def alert_keys[] = {
    {"from", "topic, required", "What the rules look at."},
    {"to", "topic or list, required", "Alerts: the input's fields, `rule`, `severity`."},
    {"rules", "list, required", "Rules (below); each that holds makes one alert."},
};
static const struct key_def label_keys[] = {
    {"from", "topic, required", "The labels."},
    {"on", "field, required", "The field, in both topics, that joins a label to its row."},
    {"value", "number", "What a label means. Default: 1."},
    {"absent", "number", "What no label means once `after` has passed. Default: such a row is not trained on."},
    {"after", "duration", "How long after its event a row's label is awaited. Required with `absent`. Default: `0s`."},
};
static const struct key_def target_keys[] = {
    {"value", "field, required", "The field, a number, whose later values are forecast: of the row at t the one of the row with the same key at t + step x `every`, as it was last corrected. A row whose target is not there is not trained on."},
    {"horizon", "1 to 1000, required", "How many steps ahead."},
    {"every", "duration, required", "A step's length: how far apart the rows of a key are."},
    {"zone", "text", "The time zone whose days the steps are, as of the tumbling windows. `every` is whole days then. Default: UTC."},
    {"lead_time", "1 to 1000", "How many steps, at most the horizon: their sum is forecast besides, with quantiles of its own. Default: none."},
    {"scale", "expression", "Over the row's numbers: the truth is divided by it, the forecast multiplied. Where it is null, 0 or less, 1. Default: 1."},
    {"weight", "expression", "Over the row's numbers: how much a row counts in the fit; null or less than 0 is 0. Default: 1."},
    {"offset", "expression", "Over the row's numbers, `step` and `target_time`: taken off the truth before it is divided, added to the forecast; null is 0. Of the lead time its mean. Default: 0."},
    {"where", "condition", "Over the row's numbers: only rows for which it holds are trained on, and evaluated; all are forecast. Default: all."},
    {"min", "number", "A forecast is at least this. Default: any number."},
    {"known", "object", "Columns at the target's time by name: expressions over the row's numbers, `step` and `target_time` (the end of the target's window; `target_time - 1` lies in it). Of the lead time the mean over its steps of those that are not null: of an offer on two days of seven 2/7."},
};
static const struct key_def explain_keys[] = {
    {"top", "1 to 100, required", "How many features."},
    {"when", "condition", "Over the input's fields and `score`. Default: always."},
};
static const struct key_def rule_keys[] = {
    {"name", "name, required", "Stands in the alert's field `rule`."},
    {"when", "condition, required", "Over the input's fields. Null is not true."},
    {"severity", "choice, required", "`low`, `medium`, `high` or `critical`."},
    {"key", "field", "What the cooldown counts by: the field that partitions the input. Default: that field."},
    {"cooldown", "duration", "After an alert this rule is silent for the same key, in event time. Default: `0s`, none."},
    {"once_per", "expression", "After an alert this rule is silent for the same key until the value of this is another one than it was then; null is a value too. `order_seq`: one alert an order. Default: none."},
};
static const struct key_def feature_keys[] = {
    {"over", "window or list, required", "One column for each, `<name>_<window>`. `7d`: (t - 7d, t], the record itself included; `last10`: the last ten records; `gap30m`: the session, all records back to a pause of more than 30 minutes; `ever`. Of `ewm`: half-lives. Without one `last`, `previous` and `since` are of the last record."},
    {"where", "condition", "Over the fields of the same input: other records are not there. Null is not true. At most 64 different ones in a stage, each input without one counted as one; over each at most 64 different ends of windows. Default: all."},
    {"self", "boolean", "`false`: without the record itself. Default: `true`, but for `previous`, `since`, `ratio` and `zscore`."},
    {"rank", "1 to 16", "Of `top`. Default: 1."},
    {"share", "0 to 1", "Of `quantile`, required."},
    {"delay", "duration", "Moves the windows' end back: (t - w - delay, t - delay]. Default: none."},
    {"resolution", "duration", "Keeps windows by time as tiles of this length instead of events: at most 2 x (`over` / `resolution` + 2) of them a key, however many events it has. The window's end stays exact; its beginning is the last tile's border (a multiple of the resolution since 1970, UTC) at or before t - w - delay, so it may hold up to one tile more. Of `count`, `sum`, `mean`, `variance`, `stddev`, `zscore`, `ratio`, `min`, `max` and `distinct`; at least 1/10000 of the window. Default: none."},
};

static const struct key_def join_keys[] = {
    {"join", "topic, required", "The table: an input that stands before the emitting one in `from`. The event gets the latest record of its key up to its own time, or what is known by then of times ahead."},
    {"fields", "name or list, required", "Fields of that topic, each of one value, together at most 16 KiB of a record: the columns `<name>_<field>`, of their types; null without a record."},
    {"where", "condition", "Over the fields of that topic: other records are not there. Null is not true. Default: all."},
    {"delay", "0s to 3660d", "Only what was there this long before the event. Default: `0s`."},
    {"within", "1ms to 3660d", "A record that is as old as this, or older, is not there; with a delay, as of then. Default: however old."},
    {"for", "expression", "The time that a record is for, over the fields of that topic. Instead of the latest record's fields the columns are `<name>_<field>_ahead<k>`, a family for each field: what was known at the event's time of each of the steps behind it. A record for no time (null) is not there. Default: the latest record."},
    {"every", "1s to 366d", "Required with `for`: a step's length. Step k is the time up to k x `every` after the event, as of `target`."},
    {"zone", "text", "Beside `for`: the time zone whose days the steps are, where the event is at the beginning of one, as of `target`. `every` is whole days then. Default: UTC."},
    {"ahead", "1 to 256", "Required with `for`: how many steps."},
};
static const struct key_def list_keys[] = {
    {"list", "field, required", "A field of the emitting input that is a list of records, such as the `forecast` of a stage of `score`."},
    {"fields", "name or list, required", "Fields of its records, each of one value: the columns `<name>_<field>_1`, `<name>_<field>_2` and so on, a family for each field; null where the list is shorter."},
    {"items", "1 to 256, required", "How many of its first records."},
};

static const struct key_def tests_keys[] = {
    {"cases", "list, required", "Cases (below); each is run for itself, with no state but what its own events make."},
};
static const struct key_def case_keys[] = {
    {"name", "text, required", "What must hold, as a sentence."},
    {"stages", "stage or list, required", "The stages that run, in this order, each on what those before it made: `preprocess`, `score` or `alert`."},
    {"in", "object, required", "Lists of events by topic, for the topics that the stages read and do not write; one that is not named has none. An event has the fields of the topic's schema, as `millrace publish` takes them: a time is ISO 8601 or milliseconds, a field that is left out takes its default. `lineage` is made."},
    {"out", "object", "Lists of records by topic, all that must come, in their order; or `none`. Of a record only the fields that are named are compared. A topic that is not named may hold anything."},
    {"dead_letters", "list", "The dead letters that must come (below), all of them, in the order of the stages. Default: none may."},
    {"within", "number", "How far a number may be from the one that is expected. Default: 0, exactly that one."},
    {"models", "file", "The models that a stage of `score` follows, relative to the file of tests ([files.md](files.md) says how one is made). Default: none, every score is null."},
};
static const struct key_def dead_keys[] = {
    {"reason", "text, required", "What the reason must hold."},
    {"stage", "stage", "Who refused it."},
    {"topic", "topic", "Where it lay. Required with `event`."},
    {"event", "object", "Fields of the record that was refused."},
};

#define TABLE(title_, worker_, keys_) {.title = title_, .worker = worker_, .keys = keys_, .n = ARRAY_LEN(keys_)}
const struct key_table keys_file = TABLE("The file", NULL, file_keys);
const struct key_table keys_topic = TABLE("A topic", NULL, topic_keys);
const struct key_table keys_stage = TABLE("Every stage", NULL, stage_keys);
const struct key_table keys_workers[5] = {
    TABLE("A stage of `ingest`", "ingest", ingest_keys), TABLE("A stage of `preprocess`", "preprocess", preprocess_keys),
    TABLE("A stage of `train`", "train", train_keys),    TABLE("A stage of `score`", "score", score_keys),
    TABLE("A stage of `alert`", "alert", alert_keys),
};
const struct key_table keys_feature = TABLE("An aggregate's window", NULL, feature_keys);
const struct key_table keys_join = TABLE("A join in `features`", NULL, join_keys);
const struct key_table keys_list = TABLE("A list in `features`", NULL, list_keys);
const struct key_table keys_tumbling = TABLE("`tumbling` of `preprocess`", NULL, tumbling_keys);
const struct key_table keys_value = TABLE("A value's events and emptiness", NULL, value_keys);
const struct key_table keys_label = TABLE("`label` of `train`", NULL, label_keys);
const struct key_table keys_target = TABLE("`target` of `train`", NULL, target_keys);
const struct key_table keys_explain = TABLE("`explain` of `score`", NULL, explain_keys);
const struct key_table keys_rule = TABLE("A rule of `alert`", NULL, rule_keys);
const struct key_table keys_tests = TABLE("The file", NULL, tests_keys);
const struct key_table keys_case = TABLE("A case", NULL, case_keys);
const struct key_table keys_dead = TABLE("A dead letter", NULL, dead_keys);

static struct key_def aggregate_key(const struct aggregate *a)
{
    static const char *const takes[] = {"topic", "expression", "expression or text"};

    return (struct key_def){a->name, takes[a->takes], a->about};
}

const struct key_table *keys_aggregates(void)
{
    static struct key_def keys[32];
    static struct key_table table = TABLE("An aggregate in `features`: one of", NULL, keys);

    for (size_t i = 0; i < n_aggregates; i++)
        keys[i] = aggregate_key(&aggregates[i]);
    table.n = n_aggregates;
    return &table;
}

const struct key_table *keys_values(void)
{
    static struct key_def keys[32];
    static struct key_table table = TABLE("A value of `tumbling`: one of", NULL, keys);

    table.n = 0;
    for (size_t i = 0; i < n_aggregates; i++)
        if (tumbling_takes(&aggregates[i]))
            keys[table.n++] = aggregate_key(&aggregates[i]);
    return &table;
}

const struct key_table *keys_worker(const char *worker)
{
    for (size_t i = 0; i < ARRAY_LEN(keys_workers); i++)
        if (strcmp(keys_workers[i].worker, worker) == 0)
            return &keys_workers[i];
    return NULL;
}

static bool has_key(const struct key_table *t, const char *key)
{
    for (size_t i = 0; t && i < t->n; i++)
        if (strcmp(t->keys[i].name, key) == 0)
            return true;
    return false;
}

void check_keys(struct loader *l, struct at at, const char *what, const struct key_table *a, const struct key_table *b)
{
    const char *known[64];
    const char *key;
    json_t *value;
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++)
        known[n++] = a->keys[i].name;
    for (size_t i = 0; b && i < b->n; i++)
        known[n++] = b->keys[i].name;
    json_object_foreach((json_t *)at.obj, key, value) {
        if (!has_key(a, key) && !has_key(b, key))
            fault(l, path_key(l, at.path, key), "expected a key of %s, got an unknown one%s", what,
                  hint(l, key, known, n));
    }
}

static void put_tables(struct bytes *out, const struct key_table *const *tables, size_t n)
{
    for (size_t t = 0; t < n; t++) {
        bytes_printf(out, "### %s\n\n| key | value | meaning |\n|---|---|---|\n", tables[t]->title);
        for (size_t k = 0; k < tables[t]->n; k++) {
            const struct key_def *def = &tables[t]->keys[k];

            bytes_printf(out, "| `%s` | %s | %s |\n", def->name, def->type, def->about);
        }
        bytes_printf(out, "\n");
    }
}

void cases_reference(struct bytes *out)
{
    static const struct key_table *const tables[] = {&keys_tests, &keys_case, &keys_dead};

    put_tables(out, tables, ARRAY_LEN(tables));
}

void pipeline_reference(struct bytes *out)
{
    static const struct key_table *const before[] = {&keys_file, &keys_topic, &keys_stage};
    const struct key_table *const after[] = {&keys_feature, &keys_join, &keys_list, &keys_tumbling, keys_values(), &keys_value, &keys_label, &keys_target, &keys_explain,
                                             &keys_rule};
    const struct key_table *tables[ARRAY_LEN(before) + ARRAY_LEN(keys_workers) + ARRAY_LEN(after)];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(before); i++)
        tables[n++] = before[i];
    for (size_t i = 0; i < ARRAY_LEN(keys_workers); i++)
        tables[n++] = &keys_workers[i];
    for (size_t i = 0; i < ARRAY_LEN(after); i++)
        tables[n++] = after[i];
    put_tables(out, tables, n);
}
