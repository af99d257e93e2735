/* common/feature/expr.c */
/*
 * A small typed language over columns; checked and parsed once, then run column by column (expr_tree.h says how).
 *
 *   or     := and ("or" and)*            and := not ("and" not)*          not := "not" not | compare
 *   compare:= sum (("=" "==" "!=" "<" "<=" ">" ">=") sum | "not"? "in" "(" or ("," or)* ")")?
 *   sum    := product (("+" "-") product)*     product := unary (("*" "/" "%") unary)*
 *   unary  := "-" unary | primary
 *   primary:= number | 'text' | "text" | true | false | null | name | name(...) | "(" or ")"
 *
 * Types    condition, integer, number, time, text. A condition is 0 or 1 and an integer is a number where one is needed.
 *          Integer arithmetic is exact (an overflow is null); "/" gives a number.
 * Null     any operand null: null; but false and null = false, true or null = true. Division by zero, and whatever is not
 *          finite: null. A field's NaN or infinity is null, but where the whole expression is that field.
 * Text     a quote within is written twice.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feature/expr_tree.h"

#define DEPTH_MAX 64
#define TEXT_MAX 16384
#define ITEMS_MAX 1000

bool expr_is_word(const char *name)
{
    static const char *const words[] = {"and", "false", "in", "not", "null", "or", "true"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(name, words[i]) == 0)
            return true;
    return false;
}

struct node *expr_fail(struct parser *s, const char *at, const char *fmt, ...)
{
    char what[sizeof(s->err->text)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    err_set(s->err, ERR_FATAL, "column %d of \"%.80s\": %s", (int)(at - s->text) + 1, s->text, what);
    return NULL;
}

static void skip_space(struct parser *s)
{
    while (isspace((unsigned char)*s->p))
        s->p++;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static bool take(struct parser *s, const char *token)
{
    size_t n = strlen(token);

    skip_space(s);
    if (strncmp(s->p, token, n) != 0 || (isalpha((unsigned char)*token) && is_name_char(s->p[n])))
        return false;
    s->p += n;
    return true;
}

static bool enter(struct parser *s)
{
    if (++s->depth <= DEPTH_MAX)
        return true;
    return expr_fail(s, s->p, "nested too deep") != NULL;
}

static struct node *parse_or(struct parser *s);

/* "a, b)": whatever the brackets are of. NULL: an error. */
static struct node **parse_items(struct parser *s, size_t *ret_n)
{
    struct node **items = NULL;
    size_t n = 0, cap = 0;

    while (!take(s, ")")) {
        if (n == ITEMS_MAX) {
            expr_fail(s, s->p, "more than %d values", ITEMS_MAX);
            return NULL;
        }
        if (n && !take(s, ",")) {
            expr_fail(s, s->p, "',' or ')' is expected");
            return NULL;
        }
        if (n == cap) {
            struct node **more = arena_alloc(&s->e->arena, (cap = cap ? 2 * cap : 4) * sizeof(*more));

            items = n ? memcpy(more, items, n * sizeof(*more)) : more;
        }
        if ((items[n++] = parse_or(s)) == NULL)
            return NULL;
    }
    *ret_n = n;
    return items ? items : arena_alloc(&s->e->arena, sizeof(struct node *));
}

static struct node *parse_column(struct parser *s, const char *name, const char *at)
{
    const struct feature_col *col = s->resolve(s->ctx, name);
    const char *nearest;
    struct feature_col *own;
    struct node *n;

    if (col && col->type <= COL_STRING) {
        static const enum type types[] = {TYPE_BOOL, TYPE_INT, TYPE_NUMBER, TYPE_TEXT};

        n = node_new(s, NODE_COL, col->type == COL_INT && col->is_time ? TYPE_TIME : types[col->type], at);
        own = arena_copy(&s->e->arena, col, sizeof(*col));
        own->name = arena_strdup(&s->e->arena, col->name);
        n->col = own;
        return n;
    }
    if (col)
        return expr_fail(s, at, "'%s' is %s, which expressions cannot use", name, col_type_name(col->type));
    nearest = s->nearest(s->ctx, name);
    return expr_fail(s, at, "no field or feature '%s'%s%s%s", name, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                     nearest ? "'?" : "");
}

static struct node *parse_name(struct parser *s)
{
    const char *at = s->p;
    struct node *n, **args;
    char name[256];
    size_t len, n_args;

    while (is_name_char(*s->p))
        s->p++;
    len = (size_t)(s->p - at);
    if (take(s, "(")) {
        if (!enter(s) || (args = parse_items(s, &n_args)) == NULL)
            return NULL;
        s->depth--;
        return function_call(s, at, len, args, n_args, at);
    }
    if (len >= sizeof(name))
        return expr_fail(s, at, "a name this long cannot be");
    memcpy(name, at, len);
    name[len] = '\0';
    if (strcmp(name, "true") != 0 && strcmp(name, "false") != 0 && strcmp(name, "null") != 0)
        return parse_column(s, name, at);
    n = node_new(s, NODE_CONST, name[0] == 'n' ? TYPE_NULL : TYPE_BOOL, at);
    n->i64 = name[0] == 't';
    n->is_null = name[0] == 'n';
    return n;
}

static struct node *parse_number(struct parser *s)
{
    const char *at = s->p;
    char *end;
    double f64 = strtod(at, &end);
    struct node *n = node_new(s, NODE_CONST, TYPE_NUMBER, at);
    bool whole;

    errno = 0;
    n->i64 = strtoll(at, NULL, 10);
    whole = strcspn(at, ".eE") >= (size_t)(end - at) && errno == 0;
    if (whole)
        n->type = TYPE_INT;
    else
        n->f64 = f64;
    s->p = end;
    if (!isfinite(f64))
        return expr_fail(s, at, "a number out of range");
    return is_name_char(*end) ? expr_fail(s, end, "the number should end here") : n;
}

