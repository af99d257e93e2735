/*
 * test/unit/test_recent.c: how many different values a window of tiles has, against a slow oracle that looks through all rows and has registers of its
 * own: exact while they are few, to the last digit the same estimate of the same values when they are many, however they came.
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

#define N_ROWS 4000
#define N_KEYS 2
#define N_VALUES 2000
#define LATENESS_MS 3000
#define FEW 256
#define N_COLS 4

static const struct feature_col cols[] = {{"x", COL_DOUBLE, false, 2}};
static const struct feature_input input = {"buys", cols, 1, 0, NULL, 0};
static const struct feature_def defs[N_COLS] = {
    {.name = "a", .aggregate = "distinct", .of = "x", .over = (const char *const[]){"20s"}, .n_over = 1, .resolution = "7s"},
    {.name = "b", .aggregate = "distinct", .of = "x", .over = (const char *const[]){"2s"}, .n_over = 1, .resolution = "300ms"},
    {.name = "c", .aggregate = "distinct", .of = "x", .over = (const char *const[]){"20s"}, .n_over = 1, .resolution = "20s", .delay = "5s"},
    {.name = "d", .aggregate = "distinct", .of = "x", .over = (const char *const[]){"60s"}, .n_over = 1, .resolution = "1s", .others = true},
};
static const int64_t span_ms[N_COLS] = {20000, 2000, 20000, 60000}, tile_ms[N_COLS] = {7000, 300, 20000, 1000}, delay_ms[N_COLS] = {0, 0, 5000, 0};

struct taken {
    int key;
    int64_t ms;
    double x; /* NAN: null */
};

static struct taken rows[N_ROWS];
static double got[N_ROWS][N_COLS];

/* Bursts of many values and of few, pauses that empty a window or a part of it, a fifth of all rows late. */
static void make_rows(uint64_t seed)
{
    int64_t now = -30000, at = now; /* over 1970 */
    uint64_t n_values = N_VALUES;
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rand_below(&r, 300) == 0)
            n_values = rand_below(&r, 2) ? N_VALUES : 20 + rand_below(&r, 2 * FEW);
        now += rand_below(&r, 400) == 0 ? (int64_t)rand_below(&r, 30000) : (int64_t)rand_below(&r, 12);
        rows[i] = (struct taken){(int)rand_below(&r, N_KEYS), now, rand_below(&r, 10) == 0 ? NAN : (double)rand_below(&r, n_values)};
        if (rand_below(&r, 5) == 0)
            rows[i].ms -= (int64_t)rand_below(&r, LATENESS_MS);
        rows[i].ms = rows[i].ms < at - LATENESS_MS ? at - LATENESS_MS : rows[i].ms;
        at = rows[i].ms > at ? rows[i].ms : at;
    }
}

