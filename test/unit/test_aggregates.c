/*
 * test/unit/test_aggregates.c: every aggregate of the table over every kind of window, with and without delay, condition and the event itself,
 * against a slow oracle that sorts a row's past anew; batches and restores that show nowhere; errors of what is not exact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "feature/aggregates.h"
#include "feature/feature.h"
#include "state_move.h"

#define N_ROWS 400
#define N_KEYS 3
#define LATENESS_MS 3000
#define COLS_MAX 128

static const struct feature_col buy_cols[] = {{"x", COL_DOUBLE, false, 2}, {"kind", COL_STRING, false, -1}};
static const struct feature_col mark_cols[] = {{"y", COL_DOUBLE, false, 2}};
static const struct feature_input inputs[] = {{"buys", buy_cols, 2, 0, NULL, 0}, {"marks", mark_cols, 1, 0, NULL, 0}};
static const char *const spans[] = {"5s", "30s", "last3", "last10", "gap2s", "ever"};
static const int64_t span_ms[] = {5000, 30000, 0, 0, 2000, 0};
static const size_t span_n[] = {0, 0, 3, 10, 0, 0};
static const char *const kinds[] = {"a", "b", "c", "d"};

struct taken {
    int input, key, kind;
    int64_t ms;
    double x; /* NAN: null */
};

struct column {
    const struct aggregate *aggregate;
    struct feature_def def;
    int input, span;
    bool others, where;
    int64_t delay_ms;
    double parameter;
};

struct trial {
    struct taken rows[N_ROWS];
    struct column columns[COLS_MAX];
    size_t n_columns;
    double got[N_ROWS][COLS_MAX];
};

/* Mostly rising times with ties, pauses, and disorder within the lateness; values negative, huge, equal and null. */
static void make_rows(struct taken *rows, uint64_t seed)
{
    struct rand r;
    int64_t now = (int64_t[]){-5000000, 9000000000000000, -9000000000000000}[seed % 3], at = now; /* about 1970, and far from it */

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        struct taken *row = &rows[i];

        now += rand_below(&r, 3) == 0 ? 0 : (int64_t)rand_below(&r, rand_below(&r, 100) == 0 ? 100000 : 1500);
        *row = (struct taken){rand_below(&r, 3) == 0, (int)rand_below(&r, N_KEYS), (int)rand_below(&r, 4), now, 0};
        if (rand_below(&r, 4) == 0)
            row->ms -= (int64_t)rand_below(&r, LATENESS_MS);
        row->ms = row->ms < at - LATENESS_MS ? at - LATENESS_MS : row->ms;
        at = row->ms > at ? row->ms : at;
        row->x = rand_below(&r, 2) ? (double)rand_below(&r, 9) - 4 : rint((rand_unit(&r) - 0.5) * 1e5) / 100;
        if (rand_below(&r, 30) == 0)
            row->x = rand_below(&r, 2) ? 1e12 : -1e12;
        if (rand_below(&r, 6) == 0)
            row->x = NAN;
    }
}

/* ---- the oracle ---- */
struct past_rows {
    const struct taken *row[N_ROWS];
    size_t n;
};

static bool holds(const struct column *c, const struct taken *row)
{
    return !c->where || row->x > 0;
}

/* What lies up to the window's end, in order of time and taking. */
static void all_before(const struct trial *t, const struct column *c, size_t at, struct past_rows *ret)
{
    const struct taken *own = &t->rows[at];

    ret->n = 0;
    for (size_t i = 0; i < at + !c->others; i++) {
        const struct taken *row = &t->rows[i];
        size_t k = ret->n;

        if (row->input != c->input || row->key != own->key || !holds(c, row) || row->ms > own->ms - c->delay_ms)
            continue;
        for (; k > 0 && ret->row[k - 1]->ms > row->ms; k--)
            ret->row[k] = ret->row[k - 1];
        ret->row[k] = row;
        ret->n++;
    }
}