/* A quote within is written twice. */
static struct node *parse_text(struct parser *s)
{
    char quote = *s->p, *text = arena_alloc(&s->e->arena, strlen(s->p));
    struct node *n = node_new(s, NODE_CONST, TYPE_TEXT, s->p);
    const char *p = s->p + 1;
    size_t len = 0;

    for (; *p && (*p != quote || p[1] == quote); p++) {
        p += *p == quote;
        text[len++] = *p;
    }
    if (*p == '\0')
        return expr_fail(s, s->p, "the text has no closing %c", quote);
    n->view = view_of(text, len);
    s->p = p + 1;
    return n;
}

static struct node *parse_primary(struct parser *s)
{
    struct node *n;

    skip_space(s);
    if (isdigit((unsigned char)*s->p) || (*s->p == '.' && isdigit((unsigned char)s->p[1])))
        return parse_number(s);
    if (*s->p == '\'' || *s->p == '"')
        return parse_text(s);
    if (isalpha((unsigned char)*s->p) || *s->p == '_')
        return parse_name(s);
    if (!take(s, "("))
        return expr_fail(s, s->p, "a number, a name or '(' is expected");
    n = parse_or(s);
    if (n && !take(s, ")"))
        return expr_fail(s, s->p, "')' is expected");
    return n;
}

static struct node *parse_prefix(struct parser *s, const char *op, struct node *(*same)(struct parser *), struct node *(*next)(struct parser *))
{
    struct node *n;
    const char *at;

    skip_space(s);
    at = s->p;
    if (!take(s, op))
        return next(s);
    if (!enter(s))
        return NULL;
    n = node_unary(s, op, same(s), at);
    s->depth--;
    return n;
}

static struct node *parse_left(struct parser *s, struct node *(*next)(struct parser *), const char *const *ops, size_t n_ops, bool once)
{
    struct node *a = next(s);

    while (a) {
        size_t i = 0;
        const char *at;

        skip_space(s);
        at = s->p;
        while (i < n_ops && !take(s, ops[i]))
            i++;
        if (i == n_ops)
            return a;
        a = node_binary(s, ops[i], a, next(s), at);
        if (once)
            return a;
    }
    return NULL;
}

static struct node *parse_unary(struct parser *s)
{
    return parse_prefix(s, "-", parse_unary, parse_primary);
}

static struct node *parse_product(struct parser *s)
{
    static const char *const ops[] = {"*", "/", "%"};

    return parse_left(s, parse_unary, ops, ARRAY_LEN(ops), false);
}

static struct node *parse_sum(struct parser *s)
{
    static const char *const ops[] = {"+", "-"};

    return parse_left(s, parse_product, ops, ARRAY_LEN(ops), false);
}

static struct node *parse_compare(struct parser *s)
{
    static const char *const ops[] = {"==", "=", "!=", "<=", "<", ">=", ">"};
    struct node *a = parse_left(s, parse_sum, ops, ARRAY_LEN(ops), true), **items;
    const char *at;
    bool not;
    size_t n;

    skip_space(s);
    at = s->p;
    not = a && take(s, "not");
    if (a == NULL || !take(s, "in"))
        return not ? expr_fail(s, s->p, "'in' is expected") : a;
    if (!take(s, "("))
        return expr_fail(s, s->p, "'(' and a list of constants are expected");
    if (!enter(s) || (items = parse_items(s, &n)) == NULL)
        return NULL;
    s->depth--;
    if (n == 0)
        return expr_fail(s, at, "the list of 'in' is empty");
    a = node_in(s, a, items, n, at);
    return not ? node_unary(s, "not", a, at) : a;
}

static struct node *parse_not(struct parser *s)
{
    return parse_prefix(s, "not", parse_not, parse_compare);
}

static struct node *parse_and(struct parser *s)
{
    static const char *const ops[] = {"and"};

    return parse_left(s, parse_not, ops, 1, false);
}

static struct node *parse_or(struct parser *s)
{
    static const char *const ops[] = {"or"};
    struct node *n;

    if (!enter(s))
        return NULL;
    n = parse_left(s, parse_and, ops, 1, false);
    s->depth--;
    return n;
}

/* The whole: a constant becomes a column of it. */
static struct node *parse_all(struct parser *s)
{
    struct node *n;

    if (strlen(s->text) > TEXT_MAX)
        return expr_fail(s, s->text, "an expression has at most %d bytes", TEXT_MAX);
    n = parse_or(s);
    skip_space(s);
    if (n && *s->p)
        return expr_fail(s, s->p, "the expression should end here");
    if (n == NULL || n->kind != NODE_CONST)
        return n;
    n = node_as(s, n, n->type == TYPE_NULL ? TYPE_BOOL : n->type);
    return node_copy(s, n);
}

enum status expr_compile(const char *text, expr_resolve_fn *resolve, expr_nearest_fn *nearest, void *ctx, struct expr **ret_expr,
                         enum col_type *ret_type, struct error *err)
{
    struct expr *e = xcalloc(1, sizeof(*e));
    struct parser s = {text, text, e, resolve, nearest, ctx, 0, err};
    struct node *root = parse_all(&s);

    if (root == NULL) {
        expr_free(e);
        return ERR_FATAL;
    }
    expr_arrange(e, root);
    *ret_expr = e;
    *ret_type = expr_col_type(e);
    return OK;
}

void expr_free(struct expr *e)
{
    if (e == NULL)
        return;
    arena_done(&e->arena);
    free(e);
}
