/*
 * test/fuzz/fuzz_plan.c: valid bodies, changed by seeded chance: decoding gives OK or ERR_RECORD, reads
 * nothing beyond the body (each is a block of its own: ASan sees it) and agrees with the text writer.
 * FUZZ_RUNS=n and FUZZ_SEED=n in the environment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/rand.h"
#include "wire/plan.h"
#include "wire/text.h"

#define WANT_MAX 32

static const char schema_text[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
    "{\"name\":\"i\",\"type\":\"int\"},{\"name\":\"l\",\"type\":[\"null\",\"long\"]},"
    "{\"name\":\"s\",\"type\":\"string\"},{\"name\":\"by\",\"type\":[\"bytes\",\"null\"]},"
    "{\"name\":\"f\",\"type\":\"float\"},{\"name\":\"d\",\"type\":\"double\"},{\"name\":\"b\",\"type\":\"boolean\"},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\"]}},"
    "{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},"
    "{\"name\":\"r\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"I\",\"fields\":["
    "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},{\"name\":\"t\",\"type\":\"string\"}]}]},"
    "{\"name\":\"p\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"P\",\"fields\":["
    "{\"name\":\"k\",\"type\":\"int\"},{\"name\":\"t\",\"type\":\"string\"},{\"name\":\"o\",\"type\":\"long\"}]}}},"
    "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":[\"null\",\"int\",\"string\"]}}}]}";

static const char *const seeds[] = {
    "{\"i\":-3,\"l\":1532512800000,\"s\":\"text\",\"by\":\"ab\",\"f\":1.5,\"d\":2.5,\"b\":true,\"e\":\"C\",\"x\":\"abc\","
    "\"r\":{\"a\":[null,null],\"t\":\"tt\"},\"p\":[{\"k\":1,\"t\":\"x\",\"o\":-9},{\"k\":2,\"t\":\"\",\"o\":300}],\"m\":{\"k\":[1,null,\"z\"],\"q\":[]}}",
    "{\"i\":0,\"s\":\"\",\"l\":null,\"by\":null,\"f\":0,\"d\":0,\"b\":false,\"e\":\"A\",\"x\":\"abc\",\"r\":null,\"p\":[],\"m\":{}}",
};

static uint64_t env_or(const char *name, uint64_t otherwise)
{
    const char *v = getenv(name);

    return v ? strtoull(v, NULL, 10) : otherwise;
}

static void mutate(struct rand *r, struct bytes *b)
{
    static const uint8_t nasty[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xff, 0xfe};

    for (uint64_t n = rand_below(r, 4); n > 0 && b->n != 0; n--) {
        size_t at = (size_t)rand_below(r, b->n);

        switch (rand_below(r, 5)) {
        case 0:
            b->data[at] ^= (uint8_t)(1u << rand_below(r, 8));
            break;
        case 1:
            b->data[at] = nasty[rand_below(r, sizeof(nasty))];
            break;
        case 2:
            b->n = at;
            break;
        case 3:
            memmove(b->data + at, b->data + at + 1, b->n - at - 1);
            b->n--;
            break;
        default:
            for (int i = 0; i < 10; i++)
                bytes_append(b, &nasty[rand_below(r, sizeof(nasty))], 1);
            memmove(b->data + at, b->data + b->n - 10, b->n - at < 10 ? b->n - at : 10);
        }
    }
}

static int fail(uint64_t seed, uint64_t run, const char *why)
{
    fprintf(stderr, "fuzz_plan: seed %llu, run %llu: %s\n", (unsigned long long)seed, (unsigned long long)run, why);
    return 1;
}

int main(void)
{
    uint64_t seed = env_or("FUZZ_SEED", 1);
    uint64_t runs = env_or("FUZZ_RUNS", 20000);
    struct want want[WANT_MAX];
    struct schema *s = NULL;
    struct decode_plan *all = NULL;
    struct decode_plan *none = NULL;
    struct arena a = ARENA_EMPTY;
    struct bytes body = BYTES_EMPTY;
    struct bytes json = BYTES_EMPTY;
    struct batch b, empty;
    struct error err;
    struct rand r;
    size_t n_want;
    uint64_t n_ok = 0;

    rand_seed(&r, seed);
    if (schema_parse(view_str(schema_text), NULL, NULL, &s, &err) != OK)
        return fail(seed, 0, err.text);
    n_want = schema_wants(s, want, WANT_MAX);
    if (decode_plan_new(s, s, want, n_want, &all, &err) != OK || decode_plan_new(s, s, NULL, 0, &none, &err) != OK)
        return fail(seed, 0, err.text);
    batch_init(&b, &a, 1);
    decode_begin(want, n_want, &b);
    batch_init(&empty, &a, 1);
    for (uint64_t run = 0; run < runs; run++) {
        enum status st, st_none, st_text;
        clock_t began = clock();
        uint8_t *copy;

        bytes_clear(&body);
        if (text_to_avro(s, view_str(seeds[rand_below(&r, 2)]), &body, &err) != OK)
            return fail(seed, run, err.text);
        mutate(&r, &body);
        copy = malloc(body.n ? body.n : 1);
        if (copy == NULL)
            return fail(seed, run, "no memory");
        if (body.n != 0)
            memcpy(copy, body.data, body.n);
        bytes_clear(&json);
        st_none = decode_row(none, view_of(copy, body.n), &empty, 0, &err);
        st_text = text_from_avro(s, view_of(copy, body.n), true, &json, &err);
        st = decode_row(all, view_of(copy, body.n), &b, 0, &err);
        free(copy);
        if ((st != OK && st != ERR_RECORD) || (st_none != OK && st_none != ERR_RECORD))
            return fail(seed, run, "neither OK nor ERR_RECORD");
        if (st != OK && st_none == OK && strstr(err.text, "UTF-8") == NULL)
            return fail(seed, run, "a bad record was passed over");
        if (st != st_text || (st == OK && st_none != OK))
            return fail(seed, run, "plan and text disagree");
        if (clock() - began > CLOCKS_PER_SEC)
            return fail(seed, run, "took more than a second");
        n_ok += st == OK;
    }
    if (runs >= 1000 && (n_ok == 0 || n_ok == runs))
        return fail(seed, runs, "all good or all bad: nothing was tried");
    decode_plan_free(all);
    decode_plan_free(none);
    bytes_done(&body);
    bytes_done(&json);
    arena_done(&a);
    schema_free(s);
    printf("fuzz_plan: %llu runs, %llu of them good, seed %llu\n", (unsigned long long)runs, (unsigned long long)n_ok,
           (unsigned long long)seed);
    return 0;
}
