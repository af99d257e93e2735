/* common/wire/schema.h */
/*
 * schema: an Avro schema as a tree, its canonical form, fingerprint and id.
 *
 * Shape    struct schema is a node; a named type that is used twice is the same node (a recursive
 *          schema is refused). Field properties beyond Avro's ("scale", "time", ...) stay in `props`.
 * Bounds   <= 1 MiB of JSON, depth <= 32, fixed 1..1 MiB, <= 10,000 fields, branches and symbols in all;
 *          a named type counts each time it is used, so a walk over the tree is bounded too.
 * Owner    schema_parse's result owns everything below it; schema_free at the root alone.
 * Errors   ERR_FATAL with the JSON path: "fields[3].type: ...". Nothing from outside reaches an assert.
 * Threads  immutable after parse: any thread may read.
 * Source   Avro specification 1.11 (schema declaration, parsing canonical form, CRC-64-AVRO); the id
 *          is the low 31 bits of the fingerprint: docs/adr.
 */
#ifndef WIRE_SCHEMA_H
#define WIRE_SCHEMA_H

#include "json/json.h"

enum schema_type {
    SCHEMA_NULL, SCHEMA_BOOLEAN, SCHEMA_INT, SCHEMA_LONG, SCHEMA_FLOAT, SCHEMA_DOUBLE, SCHEMA_BYTES, SCHEMA_STRING,
    SCHEMA_RECORD, SCHEMA_ENUM, SCHEMA_FIXED, SCHEMA_ARRAY, SCHEMA_MAP, SCHEMA_UNION,
};

struct schema;

struct schema_field {
    const char *name;
    const struct schema *type;
    const json_t *deflt; /* NULL: none */
    const json_t *props; /* the field's JSON object: extra attributes */
};

struct schema {
    enum schema_type type;
    const char *name;    /* full name of record, enum, fixed; else NULL */
    const char *logical; /* logicalType or NULL */
    size_t n;            /* fields, symbols or branches */
    struct schema_field *fields;   /* record */
    const char **symbols;          /* enum */
    const struct schema **branches; /* union */
    const struct schema *items;    /* array, map */
    size_t fixed_bytes;
    const json_t *props;         /* the type's JSON object (precision, scale, ...); NULL for a bare name */
};

/* For a type name that the text does not define: the JSON text of its schema, or NULL. May be NULL. */
typedef const char *schema_lookup_fn(void *ctx, const char *name);

enum status schema_parse(struct view text, schema_lookup_fn *lookup, void *ctx, struct schema **ret_schema,
                         struct error *err);
void schema_free(struct schema *s);

const char *schema_json(const struct schema *root);      /* complete: looked-up types are inlined */
const char *schema_canonical(const struct schema *root); /* parsing canonical form */
uint64_t schema_fingerprint(const struct schema *root);  /* CRC-64-AVRO of it */
uint32_t schema_id(const struct schema *root);           /* low 31 bits */

/* The type at a dotted path ("lineage.source.offset"), looking through unions with null; NULL if none. */
const struct schema *schema_at(const struct schema *s, const char *path);

/* The non-null branch of a union of null and one other; s itself otherwise. */
const struct schema *schema_unwrap(const struct schema *s);

/* A timestamp-millis or timestamp-micros, also in a union with null. NULL is none. */
bool schema_is_time(const struct schema *s);

/* The field of a record, or NULL. */
const struct schema_field *schema_field(const struct schema *record, const char *name);

/* For a message: the field of the record whose name is nearest to `name`, or "" when none is near. */
const char *schema_nearest(const struct schema *record, const char *name);

const char *schema_type_name(const struct schema *s); /* "long", "union"; the full name of a named type */

/* ERR_RECORD naming the field when a reader of either could not read what the other wrote (FULL). */
enum status schema_compatible(const struct schema *older, const struct schema *newer, struct error *err);

#endif
