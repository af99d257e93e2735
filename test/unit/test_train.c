/* What a model learns from: labels, maturity, order; and which boundary comes next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/rand.h"
#include "workers/train/data.h"
#include "workers/train/schedule.h"

static void add(struct data *d, int64_t event_ms, int32_t partition, int64_t offset, const char *on)
{
    *data_row(d, event_ms, partition, offset, view_str(on)) = (float)(event_ms * 100 + offset);
}

static void a_row_is_labelled_or_due_or_left_out(void **state)
{
    struct labelling l = {1, 0, 7, 20};
    struct data d;
    struct error err;

    (void)state;
    data_init(&d, 1);
    add(&d, 13, 0, 1, "due");      /* 13 + 7 <= 20 */
    add(&d, 14, 0, 2, "not due");  /* 14 + 7 > 20: nobody knows */
    add(&d, 19, 0, 3, "labelled"); /* its label came early */
    assert_int_equal(data_label(&d, view_str("labelled"), &err), OK);
    assert_int_equal(data_label(&d, view_str("of no row"), &err), OK);
    data_finish(&d, &l);
    assert_int_equal(d.n, 2);
    assert_true(d.rows[0].event_ms == 13 && d.rows[0].label == 0.0F);
    assert_true(d.rows[1].event_ms == 19 && d.rows[1].label == 1.0F);
    assert_int_equal(data_from(&d, 13), 0);
    assert_int_equal(data_from(&d, 14), 1);
    assert_int_equal(data_from(&d, 20), 2);
    data_done(&d);
}

static void any_order_of_arrival_gives_the_same_rows(void **state)
{
    enum { N = 200 };
    struct labelling l = {1, 0, 0, 1000};
    struct rand r;
    uint64_t seed = 20260101;
    int order[N];

    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    rand_seed(&r, seed);
    for (int i = 0; i < N; i++)
        order[i] = i;
    for (int round = 0; round < 20; round++) {
        struct data d;

        for (int i = N - 1; i > 0; i--) {
            int k = (int)rand_below(&r, (uint64_t)i + 1), t = order[i];

            order[i] = order[k];
            order[k] = t;
        }
        data_init(&d, 1);
        for (int i = 0; i < N; i++) /* row i: time i/8, partition i/4%2, offset i%4 */
            add(&d, order[i] / 8, order[i] / 4 % 2, order[i] % 4, "x");
        data_finish(&d, &l);
        assert_int_equal(d.n, N);
        for (int i = 0; i < N; i++) {
            assert_true(d.rows[i].event_ms == i / 8 && d.rows[i].partition == i / 4 % 2 && d.rows[i].offset == i % 4);
            assert_true(d.x[i] == (float)(i / 8 * 100 + i % 4));
        }
        data_done(&d);
    }
}

static void decide(struct model_store *s, int64_t boundary_ms)
{
    struct verdict v = {.name = "m", .boundary_ms = boundary_ms, .outcome = "nothing_to_train", .reason = "few",
                        .version = -1, .routing_seq = -1};
    struct bytes key = BYTES_EMPTY, body = BYTES_EMPTY;
    struct error err;

    model_key_verdict("m", boundary_ms, &key);
    verdict_encode(&v, &body);
    assert_int_equal(model_store_add(s, view_of(key.data, key.n), view_of(body.data, body.n), &err), OK);
    bytes_done(&key);
    bytes_done(&body);
}

static void boundaries_are_decided_in_order_and_none_is_left_out(void **state)
{
    struct model_store *s = model_store_new(NULL);

    (void)state;
    assert_int_equal(schedule_next(s, "m", 1000, 1500), 2000);
    assert_int_equal(schedule_next(s, "m", 1000, 2000), 3000);
    assert_int_equal(schedule_next(s, "m", 1000, -1500), -1000);
    decide(s, 2000);
    assert_int_equal(schedule_next(s, "m", 1000, 1500), 3000);
    decide(s, 3000);
    assert_int_equal(schedule_next(s, "m", 1000, 1500), 4000);
    model_store_free(s);
}

static void a_span_ends_where_labels_are_due(void **state)
{
    struct stage_def def = {.every_ms = 7, .window_ms = 28, .holdout_ms = 7, .label_after_ms = 7};
    struct span s = schedule_span(&def, 100);

    (void)state;
    assert_int_equal(s.as_of_ms, 100);
    assert_int_equal(s.holdout_to_ms, 93);
    assert_int_equal(s.to_ms, 86);
    assert_int_equal(s.from_ms, 58);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_labelled_or_due_or_left_out),
        cmocka_unit_test(any_order_of_arrival_gives_the_same_rows),
        cmocka_unit_test(boundaries_are_decided_in_order_and_none_is_left_out),
        cmocka_unit_test(a_span_ends_where_labels_are_due),
    };

    return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
