/*
 * test/unit/test_counts.c: distinct and top of windows with very many values, against a slow oracle that looks through all rows: exact up to the bound; beyond it
 * distinct is to the last digit the estimate that the values in the window give, and top within the error that it states. However they came.
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
#include "feature/feature.h"
#include "state_move.h"

#define N_VALUES ((size_t)1 << 21)
#define TOPS 3

static const struct feature_col cols[] = {{"x", COL_DOUBLE, false, -1}};
static const struct feature_input input = {"buys", cols, 1, 0, NULL, 0};

struct taken {
    int64_t ms;
    uint32_t x;
};

/* ---- the oracle ---- */
static uint32_t *count_of; /* by value: how often it is in the window */

static int rank_of(uint32_t x)
{
    union {
        double d;
        uint64_t u;
    } bits = {(double)x};
    uint64_t h = bits.u + 0x9e3779b97f4a7c15u;
    int rank = 0;

    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    h ^= h >> 31;
    while (rank < 64 && !(h >> (63 - rank) & 1))
        rank++;
    return rank;
}

/* Of rows[0, end): the window's of row `at` into count_of. *ret_n: how many events. */
static void count_window(const struct taken *rows, size_t at, size_t end, int64_t span_ms, size_t *ret_n)
{
    memset(count_of, 0, N_VALUES * sizeof(*count_of));
    *ret_n = 0;
    for (size_t i = 0; i < end; i++)
        if (rows[i].ms <= rows[at].ms && rows[i].ms > rows[at].ms - span_ms) {
            count_of[rows[i].x]++;
            ++*ret_n;
        }
}

/* *ret_n: how many they are. */
static double distinct_of(size_t *ret_n)
{
    size_t c[65] = {0};

    for (uint32_t v = 0; v < N_VALUES; v++)
        for (int rank = count_of[v] ? rank_of(v) : -1; rank >= 0; rank--)
            c[rank]++;
    *ret_n = c[0];
    for (int least = 0;; least++)
        if (c[least] <= 65536)
            return ldexp((double)c[least], least);
}

/* The most frequent values, of equally frequent ones the smallest. */
static void tops_of(uint32_t tops[TOPS])
{
    size_t n = 0;

    for (uint32_t v = 0; v < N_VALUES; v++) {
        size_t at = n;

        if (count_of[v] == 0)
            continue;
        while (at > 0 && count_of[v] > count_of[tops[at - 1]])
            at--;
        if (at == TOPS)
            continue;
        n += n < TOPS;
        for (size_t k = n - 1; k > at; k--)
            tops[k] = tops[k - 1];
        tops[at] = v;
    }
    assert_true(n == TOPS);
}

/* ---- the engine ---- */
static struct features *compile(const struct feature_def *defs, size_t n)
{
    struct features *f = NULL;
    struct error err;

    if (features_new(&input, 1, 0, defs, n, &f, &err) != OK)
        fail_msg("%s", err.text);
    return f;
}

static void play(const struct features *f, const struct taken *rows, size_t n_rows, size_t batch, int64_t lateness_ms, size_t restore_every, double *got)
{
    struct state *s = state_new(SIZE_MAX);
    size_t n_cols = features_n_cols(f);
    struct arena a = ARENA_EMPTY;
    int64_t at = INT64_MIN, ms[1000];
    const char *bad[1000] = {0};
    struct view keys[1000];
    struct error err;

    for (size_t from = 0, n; from < n_rows; from += n) {
        struct batch b;

        n = n_rows - from < batch ? n_rows - from : batch;
        if (from / restore_every != (from + n) / restore_every) {
            s = restored(s);
            move_together(f, s, view_str("key"));
        }
        arena_reset(&a);
        batch_init(&b, &a, n);
        b.n_rows = n;
        batch_add_col(&b, "x", COL_DOUBLE);
        for (size_t r = 0; r < n; r++) {
            keys[r] = view_str("key");
            ms[r] = rows[from + r].ms;
            b.cols[0].f64[r] = rows[from + r].x;
        }
        if (features_apply(f, s, 0, &b, keys, ms, bad, at, lateness_ms, 1, &err) != OK)
            fail_msg("%s", err.text);
        for (size_t r = 0; r < n; r++) {
            at = ms[r] > at ? ms[r] : at;
            for (size_t c = 0; c < n_cols; c++) {
                const struct col *col = batch_col(&b, features_cols(f)[c].name);

                got[(from + r) * n_cols + c] = col->null[r] ? NAN : col->type == COL_DOUBLE ? col->f64[r] : (double)col->i64[r];
            }
        }
    }
    arena_done(&a);
    state_free(s);
}

