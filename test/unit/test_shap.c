/* test/unit/test_shap.c: SHAP values of small trees against libxgboost, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "model/model.h"
#include "model/shap.h"
#include "model_make.h"

static const struct make_case cases[] = {
    {"binary:logistic", "exact", "0.5", "3", {"eta", "0.1", NULL}, 40, 600},
    {"binary:logistic", "exact", "0.03", "3", {"gamma", "1", NULL}, 20, 600},
    {"binary:logistic", "exact", "0.5", "1", {NULL}, 10, 100},
    {"binary:logistic", "exact", "0.5", "2", {"gamma", "1000000", NULL}, 3, 100}, /* trees of one leaf */
    {"binary:logistic", "hist", "0.9", "0", {"grow_policy", "lossguide", "max_leaves", "8", NULL}, 20, 900}, /* long and thin */
    {"binary:logitraw", "hist", "0.4", "3", {NULL}, 8, 400},
    {"reg:logistic", "hist", "0.4", "2", {"num_parallel_tree", "3", NULL}, 4, 400},
    {"reg:squarederror", "exact", "0.1", "3", {NULL}, 10, 600},
    {"reg:absoluteerror", "hist", "0.5", "3", {NULL}, 6, 400},
    {"reg:pseudohubererror", "hist", "0.5", "3", {NULL}, 6, 400},
    {"reg:quantileerror", "hist", "0.5", "3", {"quantile_alpha", "0.9", NULL}, 6, 400},
    {"reg:quantileerror", "hist", "0.5", "3", {"quantile_alpha", "[0.1,0.5,0.9]", NULL}, 6, 400},
    {"count:poisson", "hist", "0.7", "3", {NULL}, 6, 400},
    {"reg:gamma", "hist", "0.7", "3", {NULL}, 6, 400},
    {"reg:tweedie", "hist", "0.7", "3", {NULL}, 6, 400},
};

enum { N = 333, COLS = MAKE_FEATURES + 1 };

static float rows[N * MAKE_FEATURES], labels[N], ours[N * 3 * COLS], theirs[N * 3 * COLS];

static void small_trees_of_every_objective_are_bit_equal(void **state)
{
    struct error err;

    (void)state;
    make_rows(98, N, rows, labels, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes out = BYTES_EMPTY;
        struct ubj_trees *t = NULL;
        struct booster *b = NULL;
        struct shap *s;
        size_t n;

        if (make_model(&cases[i], i + 1, &out, &err) != OK || ubj_read(view_of(out.data, out.n), &t, &err) != OK ||
            booster_load(view_of(out.data, out.n), &b, &err) != OK)
            fail_msg("case %zu: %s", i, err.text);
        s = shap_new(t);
        if (s == NULL)
            fail_msg("case %zu (%s): a tree is too large", i, cases[i].objective);
        n = t->n_outputs * COLS;
        assert_int_equal(booster_contributions(b, rows, N, theirs, &err), OK);
        for (int again = 0; again < 2; again++) { /* computed, then kept */
            shap_contributions(s, rows, N, ours);
            for (size_t k = 0; k < N * n; k++)
                if (memcmp(&ours[k], &theirs[k], sizeof(*ours)) != 0)
                    fail_msg("case %zu (%s), row %zu, value %zu: %.9g, libxgboost has %.9g", i, cases[i].objective, k / n, k % n,
                             (double)ours[k], (double)theirs[k]);
        }
        shap_free(s);
        booster_free(b);
        ubj_trees_free(t);
        bytes_done(&out);
    }
}

/* What the first rows' comparison looks for. */
static void a_wrong_leaf_shows(void **state)
{
    struct bytes out = BYTES_EMPTY;
    struct ubj_trees *t = NULL;
    struct error err;
    struct shap *s;

    (void)state;
    make_rows(98, N, rows, labels, 1);
    assert_int_equal(make_model(&cases[0], 1, &out, &err), OK);
    assert_int_equal(ubj_read(view_of(out.data, out.n), &t, &err), OK);
    s = shap_new(t);
    shap_contributions(s, rows, 64, theirs);
    shap_free(s);
    for (size_t k = 0; k < t->n_trees; k++)
        for (uint32_t i = 1; i < t->trees[k].n_nodes; i++) {
            struct ubj_node *n = &t->trees[k].nodes[i], saved = *n;

            if (n->left >= 0)
                continue; /* between two splits on one feature its weight is of no consequence */
            n->hessian *= 2;
            s = shap_new(t);
            *n = saved;
            shap_contributions(s, rows, 64, ours);
            if (memcmp(ours, theirs, 64 * COLS * sizeof(*ours)) == 0)
                fail_msg("tree %zu node %u: a wrong hessian was not seen", k, i);
            shap_free(s);
        }
    ubj_trees_free(t);
    bytes_done(&out);
}

static void a_model_explains_alike_before_and_after_it_is_believed(void **state)
{
    static const struct make_case deep = {"binary:logistic", "exact", "0.5", "6", {NULL}, 10, 600};
    const struct make_case *of[] = {&cases[0], &deep};
    struct error err;

    (void)state;
    make_rows(97, N, rows, labels, 1);
    for (size_t i = 0; i < ARRAY_LEN(of); i++) {
        struct bytes out = BYTES_EMPTY;
        struct booster *b = NULL;
        struct model *m = NULL;
        float bad[MAKE_FEATURES] = {1, 2, 3, -INFINITY, 5};

        assert_int_equal(make_model(of[i], 1, &out, &err), OK);
        assert_int_equal(model_load(view_of(out.data, out.n), &m, &err), OK);
        assert_int_equal(booster_load(view_of(out.data, out.n), &b, &err), OK);
        assert_int_equal(booster_contributions(b, rows, N, theirs, &err), OK);
        for (size_t r = 0; r < N; r++)
            assert_int_equal(model_contributions(m, rows + r * MAKE_FEATURES, 1, ours + r * COLS, &err), OK);
        assert_memory_equal(ours, theirs, N * COLS * sizeof(*ours));
        assert_int_equal(model_contributions(m, bad, 1, ours, &err), ERR_RECORD);
        model_free(m);
        booster_free(b);
        bytes_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_trees_of_every_objective_are_bit_equal),
        cmocka_unit_test(a_wrong_leaf_shows),
        cmocka_unit_test(a_model_explains_alike_before_and_after_it_is_believed),
    };

    return cmocka_run_group_tests_name("shap", tests, NULL, NULL);
}
