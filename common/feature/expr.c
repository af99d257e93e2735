/* common/feature/expr.c */
/*
 * A small typed language over columns; parsed once, evaluated column by column.
 *
 *   or     := and ("or" and)*            and := not ("and" not)*          not := "not" not | compare
 *   compare:= sum (("=" "==" "!=" "<" "<=" ">" ">=") sum)?
 *   sum    := product (("+" "-") product)*     product := unary (("*" "/" "%") unary)*
 *   unary  := "-" unary | primary
 *   primary:= number | 'text' | true | false | null | name | name(...) | "(" or ")"
 *
 * Types boolean, integer, number, string. Integer arithmetic is exact (an overflow is null); "/" gives a number. Any operand
 * null: null; but false and null = false, true or null = true. Division by zero, NaN and infinities: null.
 */
#include "feature/expr_tree.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64

static const struct function functions[] = {
    {"coalesce", FN_COALESCE, 2, ARGS_MAX}, {"if", FN_IF, 3, 3},       {"abs", FN_ABS, 1, 1},
    {"min", FN_MIN, 2, ARGS_MAX},           {"max", FN_MAX, 2, ARGS_MAX}, {"log", FN_LOG, 1, 1},
    {"exp", FN_EXP, 1, 1},                  {"floor", FN_FLOOR, 1, 1}, {"round", FN_ROUND, 2, 2},
    {"hour", FN_HOUR, 1, 1},                {"weekday", FN_WEEKDAY, 1, 1}, {"is_null", FN_IS_NULL, 1, 1},
};

struct parser {
    const char *text, *p;
    struct arena *arena;
    expr_resolve_fn *resolve;
    expr_nearest_fn *nearest;
    void *ctx;
    int depth;
    struct error *err;
};

static struct node *fail(struct parser *s, const char *at, const char *what)
{
    err_set(s->err, ERR_FATAL, "column %d of \"%.80s\": %s", (int)(at - s->text) + 1, s->text, what);
    return NULL;
}

static void skip_space(struct parser *s)
{
    while (isspace((unsigned char)*s->p))
        s->p++;
}

static bool take(struct parser *s, const char *token)
{
    size_t n = strlen(token);

    skip_space(s);
    if (strncmp(s->p, token, n) != 0)
        return false;
    if (isalpha((unsigned char)*token) && (isalnum((unsigned char)s->p[n]) || s->p[n] == '_' || s->p[n] == '.'))
        return false;
    s->p += n;
    return true;
}

static struct node *new_node(struct parser *s, enum op op, enum col_type type)
{
    struct node *n = arena_zalloc(s->arena, sizeof(*n));

    n->op = op;
    n->type = type;
    return n;
}

static bool numeric(const struct node *n)
{
    return n->type == COL_INT || n->type == COL_DOUBLE || n->type == COL_BOOL;
}

static struct node *parse_or(struct parser *s);

static struct node *call_type(struct parser *s, struct node *n, const char *at)
{
    enum col_type type = COL_BOOL;

    for (size_t i = 0; i < n->n_args; i++) {
        const struct node *a = n->args[i];

        if (n->fn->fn == FN_IS_NULL || (n->fn->fn == FN_IF && i == 0))
            continue;
        if (n->fn->fn == FN_COALESCE || n->fn->fn == FN_IF) {
            if ((a->type == COL_STRING) != (n->args[n->n_args - 1]->type == COL_STRING))
                return fail(s, at, "text and number do not mix");
        } else if (!numeric(a)) {
            return fail(s, at, "a number is expected");
        }
        if (a->type > type)
            type = a->type;
    }
    switch (n->fn->fn) {
    case FN_LOG:
    case FN_EXP:
    case FN_FLOOR:
    case FN_ROUND:
        type = COL_DOUBLE;
        break;
    case FN_HOUR:
    case FN_WEEKDAY:
        if (n->args[0]->type != COL_INT)
            return fail(s, at, "a time (integer milliseconds) is expected");
        type = COL_INT;
        break;
    case FN_IS_NULL:
        type = COL_BOOL;
        break;
    case FN_IF:
        if (n->args[0]->type != COL_BOOL)
            return fail(s, at, "the condition of if() must be boolean");
        break;
    default:
        break;
    }
    if (n->fn->fn == FN_ABS && type == COL_BOOL)
        type = COL_INT;
    n->type = type;
    return n;
}