static void window_of(const struct trial *t, const struct column *c, size_t at, struct past_rows *ret)
{
    int64_t until = t->rows[at].ms - c->delay_ms, next = until;
    struct past_rows all;
    size_t from = 0;

    all_before(t, c, at, &all);
    if (span_n[c->span] != 0 || (c->span == 5 && c->aggregate->only_latest)) {
        size_t n = span_n[c->span] ? span_n[c->span] : 1;

        from = all.n > n ? all.n - n : 0;
    } else if (c->span == 4) {
        for (from = all.n; from > 0 && next - all.row[from - 1]->ms <= span_ms[4]; from--)
            next = all.row[from - 1]->ms;
    } else if (c->span < 2 && !c->aggregate->only_ever) {
        while (from < all.n && all.row[from]->ms <= until - span_ms[c->span])
            from++;
    }
    ret->n = all.n - from;
    for (size_t i = 0; i < ret->n; i++)
        ret->row[i] = all.row[from + i];
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static size_t values_of(const struct past_rows *w, double *v)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++)
        if (!isnan(w->row[i]->x))
            v[n++] = w->row[i]->x;
    qsort(v, n, sizeof(*v), by_value);
    return n;
}

static double top_of(const double *sorted, size_t n, int rank)
{
    double last = NAN;
    size_t last_n = SIZE_MAX;

    for (int k = 0; k < rank; k++) {
        double best = NAN;
        size_t best_n = 0;

        for (size_t i = 0, j; i < n; i = j) {
            for (j = i; j < n && sorted[j] == sorted[i]; j++)
                ;
            if ((j - i < last_n || (j - i == last_n && sorted[i] > last)) && j - i > best_n) {
                best = sorted[i];
                best_n = j - i;
            }
        }
        last = best;
        last_n = best_n;
        if (best_n == 0)
            return NAN;
    }
    return last;
}

static double spread_of(const double *v, size_t n)
{
    int128 sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += (int128)rint(v[i] * 100);
    for (size_t i = 0; i < n; i++) {
        int128 d = (int128)rint(v[i] * 100) * (int128)n - sum;

        squares += d * d;
    }
    return n < 2 ? NAN : (double)squares / ((double)n * (double)n * (double)(n - 1)) / 1e4;
}

static double weighted(const struct past_rows *w, double half_ms)
{
    double sum = 0, weight = 0;

    for (size_t i = 0; i < w->n; i++) {
        double f = exp2(-(double)(w->row[w->n - 1]->ms - w->row[i]->ms) / half_ms);

        if (isnan(w->row[i]->x))
            continue;
        sum += w->row[i]->x * f;
        weight += f;
    }
    return weight > 0 ? sum / weight : NAN;
}

