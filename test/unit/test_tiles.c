/*
 * test/unit/test_tiles.c: windows kept as tiles, against a slow oracle that adds up a row's past anew; what a hot key costs with them and without;
 * times and values at the ends of what there is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/rand.h"
#include "feature/feature.h"
#include "state_move.h"

#define N_ROWS 1500
#define N_KEYS 3
#define LATENESS_MS 3000
#define N_NAMES 8
#define N_COLS (N_NAMES * 8)

static const struct feature_col cols[] = {{"x", COL_DOUBLE, false, 2}, {"y", COL_DOUBLE, false, 2}};
static const struct feature_input inputs[] = {{"buys", cols, 1, 0, NULL, 0}, {"marks", cols + 1, 1, 0, NULL, 0}};
static const char *const names[N_NAMES] = {"count", "sum", "mean", "variance", "zscore", "ratio", "min", "max"};
/* The second window is shorter than what may be late. */
static const char *const spans[] = {"30s", "1s"}, *const resolutions[] = {"7s", "300ms"};
static const int64_t span_ms[] = {30000, 1000}, tile_ms[] = {7000, 300};

struct taken {
    int input, key;
    int64_t ms;
    double x; /* NAN: null */
};

struct column {
    int name, input, span;
    bool others, where;
    int64_t delay_ms;
};

struct trial {
    struct taken rows[N_ROWS];
    struct column columns[N_COLS];
    double got[N_ROWS][N_COLS];
};

static void make_rows(struct taken *rows, uint64_t seed, int64_t from)
{
    struct rand r;
    int64_t now = from, at = now;

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        struct taken *row = &rows[i];

        now += rand_below(&r, 3) == 0 ? 0 : (int64_t)rand_below(&r, rand_below(&r, 100) == 0 ? 100000 : 1500);
        *row = (struct taken){rand_below(&r, 3) == 0, (int)rand_below(&r, N_KEYS), now, (double)rand_below(&r, 9) - 4};
        if (rand_below(&r, 4) == 0)
            row->ms -= (int64_t)rand_below(&r, LATENESS_MS);
        if (rand_below(&r, 8) == 0)
            row->ms -= row->ms % 300; /* at a border */
        row->ms = row->ms < at - LATENESS_MS ? at - LATENESS_MS : row->ms;
        at = row->ms > at ? row->ms : at;
        if (rand_below(&r, 20) == 0)
            row->x = (double[]){1e12, -1e12, 9e21, -9e21}[rand_below(&r, 4)];
        if (rand_below(&r, 6) == 0)
            row->x = NAN;
    }
}

/* ---- the oracle ---- */
static bool in_window(const struct column *c, const struct taken *row, int64_t t)
{
    int64_t start = t - c->delay_ms - span_ms[c->span];

    start -= (start % tile_ms[c->span] + tile_ms[c->span]) % tile_ms[c->span]; /* the border at or before it */
    return row->ms > start && row->ms <= t - c->delay_ms;
}

static double oracle(const struct trial *t, const struct column *c, size_t at)
{
    const struct taken *own = &t->rows[at];
    double least = NAN, most = NAN, mean, spread = 0, v[N_ROWS];
    size_t n = 0, n_events = 0;
    int128 sum = 0;

    for (size_t i = 0; i < at + !c->others; i++) {
        const struct taken *row = &t->rows[i];

        if (row->input != c->input || row->key != own->key || (c->where && !(row->x > 0)) || !in_window(c, row, own->ms))
            continue;
        n_events++;
        if (isnan(row->x))
            continue;
        v[n++] = row->x;
        sum += (int128)rint(row->x * 100);
        least = fmin(least, row->x);
        most = fmax(most, row->x);
    }
    mean = n ? (double)sum / (100 * (double)n) : NAN;
    for (size_t i = 0; i < n; i++) {
        double d = ((double)(((int128)rint(v[i] * 100)) * (int128)n - sum)) / (100 * (double)n);

        spread += d * d;
    }
    spread = n < 2 ? NAN : spread / (double)(n - 1);
    switch (c->name) {
    case 0:
        return (double)n_events;
    case 1:
        return (double)sum / 100;
    case 2:
        return mean;
    case 3:
        return spread;
    case 4:
        return spread > 0 ? (own->x - mean) / sqrt(spread) : NAN;
    case 5:
        return mean == 0 ? NAN : own->x / mean;
    case 6:
        return least;
    default:
        return most;
    }
}

