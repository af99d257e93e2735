#include "wire/schema.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/schema_doc.h"

static const char *const type_names[] = {"null",   "boolean", "int",  "long",  "float", "double", "bytes",
                                         "string", "record",  "enum", "fixed", "array", "map",    "union"};

#define N_PRIMITIVE (SCHEMA_STRING + 1)

/* How deep a type is and how many fields, branches and symbols it has, each use counted. */
struct extent {
    size_t depth;
    size_t n_parts;
};

struct named {
    const struct schema *schema;
    struct extent extent;
    bool open; /* its definition is not yet at its end: a use now is a recursion */
};

struct parser {
    struct schema_doc *doc;
    schema_lookup_fn *lookup;
    void *ctx;
    struct error *err;
    struct named *named;
    size_t n_named;
    size_t n_lookups;
    char path[512];
    size_t path_n;
};

/* Where a type stands, so that a looked-up definition can take the place of its name. */
struct slot {
    json_t *in; /* object or array; NULL: the root */
    const char *key;
    size_t i;
};

static const struct schema *parse_type(struct parser *p, json_t *j, struct slot slot, const char *space,
                                       size_t depth, struct extent *ret);

PRINTF(2, 3)
static size_t path_push(struct parser *p, const char *fmt, ...)
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

static void path_pop(struct parser *p, size_t before)
{
    p->path_n = before;
    p->path[before] = '\0';
}

PRINTF(2, 3)
static void *refuse(struct parser *p, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(p->err, ERR_FATAL, "%s: %s", p->path_n != 0 ? p->path : "schema", text);
    return NULL;
}

static struct schema *node_new(struct parser *p, enum schema_type type, const json_t *props)
{
    struct schema *s = arena_zalloc(&p->doc->arena, sizeof(*s));
    const char *logical = json_string_value(json_object_get(props, "logicalType"));

    s->type = type;
    s->props = props;
    s->logical = logical ? arena_strdup(&p->doc->arena, logical) : NULL;
    return s;
}

static bool is_name(const char *s, size_t n)
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
        if (!is_name(s, (size_t)(dot - s)))
            return false;
    return is_name(s, strlen(s));
}

/* "a.b.C" from C and a.b; a name with dots stands for itself. */
static const char *full_name(struct parser *p, const char *name, const char *space)
{
    if (strchr(name, '.') != NULL || space[0] == '\0')
        return arena_strdup(&p->doc->arena, name);
    return arena_printf(&p->doc->arena, "%s.%s", space, name);
}

static const char *space_of(struct parser *p, const char *full)
{
    const char *dot = strrchr(full, '.');

    return dot ? arena_printf(&p->doc->arena, "%.*s", (int)(dot - full), full) : "";
}

static struct named *find_named(struct parser *p, const char *full)
{
    for (size_t i = 0; i < p->n_named; i++)
        if (strcmp(p->named[i].schema->name, full) == 0)
            return &p->named[i];
    return NULL;
}

/* Gives the node its full name and enters it as open; its index, or -1. */
static long open_named(struct parser *p, struct schema *s, const char *space)
{
    const json_t *name = json_object_get(s->props, "name");
    const json_t *own_space = json_object_get(s->props, "namespace");

    if (!json_is_string(name))
        return refuse(p, "a %s without a name", type_names[s->type]), -1;
    if (own_space != NULL && !json_is_string(own_space))
        return refuse(p, "namespace: expected text"), -1;
    s->name = full_name(p, json_string_value(name), own_space ? json_string_value(own_space) : space);
    if (!is_full_name(s->name))
        return refuse(p, "name '%.100s': expected letters, digits and _, not first a digit", s->name), -1;
    for (int i = 0; i < N_PRIMITIVE; i++)
        if (strcmp(s->name, type_names[i]) == 0)
            return refuse(p, "name '%s' is that of a primitive type", s->name), -1;
    if (find_named(p, s->name) != NULL)
        return refuse(p, "type '%s' is defined twice", s->name), -1;
    p->named = xrealloc(p->named, (p->n_named + 1) * sizeof(*p->named));
    p->named[p->n_named] = (struct named){.schema = s, .open = true};
    return (long)p->n_named++;
}

