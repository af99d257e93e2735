/* common/wire/plan.h */
/*
 * plan: Avro bodies to columns and back, by a flat list of operations made once per schema.
 *
 * Decode   the writer's schema with the reader's projection and defaults: wanted fields land in
 *          columns, the rest is skipped. Every length is bounded by the bytes that are left; zero-byte
 *          items <= 1,000 per record in total; nesting <= 32; nothing is allocated per record.
 *          Resolution as Avro's: int -> long -> double promotion, union with null -> null mask,
 *          enum -> COL_STRING, boolean -> COL_BOOL, timestamp-micros -> milliseconds (COL_INT).
 *          A nested record is flattened by dotted paths; an array, map or record wanted whole is a
 *          COL_AVRO view of its bytes (null taken off); then the writer's schema of it must be the
 *          reader's. A string that nobody wants is skipped unread, others must be UTF-8 without NUL.
 * Encode   a column per leaf field, by dotted name; a field without one takes its schema's default.
 *          A COL_AVRO column is copied as it is. A nullable record of which every column is null is
 *          written as null. A column that no field takes is an error, so that no name is misspelt.
 * Owner    string, bytes and nested views point into the body: they live as long as it does; an enum's
 *          symbol and a default point into the plan.
 * Errors   decode_row: ERR_RECORD "avro: <path>: <why>"; encode_row: ERR_RECORD (null in a field that
 *          takes none, out of an int's range). Making a plan: ERR_FATAL naming the field.
 * Threads  a plan is immutable once made.
 */
#ifndef WIRE_PLAN_H
#define WIRE_PLAN_H

#include "base/batch.h"
#include "wire/schema.h"

#define WANTS_MAX 512 /* columns of one record */

struct want {
    const char *path;   /* dotted field path; also the column's name */
    enum col_type type; /* integer fields may be wanted as COL_DOUBLE */
};

struct decode_plan;

/* `reader` gives defaults for fields that the writer lacks (NULL: none). A wanted field that neither
 * has is an error unless it is nullable in the reader: then all its rows are null. */
enum status decode_plan_new(const struct schema *writer, const struct schema *reader, const struct want *want,
                            size_t n_want, struct decode_plan **ret_plan, struct error *err);
void decode_plan_free(struct decode_plan *p);

/* Adds the wanted columns, in order, to an empty batch. Rows of one batch may come from different
 * plans (writers' schemas) of the same wants. */
void decode_begin(const struct want *want, size_t n_want, struct batch *b);

/* On failure the row's values are undefined and the row may be decoded again. */
enum status decode_row(const struct decode_plan *p, struct view body, struct batch *b, size_t row, struct error *err);

/* The same of the first of several records in a row, of which it is *ret_n bytes. */
enum status decode_first(const struct decode_plan *p, struct view bodies, struct batch *b, size_t row, size_t *ret_n, struct error *err);

/* The column that an unwrapped type makes; COL_AVRO: it has no single value (list, map, record, union). */
enum col_type schema_col_type(const struct schema *s);

/* The columns that a schema's fields make: leaves by dotted path, arrays, maps and unions of several as
 * COL_AVRO. At most `cap` are written; returns how many there are. Names are owned by the schema. */
size_t schema_wants(const struct schema *s, struct want *ret_wants, size_t cap);

struct encode_plan;

enum status encode_plan_new(const struct schema *s, const struct want *cols, size_t n_cols,
                            struct encode_plan **ret_plan, struct error *err);
void encode_plan_free(struct encode_plan *p);

/* Binds the plan's fields to a batch's columns (by name; a missing one is ERR_FATAL); good until the
 * batch's columns change. One batch at a time. */
enum status encode_bind(struct encode_plan *p, const struct batch *b, struct error *err);

/* Appends the body of one row to `out`; on failure `out` is as before. */
enum status encode_row(const struct encode_plan *p, size_t row, struct bytes *out, struct error *err);

#endif