/* ---- the most frequent ---- */
#define TOP_ROWS 40000
#define TOP_SPAN_MS 4000

/* Bursts of many values and of few, some of them frequent; pauses that empty a window or a part of it; a row of five hundred is late. */
static void make_top_rows(struct taken *rows, uint64_t seed)
{
    uint64_t n_values = 30000, n_frequent = 8, frequent = 100000;
    int64_t now = 0;
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < TOP_ROWS; i++) {
        if (rand_below(&r, 8000) == 0) {
            n_values = rand_below(&r, 4) ? 30000 : 1000;
            now += (int64_t)rand_below(&r, TOP_SPAN_MS + 1000);
        }
        if (rand_below(&r, 4000) == 0) {
            n_frequent = 4 + rand_below(&r, 12);
            frequent = 100000 + rand_below(&r, 1000000);
        }
        now += rand_below(&r, 3) == 0;
        rows[i] = (struct taken){now - (rand_below(&r, 500) ? 0 : (int64_t)rand_below(&r, 500)), (uint32_t)rand_below(&r, n_values)};
        if (rand_below(&r, 3) == 0) /* the first ones more often than the others */
            rows[i].x = (uint32_t)(frequent + 7 * rand_below(&r, 1 + rand_below(&r, n_frequent)));
    }
}

static void check_tops(const struct taken *rows, size_t at, const double *got, size_t n_cases[3])
{
    size_t n, n_values;
    uint32_t tops[TOPS];

    count_window(rows, at, at + 1, TOP_SPAN_MS, &n);
    (void)distinct_of(&n_values);
    tops_of(tops);
    for (size_t k = 0; k < TOPS; k++) {
        uint32_t want = count_of[tops[k]], has = isnan(got[k]) ? 0 : count_of[(uint32_t)got[k]];

        if (n_values <= 4096 && got[k] != tops[k])
            fail_msg("row %zu, rank %zu of %zu values: want %u, got %g", at, k + 1, n_values, tops[k], got[k]);
        n_cases[n_values > 4096]++;
        n_cases[2] += n_values > 4096 && want > 0.008 * (double)n && (double)has < want - 0.011 * (double)n;
    }
}

static void top_is_exact_of_few_values_and_within_its_error_of_many(void **state)
{
    static const char *const over[] = {"4s"};
    static const size_t batches[] = {1000, 7}, restores[] = {TOP_ROWS, 900};
    struct taken *rows = malloc(TOP_ROWS * sizeof(*rows));
    double *got = malloc(TOP_ROWS * TOPS * sizeof(*got)), *first = malloc(TOP_ROWS * TOPS * sizeof(*first));
    struct feature_def defs[TOPS];
    struct features *f;
    size_t n_cases[3] = {0};

    (void)state;
    for (size_t k = 0; k < TOPS; k++)
        defs[k] = (struct feature_def){.name = (const char *const[]){"a", "b", "c"}[k], .aggregate = "top", .of = "x", .over = over, .n_over = 1,
                                       .has_parameter = true, .parameter = (double)(k + 1)};
    f = compile(defs, TOPS);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        make_top_rows(rows, seed);
        for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
            play(f, rows, TOP_ROWS, batches[i], 500, restores[i], got);
            if (i == 0)
                memcpy(first, got, TOP_ROWS * TOPS * sizeof(*got));
            assert_memory_equal(first, got, TOP_ROWS * TOPS * sizeof(*got));
        }
        for (size_t at = 100; at < TOP_ROWS; at += 397)
            check_tops(rows, at, got + at * TOPS, n_cases);
    }
    printf("%zu exact ones, %zu of many values, %zu of them beyond the error\n", n_cases[0], n_cases[1], n_cases[2]);
    assert_true(n_cases[0] > 100 && n_cases[1] > 80 && n_cases[2] * 50 <= n_cases[1]);
    features_free(f);
    free(rows);
    free(got);
    free(first);
}

