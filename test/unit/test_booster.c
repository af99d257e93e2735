/* test/unit/test_booster.c: training and the reference predictions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model_make.h"

static void the_same_fit_gives_the_same_bytes(void **state)
{
    static const struct make_case cases[] = {
        {"binary:logistic", "exact", "0.5", "4", {NULL}, 6, 500},
        {"binary:logistic", "hist", "0.5", "4", {"subsample", "0.7", "colsample_bytree", "0.6", NULL}, 6, 500},
        {"count:poisson", "hist", "0.7", "5", {NULL}, 4, 500},
    };
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes a = BYTES_EMPTY, b = BYTES_EMPTY;

        assert_int_equal(make_model(&cases[i], 3, &a, &err), OK);
        assert_int_equal(make_model(&cases[i], 3, &b, &err), OK);
        assert_true(view_eq(view_of(a.data, a.n), view_of(b.data, b.n)));
        bytes_clear(&b);
        assert_int_equal(make_model(&cases[i], 4, &b, &err), OK);
        assert_false(view_eq(view_of(a.data, a.n), view_of(b.data, b.n)));
        bytes_done(&a);
        bytes_done(&b);
    }
}

static void a_fit_without_its_parameters_said_is_refused(void **state)
{
    static const struct booster_param all[] = {
        {"objective", "binary:logistic"}, {"tree_method", "exact"}, {"base_score", "0.5"}, {"seed", "1"}};
    static const struct { struct booster_param more; const char *want; } cases[] = {
        {{"n_jobs", "4"}, "'n_jobs' is fixed"},
        {{"nthread", "0"}, "'nthread': expected 1 to"},
        {{"seed", "2"}, "'seed' is given twice"},
        {{"booster", "dart"}, "'booster' is fixed"},
        {{"max_depth", "deep"}, "xgboost"},
    };
    float rows[4] = {1, 2, 3, 4}, labels[4] = {0, 1, 0, 1};
    const char *names[] = {"x"};
    struct bytes out = BYTES_EMPTY;
    struct error err;

    (void)state;
    for (size_t skip = 0; skip < 4; skip++) {
        struct booster_param p[3];
        size_t n = 0;
        struct booster_fit fit = {p, 3, 1, names, 1, rows, labels, NULL, 4, NULL};

        for (size_t i = 0; i < 4; i++) {
            if (i != skip)
                p[n++] = all[i];
        }
        assert_int_equal(booster_train(&fit, &out, &err), ERR_RECORD);
        if (strstr(err.text, all[skip].name) == NULL)
            fail_msg("without %s: %s", all[skip].name, err.text);
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct booster_param p[5] = {all[0], all[1], all[2], all[3], cases[i].more};
        struct booster_fit fit = {p, 5, 1, names, 1, rows, labels, NULL, 4, NULL};

        assert_int_not_equal(booster_train(&fit, &out, &err), OK);
        if (strstr(err.text, cases[i].want) == NULL)
            fail_msg("%s: %s", cases[i].more.name, err.text);
    }
    assert_int_equal(out.n, 0);
}

static void infinities_and_empty_input_are_refused(void **state)
{
    float rows[4] = {1, 2, INFINITY, 4}, labels[4] = {0, 1, 0, 1};
    struct booster_param p[] = {
        {"objective", "binary:logistic"}, {"tree_method", "exact"}, {"base_score", "0.5"}, {"seed", "1"}};
    const char *names[] = {"x"};
    struct booster_fit fit = {p, 4, 1, names, 1, rows, labels, NULL, 4, NULL};
    struct bytes out = BYTES_EMPTY;
    struct error err;

    (void)state;
    assert_int_equal(booster_train(&fit, &out, &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "row 2, column 0: infinite"));
    rows[2] = 3;
    labels[1] = NAN;
    assert_int_equal(booster_train(&fit, &out, &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "row 1: label"));
    labels[1] = 1;
    fit.n_rows = 0;
    assert_int_equal(booster_train(&fit, &out, &err), ERR_RECORD);
    fit.n_rows = 4;
    p[0].value = "multi:softprob";
    assert_int_equal(booster_train(&fit, &out, &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "binary:logistic"));
}

static int n_asked;

static bool stop_at_third(void)
{
    return ++n_asked == 3;
}

static void a_fit_ends_with_the_round_in_which_it_is_stopped(void **state)
{
    float rows[4] = {1, 2, 3, 4}, labels[4] = {0, 1, 0, 1};
    const struct booster_param p[] = {
        {"objective", "binary:logistic"}, {"tree_method", "exact"}, {"base_score", "0.5"}, {"seed", "1"}};
    const char *names[] = {"x"};
    struct booster_fit fit = {p, 4, 20, names, 1, rows, labels, NULL, 4, stop_at_third};
    struct bytes out = BYTES_EMPTY;
    struct error err;

    (void)state;
    assert_int_equal(booster_train(&fit, &out, &err), ERR_RETRY);
    assert_int_equal(n_asked, 3);
    assert_int_equal(out.n, 0);
}

/* The margin is the sum of a row's contributions and bias. */
static void contributions_sum_to_the_margin(void **state)
{
    enum { N = 40 };
    float rows[N * MAKE_FEATURES], labels[N], score[N], parts[N * (MAKE_FEATURES + 1)];
    struct bytes out = BYTES_EMPTY;
    struct booster *b = NULL;
    struct error err;

    (void)state;
    assert_int_equal(make_model(&make_small, 1, &out, &err), OK);
    assert_int_equal(booster_load(view_of(out.data, out.n), &b, &err), OK);
    assert_int_equal(booster_n_features(b), MAKE_FEATURES);
    make_rows(2, N, rows, labels, 1);
    assert_int_equal(booster_predict(b, rows, N, score, &err), OK);
    assert_int_equal(booster_contributions(b, rows, N, parts, &err), OK);
    for (size_t i = 0; i < N; i++) {
        double sum = 0;

        for (size_t f = 0; f <= MAKE_FEATURES; f++)
            sum += (double)parts[i * (MAKE_FEATURES + 1) + f];
        assert_true(fabs(1 / (1 + exp(-sum)) - (double)score[i]) < 1e-5);
    }
    booster_free(b);
    bytes_done(&out);
}

static void the_library_says_its_version(void **state)
{
    (void)state;
    assert_non_null(strstr(booster_version(), "xgboost 3."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_fit_gives_the_same_bytes),
        cmocka_unit_test(a_fit_without_its_parameters_said_is_refused),
        cmocka_unit_test(infinities_and_empty_input_are_refused),
        cmocka_unit_test(a_fit_ends_with_the_round_in_which_it_is_stopped),
        cmocka_unit_test(contributions_sum_to_the_margin),
        cmocka_unit_test(the_library_says_its_version),
    };

    return cmocka_run_group_tests_name("booster", tests, NULL, NULL);
}
