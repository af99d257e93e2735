/* common/wire/plan_ops.h: a decode plan's operations: made by plan_decode.c, run by plan_run.c. */
#ifndef WIRE_PLAN_OPS_H
#define WIRE_PLAN_OPS_H

#include <assert.h>
#include <stdlib.h>
#include "wire/avro.h"
#include "wire/plan.h"
#include "wire/schema_doc.h"
#include "wire/skip.h"

enum op_code {
    OP_END,
    OP_SKIP_FIXED, /* n bytes */
    OP_SKIP_LONGS, /* n in a row */
    OP_SKIP_BYTES, /* n in a row */
    OP_SKIP_INT,
    OP_SKIP_ITEMS, /* an array: what is skipped for each item stands behind it, up to `to` */
    OP_SKIP_VALUE, /* anything: by its schema */
    OP_KEEP_VALUE, /* the same with its strings looked at */
    OP_NULLABLE,
    /* with a column */
    OP_OPEN,
    OP_CLOSE,
    OP_CONST,
    OP_NULL,
    OP_BOOLEAN,
    OP_INT,
    OP_LONG,
    OP_MICROS,
    OP_INT_F64,
    OP_LONG_F64,
    OP_MICROS_F64,
    OP_FLOAT,
    OP_DOUBLE,
    OP_TEXT,
    OP_BYTES,
    OP_FIXED,
    OP_ENUM,
};

struct constant {
    bool is_null;
    union {
        int64_t i64;
        double f64;
        struct view view;
    };
};

struct op {
    uint8_t code;
    uint8_t null_at; /* 1 + the index of null in the union around the value; 0: no union */
    uint16_t col;
    uint32_t to; /* OP_NULLABLE: where it goes on when null; OP_SKIP_ITEMS: behind it */
    const char *path;
    union {
        size_t n; /* also OP_ENUM: of symbols */
        const struct schema *schema;
        const struct constant *constant;
    };
    const struct view *symbols;
};

struct decode_plan {
    struct arena arena;
    struct op *ops;
    size_t n_ops;
    size_t cap_ops;
    size_t n_cols;
};

/* -- making a plan -- */

struct maker {
    struct decode_plan *plan;
    const struct want *want;
    size_t n_want;
    size_t barrier; /* a jump lands here: nothing after it is merged into what is before it */
    struct error *err;
};

#endif
