/*
 * common/wire/schema_parser.h: what the reading of a schema's text shares; for common/wire alone.
 *
 *   schema.c        the forms: records, enums, fixed, arrays, maps, unions
 *   schema_names.c  the names: definitions and their uses, and how a message says where it stands
 *
 * Errors   a function that gives NULL (or false, or -1) has called schema_refuse: p->err is set.
 * Bounds   as schema.h says; `depth` counts from 1 at the root.
 */
#ifndef WIRE_SCHEMA_PARSER_H
#define WIRE_SCHEMA_PARSER_H

#include "base/attr.h"
#include "wire/schema_doc.h"

/* How deep a type is and how many fields, branches and symbols it has, each use counted. */
struct schema_extent {
    size_t depth;
    size_t n_parts;
};

struct schema_named {
    const struct schema *schema;
    struct schema_extent extent;
    bool open; /* its definition is not yet at its end: a use now is a recursion */
};

struct schema_parser {
    struct schema_doc *doc;
    schema_lookup_fn *lookup;
    void *ctx;
    struct error *err;
    struct schema_named *named;
    size_t n_named;
    size_t n_lookups;
    char path[512];
    size_t path_n;
};

/* Where a type stands, so that a looked-up definition can take the place of its name. */
struct schema_slot {
    json_t *in; /* object or array; NULL: the root */
    const char *key;
    size_t i;
};

/* Says how far below the root the parser is, until the pop of what push gave. */
PRINTF(2, 3) size_t schema_path_push(struct schema_parser *p, const char *fmt, ...);
void schema_path_pop(struct schema_parser *p, size_t before);
/* NULL, and p->err is set, with the path. */
PRINTF(2, 3) void *schema_refuse(struct schema_parser *p, const char *fmt, ...);

struct schema *schema_node(struct schema_parser *p, enum schema_type type, const json_t *props);

bool schema_is_name(const char *s, size_t n);
/* Gives the node its full name and enters it as open; its index in p->named, or -1. */
long schema_define(struct schema_parser *p, struct schema *s, const char *space);
/* The name that stands twice in a list, or NULL. */
const char *schema_twice(struct schema_parser *p, const char **names, size_t n);

/* Any type; the name of one. `space`: the namespace around it. */
const struct schema *schema_read_type(struct schema_parser *p, json_t *j, struct schema_slot slot, const char *space, size_t depth,
                                      struct schema_extent *ret);
const struct schema *schema_read_name(struct schema_parser *p, const char *name, const json_t *props, struct schema_slot slot,
                                      const char *space, size_t depth, struct schema_extent *ret);

#endif