static struct node *parse_call(struct parser *s, const char *name, size_t len, const char *at)
{
    struct node *n = new_node(s, OP_CALL, COL_DOUBLE);
    char what[160];

    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0)
            n->fn = &functions[i];
    if (n->fn == NULL)
        return fail(s, at, "no such function; there are coalesce if abs min max log exp floor round hour weekday is_null");
    while (!take(s, ")")) {
        if (n->n_args == ARGS_MAX)
            return fail(s, s->p, "too many arguments");
        if (n->n_args && !take(s, ","))
            return fail(s, s->p, "',' or ')' is expected");
        if ((n->args[n->n_args++] = parse_or(s)) == NULL)
            return NULL;
    }
    if (n->n_args < n->fn->args_min || n->n_args > n->fn->args_max) {
        snprintf(what, sizeof(what), "%s takes %zu arguments at least, got %zu", n->fn->name, n->fn->args_min, n->n_args);
        return fail(s, at, what);
    }
    return call_type(s, n, at);
}

static struct node *parse_name(struct parser *s)
{
    const char *at = s->p;
    const struct feature_col *col;
    const char *nearest;
    struct node *n;
    char name[256], what[600];
    size_t len;

    while (isalnum((unsigned char)*s->p) || *s->p == '_' || *s->p == '.')
        s->p++;
    len = (size_t)(s->p - at);
    if (take(s, "("))
        return parse_call(s, at, len, at);
    if (len >= sizeof(name))
        return fail(s, at, "a name this long cannot be");
    memcpy(name, at, len);
    name[len] = '\0';
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0 || strcmp(name, "null") == 0) {
        n = new_node(s, OP_CONST, COL_BOOL);
        n->i64 = name[0] == 't';
        n->is_null = name[0] == 'n';
        return n;
    }
    col = s->resolve(s->ctx, name);
    if (col && col->type <= COL_STRING) {
        n = new_node(s, OP_COL, col->type);
        n->col = *col;
        n->col.name = arena_strdup(s->arena, col->name);
        return n;
    }
    nearest = s->nearest(s->ctx, name);
    if (col)
        snprintf(what, sizeof(what), "'%s' is %s, which expressions cannot use", name, col_type_name(col->type));
    else if (nearest)
        snprintf(what, sizeof(what), "no field or feature '%s'; did you mean '%s'?", name, nearest);
    else
        snprintf(what, sizeof(what), "no field or feature '%s'", name);
    return fail(s, at, what);
}

static struct node *parse_primary(struct parser *s)
{
    struct node *n;

    skip_space(s);
    if (isdigit((unsigned char)*s->p) || (*s->p == '.' && isdigit((unsigned char)s->p[1]))) {
        char *end;
        bool whole;

        n = new_node(s, OP_CONST, COL_DOUBLE);
        n->f64 = strtod(s->p, &end);
        errno = 0;
        n->i64 = strtoll(s->p, NULL, 10);
        whole = strcspn(s->p, ".eE") >= (size_t)(end - s->p) && errno == 0;
        n->type = whole ? COL_INT : COL_DOUBLE;
        s->p = end;
        return isfinite(n->f64) ? n : fail(s, s->p, "a number out of range");
    }
    if (*s->p == '\'') {
        const char *end = strchr(s->p + 1, '\'');

        if (end == NULL)
            return fail(s, s->p, "the text has no closing '");
        n = new_node(s, OP_CONST, COL_STRING);
        n->text = view_of(arena_copy(s->arena, s->p + 1, (size_t)(end - s->p)), (size_t)(end - s->p - 1));
        s->p = end + 1;
        return n;
    }
    if (isalpha((unsigned char)*s->p) || *s->p == '_')
        return parse_name(s);
    if (!take(s, "("))
        return fail(s, s->p, "a number, a name or '(' is expected");
    n = parse_or(s);
    if (n && !take(s, ")"))
        return fail(s, s->p, "')' is expected");
    return n;
}

