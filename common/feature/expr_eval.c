/* common/feature/expr_eval.c: a parsed expression over the columns of a batch; expr.c has the language. */
#include "feature/expr_tree.h"

#include <math.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)

static double number(const struct col *c, size_t r)
{
    return c->type == COL_DOUBLE ? c->f64[r] : (double)c->i64[r];
}

static void set_number(struct col *c, size_t r, double v)
{
    if (!isfinite(v)) {
        c->null[r] = 1;
        v = 0;
    }
    c->f64[r] = v == 0 ? 0 : v; /* -0.0 becomes 0.0 */
}

static void arithmetic(enum op op, const struct col *a, const struct col *b, struct col *c, size_t r)
{
    bool bad = false;

    if (c->type == COL_DOUBLE) {
        double x = number(a, r), y = number(b, r);

        set_number(c, r, op == OP_ADD   ? x + y
                         : op == OP_SUB ? x - y
                         : op == OP_MUL ? x * y
                         : op == OP_DIV ? x / y
                                        : fmod(x, y));
        return;
    }
    if (op == OP_ADD)
        bad = __builtin_add_overflow(a->i64[r], b->i64[r], &c->i64[r]);
    else if (op == OP_SUB)
        bad = __builtin_sub_overflow(a->i64[r], b->i64[r], &c->i64[r]);
    else if (op == OP_MUL)
        bad = __builtin_mul_overflow(a->i64[r], b->i64[r], &c->i64[r]);
    else if (b->i64[r] == 0 || b->i64[r] == -1)
        bad = b->i64[r] == 0; /* % -1 is 0 for all */
    else
        c->i64[r] = a->i64[r] % b->i64[r];
    if (bad) {
        c->null[r] = 1;
        c->i64[r] = 0;
    }
}

static bool compare(enum op op, const struct col *a, const struct col *b, size_t r)
{
    int order;

    if (a->type == COL_STRING)
        return view_eq(a->view[r], b->view[r]) == (op == OP_EQ);
    if (a->type != COL_DOUBLE && b->type != COL_DOUBLE) {
        order = a->i64[r] < b->i64[r] ? -1 : a->i64[r] > b->i64[r];
    } else {
        double x = number(a, r), y = number(b, r);

        order = x < y ? -1 : x > y;
    }
    switch (op) {
    case OP_EQ: return order == 0;
    case OP_NE: return order != 0;
    case OP_LT: return order < 0;
    case OP_LE: return order <= 0;
    case OP_GT: return order > 0;
    default: return order >= 0;
    }
}

