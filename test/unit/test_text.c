/* test/unit/test_text.c: JSON and CSV as Avro and back, times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/rand.h"
#include "wire/text.h"

static const char schema_text[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"long\"},"
    "{\"name\":\"amount\",\"type\":[\"null\",\"double\"],\"default\":null},"
    "{\"name\":\"ts\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"},\"default\":0},"
    "{\"name\":\"us\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"},\"default\":0},"
    "{\"name\":\"f\",\"type\":\"float\",\"default\":0},"
    "{\"name\":\"ok\",\"type\":\"boolean\",\"default\":false},"
    "{\"name\":\"raw\",\"type\":\"bytes\",\"default\":\"\"},"
    "{\"name\":\"tags\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"map\",\"values\":\"int\"}},\"default\":[]},"
    "{\"name\":\"u\",\"type\":[\"null\",\"long\",\"string\"],\"default\":null},"
    "{\"name\":\"in\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"I\",\"fields\":[{\"name\":\"x\",\"type\":\"string\"}]}],"
    "\"default\":null},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]},\"default\":\"A\"}]}";

static struct schema *schema(void)
{
    struct schema *s = NULL;
    struct error err;

    if (schema_parse(view_str(schema_text), NULL, NULL, &s, &err) != OK)
        fail_msg("%s", err.text);
    return s;
}

static void json_comes_back_as_the_table_says(void **state)
{
    static const struct {
        const char *in;
        const char *want; /* a part of what comes back */
    } cases[] = {
        {"{\"id\":1}", "{\"id\":1,\"amount\":null,\"ts\":\"1970-01-01T00:00:00.000Z\",\"us\":\"1970-01-01T00:00:00.000Z\","
                       "\"f\":0.0,\"ok\":false,\"raw\":\"\",\"tags\":[],\"u\":null,\"in\":null,\"e\":\"A\"}"},
        {"{\"id\":1,\"amount\":0.1}", "\"amount\":0.1,"},
        {"{\"id\":1,\"amount\":{\"double\":2}}", "\"amount\":2.0,"},
        {"{\"id\":1,\"amount\":1e300}", "\"amount\":1e+300,"},
        {"{\"id\":1,\"amount\":5e-324}", "\"amount\":5e-324,"},
        {"{\"id\":1,\"amount\":\"NaN\"}", "\"amount\":\"NaN\","},
        {"{\"id\":1,\"f\":0.1}", "\"f\":0.1,"},
        {"{\"id\":1,\"ts\":1532512800000}", "\"ts\":\"2018-07-25T10:00:00.000Z\""},
        {"{\"id\":1,\"us\":1532512800123}", "\"us\":\"2018-07-25T10:00:00.123Z\""},
        {"{\"id\":1,\"us\":\"2018-07-25 10:00:00.123456Z\"}", "\"us\":\"2018-07-25T10:00:00.123Z\""},
        {"{\"id\":1,\"ts\":-1}", "\"ts\":\"1969-12-31T23:59:59.999Z\""},
        {"{\"id\":1,\"ts\":9223372036854775807}", "\"ts\":9223372036854775807"},
        {"{\"id\":1,\"raw\":\"base64:/wA=\"}", "\"raw\":\"base64:/wA=\""},
        {"{\"id\":1,\"raw\":\"plain \\\"text\\\"\"}", "\"raw\":\"plain \\\"text\\\"\""},
        {"{\"id\":1,\"tags\":[{\"a\":1,\"b\":2},{}]}", "\"tags\":[{\"a\":1,\"b\":2},{}]"},
        {"{\"id\":1,\"u\":5}", "\"u\":5"},
        {"{\"id\":1,\"u\":\"h\\u00e9\\n\\u0001\"}", "\"u\":\"h\xc3\xa9\\n\\u0001\""},
        {"{\"id\":1,\"u\":{\"string\":\"x\"}}", "\"u\":\"x\""},
        {"{\"id\":1,\"in\":{\"x\":\"y\"},\"e\":\"B\"}", "\"in\":{\"x\":\"y\"},\"e\":\"B\""},
    };
    struct schema *s = schema();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes body = BYTES_EMPTY;
        struct bytes again = BYTES_EMPTY;
        struct bytes out = BYTES_EMPTY;
        struct error err;

        if (text_to_avro(s, view_str(cases[i].in), &body, &err) != OK)
            fail_msg("%s: %s", cases[i].in, err.text);
        if (text_from_avro(s, view_of(body.data, body.n), true, &out, &err) != OK)
            fail_msg("%s: %s", cases[i].in, err.text);
        bytes_append(&out, "", 1);
        if (strstr((char *)out.data, cases[i].want) == NULL)
            fail_msg("%s: want %s, got %s", cases[i].in, cases[i].want, (char *)out.data);
        if (strstr(cases[i].in, "123456") == NULL) {
            assert_int_equal(text_to_avro(s, view_of(out.data, out.n - 1), &again, &err), OK);
            assert_true(view_eq(view_of(body.data, body.n), view_of(again.data, again.n)));
        }
        bytes_done(&body);
        bytes_done(&again);
        bytes_done(&out);
    }
    schema_free(s);
}

