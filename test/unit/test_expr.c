/* test/unit/test_expr.c: expressions against an evaluation row by row; log and exp against libm; texts; a warm loop's allocations. */
#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/rand.h"
#include "feature/expr_tree.h"

#define ROWS 50
#define EXPRESSIONS 20000

static const struct feature_col cols[] = {{"x", COL_DOUBLE, false, -1}, {"n", COL_INT, false, -1},    {"b", COL_BOOL, false, -1},
                                          {"t", COL_INT, true, -1},     {"s", COL_STRING, false, -1}, {"y", COL_DOUBLE, false, -1}};
static struct rand rnd;

/* ---- the slow way: a tree with its text, and a value for one row at a time ---- */
struct value {
    bool null;
    int64_t i;
    double d;
    const char *s;
};

struct tree {
    enum type type;
    const char *op, *text;
    struct value constant;
    struct tree *a[3];
};

static const char *const texts[] = {"", "a", "b", "it's", "Straße", "aa"};
static struct arena trees;

static uint64_t below(uint64_t n)
{
    return rand_below(&rnd, n);
}

/* A number of whole numbers is one, but where the operation gives a number. */
static enum type type_of(const struct tree *t)
{
    enum type type = TYPE_INT;

    if (t->type != TYPE_NUMBER || strcmp(t->op, "/") == 0 || strcmp(t->op, "floor") == 0 || strcmp(t->op, "round") == 0)
        return t->type;
    for (size_t i = strcmp(t->op, "if") == 0; i < 3 && t->a[i]; i++)
        type = t->a[i]->type > type ? t->a[i]->type : type;
    return type;
}

static struct tree *tree(enum type type, const char *op, struct tree *a, struct tree *b, struct tree *c)
{
    struct tree *t = arena_zalloc(&trees, sizeof(*t));

    *t = (struct tree){.type = type, .op = op, .a = {a, b, c}};
    t->type = type_of(t);
    if (c)
        t->text = arena_printf(&trees, "%s(%s, %s, %s)", op, a->text, b->text, c->text);
    else if (b && (op[0] < 'a' || strcmp(op, "and") == 0 || strcmp(op, "or") == 0))
        t->text = arena_printf(&trees, "(%s %s %s)", a->text, op, b->text);
    else if (b)
        t->text = arena_printf(&trees, "%s(%s, %s)", op, a->text, b->text);
    else
        t->text = arena_printf(&trees, op[0] == '-' || strcmp(op, "not") == 0 ? "(%s %s)" : "%s(%s)", op, a->text);
    return t;
}

static struct tree *leaf(enum type type)
{
    struct tree *t = arena_zalloc(&trees, sizeof(*t));

    t->type = type;
    t->op = below(3) ? "column" : "constant";
    if (t->op[1] == 'o' && t->op[2] == 'l') {
        t->text = type == TYPE_BOOL ? "b" : type == TYPE_INT ? "n" : type == TYPE_NUMBER ? (below(2) ? "x" : "y") : type == TYPE_TIME ? "t" : "s";
        return t;
    }
    t->constant.i = (int64_t)below(type == TYPE_BOOL ? 2 : type == TYPE_TIME ? 2000000000000 : 7);
    t->constant.d = (double)below(40) / 8;
    t->constant.s = texts[below(ARRAY_LEN(texts))];
    if (type == TYPE_BOOL)
        t->text = t->constant.i ? "true" : "false";
    else if (type == TYPE_NUMBER)
        t->text = arena_printf(&trees, "%.3f", t->constant.d);
    else if (type == TYPE_TEXT)
        t->text = strcmp(t->constant.s, "it's") == 0 ? (below(2) ? "\"it's\"" : "'it''s'") : arena_printf(&trees, "'%s'", t->constant.s);
    else
        t->text = arena_printf(&trees, type == TYPE_TIME ? "time(%" PRId64 ")" : "%" PRId64, t->constant.i);
    return t;
}

static struct tree *make(enum type type, int depth);

static enum type any_type(void)
{
    return (enum type)(TYPE_BOOL + below(5));
}

static struct tree *make_condition(int depth)
{
    static const char *const orders[] = {"=", "!=", "<", "<=", ">", ">=", "=="};
    enum type type = any_type();

