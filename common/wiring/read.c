#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wiring/load.h"

#define GOT_CHARS 48

void fault(struct loader *l, const char *path, const char *fmt, ...)
{
    va_list ap;
    char *text;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    text = arena_alloc(l->arena, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    bytes_printf(l->faults, "%s: %s: %s\n", l->file, path, text);
}

/* A value for a message: short, on one line. */
static const char *got(struct loader *l, const json_t *value)
{
    char *dump, *text;

    if (value == NULL)
        return "nothing";
    if (json_is_object(value))
        return json_object_size(value) == 0 ? "{}" : "an object";
    if (json_is_array(value))
        return json_array_size(value) == 0 ? "[]" : "a list";
    if (json_is_real(value))
        return scalar_text(l, value);
    dump = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    if (dump == NULL)
        return "something unreadable";
    text = arena_printf(l->arena, "%.*s%s", GOT_CHARS, dump, strlen(dump) > GOT_CHARS ? "..." : "");
    free(dump);
    return text;
}

void fault_got(struct loader *l, const char *path, const char *what, const json_t *value)
{
    fault(l, path, "expected %s, got %s", what, got(l, value));
}

const char *hint(struct loader *l, const char *name, const char *const *candidates, size_t n)
{
    const char *near = nearest_name(name, candidates, n);
    const char *list = "; there is";

    if (near)
        return arena_printf(l->arena, "; did you mean '%s'?", near);
    if (n == 0 || n > 16)
        return "";
    for (size_t i = 0; i < n; i++)
        list = arena_printf(l->arena, "%s%s '%s'", list, i ? "," : "", candidates[i]);
    return list;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *hint_schema(struct loader *l, const char *name)
{
    const char *names[SCHEMAS_MAX];
    DIR *dir = opendir(l->schemas);
    struct dirent *e;
    size_t n = 0;

    if (dir == NULL)
        return "";
    while (n < SCHEMAS_MAX && (e = readdir(dir)) != NULL) {
        size_t n_name = strlen(e->d_name);

        if (n_name > 5 && strcmp(e->d_name + n_name - 5, ".avsc") == 0)
            names[n++] = arena_printf(l->arena, "%.*s", (int)(n_name - 5), e->d_name);
    }
    closedir(dir);
    qsort(names, n, sizeof(*names), by_name); /* a folder's order is chance */
    return hint(l, name, names, n);
}

const char *path_key(struct loader *l, const char *path, const char *key)
{
    char *dump, *text;
    json_t *name;

    if (identifier_ok(key) || name_ok(key))
        return arena_printf(l->arena, "%s.%s", path, key);
    name = json_string(key);
    dump = name ? json_dumps(name, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
    text = arena_printf(l->arena, "%s[%.*s]", path, 2 * GOT_CHARS, dump ? dump : "?");
    free(dump);
    json_decref(name);
    return text;
}

const char *path_index(struct loader *l, const char *path, size_t i)
{
    return arena_printf(l->arena, "%s[%zu]", path, i);
}

bool name_ok(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > 60 || !islower((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
            return false;
    return true;
}

bool identifier_ok(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > 100 || isdigit((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_')
            return false;
    return true;
}

bool column_ok(const char *name)
{
    return identifier_ok(name) && !expr_is_word(name);
}

static const struct {
    const char *unit;
    size_t bytes;
} sizes[] = {{"KiB", (size_t)1 << 10}, {"MiB", (size_t)1 << 20}, {"GiB", (size_t)1 << 30}};

bool size_parse(const char *text, size_t *ret_bytes)
{
    size_t n = strspn(text, "0123456789");

    if (n == 0 || n > 9 || (text[0] == '0' && n > 1))
        return false;
    for (size_t u = 0; u < ARRAY_LEN(sizes); u++)
        if (strcmp(text + n, sizes[u].unit) == 0) {
            *ret_bytes = strtoul(text, NULL, 10) * sizes[u].bytes;
            return true;
        }
    return false;
}

bool duration_parse(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t value = 0;
    size_t i = 0;

    for (; isdigit((unsigned char)text[i]); i++) {
        if (i == 12) /* 10^12 days still fit into 63 bits of ms... but not into any use */
            return false;
        value = value * 10 + (text[i] - '0');
    }
    if (i == 0 || (text[0] == '0' && i > 1))
        return false;
    for (size_t u = 0; u < ARRAY_LEN(units); u++) {
        if (strcmp(text + i, units[u].unit) != 0)
            continue;
        if (value > INT64_MAX / units[u].ms)
            return false;
        *ret_ms = value * units[u].ms;
        return true;
    }
    return false;
}

const char *scalar_text(struct loader *l, const json_t *value)
{
    double x;

    if (json_is_string(value))
        return arena_strdup(l->arena, json_string_value(value));
    if (json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    if (json_is_integer(value))
        return arena_printf(l->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (!json_is_real(value))
        return NULL;
    x = json_real_value(value);
    for (int digits = 1;; digits++) {
        char *text = arena_printf(l->arena, "%.*g", digits, x);

        if (digits == 17 || strtod(text, NULL) == x)
            return text;
    }
}

const char *read_string(struct loader *l, struct at at, const char *key, bool required)
{
    const json_t *value = json_object_get(at.obj, key);

    if (value == NULL && !required)
        return NULL;
    if (!json_is_string(value) || json_string_length(value) == 0) {
        fault_got(l, path_key(l, at.path, key), "a text", value);
        return NULL;
    }
    return arena_strdup(l->arena, json_string_value(value));
}

int64_t read_int(struct loader *l, struct at at, const char *key, int64_t deflt, int64_t min, int64_t max)
{
    const json_t *value = json_object_get(at.obj, key);
    int64_t x;

    if (value == NULL)
        return deflt;
    x = json_is_integer(value) ? json_integer_value(value) : min - 1;
    if (x >= min && x <= max)
        return x;
    fault_got(l, path_key(l, at.path, key),
              arena_printf(l->arena, "a whole number from %lld to %lld", (long long)min, (long long)max), value);
    return deflt;
}

double read_number(struct loader *l, struct at at, const char *key, double deflt)
{
    const json_t *value = json_object_get(at.obj, key);

    if (value == NULL)
        return deflt;
    if (json_is_number(value))
        return json_number_value(value);
    fault_got(l, path_key(l, at.path, key), "a number", value);
    return deflt;
}

bool read_bool(struct loader *l, struct at at, const char *key)
{
    const json_t *value = json_object_get(at.obj, key);

    if (value && !json_is_boolean(value))
        fault_got(l, path_key(l, at.path, key), "true or false", value);
    return json_is_true(value);
}

const char *duration_text(struct loader *l, int64_t ms)
{
    return ms % 86400000 == 0 && ms ? arena_printf(l->arena, "%lldd", (long long)(ms / 86400000))
           : ms % 3600000 == 0 && ms ? arena_printf(l->arena, "%lldh", (long long)(ms / 3600000))
           : ms % 1000 == 0 && ms    ? arena_printf(l->arena, "%llds", (long long)(ms / 1000))
                                     : arena_printf(l->arena, "%lldms", (long long)ms);
}

int64_t read_duration(struct loader *l, struct at at, const char *key, int64_t deflt, int64_t min, int64_t max)
{
    const json_t *value = json_object_get(at.obj, key);
    const char *path = path_key(l, at.path, key);
    int64_t ms;

    if (value == NULL && deflt >= 0)
        return deflt;
    if (!json_is_string(value) || !duration_parse(json_string_value(value), &ms)) {
        fault_got(l, path, "a duration such as \"7d\", \"12h\", \"10m\", \"30s\" or \"250ms\"", value);
    } else if (ms < min || ms > max) {
        fault_got(l, path,
                  arena_printf(l->arena, "a duration from %s to %s", duration_text(l, min), duration_text(l, max)), value);
    } else {
        return ms;
    }
    return deflt >= 0 ? deflt : min;
}

bool read_zone(struct loader *l, struct at at, int64_t every_ms, const char **ret_zone)
{
    const struct zone *zone;
    struct error err;

    *ret_zone = read_string(l, at, "zone", /* required= */ false);
    if (*ret_zone && zone_load(*ret_zone, l->arena, &zone, &err) != OK)
        fault(l, path_key(l, at.path, "zone"), "expected a time zone, got: %s", err.text);
    else if (*ret_zone && every_ms % DAY_MS != 0)
        fault_got(l, path_key(l, at.path, "every"), "whole days beside \"zone\"", json_object_get(at.obj, "every"));
    else
        return true;
    return false;
}

static const char *size_text(struct loader *l, size_t bytes)
{
    size_t u = ARRAY_LEN(sizes) - 1;

    while (u > 0 && bytes % sizes[u].bytes != 0)
        u--;
    return arena_printf(l->arena, "%zu%s", bytes / sizes[u].bytes, sizes[u].unit);
}

size_t read_size(struct loader *l, struct at at, const char *key, size_t deflt, size_t min, size_t max)
{
    const json_t *value = json_object_get(at.obj, key);
    const char *path = path_key(l, at.path, key);
    size_t bytes;

    if (value == NULL)
        return deflt;
    if (!json_is_string(value) || !size_parse(json_string_value(value), &bytes))
        fault_got(l, path, "a size such as \"512MiB\" or \"2GiB\"", value);
    else if (bytes < min || bytes > max)
        fault_got(l, path, arena_printf(l->arena, "a size from %s to %s", size_text(l, min), size_text(l, max)), value);
    else
        return bytes;
    return deflt;
}

bool read_names(struct loader *l, struct at at, const char *key, bool required, const char ***ret_names, size_t *ret_n)
{
    const json_t *value = json_object_get(at.obj, key);
    const char *path = path_key(l, at.path, key);
    const char **names;
    size_t n = 0;

    if (value == NULL && !required)
        return false;
    if (!json_is_string(value) && json_array_size(value) == 0) {
        fault_got(l, path, "a name or a list of names", value);
        return false;
    }
    names = arena_alloc(l->arena, (json_array_size(value) + 1) * sizeof(*names));
    for (size_t i = 0; i < json_array_size(value) || (i == 0 && json_is_string(value)); i++) {
        const json_t *item = json_is_string(value) ? value : json_array_get(value, i);
        bool again = false;

        if (!json_is_string(item)) {
            fault_got(l, path_index(l, path, i), "a name", item);
            continue;
        }
        for (size_t j = 0; j < n; j++)
            again = again || strcmp(names[j], json_string_value(item)) == 0;
        if (again)
            fault(l, path_index(l, path, i), "expected each name once, got '%s' again", json_string_value(item));
        else
            names[n++] = arena_strdup(l->arena, json_string_value(item));
    }
    *ret_names = names;
    *ret_n = n;
    return n > 0;
}

const json_t *read_object(struct loader *l, struct at at, const char *key)
{
    const json_t *value = json_object_get(at.obj, key);

    if (json_is_object(value) && json_object_size(value) > 0)
        return value;
    fault_got(l, path_key(l, at.path, key), "an object with at least one entry", value);
    return NULL;
}

const json_t *read_list(struct loader *l, struct at at, const char *key)
{
    const json_t *value = json_object_get(at.obj, key);

    if (json_is_array(value) && json_array_size(value) > 0)
        return value;
    fault_got(l, path_key(l, at.path, key), "a list with at least one entry", value);
    return NULL;
}
