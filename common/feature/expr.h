/* common/feature/expr.h: what features.c needs of expr.c beyond feature.h. */
#ifndef FEATURE_EXPR_H
#define FEATURE_EXPR_H

#include "feature/feature.h"

/* The column that a name stands for, or NULL. The result's name is what expr_eval looks for in the batch. */
typedef const struct feature_col *expr_resolve_fn(void *ctx, const char *name);
/* For the message: appends the names that could have been meant. */
typedef const char *expr_nearest_fn(void *ctx, const char *name);

enum status expr_compile(const char *text, expr_resolve_fn *resolve, expr_nearest_fn *nearest, void *ctx,
                         struct expr **ret_expr, enum col_type *ret_type, struct error *err);
/* How many columns expr_eval gives: more than 1 only for words and ngrams. */
size_t expr_width(const struct expr *e);
enum col_type expr_col_type(const struct expr *e);
bool expr_is_time(const struct expr *e); /* an integer that is a time */
/* The version of the zone data that it rests on, or NULL. */
const char *expr_zone_data(const struct expr *e);
/* NULL unless the whole expression is one column: that column. */
const struct feature_col *expr_column(const struct expr *e);
/* The name with the smallest edit distance, or NULL when none is within 1/3 of its length + 1. */
const char *expr_nearest(const char *name, const struct feature_col *cols, size_t n_cols);
/* A text as a number of 64 bits: the same everywhere and always (expr_text.c). */
uint64_t text_hash(struct view text);

#endif