    switch (below(6)) {
    case 0:
        return tree(TYPE_BOOL, below(2) ? "and" : "or", make(TYPE_BOOL, depth), make(TYPE_BOOL, depth), NULL);
    case 1:
        return tree(TYPE_BOOL, "not", make(TYPE_BOOL, depth), NULL, NULL);
    case 2:
        return tree(TYPE_BOOL, "is_null", make(type, depth), NULL, NULL);
    case 3:
        return tree(TYPE_BOOL, "is_weekend", make(TYPE_TIME, depth), NULL, NULL);
    default:
        return tree(TYPE_BOOL, orders[below(type == TYPE_TEXT ? 2 : 7)], make(type, depth),
                    make(type == TYPE_INT && below(2) ? TYPE_NUMBER : type, depth), NULL);
    }
}

static struct tree *make_number(enum type type, int depth)
{
    static const char *const arithmetic[] = {"+", "-", "*", "%", "min", "max", "/"};
    static const char *const calendar[] = {"minute", "hour", "weekday", "day", "month", "year", "day_of_year", "week"};
    struct tree *a = make(type == TYPE_NUMBER && below(4) == 0 ? TYPE_INT : type, depth);

    switch (below(6)) {
    case 0:
        return type == TYPE_INT ? tree(TYPE_INT, calendar[below(8)], make(TYPE_TIME, depth), NULL, NULL) : tree(type, "floor", a, NULL, NULL);
    case 1:
        return tree(a->type, below(2) ? "abs" : "-", a, NULL, NULL);
    case 2:
        return tree(type, "clip", make(type, depth), make(type, depth), make(type, depth));
    case 3:
        return type == TYPE_INT ? tree(type, "-", make(TYPE_TIME, depth), make(TYPE_TIME, depth), NULL) : tree(type, "round", a, NULL, NULL);
    default:
        return tree(type, arithmetic[below(type == TYPE_NUMBER ? 7 : 6)], a, make(type, depth), NULL);
    }
}

static struct tree *make_time(int depth)
{
    switch (below(4)) {
    case 0:
        return tree(TYPE_TIME, "time", make(TYPE_INT, depth), NULL, NULL);
    case 1:
        return tree(TYPE_TIME, below(2) ? "min" : "max", make(TYPE_TIME, depth), make(TYPE_TIME, depth), NULL);
    default:
        return tree(TYPE_TIME, below(2) ? "+" : "-", make(TYPE_TIME, depth), make(TYPE_INT, depth), NULL);
    }
}

static struct tree *make(enum type type, int depth)
{
    if (depth == 0 || below(8) == 0)
        return leaf(type);
    depth--;
    if (type == TYPE_TEXT || below(5) == 0)
        switch (below(3)) {
        case 0:
            return tree(type, "coalesce", make(type, depth), make(type, depth), NULL);
        case 1:
            return tree(type, "pick", make(TYPE_INT, depth), make(type, depth), make(type, depth));
        default:
            return tree(type, "if", make(TYPE_BOOL, depth), make(type, depth), make(type, depth));
        }
    return type == TYPE_BOOL ? make_condition(depth) : type == TYPE_TIME ? make_time(depth) : make_number(type, depth);
}

static const struct value null_value = {.null = true, .s = ""};

static struct value number(double d)
{
    return isfinite(d) ? (struct value){.d = d + 0.0, .s = ""} : null_value;
}

static struct value whole(int128 i)
{
    return i >= INT64_MIN && i <= INT64_MAX ? (struct value){.i = (int64_t)i, .s = ""} : null_value;
}

static struct value of_column(const struct tree *t, const struct batch *b, size_t r)
{
    const struct col *c = batch_col(b, t->text);
    char *s;

    if (c->null[r])
        return null_value;
    if (c->type == COL_DOUBLE)
        return isfinite(c->f64[r]) ? (struct value){.d = c->f64[r], .s = ""} : null_value;
    if (c->type != COL_STRING)
        return whole(c->i64[r]);
    s = arena_zalloc(&trees, c->view[r].n + 1);
    memcpy(s, c->view[r].data, c->view[r].n);
    return (struct value){.s = s};
}

static struct value as_number(const struct tree *t, struct value v)
{
    if (t->type != TYPE_NUMBER && t->type != TYPE_TEXT)
        v.d = (double)v.i;
    return v;
}

