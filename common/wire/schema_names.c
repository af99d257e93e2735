/* common/wire/schema_names.c: what a name in a schema stands for: a primitive type, one defined before it, or one from elsewhere. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/schema_parser.h"

static const char *const type_names[] = {"null",   "boolean", "int",  "long",  "float", "double", "bytes",
                                         "string", "record",  "enum", "fixed", "array", "map",    "union"};

#define N_PRIMITIVE (SCHEMA_STRING + 1)

PRINTF(2, 3)
size_t schema_path_push(struct schema_parser *p, const char *fmt, ...)
{
    size_t before = p->path_n;
    size_t room = sizeof(p->path) - before;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(p->path + before, room, fmt, ap);
    va_end(ap);
    p->path_n += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    return before;
}

void schema_path_pop(struct schema_parser *p, size_t before)
{
    p->path_n = before;
    p->path[before] = '\0';
}

PRINTF(2, 3)
void *schema_refuse(struct schema_parser *p, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(p->err, ERR_FATAL, "%s: %s", p->path_n != 0 ? p->path : "schema", text);
    return NULL;
}

struct schema *schema_node(struct schema_parser *p, enum schema_type type, const json_t *props)
{
    struct schema *s = arena_zalloc(&p->doc->arena, sizeof(*s));
    const char *logical = json_string_value(json_object_get(props, "logicalType"));

    s->type = type;
    s->props = props;
    s->logical = logical ? arena_strdup(&p->doc->arena, logical) : NULL;
    return s;
}

bool schema_is_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return n > 0 && n <= 200;
}

static bool is_full_name(const char *s)
{
    const char *dot;

    if (strlen(s) > 400)
        return false;
    for (; (dot = strchr(s, '.')) != NULL; s = dot + 1)
        if (!schema_is_name(s, (size_t)(dot - s)))
            return false;
    return schema_is_name(s, strlen(s));
}

/* "a.b.C" from C and a.b; a name with dots stands for itself. */
static const char *full_name(struct schema_parser *p, const char *name, const char *space)
{
    if (strchr(name, '.') != NULL || space[0] == '\0')
        return arena_strdup(&p->doc->arena, name);
    return arena_printf(&p->doc->arena, "%s.%s", space, name);
}

static struct schema_named *find_named(struct schema_parser *p, const char *full)
{
    for (size_t i = 0; i < p->n_named; i++)
        if (strcmp(p->named[i].schema->name, full) == 0)
            return &p->named[i];
    return NULL;
}

/* Gives the node its full name and enters it as open; its index, or -1. */
long schema_define(struct schema_parser *p, struct schema *s, const char *space)
{
    const json_t *name = json_object_get(s->props, "name");
    const json_t *own_space = json_object_get(s->props, "namespace");

    if (!json_is_string(name))
        return schema_refuse(p, "a %s without a name", type_names[s->type]), -1;
    if (own_space != NULL && !json_is_string(own_space))
        return schema_refuse(p, "namespace: expected text"), -1;
    s->name = full_name(p, json_string_value(name), own_space ? json_string_value(own_space) : space);
    if (!is_full_name(s->name))
        return schema_refuse(p, "name '%.100s': expected letters, digits and _, not first a digit", s->name), -1;
    for (int i = 0; i < N_PRIMITIVE; i++)
        if (strcmp(s->name, type_names[i]) == 0)
            return schema_refuse(p, "name '%s' is that of a primitive type", s->name), -1;
    if (find_named(p, s->name) != NULL)
        return schema_refuse(p, "type '%s' is defined twice", s->name), -1;
    p->named = xrealloc(p->named, (p->n_named + 1) * sizeof(*p->named));
    p->named[p->n_named] = (struct schema_named){.schema = s, .open = true};
    return (long)p->n_named++;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *schema_twice(struct schema_parser *p, const char **names, size_t n)
{
    const char **sorted = arena_copy(&p->doc->arena, names, n * sizeof(*names));

    if (n != 0)
        qsort(sorted, n, sizeof(*sorted), compare_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return sorted[i];
    return NULL;
}

static void put_in_slot(struct schema_parser *p, struct schema_slot slot, json_t *take)
{
    if (slot.in == NULL) {
        json_decref(p->doc->json);
        p->doc->json = take;
    } else if (slot.key != NULL) {
        json_object_set_new(slot.in, slot.key, take);
    } else {
        json_array_set_new(slot.in, slot.i, take);
    }
}

/* Reads the text of a type that is defined elsewhere and puts it where its name stood. */
static const struct schema *parse_looked_up(struct schema_parser *p, const char *text, const char *name, struct schema_slot slot,
                                            const char *space, size_t depth, struct schema_extent *ret)
{
    struct error why;
    json_t *j;
    const struct schema *s;

    if (++p->n_lookups > 1000)
        return schema_refuse(p, "more than 1000 types from elsewhere");
    if (json_read(view_str(text), &j, &why) != OK)
        return schema_refuse(p, "type '%s': %s", name, why.text);
    /* Where it stood alone its namespace was none; here it would take that of its surroundings. */
    if (space[0] != '\0' && json_is_object(j) && json_object_get(j, "namespace") == NULL)
        json_object_set_new(j, "namespace", json_string(""));
    put_in_slot(p, slot, j);
    s = schema_read_type(p, j, slot, "", depth, ret);
    if (s != NULL && (s->name == NULL || strcmp(s->name, name) != 0))
        return schema_refuse(p, "type '%s' was looked up and defines %s", name, schema_type_name(s));
    return s;
}

const struct schema *schema_read_name(struct schema_parser *p, const char *name, const json_t *props, struct schema_slot slot,
                                       const char *space, size_t depth, struct schema_extent *ret)
{
    const char *full;
    const char *text;
    const struct schema_named *n;

    for (int i = 0; i < N_PRIMITIVE; i++)
        if (strcmp(name, type_names[i]) == 0)
            return schema_node(p, (enum schema_type)i, props);
    full = full_name(p, name, space);
    n = find_named(p, full);
    if (n == NULL) {
        text = p->lookup ? p->lookup(p->ctx, full) : NULL;
        if (text == NULL && strcmp(full, name) != 0 && (n = find_named(p, name)) == NULL) {
            text = p->lookup ? p->lookup(p->ctx, name) : NULL;
            full = full_name(p, name, "");
        }
        if (text != NULL)
            return parse_looked_up(p, text, full, slot, space, depth, ret);
        if (n == NULL)
            return schema_refuse(p, "unknown type '%.100s'", name);
    }
    if (n->open)
        return schema_refuse(p, "type '%s' contains itself; recursive schemas are not supported", full);
    *ret = n->extent;
    if (depth + ret->depth > SCHEMA_DEPTH_MAX)
        return schema_refuse(p, "nested deeper than %d", SCHEMA_DEPTH_MAX);
    return n->schema;
}