static bool add_part(struct parser *p, struct extent *sum, const struct extent *part)
{
    if (part->depth + 1 > sum->depth)
        sum->depth = part->depth + 1;
    sum->n_parts += part->n_parts + 1;
    if (sum->n_parts > SCHEMA_PARTS_MAX)
        return refuse(p, "more than %d fields, branches and symbols", SCHEMA_PARTS_MAX) != NULL;
    return true;
}

static bool check_default(struct parser *p, const struct schema_field *f)
{
    struct bytes encoded = BYTES_EMPTY;
    struct error why;
    enum status st = schema_encode_default(f->type, f->deflt, &encoded, &why);

    bytes_done(&encoded);
    if (st != OK)
        return refuse(p, "default of field '%s': %s", f->name, why.text) != NULL;
    return true;
}

static bool parse_field(struct parser *p, json_t *j, struct schema_field *f, const char *space, size_t depth,
                        struct extent *sum)
{
    const char *name = json_string_value(json_object_get(j, "name"));
    json_t *type = json_object_get(j, "type");
    struct extent part;
    size_t before;

    if (!json_is_object(j) || name == NULL)
        return refuse(p, "expected an object with a name and a type") != NULL;
    if (!is_name(name, strlen(name)))
        return refuse(p, "field name '%.100s': expected letters, digits and _, not first a digit", name) != NULL;
    if (type == NULL)
        return refuse(p, "field '%s' has no type", name) != NULL;
    before = path_push(p, ".type");
    f->type = parse_type(p, type, (struct slot){.in = j, .key = "type"}, space, depth + 1, &part);
    if (f->type == NULL)
        return false;
    path_pop(p, before);
    f->name = arena_strdup(&p->doc->arena, name);
    f->deflt = json_object_get(j, "default");
    f->props = j;
    return add_part(p, sum, &part) && (f->deflt == NULL || check_default(p, f));
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The name that stands twice in a list, or NULL. */
static const char *twice(struct parser *p, const char **names, size_t n)
{
    const char **sorted = arena_copy(&p->doc->arena, names, n * sizeof(*names));

    if (n != 0)
        qsort(sorted, n, sizeof(*sorted), compare_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return sorted[i];
    return NULL;
}

static const struct schema *parse_record(struct parser *p, json_t *j, const char *space, size_t depth,
                                         struct extent *ret)
{
    struct schema *s = node_new(p, SCHEMA_RECORD, j);
    json_t *fields = json_object_get(j, "fields");
    long at = open_named(p, s, space);
    const char **names;
    const char *name;

    if (at < 0)
        return NULL;
    if (!json_is_array(fields))
        return refuse(p, "record '%s' without a list of fields", s->name);
    s->n = json_array_size(fields);
    if (s->n > SCHEMA_PARTS_MAX)
        return refuse(p, "%zu fields; at most %d", s->n, SCHEMA_PARTS_MAX);
    s->fields = arena_zalloc(&p->doc->arena, s->n * sizeof(*s->fields));
    names = arena_alloc(&p->doc->arena, s->n * sizeof(*names));
    space = space_of(p, s->name);
    for (size_t i = 0; i < s->n; i++) {
        size_t before = path_push(p, "%sfields[%zu]", p->path_n != 0 ? "." : "", i);

        if (!parse_field(p, json_array_get(fields, i), &s->fields[i], space, depth, ret))
            return NULL;
        path_pop(p, before);
        names[i] = s->fields[i].name;
    }
    name = twice(p, names, s->n);
    if (name != NULL)
        return refuse(p, "record '%s' has two fields '%s'", s->name, name);
    p->named[at].open = false;
    p->named[at].extent = *ret;
    return s;
}

static const struct schema *parse_enum(struct parser *p, json_t *j, const char *space, struct extent *ret)
{
    struct schema *s = node_new(p, SCHEMA_ENUM, j);
    json_t *symbols = json_object_get(j, "symbols");
    long at = open_named(p, s, space);
    const char *name;

    if (at < 0)
        return NULL;
    s->n = json_array_size(symbols);
    if (s->n < 1 || s->n > SCHEMA_PARTS_MAX)
        return refuse(p, "enum '%s': expected 1 to %d symbols, got %zu", s->name, SCHEMA_PARTS_MAX, s->n);
    s->symbols = arena_alloc(&p->doc->arena, s->n * sizeof(*s->symbols));
    for (size_t i = 0; i < s->n; i++) {
        const char *symbol = json_string_value(json_array_get(symbols, i));

        if (symbol == NULL || !is_name(symbol, strlen(symbol)))
            return refuse(p, "symbols[%zu]: expected letters, digits and _, not first a digit", i);
        s->symbols[i] = arena_strdup(&p->doc->arena, symbol);
        if (!add_part(p, ret, &(struct extent){0}))
            return NULL;
    }
    name = twice(p, s->symbols, s->n);
    if (name != NULL)
        return refuse(p, "enum '%s' has two symbols '%s'", s->name, name);
    p->named[at].open = false;
    p->named[at].extent = *ret;
    return s;
}

static const struct schema *parse_fixed(struct parser *p, json_t *j, const char *space, struct extent *ret)
{
    struct schema *s = node_new(p, SCHEMA_FIXED, j);
    const json_t *size = json_object_get(j, "size");
    json_int_t n = json_integer_value(size);
    long at = open_named(p, s, space);

    if (at < 0)
        return NULL;
    if (!json_is_integer(size) || n < 1 || n > (json_int_t)SCHEMA_FIXED_MAX)
        return refuse(p, "fixed '%s': expected a size of 1 to %zu bytes", s->name, SCHEMA_FIXED_MAX);
    s->fixed_bytes = (size_t)n;
    p->named[at].open = false;
    p->named[at].extent = *ret;
    return s;
}

static const struct schema *parse_items(struct parser *p, json_t *j, enum schema_type type, const char *space,
                                        size_t depth, struct extent *ret)
{
    const char *key = type == SCHEMA_ARRAY ? "items" : "values";
    struct schema *s = node_new(p, type, j);
    json_t *items = json_object_get(j, key);
    struct extent part;
    size_t before;

    if (items == NULL)
        return refuse(p, "%s without '%s'", type_names[type], key);
    before = path_push(p, "%s%s", p->path_n != 0 ? "." : "", key);
    s->items = parse_type(p, items, (struct slot){.in = j, .key = key}, space, depth + 1, &part);
    if (s->items == NULL)
        return NULL;
    path_pop(p, before);
    return add_part(p, ret, &part) ? s : NULL;
}

static bool same_branch(const struct schema *a, const struct schema *b)
{
    return a->type == b->type && (a->name == NULL || strcmp(a->name, b->name) == 0);
}

static const struct schema *parse_union(struct parser *p, json_t *j, const char *space, size_t depth,
                                        struct extent *ret)
{
    struct schema *s = node_new(p, SCHEMA_UNION, NULL);

    s->n = json_array_size(j);
    if (s->n < 1 || s->n > 1000)
        return refuse(p, "a union of %zu branches; expected 1 to 1000", s->n);
    s->branches = arena_zalloc(&p->doc->arena, s->n * sizeof(*s->branches));
    for (size_t i = 0; i < s->n; i++) {
        size_t before = path_push(p, "[%zu]", i);
        struct extent part;

        s->branches[i] = parse_type(p, json_array_get(j, i), (struct slot){.in = j, .i = i}, space, depth + 1,
                                    &part);
        if (s->branches[i] == NULL || !add_part(p, ret, &part))
            return NULL;
        if (s->branches[i]->type == SCHEMA_UNION)
            return refuse(p, "a union directly in a union");
        for (size_t k = 0; k < i; k++)
            if (same_branch(s->branches[k], s->branches[i]))
                return refuse(p, "two branches of type %s", schema_type_name(s->branches[i]));
        path_pop(p, before);
    }
    return s;
}

static void put_in_slot(struct parser *p, struct slot slot, json_t *take)
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
static const struct schema *parse_looked_up(struct parser *p, const char *text, const char *name, struct slot slot,
                                            const char *space, size_t depth, struct extent *ret)
{
    struct error why;
    json_t *j;
    const struct schema *s;

    if (++p->n_lookups > 1000)
        return refuse(p, "more than 1000 types from elsewhere");
    if (json_read(view_str(text), &j, &why) != OK)
        return refuse(p, "type '%s': %s", name, why.text);
    /* Where it stood alone its namespace was none; here it would take that of its surroundings. */
    if (space[0] != '\0' && json_is_object(j) && json_object_get(j, "namespace") == NULL)
        json_object_set_new(j, "namespace", json_string(""));
    put_in_slot(p, slot, j);
    s = parse_type(p, j, slot, "", depth, ret);
    if (s != NULL && (s->name == NULL || strcmp(s->name, name) != 0))
        return refuse(p, "type '%s' was looked up and defines %s", name, schema_type_name(s));
    return s;
}

static const struct schema *parse_name(struct parser *p, const char *name, const json_t *props, struct slot slot,
                                       const char *space, size_t depth, struct extent *ret)
{
    const char *full;
    const char *text;
    const struct named *n;

    for (int i = 0; i < N_PRIMITIVE; i++)
        if (strcmp(name, type_names[i]) == 0)
            return node_new(p, (enum schema_type)i, props);
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
            return refuse(p, "unknown type '%.100s'", name);
    }
    if (n->open)
        return refuse(p, "type '%s' contains itself; recursive schemas are not supported", full);
    *ret = n->extent;
    if (depth + ret->depth > SCHEMA_DEPTH_MAX)
        return refuse(p, "nested deeper than %d", SCHEMA_DEPTH_MAX);
    return n->schema;
}

static const struct schema *parse_object(struct parser *p, json_t *j, const char *space, size_t depth,
                                         struct extent *ret)
{
    json_t *type = json_object_get(j, "type");
    const char *name = json_string_value(type);

