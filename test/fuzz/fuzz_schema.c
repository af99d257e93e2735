/*
 * test/fuzz/fuzz_schema.c: schema texts, changed by seeded chance: parsed or ERR_FATAL; what is parsed
 * has a canonical form that parses to itself, compares with itself, and makes plans. FUZZ_RUNS, FUZZ_SEED.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/rand.h"
#include "wire/plan.h"

static const char *const pieces[] = {
    "\"null\"", "\"int\"", "\"string\"", "\"R\"", "\"I\"", "[", "]", "{", "}", ",", ":", "\"type\"", "\"fields\"",
    "\"record\"", "\"name\"", "\"default\"", "\"items\"", "\"array\"", "\"size\"", "-5", "1e999", "99999999999", "\"\"",
    "\"a.b\"", "null", "true", "{}", "[]", "\"namespace\"", "\"\\u00ff\"",
};

static const char *const seeds[] = {
    "{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a.b\",\"fields\":["
    "{\"name\":\"l\",\"type\":[\"null\",\"long\"],\"default\":null},{\"name\":\"s\",\"type\":\"string\",\"default\":\"x\"},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]},\"default\":\"A\"},"
    "{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},"
    "{\"name\":\"r\",\"type\":{\"type\":\"record\",\"name\":\"I\",\"fields\":[{\"name\":\"d\",\"type\":\"double\"}]},"
    "\"default\":{\"d\":1}},{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"I\"}},"
    "\"default\":{\"k\":[{\"d\":2}]}}]}",
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"t\",\"type\":{\"type\":\"long\",\"logicalType\":"
    "\"timestamp-millis\"}},{\"name\":\"u\",\"type\":[\"int\",\"string\",{\"type\":\"array\",\"items\":\"bytes\"}]}]}",
};

static uint64_t env_or(const char *name, uint64_t otherwise)
{
    const char *v = getenv(name);

    return v ? strtoull(v, NULL, 10) : otherwise;
}

/* Puts a piece in the place of up to 20 bytes. */
static void mutate(struct rand *r, struct bytes *b)
{
    for (uint64_t n = rand_below(r, 4); n > 0; n--) {
        struct bytes out = BYTES_EMPTY;
        size_t at = (size_t)rand_below(r, b->n + 1);
        size_t cut = (size_t)rand_below(r, 20);
        const char *piece = pieces[rand_below(r, sizeof(pieces) / sizeof(pieces[0]))];

        if (cut > b->n - at)
            cut = b->n - at;
        bytes_append(&out, b->data, at);
        if (rand_below(r, 4) != 0)
            bytes_append(&out, piece, strlen(piece));
        bytes_append(&out, b->data + at + cut, b->n - at - cut);
        bytes_done(b);
        *b = out;
    }
    if (b->n != 0 && rand_below(r, 3) == 0)
        b->data[rand_below(r, b->n)] ^= (uint8_t)(1u << rand_below(r, 8));
}

/* Why what was parsed is wrong, or NULL. */
static const char *check(const struct schema *s)
{
    static struct want want[10000];
    struct schema *again = NULL;
    struct decode_plan *d = NULL;
    struct encode_plan *e = NULL;
    struct error err;
    const char *why = NULL;
    size_t n;

    if (schema_compatible(s, s, &err) != OK)
        return "not compatible with itself";
    if (schema_parse(view_str(schema_canonical(s)), NULL, NULL, &again, &err) != OK)
        return "its canonical form is refused";
    if (strcmp(schema_canonical(again), schema_canonical(s)) != 0)
        why = "its canonical form has another one";
    schema_free(again);
    if (s->type != SCHEMA_RECORD || why != NULL)
        return why;
    n = schema_wants(s, want, 10000);
    if (decode_plan_new(s, s, want, n, &d, &err) != OK || encode_plan_new(s, want, n, &e, &err) != OK)
        why = "its own columns make no plan";
    decode_plan_free(d);
    encode_plan_free(e);
    return why;
}

int main(void)
{
    uint64_t seed = env_or("FUZZ_SEED", 1);
    uint64_t runs = env_or("FUZZ_RUNS", 10000);
    struct bytes text = BYTES_EMPTY;
    struct rand r;
    uint64_t n_ok = 0;

    rand_seed(&r, seed);
    for (uint64_t run = 0; run < runs; run++) {
        const char *from = seeds[rand_below(&r, 2)];
        clock_t began = clock();
        const char *why = NULL;
        struct schema *s = NULL;
        struct error err;
        enum status st;

        bytes_clear(&text);
        bytes_append(&text, from, strlen(from));
        mutate(&r, &text);
        st = schema_parse(view_of(text.data, text.n), NULL, NULL, &s, &err);
        if (st == OK)
            why = check(s);
        else if (st != ERR_FATAL)
            why = "neither OK nor ERR_FATAL";
        if (st == OK)
            schema_free(s);
        n_ok += st == OK;
        if (why == NULL && clock() - began > CLOCKS_PER_SEC)
            why = "took more than a second";
        if (why != NULL) {
            fprintf(stderr, "fuzz_schema: seed %llu, run %llu: %s: %.*s\n", (unsigned long long)seed,
                    (unsigned long long)run, why, (int)text.n, (const char *)text.data);
            return 1;
        }
    }
    if (runs >= 1000 && (n_ok == 0 || n_ok == runs)) {
        fprintf(stderr, "fuzz_schema: all good or all bad: nothing was tried\n");
        return 1;
    }
    bytes_done(&text);
    printf("fuzz_schema: %llu runs, %llu of them good, seed %llu\n", (unsigned long long)runs,
           (unsigned long long)n_ok, (unsigned long long)seed);
    return 0;
}
