/* test/unit/test_base.c: errors, arena, bytes, batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/batch.h"
#include "base/err.h"

static void an_error_reads_outermost_first(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(err_set(&err, ERR_RETRY, "no column '%s'", "x1"), ERR_RETRY);
    assert_int_equal(err_wrap(&err, "score %d rows", 2), ERR_RETRY);
    assert_string_equal(err.text, "score 2 rows: no column 'x1'");
}

static void a_warm_arena_takes_nothing_from_malloc(void **state)
{
    struct arena a = ARENA_EMPTY;
    size_t held;

    (void)state;
    for (int i = 0; i < 10000; i++)
        arena_alloc(&a, 100);
    held = a.held_bytes;
    for (int round = 0; round < 50; round++) {
        arena_reset(&a);
        for (int i = 0; i < 10000; i++)
            arena_alloc(&a, 100);
    }
    assert_int_equal(a.held_bytes, held);
    arena_done(&a);
}

static void columns_begin_cleared_and_are_found_by_name(void **state)
{
    struct arena a = ARENA_EMPTY;
    struct batch b;

    (void)state;
    for (int round = 0; round < 2; round++) {
        batch_init(&b, &a, 3);
        for (int i = 0; i < 100; i++) {
            struct col *c = batch_add_col(&b, arena_printf(&a, "c%d", i), i % 2 ? COL_STRING : COL_DOUBLE);

            for (int r = 0; r < 3; r++)
                assert_true(c->null[r] == 0 && (i % 2 ? c->view[r].n == 0 : c->f64[r] == 0));
            memset(c->i64, 0xff, 24);
        }
        assert_ptr_equal(batch_col(&b, "c7"), &b.cols[7]);
        assert_null(batch_col(&b, "c100"));
        arena_reset(&a);
    }
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_reads_outermost_first),
        cmocka_unit_test(a_warm_arena_takes_nothing_from_malloc),
        cmocka_unit_test(columns_begin_cleared_and_are_found_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
