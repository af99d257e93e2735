/* test/unit/test_oracle.c: avro-c beside the plan on random schemas and records, and a warm loop's allocations. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <avro.h>
#include <cmocka.h>

#include "base/rand.h"
#include "wire/plan.h"
#include "wire/text.h"

#define N_SCHEMAS 300
#define N_RECORDS 20
#define WANT_MAX 2000

static struct rand rnd;
static int n_names;

static void random_type(struct bytes *b, int depth)
{
    static const char *const leaves[] = {"boolean", "int", "long", "float", "double", "bytes", "string"};
    uint64_t pick = rand_below(&rnd, depth > 3 ? 9 : 13);

    if (pick < 7) {
        bytes_printf(b, "\"%s\"", leaves[pick]);
    } else if (pick == 7) {
        bytes_printf(b, "{\"type\":\"enum\",\"name\":\"N%d\",\"symbols\":[\"A\",\"B\",\"C\"]}", n_names++);
    } else if (pick == 8) {
        bytes_printf(b, "{\"type\":\"fixed\",\"name\":\"N%d\",\"size\":%d}", n_names++, 1 + (int)rand_below(&rnd, 20));
    } else if (pick == 9) {
        /* Its first field keeps it from being all null: then it is told from a null record. */
        bytes_printf(b, "{\"type\":\"record\",\"name\":\"N%d\",\"fields\":[{\"name\":\"f\",\"type\":\"long\"}", n_names++);
        for (uint64_t i = 0, n = rand_below(&rnd, 4); i < n; i++) {
            bytes_printf(b, ",{\"name\":\"g%d\",\"type\":", (int)i);
            random_type(b, depth + 1);
            bytes_printf(b, "}");
        }
        bytes_printf(b, "]}");
    } else if (pick == 10) {
        bytes_printf(b, "{\"type\":\"array\",\"items\":");
        random_type(b, depth + 1);
        bytes_printf(b, "}");
    } else if (pick == 11) {
        bytes_printf(b, "{\"type\":\"map\",\"values\":");
        random_type(b, depth + 1);
        bytes_printf(b, "}");
    } else if (depth > 0 && rand_below(&rnd, 3) == 0) {
        bytes_printf(b, "[\"int\",\"string\",\"null\",{\"type\":\"array\",\"items\":\"double\"}]");
    } else {
        struct bytes inner = BYTES_EMPTY;
        bool first = rand_below(&rnd, 2) == 0;

        do {
            bytes_clear(&inner);
            random_type(&inner, depth + 1);
        } while (inner.data[0] == '[');
        bytes_printf(b, first ? "[\"null\",%.*s]" : "[%.*s,\"null\"]", (int)inner.n, (const char *)inner.data);
        bytes_done(&inner);
    }
}

static void random_value(avro_value_t *v, int depth)
{
    char text[24] = "";
    size_t n = (size_t)rand_below(&rnd, 20);
    avro_value_t inner;
    avro_schema_t s;
    size_t size = 0;
    char bytes[32];

    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + rand_below(&rnd, 26));
    memset(bytes, (int)rand_below(&rnd, 256), sizeof(bytes));
    switch (avro_value_get_type(v)) {
    case AVRO_BOOLEAN:
        avro_value_set_boolean(v, (int)rand_below(&rnd, 2));
        break;
    case AVRO_INT32:
        avro_value_set_int(v, (int32_t)(rand_u64(&rnd) >> (32 + rand_below(&rnd, 32))));
        break;
    case AVRO_INT64:
        avro_value_set_long(v, (int64_t)(rand_u64(&rnd) >> rand_below(&rnd, 64)));
        break;
    case AVRO_FLOAT:
        avro_value_set_float(v, (float)(rand_unit(&rnd) * 1e10 - 5e9));
        break;
    case AVRO_DOUBLE:
        avro_value_set_double(v, rand_unit(&rnd) * 1e100 - 5e99);
        break;
    case AVRO_BYTES:
        avro_value_set_bytes(v, bytes, n);
        break;
    case AVRO_STRING:
        avro_value_set_string(v, text);
        break;
    case AVRO_ENUM:
        avro_value_set_enum(v, (int)rand_below(&rnd, 3));
        break;
    case AVRO_FIXED:
        s = avro_value_get_schema(v);
        avro_value_set_fixed(v, bytes, (size_t)avro_schema_fixed_size(s));
        break;
    case AVRO_RECORD:
        avro_value_get_size(v, &size);
        for (size_t i = 0; i < size; i++) {
            avro_value_get_by_index(v, i, &inner, NULL);
            random_value(&inner, depth + 1);
        }
        break;
    case AVRO_ARRAY:
        for (uint64_t i = rand_below(&rnd, 4); i > 0; i--) {
            avro_value_append(v, &inner, NULL);
            random_value(&inner, depth + 1);
        }
        break;
    case AVRO_MAP:
        for (uint64_t i = rand_below(&rnd, 4); i > 0; i--) {
            snprintf(text, sizeof(text), "k%d", (int)i);
            avro_value_add(v, text, &inner, NULL, NULL);
            random_value(&inner, depth + 1);
        }
        break;
    case AVRO_UNION:
        s = avro_value_get_schema(v);
        avro_value_set_branch(v, (int)rand_below(&rnd, avro_schema_union_size(s)), &inner);
        random_value(&inner, depth + 1);
        break;
    default:
        avro_value_set_null(v);
    }
}

