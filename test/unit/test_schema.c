/* test/unit/test_schema.c: parsing, canonical form, fingerprints, compatibility. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/attr.h"
#include "wire/plan.h"
#include "wire/schema.h"

static struct schema *parse(const char *text)
{
    struct schema *s = NULL;
    struct error err;

    if (schema_parse(view_str(text), NULL, NULL, &s, &err) != OK)
        fail_msg("%s: %s", text, err.text);
    return s;
}

/* The canonical forms and fingerprints are those of Avro's share/test/data/schema-tests.txt. */
static void canonical_forms_and_fingerprints_are_avros(void **state)
{
    static const struct {
        const char *text, *canonical;
        int64_t fingerprint;
    } cases[] = {
        {"\"null\"", "\"null\"", 7195948357588979594},
        {"{\"type\":\"null\"}", "\"null\"", 7195948357588979594},
        {"\"boolean\"", "\"boolean\"", -6970731678124411036},
        {"\"int\"", "\"int\"", 8247732601305521295},
        {"\"long\"", "\"long\"", -3434872931120570953},
        {"\"float\"", "\"float\"", 5583340709985441680},
        {"\"double\"", "\"double\"", -8181574048448539266},
        {"\"bytes\"", "\"bytes\"", 5746618253357095269},
        {"\"string\"", "\"string\"", -8142146995180207161},
        {"[\"int\"]", "[\"int\"]", -5232228896498058493},
        {"[ \"int\" , {\"type\":\"boolean\"} ]", "[\"int\",\"boolean\"]", 5392556393470105090},
        {"{\"fields\":[], \"type\":\"record\", \"name\":\"foo\", \"namespace\":\"x.y\"}",
         "{\"name\":\"x.y.foo\",\"type\":\"record\",\"fields\":[]}", 5916914534497305771},
        {"{\"fields\":[],\"type\":\"record\",\"name\":\"foo\",\"doc\":\"Useful\"}",
         "{\"name\":\"foo\",\"type\":\"record\",\"fields\":[]}", -4824392279771201922},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"x.y\",\"fields\":["
         "{\"name\":\"a\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":15},\"default\":\"123456789012345\"},"
         "{\"name\":\"b\",\"type\":{\"type\":\"array\",\"items\":\"F\"},\"order\":\"ignore\"},"
         "{\"name\":\"c\",\"type\":{\"type\":\"map\",\"values\":[\"null\",{\"type\":\"enum\",\"name\":\"z.E\","
         "\"symbols\":[\"A\",\"B\"]}]}},"
         "{\"name\":\"d\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}}]}",
         "{\"name\":\"x.y.R\",\"type\":\"record\",\"fields\":["
         "{\"name\":\"a\",\"type\":{\"name\":\"x.y.F\",\"type\":\"fixed\",\"size\":15}},"
         "{\"name\":\"b\",\"type\":{\"type\":\"array\",\"items\":\"x.y.F\"}},"
         "{\"name\":\"c\",\"type\":{\"type\":\"map\",\"values\":[\"null\",{\"name\":\"z.E\",\"type\":\"enum\","
         "\"symbols\":[\"A\",\"B\"]}]}},"
         "{\"name\":\"d\",\"type\":\"long\"}]}", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct schema *s = parse(cases[i].text);

        assert_string_equal(schema_canonical(s), cases[i].canonical);
        if (cases[i].fingerprint != 0 && (int64_t)schema_fingerprint(s) != cases[i].fingerprint)
            fail_msg("%s: got %lld", cases[i].text, (long long)schema_fingerprint(s));
        assert_true(schema_id(s) == (schema_fingerprint(s) & 0x7fffffff));
        schema_free(s);
    }
}

static const char *look_up(void *ctx, const char *name)
{
    static const char *const texts[][2] = {
        {"Inner", "{\"type\":\"record\",\"name\":\"Inner\",\"fields\":[{\"name\":\"x\",\"type\":\"long\"}]}"},
        {"a.Deep", "{\"type\":\"record\",\"name\":\"Deep\",\"namespace\":\"a\","
                   "\"fields\":[{\"name\":\"inner\",\"type\":\"Inner\"}]}"},
        {"Loop", "{\"type\":\"record\",\"name\":\"Loop\",\"fields\":[{\"name\":\"l\",\"type\":[\"null\",\"Loop\"]}]}"},
        {"Other", "{\"type\":\"record\",\"name\":\"Another\",\"fields\":[]}"},
        {"Self", "\"Self\""},
        {"Broken", "{"},
    };

    ++*(int *)ctx;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i][0], name) == 0)
            return texts[i][1];
    return NULL;
}

