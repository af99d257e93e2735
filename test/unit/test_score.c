/* Scoring without a model's bytes: gathering, reasons, shares, and whom a record waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "wire/avro.h"
#include "workers/score/due.h"
#include "workers/score/score.h"

static void rows_are_gathered_in_the_models_order_and_null_is_missing(void **state)
{
    static const char *const features[] = {"b", "a"};
    struct arena arena = ARENA_EMPTY;
    struct batch in;
    const char *bad[3] = {0};
    float x[6];
    struct error err;

    (void)state;
    batch_init(&in, &arena, 3);
    in.n_rows = 3;
    batch_add_col(&in, "a", COL_INT);
    batch_add_col(&in, "b", COL_DOUBLE);
    for (int r = 0; r < 3; r++) {
        in.cols[0].i64[r] = r;
        in.cols[1].f64[r] = 0.5 + r;
    }
    in.cols[0].null[1] = 1;
    in.cols[1].f64[2] = 1e300;
    assert_int_equal(score_gather(&in, features, 2, bad, x, &err), OK);
    assert_true(x[0] == 0.5F && x[1] == 0.0F && x[2] == 1.5F && isnan(x[3]));
    assert_null(bad[1]);
    assert_non_null(bad[2]); /* beyond float32 */
    assert_int_equal(score_gather(&in, (const char *const[]){"c"}, 1, bad, x, &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "'c'"));
    arena_done(&arena);
}

static void the_strongest_reasons_come_first_with_their_values(void **state)
{
    static const char *const features[] = {"a", "b", "c", "d"};
    static const float parts[] = {0.5F, -2.0F, 0.5F, 0.0F, 9.0F /* bias */};
    static const char *const want[] = {"b", "a", "c"};
    struct arena arena = ARENA_EMPTY;
    struct bytes out = BYTES_EMPTY;
    struct avro_reader r;
    struct batch in;
    int64_t n;

    (void)state;
    batch_init(&in, &arena, 1);
    in.n_rows = 1;
    for (int i = 0; i < 4; i++)
        batch_add_col(&in, features[i], COL_DOUBLE)->f64[0] = i + 0.25;
    in.cols[2].null[0] = 1;
    score_reasons(&in, 0, features, 4, parts, 4, &out);
    r = (struct avro_reader){out.data, out.data + out.n};
    for (int i = 0; i < 3; i++) {
        struct view name;
        int64_t branch;
        double value = -1, part;

        assert_true(avro_get_block(&r, &n) && n == 1);
        assert_true(avro_get_bytes(&r, &name) && view_eq(name, view_str(want[i])));
        assert_true(avro_get_long(&r, &branch));
        assert_int_equal(branch, i != 2);
        if (branch)
            assert_true(avro_get_double(&r, &value));
        assert_true(avro_get_double(&r, &part));
        assert_true(part == (i == 0 ? -2.0 : 0.5));
        assert_true(value == (i == 0 ? 1.25 : i == 1 ? 0.25 : -1));
    }
    assert_true(avro_get_block(&r, &n) && n == 0); /* d moved nothing */
    assert_ptr_equal(r.p, r.end);
    bytes_done(&out);
    arena_done(&arena);
}

static void a_share_takes_its_part_of_the_keys_and_always_the_same(void **state)
{
    int in_share = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%d", i);
        in_share += score_in_share(view_str(key), 0.1);
        assert_false(score_in_share(view_str(key), 0.0));
        assert_true(score_in_share(view_str(key), 1.0));
    }
    assert_in_range(in_share, 900, 1100);
}

static void add_verdict(struct model_store *store, int64_t boundary_ms)
{
    const struct verdict v = {.name = "m", .boundary_ms = boundary_ms, .outcome = "nothing_to_train", .reason = "few", .version = -1,
                              .routing_seq = -1};
    struct bytes key = BYTES_EMPTY, body = BYTES_EMPTY;
    struct error err;

    model_key_verdict("m", boundary_ms, &key);
    verdict_encode(&v, &body);
    assert_int_equal(model_store_add(store, view_of(key.data, key.n), view_of(body.data, body.n), &err), OK);
    bytes_done(&key);
    bytes_done(&body);
}

