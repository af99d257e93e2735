/*
 * test/fuzz/fuzz_state.c: what a changelog gives back, garbled: a key's value, and the records themselves.
 *
 * Values of every kind of aggregate over every kind of window, and of joins, are made by rows, changed at random words, copied to memory of just their
 * size, and looked at; with those that pass rows go on, many of them, in and out of the windows: no byte outside, no loop without end, no
 * more memory than those rows may take (the sanitizers and a clock watch). FUZZ_RUNS, FUZZ_SEED.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/rand.h"
#include "feature/feature.h"
#include "feature/plan.h"

#define ROWS_MAX 200
#define LATENESS_MS 3000
#define NOTE_MAX 300
#define LIMIT_BYTES ((size_t)1 << 24)

static const struct feature_col cols[] = {{"x", COL_DOUBLE, false, 2}, {"kind", COL_STRING, false, -1}};
static const struct feature_col plan_cols[] = {{"valid", COL_INT, true, -1}, {"cost", COL_DOUBLE, false, 2}, {"note", COL_STRING, false, -1}};
static const struct feature_input inputs[] = {{"plans", plan_cols, 3, 0, NULL, 0}, {"buys", cols, 2, 0, NULL, 0}};
enum { PLANS, BUYS };
static const char *const spans[] = {"2s", "30s", "last3", "last10", "gap2s", "ever"}, *const moving[] = {"2s", "30s", "last10", "gap2s"},
                  *const by_time[] = {"2s", "30s"};
static const char *const kinds[] = {"a", "b", "c", "d", "e", "f"}, *const noted[] = {"cost", "note"};

#define OVER(list) .over = list, .n_over = ARRAY_LEN(list)
static const struct feature_def defs[] = {
    {.name = "n", .aggregate = "count", .of = "buys", OVER(spans)},
    {.name = "sum", .aggregate = "sum", .of = "x", OVER(spans), .delay = "1s"},
    {.name = "least", .aggregate = "min", .of = "x", OVER(spans)},
    {.name = "most", .aggregate = "max", .of = "x", OVER(moving), .others = true},
    {.name = "different", .aggregate = "distinct", .of = "kind", OVER(spans)},
    {.name = "top", .aggregate = "top", .of = "kind", OVER(moving), .has_parameter = true, .parameter = 2},
    {.name = "median", .aggregate = "quantile", .of = "x", OVER(spans), .has_parameter = true, .parameter = 0.5},
    {.name = "spread", .aggregate = "stddev", .of = "x", OVER(moving)},
    {.name = "tiles_sum", .aggregate = "sum", .of = "x", OVER(by_time), .resolution = "1s"},
    {.name = "tiles_most", .aggregate = "max", .of = "x", OVER(by_time), .resolution = "500ms"},
    {.name = "where_n", .aggregate = "count", .of = "buys", .where = "x > 5", OVER(moving)},
    {.name = "plan", .join = "plans", .fields = noted, .n_fields = 2, .delay = "1s"},
    {.name = "ahead", .join = "plans", .fields = noted, .n_fields = 2, .valid = "valid", .every = "1s", .ahead = 4, .delay = "1s"},
};

static uint64_t env_or(const char *name, uint64_t value)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : value;
}

static void must(enum status st, const struct error *err)
{
    if (st == OK)
        return;
    fprintf(stderr, "fuzz_state: %s\n", err->text);
    exit(1);
}

/* n records of plans about a moment, for times about it and ahead. */
static enum status feed_plans(const struct features *f, struct state *s, struct rand *r, struct arena *a, size_t n, int64_t at, struct error *err)
{
    struct view *keys = arena_alloc(a, (n + 1) * sizeof(*keys));
    int64_t *ms = arena_alloc(a, (n + 1) * sizeof(*ms));
    const char **bad = arena_zalloc(a, (n + 1) * sizeof(*bad));
    char *text = arena_alloc(a, NOTE_MAX);
    struct batch b;

    memset(text, 'n', NOTE_MAX);
    batch_init(&b, a, n);
    b.n_rows = n;
    for (size_t i = 0; i < ARRAY_LEN(plan_cols); i++)
        batch_add_col(&b, plan_cols[i].name, plan_cols[i].type);
    for (size_t i = 0; i < n; i++) {
        keys[i] = view_str("k");
        ms[i] = at + (int64_t)rand_below(r, 4000) - 3500;
        b.cols[0].i64[i] = (ms[i] / 500 + (int64_t)rand_below(r, 14) - 2) * 500;
        b.cols[1].f64[i] = (double)rand_below(r, 2000) / 100;
        b.cols[2].null[i] = rand_below(r, 4) == 0;
        b.cols[2].view[i] = view_of(text, b.cols[2].null[i] ? 0 : rand_below(r, NOTE_MAX));
    }
    return features_apply(f, s, PLANS, &b, keys, ms, bad, at, LATENESS_MS, 1, err);
}

