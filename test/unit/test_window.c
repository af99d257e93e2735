/* test/unit/test_window.c: windows against a slow oracle on random rows; batches, restores and interleavings that show nowhere. */
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

#define N_ROWS 3000
#define N_KEYS 5
#define LATENESS_MS 3000
#define N_COLS 25

static const struct feature_col buy_cols[] = {{"x", COL_DOUBLE, false, 2}, {"k", COL_INT, false, -1}};
static const struct feature_col mark_cols[] = {{"y", COL_DOUBLE, false, -1}};
static const struct feature_input inputs[] = {{"buys", buy_cols, 2, 0, NULL, 0}, {"marks", mark_cols, 1, 0, NULL, 0}};
static const char *const spans[] = {"1s", "7s", "30s"};
static const int64_t span_ms[] = {1000, 7000, 30000};
static const struct feature_def defs[] = {
    {.name = "n", .aggregate = "count", .of = "buys", .over = spans, .n_over = 3},
    {.name = "late_n", .aggregate = "count", .of = "buys", .over = spans, .n_over = 3, .delay = "5s"},
    {.name = "total", .aggregate = "sum", .of = "x", .over = spans, .n_over = 3},
    {.name = "mean", .aggregate = "mean", .of = "x", .over = spans, .n_over = 3, .delay = "2s"},
    {.name = "k_total", .aggregate = "sum", .of = "k", .over = spans, .n_over = 3},
    {.name = "marks_n", .aggregate = "count", .of = "marks", .over = spans, .n_over = 3},
    {.name = "y_mean", .aggregate = "mean", .of = "y", .over = spans, .n_over = 3, .delay = "1s"},
    {.name = "twice", .expr = "x * 2"},
    {.name = "share", .expr = "coalesce(marks_n / late_n, 0)"},
};

struct row {
    int input, key;
    int64_t ms, k;
    double x;
    bool is_null;
};

struct run {
    struct row rows[N_ROWS];
    double want[N_ROWS][N_COLS], got[N_ROWS][N_COLS]; /* NAN: null */
};

/* Mostly rising times with ties, gaps, and disorder within the lateness; values negative, huge and null. */
static void make_rows(struct row *rows, uint64_t seed)
{
    struct rand r;
    int64_t now = 1500000000000, at = now;

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        now += rand_below(&r, 3) == 0 ? 0 : (int64_t)rand_below(&r, rand_below(&r, 200) == 0 ? 60000 : 300);
        rows[i] = (struct row){.input = rand_below(&r, 3) == 0, .key = (int)rand_below(&r, N_KEYS), .ms = now};
        if (rand_below(&r, 4) == 0)
            rows[i].ms -= (int64_t)rand_below(&r, LATENESS_MS);
        if (rows[i].ms < at - LATENESS_MS)
            rows[i].ms = at - LATENESS_MS;
        rows[i].k = (int64_t)rand_below(&r, 1000) - 500;
        rows[i].is_null = rand_below(&r, 5) == 0;
        rows[i].x = rint((rand_unit(&r) - 0.5) * 1e5) / 100;
        if (rand_below(&r, 20) == 0)
            rows[i].x = rand_below(&r, 2) ? 1e12 : -1e12;
        if (rows[i].ms > at)
            at = rows[i].ms;
    }
}

/* The same rows of each input in their order, but runs of one input long before or after those of the other. */
static void interleave(struct row *rows, uint64_t seed)
{
    struct row *of[2] = {malloc(N_ROWS * sizeof(*rows)), malloc(N_ROWS * sizeof(*rows))};
    size_t n[2] = {0}, taken[2] = {0};
    struct rand r;
    int input = 0;

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++)
        of[rows[i].input][n[rows[i].input]++] = rows[i];
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rand_below(&r, 300) == 0)
            input = !input;
        if (taken[input] == n[input])
            input = !input;
        rows[i] = of[input][taken[input]++];
    }
    free(of[0]);
    free(of[1]);
}

struct total {
    int128 x, k;
    double n, n_x;
};

/* Over the rows of `input` up to row `at` under its key in (to_ms - span, to_ms]. */
static struct total oracle_window(const struct row *rows, size_t at, int input, int64_t to_ms, int64_t span)
{
    struct total t = {0};

    for (size_t i = 0; i <= at; i++) {
        const struct row *row = &rows[i];

        if (row->input != input || row->key != rows[at].key || row->ms > to_ms || row->ms <= to_ms - span)
            continue;
        t.n += 1;
        t.k += row->k;
        t.n_x += !row->is_null;
        t.x += row->is_null ? 0 : (int128)rint(row->x * (input == 0 ? 100 : 1000000));
    }
    return t;
}