static double oracle(const struct trial *t, const struct column *c, size_t at)
{
    const char *name = c->aggregate->name;
    int64_t until = t->rows[at].ms - c->delay_ms;
    double v[N_ROWS], own = t->rows[at].x, mean = NAN;
    struct past_rows w;
    int128 sum = 0;
    size_t n, different = 0;

    window_of(t, c, at, &w);
    n = values_of(&w, v);
    for (size_t i = 0; i < n; i++) {
        sum += (int128)rint(v[i] * 100);
        different += i == 0 || v[i] != v[i - 1];
    }
    mean = n ? (double)sum / (100 * (double)n) : NAN;
    if (strcmp(name, "count") == 0)
        return (double)w.n;
    if (strcmp(name, "sum") == 0)
        return (double)sum / 100;
    if (strcmp(name, "mean") == 0)
        return mean;
    if (strcmp(name, "variance") == 0)
        return spread_of(v, n);
    if (strcmp(name, "stddev") == 0)
        return sqrt(spread_of(v, n));
    if (strcmp(name, "zscore") == 0)
        return spread_of(v, n) > 0 ? (own - mean) / sqrt(spread_of(v, n)) : NAN;
    if (strcmp(name, "ratio") == 0)
        return mean == 0 ? NAN : own / mean;
    if (strcmp(name, "min") == 0)
        return n ? v[0] : NAN;
    if (strcmp(name, "max") == 0)
        return n ? v[n - 1] : NAN;
    if (strcmp(name, "first") == 0)
        return w.n ? w.row[0]->x : NAN;
    if (strcmp(name, "last") == 0 || strcmp(name, "previous") == 0)
        return w.n ? w.row[w.n - 1]->x : NAN;
    if (strcmp(name, "since") == 0)
        return w.n ? (double)(until - w.row[w.n - 1]->ms) : NAN;
    if (strcmp(name, "rate") == 0 && c->span < 2)
        return (double)w.n * 1000.0 / (double)span_ms[c->span];
    if (strcmp(name, "rate") == 0)
        return w.n && until > w.row[0]->ms ? (double)w.n * 1000.0 / (double)(until - w.row[0]->ms) : NAN;
    if (strcmp(name, "distinct") == 0)
        return (double)different;
    if (strcmp(name, "top") == 0)
        return top_of(v, n, (int)c->parameter);
    if (strcmp(name, "quantile") == 0)
        return n ? v[(size_t)ceil(c->parameter * (double)n) - 1] : NAN;
    if (strcmp(name, "ewm") == 0)
        return weighted(&w, (double)span_ms[c->span]);
    fail_msg("the oracle knows no '%s'", name);
    return NAN;
}

/* ---- the engine ---- */
static void make_columns(struct trial *t, const struct aggregate *a)
{
    static char names[COLS_MAX][24];

    t->n_columns = 0;
    for (int i = 0; i < 96; i++) {
        struct column c = {.aggregate = a, .input = i & 1, .others = (i >> 1 & 1) || a->others, .where = i >> 2 & 1,
                           .delay_ms = i >> 3 & 1 ? 4000 : 0, .span = i / 16};

        if ((a->is_own && c.input == 1) || (a->not_ever && c.span == 5) || (a->only_ever && c.span > 1))
            continue;
        c.parameter = a->parameter == NULL ? 0 : a->parameter_max > 1 ? 1 + i % 3 : (double[]){0.5, 0.9, 1}[i % 3];
        snprintf(names[t->n_columns], sizeof(names[0]), "f%zu", t->n_columns);
        c.def = (struct feature_def){.name = names[t->n_columns], .aggregate = a->name,
                                     .of = a->takes == TAKES_TOPIC ? inputs[c.input].name : c.input ? "y" : "x",
                                     .over = &spans[c.span], .n_over = 1, .delay = c.delay_ms ? "4s" : NULL, .others = c.others,
                                     .where = !c.where ? NULL : c.input ? "y > 0" : "x > 0",
                                     .has_parameter = a->parameter != NULL, .parameter = c.parameter};
        t->columns[t->n_columns++] = c;
    }
}

static struct features *compile(const struct trial *t)
{
    struct feature_def defs[COLS_MAX];
    struct features *f = NULL;
    struct error err;

    for (size_t i = 0; i < t->n_columns; i++)
        defs[i] = t->columns[i].def;
    if (features_new(inputs, 2, 0, defs, t->n_columns, &f, &err) != OK)
        fail_msg("%s", err.text);
    return f;
}

