/* test/unit/test_merge.c: the order that the log decides, against sorting all records at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rand.h"
#include "stage/merge.h"

#define TASKS 4

static void drop(void *ctx, struct pending *p)
{
    (void)ctx;
    (void)p;
}

static struct pending record(int task, int64_t at, int64_t offset)
{
    return (struct pending){.task = task, .at = at, .rec = {.offset = offset}};
}

static bool waits_for(const struct merge *m, int want)
{
    int task;
    int64_t at;

    return merge_waits(m, &task, &at) && task == want;
}

static void a_record_waits_until_every_other_channel_is_beyond_it(void **state)
{
    struct merge m;
    struct pending p = record(1, 100, 0);
    struct mark mark = {0, 0, 2, 99, false};

    (void)state;
    merge_init(&m, 2);
    merge_push(&m, &p);
    assert_null(merge_head(&m));
    assert_true(waits_for(&m, 0));
    merge_mark(&m, &mark, 1);
    assert_null(merge_head(&m));
    mark.at = 100; /* task 0 may still write a record of 100, and that comes before task 1's */
    merge_mark(&m, &mark, 2);
    assert_null(merge_head(&m));
    mark.at = 101;
    merge_mark(&m, &mark, 3);
    assert_non_null(merge_head(&m));
    assert_false(waits_for(&m, 0));
    merge_done(&m, drop, NULL);
}

static void nobody_waits_for_an_idle_channel_until_its_next_record(void **state)
{
    struct merge m;
    struct pending a = record(1, 100, 1), b = record(0, 50, 2), c = record(1, 60, 3);
    struct mark idle = {0, 0, 2, 10, true};

    (void)state;
    merge_init(&m, 2);
    merge_mark(&m, &idle, 0);
    merge_push(&m, &a);
    assert_int_equal(merge_pop(&m).rec.offset, 1);
    merge_push(&m, &b);
    assert_int_equal(merge_pop(&m).rec.offset, 2);
    merge_push(&m, &c); /* task 0 woke: it is waited for again */
    assert_null(merge_head(&m));
    assert_true(waits_for(&m, 0));
    assert_int_equal(merge_low(&m, 4), 3);
    merge_done(&m, drop, NULL);
}

/* A record that nobody had to wait for comes before one of a channel that woke after it, however late both are looked at. */
static void the_order_does_not_depend_on_when_one_looks(void **state)
{
    struct merge m;
    struct pending a = record(1, 100, 1), b = record(0, 50, 2);
    struct mark idle = {0, 0, 2, 10, true};

    (void)state;
    merge_init(&m, 2);
    merge_mark(&m, &idle, 0);
    merge_push(&m, &a);
    merge_push(&m, &b);
    assert_int_equal(merge_pop(&m).rec.offset, 1);
    assert_int_equal(merge_pop(&m).rec.offset, 2);
    merge_done(&m, drop, NULL);
}

static void a_channel_goes_on_in_a_higher_epoch_but_nobody_rests_there(void **state)
{
    struct merge m;
    struct pending a = record(1, 100, 0), b = record(0, 90, 2), c = record(1, 110, 3);
    struct mark rests = {0, 0, 2, 80, true}, again = {1, 0, 2, 90, true};

    (void)state;
    merge_init(&m, 2);
    merge_push(&m, &a);
    assert_null(merge_head(&m)); /* task 0 was not heard of */
    merge_epoch(&m, 1);
    assert_null(merge_head(&m)); /* what waits keeps waiting */
    merge_push(&m, &b);
    assert_int_equal(merge_pop(&m).rec.offset, 2); /* and what is older comes before it */
    assert_null(merge_head(&m));
    assert_int_equal(m.low_epoch, 0);
    merge_mark(&m, &again, 4);
    assert_int_equal(merge_pop(&m).rec.offset, 0);
    assert_int_equal(m.low_epoch, 1);
    merge_done(&m, drop, NULL);

    merge_init(&m, 2);
    merge_mark(&m, &rests, 0);
    merge_epoch(&m, 1);
    merge_push(&m, &c);
    assert_null(merge_head(&m)); /* that task 0 rested in the former epoch says nothing */
    assert_int_equal(merge_said(&m), 80); /* how far it was does */
    merge_mark(&m, &again, 4);
    assert_int_equal(merge_pop(&m).rec.offset, 3);
    merge_done(&m, drop, NULL);
}

static void what_was_said_below_the_lowest_not_taken_is_kept(void **state)
{
    struct merge m;
    struct pending a = record(1, 100, 0), b = record(1, 200, 2);
    struct mark far = {0, 0, 2, 150, false}, idle = {0, 0, 2, 160, true};

    (void)state;
    merge_init(&m, 2);
    merge_push(&m, &a);
    merge_mark(&m, &far, 1);
    merge_push(&m, &b);
    merge_mark(&m, &idle, 3);
    assert_int_equal(merge_low(&m, 4), 0);
    assert_true(merge_channel(&m, 0)->low.at == INT64_MIN && merge_channel(&m, 1)->low.at == INT64_MIN);
    (void)merge_pop(&m);
    assert_int_equal(merge_low(&m, 4), 2);
    assert_int_equal(merge_channel(&m, 0)->low.at, 150);
    assert_false(merge_channel(&m, 0)->low.idle);
    assert_int_equal(merge_channel(&m, 1)->low.at, 100);
    (void)merge_pop(&m);
    assert_int_equal(merge_low(&m, 4), 4);
    assert_true(merge_channel(&m, 0)->low.idle && merge_channel(&m, 1)->low.at == 200);
    merge_done(&m, drop, NULL);
}