    if (type == NULL)
        return refuse(p, "an object without 'type'");
    if (name == NULL)
        return parse_type(p, type, (struct slot){.in = j, .key = "type"}, space, depth + 1, ret);
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0)
        return parse_record(p, j, space, depth, ret);
    if (strcmp(name, "enum") == 0)
        return parse_enum(p, j, space, ret);
    if (strcmp(name, "fixed") == 0)
        return parse_fixed(p, j, space, ret);
    if (strcmp(name, "array") == 0)
        return parse_items(p, j, SCHEMA_ARRAY, space, depth, ret);
    if (strcmp(name, "map") == 0)
        return parse_items(p, j, SCHEMA_MAP, space, depth, ret);
    return parse_name(p, name, j, (struct slot){.in = j, .key = "type"}, space, depth, ret);
}

static const struct schema *parse_type(struct parser *p, json_t *j, struct slot slot, const char *space,
                                       size_t depth, struct extent *ret)
{
    *ret = (struct extent){0};
    if (depth > SCHEMA_DEPTH_MAX)
        return refuse(p, "nested deeper than %d", SCHEMA_DEPTH_MAX);
    if (json_is_string(j))
        return parse_name(p, json_string_value(j), NULL, slot, space, depth, ret);
    if (json_is_object(j))
        return parse_object(p, j, space, depth, ret);
    if (json_is_array(j))
        return parse_union(p, j, space, depth, ret);
    return refuse(p, "expected a type: a name, an object or a list of branches");
}

