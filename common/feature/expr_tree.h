/*
 * common/feature/expr_tree.h: what the parts of an expression share.
 *
 * Text becomes a tree of typed nodes (expr.c parses, expr_types.c and expr_functions.c check and make nodes), that a list of steps
 * (expr_steps.c). A step runs one kernel (expr_kernels.c, expr_text.c) over all rows: which one was chosen once, by the types.
 */
#ifndef FEATURE_EXPR_TREE_H
#define FEATURE_EXPR_TREE_H

#include "feature/expr.h"

#define STEP_ARGS_MAX 257 /* pick's: an index and its values */

enum type { TYPE_NULL, TYPE_BOOL, TYPE_INT, TYPE_NUMBER, TYPE_TIME, TYPE_TEXT };

/* Values of all rows, or, with mask 0, one for all. The value of a null is 0 or empty. */
struct vec {
    uint8_t *null;
    union {
        int64_t *i64;
        double *f64;
        struct view *view;
    };
    size_t mask;
};

/* What a run over a batch has: columns, then constants, then slots for results. */
struct frame {
    struct vec *vecs;
    size_t n_rows;
    struct arena *arena;
};

struct step;
typedef void kernel(const struct step *s, const struct frame *f);

struct step {
    kernel *run;
    const void *with; /* its own constant: a zone, a list, a number of columns */
    uint32_t *args, out; /* of the frame's vecs; a wide result takes the next ones too */
};

enum node_kind { NODE_CONST, NODE_COL, NODE_STEP };

struct node {
    enum node_kind kind;
    enum type type;
    const char *at; /* its place in the text */
    size_t width;   /* columns that it makes */
    bool is_null;   /* NODE_CONST */
    union {
        int64_t i64;
        double f64;
        struct view view;
    };
    const struct feature_col *col; /* NODE_COL */
    kernel *run;                   /* NODE_STEP */
    const void *with;
    struct node **args;
    size_t n_args;
    uint32_t vec; /* where its values are */
};

struct expr {
    struct arena arena;
    const struct feature_col **cols;
    size_t n_cols;
    struct vec *consts;
    size_t n_consts;
    struct step *steps;
    size_t n_steps;
    size_t n_slots, slot_bytes; /* a value's */
    const struct node *root;
    const char *zone_data; /* the version, if a zone is named */
};

struct parser {
    const char *text, *p;
    struct expr *e;
    expr_resolve_fn *resolve;
    expr_nearest_fn *nearest;
    void *ctx;
    int depth;
    struct error *err;
};

/* expr.c: NULL, with the error. */
struct node *expr_fail(struct parser *s, const char *at, const char *fmt, ...) PRINTF(3, 4);

/* expr_types.c. Operators take NULL, an operand that failed, and give NULL. */
const char *type_name(enum type t); /* "a number" */
bool type_is_numeric(enum type t);  /* null too */
struct node *node_new(struct parser *s, enum node_kind kind, enum type type, const char *at);
/* A step; done at once where all that it takes is constant. */
struct node *node_step(struct parser *s, const char *at, enum type type, kernel *run, const void *with, struct node *const *args, size_t n_args);
/* A step that gives it as it is, also of a constant. */
struct node *node_copy(struct parser *s, struct node *a);
/* Of that type: a null becomes one, a condition or an integer becomes a number. The caller has checked that it can. */
struct node *node_as(struct parser *s, struct node *n, enum type type);
/* The type that both can have; false: none, an error at `at` that begins with `what`. */
bool types_unite(struct parser *s, const char *at, const char *what, enum type a, enum type b, enum type *ret);
/* Whether it is one value and no row of columns; false: an error. */
bool node_is_single(struct parser *s, const struct node *n);
struct node *node_unary(struct parser *s, const char *op, struct node *a, const char *at);
struct node *node_binary(struct parser *s, const char *op, struct node *a, struct node *b, const char *at);
struct node *node_in(struct parser *s, struct node *a, struct node *const *items, size_t n, const char *at);

/* expr_functions.c */
/* The functions as a Markdown table. */
void expr_reference(struct bytes *out);
struct node *function_call(struct parser *s, const char *name, size_t len, struct node *const *args, size_t n_args, const char *at);

/* expr_steps.c: the tree as steps. */
void expr_arrange(struct expr *e, struct node *root);
/* ret has its type; it gets the value. */
void step_once(kernel *run, const void *with, struct node *const *args, size_t n_args, struct node *ret, struct arena *arena);

/* ---- kernels: one per operation and type ---- */
kernel k_copy, k_copy_text, k_to_number, k_not, k_and, k_or, k_is_null;
kernel k_abs_int, k_abs, k_log, k_exp, k_floor;
kernel k_round; /* with: a struct scale */
kernel k_add_int, k_sub_int, k_mul_int, k_mod_int, k_add, k_sub, k_mul, k_div, k_mod;
kernel k_eq_int, k_ne_int, k_lt_int, k_le_int, k_gt_int, k_ge_int, k_eq, k_ne, k_lt, k_le, k_gt, k_ge, k_eq_text, k_ne_text;
kernel k_min_int, k_max_int, k_min, k_max;
kernel k_coalesce, k_coalesce_text, k_if, k_if_text;
kernel k_pick, k_pick_text; /* with: how many values, a size_t */
/* with: a struct zone, or NULL for UTC */
kernel k_minute, k_hour, k_weekday, k_is_weekend, k_day, k_month, k_year, k_day_of_year, k_week;
kernel k_in_int, k_in, k_in_text; /* with: a struct list */
kernel k_hash_int, k_hash_text, k_words, k_ngrams; /* with: a struct buckets */

struct list { /* ascending; texts by length, then bytes */
    size_t n;
    union {
        const int64_t *i64;
        const double *f64;
        const struct view *view;
    };
};

struct scale {
    double power; /* of ten, not below 1 */
    bool divides; /* digits before the point */
};

struct buckets {
    uint64_t k;
    size_t n; /* characters of an n-gram */
};

int view_order(struct view a, struct view b);

/* expr_math.c: the same bits on every machine, which no libm promises. */
double math_log(double x);
double math_exp(double x);

#endif
