/* test/unit/test_flat.c: the flat trees and the model that uses them, against libxgboost bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/flat.h"
#include "model/model.h"
#include "model/model_check.h"
#include "model_make.h"

static const struct make_case cases[] = {
    {"binary:logistic", "exact", "0.5", "3", {"eta", "0.1", NULL}, 20, 600},
    {"binary:logistic", "exact", "0.03", "6", {"gamma", "1", NULL}, 20, 600},
    {"binary:logistic", "exact", "0.5", "1", {NULL}, 1, 100},
    {"binary:logistic", "exact", "0.5", "2", {"gamma", "1000000", NULL}, 3, 100}, /* trees of one leaf */
    {"binary:logistic", "hist", "0.9", "0", {"grow_policy", "lossguide", "max_leaves", "60", NULL}, 5, 900},
    {"binary:logitraw", "hist", "0.4", "4", {NULL}, 8, 400},
    {"reg:logistic", "hist", "0.4", "4", {"num_parallel_tree", "3", NULL}, 4, 400},
    {"reg:squarederror", "exact", "0.1", "6", {NULL}, 10, 600},
    {"reg:absoluteerror", "hist", "0.5", "4", {NULL}, 6, 400},
    {"reg:pseudohubererror", "hist", "0.5", "4", {NULL}, 6, 400},
    {"reg:quantileerror", "hist", "0.5", "4", {"quantile_alpha", "0.9", NULL}, 6, 400},
    {"reg:quantileerror", "hist", "0.5", "4", {"quantile_alpha", "[0.1,0.5,0.9]", NULL}, 6, 400},
    {"count:poisson", "hist", "0.7", "5", {NULL}, 6, 400},
    {"reg:gamma", "hist", "0.7", "5", {NULL}, 6, 400},
    {"reg:tweedie", "hist", "0.7", "5", {NULL}, 6, 400},
};

/* What flat.h says, in the plainest words. */
static void slow(const struct ubj_trees *t, const float *row, float *margin)
{
    for (size_t k = 0; k < t->n_trees; k++) {
        const struct ubj_node *n = t->trees[k].nodes;

        while (n->left >= 0) {
            float x = row[n->feature];
            bool to_left = isnan(x) ? n->default_left : x < n->value;

            n = &t->trees[k].nodes[to_left ? n->left : n->right];
        }
        margin[t->trees[k].output] += n->value;
    }
}

static void every_kind_of_model_is_flat_and_bit_equal(void **state)
{
    enum { N = 333 };
    float rows[N * MAKE_FEATURES], labels[N];
    struct error err;

    (void)state;
    make_rows(99, N, rows, labels, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes out = BYTES_EMPTY;
        struct model *m = NULL;
        struct booster *b = NULL;
        float ours[N * 3], theirs[N * 3];

        if (make_model(&cases[i], i + 1, &out, &err) != OK || model_load(view_of(out.data, out.n), &m, &err) != OK)
            fail_msg("case %zu: %s", i, err.text);
        if (!model_is_flat(m))
            fail_msg("case %zu (%s): not flat after %zu rows", i, cases[i].objective, model_rows_checked(m));
        assert_true(model_rows_checked(m) >= 512);
        assert_int_equal(booster_load(view_of(out.data, out.n), &b, &err), OK);
        assert_int_equal(booster_predict(b, rows, N, theirs, &err), OK);
        /* However many rows a call has. */
        for (size_t step = 1; step <= N; step = step * 2 + 1) {
            size_t o = model_n_outputs(m);

            for (size_t r = 0; r < N; r += step)
                assert_int_equal(model_predict(m, rows + r * MAKE_FEATURES, N - r < step ? N - r : step, ours + r * o, &err),
                                 OK);
            assert_memory_equal(ours, theirs, N * o * sizeof(float));
        }
        model_free(m);
        booster_free(b);
        bytes_done(&out);
    }
}

static void random_trees_go_where_the_plain_walk_goes(void **state)
{
    struct rand r;
    uint64_t seed = 20261124;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rand_seed(&r, seed);
    for (int round = 0; round < 200; round++) {
        struct ubj_node nodes[127];
        struct ubj_tree tree = {nodes, 1, 0, 0};
        uint32_t depth[127] = {0};
        float base = 0, rows[37 * 4], got[37], walked[37];
        struct ubj_trees t = {.objective = (char *)(uintptr_t) "reg:squarederror", .n_features = 4, .n_outputs = 1,
                              .base_score = &base, .trees = &tree, .n_trees = 1};
        uint32_t depth_max = round % 2 ? 126 : (uint32_t)rand_below(&r, 8); /* shallow ones have a way of their own */
        struct flat *f;

        for (uint32_t i = 0; i < tree.n_nodes; i++) {
            bool split = tree.n_nodes + 2 <= 127 && depth[i] < depth_max && rand_below(&r, 4) != 0;

            nodes[i] = (struct ubj_node){-1, -1, (uint32_t)rand_below(&r, 4), (float)rand_below(&r, 9) - 4, rand_below(&r, 2), 1};
            tree.depth = depth[i] > tree.depth ? depth[i] : tree.depth;
            if (!split)
                continue;
            nodes[i].left = (int32_t)tree.n_nodes++;
            nodes[i].right = (int32_t)tree.n_nodes++;
            depth[nodes[i].left] = depth[nodes[i].right] = depth[i] + 1;
        }
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            rows[i] = rand_below(&r, 5) == 0 ? NAN : rand_below(&r, 9) == 0 ? -0.0f : (float)rand_below(&r, 9) - 4;
        f = flat_new(&t);
        flat_predict(f, rows, 37, got);
        flat_walk(f, rows, 37, walked);
        for (size_t i = 0; i < 37; i++) {
            float want = 0;

            slow(&t, rows + i * 4, &want);
            assert_memory_equal(&got[i], &want, sizeof(want));
            assert_memory_equal(&walked[i], &want, sizeof(want));
        }
        flat_free(f);
    }
}