/* rows[from, to), all of one input. */
static void apply(const struct features *f, struct state *s, struct trial *t, size_t from, size_t to, int64_t at, struct arena *a)
{
    size_t n = to - from;
    struct view *keys = arena_alloc(a, n * sizeof(*keys));
    int64_t *ms = arena_alloc(a, n * sizeof(*ms));
    const char **bad = arena_zalloc(a, n * sizeof(*bad));
    int input = t->rows[from].input;
    struct error err;
    struct batch b;

    batch_init(&b, a, n);
    b.n_rows = n;
    for (size_t i = 0; i < inputs[input].n_cols; i++)
        batch_add_col(&b, inputs[input].cols[i].name, inputs[input].cols[i].type);
    for (size_t r = 0; r < n; r++) {
        const struct taken *row = &t->rows[from + r];

        keys[r] = view_str(arena_printf(a, "key %d", row->key));
        ms[r] = row->ms;
        b.cols[0].null[r] = (uint8_t)(isnan(row->x) != 0);
        b.cols[0].f64[r] = isnan(row->x) ? 0 : row->x;
        if (input == 0)
            b.cols[1].view[r] = view_str(kinds[row->kind]);
    }
    if (features_apply(f, s, (size_t)input, &b, keys, ms, bad, at, LATENESS_MS, 1, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t r = 0; r < n; r++) { /* what is here never looks as if it could not be */
        const struct entry *e = state_find(s, keys[r]);

        if (e && features_check(f, view_of(e->value, e->n_bytes), &err) != OK)
            fail_msg("row %zu: %s", from + r, err.text);
        if (n > 1)
            move_together(f, s, keys[r]);
    }
    for (size_t r = 0; input == 0 && r < n; r++)
        for (size_t c = 0; c < features_n_cols(f); c++) {
            const struct col *col = batch_col(&b, features_cols(f)[c].name);

            assert_null(bad[r]);
            t->got[from + r][c] = col->null[r] ? NAN : col->type == COL_DOUBLE ? col->f64[r] : (double)col->i64[r];
        }
}

static void play(const struct features *f, struct trial *t, size_t batch, size_t restore_at)
{
    struct state *s = state_new(SIZE_MAX);
    struct arena a = ARENA_EMPTY;
    int64_t at = INT64_MIN;

    for (size_t from = 0, to; from < N_ROWS; from = to) {
        for (to = from; to < N_ROWS && to < from + batch && t->rows[to].input == t->rows[from].input; to++)
            ;
        if (restore_at >= from && restore_at < to)
            s = restored(s);
        arena_reset(&a);
        apply(f, s, t, from, to, at, &a);
        for (size_t i = from; i < to; i++)
            at = t->rows[i].input == 0 && t->rows[i].ms > at ? t->rows[i].ms : at;
    }
    arena_done(&a);
    state_free(s);
}

static bool near(const struct column *c, double want, double got)
{
    const char *name = c->aggregate->name;
    double allowed = strcmp(name, "quantile") == 0 ? 0.004 : c->aggregate->parts[1] ? 1e-13 : c->aggregate->only_ever ? 1e-6 : 0;

    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (c->aggregate->only_ever) /* the weights of values of 1e12 fade, their last bits do not */
        return fabs(want - got) <= allowed * (1 + fabs(want));
    return fabs(want - got) <= allowed * fabs(want);
}

static void check(const struct trial *t, uint64_t seed, double want[N_ROWS][COLS_MAX])
{
    for (size_t r = 0; r < N_ROWS; r++)
        for (size_t c = 0; t->rows[r].input == 0 && c < t->n_columns; c++) {
            const struct column *col = &t->columns[c];

            want[r][c] = oracle(t, col, r);
            if (!near(col, want[r][c], t->got[r][c]))
                fail_msg("seed %llu, row %zu at %lld, %s of %s over %s%s%s%s: want %.17g, got %.17g", (unsigned long long)seed, r,
                         (long long)t->rows[r].ms, col->aggregate->name, col->def.of, spans[col->span], col->delay_ms ? ", delayed" : "",
                         col->others ? ", without itself" : "", col->where ? ", where" : "", want[r][c], t->got[r][c]);
        }
}

static void every_aggregate_over_every_window_equals_the_slow_oracle(void **state)
{
    struct trial *t = calloc(1, sizeof(*t));
    double(*want)[COLS_MAX] = calloc(N_ROWS, sizeof(*want)), (*first)[COLS_MAX] = calloc(N_ROWS, sizeof(*first));

    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        make_rows(t->rows, seed);
        for (size_t i = 0; i < n_aggregates; i++) {
            struct features *f;

            make_columns(t, &aggregates[i]);
            f = compile(t);
            play(f, t, 1, SIZE_MAX);
            check(t, seed, want);
            memcpy(first, t->got, sizeof(t->got));
            play(f, t, 7, N_ROWS / 3);
            assert_memory_equal(first, t->got, sizeof(t->got));
            play(f, t, 1000, N_ROWS / 2);
            assert_memory_equal(first, t->got, sizeof(t->got));
            features_free(f);
        }
    }
    free(t);
    free(want);
    free(first);
}