static void types_from_elsewhere_are_inlined_once(void **state)
{
    const char *text = "{\"type\":\"record\",\"name\":\"n.R\",\"fields\":[{\"name\":\"d\",\"type\":[\"null\",\"a.Deep\"]},"
                       "{\"name\":\"i\",\"type\":\"Inner\"},{\"name\":\"j\",\"type\":{\"type\":\"array\",\"items\":\"Inner\"}}]}";
    struct schema *s = NULL;
    struct schema *again;
    struct error err;
    int n = 0;

    (void)state;
    assert_int_equal(schema_parse(view_str(text), look_up, &n, &s, &err), OK);
    again = parse(schema_json(s));
    assert_string_equal(schema_canonical(again), schema_canonical(s));
    assert_int_equal(schema_at(s, "d.inner.x")->type, SCHEMA_LONG);
    assert_ptr_equal(schema_at(s, "i"), schema_at(s, "d.inner"));
    assert_null(schema_at(s, "d.inner.y"));
    assert_null(schema_at(s, "d.inner.x.y"));
    schema_free(again);
    schema_free(s);
}

static void wrong_schemas_are_refused_with_their_place(void **state)
{
    static const char *const cases[][2] = {
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"b\",\"type\":\"lnog\"}]}",
         "fields[1].type: unknown type 'lnog'"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"next\",\"type\":[\"null\",\"R\"]}]}",
         "fields[0].type[1]: type 'R' contains itself; recursive schemas are not supported"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-5}", "schema: fixed 'F': expected a size of 1 to 1048576 bytes"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":0}", "schema: fixed 'F': expected a size of 1 to 1048576 bytes"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1048577}", "schema: fixed 'F': expected a size of 1 to 1048576 bytes"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1.5}", "schema: fixed 'F': expected a size of 1 to 1048576 bytes"},
        {"{\"type\":\"fixed\",\"name\":\"F\"}", "schema: fixed 'F': expected a size of 1 to 1048576 bytes"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}", "schema: enum 'E': expected 1 to 10000 symbols, got 0"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"A\"]}", "schema: enum 'E' has two symbols 'A'"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A-B\"]}", "schema: symbols[0]: expected letters"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"a\",\"type\":\"int\"}]}",
         "schema: record 'R' has two fields 'a'"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\",\"default\":\"x\"}]}",
         "fields[0]: default of field 'a': expected int, got text"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\",\"default\":2147483648}]}",
         "fields[0]: default of field 'a': expected int, got an integer"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"long\"],\"default\":\"x\"}]}",
         "fields[0]: default of field 'a': no branch of the union takes text"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"1a\",\"type\":\"int\"}]}", "fields[0]: field name '1a'"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\"}]}", "fields[0]: field 'a' has no type"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[7]}", "fields[0]: expected an object with a name and a type"},
        {"{\"type\":\"record\",\"fields\":[]}", "schema: a record without a name"},
        {"{\"type\":\"record\",\"name\":\"R\"}", "schema: record 'R' without a list of fields"},
        {"{\"type\":\"record\",\"name\":\"int\",\"fields\":[]}", "schema: name 'int' is that of a primitive type"},
        {"{\"type\":\"record\",\"name\":\"a..b\",\"fields\":[]}", "schema: name 'a..b': expected letters"},
        {"{\"type\":\"array\"}", "schema: array without 'items'"},
        {"{\"type\":\"map\",\"values\":5}", "values: expected a type: a name, an object or a list of branches"},
        {"[]", "schema: a union of 0 branches; expected 1 to 1000"},
        {"[\"int\",[\"null\",\"long\"]]", "[1]: a union directly in a union"},
        {"[\"int\",\"int\"]", "[1]: two branches of type int"},
        {"[{\"type\":\"fixed\",\"name\":\"F\",\"size\":1},{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}]",
         "[1]: type 'F' is defined twice"},
        {"{\"name\":\"x\"}", "schema: an object without 'type'"},
        {"{\"type\":\"record\",\"type\":\"record\"}", "schema: line 1, column 23: duplicate object key"},
        {"7", "schema: expected a type"},
        {"", "schema: line"},
        {"\"Loop\"", "fields[0].type[1]: type 'Loop' contains itself"},
        {"\"Other\"", "schema: type 'Other' was looked up and defines Another"},
        {"\"Self\"", "schema: more than 1000 types from elsewhere"},
        {"\"Broken\"", "schema: type 'Broken': line 1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct schema *s;
        struct error err;
        int n = 0;

        if (schema_parse(view_str(cases[i][0]), look_up, &n, &s, &err) != ERR_FATAL)
            fail_msg("%s was not refused", cases[i][0]);
        if (strncmp(err.text, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("%s: want '%s', got '%s'", cases[i][0], cases[i][1], err.text);
    }
}

static void refused(const struct bytes *text, const char *want)
{
    struct schema *s;
    struct error err;

    if (schema_parse(view_of(text->data, text->n), NULL, NULL, &s, &err) != ERR_FATAL)
        fail_msg("not refused: want '%s'", want);
    if (strstr(err.text, want) == NULL)
        fail_msg("want '%s', got '%s'", want, err.text);
}

static void sizes_are_bounded(void **state)
{
    struct bytes b = BYTES_EMPTY;

    (void)state;
    for (int i = 0; i < 33; i++)
        bytes_printf(&b, "{\"type\":\"array\",\"items\":");
    bytes_printf(&b, "\"int\"");
    for (int i = 0; i < 33; i++)
        bytes_printf(&b, "}");
    refused(&b, "nested deeper than 32");

    bytes_clear(&b);
    for (int i = 0; i < 65; i++)
        bytes_printf(&b, "[");
    refused(&b, "JSON nested deeper than 64");

    bytes_clear(&b);
    bytes_printf(&b, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
    for (int i = 0; i < 10001; i++)
        bytes_printf(&b, "%s{\"name\":\"f%d\",\"type\":\"int\"}", i ? "," : "", i);
    bytes_printf(&b, "]}");
    refused(&b, "10001 fields; at most 10000");

    bytes_clear(&b);
    bytes_printf(&b, "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[");
    for (int i = 0; i < 10001; i++)
        bytes_printf(&b, "%s\"s%d\"", i ? "," : "", i);
    bytes_printf(&b, "]}");
    refused(&b, "expected 1 to 10000 symbols, got 10001");

    bytes_clear(&b);
    bytes_printf(&b, "\"%*s\"", 1024 * 1024, "x");
    refused(&b, "at most 1048576 are read");

    /* 2^24 fields when written out: each record holds the one before twice. */
    bytes_clear(&b);
    for (int i = 0; i < 24; i++)
        bytes_printf(&b, "%s", i == 0 ? "[" : ",");
    bytes_clear(&b);
    bytes_printf(&b, "[{\"type\":\"record\",\"name\":\"R0\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"}]}");
    for (int i = 1; i < 24; i++)
        bytes_printf(&b, ",{\"type\":\"record\",\"name\":\"R%d\",\"fields\":[{\"name\":\"a\",\"type\":\"R%d\"},"
                     "{\"name\":\"b\",\"type\":\"R%d\"}]}", i, i - 1, i - 1);
    bytes_printf(&b, "]");
    refused(&b, "more than 10000 fields, branches and symbols");
    bytes_done(&b);
}

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define FIELD_OR(name, type, deflt) "{\"name\":\"" name "\",\"type\":" type ",\"default\":" deflt "}"
#define ENUM(symbols, more) "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[" symbols "]" more "}"