static int order(enum type a, enum type b, struct value x, struct value y)
{
    if (a == TYPE_TEXT)
        return strcmp(x.s, y.s);
    if (a == TYPE_NUMBER || b == TYPE_NUMBER)
        return x.d < y.d ? -1 : x.d > y.d;
    return x.i < y.i ? -1 : x.i > y.i;
}

/* By libc's own calendar. */
static struct value calendar(const char *op, int64_t ms)
{
    time_t s = (time_t)(((int128)ms - ((ms % 1000) + 1000) % 1000) / 1000);
    char week[8];
    struct tm tm;

    assert_non_null(gmtime_r(&s, &tm));
    strftime(week, sizeof(week), "%V", &tm);
    return whole(strcmp(op, "minute") == 0 ? tm.tm_min : strcmp(op, "hour") == 0 ? tm.tm_hour : strcmp(op, "day") == 0 ? tm.tm_mday
                 : strcmp(op, "weekday") == 0 ? (tm.tm_wday + 6) % 7 : strcmp(op, "month") == 0 ? tm.tm_mon + 1
                 : strcmp(op, "year") == 0 ? tm.tm_year + INT64_C(1900) : strcmp(op, "day_of_year") == 0 ? tm.tm_yday + 1
                 : strcmp(op, "week") == 0 ? atoi(week) : (tm.tm_wday + 6) % 7 >= 5);
}

static struct value arithmetic(const struct tree *t, struct value x, struct value y)
{
    char op = t->op[0];

    if (t->type == TYPE_NUMBER)
        return number(op == '+' ? x.d + y.d : op == '-' ? x.d - y.d : op == '*' ? x.d * y.d : op == '/' ? x.d / y.d : fmod(x.d, y.d));
    if (op == '%')
        return y.i == 0 ? null_value : whole((int128)x.i % y.i);
    return whole(op == '+' ? (int128)x.i + y.i : op == '-' ? (int128)x.i - y.i : (int128)x.i * y.i);
}

/* What is not null because all its operands are not. */
static bool of_null(const struct tree *t, const struct value *v, struct value *ret)
{
    if (strcmp(t->op, "is_null") == 0)
        *ret = whole(v[0].null);
    else if (strcmp(t->op, "coalesce") == 0)
        *ret = v[0].null ? v[1] : v[0];
    else if (strcmp(t->op, "if") == 0)
        *ret = !v[0].null && v[0].i ? v[1] : v[2];
    else if (strcmp(t->op, "pick") == 0)
        *ret = v[0].null || v[0].i < 0 || v[0].i > 1 ? null_value : v[v[0].i + 1];
    else if (strcmp(t->op, "and") == 0)
        *ret = (!v[0].null && !v[0].i) || (!v[1].null && !v[1].i) ? whole(0) : v[0].null || v[1].null ? null_value : whole(1);
    else if (strcmp(t->op, "or") == 0)
        *ret = (!v[0].null && v[0].i) || (!v[1].null && v[1].i) ? whole(1) : v[0].null || v[1].null ? null_value : whole(0);
    else
        return false;
    return true;
}

static struct value of_row(const struct tree *t, const struct batch *b, size_t r)
{
    struct value v[3] = {{0}}, x, y, z;
    enum type ta, tb;
    int o;

    if (t->a[0] == NULL)
        return strcmp(t->op, "column") == 0 ? of_column(t, b, r) : t->constant;
    for (size_t i = 0; i < 3 && t->a[i]; i++)
        v[i] = as_number(t->a[i], of_row(t->a[i], b, r));
    if (of_null(t, v, &x))
        return x;
    if (v[0].null || v[1].null || v[2].null)
        return null_value;
    x = v[0];
    y = v[1];
    ta = t->a[0]->type;
    tb = t->a[1] ? t->a[1]->type : ta;
    if (strcmp(t->op, "clip") == 0) {
        z = order(t->type, t->type, x, y) < 0 ? y : x;
        return order(t->type, t->type, z, v[2]) > 0 ? v[2] : z;
    }
    if (strcmp(t->op, "min") == 0 || strcmp(t->op, "max") == 0)
        return (order(ta, tb, y, x) < 0) == (t->op[1] == 'i') && order(ta, tb, y, x) != 0 ? y : x;
    if (strcmp(t->op, "abs") == 0)
        return t->type == TYPE_NUMBER ? number(fabs(x.d)) : whole(x.i < 0 ? -(int128)x.i : x.i);
    if (strcmp(t->op, "floor") == 0 || strcmp(t->op, "round") == 0)
        return number(t->op[0] == 'f' ? floor(x.d) : round(x.d));
    if (strcmp(t->op, "time") == 0)
        return x;
    if (strcmp(t->op, "not") == 0)
        return whole(!x.i);
    if (t->a[1] == NULL && t->op[0] == '-')
        return t->type == TYPE_NUMBER ? number(-x.d) : whole(-(int128)x.i);
    if (t->a[1] == NULL)
        return calendar(t->op, x.i);
    if (strchr("+-*/%", t->op[0]))
        return arithmetic(t, x, y);
    o = order(ta, tb, x, y);
    return whole(t->op[0] == '=' ? o == 0 : t->op[0] == '!' ? o != 0 : t->op[0] == '<' ? (t->op[1] ? o <= 0 : o < 0) : t->op[1] ? o >= 0 : o > 0);
}