static bool near(const struct column *c, double want, double got)
{
    double allowed = c->name == 3 || c->name == 4 ? 1e-12 : 0;

    return isnan(want) || isnan(got) ? isnan(want) && isnan(got) : fabs(want - got) <= allowed * fabs(want);
}

/* ---- the engine ---- */
static struct features *compile(struct trial *t)
{
    static char texts[N_COLS][16];
    struct feature_def defs[N_COLS];
    struct features *f = NULL;
    struct error err;

    for (int i = 0; i < N_COLS; i++) {
        struct column *c = &t->columns[i];

        *c = (struct column){.name = i % N_NAMES, .input = i / 8 & 1, .span = i / 16 & 1, .others = i / 32 & 1,
                             .where = i % 5 == 0, .delay_ms = i % 3 == 0 ? 4000 : 0};
        c->input = c->name == 4 || c->name == 5 ? 0 : c->input; /* about the event's own value */
        c->others = c->others || c->name == 4 || c->name == 5;
        snprintf(texts[i], sizeof(texts[i]), "f%d", i);
        defs[i] = (struct feature_def){.name = texts[i], .aggregate = names[c->name], .of = c->name == 0 ? inputs[c->input].name : c->input ? "y" : "x",
                                       .over = &spans[c->span], .n_over = 1, .resolution = resolutions[c->span],
                                       .delay = c->delay_ms ? "4s" : NULL, .where = !c->where ? NULL : c->input ? "y > 0" : "x > 0", .others = c->others};
    }
    if (features_new(inputs, 2, 0, defs, N_COLS, &f, &err) != OK)
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
    struct col *x;

