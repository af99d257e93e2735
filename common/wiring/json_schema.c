/* json_schema: a pipeline file's JSON Schema (2020-12), made of the tables that the check reads and the page shows. */
/*
 * A key's name, whether it is required and what it means come from its table; what its value may be, from the table's
 * word for it ("duration", "topic or list", "1 to 16"). What the check knows beyond the form (which topics there are,
 * what compiles) no schema can say; it refuses nothing that the check takes.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "feature/aggregates.h"
#include "wiring/load.h"

#define TEXT "\"type\":\"string\",\"minLength\":1"
#define NAME "\"type\":\"string\",\"pattern\":\"^[a-z][a-z0-9_-]{0,59}$\""
#define IDENTIFIER "\"type\":\"string\",\"pattern\":\"^[A-Za-z_][A-Za-z0-9_]{0,99}$\""
#define DURATION "\"type\":\"string\",\"pattern\":\"^(0|[1-9][0-9]{0,11})(ms|s|m|h|d)$\""
#define SCALAR "\"type\":[\"string\",\"number\",\"boolean\"]"
#define SIZE "\"type\":\"string\",\"pattern\":\"^(0|[1-9][0-9]{0,8})(KiB|MiB|GiB)$\""
#define NAMES(more) \
    "\"type\":[\"string\",\"array\"],\"minItems\":1,\"uniqueItems\":true,\"items\":{\"type\":\"string\"}" more
#define OBJECT(names, values) \
    "\"type\":\"object\",\"minProperties\":1,\"propertyNames\":{" names "},\"additionalProperties\":{" values "}"
#define ROUNDS "\"type\":\"integer\",\"minimum\":1,\"maximum\":10000"
#define NOT(name) ",\"not\":{\"const\":\"" name "\"}"
#define COLUMN(more) IDENTIFIER ",\"not\":{\"enum\":[\"and\",\"false\",\"in\",\"not\",\"null\",\"or\",\"true\"" more "]}"
#define DEFINED(name) "\"$ref\":\"#/$defs/" name "\""

/* What a value may be, by its word. */
static const struct {
    const char *word, *json;
} values[] = {
    {"name", TEXT}, {"text", TEXT}, {"folder", TEXT}, {"field", TEXT}, {"topic", TEXT}, {"date", TEXT},
    {"condition", TEXT}, {"expression", TEXT}, {"expression or text", TEXT},
    {"number", "\"type\":\"number\""}, {"boolean", "\"type\":\"boolean\""},
    {"duration", DURATION}, {"topic or list", NAMES("")}, {"name or list", NAMES("")}, {"window or list", NAMES("")},
};

/* Where a table's word does not say enough. */
static const struct {
    const struct key_table *of;
    const char *key, *json;
} special[] = {
    {&keys_file, "pipeline", NAME NOT("millrace")},
    {&keys_file, "kafka", "\"type\":\"object\",\"additionalProperties\":{" SCALAR "}"},
    {&keys_file, "topics", OBJECT(NAME NOT("dead_letters"), DEFINED("topic"))},
    {&keys_file, "stages", OBJECT(NAME, DEFINED("stage"))},
    {&keys_topic, "retention", "\"type\":\"string\",\"pattern\":\"^((0|[1-9][0-9]{0,11})(ms|s|m|h|d)|ever)$\""},
    {&keys_workers[1], "features",
     OBJECT(COLUMN(",\"lineage\""),
            "\"if\":{\"type\":\"object\"},\"then\":{\"if\":{\"required\":[\"list\"]},\"then\":{" DEFINED("list") "},"
            "\"else\":{\"if\":{\"anyOf\":[{\"required\":[\"join\"]},{\"required\":[\"fields\"]}]},"
            "\"then\":{" DEFINED("join") "},\"else\":{" DEFINED("aggregate") "}}},\"else\":{" TEXT "}")},
    {&keys_workers[1], "tumbling", DEFINED("tumbling")},
    {&keys_tumbling, "values", OBJECT(COLUMN(",\"lineage\""), DEFINED("value"))},
    {&keys_workers[2], "from", NAMES(",\"maxItems\":1")},
    {&keys_workers[2], "label", DEFINED("label")},
    {&keys_workers[2], "target", DEFINED("target")},
    {&keys_workers[2], "outputs", OBJECT(COLUMN(""), DEFINED("output"))},
    {&keys_target, "known", OBJECT(COLUMN(""), TEXT)},
    {&keys_workers[2], "model", NAME},
    {&keys_workers[2], "xgboost", DEFINED("xgboost")},
    {&keys_workers[3], "from", NAMES(",\"maxItems\":1")},
    {&keys_workers[3], "explain", DEFINED("explain")},
    {&keys_workers[4], "from", NAMES(",\"maxItems\":1")},
    {&keys_workers[4], "rules", "\"type\":\"array\",\"minItems\":1,\"items\":{" DEFINED("rule") "}"},
    {&keys_rule, "name", IDENTIFIER},
    {&keys_feature, "share", "\"type\":\"number\",\"minimum\":0,\"maximum\":1"},
};