static void fill(struct batch *b, struct arena *a)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, -0.0, 1e308, -1e308, 5e-324, 9007199254740993.0};
    static const int64_t far[] = {INT64_MIN, INT64_MAX, -1, 0, INT64_C(9007199254740993), INT64_MIN + 1};

    batch_init(b, a, ROWS);
    b->n_rows = ROWS;
    for (size_t i = 0; i < ARRAY_LEN(cols); i++) {
        struct col *c = batch_add_col(b, cols[i].name, cols[i].type);

        for (size_t r = 0; r < ROWS; r++) {
            c->null[r] = below(8) == 0;
            if (c->null[r])
                continue;
            if (c->type == COL_DOUBLE) /* y is finite throughout */
                c->f64[r] = i == 0 && below(5) == 0 ? odd[below(8)] : (double)below(400) / 8 - 20;
            else if (c->type == COL_STRING)
                c->view[r] = view_str(texts[below(ARRAY_LEN(texts))]);
            else if (c->type == COL_BOOL)
                c->i64[r] = (int64_t)below(2);
            else if (cols[i].is_time)
                c->i64[r] = (int64_t)below(8000000000000) - 3000000000000;
            else
                c->i64[r] = below(5) == 0 ? far[below(6)] : (int64_t)below(20) - 8;
        }
    }
}

static void check(const struct tree *t, const struct batch *b, const struct expr *e)
{
    struct col c;
    struct error err;

    assert_int_equal(expr_eval(e, b, &c, &err), OK);
    for (size_t r = 0; r < ROWS; r++) {
        struct value want = of_row(t, b, r);
        bool same = c.type == COL_DOUBLE   ? c.f64[r] == want.d
                    : c.type == COL_STRING ? view_eq(c.view[r], view_str(want.s))
                                           : c.i64[r] == want.i;
        bool zero = c.type == COL_STRING ? c.view[r].n == 0 : c.i64[r] == 0;

        if (c.null[r] != want.null || (want.null ? !zero : !same))
            fail_msg("%s: row %zu: want %s %.17g %" PRId64 " '%s', got %s %.17g %" PRId64, t->text, r, want.null ? "null" : "", want.d, want.i,
                     want.s, c.null[r] ? "null" : "", c.type == COL_STRING ? 0 : c.f64[r], c.type == COL_STRING ? 0 : c.i64[r]);
    }
}

static void random_expressions_are_as_row_by_row(void **state)
{
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 10) : 19;
    struct arena arena = ARENA_EMPTY;
    size_t n_refused = 0;

    (void)state;
    printf("seed %" PRIu64 "\n", seed);
    rand_seed(&rnd, seed);
    for (size_t i = 0; i < EXPRESSIONS; i++) {
        struct tree *t = make(any_type(), (int)below(5));
        struct expr *e;
        enum col_type type;
        struct error err;
        struct batch b;

        if (t->a[0] == NULL && strcmp(t->op, "column") == 0)
            continue; /* the field as it is */
        if (expr_new(t->text, cols, ARRAY_LEN(cols), &e, &type, &err) != OK) {
            if (strstr(err.text, "division by a constant zero") == NULL && strstr(err.text, "clip's least") == NULL &&
                strstr(err.text, "at most 16384") == NULL)
                fail_msg("%s: %s", t->text, err.text);
            n_refused++;
        } else {
            assert_int_equal(expr_is_time(e), t->type == TYPE_TIME);
            fill(&b, &arena);
            check(t, &b, e);
            expr_free(e);
        }
        arena_reset(&trees);
        arena_reset(&arena);
    }
    assert_true(n_refused < EXPRESSIONS / 10);
    arena_done(&trees);
    arena_done(&arena);
}