/* The value of avro-c at a dotted path; false: a null on the way. */
static bool value_at(avro_value_t v, const char *path, avro_value_t *ret)
{
    for (;;) {
        char name[32];
        size_t n = strcspn(path, ".");

        memcpy(name, path, n);
        name[n] = '\0';
        assert_int_equal(avro_value_get_by_name(&v, name, ret, NULL), 0);
        v = *ret;
        if (avro_value_get_type(&v) == AVRO_UNION && avro_schema_union_size(avro_value_get_schema(&v)) == 2) {
            avro_value_get_current_branch(&v, ret);
            v = *ret;
            if (avro_value_get_type(&v) == AVRO_NULL)
                return false;
        }
        if (path[n] == '\0')
            return true;
        path += n + 1;
    }
}

static bool same(const struct col *c, size_t row, avro_value_t *v)
{
    static char encoded[1 << 20];
    const void *p = NULL;
    const char *text = NULL;
    size_t n = 0;
    int32_t i = 0;
    int64_t l = 0;
    float f = 0;
    double d = 0;
    avro_writer_t w;

    switch (avro_value_get_type(v)) {
    case AVRO_BOOLEAN:
        avro_value_get_boolean(v, &i);
        return c->i64[row] == i;
    case AVRO_INT32:
        avro_value_get_int(v, &i);
        return c->i64[row] == i;
    case AVRO_INT64:
        avro_value_get_long(v, &l);
        return c->i64[row] == l;
    case AVRO_FLOAT:
        avro_value_get_float(v, &f);
        return c->f64[row] == (double)f;
    case AVRO_DOUBLE:
        avro_value_get_double(v, &d);
        return c->f64[row] == d;
    case AVRO_STRING:
        avro_value_get_string(v, &text, &n);
        return view_eq(c->view[row], view_of(text, n - 1));
    case AVRO_BYTES:
        avro_value_get_bytes(v, &p, &n);
        return view_eq(c->view[row], view_of(p, n));
    case AVRO_FIXED:
        avro_value_get_fixed(v, &p, &n);
        return view_eq(c->view[row], view_of(p, n));
    case AVRO_ENUM:
        avro_value_get_enum(v, &i);
        return c->view[row].n == 1 && c->view[row].data[0] == 'A' + i;
    default:
        w = avro_writer_memory(encoded, sizeof(encoded));
        assert_int_equal(avro_value_write(w, v), 0);
        n = (size_t)avro_writer_tell(w);
        avro_writer_free(w);
        return view_eq(c->view[row], view_of(encoded, n));
    }
}

/* Decoded as avro-c says, encoded to avro-c's bytes, and the same through JSON text. */
static void check_record(const struct schema *s, const struct want *want, size_t n_want, struct decode_plan *d,
                         struct encode_plan *e, avro_value_t *v)
{
    static char body[1 << 20];
    avro_writer_t w = avro_writer_memory(body, sizeof(body));
    struct arena a = ARENA_EMPTY;
    struct bytes out = BYTES_EMPTY;
    struct bytes json = BYTES_EMPTY;
    struct batch b;
    struct error err;
    size_t n;

