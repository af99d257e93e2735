#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/difference.h"
#include "wire/text.h"

#define VALUE_CHARS_MAX 200

struct compared {
    const struct topic *topic;  /* of records */
    const struct pipeline *p;   /* of dead letters */
    double within;
    struct bytes *out;
    size_t n;
};

/* In as few digits as it takes: 0.1, not 0.10000000000000001. */
static char *number_text(const json_t *v)
{
    char *text = NULL;

    for (size_t digits = 15; digits <= 17; digits++) {
        free(text);
        text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (text == NULL || strtod(text, NULL) == json_real_value(v))
            break;
    }
    return text;
}

static void put_value(struct bytes *out, const json_t *v)
{
    char *text = json_is_real(v) ? number_text(v) : json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

    if (v == NULL)
        bytes_printf(out, "nothing");
    else
        bytes_printf(out, "%.*s%s", VALUE_CHARS_MAX, text ? text : "?",
                     text && strlen(text) > VALUE_CHARS_MAX ? "..." : "");
    free(text);
}

static bool time_of(const json_t *v, int64_t *ret_ms)
{
    if (json_is_integer(v))
        *ret_ms = json_integer_value(v);
    return json_is_integer(v) || (json_is_string(v) && text_parse_time(view_str(json_string_value(v)), ret_ms));
}

static bool same_scalar(const struct schema *s, const json_t *want, const json_t *got, double within)
{
    double a = json_number_value(want), b = json_number_value(got);
    int64_t want_ms, got_ms;

    if (s->type == SCHEMA_LONG && s->logical && strstr(s->logical, "timestamp-"))
        return time_of(want, &want_ms) && time_of(got, &got_ms) ? want_ms == got_ms : json_equal(want, got);
    if (json_is_integer(want) && json_is_integer(got))
        return json_integer_value(want) == json_integer_value(got) || (within > 0 && fabs(a - b) <= within);
    if (json_is_number(want) && json_is_number(got))
        return a == b || fabs(a - b) <= within;
    return json_equal(want, got);
}

static void differs(struct compared *c, const char *path, const json_t *want, const json_t *got)
{
    bytes_printf(c->out, "    %s: expected ", path);
    put_value(c->out, want);
    bytes_printf(c->out, ", got ");
    put_value(c->out, got);
    bytes_printf(c->out, "\n");
    c->n++;
}

static void compare(struct compared *c, const char *path, const struct schema *schema, const json_t *want,
                    const json_t *got)
{
    const struct schema *s = schema_unwrap(schema);
    bool object = json_is_object(want) && json_is_object(got) && (s->type == SCHEMA_RECORD || s->type == SCHEMA_MAP);
    bool list = json_is_array(want) && json_is_array(got) && s->type == SCHEMA_ARRAY;
    char below[512];
    const char *key;
    json_t *item;

    if (!object && !list) {
        if (!same_scalar(s, want, got, c->within))
            differs(c, path, want, got);
        return;
    }
    if (list && json_array_size(want) != json_array_size(got)) {
        differs(c, path, want, got);
        return;
    }
    for (size_t i = 0; list && i < json_array_size(want); i++) {
        snprintf(below, sizeof(below), "%s[%zu]", path, i);
        compare(c, below, s->items, json_array_get(want, i), json_array_get(got, i));
    }
    json_object_foreach((json_t *)(uintptr_t)want, key, item) {
        const struct schema_field *f = s->type == SCHEMA_RECORD ? schema_field(s, key) : NULL;

        snprintf(below, sizeof(below), "%s.%s", path, key);
        compare(c, below, f ? f->type : s->type == SCHEMA_MAP ? s->items : s, item, json_object_get(got, key));
    }
}

/* Without `lineage`, which is long: the record is to be found again, not reproduced. */
static void put_record(struct compared *c, const char *path, const char *what, const json_t *record)
{
    json_auto_t *shown = json_copy((json_t *)(uintptr_t)record);

    (void)json_object_del(shown, "lineage");
    bytes_printf(c->out, "    %s: %s ", path, what);
    put_value(c->out, shown);
    bytes_printf(c->out, "\n");
    c->n++;
}

static void compare_record(struct compared *c, const char *path, const json_t *want, const json_t *got)
{
    compare(c, path, c->topic->schema, want, got);
}

static void compare_dead_letter(struct compared *c, const char *path, const json_t *want, const json_t *got)
{
    const json_t *said = json_object_get(got, "reason"), *reason = json_object_get(want, "reason");
    const json_t *event = json_object_get(want, "event");
    const struct topic *t = pipeline_topic(c->p, json_string_value(json_object_get(got, "topic")));
    char below[512];
    size_t before = c->n;

    snprintf(below, sizeof(below), "%s.reason", path);
    if (strstr(json_string_value(said), json_string_value(reason)) == NULL)
        differs(c, below, reason, said);
    for (size_t i = 0; i < 2; i++) {
        const char *key = i ? "topic" : "stage";
        const json_t *value = json_object_get(want, key);

        snprintf(below, sizeof(below), "%s.%s", path, key);
        if (value && !json_equal(value, json_object_get(got, key)))
            differs(c, below, value, json_object_get(got, key));
    }
    snprintf(below, sizeof(below), "%s.event", path);
    if (event && c->n == before) /* so it is of the same topic */
        compare(c, below, t->schema, event, json_object_get(got, "event"));
}

typedef void compare_fn(struct compared *c, const char *path, const json_t *want, const json_t *got);

static size_t compare_lists(struct compared *c, const char *where, const char *what, const json_t *want,
                            const json_t *got, compare_fn *each)
{
    size_t n_want = json_array_size(want), n_got = json_array_size(got), n_least = n_want < n_got ? n_want : n_got;
    char path[300], text[80];

    for (size_t i = 0; i < n_want || i < n_got; i++) {
        snprintf(path, sizeof(path), "%s[%zu]", where, i);
        snprintf(text, sizeof(text), "%s only %zu %s%s, %s", i < n_want ? "got" : "expected", n_least, what,
                 n_least == 1 ? "" : "s", i < n_want ? "expected" : "got");
        if (i < n_want && i < n_got)
            each(c, path, json_array_get(want, i), json_array_get(got, i));
        else
            put_record(c, path, text, json_array_get(i < n_want ? want : got, i));
    }
    return c->n;
}

size_t difference_put_records(struct bytes *out, const struct topic *t, const json_t *want, const json_t *got,
                              double within)
{
    struct compared c = {.within = within, .out = out, .topic = t};

    return compare_lists(&c, t->name, "record", want, got, compare_record);
}

size_t difference_put_dead_letters(struct bytes *out, const struct pipeline *p, const json_t *want, const json_t *got,
                                   double within)
{
    struct compared c = {.within = within, .out = out, .p = p};

    return compare_lists(&c, "dead_letters", "dead letter", want, got, compare_dead_letter);
}