/* ---- log, exp ---- */
static double ulps(double got, double want)
{
    return got == want ? 0 : fabs(got - want) / (nextafter(fabs(want), INFINITY) - fabs(want));
}

static void log_and_exp_are_within_two_units_of_libm(void **state)
{
    (void)state;
    rand_seed(&rnd, 23);
    for (int i = 0; i < 1000000; i++) {
        double y = (rand_unit(&rnd) - 0.5) * (i % 3 ? 1480 : 4), x = exp(i % 2 ? y / 2 : y / 1000);

        if (!(ulps(math_log(x), log(x)) <= 2) || (isfinite(exp(y)) && !(ulps(math_exp(y), exp(y)) <= 2)))
            fail_msg("seed 23, round %d: log(%a) %a, exp(%a) %a", i, x, math_log(x), y, math_exp(y));
    }
    assert_true(math_log(1) == 0 && math_exp(0) == 1 && isinf(math_log(0)) && isnan(math_log(-1)) && isnan(math_log(INFINITY)));
    assert_true(math_exp(-1000) == 0 && isinf(math_exp(1000)) && isnan(math_exp(NAN)));
    /* the same bits everywhere: these are of every machine */
    assert_true(math_log(2.5) == 0x1.d5240f0e0e078p-1 && math_exp(1) == 0x1.5bf0a8b14576ap+1 && math_exp(-20.25) == 0x1.b93de1e27ca3bp-30);
}

/* ---- what a table says better ---- */
static void membership_and_choice_give_what_the_table_says(void **state)
{
    static const struct {
        const char *text;
        double want; /* NAN: null */
    } cases[] = {
        {"s in ('x', 'a', \"it's\")", 1},   {"s not in ('x', 'y')", 1},  {"n in (3, 1, 2)", 1},          {"n in (3.5, 2)", 1},
        {"n not in (2)", 0},                {"x in (2.5)", 1},           {"nul in (1, 2)", NAN},         {"t in (time('1970-01-01'))", 0},
        {"n in (-2, 1 + 1)", 1},            {"clip(x, 0, 1)", 1},        {"clip(-x, 0, 1)", 0},          {"clip(nul, 0, 1)", NAN},
        {"coalesce(nul, nul, null, 4)", 4}, {"max(1, x, 2)", 2.5},       {"max(1, nul, 2)", NAN},        {"round(1234.5, -2)", 1200},
        {"round(-2.5)", -3},                {"round(1e300, 15)", 1e300}, {"is_null(null)", 1},           {"null", NAN},
        {"null and false", 0},              {"time('2018-07-25T10:00:00+02:00') - time('2018-07-25')", 28800000},
        {"if(null, 1, 2)", 2},              {"week(time('2021-01-03'))", 53}, {"5", 5}, {"true + true", 2}, {"hash(5, 1000) = hash('5', 1000)", 1},
        {"year(time(-9223372036854775807))", -292275055}, {"hash(s, 1)", 0}, {"n in (9007199254740993)", 0}, {"-0.0", 0}, {"0 / -x", 0}, {"round(-0.1)", 0}, {"min(-0.0, 0)", 0},
        {"pick(n, 5, 6, 7.5)", 7.5},        {"pick(n - 2, 5, 6)", 5},    {"pick(n, 5, 6)", NAN},         {"pick(-1, 5, n)", NAN},
        {"pick(nul, 5, 6)", NAN},           {"pick(true, 5, nul)", NAN}, {"pick(1, 'b', s) = 'a'", 1},   {"pick(n + 9223372036854775805, 5, 6)", NAN},
    };
    static const struct feature_col some[] = {{"x", COL_DOUBLE, false, -1}, {"n", COL_INT, false, -1},    {"nul", COL_INT, false, -1},
                                              {"t", COL_INT, true, -1},     {"s", COL_STRING, false, -1}};
    struct arena arena = ARENA_EMPTY;
    struct batch b;

    (void)state;
    batch_init(&b, &arena, 1);
    b.n_rows = 1;
    batch_add_col(&b, "x", COL_DOUBLE)->f64[0] = 2.5;
    batch_add_col(&b, "n", COL_INT)->i64[0] = 2;
    batch_add_col(&b, "nul", COL_INT)->null[0] = 1;
    batch_add_col(&b, "t", COL_INT)->i64[0] = -1;
    batch_add_col(&b, "s", COL_STRING)->view[0] = view_str("a");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct expr *e;
        enum col_type type;
        struct error err;
        struct col c;
        double got;

        if (expr_new(cases[i].text, some, ARRAY_LEN(some), &e, &type, &err) != OK || expr_eval(e, &b, &c, &err) != OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        got = c.null[0] ? NAN : type == COL_DOUBLE ? c.f64[0] : (double)c.i64[0];
        if (signbit(got) && got == 0)
            fail_msg("%s: -0.0", cases[i].text);
        if (!(got == cases[i].want || (isnan(got) && isnan(cases[i].want))))
            fail_msg("%s: want %.17g, got %.17g", cases[i].text, cases[i].want, got);
        expr_free(e);
    }
    arena_done(&arena);
}

