#include "wire/schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/schema_parser.h"

static const char *space_of(struct schema_parser *p, const char *full)
{
    const char *dot = strrchr(full, '.');

    return dot ? arena_printf(&p->doc->arena, "%.*s", (int)(dot - full), full) : "";
}

static bool add_part(struct schema_parser *p, struct schema_extent *sum, const struct schema_extent *part)
{
    if (part->depth + 1 > sum->depth)
        sum->depth = part->depth + 1;
    sum->n_parts += part->n_parts + 1;
    if (sum->n_parts > SCHEMA_PARTS_MAX)
        return schema_refuse(p, "more than %d fields, branches and symbols", SCHEMA_PARTS_MAX) != NULL;
    return true;
}

static bool check_default(struct schema_parser *p, const struct schema_field *f)
{
    struct bytes encoded = BYTES_EMPTY;
    struct error why;
    enum status st = schema_encode_default(f->type, f->deflt, &encoded, &why);

    bytes_done(&encoded);
    if (st != OK)
        return schema_refuse(p, "default of field '%s': %s", f->name, why.text) != NULL;
    return true;
}

static bool parse_field(struct schema_parser *p, json_t *j, struct schema_field *f, const char *space, size_t depth,
                        struct schema_extent *sum)
{
    const char *name = json_string_value(json_object_get(j, "name"));
    json_t *type = json_object_get(j, "type");
    struct schema_extent part;
    size_t before;

    if (!json_is_object(j) || name == NULL)
        return schema_refuse(p, "expected an object with a name and a type") != NULL;
    if (!schema_is_name(name, strlen(name)))
        return schema_refuse(p, "field name '%.100s': expected letters, digits and _, not first a digit", name) != NULL;
    if (type == NULL)
        return schema_refuse(p, "field '%s' has no type", name) != NULL;
    before = schema_path_push(p, ".type");
    f->type = schema_read_type(p, type, (struct schema_slot){.in = j, .key = "type"}, space, depth + 1, &part);
    if (f->type == NULL)
        return false;
    schema_path_pop(p, before);
    f->name = arena_strdup(&p->doc->arena, name);
    f->deflt = json_object_get(j, "default");
    f->props = j;
    return add_part(p, sum, &part) && (f->deflt == NULL || check_default(p, f));
}

static const struct schema *parse_record(struct schema_parser *p, json_t *j, const char *space, size_t depth,
                                         struct schema_extent *ret)
{
    struct schema *s = schema_node(p, SCHEMA_RECORD, j);
    json_t *fields = json_object_get(j, "fields");
    long at = schema_define(p, s, space);
    const char **names;
    const char *name;

    if (at < 0)
        return NULL;
    if (!json_is_array(fields))
        return schema_refuse(p, "record '%s' without a list of fields", s->name);
    s->n = json_array_size(fields);
    if (s->n > SCHEMA_PARTS_MAX)
        return schema_refuse(p, "%zu fields; at most %d", s->n, SCHEMA_PARTS_MAX);
    s->fields = arena_zalloc(&p->doc->arena, s->n * sizeof(*s->fields));
    names = arena_alloc(&p->doc->arena, s->n * sizeof(*names));
    space = space_of(p, s->name);
    for (size_t i = 0; i < s->n; i++) {
        size_t before = schema_path_push(p, "%sfields[%zu]", p->path_n != 0 ? "." : "", i);

        if (!parse_field(p, json_array_get(fields, i), &s->fields[i], space, depth, ret))
            return NULL;
        schema_path_pop(p, before);
        names[i] = s->fields[i].name;
    }
    name = schema_twice(p, names, s->n);
    if (name != NULL)
        return schema_refuse(p, "record '%s' has two fields '%s'", s->name, name);
    p->named[at].open = false;
    p->named[at].extent = *ret;
    return s;
}

static const struct schema *parse_enum(struct schema_parser *p, json_t *j, const char *space, struct schema_extent *ret)
{
    struct schema *s = schema_node(p, SCHEMA_ENUM, j);
    json_t *symbols = json_object_get(j, "symbols");
    long at = schema_define(p, s, space);
    const char *name;

    if (at < 0)
        return NULL;
    s->n = json_array_size(symbols);
    if (s->n < 1 || s->n > SCHEMA_PARTS_MAX)
        return schema_refuse(p, "enum '%s': expected 1 to %d symbols, got %zu", s->name, SCHEMA_PARTS_MAX, s->n);
    s->symbols = arena_alloc(&p->doc->arena, s->n * sizeof(*s->symbols));
    for (size_t i = 0; i < s->n; i++) {
        const char *symbol = json_string_value(json_array_get(symbols, i));

        if (symbol == NULL || !schema_is_name(symbol, strlen(symbol)))
            return schema_refuse(p, "symbols[%zu]: expected letters, digits and _, not first a digit", i);
        s->symbols[i] = arena_strdup(&p->doc->arena, symbol);
        if (!add_part(p, ret, &(struct schema_extent){0}))
            return NULL;
    }
    name = schema_twice(p, s->symbols, s->n);
    if (name != NULL)
        return schema_refuse(p, "enum '%s' has two symbols '%s'", s->name, name);
    p->named[at].open = false;
    p->named[at].extent = *ret;
    return s;
}