static void oracle(struct run *run)
{
    for (size_t r = 0; r < N_ROWS; r++)
        for (int w = 0; run->rows[r].input == 0 && w < 3; w++) {
            int64_t t = run->rows[r].ms;
            struct total now = oracle_window(run->rows, r, 0, t, span_ms[w]);
            struct total late = oracle_window(run->rows, r, 0, t - 5000, span_ms[w]);
            struct total mean = oracle_window(run->rows, r, 0, t - 2000, span_ms[w]);
            struct total marks = oracle_window(run->rows, r, 1, t, span_ms[w]);
            struct total y = oracle_window(run->rows, r, 1, t - 1000, span_ms[w]);
            double *want = run->want[r];

            want[w] = now.n;
            want[3 + w] = late.n;
            want[6 + w] = (double)now.x / 100;
            want[9 + w] = mean.n_x == 0 ? NAN : (double)mean.x / (mean.n_x * 100);
            want[12 + w] = (double)now.k;
            want[15 + w] = marks.n;
            want[18 + w] = y.n_x == 0 ? NAN : (double)y.x / (y.n_x * 1e6);
            want[21] = run->rows[r].is_null ? NAN : run->rows[r].x * 2;
            want[22 + w] = late.n == 0 ? 0 : marks.n / late.n;
        }
}

/* rows[from, to), all of one input. */
static void apply(const struct features *f, struct state *s, struct run *run, size_t from, size_t to, int64_t at,
                  struct arena *a)
{
    size_t n = to - from;
    struct view *keys = arena_alloc(a, n * sizeof(*keys));
    int64_t *ms = arena_alloc(a, n * sizeof(*ms));
    const char **bad = arena_zalloc(a, n * sizeof(*bad));
    int input = run->rows[from].input;
    struct error err;
    struct batch b;

    batch_init(&b, a, n);
    b.n_rows = n;
    for (size_t i = 0; i < inputs[input].n_cols; i++)
        batch_add_col(&b, inputs[input].cols[i].name, inputs[input].cols[i].type);
    for (size_t r = 0; r < n; r++) {
        const struct row *row = &run->rows[from + r];
        struct col *x = batch_col(&b, input == 0 ? "x" : "y");

        keys[r] = view_str(arena_printf(a, "key %d", row->key));
        ms[r] = row->ms;
        x->null[r] = row->is_null;
        x->f64[r] = row->is_null ? 0 : row->x;
        if (input == 0)
            batch_col(&b, "k")->i64[r] = row->k;
    }
    if (features_apply(f, s, (size_t)input, &b, keys, ms, bad, at, LATENESS_MS, 1, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t r = 0; r < n; r++) { /* what is here never looks as if it could not be */
        const struct entry *e = state_find(s, keys[r]);

        if (e && features_check(f, view_of(e->value, e->n_bytes), &err) != OK)
            fail_msg("row %zu: %s", from + r, err.text);
    }
    for (size_t r = 0; input == 0 && r < n; r++)
        for (size_t c = 0; c < features_n_cols(f); c++) {
            const struct col *col = batch_col(&b, features_cols(f)[c].name);

            if (bad[r] != NULL)
                fail_msg("row %zu: %s", from + r, bad[r]);
            run->got[from + r][c] = col->null[r] ? NAN : col->type == COL_DOUBLE ? col->f64[r] : (double)col->i64[r];
        }
}

/* Moves all state through chunks, in reversed order, into a new one. */
static struct state *restored(struct state *s)
{
    struct state *to = state_new(SIZE_MAX);
    struct state_chunk chunks[64];
    size_t n = 0;
    struct error err;

    while (n < 64 && state_next_chunk(s, &chunks[n]))
        n++;
    assert_true(n > 0 && n < 64);
    while (n-- > 0)
        assert_int_equal(state_restore(to, state_get(to, chunks[n].entry->key, &err), chunks[n].index, chunks[n].n_chunks, chunks[n].bytes,
                                       /* reflects= */ 1, &err), OK);
    state_free(s);
    return to;
}

static struct state *play(const struct features *f, struct run *run, size_t batch, size_t restore_at)
{
    struct state *s = state_new(SIZE_MAX);
    struct arena a = ARENA_EMPTY;
    int64_t at = INT64_MIN;

