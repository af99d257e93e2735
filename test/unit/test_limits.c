/*
 * test/unit/test_limits.c: a stage with as many conditions over one input, and as many ends of windows, as there may be: what comes out is what
 * counting anew says, of late rows too; one more of either is refused by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "feature/feature.h"
#include "feature/plan.h"

#define N_CONDITIONS ((size_t)RINGS_MAX)
#define N_WINDOWS ((size_t)CURSORS_MAX - 2) /* beside now, and the floor of all */
#define N_ROWS 2000
#define LATENESS_MS 3000
#define BATCH 100

static const struct feature_col cols[] = {{"k", COL_INT, false, -1}};
static const struct feature_input input = {"buys", cols, 1, 0, NULL, 0};
static const char *const span[] = {"5s"};
static char names[N_CONDITIONS + 1][24], wheres[N_CONDITIONS + 1][32], spans[N_WINDOWS + 1][24];
static const char *windows[N_WINDOWS + 1];

static struct {
    int64_t ms, k;
} rows[N_ROWS];

/* `defs` of n conditions; then one more with as many windows, where k = 0: the first one's ring. */
static size_t define(struct feature_def *defs, size_t n_conditions, size_t n_windows)
{
    for (size_t i = 0; i < n_conditions; i++) {
        snprintf(names[i], sizeof(names[i]), "n%zu", i);
        snprintf(wheres[i], sizeof(wheres[i]), "k = %zu", i);
        defs[i] = (struct feature_def){.name = names[i], .aggregate = "count", .of = "buys", .over = span, .n_over = 1, .where = wheres[i]};
    }
    for (size_t i = 0; i < n_windows; i++) {
        snprintf(spans[i], sizeof(spans[i]), "%zus", i + 1);
        windows[i] = spans[i];
    }
    defs[n_conditions] = (struct feature_def){.name = "sum", .aggregate = "sum", .of = "k + 1", .over = windows, .n_over = n_windows, .where = wheres[0]};
    return n_conditions + 1;
}

static void make_rows(void)
{
    int64_t now = 0, at = 0;
    struct rand r;

    rand_seed(&r, 5);
    for (size_t i = 0; i < N_ROWS; i++) {
        now += (int64_t)rand_below(&r, 200);
        rows[i].ms = rand_below(&r, 4) ? now : now - (int64_t)rand_below(&r, LATENESS_MS);
        rows[i].ms = rows[i].ms < at - LATENESS_MS ? at - LATENESS_MS : rows[i].ms;
        at = rows[i].ms > at ? rows[i].ms : at;
        rows[i].k = rand_below(&r, 3) ? (int64_t)rand_below(&r, N_CONDITIONS) : 0;
    }
}

static size_t count(size_t at, int64_t k, int64_t span_ms)
{
    size_t n = 0;

    for (size_t i = 0; i <= at; i++)
        n += rows[i].k == k && rows[i].ms <= rows[at].ms && rows[i].ms > rows[at].ms - span_ms;
    return n;
}

static void check(const struct batch *b, size_t from)
{
    char name[32];

    for (size_t r = 0; r < b->n_rows; r++) {
        for (size_t i = 0; i < N_CONDITIONS; i++) {
            snprintf(name, sizeof(name), "n%zu_5s", i);
            if (batch_col(b, name)->i64[r] != (int64_t)count(from + r, (int64_t)i, 5000))
                fail_msg("row %zu, condition %zu: want %zu, got %lld", from + r, i, count(from + r, (int64_t)i, 5000),
                         (long long)batch_col(b, name)->i64[r]);
        }
        for (size_t i = 0; i < N_WINDOWS; i++) {
            snprintf(name, sizeof(name), "sum_%zus", i + 1);
            if (batch_col(b, name)->f64[r] != (double)count(from + r, 0, (int64_t)(i + 1) * 1000))
                fail_msg("row %zu, window %zu: want %zu, got %g", from + r, i, count(from + r, 0, (int64_t)(i + 1) * 1000),
                         batch_col(b, name)->f64[r]);
        }
    }
}

static void as_many_as_there_may_be_are_as_counting_says(void **state)
{
    struct state *s = state_new(SIZE_MAX);
    struct feature_def defs[N_CONDITIONS + 1];
    struct arena a = ARENA_EMPTY;
    struct features *f = NULL;
    const char *bad[BATCH];
    struct view keys[BATCH];
    int64_t ms[BATCH], at = INT64_MIN;
    struct error err;

    (void)state;
    make_rows();
    if (features_new(&input, 1, 0, defs, define(defs, N_CONDITIONS, N_WINDOWS), &f, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t from = 0; from < N_ROWS; from += BATCH) {
        struct batch b;

        arena_reset(&a);
        batch_init(&b, &a, BATCH);
        b.n_rows = BATCH;
        batch_add_col(&b, "k", COL_INT);
        for (size_t r = 0; r < BATCH; r++) {
            keys[r] = view_str("key");
            ms[r] = rows[from + r].ms;
            bad[r] = NULL;
            b.cols[0].i64[r] = rows[from + r].k;
        }
        if (features_apply(f, s, 0, &b, keys, ms, bad, at, LATENESS_MS, 1, &err) != OK)
            fail_msg("%s", err.text);
        check(&b, from);
        for (size_t r = 0; r < BATCH; r++)
            at = ms[r] > at ? ms[r] : at;
    }
    features_free(f);
    state_free(s);
    arena_done(&a);
}

static void one_more_is_refused(void **state)
{
    static const struct {
        size_t more_conditions, more_windows;
        const char *why;
    } cases[] = {{1, 0, "feature 'n64': more than 64 different inputs and conditions in one stage"},
                 {0, 1, "feature 'sum': more than 64 different ends of windows, or 250 aggregates, over one input and condition"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct feature_def defs[N_CONDITIONS + 2];
        struct features *f;
        struct error err;

        assert_int_equal(features_new(&input, 1, 0, defs, define(defs, N_CONDITIONS + cases[i].more_conditions, N_WINDOWS + cases[i].more_windows),
                                      &f, &err), ERR_FATAL);
        assert_string_equal(err.text, cases[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_there_may_be_are_as_counting_says),
        cmocka_unit_test(one_more_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