/* The words in backquotes: "`at` or `arrival`". */
static void put_choices(struct bytes *out, const char *text)
{
    const char *between = "\"enum\":[", *end;

    for (const char *begin = strchr(text, '`'); begin; begin = strchr(end + 1, '`')) {
        end = strchr(begin + 1, '`');
        assert(end);
        bytes_printf(out, "%s\"%.*s\"", between, (int)(end - begin - 1), begin + 1);
        between = ",";
    }
    bytes_printf(out, "]");
}

static void put_value(struct bytes *out, const struct key_table *t, const struct key_def *key, const char *word)
{
    char first[16];
    int64_t ms;
    size_t size;
    long min, max;
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(special); i++)
        if (special[i].of == t && strcmp(special[i].key, key->name) == 0) {
            bytes_printf(out, "%s", special[i].json);
            return;
        }
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (strcmp(values[i].word, word) == 0) {
            bytes_printf(out, "%s", values[i].json);
            return;
        }
    if (word[0] == '`')
        put_choices(out, word);
    else if (strcmp(word, "choice") == 0)
        put_choices(out, key->about);
    else if (sscanf(word, "%ld to %ld%n", &min, &max, &n) == 2 && word[n] == '\0')
        bytes_printf(out, "\"type\":\"integer\",\"minimum\":%ld,\"maximum\":%ld", min, max);
    else if (sscanf(word, "%15s to", first) == 1 && duration_parse(first, &ms))
        bytes_printf(out, DURATION);
    else if (sscanf(word, "%15s to", first) == 1 && size_parse(first, &size))
        bytes_printf(out, SIZE);
    else
        bytes_printf(out, "\"$comment\":\"json_schema.c knows no such value: %s\"", word);
}

static bool is_required(const char *type, char word[64])
{
    const char *ending = strstr(type, ", required");

    snprintf(word, 64, "%.*s", (int)(ending ? (size_t)(ending - type) : strlen(type)), type);
    return ending != NULL;
}

static void put_text(struct bytes *out, const char *text)
{
    json_t *value = json_string(text);
    char *dump = json_dumps(value, JSON_ENCODE_ANY);

    bytes_printf(out, "%s", dump);
    free(dump);
    json_decref(value);
}

