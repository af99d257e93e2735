/* test/bench/decode.c: nanoseconds per field from Avro bytes to columns and back. */
#include <stdio.h>
#include <time.h>

#include "test/bench/figure.h"
#include "wire/avro.h"
#include "wire/plan.h"

#define N_FIELDS 20
#define ROWS 1000
#define ROUNDS 2000

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(void)
{
    static const char *const types[] = {"\"long\"", "\"double\"", "[\"null\",\"double\"]", "\"string\""};
    struct bytes text = BYTES_EMPTY;
    struct bytes body = BYTES_EMPTY;
    struct bytes out = BYTES_EMPTY;
    struct arena a = ARENA_EMPTY;
    struct want want[N_FIELDS];
    struct schema *s = NULL;
    struct decode_plan *d = NULL;
    struct encode_plan *e = NULL;
    struct batch b;
    struct error err;
    double t0, t1, t2;

    bytes_printf(&text, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
    for (int i = 0; i < N_FIELDS; i++) {
        bytes_printf(&text, "%s{\"name\":\"f%d\",\"type\":%s}", i ? "," : "", i, types[i % 4]);
        if (i % 4 == 0)
            avro_put_long(&body, 1532512800000 >> i);
        if (i % 4 == 2)
            avro_put_long(&body, 1);
        if (i % 4 == 1 || i % 4 == 2)
            avro_put_double(&body, i * 1.5);
        if (i % 4 == 3)
            avro_put_str(&body, "customer-123");
    }
    bytes_printf(&text, "]}");
    if (schema_parse(view_of(text.data, text.n), NULL, NULL, &s, &err) != OK ||
        schema_wants(s, want, N_FIELDS) != N_FIELDS || decode_plan_new(s, s, want, N_FIELDS, &d, &err) != OK ||
        encode_plan_new(s, want, N_FIELDS, &e, &err) != OK)
        return 1;
    batch_init(&b, &a, ROWS);
    decode_begin(want, N_FIELDS, &b);
    if (encode_bind(e, &b, &err) != OK)
        return 1;
    t0 = now_s();
    for (int k = 0; k < ROUNDS; k++)
        for (size_t row = 0; row < ROWS; row++)
            if (decode_row(d, view_of(body.data, body.n), &b, row, &err) != OK)
                return 1;
    t1 = now_s();
    for (int k = 0; k < ROUNDS; k++) {
        bytes_clear(&out);
        for (size_t row = 0; row < ROWS; row++)
            if (encode_row(e, row, &out, &err) != OK)
                return 1;
    }
    t2 = now_s();
    figure("decode", "decode_per_field", (t1 - t0) * 1e9 / ROWS / ROUNDS / N_FIELDS, "ns");
    figure("decode", "encode_per_field", (t2 - t1) * 1e9 / ROWS / ROUNDS / N_FIELDS, "ns");
    bytes_done(&text);
    bytes_done(&body);
    bytes_done(&out);
    decode_plan_free(d);
    encode_plan_free(e);
    schema_free(s);
    arena_done(&a);
    return 0;
}