/* ---- the oracle ---- */
static uint64_t hash_of(double v)
{
    union {
        double d;
        uint64_t u;
    } bits = {v};
    uint64_t x = bits.u + 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double estimate(const bool *is_there)
{
    int ranks[1024] = {0}, zeros = 0;
    double sum = 0, e;

    for (int v = 0; v < N_VALUES; v++) {
        uint64_t h = hash_of(v);
        int rank = 1;

        for (int bit = 53; is_there[v] && bit >= 0 && !(h >> bit & 1); bit--)
            rank++;
        if (is_there[v] && rank > ranks[h >> 54])
            ranks[h >> 54] = rank;
    }
    for (int i = 0; i < 1024; i++) {
        sum += pow(2, -ranks[i]);
        zeros += ranks[i] == 0;
    }
    e = 0.7213 / (1 + 1.079 / 1024) * 1024 * 1024 / sum;
    return rint(e <= 2560 && zeros ? 1024 * log(1024.0 / zeros) : e);
}

static int64_t begins(int64_t t, size_t c)
{
    int64_t start = t - delay_ms[c] - span_ms[c];

    return start - (start % tile_ms[c] + tile_ms[c]) % tile_ms[c];
}

/* *ret_n: how many they are. */
static double oracle(size_t at, size_t c, size_t *ret_n)
{
    bool is_there[N_VALUES] = {false};
    size_t n = 0;

    for (size_t i = 0; i < at + !defs[c].others; i++) {
        const struct taken *row = &rows[i];

        if (row->key != rows[at].key || isnan(row->x) || row->ms > rows[at].ms - delay_ms[c] || row->ms <= begins(rows[at].ms, c))
            continue;
        n += !is_there[(int)row->x];
        is_there[(int)row->x] = true;
    }
    *ret_n = n;
    return n <= FEW ? (double)n : estimate(is_there);
}

/* ---- the engine ---- */
static void play(const struct features *f, size_t batch, size_t restore_every)
{
    struct state *s = state_new(SIZE_MAX);
    struct arena a = ARENA_EMPTY;
    int64_t at = INT64_MIN, ms[1000];
    const char *bad[1000];
    struct view keys[1000];
    struct error err;

    for (size_t from = 0, n; from < N_ROWS; from += n) {
        struct batch b;

        n = N_ROWS - from < batch ? N_ROWS - from : batch;
        if (from / restore_every != (from + n) / restore_every)
            s = restored(s);
        arena_reset(&a);
        batch_init(&b, &a, n);
        b.n_rows = n;
        batch_add_col(&b, "x", COL_DOUBLE);
        for (size_t r = 0; r < n; r++) {
            keys[r] = view_str(rows[from + r].key ? "one" : "other");
            ms[r] = rows[from + r].ms;
            bad[r] = NULL;
            b.cols[0].null[r] = (uint8_t)isnan(rows[from + r].x);
            b.cols[0].f64[r] = isnan(rows[from + r].x) ? 0 : rows[from + r].x;
        }
        if (features_apply(f, s, 0, &b, keys, ms, bad, at, LATENESS_MS, 1, &err) != OK)
            fail_msg("%s", err.text);
        for (size_t r = 0; r < n; r++) {
            const struct entry *e = state_find(s, keys[r]);

            if (r < 2 && features_check(f, view_of(e->value, e->n_bytes), &err) != OK)
                fail_msg("row %zu: %s", from + r, err.text);
            at = ms[r] > at ? ms[r] : at;
            for (size_t c = 0; c < N_COLS; c++)
                got[from + r][c] = (double)batch_col(&b, features_cols(f)[c].name)->i64[r];
        }
    }
    arena_done(&a);
    state_free(s);
}

static struct features *compile(void)
{
    struct features *f = NULL;
    struct error err;

    if (features_new(&input, 1, 0, defs, N_COLS, &f, &err) != OK)
        fail_msg("%s", err.text);
    return f;
}

static void few_are_exact_and_many_are_the_estimate_of_what_the_window_has(void **state)
{
    const size_t batches[] = {1, 7, 1000}, restores[] = {N_ROWS, 70, 1000};
    struct features *f = compile();

    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        static double want[N_ROWS][N_COLS];
        size_t n_few = 0, n_many = 0;
        double error = 0;

        make_rows(seed);
        for (size_t i = 0; i < N_ROWS; i++)
            for (size_t c = 0; c < N_COLS; c++) {
                size_t n;

                want[i][c] = oracle(i, c, &n);
                n_few += n <= FEW && n > FEW / 2;
                n_many += n > FEW;
                error += n > FEW ? (want[i][c] / (double)n - 1) * (want[i][c] / (double)n - 1) : 0;
            }
        error = sqrt(error / (double)n_many);
        printf("seed %llu: %zu windows of more than %d values, standard error %.4f; %zu of nearly as many\n", (unsigned long long)seed, n_many, FEW,
               error, n_few);
        assert_true(n_few > N_ROWS / 10 && n_many > N_ROWS / 10 && error < 0.05);
        for (size_t k = 0; k < ARRAY_LEN(batches); k++) {
            play(f, batches[k], restores[k]);
            for (size_t i = 0; i < N_ROWS; i++)
                for (size_t c = 0; c < N_COLS; c++)
                    if (got[i][c] != want[i][c])
                        fail_msg("seed %llu, batches of %zu, row %zu at %lld, %s: want %g, got %g", (unsigned long long)seed, batches[k], i,
                                 (long long)rows[i].ms, defs[c].name, want[i][c], got[i][c]);
        }
    }
    features_free(f);
}

/* Two million payments of one key, of as many different values. */
static void a_key_takes_as_much_however_many_values_it_has(void **state)
{
    struct state *s = state_new(SIZE_MAX), *log = state_new(SIZE_MAX);
    struct arena a = ARENA_EMPTY;
    const char *bad[1000] = {0};
    struct features *f = NULL;
    struct view keys[1000];
    int64_t ms[1000];
    struct error err;
    double n = 0;

    (void)state;
    assert_int_equal(features_new(&input, 1, 0, defs, 1, &f, &err), OK);
    for (int64_t i = 0; i < 2000; i++) {
        struct batch b;

        arena_reset(&a);
        batch_init(&b, &a, 1000);
        b.n_rows = 1000;
        batch_add_col(&b, "x", COL_DOUBLE);
        for (int64_t r = 0; r < 1000; r++) {
            keys[r] = view_str("hot");
            ms[r] = (i * 1000 + r) / 100;
            b.cols[0].f64[r] = (double)(i * 1000 + r);
        }
        assert_int_equal(features_apply(f, s, 0, &b, keys, ms, bad, i * 10, 0, 1, &err), OK);
        n = (double)batch_col(&b, "a_20s")->i64[999];
        commit_to(log, s);
        assert_true(log_has(log, s, view_str("hot")));
    }
    printf("2,000,000 different values: %.0f (%+.2f %%), %zu bytes\n", n, n / 20000 - 100, state_bytes(s));
    assert_true(fabs(n / 2000000 - 1) < 0.1);
    assert_true(state_bytes(s) < 1100000);
    state_free(log);
    arena_done(&a);
    features_free(f);
    state_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_are_exact_and_many_are_the_estimate_of_what_the_window_has),
        cmocka_unit_test(a_key_takes_as_much_however_many_values_it_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