static void doc_free(struct schema_doc *doc)
{
    json_decref(doc->json);
    free(doc->text);
    bytes_done(&doc->canonical);
    arena_done(&doc->arena);
    free(doc);
}

enum status schema_parse(struct view text, schema_lookup_fn *lookup, void *ctx, struct schema **ret_schema,
                         struct error *err)
{
    struct schema_doc *doc = xcalloc(1, sizeof(*doc));
    struct parser p = {.doc = doc, .lookup = lookup, .ctx = ctx, .err = err};
    const struct schema *root;
    struct extent extent;

    if (json_read(text, &doc->json, err) != OK) {
        doc_free(doc);
        return err_wrap(err, "schema");
    }
    root = parse_type(&p, doc->json, (struct slot){0}, "", 1, &extent);
    free(p.named);
    if (root == NULL) {
        doc_free(doc);
        return err->status;
    }
    doc->root = *root;
    doc->text = json_dumps(doc->json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (doc->text == NULL || strlen(doc->text) > JSON_BYTES_MAX) {
        doc_free(doc);
        return err_set(err, ERR_FATAL, "schema: with the types from elsewhere more than %zu bytes", JSON_BYTES_MAX);
    }
    schema_write_canonical(&doc->root, &doc->canonical);
    doc->fingerprint = schema_crc64(doc->canonical.data, doc->canonical.n - 1);
    schema_make_wants(doc);
    *ret_schema = &doc->root;
    return OK;
}

void schema_free(struct schema *s)
{
    if (s != NULL)
        doc_free((struct schema_doc *)s);
}
