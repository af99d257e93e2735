/* common/feature/features_made.h: what the definitions become (features.c) and each row runs (features_apply.c). */
#ifndef FEATURE_FEATURES_MADE_H
#define FEATURE_FEATURES_MADE_H

#include "feature/expr.h"
#include "feature/rings.h"

enum kind { KIND_EXPR, KIND_COUNT, KIND_SUM, KIND_MEAN };

/* One output column. */
struct made {
    struct feature_col col;
    const char *family; /* the definition's name */
    const char *over;   /* the window as written, or NULL */
    enum kind kind;
    struct expr *expr;  /* KIND_EXPR */
    bool is_input;      /* the expression is the input column of that name: nothing to make */
    size_t ring, value; /* aggregates */
    int64_t window_ms, delay_ms;
};

struct value {
    struct expr *expr;
    const char *text;
    double factor; /* 10^scale */
};

struct ring_of {
    size_t input;
    struct value values[RING_VALUES_MAX];
    int64_t horizon_ms; /* longest window and delay */
};

struct features {
    struct arena arena;
    struct feature_input *inputs;
    size_t n_inputs, emit;
    struct made *made;
    struct feature_col *cols;
    size_t n_made;
    struct ring_of rings[RINGS_MAX];
    struct ring_shape shapes[RINGS_MAX];
    size_t n_rings;
    char fingerprint[17];
};

#endif
