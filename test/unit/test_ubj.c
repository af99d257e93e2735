/* test/unit/test_ubj.c: the bounded walk: good models as they are, tampered ones refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "model_make.h"

static struct bytes good;

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static struct bytes copy(void)
{
    struct bytes b = BYTES_EMPTY;

    bytes_append(&b, good.data, good.n);
    return b;
}

/* Replaces n bytes at p by text. */
static void splice(struct bytes *b, uint8_t *p, size_t n, const void *text, size_t n_text)
{
    size_t at = (size_t)(p - b->data);
    struct bytes out = BYTES_EMPTY;

    bytes_append(&out, b->data, at);
    bytes_append(&out, text, n_text);
    bytes_append(&out, b->data + at + n, b->n - at - n);
    bytes_done(b);
    *b = out;
}

static void refused(struct bytes *b, const char *want)
{
    struct ubj_trees *t = NULL;
    struct error err;

    if (ubj_read(view_of(b->data, b->n), &t, &err) != ERR_RECORD)
        fail_msg("accepted; expected '%s'", want);
    if (strstr(err.text, want) == NULL)
        fail_msg("expected '%s', got: %s", want, err.text);
    bytes_done(b);
}

static void a_good_model_reads_as_it_was_trained(void **state)
{
    struct ubj_trees *t = NULL;
    struct error err;

    (void)state;
    assert_int_equal(ubj_read(view_of(good.data, good.n), &t, &err), OK);
    assert_string_equal(t->objective, "binary:logistic");
    assert_int_equal(t->n_features, MAKE_FEATURES);
    assert_string_equal(t->features[4], "f4");
    assert_int_equal(t->n_trees, 5);
    assert_int_equal(t->n_outputs, 1);
    assert_true(t->base_score[0] == 0.3f);
    assert_int_equal(t->version[0], 3);
    for (size_t i = 0; i < t->n_trees; i++)
        assert_true(t->trees[i].depth >= 1 && t->trees[i].depth <= 3);
    ubj_trees_free(t);
}

static void every_beginning_of_a_model_is_refused(void **state)
{
    struct ubj_trees *t = NULL;
    struct error err;

    (void)state;
    for (size_t n = 0; n < good.n; n++) {
        /* A copy of its own, so that a read past the end is one of the heap. */
        uint8_t *cut = malloc(n ? n : 1);

        memcpy(cut, good.data, n);
        assert_int_equal(ubj_read(view_of(cut, n), &t, &err), ERR_RECORD);
        free(cut);
    }
    bytes_append(&good, "x", 1);
    assert_int_equal(ubj_read(view_of(good.data, good.n), &t, &err), ERR_RECORD);
    good.n--;
}

