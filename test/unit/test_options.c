/* test/unit/test_options.c: an option of several places, given so many times, fills one after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "cli/cli.h"

static void each_time_it_is_given_has_a_place_of_its_own(void **state)
{
    const char *in[4] = {NULL}, *out = NULL, *args[1];
    const struct cli_option options[] = {{"--out", &out, NULL}, {"--in", &in[0], NULL}, {"--in", &in[1], NULL}, {"--in", &in[2], NULL}, {"--in", &in[3], NULL}};
    char *argv[] = {"verb", "--in", "a", "--in=b", "--out", "o", "file", "--in", "c"};
    size_t n;

    (void)state;
    assert_true(cli_options(ARRAY_LEN(argv), argv, options, ARRAY_LEN(options), args, 1, &n));
    assert_int_equal(n, 1);
    assert_string_equal(in[0], "a");
    assert_string_equal(in[1], "b");
    assert_string_equal(in[2], "c");
    assert_null(in[3]);
    assert_string_equal(out, "o");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_time_it_is_given_has_a_place_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
