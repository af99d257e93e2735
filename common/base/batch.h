/* common/base/batch.h */
/*
 * batch: up to a few thousand records as columns; what a worker's pure transform reads and writes.
 *
 * Shape    n_cols columns of n_rows values each; room for cap_rows. A column's `null` mask has one
 *          byte per row (1 = null, its value slot is then 0 or an empty view); it is never NULL.
 * Units    COL_INT of a time field: UTC epoch milliseconds. COL_BOOL: int64, 0 or 1.
 * Owner    the arena: values, names of added columns and views die at its reset.
 * Errors   two columns of one name, or a row beyond cap_rows, is a caller's bug and asserts.
 * Threads  one thread per batch.
 */
#ifndef BASE_BATCH_H
#define BASE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"

enum col_type {
    COL_BOOL,   /* i64, 0 or 1                                                                     */
    COL_INT,    /* i64                                                                             */
    COL_DOUBLE, /* f64                                                                             */
    COL_STRING, /* view, UTF-8 without terminator                                                  */
    COL_BYTES,  /* view                                                                            */
    COL_AVRO,   /* view of a nested value (array, map, record) in the encoding of its Avro schema  */
};

struct col {
    const char *name;
    enum col_type type;
    uint8_t *null;
    union {
        int64_t *i64;
        double *f64;
        struct view *view;
    };
};

struct batch {
    struct arena *arena;
    size_t n_rows;
    size_t cap_rows;
    size_t n_cols;
    size_t cap_cols;
    struct col *cols;
};

const char *col_type_name(enum col_type type);

void batch_init(struct batch *b, struct arena *arena, size_t cap_rows);

/* A new column with cleared values and no nulls. `name` is borrowed and must outlive the batch. The
 * pointer is good until the next batch_add_col on b. */
struct col *batch_add_col(struct batch *b, const char *name, enum col_type type);

/* Puts a column that another batch (same rows, same arena) owns into this one, under its own name. */
void batch_share_col(struct batch *b, const struct col *col);

/* NULL when there is none of that name. */
struct col *batch_col(const struct batch *b, const char *name);

#endif
