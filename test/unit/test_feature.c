/* test/unit/test_feature.c: windows against counting every event anew; expressions; families; messages. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rand.h"
#include "feature/feature.h"

#define DAY INT64_C(86400000)
#define EVENTS 4000
#define KEYS 5

static const struct feature_col event_cols[] = {
    {"ts", COL_INT, true, -1}, {"amount", COL_DOUBLE, false, 2}, {"kind", COL_STRING, false, -1}};
static const struct feature_col label_cols[] = {{"reported", COL_INT, true, -1}};
static const struct feature_input inputs[] = {{"labels", label_cols, 1, 0, NULL, 0}, {"events", event_cols, 3, 0, NULL, 0}};
static const char *const windows[] = {"1d", "7d", "30d"};
static const int64_t window_ms[] = {DAY, 7 * DAY, 30 * DAY};

static const struct feature_def defs[] = {
    {.name = "amount", .expr = "amount"},
    {.name = "weekend", .expr = "weekday(ts) >= 5"},
    {.name = "n", .aggregate = "count", .of = "events", .over = windows, .n_over = 3},
    {.name = "mean", .aggregate = "mean", .of = "amount", .over = windows, .n_over = 3},
    {.name = "old_n", .aggregate = "count", .of = "events", .over = windows, .n_over = 3, .delay = "7d"},
    {.name = "bad", .aggregate = "count", .of = "labels", .over = windows, .n_over = 3},
    {.name = "risk", .expr = "coalesce(bad / old_n, 0)"},
};

struct event {
    size_t input;
    int key;
    int64_t t;
    double amount;
    bool null;
};

struct row {
    double v[18]; /* n, mean, old_n, bad, risk for each window; NAN: null */
};

/* All that was taken before and at row i, of the same key, one by one. */
static void oracle(const struct event *e, size_t i, struct row *ret)
{
    for (int w = 0; w < 3; w++) {
        double n = 0, old = 0, bad = 0, n_amount = 0;
        long long cents = 0;

        for (size_t k = 0; k <= i; k++) {
            int64_t age = e[i].t - e[k].t;

            if (e[k].key != e[i].key)
                continue;
            if (e[k].input == 0) {
                bad += age >= 0 && age < window_ms[w];
                continue;
            }
            old += age >= 7 * DAY && age < 7 * DAY + window_ms[w];
            if (age < 0 || age >= window_ms[w])
                continue;
            n++;
            n_amount += !e[k].null;
            cents += e[k].null ? 0 : llrint(e[k].amount * 100);
        }
        ret->v[w] = n;
        ret->v[3 + w] = n_amount != 0 ? (double)cents / (100.0 * n_amount) : NAN;
        ret->v[6 + w] = old;
        ret->v[9 + w] = bad;
        ret->v[12 + w] = old != 0 ? bad / old : 0;
    }
}

static void make_events(struct event *e, struct rand *r)
{
    int64_t at = 0;

    for (size_t i = 0; i < EVENTS; i++) {
        bool label = rand_below(r, 10) == 0;

        at += (int64_t)rand_below(r, 4) * (int64_t)rand_below(r, 10000000);
        e[i] = (struct event){label ? 0 : 1, (int)rand_below(r, KEYS), at, 0, false};
        if (rand_below(r, 5) == 0)
            e[i].t = at - (int64_t)rand_below(r, (uint64_t)DAY); /* disorder within the lateness */
        e[i].amount = (double)((int64_t)rand_below(r, 4000000) - 2000000) / 100 * (rand_below(r, 50) ? 1 : 1e9);
        e[i].null = rand_below(r, 20) == 0;
    }
}

