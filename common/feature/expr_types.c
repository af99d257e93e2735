/* common/feature/expr_types.c: nodes with their types checked: constants, conversions, operators. */
#include <stdlib.h>

#include "feature/expr_tree.h"

const char *type_name(enum type t)
{
    static const char *const names[] = {"null", "a condition", "an integer", "a number", "a time", "text"};

    return names[t];
}

bool type_is_numeric(enum type t)
{
    return t <= TYPE_NUMBER;
}

struct node *node_new(struct parser *s, enum node_kind kind, enum type type, const char *at)
{
    struct node *n = arena_zalloc(&s->e->arena, sizeof(*n));

    n->kind = kind;
    n->type = type;
    n->at = at;
    n->width = 1;
    return n;
}

struct node *node_step(struct parser *s, const char *at, enum type type, kernel *run, const void *with, struct node *const *args, size_t n_args)
{
    struct node *n = node_new(s, NODE_STEP, type, at);
    bool constant = true;

    for (size_t i = 0; i < n_args; i++)
        constant = constant && args[i]->kind == NODE_CONST;
    if (constant) {
        n->kind = NODE_CONST;
        step_once(run, with, args, n_args, n, &s->e->arena);
        return n;
    }
    n->run = run;
    n->with = with;
    n->n_args = n_args;
    n->args = arena_copy(&s->e->arena, args, n_args * sizeof(*args));
    return n;
}

struct node *node_copy(struct parser *s, struct node *a)
{
    struct node *n = node_new(s, NODE_STEP, a->type, a->at);

    n->run = a->type == TYPE_TEXT ? k_copy_text : k_copy;
    n->n_args = 1;
    n->args = arena_copy(&s->e->arena, &a, sizeof(a));
    return n;
}

bool node_is_single(struct parser *s, const struct node *n)
{
    return n->width == 1 || expr_fail(s, n->at, "this makes %zu columns, and stands alone: give it a name, and use that", n->width) != NULL;
}

struct node *node_as(struct parser *s, struct node *n, enum type type)
{
    struct node *null;

    if (n->type == type || (type == TYPE_INT && n->type == TYPE_BOOL))
        return n;
    if (n->type != TYPE_NULL)
        return node_step(s, n->at, type, k_to_number, NULL, &n, 1);
    null = node_new(s, NODE_CONST, type, n->at);
    null->is_null = true;
    return null;
}

bool types_unite(struct parser *s, const char *at, const char *what, enum type a, enum type b, enum type *ret)
{
    if (a == TYPE_NULL || b == TYPE_NULL || a == b)
        *ret = a == TYPE_NULL ? b : a;
    else if (type_is_numeric(a) && type_is_numeric(b))
        *ret = a > b ? a : b;
    else
        return expr_fail(s, at, "%s, got %s and %s", what, type_name(a), type_name(b)) != NULL;
    return true;
}

/* ---- operators ---- */
struct operator {
    const char *token;
    kernel *whole, *number, *text;
};

static const struct operator operators[] = {
    {"+", k_add_int, k_add, NULL},      {"-", k_sub_int, k_sub, NULL},      {"*", k_mul_int, k_mul, NULL},
    {"/", NULL, k_div, NULL},           {"%", k_mod_int, k_mod, NULL},      {"=", k_eq_int, k_eq, k_eq_text},
    {"==", k_eq_int, k_eq, k_eq_text},  {"!=", k_ne_int, k_ne, k_ne_text},  {"<=", k_le_int, k_le, NULL},
    {"<", k_lt_int, k_lt, NULL},        {">=", k_ge_int, k_ge, NULL},       {">", k_gt_int, k_gt, NULL},
};

static const struct operator *operator_of(const char *token)
{
    const struct operator *o = operators;

    while (strcmp(o->token, token) != 0)
        o++;
    return o;
}

static bool is_zero(const struct node *n)
{
    return n->kind == NODE_CONST && !n->is_null && (n->type == TYPE_NUMBER ? n->f64 == 0 : n->i64 == 0);
}

static struct node *compare(struct parser *s, const struct operator *o, struct node *a, struct node *b, const char *at)
{
    struct node *args[2];
    enum type type = TYPE_NULL;

    if (a->type == TYPE_NULL || b->type == TYPE_NULL)
        return expr_fail(s, at, "a comparison with null is never true; is_null(x) asks for it");
    if (!types_unite(s, at, "only number with number, text with text, time with time can be compared", a->type, b->type, &type))
        return NULL;
    if (type == TYPE_TEXT && o->text == NULL)
        return expr_fail(s, at, "text can only be equal or unequal");
    args[0] = node_as(s, a, type);
    args[1] = node_as(s, b, type);
    return node_step(s, at, TYPE_BOOL, type == TYPE_TEXT ? o->text : type == TYPE_NUMBER ? o->number : o->whole, NULL, args, 2);
}

/* time - time is milliseconds; time + and - whole milliseconds is a time. */
static struct node *time_arithmetic(struct parser *s, const struct operator *o, struct node *a, struct node *b, const char *at)
{
    struct node *args[2] = {a, b};
    const struct node *by = a->type == TYPE_TIME ? b : a;
    bool minus = o->token[0] == '-';