/* n rows of one key behind *at, some of them late. What the rows cannot have is an error or none: never harm. */
static enum status feed(const struct features *f, struct state *s, struct rand *r, struct arena *a, size_t n, int64_t *at,
                        struct error *err)
{
    struct view *keys = arena_alloc(a, n * sizeof(*keys));
    int64_t *ms = arena_alloc(a, n * sizeof(*ms)), before = *at;
    const char **bad = arena_zalloc(a, n * sizeof(*bad));
    struct batch b;

    if (feed_plans(f, s, r, a, n / 4, *at, err) != OK)
        return err->status;
    batch_init(&b, a, n);
    b.n_rows = n;
    batch_add_col(&b, "x", COL_DOUBLE);
    batch_add_col(&b, "kind", COL_STRING);
    for (size_t i = 0; i < n; i++) {
        *at += (int64_t)rand_below(r, rand_below(r, 10) ? 800 : 9000);
        keys[i] = view_str("k");
        ms[i] = *at - (rand_below(r, 5) ? 0 : (int64_t)rand_below(r, LATENESS_MS));
        b.cols[0].null[i] = rand_below(r, 10) == 0;
        b.cols[0].f64[i] = (double)rand_below(r, 2000) / 100;
        b.cols[1].null[i] = 0;
        b.cols[1].view[i] = view_str(kinds[rand_below(r, ARRAY_LEN(kinds))]);
    }
    return features_apply(f, s, BUYS, &b, keys, ms, bad, before, LATENESS_MS, 1, err);
}

static void change(struct rand *r, uint8_t *value, size_t n)
{
    static const uint32_t words[] = {0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff};

    for (uint64_t k = 1 + rand_below(r, 3); k > 0; k--) {
        /* the head and what links pages stand at the beginning of things */
        size_t at = rand_below(r, rand_below(r, 2) || n < 512 ? n / 4 : 128) * 4;
        uint32_t w;

        memcpy(&w, value + at, sizeof(w));
        switch (rand_below(r, 4)) {
        case 0: w ^= 1U << rand_below(r, 32); break;
        case 1: w = words[rand_below(r, ARRAY_LEN(words))]; break;
        case 2: w += (uint32_t)rand_below(r, 33) - 16; break;
        default: memcpy(&w, value + rand_below(r, n / 4) * 4, sizeof(w)); break;
        }
        memcpy(value + at, &w, sizeof(w));
    }
}

/* 1: the changed value passed, and rows went on with it. */
static int try(const struct features *f, struct rand *r, struct arena *a)
{
    struct state *from = state_new(LIMIT_BYTES), *to = state_new(LIMIT_BYTES);
    struct entry *e, *garbled;
    int64_t at = 0;
    struct error err;
    int passed;

    must(feed(f, from, r, a, 1 + rand_below(r, ROWS_MAX), &at, &err), &err);
    e = state_find(from, view_str("k"));
    garbled = state_get(to, view_str("k"), &err);
    must(state_resize(to, garbled, e->n_bytes, &err), &err);
    memcpy(garbled->value, e->value, e->n_bytes);
    must(features_check(f, view_of(garbled->value, garbled->n_bytes), &err), &err);
    change(r, garbled->value, garbled->n_bytes);
    passed = features_check(f, view_of(garbled->value, garbled->n_bytes), &err) == OK;
    for (int i = 0; passed && i < 5; i++)
        (void)feed(f, to, r, a, ROWS_MAX / 2, &at, &err);
    state_free(from);
    state_free(to);
    return passed;
}

int main(void)
{
    uint64_t seed = env_or("FUZZ_SEED", 1), runs = env_or("FUZZ_RUNS", 5000), n_passed = 0;
    struct arena a = ARENA_EMPTY;
    struct features *f = NULL;
    struct error err;
    struct rand r;

    must(features_new(inputs, ARRAY_LEN(inputs), BUYS, defs, ARRAY_LEN(defs), &f, &err), &err);
    for (uint64_t run = 0; run < runs; run++) {
        clock_t began = clock();

        rand_seed(&r, seed * 1000003 + run);
        arena_reset(&a);
        n_passed += (uint64_t)try(f, &r, &a);
        if (clock() - began > CLOCKS_PER_SEC) {
            fprintf(stderr, "fuzz_state: seed %llu, run %llu: took more than a second\n", (unsigned long long)seed, (unsigned long long)run);
            return 1;
        }
    }
    printf("fuzz_state: %llu runs, %llu of them passed, seed %llu\n", (unsigned long long)runs, (unsigned long long)n_passed,
           (unsigned long long)seed);
    features_free(f);
    arena_done(&a);
    return n_passed == 0 || n_passed == runs;
}