/* Runs of one input, at most `size` rows each. */
static void run(const struct features *f, struct state *s, const struct event *e, size_t size, struct row *ret)
{
    struct arena arena = ARENA_EMPTY;
    static const char *const names[] = {"1", "2", "3", "4", "5"};
    static const char *const made[] = {"n", "mean", "old_n", "bad", "risk"};
    int64_t at = INT64_MIN;
    struct error err;

    for (size_t i = 0, n; i < EVENTS; i += n) {
        struct batch b;
        struct view keys[1000];
        int64_t times[1000];
        const char *bad[1000] = {0};
        struct col *ts, *amount = NULL;

        for (n = 0; n < size && i + n < EVENTS && e[i + n].input == e[i].input; n++)
            ;
        batch_init(&b, &arena, n);
        b.n_rows = n;
        ts = batch_add_col(&b, e[i].input ? "ts" : "reported", COL_INT);
        for (size_t r = 0; r < n; r++) {
            keys[r] = view_str(names[e[i + r].key]);
            times[r] = ts->i64[r] = e[i + r].t;
        }
        if (e[i].input)
            amount = batch_add_col(&b, "amount", COL_DOUBLE);
        for (size_t r = 0; amount && r < n; r++) {
            amount->f64[r] = e[i + r].null ? 0 : e[i + r].amount;
            amount->null[r] = e[i + r].null;
        }
        assert_int_equal(features_apply(f, s, e[i].input, &b, keys, times, bad, at, DAY, 1, &err), OK);
        for (size_t r = 0; r < n; r++) {
            at = times[r] > at ? times[r] : at;
            for (int c = 0; e[i].input && c < 15; c++) {
                const struct col *col = batch_col(&b, arena_printf(&arena, "%s_%s", made[c / 3], windows[c % 3]));

                ret[i + r].v[c] = col->null[r] ? NAN : col->type == COL_DOUBLE ? col->f64[r] : (double)col->i64[r];
            }
        }
        arena_reset(&arena);
    }
    arena_done(&arena);
}