/* ---- how many different ones ---- */
#define MANY_ROWS 900000
#define MANY_SPAN_MS 40000

/* Ten a millisecond: up to 400,000 in a window; fewer values now and then, and pauses that end a part of a window. */
static void make_many_rows(struct taken *rows)
{
    uint64_t n_values = N_VALUES;
    int64_t now = 0;
    struct rand r;

    rand_seed(&r, 3);
    for (size_t i = 0; i < MANY_ROWS; i++) {
        if (i == 250000 || i == 750000)
            now += MANY_SPAN_MS / 10 * (i == 250000 ? 3 : 6);
        if (i % 50000 == 0)
            n_values = i >= 600000 && i < 750000 ? 30000 : N_VALUES;
        now += i % 10 == 0;
        rows[i] = (struct taken){now - (i % 90001 == 90000 ? 700 : 0), (uint32_t)rand_below(&r, n_values)};
    }
}

static void distinct_is_exact_of_few_values_and_the_estimate_of_many(void **state)
{
    static const char *const over[] = {"40s"};
    const struct feature_def defs[] = {{.name = "n", .aggregate = "distinct", .of = "x", .over = over, .n_over = 1},
                                       {.name = "others", .aggregate = "distinct", .of = "x", .over = over, .n_over = 1, .others = true}};
    struct taken *rows = malloc(MANY_ROWS * sizeof(*rows));
    double *got = malloc(MANY_ROWS * 2 * sizeof(*got)), *again = malloc(MANY_ROWS * 2 * sizeof(*again)), worst = 0, squares = 0;
    struct features *f = compile(defs, 2);
    size_t n_few = 0, n_many = 0;

    (void)state;
    make_many_rows(rows);
    play(f, rows, MANY_ROWS, 1000, 1000, MANY_ROWS, got);
    play(f, rows, MANY_ROWS, 370, 1000, 130000, again);
    assert_memory_equal(got, again, MANY_ROWS * 2 * sizeof(*got));
    for (size_t i = 0; i < 60; i++) {
        size_t at = i < 56 ? 5000 + i * 16001 : i < 58 ? 250000 - 56 + i : 750000 - 58 + i, n, n_values; /* the pauses' ends too */
        double want;

        count_window(rows, at, at + i % 2, MANY_SPAN_MS, &n);
        want = distinct_of(&n_values);
        if (got[at * 2 + !(i % 2)] != want)
            fail_msg("row %zu%s, %zu values: want %g, got %g", at, i % 2 ? "" : ", without itself", n_values, want, got[at * 2 + !(i % 2)]);
        n_few += n_values <= 65536;
        n_many += n_values > 65536;
        worst = fmax(worst, fabs(want / (double)n_values - 1));
        squares += (want / (double)n_values - 1) * (want / (double)n_values - 1);
    }
    printf("%zu windows of few values, %zu of many: standard error %.4f, at most %.4f\n", n_few, n_many, sqrt(squares / (double)n_many), worst);
    assert_true(n_few > 3 && n_many > 10 && sqrt(squares / (double)n_many) < 0.006 && worst < 0.018);
    features_free(f);
    free(rows);
    free(got);
    free(again);
}

static int set_up(void **state)
{
    (void)state;
    count_of = malloc(N_VALUES * sizeof(*count_of));
    return count_of == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    free(count_of);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_is_exact_of_few_values_and_within_its_error_of_many),
        cmocka_unit_test(distinct_is_exact_of_few_values_and_the_estimate_of_many),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
