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

static void a_record_waits_until_every_other_channel_is_beyond_it(void **state)
{
    struct merge m;
    struct pending p = record(1, 100, 0);
    struct mark mark = {0, 0, 2, 99, false};
    int waits;

    (void)state;
    merge_init(&m, 0);
    merge_expect(&m, 2);
    merge_push(&m, &p);
    assert_null(merge_head(&m, &waits));
    assert_int_equal(waits, 0);
    merge_mark(&m, &mark);
    assert_null(merge_head(&m, &waits));
    mark.at = 100; /* task 0 may still write a record of 100, and that comes before task 1's */
    merge_mark(&m, &mark);
    assert_null(merge_head(&m, &waits));
    mark.at = 101;
    merge_mark(&m, &mark);
    assert_non_null(merge_head(&m, &waits));
    merge_done(&m, drop, NULL);
}

static void nobody_waits_for_an_idle_channel_until_its_next_record(void **state)
{
    struct merge m;
    struct pending a = record(1, 100, 0), b = record(0, 50, 1);
    struct mark idle = {0, 0, 2, 10, true};
    int waits;

    (void)state;
    merge_init(&m, 0);
    merge_mark(&m, &idle);
    merge_push(&m, &a);
    assert_int_equal(merge_head(&m, &waits)->rec.offset, 0);
    merge_push(&m, &b);
    assert_int_equal(merge_head(&m, &waits)->rec.offset, 1);
    merge_pop(&m, merge_head(&m, &waits));
    assert_null(merge_head(&m, &waits)); /* task 0 woke: it is waited for again */
    assert_int_equal(merge_lowest(&m, 2), 0);
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
    struct pending *rest = xmalloc(n * sizeof(*rest));
    size_t left[TASKS] = {0}, done = 0;
    int64_t offsets[TASKS] = {0};
    struct merge m;
    int waits;

    merge_init(&m, 0);
    merge_expect(&m, TASKS);
    memcpy(rest, sorted, n * sizeof(*rest));
    for (size_t pushed = 0; pushed < n;) {
        int t = (int)rand_below(r, TASKS);
        struct pending *p;

        while (left[t] < n && rest[left[t]].task != t)
            left[t]++;
        if (left[t] == n) {
            struct mark end = {0, t, TASKS, INT64_MAX, false};

            merge_mark(&m, &end);
        } else {
            merge_push(&m, &rest[left[t]++]);
            pushed++;
        }
        while ((p = merge_head(&m, &waits)) != NULL) {
            struct pending got = merge_pop(&m, p);

            assert_true(got.at == sorted[done].at && got.task == sorted[done].task);
            assert_true(got.rec.offset >= offsets[got.task]);
            offsets[got.task] = got.rec.offset;
            done++;
        }
    }
    m.ended = true;
    while (merge_head(&m, &waits) != NULL) {
        struct pending got = merge_pop(&m, merge_head(&m, &waits));

        assert_true(got.at == sorted[done].at && got.task == sorted[done].task);
        done++;
    }
    assert_int_equal(done, n);
    merge_done(&m, drop, NULL);
    free(rest);
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
            sorted[i].rec.offset = (int64_t)i;
        one_round(&r, sorted, 400);
    }
}

static void an_ended_input_is_as_far_as_what_it_still_holds(void **state)
{
    struct pending one = record(1, 50, 0);
    struct merge m;
    int waits;

    (void)state;
    merge_init(&m, TASKS);
    assert_true(merge_at(&m) == INT64_MIN);
    merge_push(&m, &one);
    assert_true(merge_at(&m) == INT64_MIN); /* the others have not been heard of */
    m.ended = true;
    assert_true(merge_at(&m) == 50);
    (void)merge_pop(&m, merge_head(&m, &waits));
    assert_true(merge_at(&m) == INT64_MAX);
    merge_done(&m, drop, NULL);
}

static void what_was_seen_does_not_depend_on_what_is_fetched(void **state)
{
    struct pending records[] = {record(0, 10, 3), record(1, 20, 5), record(0, 30, 4), record(1, 40, 9)};
    struct merge m;
    int waits;

    (void)state;
    merge_init(&m, 2);
    assert_int_equal(merge_seen(&m), 0);
    merge_push(&m, &records[0]);
    merge_push(&m, &records[1]);
    (void)merge_pop(&m, merge_head(&m, &waits));
    assert_int_equal(merge_seen(&m), 4);
    merge_push(&m, &records[2]);
    (void)merge_pop(&m, merge_head(&m, &waits));
    assert_int_equal(merge_seen(&m), 4); /* 5 is taken, 4 below it is not */
    m.ended = true;
    (void)merge_pop(&m, merge_head(&m, &waits));
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
        cmocka_unit_test(any_interleaving_is_released_in_sorted_order),
        cmocka_unit_test(an_ended_input_is_as_far_as_what_it_still_holds),
        cmocka_unit_test(what_was_seen_does_not_depend_on_what_is_fetched),
        cmocka_unit_test(a_mark_that_lies_is_no_mark),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
