/* test/unit/test_plan.c: bodies to columns and back; bad bytes; avro-c's codec is in test_oracle.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/attr.h"
#include "wire/avro.h"
#include "wire/plan.h"

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define INNER(name, fields) "{\"type\":\"record\",\"name\":\"" name "\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define FIELD_OR(name, type, deflt) "{\"name\":\"" name "\",\"type\":" type ",\"default\":" deflt "}"
#define MICROS "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}"

static struct schema *parse(const char *text)
{
    struct schema *s = NULL;
    struct error err;

    if (schema_parse(view_str(text), NULL, NULL, &s, &err) != OK)
        fail_msg("%s: %s", text, err.text);
    return s;
}

static struct decode_plan *plan(const char *writer, const char *reader, const struct want *want, size_t n)
{
    struct schema *w = parse(writer);
    struct schema *r = reader ? parse(reader) : NULL;
    struct decode_plan *p = NULL;
    struct error err;

    if (decode_plan_new(w, r, want, n, &p, &err) != OK)
        fail_msg("%s: %s", writer, err.text);
    schema_free(w); /* a plan lives on its own, but for nested values' schemas: see below */
    schema_free(r);
    return p;
}

static void wanted_fields_land_in_columns(void **state)
{
    static const char writer[] = RECORD(
        FIELD("skipped", "\"string\"") "," FIELD("i", "\"int\"") "," FIELD("d", "\"double\"") "," FIELD(
            "f", "\"float\"") "," FIELD("b", "\"boolean\"") "," FIELD("us", MICROS) "," FIELD("s", "\"string\"") ","
        FIELD("e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}") "," FIELD(
            "x", "{\"type\":\"fixed\",\"name\":\"X\",\"size\":2}") "," FIELD("n", "[\"null\",\"long\"]") "," FIELD(
            "m", "[\"long\",\"null\"]") "," FIELD("last", "\"long\""));
    static const struct want want[] = {
        {"last", COL_DOUBLE}, {"i", COL_INT}, {"d", COL_DOUBLE}, {"f", COL_DOUBLE}, {"b", COL_BOOL}, {"us", COL_INT},
        {"s", COL_STRING},    {"e", COL_STRING}, {"x", COL_BYTES}, {"n", COL_INT},  {"m", COL_INT},
    };
    static const uint8_t f32[] = {0, 0, 0x20, 0x40};
    struct decode_plan *p = plan(writer, NULL, want, ARRAY_LEN(want));
    struct arena a = ARENA_EMPTY;
    struct bytes body = BYTES_EMPTY;
    struct batch b;
    struct error err;

    (void)state;
    avro_put_str(&body, "nobody wants this");
    avro_put_long(&body, -5);
    avro_put_double(&body, 0.1);
    bytes_append(&body, f32, 4);
    avro_put_bool(&body, true);
    avro_put_long(&body, -1);
    avro_put_str(&body, "h\xc3\xa9");
    avro_put_long(&body, 1);
    bytes_append(&body, "xy", 2);
    avro_put_long(&body, 0);
    avro_put_long(&body, 0);
    avro_put_long(&body, INT64_MIN);
    avro_put_long(&body, 7);

    batch_init(&b, &a, 3);
    decode_begin(want, ARRAY_LEN(want), &b);
    b.n_rows = 3;
    assert_int_equal(decode_row(p, view_of(body.data, body.n), &b, 1, &err), OK);
    assert_true(batch_col(&b, "last")->f64[1] == 7.0);
    assert_int_equal(batch_col(&b, "i")->i64[1], -5);
    assert_true(batch_col(&b, "d")->f64[1] == 0.1);
    assert_true(batch_col(&b, "f")->f64[1] == 2.5);
    assert_int_equal(batch_col(&b, "b")->i64[1], 1);
    assert_int_equal(batch_col(&b, "us")->i64[1], -1);
    assert_true(view_eq(batch_col(&b, "s")->view[1], view_str("h\xc3\xa9")));
    assert_true(view_eq(batch_col(&b, "e")->view[1], view_str("B")));
    assert_true(view_eq(batch_col(&b, "x")->view[1], view_str("xy")));
    assert_int_equal(batch_col(&b, "n")->null[1], 1);
    assert_int_equal(batch_col(&b, "m")->null[1], 0);
    assert_true(batch_col(&b, "m")->i64[1] == INT64_MIN);
    for (size_t i = 0; i < b.n_cols; i++)
        assert_true(b.cols[i].null[0] == 0 && b.cols[i].null[2] == 0);
    bytes_done(&body);
    arena_done(&a);
    decode_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wanted_fields_land_in_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
