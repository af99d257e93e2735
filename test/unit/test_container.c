/* test/unit/test_container.c: files that any Avro tool reads, and files that none should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <avro.h>
#include <cmocka.h>

#include "wire/avro.h"
#include "wire/container.h"

#define SCHEMA "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"i\",\"type\":\"long\"},{\"name\":\"s\",\"type\":\"string\"}]}"
#define N_RECORDS 20000

static char dir[] = "/tmp/millrace_container_XXXXXX";
static char path[64];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/x.avro", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static void body_of(int i, struct bytes *b)
{
    bytes_clear(b);
    avro_put_long(b, i);
    avro_put_long(b, i % 50);
    memset(bytes_reserve(b, 50), 'a' + i % 26, 50);
    b->n += (size_t)(i % 50);
}

static void write_file(void)
{
    struct container_writer *w = NULL;
    struct schema *s = NULL;
    struct bytes b = BYTES_EMPTY;
    struct error err;

    assert_int_equal(schema_parse(view_str(SCHEMA), NULL, NULL, &s, &err), OK);
    assert_int_equal(container_create(path, s, &w, &err), OK);
    for (int i = 0; i < N_RECORDS; i++) {
        body_of(i, &b);
        assert_int_equal(container_append(w, view_of(b.data, b.n), &err), OK);
    }
    assert_int_equal(container_finish(w, &err), OK);
    bytes_done(&b);
    schema_free(s);
}

static void read_back(void)
{
    struct container_reader *r = NULL;
    struct bytes b = BYTES_EMPTY;
    struct view body;
    struct error err;

    if (container_open(path, &r, &err) != OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < N_RECORDS; i++) {
        body_of(i, &b);
        if (container_next(r, &body, &err) != OK)
            fail_msg("record %d: %s", i, err.text);
        assert_true(body.data != NULL && view_eq(body, view_of(b.data, b.n)));
    }
    assert_int_equal(container_next(r, &body, &err), OK);
    assert_null(body.data);
    container_close(r);
    bytes_done(&b);
}

static void what_is_written_is_read_record_by_record(void **state)
{
    (void)state;
    write_file();
    read_back();
}

static void avro_c_reads_what_we_write(void **state)
{
    avro_file_reader_t r;
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t v, f;

    (void)state;
    write_file();
    assert_int_equal(avro_file_reader(path, &r), 0);
    schema = avro_file_reader_get_writer_schema(r);
    iface = avro_generic_class_from_schema(schema);
    avro_generic_value_new(iface, &v);
    for (int i = 0; i < N_RECORDS; i++) {
        int64_t got = -1;

        assert_int_equal(avro_file_reader_read_value(r, &v), 0);
        avro_value_get_by_index(&v, 0, &f, NULL);
        avro_value_get_long(&f, &got);
        assert_int_equal(got, i);
    }
    assert_int_not_equal(avro_file_reader_read_value(r, &v), 0);
    avro_value_decref(&v);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    avro_file_reader_close(r);
}

static void we_read_what_avro_c_writes(void **state)
{
    static const char *const codecs[] = {"null", "deflate"};

    (void)state;
    for (int c = 0; c < 2; c++) {
        avro_schema_t s = NULL;
        avro_file_writer_t w;
        avro_value_iface_t *iface;
        avro_value_t v, f;

        assert_int_equal(avro_schema_from_json_length(SCHEMA, strlen(SCHEMA), &s), 0);
        (void)unlink(path);
        assert_int_equal(avro_file_writer_create_with_codec(path, s, &w, codecs[c], 0), 0);
        iface = avro_generic_class_from_schema(s);
        avro_generic_value_new(iface, &v);
        for (int i = 0; i < N_RECORDS; i++) {
            char text[64];

            memset(text, 'a' + i % 26, 50);
            text[i % 50] = '\0';
            avro_value_reset(&v);
            avro_value_get_by_index(&v, 0, &f, NULL);
            avro_value_set_long(&f, i);
            avro_value_get_by_index(&v, 1, &f, NULL);
            avro_value_set_string(&f, text);
            assert_int_equal(avro_file_writer_append_value(w, &v), 0);
        }
        avro_value_decref(&v);
        avro_value_iface_decref(iface);
        avro_file_writer_close(w);
        avro_schema_decref(s);
        read_back();
    }
}

static void put_file(const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

/* Reads all: the records, or -1 with err. */
static int read_all(struct error *err)
{
    struct container_reader *r = NULL;
    struct view body;
    int n = 0;

    if (container_open(path, &r, err) != OK)
        return -1;
    for (;; n++) {
        if (container_next(r, &body, err) != OK) {
            n = -1;
            break;
        }
        if (body.data == NULL)
            break;
    }
    container_close(r);
    return n;
}

