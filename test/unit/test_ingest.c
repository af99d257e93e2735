/* CSV rows as RFC 4180 says, however the text is cut; positions there and back; a source that resumes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/attr.h"
#include "workers/ingest/csv.h"
#include "workers/ingest/source.h"

static const struct {
    const char *text, *cells; /* cells joined by | */
    enum csv_outcome outcome;
    size_t used, lines;
} cases[] = {
    {"a,b\nrest", "a|b", CSV_ROW, 4, 1},
    {"a,b\r\n", "a|b", CSV_ROW, 5, 1},
    {"a,", "a|", CSV_ROW, 2, 1},
    {",\n", "|", CSV_ROW, 2, 1},
    {"\n", "", CSV_ROW, 1, 1},
    {"\"a,b\",c\n", "a,b|c", CSV_ROW, 8, 1},
    {"\"a\"\"b\",\"\"\n", "a\"b|", CSV_ROW, 10, 1},
    {"\"a\nb\",c\nd", "a\nb|c", CSV_ROW, 8, 2},
    {"a\"b\",c\n", "", CSV_BAD, 7, 1},
    {"\"a\"b,c\n", "", CSV_BAD, 7, 1},
    {"\"a\nb", "", CSV_BAD, 4, 2},
};

static void rows_are_split_as_the_table_says(void **state)
{
    static struct csv_row row;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes joined = BYTES_EMPTY;
        size_t used = 0;
        enum csv_outcome o = csv_next(view_str(cases[i].text), true, &row, &used);

        for (size_t c = 0; o == CSV_ROW && c < row.n; c++) {
            if (c)
                bytes_append(&joined, "|", 1);
            bytes_append(&joined, row.cells[c].data, row.cells[c].n);
        }
        if (o != cases[i].outcome || used != cases[i].used || row.n_lines != cases[i].lines ||
            !view_eq(view_of(joined.data, joined.n), view_str(cases[i].cells)))
            fail_msg("case %zu: outcome %d used %zu lines %zu cells %.*s", i, (int)o, used, row.n_lines, (int)joined.n,
                     joined.data ? (const char *)joined.data : "");
        bytes_done(&joined);
    }
    bytes_done(&row.scratch);
}

static void a_row_that_is_cut_asks_for_more(void **state)
{
    static const char text[] = "\"a\nb\",c\n";
    static struct csv_row row;
    size_t used = 0;

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++)
        assert_int_equal(csv_next(view_of(text, n), false, &row, &used), CSV_MORE);
    assert_int_equal(csv_next(view_str(text), false, &row, &used), CSV_ROW);
    bytes_done(&row.scratch);
}

static void a_position_comes_back_as_it_was(void **state)
{
    struct position p = {123456789012, 42, ""}, q;
    struct bytes b = BYTES_EMPTY;
    struct error err;

    (void)state;
    memset(p.sha256, 'a', HASH_HEX_CHARS);
    position_put("/data/\"x\".csv", &p, &b);
    assert_int_equal(position_read(view_of(b.data, b.n), &q, &err), OK);
    assert_true(q.bytes == p.bytes && q.records == p.records);
    assert_string_equal(q.sha256, p.sha256);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(position_read(view_of(b.data, n), &q, &err), ERR_RECORD);
    bytes_done(&b);
}

#define SCHEMA "{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"s\",\"type\":\"string\"}]}"

/* Reads to the end; counts records and bad lines (the last one's number in *ret_line). */
static int read_all(struct source *s, int *ret_bad, int64_t *ret_line)
{
    enum source_outcome o;
    struct error why, err;
    struct view body;
    int n = 0;

    for (*ret_bad = 0;;) {
        int64_t line;

        assert_int_equal(source_next(s, &o, &body, &line, &why, &err), OK);
        if (o == SOURCE_END)
            return n;
        n += o == SOURCE_RECORD;
        if (o == SOURCE_BAD) {
            (*ret_bad)++;
            *ret_line = line;
        }
    }
}

static void a_source_names_bad_lines_and_goes_on_where_it_stood(void **state)
{
    char path[] = "/tmp/test_ingest_XXXXXX";
    struct schema *schema;
    struct source *s;
    struct position p = {0};
    struct error err;
    int64_t line = 0;
    int bad, fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");

    (void)state;
    fputs("id,s\n1,a\n2,\"b\nb\"\nx,c\n\n4,d\n", f);
    fflush(f);
    assert_int_equal(schema_parse(view_str(SCHEMA), NULL, NULL, &schema, &err), OK);
    assert_int_equal(source_open(path, SOURCE_CSV, schema, &s, &err), OK);
    assert_int_equal(read_all(s, &bad, &line), 3);
    assert_int_equal(bad, 1);
    assert_int_equal(line, 5); /* the row before has two lines */
    source_position(s, &p);
    source_close(s);
    fputs("5,e\ny,f\n", f); /* appended later */
    fflush(f);
    assert_int_equal(source_open(path, SOURCE_CSV, schema, &s, &err), OK);
    assert_int_equal(source_skip(s, &p, &err), OK);
    assert_int_equal(read_all(s, &bad, &line), 1);
    assert_int_equal(line, 9);
    source_close(s);
    p.sha256[0] = p.sha256[0] == '0' ? '1' : '0';
    assert_int_equal(source_open(path, SOURCE_CSV, schema, &s, &err), OK);
    assert_int_equal(source_skip(s, &p, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "--again"));
    source_close(s);
    fclose(f);
    unlink(path);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_split_as_the_table_says),
        cmocka_unit_test(a_row_that_is_cut_asks_for_more),
        cmocka_unit_test(a_position_comes_back_as_it_was),
        cmocka_unit_test(a_source_names_bad_lines_and_goes_on_where_it_stood),
    };

    return cmocka_run_group_tests_name("ingest", tests, NULL, NULL);
}