static struct node *parse_unary(struct parser *s)
{
    struct node *n, *a;

    if (!take(s, "-"))
        return parse_primary(s);
    if (++s->depth > DEPTH_MAX)
        return fail(s, s->p, "nested too deep");
    a = parse_unary(s);
    s->depth--;
    if (a == NULL || !numeric(a))
        return a ? fail(s, s->p, "'-' needs a number") : NULL;
    n = new_node(s, OP_NEG, a->type == COL_DOUBLE ? COL_DOUBLE : COL_INT);
    n->args[n->n_args++] = a;
    return n;
}

static struct node *binary(struct parser *s, enum op op, struct node *a, struct node *b, const char *at)
{
    struct node *n;
    bool text = a && b && a->type == COL_STRING && b->type == COL_STRING;

    if (a == NULL || b == NULL)
        return NULL;
    if (op >= OP_EQ) {
        if (!text && !(numeric(a) && numeric(b)))
            return fail(s, at, "only number with number or text with text can be compared");
        if (text && op > OP_NE)
            return fail(s, at, "text can only be equal or unequal");
    } else if (op == OP_AND || op == OP_OR) {
        if (a->type != COL_BOOL || b->type != COL_BOOL)
            return fail(s, at, "and/or need conditions on both sides");
    } else if (!numeric(a) || !numeric(b)) {
        return fail(s, at, "arithmetic needs numbers on both sides");
    }
    if (op == OP_DIV && b->op == OP_CONST && (b->type == COL_DOUBLE ? b->f64 == 0 : b->i64 == 0))
        return fail(s, at, "division by a constant zero");
    n = new_node(s, op, COL_BOOL);
    if (op < OP_EQ && op != OP_AND && op != OP_OR)
        n->type = op == OP_DIV || a->type == COL_DOUBLE || b->type == COL_DOUBLE ? COL_DOUBLE : COL_INT;
    n->args[n->n_args++] = a;
    n->args[n->n_args++] = b;
    return n;
}

struct level {
    const char *token;
    enum op op;
};

static struct node *parse_left(struct parser *s, struct node *(*next)(struct parser *), const struct level *ops, size_t n_ops,
                               bool once)
{
    struct node *a = next(s);

    while (a) {
        size_t i = 0;
        const char *at;

        skip_space(s);
        at = s->p;
        while (i < n_ops && !take(s, ops[i].token))
            i++;
        if (i == n_ops)
            return a;
        a = binary(s, ops[i].op, a, next(s), at);
        if (once)
            return a;
    }
    return NULL;
}

static struct node *parse_product(struct parser *s)
{
    static const struct level ops[] = {{"*", OP_MUL}, {"/", OP_DIV}, {"%", OP_MOD}};

    return parse_left(s, parse_unary, ops, ARRAY_LEN(ops), false);
}

static struct node *parse_sum(struct parser *s)
{
    static const struct level ops[] = {{"+", OP_ADD}, {"-", OP_SUB}};

    return parse_left(s, parse_product, ops, ARRAY_LEN(ops), false);
}

static struct node *parse_compare(struct parser *s)
{
    static const struct level ops[] = {{"==", OP_EQ}, {"=", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE},
                                       {"<", OP_LT},  {">=", OP_GE}, {">", OP_GT}};