/* Whether a missing value of node i's feature gets to node i: not if a node above sends it elsewhere. */
static bool missing_arrives(const struct ubj_tree *tree, uint32_t i)
{
    for (uint32_t n = i, up = i; n != 0; n = up) {
        for (up = 0; tree->nodes[up].left != (int32_t)n && tree->nodes[up].right != (int32_t)n; up++)
            ;
        if (tree->nodes[up].feature == tree->nodes[i].feature &&
            tree->nodes[up].default_left != (tree->nodes[up].left == (int32_t)n))
            return false;
    }
    return true;
}

/* The self-check must see a single wrong node, wherever it is. */
static void the_self_check_finds_any_wrong_split_leaf_or_direction(void **state)
{
    struct bytes out = BYTES_EMPTY;
    struct ubj_trees *t = NULL;
    struct booster *b = NULL;
    struct error err;

    (void)state;
    assert_int_equal(make_model(&cases[0], 1, &out, &err), OK);
    assert_int_equal(ubj_read(view_of(out.data, out.n), &t, &err), OK);
    assert_int_equal(booster_load(view_of(out.data, out.n), &b, &err), OK);
    for (size_t k = 0; k < t->n_trees; k += 3) {
        for (uint32_t i = 0; i < t->trees[k].n_nodes; i++) {
            struct ubj_node *n = &t->trees[k].nodes[i], saved = *n;
            struct flat *f;
            size_t rows;
            bool agree = true;

            n->value = nextafterf(n->value, INFINITY);
            if (n->left < 0) /* the last bit of one leaf may be lost in a sum: a plainer fault */
                n->value = saved.value + 1;
            f = flat_new(t);
            *n = saved;
            assert_int_equal(model_check(t, f, b, &rows, &agree, &err), OK);
            if (agree)
                fail_msg("tree %zu node %u: a wrong value was not seen", k, i);
            flat_free(f);
            if (n->left < 0 || !missing_arrives(&t->trees[k], i))
                continue;
            n->default_left = !n->default_left;
            f = flat_new(t);
            *n = saved;
            assert_int_equal(model_check(t, f, b, &rows, &agree, &err), OK);
            if (agree)
                fail_msg("tree %zu node %u: a wrong direction was not seen", k, i);
            flat_free(f);
        }
    }
    booster_free(b);
    ubj_trees_free(t);
    bytes_done(&out);
}

static void a_model_names_its_columns_in_order(void **state)
{
    static const char *const swapped[] = {"f1", "f0", "f2", "f3", "f4"};
    struct bytes out = BYTES_EMPTY;
    struct model *m = NULL;
    struct error err;
    float row[MAKE_FEATURES] = {1, 2, 3, -INFINITY, 5}, score;

    (void)state;
    assert_int_equal(make_model(&make_small, 1, &out, &err), OK);
    assert_int_equal(model_load(view_of(out.data, out.n), &m, &err), OK);
    assert_string_equal(model_feature(m, 2), "f2");
    assert_int_equal(model_expects(m, make_names, MAKE_FEATURES, &err), OK);
    assert_int_equal(model_expects(m, make_names, 4, &err), ERR_RECORD);
    assert_int_equal(model_expects(m, swapped, MAKE_FEATURES, &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "feature 0: expected 'f1', it has 'f0'"));
    assert_int_equal(model_predict(m, row, 1, &score, &err), ERR_RECORD);
    model_free(m);
    bytes_done(&out);
}

static void a_child_tries_a_model_first(void **state)
{
    struct bytes out = BYTES_EMPTY;
    struct error err;

    (void)state;
    assert_int_equal(make_model(&make_small, 1, &out, &err), OK);
    if (model_try(view_of(out.data, out.n), &err) != OK)
        fail_msg("%s", err.text);
    out.data[out.n / 2] ^= 0xff;
    out.n -= 9;
    assert_int_equal(model_try(view_of(out.data, out.n), &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "model bytes"));
    bytes_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_model_is_flat_and_bit_equal),
        cmocka_unit_test(random_trees_go_where_the_plain_walk_goes),
        cmocka_unit_test(the_self_check_finds_any_wrong_split_leaf_or_direction),
        cmocka_unit_test(a_model_names_its_columns_in_order),
        cmocka_unit_test(a_child_tries_a_model_first),
    };

    return cmocka_run_group_tests_name("flat", tests, NULL, NULL);
}