static void wrong_json_is_refused_naming_the_field(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "field 'id': missing, expected long"},
        {"{\"id\":\"x\"}", "field 'id': expected long, got text"},
        {"{\"id\":1.5}", "field 'id': expected long, got a number"},
        {"{\"id\":1,\"amont\":2}", "field 'amont': R has no such field (nearest: 'amount')"},
        {"{\"id\":1,\"amount\":\"2\"}", "field 'amount': expected double, got text"},
        {"{\"id\":1,\"ts\":\"yesterday\"}", "field 'ts': expected long milliseconds or ISO 8601 text, got text"},
        {"{\"id\":1,\"us\":9223372036854775807}", "field 'us': expected long milliseconds or ISO 8601 text, got a time beyond"},
        {"{\"id\":1,\"f\":1e39}", "field 'f': expected float, got a number beyond its range"},
        {"{\"id\":1,\"tags\":[{\"a\":\"x\"}]}", "field 'tags': [0]: value of a key: expected int, got text"},
        {"{\"id\":1,\"tags\":[{\"a\":2147483648}]}", "field 'tags': [0]: value of a key: expected int, got a number beyond 32 bits"},
        {"{\"id\":1,\"u\":true}", "field 'u': expected union, got a boolean"},
        {"{\"id\":1,\"in\":{}}", "field 'in': field 'x': missing, expected string"},
        {"{\"id\":1,\"e\":\"C\"}", "field 'e': expected E, got text that is none of its symbols"},
        {"{\"id\":1,\"raw\":\"base64:!\"}", "field 'raw': expected bytes, got text that is not base64"},
        {"{\"id\":1,\"id\":2}", "line 1, column 12: duplicate object key"},
        {"[1]", "expected R, got a list"},
        {"{\"id\":99999999999999999999}", "line 1, column 26: too big integer"},
        {"", "line 1, column 0"},
    };
    struct schema *s = schema();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes body = BYTES_EMPTY;
        struct error err;

        bytes_append(&body, "keep", 4);
        assert_int_equal(text_to_avro(s, view_str(cases[i][0]), &body, &err), ERR_RECORD);
        if (strncmp(err.text, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("%s: want '%s', got '%s'", cases[i][0], cases[i][1], err.text);
        assert_int_equal(body.n, 4);
        bytes_done(&body);
    }
    schema_free(s);
}

static void csv_rows_become_bodies(void **state)
{
    static const char *const columns[] = {"id", "amount", "ts", "ok", "in.x", "tags", "f"};
    static const struct {
        const char *cells[7];
        const char *want;
        bool ok;
    } cases[] = {
        {{"7", "", "2018-07-25", "1", "y", "[{\"a\":1}]", "2.5"},
         "{\"id\":7,\"amount\":null,\"ts\":1532476800000,\"us\":0,\"f\":2.5,\"ok\":true,\"raw\":\"\",\"tags\":[{\"a\":1}],"
         "\"u\":null,\"in\":{\"x\":\"y\"},\"e\":\"A\"}", true},
        {{"7", "1e3", "5", "false", "y", "", ""}, "\"amount\":1000.0,\"ts\":5,", true},
        {{"", "1", "5", "false", "y", "", ""}, "field 'id': missing, expected long", false},
        {{"7", "x", "5", "false", "y", "", ""}, "field 'amount': expected double, got text", false},
        {{"7", "0x1p3", "5", "false", "y", "", ""}, "field 'amount': expected double, got text", false},
        {{"7", "1e999", "5", "false", "y", "", ""}, "field 'amount': expected double, got a number beyond its range", false},
        {{"7", "1", "2018-02-30", "false", "y", "", ""}, "field 'ts': expected long milliseconds or ISO 8601 text", false},
        {{"7", "1", "5", "maybe", "y", "", ""}, "field 'ok': expected boolean, got text", false},
        {{"99999999999999999999", "1", "5", "0", "y", "", ""}, "field 'id': expected long, got a number beyond 64 bits", false},
        {{"7", "1", "5", "0", "\xff", "", ""}, "field 'in.x': expected string, got bytes that are not UTF-8", false},
        {{"7", "1", "5", "0", "y", "[", ""}, "field 'tags': expected array as JSON: line 1", false},
    };
    struct schema *s = schema();
    static const char *const unknown[] = {"idd"};
    struct view one = view_str("1");
    struct bytes body = BYTES_EMPTY;
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes out = BYTES_EMPTY;
        struct view cells[7];
        enum status st;

        for (size_t k = 0; k < 7; k++)
            cells[k] = view_str(cases[i].cells[k]);
        bytes_clear(&body);
        st = text_csv_to_avro(s, columns, cells, 7, &body, &err);
        if (st == OK)
            st = text_from_avro(s, view_of(body.data, body.n), false, &out, &err);
        bytes_append(&out, "", 1);
        if ((st == OK) != cases[i].ok || strstr(st == OK ? (char *)out.data : err.text, cases[i].want) == NULL)
            fail_msg("case %zu: want %s, got %s", i, cases[i].want, st == OK ? (char *)out.data : err.text);
        bytes_done(&out);
    }
    assert_int_equal(text_csv_to_avro(s, unknown, &one, 1, &body, &err), ERR_RECORD);
    assert_string_equal(err.text, "field 'idd': R has no such field (nearest: 'id')");
    bytes_done(&body);
    schema_free(s);
}