static const struct schema *parse_fixed(struct schema_parser *p, json_t *j, const char *space, struct schema_extent *ret)
{
    struct schema *s = schema_node(p, SCHEMA_FIXED, j);
    const json_t *size = json_object_get(j, "size");
    json_int_t n = json_integer_value(size);
    long at = schema_define(p, s, space);

    if (at < 0)
        return NULL;
    if (!json_is_integer(size) || n < 1 || n > (json_int_t)SCHEMA_FIXED_MAX)
        return schema_refuse(p, "fixed '%s': expected a size of 1 to %zu bytes", s->name, SCHEMA_FIXED_MAX);
    s->fixed_bytes = (size_t)n;
    p->named[at].open = false;
    p->named[at].extent = *ret;
    return s;
}

static const struct schema *parse_items(struct schema_parser *p, json_t *j, enum schema_type type, const char *space,
                                        size_t depth, struct schema_extent *ret)
{
    const char *key = type == SCHEMA_ARRAY ? "items" : "values";
    struct schema *s = schema_node(p, type, j);
    json_t *items = json_object_get(j, key);
    struct schema_extent part;
    size_t before;

    if (items == NULL)
        return schema_refuse(p, "%s without '%s'", schema_type_name(s), key);
    before = schema_path_push(p, "%s%s", p->path_n != 0 ? "." : "", key);
    s->items = schema_read_type(p, items, (struct schema_slot){.in = j, .key = key}, space, depth + 1, &part);
    if (s->items == NULL)
        return NULL;
    schema_path_pop(p, before);
    return add_part(p, ret, &part) ? s : NULL;
}

static bool same_branch(const struct schema *a, const struct schema *b)
{
    return a->type == b->type && (a->name == NULL || strcmp(a->name, b->name) == 0);
}

static const struct schema *parse_union(struct schema_parser *p, json_t *j, const char *space, size_t depth,
                                        struct schema_extent *ret)
{
    struct schema *s = schema_node(p, SCHEMA_UNION, NULL);

    s->n = json_array_size(j);
    if (s->n < 1 || s->n > 1000)
        return schema_refuse(p, "a union of %zu branches; expected 1 to 1000", s->n);
    s->branches = arena_zalloc(&p->doc->arena, s->n * sizeof(*s->branches));
    for (size_t i = 0; i < s->n; i++) {
        size_t before = schema_path_push(p, "[%zu]", i);
        struct schema_extent part;

        s->branches[i] = schema_read_type(p, json_array_get(j, i), (struct schema_slot){.in = j, .i = i}, space, depth + 1,
                                    &part);
        if (s->branches[i] == NULL || !add_part(p, ret, &part))
            return NULL;
        if (s->branches[i]->type == SCHEMA_UNION)
            return schema_refuse(p, "a union directly in a union");
        for (size_t k = 0; k < i; k++)
            if (same_branch(s->branches[k], s->branches[i]))
                return schema_refuse(p, "two branches of type %s", schema_type_name(s->branches[i]));
        schema_path_pop(p, before);
    }
    return s;
}

static const struct schema *parse_object(struct schema_parser *p, json_t *j, const char *space, size_t depth,
                                         struct schema_extent *ret)
{
    json_t *type = json_object_get(j, "type");
    const char *name = json_string_value(type);

    if (type == NULL)
        return schema_refuse(p, "an object without 'type'");
    if (name == NULL)
        return schema_read_type(p, type, (struct schema_slot){.in = j, .key = "type"}, space, depth + 1, ret);
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
    return schema_read_name(p, name, j, (struct schema_slot){.in = j, .key = "type"}, space, depth, ret);
}

const struct schema *schema_read_type(struct schema_parser *p, json_t *j, struct schema_slot slot, const char *space,
                                       size_t depth, struct schema_extent *ret)
{
    *ret = (struct schema_extent){0};
    if (depth > SCHEMA_DEPTH_MAX)
        return schema_refuse(p, "nested deeper than %d", SCHEMA_DEPTH_MAX);
    if (json_is_string(j))
        return schema_read_name(p, json_string_value(j), NULL, slot, space, depth, ret);
    if (json_is_object(j))
        return parse_object(p, j, space, depth, ret);
    if (json_is_array(j))
        return parse_union(p, j, space, depth, ret);
    return schema_refuse(p, "expected a type: a name, an object or a list of branches");
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
    struct schema_parser p = {.doc = doc, .lookup = lookup, .ctx = ctx, .err = err};
    const struct schema *root;
    struct schema_extent extent;

    if (json_read(text, &doc->json, err) != OK) {
        doc_free(doc);
        return err_wrap(err, "schema");
    }
    root = schema_read_type(&p, doc->json, (struct schema_slot){0}, "", 1, &extent);
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
