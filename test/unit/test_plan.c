/* test/unit/test_plan.c: bodies to columns and back; bad bytes; avro-c's codec is in test_oracle.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

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


#define BAD_SCHEMA                                                                                                     \
    RECORD(FIELD("i", "\"int\"") "," FIELD("b", "\"boolean\"") "," FIELD("s", "\"string\"") "," FIELD(                 \
        "u", "[\"null\",\"long\"]") "," FIELD("e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}") "," \
        FIELD("a", "{\"type\":\"array\",\"items\":\"null\"}") "," FIELD("m", "{\"type\":\"map\",\"values\":\"int\"}"))
#define V(x) x, sizeof(x) - 1
#define LONG10 "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" /* INT64_MIN */

struct bad_row {
    const char *body;
    size_t n;
    const char *want; /* NULL: good */
};

static const struct bad_row bad_rows[] = {
    {V("\2\1\2x\2\6\2\0\0"), NULL},
    {V(""), "avro: i: the record ends here"},
    {V("\2\1\2x\2\6\2\0\0\0"), "avro: 1 bytes left over after the last field"},
    {V("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "avro: i: a number longer than 64 bits"},
    {V("\xff\xff\xff\xff\xff\xff\xff\xff\xff\2"), "avro: i: a number longer than 64 bits"},
    {V("\x80\x80\x80\x80\x10\1\2x\2\6\2\0\0"), "avro: i: a number beyond 32 bits in an int"},
    {V("\2\7\2x"), "avro: b: boolean byte 7, expected 0 or 1"},
    {V("\2\1\1"), "avro: s: length -1"},
    {V("\2\1" LONG10), "avro: s: length -9223372036854775808"},
    {V("\2\1\12abc"), "avro: s: length 5 beyond the 3 bytes left"},
    {V("\2\1\2\xff\2\6\2\0\0"), "avro: s: not UTF-8, or with a NUL"},
    {V("\2\1\4\xc0\x80\2\6\2\0\0"), "avro: s: not UTF-8, or with a NUL"},
    {V("\2\1\6\xed\xa0\x80\2\6\2\0\0"), "avro: s: not UTF-8, or with a NUL"},
    {V("\2\1\2\0\2\6\2\0\0"), "avro: s: not UTF-8, or with a NUL"},
    {V("\2\1\22" "abcdefg\0h" "\2\6\2\0\0"), "avro: s: not UTF-8, or with a NUL"},
    {V("\2\1\2x\1"), "avro: u: union branch -1 of 2"},
    {V("\2\1\2x\4"), "avro: u: union branch 2 of 2"},
    {V("\2\1\2x\x80\x80\x80\x80\x20"), "avro: u: union branch 4294967296 of 2"},
    {V("\2\1\2x\0\1"), "avro: e: enum symbol -1 of 2"},
    {V("\2\1\2x\0\4"), "avro: e: enum symbol 2 of 2"},
    {V("\2\1\2x\0\0\xd0\x0f\0\0"), NULL},                                       /* 1000 nulls */
    {V("\2\1\2x\0\0\xd2\x0f\0\0"), "avro: a: more than 1000 items without a byte"},
    {V("\2\1\2x\0\0\xd0\x0f\2\0\0"), "avro: a: more than 1000 items without a byte"},
    {V("\2\1\2x\0\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\1"), "avro: a: more than 1000 items without a byte"}, /* 2^62 */
    {V("\2\1\2x\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1"), "avro: a: more than 1000 items without a byte"},
    {V("\2\1\2x\0\0" LONG10), "avro: a: block count -9223372036854775808"},
    {V("\2\1\2x\0\0\0\1\6\2k\2\0"), NULL},
    {V("\2\1\2x\0\0\0\1\10\2k\2\0"), "avro: m: a block that is -1 bytes longer than its size says"},
    {V("\2\1\2x\0\0\0\1\4\2k\2\0"), "avro: m: a block that is 1 bytes longer than its size says"},
    {V("\2\1\2x\0\0\0\1\1\2k\2\0"), "avro: m: length -1"},
    {V("\2\1\2x\0\0\0\2\2\xff\2\0"), "avro: m: not UTF-8, or with a NUL"},
};

/* Nobody wants these fields: they are passed over, and all the same each must be what its schema says. */
#define SKIP_SCHEMA                                                                                              \
    RECORD(FIELD("i", "\"int\"") "," FIELD("n", "[\"null\",\"double\"]") "," FIELD("l", "[\"long\",\"null\"]") "," \
        FIELD("s", "[\"null\",\"string\"]") "," FIELD("p", "{\"type\":\"array\",\"items\":" INNER("P",             \
            FIELD("t", "\"string\"") "," FIELD("k", "\"int\"") "," FIELD("o", "\"long\"")) "}") ","              \
        FIELD("end", "\"boolean\""))

static const struct bad_row skipped_rows[] = {
    {V("\2\0\2\0\0\1"), NULL},
    {V("\2\2" "12345678" "\0\xfe\1\2\4ab\0\1"), NULL},
    {V("\2\0\2\0\2\2a\2\4\0\1"), NULL},
    {V("\2\0\2\0\4\2a\2\4\6\0\1"), "avro: p: length 3 beyond the 2 bytes left"},
    {V("\2\0\2\0\4\2a\2\4\4bc\0\6\0\1"), NULL},
    {V("\2\0\2\0\1\10\2a\2\4\0\1"), NULL},
    {V("\2\0\2\0\1\12\2a\2\4\0\1"), "avro: p: a block that is -1 bytes longer than its size says"},
    {V("\2\0\2\0\1\6\2a\2\4\0\1"), "avro: p: a block that is 1 bytes longer than its size says"},
    {V("\2\0\2\0" LONG10), "avro: p: block count -9223372036854775808"},
    {V("\2\0\2\0\2\2a\x80\x80\x80\x80\x10\4\0\1"), "avro: p: a number beyond 32 bits in an int"},
    {V("\2\0\2\0\376\377\377\377\377\377\377\377\377\1\2a\2\4"), "avro: p: the record ends here"},
    {V("\x80\x80\x80\x80\x10\0"), "avro: i: a number beyond 32 bits in an int"},
    {V("\2\2" "1234567"), "avro: n: the record ends here"},
    {V("\2\4"), "avro: n: union branch 2 of 2"},
    {V("\2\0\0"), "avro: l: the record ends here"},
    {V("\2\0\2\2\10abc"), "avro: s: length 4 beyond the 3 bytes left"},
    {V("\2\0\2\0\0\2"), "avro: end: boolean byte 2, expected 0 or 1"},
};

static void expect_rows(const char *schema, const struct want *want, size_t n_want, const struct bad_row *rows, size_t n)
{
    struct schema *s = parse(schema);
    struct decode_plan *p = NULL;
    struct arena a = ARENA_EMPTY;
    struct batch b;
    struct error err;

    assert_int_equal(decode_plan_new(s, s, want, n_want, &p, &err), OK);
    batch_init(&b, &a, 1);
    decode_begin(want, n_want, &b);
    for (size_t i = 0; i < n; i++) {
        /* A copy of exactly its size: a sanitizer then sees a read beyond it. */
        uint8_t *copy = xmalloc(rows[i].n + 1);
        enum status st;

        memcpy(copy, rows[i].body, rows[i].n);
        copy = xrealloc(copy, rows[i].n ? rows[i].n : 1);
        st = decode_row(p, view_of(copy, rows[i].n), &b, 0, &err);
        if (rows[i].want == NULL ? st != OK : st != ERR_RECORD || strcmp(err.text, rows[i].want) != 0)
            fail_msg("row %zu: want %s, got %s", i, rows[i].want ? rows[i].want : "OK", st == OK ? "OK" : err.text);
        for (size_t cut = 0; rows[i].want == NULL && cut < rows[i].n; cut++) {
            uint8_t *part = xmalloc(cut ? cut : 1);

            memcpy(part, copy, cut);
            assert_int_equal(decode_row(p, view_of(part, cut), &b, 0, &err), ERR_RECORD);
            free(part);
        }
        free(copy);
    }
    decode_plan_free(p);
    arena_done(&a);
    schema_free(s);
}

static void bad_bytes_are_refused_with_their_reason(void **state)
{
    static const struct want want[] = {{"i", COL_INT},    {"b", COL_BOOL}, {"s", COL_STRING}, {"u", COL_INT},
                                       {"e", COL_STRING}, {"a", COL_AVRO}, {"m", COL_AVRO}};

    (void)state;
    expect_rows(BAD_SCHEMA, want, ARRAY_LEN(want), bad_rows, ARRAY_LEN(bad_rows));
}

static void what_nobody_wants_is_checked_as_well(void **state)
{
    static const struct want end = {"end", COL_BOOL};

    (void)state;
    expect_rows(SKIP_SCHEMA, &end, 1, skipped_rows, ARRAY_LEN(skipped_rows));
}

#define LINEAGE(more) INNER("L", FIELD("at", "\"long\"") "," FIELD_OR("n", "\"int\"", "9") more)

static void what_the_writer_lacks_is_the_readers_default(void **state)
{
    static const char writer[] = RECORD(FIELD("id", "\"int\"") "," FIELD("l", "[\"null\"," INNER("L", FIELD("at", "\"long\"")) "]"));
    static const char reader[] =
        RECORD(FIELD("id", "\"long\"") "," FIELD("l", "[\"null\"," LINEAGE("") "]") "," FIELD_OR("s", "\"string\"", "\"x\"") "," FIELD_OR(
            "d", "\"double\"", "2.5") "," FIELD_OR("by", "\"bytes\"", "\"\\u00ff\"") "," FIELD("nul", "[\"null\",\"int\"]") "," FIELD_OR(
            "ar", "{\"type\":\"array\",\"items\":\"int\"}", "[1]") "," FIELD_OR("r2", INNER("Q", FIELD("k", "\"int\"")), "{\"k\":3}"));
    static const struct want want[] = {{"id", COL_INT},   {"l.at", COL_INT}, {"l.n", COL_INT}, {"s", COL_STRING},
                                       {"d", COL_DOUBLE}, {"by", COL_BYTES}, {"nul", COL_INT}, {"ar", COL_AVRO},
                                       {"r2.k", COL_INT}};
    struct decode_plan *p = plan(writer, reader, want, ARRAY_LEN(want));
    struct arena a = ARENA_EMPTY;
    struct batch b;
    struct error err;

    (void)state;
    batch_init(&b, &a, 2);
    decode_begin(want, ARRAY_LEN(want), &b);
    assert_int_equal(decode_row(p, view_of("\2\2\4", 3), &b, 0, &err), OK);
    assert_int_equal(decode_row(p, view_of("\2\0", 2), &b, 1, &err), OK);
    for (size_t row = 0; row < 2; row++) {
        assert_true(b.cols[0].i64[row] == 1 && b.cols[4].f64[row] == 2.5 && b.cols[6].null[row]);
        assert_true(view_eq(b.cols[3].view[row], view_str("x")) && view_eq(b.cols[5].view[row], view_str("\xff")));
        assert_true(view_eq(b.cols[7].view[row], view_of("\2\2\0", 3)) && b.cols[8].i64[row] == 3);
    }
    assert_true(b.cols[1].i64[0] == 2 && b.cols[2].i64[0] == 9 && b.cols[2].null[0] == 0);
    assert_true(b.cols[1].null[1] == 1 && b.cols[2].null[1] == 1);
    decode_plan_free(p);
    arena_done(&a);
}

static void a_wrong_want_is_named(void **state)
{
    static const struct {
        struct want want;
        const char *text;
    } cases[] = {
        {{"idd", COL_INT}, "field 'idd' is not in R (nearest: 'id'), and the reader has no default for it"},
        {{"id", COL_STRING}, "field 'id' is int, wanted as string"},
        {{"id", COL_AVRO}, "field 'id' is int, wanted as nested value"},
        {{"id.x", COL_INT}, "field 'id' is int: it has no fields, but some are wanted"},
        {{"l", COL_INT}, "field 'l' is L, wanted as integer"},
        {{"l.x", COL_INT}, "field 'l.x' is not in L, and the reader has no default for it"},
    };
    struct schema *s = parse(RECORD(FIELD("id", "\"int\"") "," FIELD("l", LINEAGE(""))));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct decode_plan *p = NULL;
        struct error err;

        assert_int_equal(decode_plan_new(s, NULL, &cases[i].want, 1, &p, &err), ERR_FATAL);
        assert_string_equal(err.text, cases[i].text);
    }
    schema_free(s);
}

static void columns_become_the_body_that_was_read(void **state)
{
    static const struct want want[] = {{"id", COL_INT}, {"l.at", COL_INT}, {"l", COL_AVRO}};
    static const struct want cols[] = {{"l", COL_AVRO}, {"id", COL_INT}};
    static const char *const bodies[] = {"\2\2\4\6", "\2\0"};
    struct schema *s = parse(RECORD(FIELD("id", "\"int\"") "," FIELD("l", "[\"null\"," LINEAGE("") "]") "," FIELD_OR("z", "\"int\"", "5")));
    struct schema *w = parse(RECORD(FIELD("id", "\"int\"") "," FIELD("l", "[\"null\"," LINEAGE("") "]")));
    struct decode_plan *d = NULL;
    struct encode_plan *e = NULL;
    struct arena a = ARENA_EMPTY;
    struct bytes out = BYTES_EMPTY;
    struct batch b;
    struct error err;

    (void)state;
    assert_int_equal(decode_plan_new(w, s, want, 3, &d, &err), OK);
    assert_int_equal(encode_plan_new(s, cols, 2, &e, &err), OK);
    batch_init(&b, &a, 2);
    decode_begin(want, 3, &b);
    assert_int_equal(encode_bind(e, &b, &err), OK);
    for (size_t row = 0; row < 2; row++) {
        size_t n = row == 0 ? 4 : 2;

        assert_int_equal(decode_row(d, view_of(bodies[row], n), &b, row, &err), OK);
        bytes_clear(&out);
        assert_int_equal(encode_row(e, row, &out, &err), OK);
        assert_int_equal(out.n, n + 1);
        assert_memory_equal(out.data, bodies[row], n);
        assert_int_equal(out.data[n], 10);
    }
    assert_true(b.cols[1].i64[0] == 2 && b.cols[1].null[1]);
    b.cols[0].i64[0] = INT64_C(1) << 40;
    bytes_clear(&out);
    bytes_append(&out, "keep", 4);
    assert_int_equal(encode_row(e, 0, &out, &err), ERR_RECORD);
    assert_string_equal(err.text, "avro: id: a number beyond 32 bits in an int");
    b.cols[0].null[1] = 1;
    assert_int_equal(encode_row(e, 1, &out, &err), ERR_RECORD);
    assert_string_equal(err.text, "avro: id: null, but the field takes none");
    assert_int_equal(out.n, 4);
    encode_plan_free(e);
    assert_int_equal(encode_plan_new(s, &(struct want){"idd", COL_INT}, 1, &e, &err), ERR_FATAL);
    assert_string_equal(err.text, "field 'id' has neither a column nor a default");
    decode_plan_free(d);
    bytes_done(&out);
    arena_done(&a);
    schema_free(s);
    schema_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wanted_fields_land_in_columns),
        cmocka_unit_test(bad_bytes_are_refused_with_their_reason),
        cmocka_unit_test(what_nobody_wants_is_checked_as_well),
        cmocka_unit_test(what_the_writer_lacks_is_the_readers_default),
        cmocka_unit_test(a_wrong_want_is_named),
        cmocka_unit_test(columns_become_the_body_that_was_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
