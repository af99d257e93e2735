#include <stdlib.h>

#include "wiring/load.h"

/*
 * A stage's output rows have the emitting input's fields but its lineage, what the stage makes, and `lineage`. Without
 * a declared schema the output's is exactly that record, named after the topic; a declared one may choose among them,
 * and fields of its own need a default.
 */
static const char lineage_field[] = "{\"name\":\"lineage\",\"type\":\"Lineage\"}";

static bool is_lineage(const char *name)
{
    return strcmp(name, "lineage") == 0;
}

static void append_json(struct bytes *out, const json_t *value)
{
    char *dump = json_dumps(value, JSON_COMPACT);

    bytes_printf(out, "%s,", dump ? dump : "null");
    free(dump);
}

static void derive(struct loader *l, size_t topic, const struct schema *input, const struct made *made, size_t n_made)
{
    struct topic *t = &l->p->topics[topic];
    struct topic_more *more = &l->topics[topic];
    char *record = arena_strdup(l->arena, t->name);
    struct bytes text = BYTES_EMPTY;
    struct error err;

    for (char *c = record; *c; c++)
        if (*c == '-')
            *c = '_'; /* Avro's names have none */
    bytes_printf(&text, "{\"type\":\"record\",\"name\":\"%s\",\"fields\":[", record);
    for (size_t i = 0; i < input->n; i++)
        if (!is_lineage(input->fields[i].name))
            append_json(&text, input->fields[i].props);
    for (size_t i = 0; i < n_made; i++)
        bytes_printf(&text, "%s,", made[i].field);
    bytes_printf(&text, "%s]}", lineage_field);
    if (schema_parse(view_of(text.data, text.n), lookup_schema, l, &t->schema, &err) != OK) {
        fault(l, more->path, "expected a schema that can be derived, got: %s (declare one by \"schema\")", err.text);
        more->broken = true;
    }
    bytes_done(&text);
}

/* Int and long, float and double, string and enum are one value to the encoder. */
static int value_class(enum schema_type type)
{
    switch (type) {
    case SCHEMA_INT:
        return SCHEMA_LONG;
    case SCHEMA_FLOAT:
        return SCHEMA_DOUBLE;
    case SCHEMA_ENUM:
        return SCHEMA_STRING;
    case SCHEMA_FIXED:
        return SCHEMA_BYTES;
    default:
        return type;
    }
}

/* The type of an output row's field of that name, or -1. */
static int row_field(const struct schema *input, const struct made *made, size_t n_made, const char *name)
{
    for (size_t i = 0; i < n_made; i++)
        if (strcmp(made[i].name, name) == 0)
            return (int)made[i].type;
    for (size_t i = 0; i < input->n; i++)
        if (!is_lineage(input->fields[i].name) && strcmp(input->fields[i].name, name) == 0)
            return (int)schema_unwrap(input->fields[i].type)->type;
    return -1;
}

static const char *row_hint(struct loader *l, const struct schema *input, const struct made *made, size_t n_made,
                            const char *name)
{
    const char **names = arena_alloc(l->arena, (input->n + n_made + 1) * sizeof(*names));
    size_t n = 0;

    for (size_t i = 0; i < input->n; i++)
        if (!is_lineage(input->fields[i].name))
            names[n++] = input->fields[i].name;
    for (size_t i = 0; i < n_made; i++)
        names[n++] = made[i].name;
    return hint(l, name, names, n);
}

static void check_declared(struct loader *l, size_t topic, const char *stage, const struct schema *input,
                           const struct made *made, size_t n_made)
{
    const struct schema *s = l->p->topics[topic].schema;
    const char *path = path_key(l, l->topics[topic].path, "schema");
    const struct schema_field *last = s->n ? &s->fields[s->n - 1] : NULL;

    if (last == NULL || !is_lineage(last->name) || last->type->type != SCHEMA_RECORD ||
        strcmp(last->type->name, "Lineage") != 0)
        fault(l, path, "expected `lineage` of type Lineage as the last field, for a stage writes the topic, got %s%s%s",
              last ? "'" : "none", last ? last->name : "", last ? "'" : "");
    for (size_t i = 0; i < s->n; i++) {
        const struct schema_field *f = &s->fields[i];
        int have;

        if (is_lineage(f->name))
            continue;
        have = row_field(input, made, n_made, f->name);
        if (have < 0 && f->deflt == NULL)
            fault(l, path, "expected fields that stage '%s' can fill, got '%s' without a default%s", stage, f->name,
                  row_hint(l, input, made, n_made, f->name));
        else if (have >= 0 && value_class((enum schema_type)have) != value_class(schema_unwrap(f->type)->type))
            fault(l, path, "expected field '%s' with the type that stage '%s' makes, got another", f->name, stage);
    }
}