    assert_int_equal(avro_value_write(w, v), 0);
    n = (size_t)avro_writer_tell(w);
    avro_writer_free(w);
    batch_init(&b, &a, 1);
    decode_begin(want, n_want, &b);
    if (decode_row(d, view_of(body, n), &b, 0, &err) != OK)
        fail_msg("%s: %s", schema_json(s), err.text);
    for (size_t i = 0; i < n_want; i++) {
        avro_value_t field;
        bool is_null = !value_at(*v, want[i].path, &field);

        if (is_null != (b.cols[i].null[0] != 0) || (!is_null && !same(&b.cols[i], 0, &field)))
            fail_msg("%s: field %s differs", schema_json(s), want[i].path);
    }
    assert_int_equal(encode_bind(e, &b, &err), OK);
    if (encode_row(e, 0, &out, &err) != OK)
        fail_msg("%s: %s", schema_json(s), err.text);
    if (!view_eq(view_of(out.data, out.n), view_of(body, n)))
        fail_msg("%s: encoded otherwise than avro-c", schema_json(s));
    assert_int_equal(text_from_avro(s, view_of(body, n), true, &json, &err), OK);
    bytes_clear(&out);
    if (text_to_avro(s, view_of(json.data, json.n), &out, &err) != OK)
        fail_msg("%s: %.*s: %s", schema_json(s), (int)json.n, (const char *)json.data, err.text);
    if (!view_eq(view_of(out.data, out.n), view_of(body, n)))
        fail_msg("%s: %.*s: another body", schema_json(s), (int)json.n, (const char *)json.data);
    bytes_done(&out);
    bytes_done(&json);
    arena_done(&a);
}

static void random_records_are_as_avro_c_says_both_ways(void **state)
{
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 10) : 11;
    static struct want want[WANT_MAX];

    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    rand_seed(&rnd, seed);
    for (int i = 0; i < N_SCHEMAS; i++) {
        struct bytes text = BYTES_EMPTY;
        struct schema *s = NULL;
        struct decode_plan *d = NULL;
        struct encode_plan *e = NULL;
        avro_schema_t as = NULL;
        avro_value_iface_t *iface;
        avro_value_t v;
        struct error err;
        size_t n_want;

        n_names = 0;
        bytes_printf(&text, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
        for (uint64_t f = 0, n = rand_below(&rnd, 8); f <= n; f++) {
            bytes_printf(&text, "%s{\"name\":\"f%d\",\"type\":", f ? "," : "", (int)f);
            random_type(&text, 0);
            bytes_printf(&text, "}");
        }
        bytes_printf(&text, "]}");
        if (schema_parse(view_of(text.data, text.n), NULL, NULL, &s, &err) != OK)
            fail_msg("%.*s: %s", (int)text.n, (const char *)text.data, err.text);
        assert_int_equal(avro_schema_from_json_length((const char *)text.data, text.n, &as), 0);
        n_want = schema_wants(s, want, WANT_MAX);
        assert_true(n_want <= WANT_MAX);
        if (decode_plan_new(s, s, want, n_want, &d, &err) != OK || encode_plan_new(s, want, n_want, &e, &err) != OK)
            fail_msg("%s: %s", schema_json(s), err.text);
        iface = avro_generic_class_from_schema(as);
        avro_generic_value_new(iface, &v);
        for (int k = 0; k < N_RECORDS; k++) {
            avro_value_reset(&v);
            random_value(&v, 0);
            check_record(s, want, n_want, d, e, &v);
        }
        avro_value_decref(&v);
        avro_value_iface_decref(iface);
        avro_schema_decref(as);
        decode_plan_free(d);
        encode_plan_free(e);
        schema_free(s);
        bytes_done(&text);
    }
}

static void a_warm_loop_allocates_nothing(void **state)
{
    static const char text[] = "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},"
                               "{\"name\":\"s\",\"type\":[\"null\",\"string\"]},{\"name\":\"d\",\"type\":\"double\"}]}";
    struct want want[3];
    struct schema *s = NULL;
    struct decode_plan *d = NULL;
    struct encode_plan *e = NULL;
    struct arena a = ARENA_EMPTY;
    struct bytes out = BYTES_EMPTY;
    struct batch b;
    struct error err;
    size_t held = 0;

    (void)state;
    assert_int_equal(schema_parse(view_str(text), NULL, NULL, &s, &err), OK);
    assert_int_equal(schema_wants(s, want, 3), 3);
    assert_int_equal(decode_plan_new(s, s, want, 3, &d, &err), OK);
    assert_int_equal(encode_plan_new(s, want, 3, &e, &err), OK);
    batch_init(&b, &a, 1);
    decode_begin(want, 3, &b);
    assert_int_equal(encode_bind(e, &b, &err), OK);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(decode_row(d, view_of("\2\2\4xy\0\0\0\0\0\0\0\0", 13), &b, 0, &err), OK);
        bytes_clear(&out);
        assert_int_equal(encode_row(e, 0, &out, &err), OK);
        if (i == 10)
            held = mallinfo2().uordblks;
    }
    assert_true(mallinfo2().uordblks == held);
    decode_plan_free(d);
    encode_plan_free(e);
    bytes_done(&out);
    arena_done(&a);
    schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_records_are_as_avro_c_says_both_ways),
        cmocka_unit_test(a_warm_loop_allocates_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