/* The inside of an object that has the keys of one table or two, and no others. */
static void put_keys(struct bytes *out, const struct key_table *a, const struct key_table *b)
{
    const struct key_table *tables[] = {a, b};
    const char *between = "";
    char word[64];

    bytes_printf(out, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (size_t t = 0; t < 2 && tables[t]; t++)
        for (size_t i = 0; i < tables[t]->n; i++) {
            const struct key_def *key = &tables[t]->keys[i];

            (void)is_required(key->type, word);
            bytes_printf(out, "%s\"%s\":{", between, key->name);
            put_value(out, tables[t], key, word);
            bytes_printf(out, ",\"description\":");
            put_text(out, key->about);
            bytes_printf(out, "}");
            between = ",";
        }
    bytes_printf(out, "},\"required\":[");
    between = "";
    for (size_t t = 0; t < 2 && tables[t]; t++)
        for (size_t i = 0; i < tables[t]->n; i++) {
            /* which aggregates need a window is said by put_aggregate */
            if (tables[t] == &keys_feature || !is_required(tables[t]->keys[i].type, word))
                continue;
            bytes_printf(out, "%s\"%s\"", between, tables[t]->keys[i].name);
            between = ",";
        }
    bytes_printf(out, "]");
}

/* One aggregate of all; a window but for those of the last event; a parameter with its aggregate alone. */
static void put_aggregate(struct bytes *out)
{
    bytes_printf(out, "\"aggregate\":{");
    put_keys(out, keys_aggregates(), &keys_feature);
    bytes_printf(out, ",\"oneOf\":[");
    for (size_t i = 0; i < n_aggregates; i++)
        bytes_printf(out, "%s{\"required\":[\"%s\"]}", i ? "," : "", aggregates[i].name);
    bytes_printf(out, "],\"anyOf\":[{\"required\":[\"over\"]}");
    for (size_t i = 0; i < n_aggregates; i++)
        if (aggregates[i].only_latest)
            bytes_printf(out, ",{\"required\":[\"%s\"]}", aggregates[i].name);
    bytes_printf(out, "],\"dependentRequired\":{");
    for (size_t i = 0, n = 0; i < n_aggregates; i++) {
        const struct aggregate *a = &aggregates[i];

        if (a->parameter == NULL)
            continue;
        bytes_printf(out, "%s\"%s\":[\"%s\"]", n++ ? "," : "", a->parameter, a->name);
        if (isnan(a->parameter_default))
            bytes_printf(out, ",\"%s\":[\"%s\"]", a->name, a->parameter);
    }
    bytes_printf(out, "}},");
}

static void put_tumbling(struct bytes *out)
{
    const struct key_table *kinds = keys_values();

    bytes_printf(out, "\"tumbling\":{");
    put_keys(out, &keys_tumbling, NULL);
    bytes_printf(out, "},\"value\":{");
    put_keys(out, kinds, &keys_value);
    bytes_printf(out, ",\"oneOf\":[");
    for (size_t i = 0; i < kinds->n; i++)
        bytes_printf(out, "%s{\"required\":[\"%s\"]}", i ? "," : "", kinds->keys[i].name);
    bytes_printf(out, "]},");
}

static void put_xgboost(struct bytes *out, const char *name, const char *more)
{
    bytes_printf(out, "\"%s\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{%s", name, more);
    for (size_t i = 0; i < n_xgboost_known; i++)
        bytes_printf(out, "%s\"%s\":{%s}", i ? "," : "", xgboost_known[i],
                     strcmp(xgboost_known[i], "rounds") == 0 ? ROUNDS : SCALAR);
    bytes_printf(out, "},\"required\":[");
}

static void put_fits(struct bytes *out)
{
    put_xgboost(out, "xgboost", "");
    for (size_t i = 0; i < n_xgboost_required; i++)
        bytes_printf(out, "%s\"%s\"", i ? "," : "", xgboost_required[i]);
    bytes_printf(out, "]},");
    put_xgboost(out, "output", "\"clip\":{\"type\":\"number\"},");
    bytes_printf(out, "\"objective\"],\"allOf\":[{\"properties\":{\"objective\":{" TEXT "},\"quantile_alpha\":{\"type\":\"number\"}}}],\"if\":{\"properties\":{\"objective\":{\"const\":\"reg:quantileerror\"}}},\"then\":{\"required\":"
                      "[\"quantile_alpha\"],\"properties\":{\"quantile_alpha\":{\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}}}},");
}

/* The worker decides which keys a stage has. */
static void put_stages(struct bytes *out)
{
    for (size_t i = 0; i < ARRAY_LEN(keys_workers); i++) {
        bytes_printf(out, "\"%s\":{", keys_workers[i].worker);
        put_keys(out, &keys_stage, &keys_workers[i]);
        if (strcmp(keys_workers[i].worker, "preprocess") == 0)
            bytes_printf(out, ",\"if\":{\"properties\":{\"from\":{\"type\":\"array\",\"minItems\":2}},"
                              "\"required\":[\"from\"]},\"then\":{\"required\":[\"emit_on\"]},"
                              "\"oneOf\":[{\"required\":[\"features\"]},{\"required\":[\"tumbling\"]}]");
        if (strcmp(keys_workers[i].worker, "train") == 0)
            bytes_printf(out, ",\"oneOf\":[{\"required\":[\"label\"],\"properties\":{\"target\":false,\"xgboost\":{\"required\":[\"objective\"]}}},"
                              "{\"required\":[\"target\",\"outputs\"],\"properties\":{\"label\":false,\"xgboost\":{\"properties\":"
                              "{\"objective\":false,\"tree_method\":{\"const\":\"hist\"}}}}}],\"dependentRequired\":"
                              "{\"outputs\":[\"target\"],\"calibrate\":[\"target\"],\"refit\":[\"target\"]}");
        bytes_printf(out, "},");
    }
    bytes_printf(out, "\"stage\":{\"type\":\"object\",\"properties\":{\"worker\":{\"enum\":[");
    for (size_t i = 0; i < ARRAY_LEN(keys_workers); i++)
        bytes_printf(out, "%s\"%s\"", i ? "," : "", keys_workers[i].worker);
    bytes_printf(out, "]}},\"required\":[\"worker\"],\"allOf\":[");
    for (size_t i = 0; i < ARRAY_LEN(keys_workers); i++)
        bytes_printf(out, "%s{\"if\":{\"properties\":{\"worker\":{\"const\":\"%s\"}},\"required\":[\"worker\"]},"
                          "\"then\":{" DEFINED("%s") "}}",
                     i ? "," : "", keys_workers[i].worker, keys_workers[i].worker);
    bytes_printf(out, "]},");
}

static void put_defs(struct bytes *out)
{
    bytes_printf(out, "\"$defs\":{\"topic\":{");
    put_keys(out, &keys_topic, NULL);
    bytes_printf(out, "},");
    put_stages(out);
    put_aggregate(out);
    bytes_printf(out, "\"list\":{");
    put_keys(out, &keys_list, NULL);
    bytes_printf(out, "},\"join\":{");
    put_keys(out, &keys_join, NULL);
    bytes_printf(out, ",\"dependentRequired\":{\"for\":[\"every\",\"ahead\"],\"every\":[\"for\"],\"zone\":[\"for\"],\"ahead\":[\"for\"]}},");
    put_tumbling(out);
    put_fits(out);
    bytes_printf(out, "\"target\":{");
    put_keys(out, &keys_target, NULL);
    bytes_printf(out, "},");
    bytes_printf(out, "\"label\":{");
    put_keys(out, &keys_label, NULL);
    bytes_printf(out, ",\"dependentRequired\":{\"absent\":[\"after\"]}},\"explain\":{");
    put_keys(out, &keys_explain, NULL);
    bytes_printf(out, "},\"rule\":{");
    put_keys(out, &keys_rule, NULL);
    bytes_printf(out, "}}");
}

void pipeline_json_schema(struct bytes *out)
{
    struct bytes text = BYTES_EMPTY;
    struct error err;
    json_auto_t *whole = NULL;
    enum status st;
    char *dump;

    bytes_printf(&text, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
                        "\"title\":\"A pipeline file of Millrace\",");
    put_keys(&text, &keys_file, NULL);
    bytes_printf(&text, ",");
    put_defs(&text);
    bytes_printf(&text, "}");
    st = json_read(view_of(text.data, text.n), &whole, &err);
    assert(st == OK);
    dump = json_dumps(whole, JSON_INDENT(1));
    bytes_printf(out, "%s\n", dump);
    free(dump);
    bytes_done(&text);
}