/* The loop writes a lineage by hand, field by field. */
static void check_lineage(struct loader *l, const struct schema *record)
{
    static const char *const fields[] = {"source", "task",        "offset", "index",   "tasks", "epoch",  "at",
                                         "seen",   "feature_set", "model",  "routing", "input", "channel"};
    const struct schema *lineage = record->fields[record->n - 1].type;
    size_t i = 0;

    if (l->lineage_checked || lineage->type != SCHEMA_RECORD)
        return;
    l->lineage_checked = true;
    while (i < ARRAY_LEN(fields) && i < lineage->n && strcmp(lineage->fields[i].name, fields[i]) == 0)
        i++;
    if (i < ARRAY_LEN(fields) || i < lineage->n)
        fault(l, "$.schemas", "expected the Lineage.avsc of this version, whose field %zu is '%s', got '%s': take it over from the "
              "project's schemas", i + 1, i < ARRAY_LEN(fields) ? fields[i] : "none",
              i < lineage->n ? lineage->fields[i].name : "none");
}

/* What a stage without an order of its own writes lies where its input did, or one partition would hold several orders. */
static void check_in_place(struct loader *l, const struct stage_def *s, size_t topic)
{
    const struct topic *t = &l->p->topics[topic], *in = &l->p->topics[s->from[0]];
    const char *key = l->topics[s->from[0]].key;

    if (t->key && key && strcmp(t->key, key) != 0)
        fault(l, path_key(l, l->topics[topic].path, "key"),
              "expected '%s' as of its input '%s', or nothing, for a score lies where its row does, got '%s'", key, in->name,
              t->key);
    if (t->partitions != 0 && in->partitions != 0 && t->partitions != in->partitions)
        fault(l, path_key(l, l->topics[topic].path, "partitions"),
              "expected %d as of its input '%s', or nothing, for a score lies where its row does, got %d", in->partitions,
              in->name, t->partitions);
}

/* Whether the topic has one row for each key and time, and what comes again stands in the former one's place: windows are corrected, and so is
 * what a stage makes of each row, if it has the same key and time. An alert is one of several. */
static int64_t replaces_ms(const struct loader *l, const struct stage_def *s, const struct topic *t)
{
    const struct topic *in = &l->p->topics[s->from[s->emit]];
    const char *key = l->topics[s->from[s->emit]].key;

    if (strcmp(s->worker, "alert") == 0 || (t->key && (key == NULL || strcmp(t->key, key) != 0)))
        return 0;
    if (s->tumbling)
        return s->tumbling->allowed_ms;
    return t->time && in->time && strcmp(t->time, in->time) == 0 ? in->replaces_ms : 0;
}

static void resolve_output(struct loader *l, const struct stage_def *s, size_t topic, const struct schema *passes,
                           const struct made *made, size_t n_made)
{
    struct pipeline *p = l->p;
    const struct topic *in = &p->topics[s->from[s->emit]];
    struct topic *t = &p->topics[topic];
    struct topic_more *more = &l->topics[topic];
    const char *key = l->topics[s->from[s->emit]].key;
    bool declared = t->time != NULL;

    t->lateness_ms = in->lateness_ms;
    if (t->schema_name == NULL)
        derive(l, topic, passes, made, n_made);
    else if (!more->broken)
        check_declared(l, topic, s->name, passes, made, n_made);
    if (more->broken)
        return;
    check_lineage(l, t->schema);
    if (strcmp(s->worker, "score") == 0)
        check_in_place(l, s, topic);
    if (!declared) {
        t->time = s->tumbling ? TUMBLING_TIME : in->time;
        for (size_t i = 0; i < t->schema->n; i++)
            declared = declared || (t->time && strcmp(t->schema->fields[i].name, t->time) == 0);
        if (!declared && t->time) {
            fault(l, path_key(l, more->path, "schema"),
                  "expected the field '%s', the event time as in '%s', got none of that name",
                  t->time, in->name);
            t->time = NULL;
        }
    }
    t->replaces_ms = replaces_ms(l, s, t);
    /* a key that goes through is known by its field only where that field is still there */
    for (size_t i = 0; key && i < t->schema->n; i++)
        if (strcmp(t->schema->fields[i].name, key) == 0)
            more->key = arena_strdup(l->arena, key);
    check_row(l, topic);
}

/* More than one row's names for one thing would hide each other. */
static void check_made(struct loader *l, const struct stage_more *more, const struct schema *input, const struct made *made,
                       size_t n_made)
{
    for (size_t i = 0; i < n_made; i++) {
        if (is_lineage(made[i].name))
            fault(l, more->path, "expected another name than 'lineage' for what the stage makes");
        for (size_t j = 0; j < input->n; j++)
            if (!is_lineage(made[i].name) && strcmp(input->fields[j].name, made[i].name) == 0)
                fault(l, more->path, "expected an input without the field '%s', for the stage makes one of that name",
                      made[i].name);
    }
}

void resolve_outputs(struct loader *l, size_t stage, const struct made *made, size_t n_made)
{
    struct pipeline *p = l->p;
    struct stage_def *s = &p->stages[stage];
    static const struct schema nothing = {.type = SCHEMA_RECORD}; /* of an event's fields nothing is left in a window's row */
    const struct schema *passes = s->tumbling ? &nothing : p->topics[s->from[s->emit]].schema;

    if (strcmp(s->worker, "preprocess") != 0)
        check_made(l, &l->stages[stage], passes, made, n_made);
    for (size_t k = 0; k < s->n_to; k++)
        if (p->topics[s->to[k]].writer == (int)stage)
            resolve_output(l, s, (size_t)s->to[k], passes, made, n_made);
}