static void logic(enum op op, const struct col *a, const struct col *b, struct col *c, size_t r)
{
    int64_t decides = op == OP_OR;

    if ((!a->null[r] && a->i64[r] == decides) || (!b->null[r] && b->i64[r] == decides))
        c->i64[r] = decides;
    else if (a->null[r] || b->null[r])
        c->null[r] = 1;
    else
        c->i64[r] = !decides;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static void copy_value(const struct col *from, struct col *c, size_t r)
{
    c->null[r] = from->null[r];
    if (c->type == COL_STRING)
        c->view[r] = from->view[r];
    else if (c->type == COL_DOUBLE)
        c->f64[r] = number(from, r);
    else
        c->i64[r] = from->i64[r];
}

static void min_max(const struct node *n, const struct col *args, struct col *c, size_t r)
{
    size_t best = 0;

    for (size_t i = 0; i < n->n_args; i++) {
        if (args[i].null[r]) {
            c->null[r] = 1;
            return;
        }
        if (n->fn->fn == FN_MIN ? number(&args[i], r) < number(&args[best], r) : number(&args[i], r) > number(&args[best], r))
            best = i;
    }
    copy_value(&args[best], c, r);
}

static void call(const struct node *n, const struct col *args, struct col *c, size_t r)
{
    const struct col *a = &args[0];
    double scale;
    size_t i = 0;

    switch (n->fn->fn) {
    case FN_IS_NULL:
        c->i64[r] = a->null[r];
        return;
    case FN_COALESCE:
        while (i + 1 < n->n_args && args[i].null[r])
            i++;
        copy_value(&args[i], c, r);
        return;
    case FN_IF:
        copy_value(&args[!a->null[r] && a->i64[r] ? 1 : 2], c, r);
        return;
    case FN_MIN:
    case FN_MAX:
        min_max(n, args, c, r);
        return;
    default:
        break;
    }
    if (a->null[r] || (n->n_args > 1 && args[1].null[r])) {
        c->null[r] = 1;
        return;
    }
    switch (n->fn->fn) {
    case FN_ABS:
        if (c->type == COL_DOUBLE)
            c->f64[r] = fabs(a->f64[r]);
        else if (a->i64[r] == INT64_MIN)
            c->null[r] = 1;
        else
            c->i64[r] = a->i64[r] < 0 ? -a->i64[r] : a->i64[r];
        break;
    case FN_LOG: set_number(c, r, log(number(a, r))); break;
    case FN_EXP: set_number(c, r, exp(number(a, r))); break;
    case FN_FLOOR: set_number(c, r, floor(number(a, r))); break;
    case FN_ROUND:
        scale = pow(10, number(&args[1], r));
        set_number(c, r, round(number(a, r) * scale) / scale);
        break;
    case FN_HOUR: c->i64[r] = (a->i64[r] - floor_div(a->i64[r], DAY_MS) * DAY_MS) / 3600000; break;
    default: { /* weekday; 1970-01-01 was a Thursday, Monday is 0 */
        int64_t d = floor_div(a->i64[r], DAY_MS) + 3;

        c->i64[r] = d - floor_div(d, 7) * 7;
        break;
    }
    }
}

static void new_col(struct arena *arena, enum col_type type, size_t n, struct col *c)
{
    *c = (struct col){.name = "", .type = type, .null = arena_zalloc(arena, n)};
    c->i64 = arena_zalloc(arena, n * (type == COL_STRING ? sizeof(struct view) : sizeof(int64_t)));
}

static enum status eval(const struct node *n, const struct batch *in, struct col *c, struct error *err)
{
    struct col args[ARGS_MAX];

    if (n->op == OP_COL) {
        const struct col *col = batch_col(in, n->col.name);

        if (col == NULL || col->type != n->type)
            return err_set(err, ERR_FATAL, "no column '%s' of type %s", n->col.name, col_type_name(n->type));
        *c = *col;
        return OK;
    }
    for (size_t i = 0; i < n->n_args; i++)
        if (eval(n->args[i], in, &args[i], err) != OK)
            return err->status;
    new_col(in->arena, n->type, in->n_rows, c);
    for (size_t r = 0; r < in->n_rows; r++) {
        if (n->op == OP_CONST) {
            c->null[r] = n->is_null;
            if (n->type == COL_STRING)
                c->view[r] = n->text;
            else if (n->type == COL_DOUBLE)
                c->f64[r] = n->f64;
            else
                c->i64[r] = n->i64;
        } else if (n->op == OP_CALL) {
            call(n, args, c, r);
        } else if (n->op == OP_AND || n->op == OP_OR) {
            logic(n->op, &args[0], &args[1], c, r);
        } else if (args[0].null[r] || (n->n_args > 1 && args[1].null[r])) {
            c->null[r] = 1;
        } else if (n->op == OP_NOT) {
            c->i64[r] = !args[0].i64[r];
        } else if (n->op == OP_NEG) {
            if (n->type == COL_DOUBLE)
                set_number(c, r, -args[0].f64[r]);
            else if (args[0].i64[r] == INT64_MIN)
                c->null[r] = 1;
            else
                c->i64[r] = -args[0].i64[r];
        } else if (n->op >= OP_EQ) {
            c->i64[r] = compare(n->op, &args[0], &args[1], r);
        } else {
            arithmetic(n->op, &args[0], &args[1], c, r);
        }
    }
    return OK;
}

enum status expr_eval(const struct expr *e, const struct batch *in, struct col *ret_col, struct error *err)
{
    return eval(e->root, in, ret_col, err);
}
