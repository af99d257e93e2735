/* test/unit/test_json.c: what is refused at the door to jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "json/json.h"

static void wrong_text_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *want; /* NULL: good */
    } cases[] = {
        {"{\"a\":[1,2.5,null]}", 18, NULL},
        {"7", 1, NULL},
        {"", 0, "line 1, column 0"},
        {"{\"a\":1,\"a\":2}", 13, "line 1, column 10: duplicate object key"},
        {"{} x", 4, "line 1, column 4: end of file expected"},
        {"\"a\0b\"", 5, "line 1, column 2"},
        {"\"\\u0000\"", 8, "line 1, column 8: \\u0000 is not allowed"},
        {"[NaN]", 5, "line 1, column 4: invalid token"},
        {"[1e999]", 7, "line 1, column 6: real number overflow"},
        {"[\"\xff\"]", 5, "line 1, column 2: unable to decode byte 0xff"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *j = NULL;
        struct error err = {OK, ""};
        enum status st = json_read(view_of(cases[i].text, cases[i].n), &j, &err);

        if (cases[i].want == NULL ? st != OK
                                  : st != ERR_FATAL || strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("%s: want '%s', got '%s'", cases[i].text, cases[i].want ? cases[i].want : "OK", err.text);
        json_decref(j);
    }
}

static void size_and_depth_are_bounded(void **state)
{
    struct bytes b = BYTES_EMPTY;
    json_t *j = NULL;
    struct error err;

    (void)state;
    for (int depth = 64; depth <= 65; depth++) {
        bytes_clear(&b);
        for (int i = 0; i < depth; i++)
            bytes_append(&b, "[", 1);
        for (int i = 0; i < depth; i++)
            bytes_append(&b, "]", 1);
        assert_int_equal(json_read(view_of(b.data, b.n), &j, &err), depth == 64 ? OK : ERR_FATAL);
    }
    json_decref(j);
    assert_string_equal(err.text, "JSON nested deeper than 64");
    bytes_printf(&b, "%*s", (int)JSON_BYTES_MAX, "");
    assert_int_equal(json_read(view_of(b.data, b.n), &j, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "at most 1048576 are read"));
    assert_int_equal(json_read_file("test/data/there_is_no_such_file.json", &j, &err), ERR_FATAL);
    assert_string_equal(err.text, "test/data/there_is_no_such_file.json: cannot be read: No such file or directory");
    bytes_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_text_is_refused_with_its_place),
        cmocka_unit_test(size_and_depth_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