static void a_record_waits_for_the_verdict_that_is_due_and_not_for_ever(void **state)
{
    struct model_store *store = model_store_new(NULL);
    struct due d = DUE_NONE;
    bool gave_up;

    (void)state;
    d.every_ms = 1000;
    d.lag_ms = 100;
    d.wait_ms = 50;
    assert_int_equal(due_boundary(&d, -1), -1000);
    assert_int_equal(due_boundary(&d, 99), -1000);
    assert_int_equal(due_boundary(&d, 100), 0);
    /* whether 1000 is decided depends on where the topic begins, not on the first record that is met here */
    assert_int_equal(due_limit(&d, store, "m", 1500, 0, &gave_up), 1100);
    assert_true(d.asks);
    d.begins_at = 999;
    assert_int_equal(due_limit(&d, store, "m", 1500, 0, &gave_up), 1100);
    assert_false(d.asks);
    /* before all data nobody decides */
    d.begins_at = 1000;
    assert_true(due_limit(&d, store, "m", 1500, 0, &gave_up) == INT64_MAX);
    assert_true(due_limit(&d, store, "m", 2099, 0, &gave_up) == INT64_MAX);
    assert_int_equal(due_limit(&d, store, "m", 2100, 7, &gave_up), 2100);
    assert_int_equal(due_limit(&d, store, "m", 2150, 56, &gave_up), 2100);
    add_verdict(store, 2000);
    assert_true(due_limit(&d, store, "m", 2150, 56, &gave_up) == INT64_MAX);
    assert_false(gave_up);
    /* none comes for 3000: the wait ends */
    assert_int_equal(due_limit(&d, store, "m", 3100, 100, &gave_up), 3100);
    assert_false(gave_up);
    assert_true(due_limit(&d, store, "m", 3100, 150, &gave_up) == INT64_MAX);
    assert_true(gave_up);
    assert_true(due_limit(&d, store, "m", 3100, 151, &gave_up) == INT64_MAX);
    assert_false(gave_up);
    /* after a restart the chain of verdicts says that 3000 is awaited, wherever the topic begins by now */
    d.begins_at = 3500;
    d.passed = d.held = INT64_MIN;
    assert_int_equal(due_limit(&d, store, "m", 3500, 200, &gave_up), 3100);
    assert_false(d.asks);
    /* who is a whole period behind the clock waits for as long as a fit takes; */
    assert_int_equal(due_limit(&d, store, "m", 3500, 5000, &gave_up), 3100);
    assert_int_equal(due_limit(&d, store, "m", 3500, INT64_C(1) << 50, &gave_up), 3100);
    assert_false(gave_up);
    assert_int_equal(due_limit(&d, store, "m", 3500, 4100, &gave_up), 3100);
    /* and who is not does so live */
    assert_true(due_limit(&d, store, "m", 3500, 4099, &gave_up) == INT64_MAX);
    assert_true(gave_up);
    /* one that was left out is never decided once the next one is */
    d.passed = d.held = INT64_MIN;
    assert_int_equal(due_limit(&d, store, "m", 3500, 5000, &gave_up), 3100);
    add_verdict(store, 4000);
    assert_true(due_limit(&d, store, "m", 3500, 5000, &gave_up) == INT64_MAX);
    assert_false(gave_up);
    model_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_gathered_in_the_models_order_and_null_is_missing),
        cmocka_unit_test(the_strongest_reasons_come_first_with_their_values),
        cmocka_unit_test(a_share_takes_its_part_of_the_keys_and_always_the_same),
        cmocka_unit_test(a_record_waits_for_the_verdict_that_is_due_and_not_for_ever),
    };

    return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