/* A field is itself; an operation on its NaN or infinity is null. */
static void what_is_not_finite_is_null_to_an_operation(void **state)
{
    static const char *const ops[] = {"x = x", "x < 5", "coalesce(x, -1) = -1", "is_null(x)", "max(x, 1)", "x in (1)", "x"};
    static const double odd[] = {NAN, INFINITY, -INFINITY};
    struct arena arena = ARENA_EMPTY;
    struct batch b;

    (void)state;
    batch_init(&b, &arena, 3);
    b.n_rows = 3;
    memcpy(batch_add_col(&b, "x", COL_DOUBLE)->f64, odd, sizeof(odd));
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct expr *e;
        enum col_type type;
        struct error err;
        struct col c;

        assert_int_equal(expr_new(ops[i], cols, 1, &e, &type, &err), OK);
        assert_int_equal(expr_eval(e, &b, &c, &err), OK);
        for (size_t r = 0; r < 3; r++)
            if (i == 6)
                assert_true(!c.null[r] && !isfinite(c.f64[r]));
            else if (i == 2 || i == 3)
                assert_true(!c.null[r] && c.i64[r] == 1);
            else
                assert_true(c.null[r] == 1);
        expr_free(e);
    }
    assert_true(isnan(b.cols[0].f64[0]) && !b.cols[0].null[0]); /* the batch's own column is not touched */
    arena_done(&arena);
}

/* All of them in one batch, again and again. */
static void a_warm_loop_allocates_nothing(void **state)
{
    static const char *const all[] = {"coalesce(x / (n + 1), 0) * 2", "s in ('a', 'b') or hour(t, 'Europe/Berlin') > 5", "log(x + 1) + exp(-x)",
                                      "hash(s, 50) + hash(n, 50)", "if(b, s, 'none') = 'none'", "week(t, 'America/New_York')"};
    struct expr *e[ARRAY_LEN(all)];
    struct arena data = ARENA_EMPTY, arena = ARENA_EMPTY;
    struct batch b;
    enum col_type type;
    struct error err;
    size_t held = 0;

    (void)state;
    rand_seed(&rnd, 29);
    fill(&b, &data);
    b.arena = &arena;
    for (size_t k = 0; k < ARRAY_LEN(all); k++)
        if (expr_new(all[k], cols, ARRAY_LEN(cols), &e[k], &type, &err) != OK)
            fail_msg("%s: %s", all[k], err.text);
    for (int i = 0; i < 1000; i++) {
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            struct col c;

            assert_int_equal(expr_eval(e[k], &b, &c, &err), OK);
        }
        arena_reset(&arena);
        if (i == 10)
            held = mallinfo2().uordblks;
    }
    assert_true(mallinfo2().uordblks == held);
    for (size_t k = 0; k < ARRAY_LEN(all); k++)
        expr_free(e[k]);
    arena_done(&data);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_expressions_are_as_row_by_row),
        cmocka_unit_test(log_and_exp_are_within_two_units_of_libm),
        cmocka_unit_test(membership_and_choice_give_what_the_table_says),
        cmocka_unit_test(what_is_not_finite_is_null_to_an_operation),
        cmocka_unit_test(a_warm_loop_allocates_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