static int by_time(const void *a, const void *b)
{
    const struct taken *x = a, *y = b;

    return x->ms != y->ms ? (x->ms < y->ms ? -1 : 1) : x->x < y->x ? -1 : x->x > y->x;
}

/* The same events in order, and then out of order within the lateness: what comes after them has the same bits. */
static void disorder_leaves_nothing_behind(void **state)
{
    struct trial *t = calloc(1, sizeof(*t));
    double in_order[COLS_MAX];
    struct rand r;

    (void)state;
    make_rows(t->rows, 9);
    for (size_t i = 0; i < N_ROWS; i++) {
        t->rows[i].x = isnan(t->rows[i].x) ? 1 : t->rows[i].x;
        t->rows[i].key = 0;
        t->rows[i].ms = t->rows[i].ms * 1000 + (int64_t)i; /* no two at once */
    }
    qsort(t->rows, N_ROWS, sizeof(*t->rows), by_time);
    t->rows[N_ROWS - 1].input = 0;
    for (size_t i = 0; i < N_ROWS; i++)
        t->rows[i].ms = -1000000 + (int64_t)i * 100; /* 30 of them within the lateness */
    for (size_t i = 0; i < n_aggregates; i++) {
        struct taken *rows = malloc(sizeof(t->rows));
        struct features *f;

        make_columns(t, &aggregates[i]);
        f = compile(t);
        play(f, t, 1, SIZE_MAX);
        memcpy(in_order, t->got[N_ROWS - 1], sizeof(in_order));
        memcpy(rows, t->rows, sizeof(t->rows));
        rand_seed(&r, i);
        for (size_t k = 0; k + 20 < N_ROWS; k += 20) /* each twenty in any order */
            for (size_t n = 19; n > 0; n--) {
                size_t other = k + rand_below(&r, n + 1);
                struct taken kept = t->rows[k + n];

                t->rows[k + n] = t->rows[other];
                t->rows[other] = kept;
            }
        play(f, t, 1, SIZE_MAX);
        if (memcmp(in_order, t->got[N_ROWS - 1], t->n_columns * sizeof(*in_order)) != 0)
            fail_msg("%s shows in what order its events came", aggregates[i].name);
        memcpy(t->rows, rows, sizeof(t->rows));
        free(rows);
        features_free(f);
    }
    free(t);
}

/* An input that is far behind tells of the distant past: no window asks for it, but all that is since ever does. */
static void what_is_older_than_every_window_counts_since_ever(void **state)
{
    struct trial *t = calloc(1, sizeof(*t));
    struct features *f;

    (void)state;
    for (size_t i = 0; i < N_ROWS; i++)
        t->rows[i] = (struct taken){.input = i % 2 != 0, .ms = i % 2 ? -1000000 - (int64_t)i : 1000000 + (int64_t)i, .x = 1};
    for (size_t i = 0; i < n_aggregates; i++) {
        if (strcmp(aggregates[i].name, "sum") != 0 && strcmp(aggregates[i].name, "first") != 0 && strcmp(aggregates[i].name, "max") != 0)
            continue;
        make_columns(t, &aggregates[i]);
        f = compile(t);
        play(f, t, 1, SIZE_MAX);
        for (size_t c = 0; c < t->n_columns; c++)
            if (t->columns[c].span == 5 && !near(&t->columns[c], oracle(t, &t->columns[c], N_ROWS - 2), t->got[N_ROWS - 2][c]))
                fail_msg("%s: want %g, got %g", aggregates[i].name, oracle(t, &t->columns[c], N_ROWS - 2), t->got[N_ROWS - 2][c]);
        features_free(f);
    }
    free(t);
}