/* A file of one block {count, bytes, "\x02\x02a"}. */
static void small_file(struct bytes *b, const char *codec, int64_t count, int64_t n_bytes, char sync)
{
    bytes_clear(b);
    bytes_append(b, "Obj\1", 4);
    avro_put_long(b, 2);
    avro_put_str(b, "avro.schema");
    avro_put_str(b, SCHEMA);
    avro_put_str(b, "avro.codec");
    avro_put_str(b, codec);
    avro_put_long(b, 0);
    bytes_append(b, "0123456789abcdef", 16);
    avro_put_long(b, count);
    avro_put_long(b, n_bytes);
    bytes_append(b, "\2\2a", 3);
    bytes_append(b, "0123456789abcde", 15);
    bytes_append(b, &sync, 1);
}

static void a_broken_file_is_named_with_the_place(void **state)
{
    static const struct {
        const char *codec;
        int64_t count, n_bytes;
        char sync;
        const char *want; /* NULL: it is whole */
    } cases[] = {
        {"null", 1, 3, 'f', NULL},
        {"null", 1, 3, 'x', "no sync marker at its end"},
        {"null", 2, 3, 'f', "a record that is not of the file's schema: the record ends here"},
        {"null", 0, 3, 'f', "bytes left over after its last record"},
        {"null", -1, 3, 'f', "more records than bytes"},
        {"null", INT64_MAX, 3, 'f', "more records than bytes"},
        {"null", 1, -3, 'f', "its size is negative or more than 64 MiB"},
        {"null", 1, INT64_MAX, 'f', "its size is negative or more than 64 MiB"},
        {"null", 1, 64 * 1024 * 1024, 'f', "it was cut"},
        {"deflate", 1, 3, 'f', "not what deflate writes"},
        {"snappy", 1, 3, 'f', "codec 'snappy'; null and deflate are read"},
    };
    struct bytes b = BYTES_EMPTY;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int n;

        small_file(&b, cases[i].codec, cases[i].count, cases[i].n_bytes, cases[i].sync);
        put_file(b.data, b.n);
        n = read_all(&err);
        if (cases[i].want == NULL ? n != 1 : n != -1 || strstr(err.text, cases[i].want) == NULL ||
                                                 strstr(err.text, path) == NULL)
            fail_msg("case %zu: want %s, got %d %s", i, cases[i].want ? cases[i].want : "1", n, err.text);
    }
    small_file(&b, "null", 1, 3, 'f');
    for (size_t cut = 0; cut < b.n; cut++) {
        int n;

        put_file(b.data, cut);
        n = read_all(&err);
        /* Between blocks an end is an end. */
        if (n != -1 && !(n == 0 && cut == b.n - 21))
            fail_msg("cut at %zu: %d records", cut, n);
    }
    bytes_done(&b);
}

static void a_full_disk_is_named(void **state)
{
    struct container_writer *w = NULL;
    struct schema *s = NULL;
    struct error err = {OK, ""};
    enum status st;

    (void)state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_int_equal(schema_parse(view_str(SCHEMA), NULL, NULL, &s, &err), OK);
    st = container_create("/dev/full", s, &w, &err);
    if (st == OK)
        st = container_append(w, view_str("\2\2a"), &err);
    if (st == OK)
        st = container_finish(w, &err);
    assert_int_equal(st, ERR_FATAL);
    assert_non_null(strstr(err.text, "No space left on device; free some space"));
    schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_record_by_record),
        cmocka_unit_test(avro_c_reads_what_we_write),
        cmocka_unit_test(we_read_what_avro_c_writes),
        cmocka_unit_test(a_broken_file_is_named_with_the_place),
        cmocka_unit_test(a_full_disk_is_named),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