static int by_order(const void *x, const void *y)
{
    const struct pending *a = x, *b = y;

    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    return a->rec.offset < b->rec.offset ? -1 : 1;
}

/* Each task's records rise in `at`; how the tasks interleave in the partition is drawn anew for every round. */
static void one_round(struct rand *r, const struct pending *sorted, size_t n)
{
    size_t left[TASKS] = {0}, done = 0;
    int64_t offset = 0;
    struct merge m;

    merge_init(&m, TASKS);
    for (size_t pushed = 0; pushed < n;) {
        int t = (int)rand_below(r, TASKS);

        while (left[t] < n && sorted[left[t]].task != t)
            left[t]++;
        if (left[t] == n) {
            const struct mark end = {0, t, TASKS, INT64_MAX, false};

            merge_mark(&m, &end, offset++);
        } else {
            struct pending p = sorted[left[t]++];

            p.rec.offset = offset++;
            merge_push(&m, &p);
            pushed++;
        }
        while (merge_head(&m) && rand_below(r, 3)) {
            struct pending got = merge_pop(&m);

            assert_true(got.at == sorted[done].at && got.task == sorted[done].task && got.event_ms == sorted[done].event_ms);
            done++;
        }
    }
    merge_end(&m);
    for (; merge_head(&m); done++)
        assert_true(merge_pop(&m).event_ms == sorted[done].event_ms);
    assert_int_equal(done, n);
    merge_done(&m, drop, NULL);
}

static void any_interleaving_is_released_in_sorted_order(void **state)
{
    const uint64_t seed = 7;
    struct pending sorted[400];
    struct rand r;

    (void)state;
    printf("seed %d\n", (int)seed);
    rand_seed(&r, seed);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 400; i++)
            sorted[i] = record((int)rand_below(&r, TASKS), (int64_t)rand_below(&r, 150), (int64_t)i);
        qsort(sorted, 400, sizeof(*sorted), by_order);
        for (size_t i = 0; i < 400; i++)
            sorted[i].event_ms = (int64_t)i; /* names it */
        one_round(&r, sorted, 400);
    }
}

static void an_ended_input_is_as_far_as_what_it_still_holds(void **state)
{
    struct pending one = record(1, 50, 0);
    struct merge m;

    (void)state;
    merge_init(&m, TASKS);
    assert_true(merge_at(&m) == INT64_MIN);
    merge_push(&m, &one);
    assert_true(merge_at(&m) == INT64_MIN); /* the others have not been heard of */
    merge_end(&m);
    assert_true(merge_at(&m) == 50);
    (void)merge_pop(&m);
    assert_true(merge_at(&m) == INT64_MAX);
    merge_done(&m, drop, NULL);
}

static void what_was_seen_does_not_depend_on_what_is_fetched(void **state)
{
    struct pending records[] = {record(0, 10, 3), record(0, 30, 4), record(1, 20, 5), record(1, 40, 9)};
    struct merge m;

    (void)state;
    merge_init(&m, 2);
    assert_int_equal(merge_seen(&m), 0);
    for (size_t i = 0; i < 3; i++)
        merge_push(&m, &records[i]);
    (void)merge_pop(&m);
    assert_int_equal(merge_seen(&m), 4);
    (void)merge_pop(&m);
    assert_int_equal(merge_seen(&m), 4); /* 5 is taken, 4 below it is not */
    merge_end(&m);
    (void)merge_pop(&m);
    assert_int_equal(merge_seen(&m), 6);
    merge_push(&m, &records[3]); /* behind a transaction's end, at 6 to 8 */
    assert_int_equal(merge_seen(&m), 6);
    merge_done(&m, drop, NULL);
}

static void a_mark_that_lies_is_no_mark(void **state)
{
    struct bytes b = BYTES_EMPTY;
    struct mark m = {3, 1, 4, -5, true}, got;

    (void)state;
    mark_put(&m, &b);
    assert_true(mark_get(view_of(b.data, b.n), &got));
    assert_true(got.epoch == 3 && got.task == 1 && got.tasks == 4 && got.at == -5 && got.idle);
    for (size_t cut = 0; cut < b.n; cut++)
        assert_false(mark_get(view_of(b.data, cut), &got));
    m.task = 4;
    bytes_clear(&b);
    mark_put(&m, &b);
    assert_false(mark_get(view_of(b.data, b.n), &got));
    bytes_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_waits_until_every_other_channel_is_beyond_it),
        cmocka_unit_test(nobody_waits_for_an_idle_channel_until_its_next_record),
        cmocka_unit_test(the_order_does_not_depend_on_when_one_looks),
        cmocka_unit_test(a_channel_goes_on_in_a_higher_epoch_but_nobody_rests_there),
        cmocka_unit_test(what_was_said_below_the_lowest_not_taken_is_kept),
        cmocka_unit_test(any_interleaving_is_released_in_sorted_order),
        cmocka_unit_test(an_ended_input_is_as_far_as_what_it_still_holds),
        cmocka_unit_test(what_was_seen_does_not_depend_on_what_is_fetched),
        cmocka_unit_test(a_mark_that_lies_is_no_mark),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