static void trees_that_crash_the_library_are_refused(void **state)
{
    static const struct { const char *array; size_t node; uint32_t value; const char *want; } cases[] = {
        {"left_children", 0, 0, "children 0 and 2"},                 /* a cycle */
        {"left_children", 1, 0, "children"},                         /* a cycle through the root */
        {"right_children", 0, 1, "children 1 and 1"},                /* one child twice */
        {"right_children", 0, 9999, "children 1 and 9999"},          /* out of range */
        {"left_children", 0, 0x80000000u, "children -2147483648"},   /* negative */
        {"left_children", 0, UINT32_MAX, "children -1 and 2"},       /* half a leaf */
        {"right_children", 0, 3, "name another parent"},             /* shared */
        {"parents", 1, 1, "name another parent"},                    /* its own parent */
        {"parents", 0, 5, "parent 5"},                               /* a root with a parent */
        {"split_indices", 0, MAKE_FEATURES, "feature 5 of 5"},
        {"split_indices", 0, 0x7fffffff, "feature 2147483647 of 5"},
        {"split_indices", 0, UINT32_MAX, "feature -1 of 5"},
        {"split_conditions", 0, 0x7fc00000, "not finite"},           /* NaN */
        {"split_conditions", 0, 0x7f800000, "not finite"},           /* infinite */
        {"sum_hessian", 0, 0x7fc00000, "not finite"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes b = copy();

        put32(make_find_array(&b, cases[i].array) + 4 * cases[i].node, cases[i].value);
        refused(&b, cases[i].want);
    }
}

static void wrong_counts_and_lengths_are_refused(void **state)
{
    static const uint8_t huge[] = {0x10, 0, 0, 0, 0, 0, 0, 0}, big[] = {0, 0, 0, 0, 0x80, 0, 0, 0},
                         minus[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t *const lengths[] = {huge, big, minus};
    struct bytes b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        b = copy(); /* a typed array of 2^60 */
        memcpy(make_find_array(&b, "left_children") - 8, lengths[i], 8);
        refused(&b, "a count within the bytes left");
        b = copy(); /* a string of 2^31 */
        memcpy(make_find(&b, "base_score") + 2, lengths[i], 8);
        refused(&b, "a length within the bytes left");
        b = copy(); /* a key */
        memcpy(make_find(&b, "learner") - 15, lengths[i], 8);
        refused(&b, "a length within the bytes left");
        b = copy(); /* trees */
        memcpy(make_find(&b, "\x05trees") + 3, lengths[i], 8);
        refused(&b, "a count within the bytes left");
    }
    b = copy(); /* the second tree says it is the first: libxgboost would leave a place empty */
    *(make_find(&b, "\x02idi\1") - 1) = 0;
    refused(&b, "tree 1: model bytes");
    b = copy();
    make_find_array(&b, "default_left")[0] = 2;
    refused(&b, "default_left 2");
    b = copy(); /* a type of another width */
    make_find(&b, "left_children")[2] = 'I';
    refused(&b, "model bytes");
    b = copy(); /* numbers in lists of values */
    make_find(&b, "tree_info")[2] = 'Z';
    refused(&b, "model bytes");
}

static void what_cannot_be_served_is_refused_by_name(void **state)
{
    static const struct { const char *key, *old, *new, *want; } cases[] = {
        {"num_nodes", "S", NULL, "num_nodes says"},
        {"num_feature", "S", NULL, "num_feature"},
        {NULL, "binary:logistic", "multi:softmaxxx", "objective 'multi:softmaxxx'"},
        {NULL, "gbtree", "gblina", "'gbtree_model_param' is missing"},
        {NULL, "base_score", "base_scorf", "'base_score' is missing"},
        {NULL, "right_children", "left_children_", "'right_children' is missing"},
        {NULL, "size_leaf_vector", "size_leaf_vectoq", "'size_leaf_vector' is missing"},
    };
    struct bytes b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t *p;

        b = copy();
        if (cases[i].key != NULL) { /* the last digit of a number in text */
            p = make_find(&b, cases[i].key) + 10;
            *p = (uint8_t)(*p == '9' ? '1' : *p + 1);
        } else {
            p = make_find(&b, cases[i].old);
            memcpy(p - strlen(cases[i].old), cases[i].new, strlen(cases[i].new));
        }
        refused(&b, cases[i].want);
    }
    b = copy(); /* the booster's name: the last gbtree of the bytes */
    for (size_t i = b.n - 6; i > 0; i--) {
        if (memcmp(b.data + i, "gbtree", 6) == 0) {
            memcpy(b.data + i, "dartxx", 6);
            break;
        }
    }
    refused(&b, "booster 'dartxx'; expected 'gbtree'");
    b = copy();
    make_find_array(&b, "split_type")[0] = 1;
    refused(&b, "categorical");
}

static void doubled_keys_are_refused(void **state)
{
    static const char objective[] = "L\0\0\0\0\0\0\0\x04nameSL\0\0\0\0\0\0\0\x01x";
    struct bytes b = copy();

    (void)state;
    splice(&b, make_find(&b, "\x09objective") + 1, 0, objective, sizeof(objective) - 1);
    refused(&b, "'name' twice");
}