static void a_change_that_breaks_a_reader_is_named(void **state)
{
    static const struct {
        const char *older, *newer, *want; /* NULL: compatible */
    } cases[] = {
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"int\"")), NULL},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"int\"") "," FIELD_OR("b", "\"int\"", "0")), NULL},
        {RECORD(FIELD("a", "\"int\"") "," FIELD_OR("b", "\"int\"", "0")), RECORD(FIELD("a", "\"int\"")), NULL},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"int\"")),
         "field 'b': the newer schema needs it, the older one does not write it"},
        {RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"int\"")), RECORD(FIELD("a", "\"int\"")),
         "field 'b': the older schema needs it, the newer one does not write it"},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"long\"")),
         "field 'a': the older schema says int, the newer one writes long"},
        {RECORD(FIELD("a", "\"long\"")), RECORD(FIELD("a", "\"int\"")),
         "field 'a': the newer schema says int, the older one writes long"},
        {RECORD(FIELD("a", "\"string\"")), RECORD(FIELD("a", "\"bytes\"")), NULL},
        {RECORD(FIELD("a", "[\"null\",\"int\"]")), RECORD(FIELD("a", "[\"int\",\"null\"]")), NULL},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "[\"null\",\"int\"]")),
         "field 'a': the older schema says int, the newer one writes null"},
        {RECORD(FIELD("a", ENUM("\"A\"", ""))), RECORD(FIELD("a", ENUM("\"A\",\"B\"", ""))),
         "field 'a': symbol 'B' of the newer schema is unknown to the older one"},
        {RECORD(FIELD("a", ENUM("\"A\"", ",\"default\":\"A\""))), RECORD(FIELD("a", ENUM("\"A\",\"B\"", ""))), NULL},
        {RECORD(FIELD("a", "{\"type\":\"map\",\"values\":\"int\"}")),
         RECORD(FIELD("a", "{\"type\":\"map\",\"values\":\"string\"}")),
         "field 'a': the newer schema says string, the older one writes int"},
        {RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}")),
         RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":4}")), "field 'a': the newer schema says F"},
        {RECORD(FIELD("a", "[\"null\"," RECORD(FIELD("x", "\"int\"")) "]")),
         RECORD(FIELD("a", "[\"null\"," RECORD(FIELD("y", "\"int\"")) "]")), NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases) - 1; i++) {
        struct schema *older = parse(cases[i].older);
        struct schema *newer = parse(cases[i].newer);
        struct error err = {OK, ""};
        enum status st = schema_compatible(older, newer, &err);

        if (cases[i].want == NULL ? st != OK : st != ERR_RECORD || strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("case %zu: want '%s', got '%s'", i, cases[i].want ? cases[i].want : "", err.text);
        schema_free(older);
        schema_free(newer);
    }
}

