/* test/unit/test_items.c: a list's first items as columns: of any length, in several blocks, with nulls; what cannot be read makes its row bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "feature/feature.h"
#include "wire/avro.h"
#include "wire/schema.h"

static const char item_json[] = "{\"type\":\"record\",\"name\":\"Step\",\"fields\":[{\"name\":\"step\",\"type\":\"int\"},{\"name\":\"mean\",\"type\":\"double\"},"
                                "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null}]}";
static const struct feature_col cols[] = {{"x", COL_DOUBLE, false, -1}};
static const struct feature_input input = {"forecasts", cols, 1, 0, NULL, 0};
static const char *const fields[] = {"mean", "note"};

/* n items: the i-th has the mean base + i; every second one a note. */
static void put_block(struct bytes *b, int64_t n, double base, const char *note)
{
    avro_put_long(b, n);
    for (int64_t i = 0; i < n; i++) {
        avro_put_long(b, i + 1);
        avro_put_double(b, base + (double)i);
        avro_put_long(b, i % 2);
        if (i % 2)
            avro_put_str(b, note);
    }
}

static struct features *compile(struct schema **ret_item)
{
    struct feature_def defs[] = {{.name = "s", .list = "forecast", .fields = fields, .n_fields = 2, .n_items = 3}, {.name = "twice", .expr = "2 * s_mean"}};
    struct features *f = NULL;
    struct error err;

    if (schema_parse(view_str(item_json), NULL, NULL, ret_item, &err) != OK)
        fail_msg("%s", err.text);
    defs[0].item = *ret_item;
    if (features_new(&input, 1, 0, defs, 2, &f, &err) != OK)
        fail_msg("%s", err.text);
    return f;
}

static const char *print(const struct features *f, const struct batch *b, size_t r)
{
    static char text[500];
    char *to = text;

    for (size_t i = 0; i < features_n_cols(f); i++) {
        const struct col *c = batch_col(b, features_cols(f)[i].name);

        to += sprintf(to, "%s=", features_cols(f)[i].name);
        if (c->null[r])
            to += sprintf(to, "null ");
        else if (c->type == COL_DOUBLE)
            to += sprintf(to, "%g ", c->f64[r]);
        else
            to += sprintf(to, "%.*s ", (int)c->view[r].n, (const char *)c->view[r].data);
    }
    return text;
}

static void the_first_items_are_columns(void **state)
{
    static const char *const want[] = {
        "s_mean_1=1 s_mean_2=2 s_mean_3=3 s_note_1=null s_note_2=b s_note_3=null twice_1=2 twice_2=4 twice_3=6 ",
        "s_mean_1=5 s_mean_2=6 s_mean_3=9 s_note_1=null s_note_2=c s_note_3=null twice_1=10 twice_2=12 twice_3=18 ",
        "s_mean_1=7 s_mean_2=null s_mean_3=null s_note_1=null s_note_2=null s_note_3=null twice_1=14 twice_2=null twice_3=null ",
        "s_mean_1=null s_mean_2=null s_mean_3=null s_note_1=null s_note_2=null s_note_3=null twice_1=null twice_2=null twice_3=null ",
        "s_mean_1=null s_mean_2=null s_mean_3=null s_note_1=null s_note_2=null s_note_3=null twice_1=null twice_2=null twice_3=null "};
    struct bytes lists[6] = {BYTES_EMPTY, BYTES_EMPTY, BYTES_EMPTY, BYTES_EMPTY, BYTES_EMPTY, BYTES_EMPTY};
    struct arena a = ARENA_EMPTY;
    struct schema *item = NULL;
    struct features *f = compile(&item);
    const char *bad[6] = {0};
    struct view keys[6] = {0};
    int64_t ms[6] = {0};
    struct error err;
    struct batch b;

    (void)state;
    put_block(&lists[0], 5, 1, "b"); /* more than are asked for */
    put_block(&lists[1], 2, 5, "c");
    put_block(&lists[1], 1, 9, "c"); /* of a block of its own */
    put_block(&lists[2], 1, 7, "d");
    put_block(&lists[5], 2, 1, "\xff"); /* no text */
    batch_init(&b, &a, 6);
    b.n_rows = 6;
    batch_add_col(&b, "x", COL_DOUBLE);
    batch_add_col(&b, "forecast", COL_AVRO);
    for (size_t r = 0; r < 6; r++) {
        avro_put_long(&lists[r], 0);
        b.cols[1].view[r] = view_of(lists[r].data, lists[r].n);
    }
    b.cols[1].null[4] = 1;
    assert_true(features_needs(f, 0, "forecast") && !features_needs(f, 0, "x"));
    assert_int_equal(features_apply(f, NULL, 0, &b, keys, ms, bad, 0, 0, 1, &err), OK);
    for (size_t r = 0; r < 5; r++)
        assert_string_equal(print(f, &b, r), want[r]);
    assert_null(bad[0]);
    assert_non_null(bad[5]);
    for (size_t r = 0; r < 6; r++)
        bytes_done(&lists[r]);
    features_free(f);
    schema_free(item);
    arena_done(&a);
}

static void a_list_that_cannot_be_taken_apart_is_said(void **state)
{
    static const char *const none[] = {"mead"};
    const struct feature_input replaced = {"forecasts", cols, 1, 1000, NULL, 0};
    struct feature_def defs[] = {{.name = "s", .list = "forecast", .fields = none, .n_fields = 1, .n_items = 3},
                                 {.name = "was", .aggregate = "last", .of = "x"}};
    struct features *f;
    struct schema *item = NULL;
    struct error err;

    (void)state;
    features_free(compile(&item));
    defs[0].item = item;
    assert_int_equal(features_new(&input, 1, 0, defs, 1, &f, &err), ERR_FATAL);
    assert_string_equal(err.text, "feature 's': an item of 'forecast' has no field 'mead' of one value");
    defs[0].fields = fields;
    assert_int_equal(features_new(&replaced, 1, 0, defs, 2, &f, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "take 'forecast' apart in a stage of its own"));
    schema_free(item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_items_are_columns),
        cmocka_unit_test(a_list_that_cannot_be_taken_apart_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