    return parse_left(s, parse_sum, ops, ARRAY_LEN(ops), true);
}

static struct node *parse_not(struct parser *s)
{
    struct node *n, *a;

    if (!take(s, "not"))
        return parse_compare(s);
    if (++s->depth > DEPTH_MAX)
        return fail(s, s->p, "nested too deep");
    a = parse_not(s);
    s->depth--;
    if (a == NULL || a->type != COL_BOOL)
        return a ? fail(s, s->p, "not needs a condition") : NULL;
    n = new_node(s, OP_NOT, COL_BOOL);
    n->args[n->n_args++] = a;
    return n;
}

static struct node *parse_and(struct parser *s)
{
    static const struct level ops[] = {{"and", OP_AND}};

    return parse_left(s, parse_not, ops, 1, false);
}

static struct node *parse_or(struct parser *s)
{
    static const struct level ops[] = {{"or", OP_OR}};
    struct node *n;

    if (++s->depth > DEPTH_MAX)
        return fail(s, s->p, "nested too deep");
    n = parse_left(s, parse_and, ops, 1, false);
    s->depth--;
    return n;
}

enum status expr_compile(const char *text, expr_resolve_fn *resolve, expr_nearest_fn *nearest, void *ctx,
                         struct expr **ret_expr, enum col_type *ret_type, struct error *err)
{
    struct expr *e = xcalloc(1, sizeof(*e));
    struct parser s = {text, text, &e->arena, resolve, nearest, ctx, 0, err};

    e->root = parse_or(&s);
    skip_space(&s);
    if (e->root && *s.p)
        e->root = fail(&s, s.p, "the expression should end here");
    if (e->root == NULL) {
        expr_free(e);
        return ERR_FATAL;
    }
    *ret_expr = e;
    *ret_type = e->root->type;
    return OK;
}

void expr_free(struct expr *e)
{
    if (e == NULL)
        return;
    arena_done(&e->arena);
    free(e);
}

const struct feature_col *expr_column(const struct expr *e)
{
    return e->root->op == OP_COL ? &e->root->col : NULL;
}

static bool node_needs(const struct node *n, const char *col)
{
    if (n->op == OP_COL)
        return strcmp(n->col.name, col) == 0;
    for (size_t i = 0; i < n->n_args; i++)
        if (node_needs(n->args[i], col))
            return true;
    return false;
}

bool expr_needs(const struct expr *e, const char *col)
{
    return node_needs(e->root, col);
}

/* ---- names ---- */

static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);

    if (n >= ARRAY_LEN(row) || strlen(a) >= ARRAY_LEN(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t d = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            d = d < row[j] + 1 ? d : row[j] + 1;
            row[j] = d < row[j - 1] + 1 ? d : row[j - 1] + 1;
        }
    }
    return row[n];
}

const char *expr_nearest(const char *name, const struct feature_col *cols, size_t n_cols)
{
    size_t best = strlen(name) / 3 + 2;
    const char *found = NULL;

    for (size_t i = 0; i < n_cols; i++) {
        size_t d = distance(name, cols[i].name);

        if (d < best) {
            best = d;
            found = cols[i].name;
        }
    }
    return found;
}

struct plain {
    const struct feature_col *cols;
    size_t n;
};

static const struct feature_col *plain_resolve(void *ctx, const char *name)
{
    const struct plain *p = ctx;

    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->cols[i].name, name) == 0)
            return &p->cols[i];
    return NULL;
}

static const char *plain_nearest(void *ctx, const char *name)
{
    const struct plain *p = ctx;

    return expr_nearest(name, p->cols, p->n);
}

enum status expr_new(const char *text, const struct feature_col *cols, size_t n_cols, struct expr **ret_expr,
                     enum col_type *ret_type, struct error *err)
{
    struct plain p = {cols, n_cols};

    return expr_compile(text, plain_resolve, plain_nearest, &p, ret_expr, ret_type, err);
}
