#include "stage/file_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/rand.h"
#include "wire/keyed.h"

#define RECORDS 20000

/* What came out: the number that each output carries, and how many of it. */
struct seen {
    uint64_t number;
    int n; /* outputs of that record so far */
    size_t n_all;
};

static enum status look(void *ctx, int out, struct view value, struct error *err)
{
    struct seen *s = ctx;
    uint64_t number;

    (void)err;
    assert_int_equal(value.n, sizeof(number));
    memcpy(&number, value.data, sizeof(number));
    assert_true(number >= s->number);
    s->n = number == s->number ? s->n : 0;
    assert_int_equal(out, s->n++); /* those of one record in the order in which they were parked */
    s->number = number;
    s->n_all++;
    return OK;
}

static void outputs_leave_in_the_order_of_their_records_however_those_end(void **state)
{
    const uint64_t seed = 11;
    uint64_t open[3000], number, begun = 0;
    struct file_order o = {0};
    struct seen seen = {0};
    size_t n_open = 0;
    struct error err;
    struct rand r;

    (void)state;
    printf("seed %d\n", (int)seed);
    rand_seed(&r, seed);
    while (begun < RECORDS || n_open != 0) {
        size_t i;

        if (begun < RECORDS && n_open < ARRAY_LEN(open) && rand_below(&r, 5) < 3) {
            struct view body = file_order_begin(&o, view_of(&begun, sizeof(begun)), &number);

            assert_int_equal(number, begun);
            assert_memory_equal(body.data, &begun, sizeof(begun));
            open[n_open++] = begun++;
            continue;
        }
        if (n_open == 0)
            continue;
        i = rand_below(&r, n_open);
        for (int k = 0; k < (int)(open[i] % 4); k++)
            file_order_park(&o, open[i], k, view_of(&open[i], sizeof(open[i])));
        file_order_end(&o, open[i]);
        open[i] = open[--n_open];
        assert_int_equal(file_order_flush(&o, look, &seen, &err), OK);
    }
    assert_int_equal(seen.n_all, RECORDS / 4 * (0 + 1 + 2 + 3));
    assert_true(o.begin == o.end);
    file_order_done(&o);
}

static void nothing_passes_a_record_in_flight(void **state)
{
    struct file_order o = {0};
    struct seen seen = {0};
    struct error err;
    uint64_t first, second;

    (void)state;
    (void)file_order_begin(&o, view_of("", 0), &first);
    (void)file_order_begin(&o, view_of("", 0), &second);
    file_order_park(&o, second, 0, view_of(&second, sizeof(second)));
    file_order_end(&o, second);
    assert_int_equal(file_order_flush(&o, look, &seen, &err), OK);
    assert_int_equal(seen.n_all, 0);
    file_order_end(&o, first);
    assert_int_equal(file_order_flush(&o, look, &seen, &err), OK);
    assert_int_equal(seen.n_all, 1);
    file_order_done(&o);
}

static void a_keyed_record_is_a_key_a_value_and_nothing_else(void **state)
{
    struct bytes b = BYTES_EMPTY;
    struct view key, value;
    struct error err;

    (void)state;
    keyed_put(view_str("fraud/1"), view_of("\0abcd", 5), &b);
    assert_int_equal(keyed_get(view_of(b.data, b.n), &key, &value, &err), OK);
    assert_true(view_eq(key, view_str("fraud/1")) && view_eq(value, view_of("\0abcd", 5)));
    for (size_t cut = 0; cut < b.n; cut++)
        assert_int_equal(keyed_get(view_of(b.data, cut), &key, &value, &err), ERR_RECORD);
    bytes_append(&b, "x", 1);
    assert_int_equal(keyed_get(view_of(b.data, b.n), &key, &value, &err), ERR_RECORD);
    bytes_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_leave_in_the_order_of_their_records_however_those_end),
        cmocka_unit_test(nothing_passes_a_record_in_flight),
        cmocka_unit_test(a_keyed_record_is_a_key_a_value_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
