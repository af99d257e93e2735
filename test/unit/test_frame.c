/* test/unit/test_frame.c: which schema wrote these bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "wire/frame.h"

static void both_framings_are_read(void **state)
{
    static const uint8_t single[] = {0xc3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 'b'};
    struct bytes b = BYTES_EMPTY;
    struct frame f;
    struct error err;

    (void)state;
    frame_put(&b, 0x01020304);
    bytes_append(&b, "xy", 2);
    assert_memory_equal(b.data, "\0\1\2\3\4xy", 7);
    assert_int_equal(frame_parse(view_of(b.data, b.n), &f, &err), OK);
    assert_true(f.kind == FRAME_ID && f.id == 0x01020304 && f.body.n == 2 && f.body.data[0] == 'x');
    assert_int_equal(frame_parse(view_of(single, sizeof(single)), &f, &err), OK);
    assert_true(f.kind == FRAME_FINGERPRINT && f.id == 0x0807060504030201 && f.body.n == 1);
    bytes_done(&b);
}

static void other_bytes_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *want;
    } cases[] = {
        {"", 0, "framing: an empty value; expected 0x00 and a schema id, or C3 01"},
        {"\0\1\2\3", 4, "framing: 4 bytes; 0x00 and a schema id take 5"},
        {"\1\0\0\0\1", 5, "framing: first byte 0x01; expected 0x00 and a schema id, or C3 01"},
        {"{\"a\":1}", 7, "framing: first byte 0x7b; expected 0x00 and a schema id, or C3 01"},
        {"\xc3\1\2\3\4\5\6\7\10", 9, "framing: 9 bytes; C3 01 and a fingerprint take 10"},
        {"\xc3\2\2\3\4\5\6\7\10\11", 10, "framing: C3 02; the version that is known is C3 01"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct frame f;
        struct error err;

        assert_int_equal(frame_parse(view_of(cases[i].bytes, cases[i].n), &f, &err), ERR_RECORD);
        assert_string_equal(err.text, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_framings_are_read),
        cmocka_unit_test(other_bytes_are_refused_with_the_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