static void base_score_is_read_in_every_form(void **state)
{
    static const struct { const char *text; float want; } cases[] = {
        {"5E-1", 0.5f}, {"[5.15E-1]", 0.515f}, {"0.25", 0.25f}, {"[1.0000001E-1]", 1.0000001e-1f},
        {"", -1}, {"[]", -1}, {"[5E-1", -1}, {"[5E-1]x", -1}, {"5E-1,", -1}, {"nan", -1}, {"[inf]", -1}, {"1E99", -1},
        {"[5E-1,5E-1]", -1}, {" 5E-1", -1}, {"2", -1}, {"0", -1}, {"-1", -1},
    };
    static const uint8_t number[] = {'d', 0x3e, 0x80, 0, 0};
    struct ubj_trees *t = NULL;
    struct error err;

    (void)state;
    for (size_t i = 0; i <= ARRAY_LEN(cases); i++) {
        struct bytes b = copy(), text = BYTES_EMPTY;
        uint8_t *p = make_find(&b, "base_score");
        float want = i < ARRAY_LEN(cases) ? cases[i].want : 0.25f;
        enum status st;

        if (i < ARRAY_LEN(cases)) {
            const uint8_t head[] = {'S', 'L', 0, 0, 0, 0, 0, 0, 0, (uint8_t)strlen(cases[i].text)};

            bytes_append(&text, head, sizeof(head));
            bytes_append(&text, cases[i].text, strlen(cases[i].text));
        } else {
            bytes_append(&text, number, sizeof(number));
        }
        splice(&b, p, 10 + p[9], text.data, text.n);
        st = ubj_read(view_of(b.data, b.n), &t, &err);
        if ((st == OK) != (want > 0) || (st == OK && t->base_score[0] != want))
            fail_msg("case %zu: %s", i, st == OK ? "read" : err.text);
        if (st == OK)
            ubj_trees_free(t);
        bytes_done(&text);
        bytes_done(&b);
    }
}

static void nesting_and_sizes_have_their_limits(void **state)
{
    enum { DEEP = 2000000 };
    struct bytes b = BYTES_EMPTY;

    (void)state;
    bytes_append(&b, "{L\0\0\0\0\0\0\0\1x", 11);
    memset(bytes_reserve(&b, DEEP), '[', DEEP);
    b.n += DEEP;
    refused(&b, "nested deeper than 32");
    b = copy();
    splice(&b, make_find(&b, "\x0a" "attributes"), 2, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 34);
    refused(&b, "nested deeper than 32");
    bytes_append(&b, "{L\0\0\0\0\0\0\0\1x[#L\0\0\0\0\0\x30\0\0", 22);
    memset(bytes_reserve(&b, 4 << 20), 'Z', 4 << 20);
    b.n += 4 << 20;
    refused(&b, "more than 2000000 items");
    memset(bytes_reserve(&b, UBJ_BYTES_MAX + 1), '{', UBJ_BYTES_MAX + 1);
    b.n = UBJ_BYTES_MAX + 1;
    refused(&b, "expected at most 67108864 bytes");
}

static int set_up(void **state)
{
    struct error err;

    (void)state;
    return make_model(&make_small, 1, &good, &err) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    bytes_done(&good);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_model_reads_as_it_was_trained),
        cmocka_unit_test(every_beginning_of_a_model_is_refused),
        cmocka_unit_test(trees_that_crash_the_library_are_refused),
        cmocka_unit_test(wrong_counts_and_lengths_are_refused),
        cmocka_unit_test(what_cannot_be_served_is_refused_by_name),
        cmocka_unit_test(doubled_keys_are_refused),
        cmocka_unit_test(base_score_is_read_in_every_form),
        cmocka_unit_test(nesting_and_sizes_have_their_limits),
    };

    return cmocka_run_group_tests_name("ubj", tests, set_up, tear_down);
}
