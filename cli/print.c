/* Decoded records as text: field: value, lists and nested records indented, lineage on one line, nulls left out. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static void put_scalar(const json_t *v, struct bytes *out)
{
    char *text;

    if (json_is_string(v)) {
        bytes_printf(out, "%s", json_string_value(v));
        return;
    }
    if (json_is_real(v)) {
        bytes_printf(out, "%.6g", json_real_value(v));
        return;
    }
    text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    bytes_printf(out, "%s", text == NULL ? "?" : text);
    free(text);
}

static bool is_scalar(const json_t *v)
{
    return !json_is_object(v) && !json_is_array(v);
}

/* "from topic/partition/offset, model name/version" */
static void put_lineage(const json_t *lineage, struct bytes *out)
{
    const json_t *source = json_object_get(lineage, "source"), *model = json_object_get(lineage, "model");

    bytes_printf(out, "from %s/%" PRId64 "/%" PRId64, json_string_value(json_object_get(source, "topic")),
                 (int64_t)json_integer_value(json_object_get(source, "partition")),
                 (int64_t)json_integer_value(json_object_get(source, "offset")));
    if (json_is_object(model))
        bytes_printf(out, ", model %s/%" PRId64, json_string_value(json_object_get(model, "name")),
                     (int64_t)json_integer_value(json_object_get(model, "version")));
    bytes_printf(out, "\n");
}

/* An item of a list: its scalars on one line. */
static void put_item(const json_t *v, struct bytes *out)
{
    void *it;

    if (is_scalar(v)) {
        put_scalar(v, out);
        return;
    }
    for (it = json_object_iter((json_t *)(uintptr_t)v); it != NULL;
         it = json_object_iter_next((json_t *)(uintptr_t)v, it)) {
        const json_t *field = json_object_iter_value(it);

        bytes_printf(out, "%s=", json_object_iter_key(it));
        put_scalar(field, out);
        bytes_printf(out, "  ");
    }
}

void print_record(const json_t *record, struct bytes *out)
{
    json_t *r = (json_t *)(uintptr_t)record; /* jansson's iterators take no const */

    for (void *it = json_object_iter(r); it != NULL; it = json_object_iter_next(r, it)) {
        const char *name = json_object_iter_key(it);
        const json_t *v = json_object_iter_value(it);

        if (json_is_null(v))
            continue;
        if (json_is_object(v) && json_is_object(json_object_get(v, "source"))) {
            put_lineage(v, out);
            continue;
        }
        bytes_printf(out, "%s: ", name);
        if (is_scalar(v))
            put_scalar(v, out);
        else if (json_is_object(v))
            put_item(v, out);
        for (size_t i = 0; i < json_array_size(v); i++) {
            bytes_printf(out, "\n    ");
            put_item(json_array_get(v, i), out);
        }
        bytes_printf(out, "\n");
    }
}

static const json_t *at_path(const json_t *v, const char *path, size_t n)
{
    while (n > 0 && v != NULL) {
        size_t m = 0;
        char name[128];

        while (m < n && path[m] != '.')
            m++;
        snprintf(name, sizeof(name), "%.*s", (int)m, path);
        v = json_object_get(v, name);
        path += m < n ? m + 1 : m;
        n -= m < n ? m + 1 : m;
    }
    return v;
}

void print_template(const char *template, const json_t *record, const char *topic, const struct reader_msg *m,
                    struct bytes *out)
{
    for (const char *c = template; *c != '\0'; c++) {
        const char *end;

        if (*c == '\\' && c[1] != '\0') {
            c++;
            bytes_printf(out, "%c", *c == 'n' ? '\n' : *c == 't' ? '\t' : *c);
        } else if (c[0] == '%' && c[1] == '{' && (end = strchr(c, '}')) != NULL) {
            const json_t *v = at_path(record, c + 2, (size_t)(end - c - 2));

            if (v != NULL)
                put_scalar(v, out);
            c = end;
        } else if (c[0] == '%' && c[1] != '\0') {
            c++;
            if (*c == 't')
                bytes_printf(out, "%s", topic);
            else if (*c == 'p')
                bytes_printf(out, "%d", m->partition);
            else if (*c == 'o')
                bytes_printf(out, "%" PRId64, m->offset);
            else if (*c == 'k')
                bytes_append(out, m->key.data == NULL ? (const uint8_t *)"" : m->key.data, m->key.n);
            else
                bytes_printf(out, "%c", *c);
        } else
            bytes_append(out, c, 1);
    }
}