    if (minus && a->type == b->type)
        return node_step(s, at, TYPE_INT, o->whole, NULL, args, 2);
    if ((!minus && o->token[0] != '+') || (minus && a->type != TYPE_TIME) || (by->type != TYPE_INT && by->type != TYPE_NULL))
        return expr_fail(s, at, "a time moves by whole milliseconds (+ and -), and time - time gives them; got %s %s %s", type_name(a->type),
                         o->token, type_name(b->type));
    for (size_t i = 0; i < 2; i++)
        args[i] = args[i]->type == TYPE_NULL ? node_as(s, args[i], TYPE_INT) : args[i];
    return node_step(s, at, TYPE_TIME, o->whole, NULL, args, 2);
}

static struct node *arithmetic(struct parser *s, const struct operator *o, struct node *a, struct node *b, const char *at)
{
    struct node *args[2];
    enum type type = a->type > b->type ? a->type : b->type;

    if (type == TYPE_TIME && a->type != TYPE_TEXT && b->type != TYPE_TEXT)
        return time_arithmetic(s, o, a, b, at);
    if (!type_is_numeric(type))
        return expr_fail(s, at, "arithmetic needs numbers on both sides, got %s %s %s", type_name(a->type), o->token, type_name(b->type));
    type = type == TYPE_NUMBER || o->whole == NULL ? TYPE_NUMBER : TYPE_INT;
    args[0] = node_as(s, a, type);
    args[1] = node_as(s, b, type);
    if ((o->token[0] == '/' || o->token[0] == '%') && is_zero(args[1]))
        return expr_fail(s, at, "division by a constant zero");
    return node_step(s, at, type, type == TYPE_NUMBER ? o->number : o->whole, NULL, args, 2);
}

struct node *node_binary(struct parser *s, const char *op, struct node *a, struct node *b, const char *at)
{
    struct node *args[2];
    bool is_and = strcmp(op, "and") == 0;

    if (a == NULL || b == NULL || !node_is_single(s, a) || !node_is_single(s, b))
        return NULL;
    if (is_and || strcmp(op, "or") == 0) {
        if (a->type > TYPE_BOOL || b->type > TYPE_BOOL)
            return expr_fail(s, at, "and/or need conditions on both sides, got %s %s %s", type_name(a->type), op, type_name(b->type));
        args[0] = node_as(s, a, TYPE_BOOL);
        args[1] = node_as(s, b, TYPE_BOOL);
        return node_step(s, at, TYPE_BOOL, is_and ? k_and : k_or, NULL, args, 2);
    }
    return strchr("+-*/%", op[0]) ? arithmetic(s, operator_of(op), a, b, at) : compare(s, operator_of(op), a, b, at);
}

struct node *node_unary(struct parser *s, const char *op, struct node *a, const char *at)
{
    if (a == NULL || !node_is_single(s, a))
        return NULL;
    if (strcmp(op, "not") == 0) {
        if (a->type > TYPE_BOOL)
            return expr_fail(s, at, "not needs a condition, got %s", type_name(a->type));
        a = node_as(s, a, TYPE_BOOL);
        return node_step(s, at, TYPE_BOOL, k_not, NULL, &a, 1);
    }
    if (!type_is_numeric(a->type))
        return expr_fail(s, at, "'-' needs a number, got %s", type_name(a->type));
    return arithmetic(s, operator_of("-"), node_new(s, NODE_CONST, TYPE_INT, at), a, at);
}

/* ---- membership ---- */
static int order_int(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static int order_number(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static int order_text(const void *a, const void *b)
{
    return view_order(*(const struct view *)a, *(const struct view *)b);
}

struct node *node_in(struct parser *s, struct node *a, struct node *const *items, size_t n, const char *at)
{
    struct list *l = arena_zalloc(&s->e->arena, sizeof(*l));
    struct view *views = arena_alloc(&s->e->arena, (n + 1) * sizeof(*views));
    enum type type = a->type;
    size_t size;

    if (!node_is_single(s, a))
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (items[i]->kind != NODE_CONST || items[i]->is_null || items[i]->type == TYPE_NULL)
            return expr_fail(s, items[i]->at, "the list of 'in' holds constants, and no null");
        if (!types_unite(s, items[i]->at, "'in' needs a list of what stands before it", type, items[i]->type, &type))
            return NULL;
    }
    if (a->type == TYPE_NULL)
        return expr_fail(s, at, "null is in no list; is_null(x) asks for it");
    a = node_as(s, a, type);
    for (size_t i = 0; i < n; i++) {
        const struct node *item = node_as(s, items[i], type);

        if (type == TYPE_TEXT)
            views[i] = item->view;
        else
            ((int64_t *)(void *)views)[i] = item->i64; /* a number's bits too */
    }
    size = type == TYPE_TEXT ? sizeof(struct view) : sizeof(int64_t);
    qsort(views, n, size, type == TYPE_TEXT ? order_text : type == TYPE_NUMBER ? order_number : order_int);
    l->n = n;
    l->view = views;
    return node_step(s, at, TYPE_BOOL, type == TYPE_TEXT ? k_in_text : type == TYPE_NUMBER ? k_in : k_in_int, l, &a, 1);
}