    batch_init(&b, a, n);
    b.n_rows = n;
    x = batch_add_col(&b, cols[input].name, COL_DOUBLE);
    for (size_t r = 0; r < n; r++) {
        const struct taken *row = &t->rows[from + r];

        keys[r] = view_str(arena_printf(a, "key %d", row->key));
        ms[r] = row->ms;
        x->null[r] = (uint8_t)(isnan(row->x) != 0);
        x->f64[r] = isnan(row->x) ? 0 : row->x;
    }
    if (features_apply(f, s, (size_t)input, &b, keys, ms, bad, at, LATENESS_MS, 1, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t r = 0; r < n; r++) { /* what is here never looks as if it could not be */
        const struct entry *e = state_find(s, keys[r]);

        if (e && features_check(f, view_of(e->value, e->n_bytes), &err) != OK)
            fail_msg("row %zu: %s", from + r, err.text);
    }
    for (size_t r = 0; input == 0 && r < n; r++)
        for (size_t c = 0; c < N_COLS; c++) {
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

static void check(const struct trial *t, uint64_t seed)
{
    for (size_t r = 0; r < N_ROWS; r++)
        for (size_t c = 0; t->rows[r].input == 0 && c < N_COLS; c++) {
            const struct column *col = &t->columns[c];
            double want = oracle(t, col, r);

            if (!near(col, want, t->got[r][c]))
                fail_msg("seed %llu, row %zu at %lld, column %zu: %s over %s by %s%s%s%s: want %.17g, got %.17g", (unsigned long long)seed, r,
                         (long long)t->rows[r].ms, c, names[col->name], spans[col->span], resolutions[col->span], col->delay_ms ? ", delayed" : "",
                         col->others ? ", without itself" : "", col->where ? ", where" : "", want, t->got[r][c]);
        }
}

/* Before 1970, across it, now, and hundreds of thousands of years away. */
static void tiles_equal_the_slow_oracle_at_any_time(void **state)
{
    static const int64_t from[] = {-5000000, -62135596800000, 1700000000000, 253402300800000, -9000000000000000, 9000000000000000};
    struct trial *t = calloc(1, sizeof(*t));
    double(*first)[N_COLS] = malloc(sizeof(t->got));
    struct features *f = compile(t);

    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        make_rows(t->rows, seed, from[seed - 1]);
        play(f, t, 1, SIZE_MAX);
        check(t, seed);
        memcpy(first, t->got, sizeof(t->got));
        play(f, t, 7, N_ROWS / 3);
        assert_memory_equal(first, t->got, sizeof(t->got));
        play(f, t, 1000, N_ROWS / 2);
        assert_memory_equal(first, t->got, sizeof(t->got));
    }
    features_free(f);
    free(first);
    free(t);
}

/* ---- a hot key ---- */
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

static bool is_rising; /* each value is larger than the one before */

/* n events of a key, each `step` after the one before; the first feature after the last. */
static double run(struct one *o, const char *key, int64_t ms, int64_t step, size_t n)
{
    static const char *bad[1000];
    struct view keys[1000];
    int64_t times[1000];
    double last = NAN;
    struct error err;

    for (size_t from = 0; from < n; from += 1000) {
        size_t k = n - from < 1000 ? n - from : 1000;
        const struct col *col;
        struct col *x;
        struct batch b;

        arena_reset(&o->a);
        batch_init(&b, &o->a, k);
        b.n_rows = k;
        x = batch_add_col(&b, "x", COL_DOUBLE);
        for (size_t r = 0; r < k; r++) {
            x->f64[r] = is_rising ? (double)(from + r) : (double)((from + r) * 7919 % 1000);
            keys[r] = view_str(key);
            times[r] = ms + (int64_t)(from + r) * step;
        }
        assert_int_equal(features_apply(o->f, o->s, 0, &b, keys, times, bad, INT64_MIN, LATENESS_MS, 1, &err), OK);
        col = batch_col(&b, features_cols(o->f)[0].name);
        last = col->null[k - 1] ? NAN : col->type == COL_DOUBLE ? col->f64[k - 1] : (double)col->i64[k - 1];
    }
    return last;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static const char *const day[] = {"1d"}, *const sixty_days[] = {"60d"};

/* All memory that features take is the state's or the batch's. */
static void a_warm_key_takes_no_memory(void **state)
{
    const struct feature_def defs[] = {{.name = "n", .aggregate = "count", .of = "buys", .over = day, .n_over = 1},
                                       {.name = "v", .aggregate = "variance", .of = "x", .over = day, .n_over = 1},
                                       {.name = "most", .aggregate = "max", .of = "x", .over = day, .n_over = 1},
                                       {.name = "many", .aggregate = "distinct", .of = "x", .over = day, .n_over = 1},
                                       {.name = "tiled", .aggregate = "sum", .of = "x", .over = day, .n_over = 1, .resolution = "1h"},
                                       {.name = "to", .expr = "v / n"}};
    struct one o = one_new(defs, ARRAY_LEN(defs));
    size_t in_state, in_batch;

    (void)state;
    run(&o, "k", 0, 60000, 20000);
    in_state = state_bytes(o.s);
    in_batch = o.a.held_bytes;
    run(&o, "k", INT64_C(1200000000), 60000, 200000);
    assert_int_equal(state_bytes(o.s), in_state);
    assert_int_equal(o.a.held_bytes, in_batch);
    one_done(&o);
}

/* However many events a key has, it has no more tiles. */
static void a_hot_key_has_no_more_tiles_than_another(void **state)
{
    const struct feature_def defs[] = {
        {.name = "n", .aggregate = "count", .of = "buys", .over = sixty_days, .n_over = 1, .resolution = "1h"},
        {.name = "v", .aggregate = "variance", .of = "x", .over = sixty_days, .n_over = 1, .resolution = "1h"},
        {.name = "most", .aggregate = "max", .of = "x", .over = sixty_days, .n_over = 1, .resolution = "1h"}};
    struct one o = one_new(defs, ARRAY_LEN(defs));
    size_t bytes;

    (void)state;
    assert_true(run(&o, "a", 0, 5000, 3000000) == 1037279); /* of 60 days and the hour in which they begin */
    bytes = state_bytes(o.s);
    printf("%zu bytes\n", bytes);
    assert_true(bytes < (size_t)4 * 2 * (60 * 24 + 2) * 40 * 2); /* four parts of two copies, with room to grow */
    run(&o, "a", 15000000000, 500, 1000000);
    assert_true(state_bytes(o.s) < bytes * 3 / 2);
    one_done(&o);
}

/* One key holds half of all events. After a silence its next event takes them all out; what that costs is printed. */
static void a_hot_key_that_falls_silent_is_as_one_that_was_never_there(void **state)
{
    const struct feature_def defs[] = {{.name = "n", .aggregate = "count", .of = "buys", .over = day, .n_over = 1},
                                       {.name = "v", .aggregate = "variance", .of = "x", .over = day, .n_over = 1},
                                       {.name = "most", .aggregate = "max", .of = "x", .over = day, .n_over = 1},
                                       {.name = "many", .aggregate = "distinct", .of = "x", .over = day, .n_over = 1}};
    struct one o = one_new(defs, ARRAY_LEN(defs));
    double put, left;
    char key[16];

    (void)state;
    put = seconds();
    assert_true(run(&o, "hot", 0, 80, 1000000) == 1000000);
    put = seconds() - put;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        run(&o, key, 0, 80, 1000);
    }
    left = seconds();
    assert_true(run(&o, "hot", INT64_C(400000000), 1, 1) == 1);
    left = seconds() - left;
    printf("a million events put in %.1f ms, out in %.3f ms\n", put * 1e3, left * 1e3);
    assert_true(run(&o, "hot", INT64_C(400000001), 1, 9) == 10);
    one_done(&o);
}

/* A hundredth of a hot key's events is left, and then none; and each day half as many come: memory and what a changelog is told go with them. */
static void a_hot_key_gives_its_memory_back(void **state)
{
    const struct feature_def defs[] = {{.name = "n", .aggregate = "count", .of = "buys", .over = day, .n_over = 1},
                                       {.name = "v", .aggregate = "variance", .of = "x", .over = day, .n_over = 1},
                                       {.name = "least", .aggregate = "min", .of = "x", .over = day, .n_over = 1},
                                       {.name = "many", .aggregate = "distinct", .of = "x", .over = day, .n_over = 1},
                                       {.name = "often", .aggregate = "top", .of = "x", .over = day, .n_over = 1}};
    struct one o = one_new(defs, ARRAY_LEN(defs));
    struct state *log = state_new(SIZE_MAX);
    size_t least = state_bytes(o.s), most;
    int64_t last = INT64_C(300000) * 288; /* a day */

    (void)state;
    is_rising = true;
    assert_true(run(&o, "hot", 0, 288, 300000) == 300000);
    commit_to(log, o.s);
    most = state_bytes(o.s);
    assert_true(run(&o, "hot", last - 288 * 3000 + INT64_C(86400000), 1, 1) == 3000);
    commit_to(log, o.s);
    printf("of %zu bytes %zu are left with a hundredth of the events\n", most - least, state_bytes(o.s) - least);
    assert_true(state_bytes(o.s) - least < (most - least) / 20 && log_has(log, o.s, view_str("hot")));
    assert_true(run(&o, "hot", 3 * last, 1, 1) == 1);
    commit_to(log, o.s);
    assert_true(state_bytes(o.s) - least < 2 * STATE_CHUNK_BYTES && log_has(log, o.s, view_str("hot")));
    for (int64_t step = 864, n = 100000; n > 100; last += 86400000, step *= 2, n /= 2)
        assert_true(run(&o, "hot", 4 * INT64_C(86400000) + last, step, (size_t)n) >= (double)n);
    commit_to(log, o.s);
    printf("%zu bytes after days of half as many each\n", state_bytes(o.s) - least);
    assert_true(state_bytes(o.s) - least < 4 * STATE_CHUNK_BYTES && log_has(log, o.s, view_str("hot")));
    is_rising = false;
    state_free(log);
    one_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_equal_the_slow_oracle_at_any_time),
        cmocka_unit_test(a_warm_key_takes_no_memory),
        cmocka_unit_test(a_hot_key_has_no_more_tiles_than_another),
        cmocka_unit_test(a_hot_key_that_falls_silent_is_as_one_that_was_never_there),
        cmocka_unit_test(a_hot_key_gives_its_memory_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