static void times_are_read_and_written(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: none */
    } cases[] = {
        {"1970-01-01", 0}, {"1969-12-31T23:59:59.999Z", -1}, {"2018-07-25T10:00:00Z", 1532512800000},
        {"2018-07-25 12:00:00+02:00", 1532512800000}, {"2018-07-25T10:00", 1532512800000},
        {"2000-02-29", 951782400000}, {"0000-01-01T00:00:00.000Z", -62167219200000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };
    static const char *const none[] = {"", "2018", "2018-13-01", "2018-02-29", "1900-02-29", "2018-07-25T", "2018-07-25T25:00",
                                       "2018-07-25T10:60", "2018-07-25T10:00:00.Z", "2018-07-25T10:00:00ZZ", "18-07-25",
                                       "2018-07-25T10:00:00+99:00", "2018/07/25"};
    struct rand r;
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (!text_parse_time(view_str(cases[i].text), &ms) || ms != cases[i].ms)
            fail_msg("%s: want %lld", cases[i].text, (long long)cases[i].ms);
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (text_parse_time(view_str(none[i]), &ms) || text_parse_moment(view_str(none[i]), &ms))
            fail_msg("'%s' was taken for a time", none[i]);
    assert_true(text_parse_moment(view_str("2018-07-25"), &ms) && ms == 1532476800000);
    assert_true(text_parse_moment(view_str("1532476800001"), &ms) && ms == 1532476800001);
    assert_true(text_parse_moment(view_str("-86400000"), &ms) && ms == -86400000);
    assert_false(text_parse_moment(view_str("99999999999999999999"), &ms));
    rand_seed(&r, 5);
    for (int i = 0; i < 20000; i++) {
        int64_t want = (int64_t)rand_below(&r, 315569520000000) - 62167219200000;
        char text[32];

        text_format_time(want, text);
        if (!text_parse_time(view_str(text), &ms) || ms != want)
            fail_msg("%lld became %s", (long long)want, text);
    }
}

static void a_number_that_is_no_time_tells_its_unit(void **state)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } cases[] = {
        {1530403200, "seconds"}, {1530403200123456, "microseconds"}, {1530403200123456789, "nanoseconds"},
        {946684800, "seconds"},  {946684799, NULL},                  {4102444801, NULL},
        {0, NULL},               {-1530403200, NULL},                {INT64_MAX, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *unit = text_time_seems(cases[i].ms, 946684800000, 4102444800000);

        if ((unit == NULL) != (cases[i].unit == NULL) || (unit && strcmp(unit, cases[i].unit) != 0))
            fail_msg("%lld: want %s, got %s", (long long)cases[i].ms, cases[i].unit ? cases[i].unit : "none", unit ? unit : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_comes_back_as_the_table_says),
        cmocka_unit_test(wrong_json_is_refused_naming_the_field),
        cmocka_unit_test(csv_rows_become_bodies),
        cmocka_unit_test(times_are_read_and_written),
        cmocka_unit_test(a_number_that_is_no_time_tells_its_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