static void the_nearest_field_is_found(void **state)
{
    struct schema *s = parse(RECORD(FIELD("customer_id", "\"int\"") "," FIELD("amount", "\"int\"")));

    (void)state;
    assert_string_equal(schema_nearest(s, "custommer_id"), "customer_id");
    assert_string_equal(schema_nearest(s, "amont"), "amount");
    assert_string_equal(schema_nearest(s, "zzz"), "");
    schema_free(s);
}

static void columns_are_leaves_by_dotted_path(void **state)
{
    struct schema *s = parse(RECORD(
        FIELD("a", "[\"null\",\"int\"]") "," FIELD("n", "\"null\"") "," FIELD(
            "r", "[\"null\",{\"type\":\"record\",\"name\":\"I\",\"fields\":[" FIELD("x", "\"double\"") "," FIELD(
                     "y", "{\"type\":\"array\",\"items\":\"int\"}") "]}]") "," FIELD("u", "[\"int\",\"string\"]")));
    struct want wants[10];

    (void)state;
    assert_int_equal(schema_wants(s, wants, 2), 4);
    assert_int_equal(schema_wants(s, wants, 10), 4);
    assert_string_equal(wants[0].path, "a");
    assert_string_equal(wants[1].path, "r.x");
    assert_string_equal(wants[2].path, "r.y");
    assert_string_equal(wants[3].path, "u");
    assert_int_equal(wants[0].type, COL_INT);
    assert_int_equal(wants[1].type, COL_DOUBLE);
    assert_int_equal(wants[2].type, COL_AVRO);
    assert_int_equal(wants[3].type, COL_AVRO);
    schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_forms_and_fingerprints_are_avros),
        cmocka_unit_test(types_from_elsewhere_are_inlined_once),
        cmocka_unit_test(wrong_schemas_are_refused_with_their_place),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(a_change_that_breaks_a_reader_is_named),
        cmocka_unit_test(the_nearest_field_is_found),
        cmocka_unit_test(columns_are_leaves_by_dotted_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