static void windows_equal_counting_every_event_anew(void **state)
{
    static struct event e[EVENTS];
    static struct row got[EVENTS];
    const size_t sizes[] = {1, 7, 1000};
    struct features *f;
    struct error err;
    struct rand r;

    (void)state;
    printf("seed 11\n");
    rand_seed(&r, 11);
    make_events(e, &r);
    if (features_new(inputs, 2, 1, defs, ARRAY_LEN(defs), &f, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(features_n_cols(f), 17);
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        struct state *s = state_new((size_t)1 << 30);

        run(f, s, e, sizes[k], got);
        for (size_t i = 0; i < EVENTS; i++) {
            struct row want;

            if (e[i].input == 0)
                continue;
            oracle(e, i, &want);
            for (int c = 0; c < 15; c++)
                if (!(got[i].v[c] == want.v[c] || (isnan(got[i].v[c]) && isnan(want.v[c]))))
                    fail_msg("batch %zu, event %zu, column %d: want %.17g, got %.17g", sizes[k], i, c, want.v[c], got[i].v[c]);
        }
        state_free(s);
    }
    features_free(f);
}

static void an_expression_gives_what_the_table_says(void **state)
{
    static const struct {
        const char *text;
        double want; /* NAN: null */
    } cases[] = {
        {"1 + 2 * 3", 7}, {"(1 + 2) * 3", 9}, {"7 / 2", 3.5}, {"-7 % 3", -1}, {"x - 1 < 2", 1},
        {"x / z", NAN}, {"coalesce(x / z, 5)", 5}, {"nul + 1", NAN}, {"false and nul > 0", 0}, {"true or nul > 0", 1},
        {"true and nul > 0", NAN}, {"not (x = 2.5)", 0}, {"if(x > 2, 10, 20)", 10}, {"abs(-3)", 3}, {"min(3, x, 7)", 2.5},
        {"max(1, 2)", 2}, {"is_null(nul)", 1}, {"kind = 'a' and kind != 'b'", 1}, {"hour(t)", 23}, {"weekday(t)", 2},
        {"9223372036854775807 + 1", NAN}, {"log(0)", NAN}, {"floor(-1.5)", -2}, {"round(2.346, 2)", 2.35}, {"2 >= 2", 1},
    };
    static const struct feature_col cols[] = {{"x", COL_DOUBLE, false, -1}, {"z", COL_INT, false, -1},
        {"nul", COL_INT, false, -1}, {"kind", COL_STRING, false, -1}, {"t", COL_INT, true, -1}};
    struct arena arena = ARENA_EMPTY;
    struct batch b;

    (void)state;
    batch_init(&b, &arena, 1);
    b.n_rows = 1;
    batch_add_col(&b, "x", COL_DOUBLE)->f64[0] = 2.5;
    batch_add_col(&b, "z", COL_INT);
    batch_add_col(&b, "nul", COL_INT)->null[0] = 1;
    batch_add_col(&b, "kind", COL_STRING)->view[0] = view_str("a");
    batch_add_col(&b, "t", COL_INT)->i64[0] = -1; /* Wednesday 1969-12-31T23:59:59.999 */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err;
        struct expr *e;
        enum col_type type;
        struct feature_col lent[ARRAY_LEN(cols)];
        struct col c;
        double got;

        memcpy(lent, cols, sizeof(lent));
        if (expr_new(cases[i].text, lent, ARRAY_LEN(lent), &e, &type, &err) != OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        memset(lent, 0, sizeof(lent)); /* an expression keeps nothing of its caller's */
        if (expr_eval(e, &b, &c, &err) != OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        got = c.null[0] ? NAN : type == COL_DOUBLE ? c.f64[0] : (double)c.i64[0];
        if (!(got == cases[i].want || (isnan(got) && isnan(cases[i].want))))
            fail_msg("%s: want %g, got %g", cases[i].text, cases[i].want, got);
        expr_free(e);
    }
    arena_done(&arena);
}

static void a_feature_may_have_the_name_of_a_function(void **state)
{
    const struct feature_def named[] = {{.name = "night", .expr = "hour(ts) <= 6"},
                                        {.name = "hour", .expr = "hour (ts)"},
                                        {.name = "later", .expr = "min(hour + 1, 23)"},
                                        {.name = "min", .aggregate = "min", .of = "amount", .over = windows, .n_over = 3}};
    struct features *f;
    struct error err;

    (void)state;
    if (features_new(inputs, 2, 1, named, ARRAY_LEN(named), &f, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(features_n_cols(f), 6);
    features_free(f);
}

static void a_mistake_is_named_with_its_place(void **state)
{
    static const struct {
        struct feature_def def;
        const char *want;
    } cases[] = {
        {{.name = "a", .expr = "amont * 2"}, "column 1 of \"amont * 2\": no field or feature 'amont'; did you mean 'amount'?"},
        {{.name = "a", .expr = "1 +"}, "column 4"},
        {{.name = "a", .expr = "amount / 0"}, "division by a constant zero"},
        {{.name = "a", .expr = "kind + 1"}, "arithmetic needs numbers"},
        {{.name = "a", .expr = "kind"}, "a feature is a number or a condition, this is text"},
        {{.name = "amount", .expr = "amount * 2"}, "the topic has a field of that name"},
        {{.name = "a", .expr = "nope(1)"}, "no such function"},
        {{.name = "a", .aggregate = "count", .of = "evens", .over = windows, .n_over = 3}, "count needs a topic"},
        {{.name = "a", .aggregate = "median", .of = "amount", .over = windows, .n_over = 3}, "no aggregate 'median'"},
        {{.name = "a", .aggregate = "count", .of = "events"}, "needs \"over\""},
        {{.name = "a", .aggregate = "sum", .of = "kind", .over = windows, .n_over = 3}, "sum needs a number"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct features *f;
        struct error err;

        assert_int_equal(features_new(inputs, 2, 1, &cases[i].def, 1, &f, &err), ERR_FATAL);
        if (strstr(err.text, cases[i].want) == NULL)
            fail_msg("case %zu: want \"%s\" in \"%s\"", i, cases[i].want, err.text);
    }
}

static void depth_is_bounded(void **state)
{
    static char text[5000];
    struct expr *e;
    enum col_type type;
    struct error err;

    (void)state;
    memset(text, '(', 2000);
    assert_int_equal(expr_new(text, event_cols, 3, &e, &type, &err), ERR_FATAL);
    memset(text, '-', 2000);
    assert_int_equal(expr_new(text, event_cols, 3, &e, &type, &err), ERR_FATAL);
    for (int i = 0; i < 1000; i++)
        memcpy(text + 4 * i, "not ", 5);
    assert_int_equal(expr_new(text, event_cols, 3, &e, &type, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "nested too deep"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_equal_counting_every_event_anew),
        cmocka_unit_test(an_expression_gives_what_the_table_says),
        cmocka_unit_test(a_feature_may_have_the_name_of_a_function),
        cmocka_unit_test(a_mistake_is_named_with_its_place),
        cmocka_unit_test(depth_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