    for (size_t from = 0, to; from < N_ROWS; from = to) {
        for (to = from; to < N_ROWS && to < from + batch && run->rows[to].input == run->rows[from].input; to++)
            ;
        if (restore_at >= from && restore_at < to)
            s = restored(s);
        arena_reset(&a);
        apply(f, s, run, from, to, at, &a);
        for (size_t i = from; i < to; i++)
            if (run->rows[i].input == 0 && run->rows[i].ms > at)
                at = run->rows[i].ms;
    }
    arena_done(&a);
    return s;
}

static void compare(const struct run *run, uint64_t seed, const char *what)
{
    for (size_t r = 0; r < N_ROWS; r++)
        for (size_t c = 0; run->rows[r].input == 0 && c < N_COLS; c++) {
            double want = run->want[r][c], got = run->got[r][c];

            if (isnan(want) != isnan(got) || fabs(want - got) > 1e-6 + fabs(want) * 1e-15)
                fail_msg("seed %llu, %s: row %zu column %zu: want %.17g, got %.17g", (unsigned long long)seed, what,
                         r, c, want, got);
        }
}

static void same_state(struct state *a, struct state *b, const char *what)
{
    for (int k = 0; k < N_KEYS; k++) {
        char key[16];
        struct entry *x, *y;

        snprintf(key, sizeof(key), "key %d", k);
        x = state_find(a, view_str(key));
        y = state_find(b, view_str(key));
        assert_true(x != NULL && y != NULL);
        if (x->n_bytes != y->n_bytes || memcmp(x->value, y->value, x->n_bytes) != 0)
            fail_msg("%s: state of %zu and %zu bytes differs", what, x->n_bytes, y->n_bytes);
    }
}

static struct features *make(void)
{
    struct features *f = NULL;
    struct error err;

    if (features_new(inputs, 2, 0, defs, ARRAY_LEN(defs), &f, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(features_n_cols(f), N_COLS);
    return f;
}

static void windows_equal_the_slow_oracle_whatever_the_batches_and_restores(void **state)
{
    struct features *f = make();
    struct run *run = malloc(sizeof(*run));

    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct state *one, *seven, *many;
        double(*first)[N_COLS] = malloc(sizeof(run->got));

        make_rows(run->rows, seed);
        memset(run->got, 0, sizeof(run->got));
        oracle(run);
        one = play(f, run, 1, SIZE_MAX);
        compare(run, seed, "batches of 1");
        memcpy(first, run->got, sizeof(run->got));
        seven = play(f, run, 7, SIZE_MAX);
        assert_memory_equal(first, run->got, sizeof(run->got));
        many = play(f, run, 1000, N_ROWS / 2);
        assert_memory_equal(first, run->got, sizeof(run->got));
        same_state(one, seven, "batches of 1 and 7");
        same_state(one, many, "batches of 1, and of 1000 with a restore");
        state_free(one);
        state_free(seven);
        state_free(many);
        free(first);
    }
    free(run);
    features_free(f);
}

/* Whichever input runs ahead, and by how much: a row knows all that was taken before it and lies in its windows. */
static void windows_equal_the_slow_oracle_however_the_inputs_interleave(void **state)
{
    struct features *f = make();
    struct run *run = calloc(1, sizeof(*run));

    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        make_rows(run->rows, seed);
        interleave(run->rows, seed);
        oracle(run);
        state_free(play(f, run, 1000, SIZE_MAX));
        compare(run, seed, "interleaved");
    }
    free(run);
    features_free(f);
}

static void a_warm_loop_allocates_nothing(void **state)
{
    struct features *f = make();
    struct run *run = calloc(1, sizeof(*run));
    struct state *s = state_new(SIZE_MAX);
    struct arena a = ARENA_EMPTY;
    size_t before = 0;

    (void)state;
    for (int64_t round = 0; round < 200; round++) {
        for (size_t i = 0; i < 100; i++)
            run->rows[i] = (struct row){.key = (int)(i % N_KEYS), .ms = round * 1000 + (int64_t)i, .x = 1};
        if (round == 100)
            before = state_bytes(s) + a.held_bytes;
        arena_reset(&a);
        apply(f, s, run, 0, 100, round * 1000 - 1, &a);
    }
    assert_int_equal(state_bytes(s) + a.held_bytes, before);
    state_free(s);
    arena_done(&a);
    free(run);
    features_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_equal_the_slow_oracle_whatever_the_batches_and_restores),
        cmocka_unit_test(windows_equal_the_slow_oracle_however_the_inputs_interleave),
        cmocka_unit_test(a_warm_loop_allocates_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