/* ---- what is not exact, and what is large ---- */
struct one {
    struct features *f;
    struct state *s;
    struct arena a;
};

static struct one one_new(const struct feature_def *defs, size_t n)
{
    struct one o = {.s = state_new(SIZE_MAX), .a = ARENA_EMPTY};
    struct error err;

    if (features_new(inputs, 1, 0, defs, n, &o.f, &err) != OK)
        fail_msg("%s", err.text);
    return o;
}

static void one_done(struct one *o)
{
    features_free(o->f);
    state_free(o->s);
    arena_done(&o->a);
}

/* The first feature of one event. */
static double one_row(struct one *o, int64_t ms, double x, const char *kind)
{
    struct view key = view_str("k");
    const char *bad = NULL;
    const struct col *col;
    struct error err;
    struct batch b;

    arena_reset(&o->a);
    batch_init(&b, &o->a, 1);
    b.n_rows = 1;
    batch_add_col(&b, "x", COL_DOUBLE)->f64[0] = x;
    batch_add_col(&b, "kind", COL_STRING)->view[0] = view_str(kind);
    assert_int_equal(features_apply(o->f, o->s, 0, &b, &key, &ms, &bad, INT64_MIN, LATENESS_MS, 1, &err), OK);
    assert_null(bad);
    col = batch_col(&b, features_cols(o->f)[0].name);
    return col->null[0] ? NAN : col->type == COL_DOUBLE ? col->f64[0] : (double)col->i64[0];
}

static void distinct_since_ever_keeps_its_error(void **state)
{
    static const char *const ever[] = {"ever"};
    const struct feature_def def = {.name = "n", .aggregate = "distinct", .of = "x", .over = ever, .n_over = 1};
    struct one o = one_new(&def, 1);
    double worst = 0;

    (void)state;
    for (int i = 1; i <= 100000; i++) {
        double got = one_row(&o, i * INT64_C(1000), i * 0.25, "a");

        if (i <= DISTINCT_EXACT)
            assert_true(got == i);
        assert_true(one_row(&o, i * INT64_C(1000), 0.25, "a") == got); /* seen before */
        worst = fmax(worst, fabs(got / i - 1));
    }
    printf("worst error %.4f\n", worst);
    assert_true(worst < 4 * 0.0163);
    assert_true(state_bytes(o.s) < 40000);
    one_done(&o);
}

static void text_is_counted_and_compared_as_it_is(void **state)
{
    static const char *const ever[] = {"last4"};
    const struct feature_def defs[] = {{.name = "n", .aggregate = "distinct", .of = "kind", .over = ever, .n_over = 1}};
    const struct feature_def top[] = {{.name = "t", .aggregate = "top", .of = "kind", .over = ever, .n_over = 1}};
    struct one o = one_new(defs, 1), t = one_new(top, 1);
    double a;

    (void)state;
    assert_true(one_row(&o, 1, 0, "a") == 1);
    assert_true(one_row(&o, 2, 0, "b") == 2);
    assert_true(one_row(&o, 3, 0, "a") == 2);
    assert_true(one_row(&o, 4, 0, "") == 3);
    assert_true(one_row(&o, 5, 0, "b") == 3);
    a = one_row(&t, 1, 0, "a");
    assert_true(one_row(&t, 2, 0, "a") == a);
    one_row(&t, 3, 0, "b");
    assert_true(one_row(&t, 4, 0, "a") == a);
    assert_true(one_row(&t, 5, 0, "b") != one_row(&t, 6, 0, "b") || a != a + 1);
    assert_true(one_row(&t, 7, 0, "b") != a);
    one_done(&o);
    one_done(&t);
}

