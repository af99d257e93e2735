/* common/feature/expr_tree.h: what the parser (expr.c) makes and the evaluation (expr_eval.c) walks. */
#ifndef FEATURE_EXPR_TREE_H
#define FEATURE_EXPR_TREE_H

#include "feature/expr.h"

#define ARGS_MAX 8

enum op {
    OP_CONST, OP_COL, OP_NEG, OP_NOT, OP_AND, OP_OR, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD,
    OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_CALL,
};

enum fn { FN_COALESCE, FN_IF, FN_ABS, FN_MIN, FN_MAX, FN_LOG, FN_EXP, FN_FLOOR, FN_ROUND, FN_HOUR, FN_WEEKDAY, FN_IS_NULL };

struct function {
    const char *name;
    enum fn fn;
    size_t args_min, args_max;
};

struct node {
    enum op op;
    enum col_type type;
    struct feature_col col; /* OP_COL: the expression's own copy */
    bool is_null;                  /* OP_CONST */
    int64_t i64;
    double f64;
    struct view text;
    const struct function *fn;
    struct node *args[ARGS_MAX];
    size_t n_args;
};

struct expr {
    struct arena arena;
    struct node *root;
};

#endif