/* A row that cannot be summed exactly is refused with its reason, and it is as if it had not come. */
static void what_is_not_finite_or_too_large_leaves_nothing(void **state)
{
    static const double values[] = {INFINITY, -INFINITY, NAN, 1e29, -1e300};
    static const char *const ever[] = {"ever"};
    const struct feature_def def = {.name = "s", .aggregate = "sum", .of = "x", .over = ever, .n_over = 1};
    struct one o = one_new(&def, 1);

    (void)state;
    assert_true(one_row(&o, 1, 0.25, "") == 0.25);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        const char *bad = NULL;
        struct view key = view_str("k");
        int64_t ms = 2;
        struct error err;
        struct batch b;

        batch_init(&b, &o.a, 1);
        b.n_rows = 1;
        batch_add_col(&b, "x", COL_DOUBLE)->f64[0] = values[i];
        batch_add_col(&b, "kind", COL_STRING);
        assert_int_equal(features_apply(o.f, o.s, 0, &b, &key, &ms, &bad, INT64_MIN, LATENESS_MS, 1, &err), OK);
        assert_non_null(bad);
        assert_non_null(strstr(bad, "'x' is not finite, or too large"));
        assert_true(one_row(&o, 3, 0, "") == 0.25);
    }
    one_done(&o);
}

/* Values whose squares have 190 bits come and go, and leave nothing behind. */
static void variance_is_exact_beside_huge_values(void **state)
{
    static const char *const last[] = {"last3"};
    const struct feature_def def = {.name = "v", .aggregate = "variance", .of = "x", .over = last, .n_over = 1};
    struct one o = one_new(&def, 1);

    (void)state;
    one_row(&o, 1, 0.01, "");
    one_row(&o, 2, 9e27, "");
    one_row(&o, 3, -9e27, "");
    assert_true(fabs(one_row(&o, 4, 9e27, "") / 1.08e56 - 1) < 1e-12);
    one_row(&o, 5, 0.01, "");
    one_row(&o, 6, 0.02, "");
    assert_true(fabs(one_row(&o, 7, 0.03, "") - 1e-4) < 1e-19);
    one_done(&o);
}

/* A hot key's ring of two million events: no message above a chunk, and what a commit writes does not grow with it. */
static void a_hot_key_writes_only_what_changed(void **state)
{
    static const char *const over[] = {"60d"};
    const struct feature_def def = {.name = "n", .aggregate = "max", .of = "x", .over = over, .n_over = 1};
    struct one o = one_new(&def, 1);
    struct state_chunk chunk;
    size_t worst = 0;

    (void)state;
    for (int i = 0; i < 2000000; i++) {
        one_row(&o, i * INT64_C(10), i % 1000, "");
        if (i % 100 == 0) {
            size_t n = 0;

            while (state_next_chunk(o.s, &chunk)) {
                assert_true(chunk.bytes.n <= STATE_CHUNK_BYTES);
                n += chunk.bytes.n;
            }
            worst = n > worst ? n : worst;
        }
    }
    printf("at most %zu bytes a commit, %zu in all\n", worst, state_bytes(o.s));
    assert_true(worst <= 4 * STATE_CHUNK_BYTES);
    one_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_aggregate_over_every_window_equals_the_slow_oracle),
        cmocka_unit_test(disorder_leaves_nothing_behind),
        cmocka_unit_test(what_is_older_than_every_window_counts_since_ever),
        cmocka_unit_test(distinct_since_ever_keeps_its_error),
        cmocka_unit_test(text_is_counted_and_compared_as_it_is),
        cmocka_unit_test(what_is_not_finite_or_too_large_leaves_nothing),
        cmocka_unit_test(variance_is_exact_beside_huge_values),
        cmocka_unit_test(a_hot_key_writes_only_what_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
