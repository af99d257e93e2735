/*
 * test/bench/expressions.c: what a row costs in an expression, over batches of 1,000 rows and of one.
 *
 * usage: expressions [ROUNDS [EXPRESSION]]   With an expression only that one, in batches of 1,000: for counting instructions.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/rand.h"
#include "feature/feature.h"
#include "test/bench/figure.h"

#define ROWS 1000

static const struct feature_col cols[] = {
    {"x", COL_DOUBLE, false, -1}, {"y", COL_DOUBLE, false, -1}, {"n", COL_INT, false, -1}, {"t", COL_INT, true, -1},
    {"kind", COL_STRING, false, -1}, {"text", COL_STRING, false, -1},
};

static void die(const char *text)
{
    fprintf(stderr, "expressions: %s\n", text);
    exit(1);
}

static void fill(struct batch *b, struct arena *a, size_t n)
{
    static const char *const kinds[] = {"food", "travel", "clothes", "other"};
    struct col *c[6];
    struct rand r;

    rand_seed(&r, 1);
    batch_init(b, a, n);
    b->n_rows = n;
    for (size_t i = 0; i < 6; i++)
        batch_add_col(b, cols[i].name, cols[i].type);
    for (size_t i = 0; i < 6; i++)
        c[i] = &b->cols[i];
    for (size_t i = 0; i < n; i++) {
        c[0]->f64[i] = rand_unit(&r) * 300;
        c[1]->null[i] = rand_below(&r, 20) == 0;
        c[1]->f64[i] = c[1]->null[i] ? 0 : rand_unit(&r) * 3;
        c[2]->i64[i] = (int64_t)rand_below(&r, 100);
        c[3]->i64[i] = INT64_C(1522540800000) + (int64_t)i * 60000;
        c[4]->view[i] = view_str(kinds[rand_below(&r, 4)]);
        c[5]->view[i] = view_str("Your parcel could not be delivered. Pay the small fee at once, or it goes back to the sender!");
    }
}

/* Nanoseconds of CPU a row. */
static double cost(const char *text, size_t n_rows, int rounds)
{
    struct arena data = ARENA_EMPTY, arena = ARENA_EMPTY;
    struct batch b;
    struct expr *e;
    enum col_type type;
    struct error err;
    struct timespec from, to;

    if (expr_new(text, cols, 6, &e, &type, &err) != OK)
        die(err.text);
    fill(&b, &data, n_rows);
    b.arena = &arena;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < rounds; i++) {
        struct col c;

        if (expr_eval(e, &b, &c, &err) != OK)
            die(err.text);
        arena_reset(&arena);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    expr_free(e);
    arena_done(&arena);
    arena_done(&data);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / ((double)rounds * (double)n_rows);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *text;
    } measured[] = {
        {"compare", "x > 220"},
        {"arithmetic", "coalesce(x / (y + 1), 0) * 2 - n"},
        {"logic", "x > 220 and (kind = 'travel' or kind = 'other') and not is_null(y)"},
        {"choice", "if(n >= 50, max(x, y, 3), abs(y - x))"},
        {"log", "log(x + 1) + exp(-y)"},
        {"calendar", "weekday(t) >= 5 or hour(t) <= 6"},
        {"zone", "weekday(t, 'Europe/Berlin') >= 5 or hour(t, 'Europe/Berlin') <= 6"},
        {"list", "kind in ('travel', 'other', 'rent', 'games')"},
        {"hash", "hash(kind, 1000)"},
        {"words", "words(text, 1)"}, /* of 18 words, 94 characters */
        {"ngrams", "ngrams(text, 3, 1)"},
    };
    int rounds = argc > 1 ? atoi(argv[1]) : 2000;

    if (argc > 2) {
        printf("expression_ns=%.2f\n", cost(argv[2], ROWS, rounds));
        return 0;
    }
    for (size_t i = 0; i < sizeof(measured) / sizeof(measured[0]); i++) {
        char name[64];

        snprintf(name, sizeof(name), "expression_%s_ns", measured[i].name);
        figure("expressions", name, cost(measured[i].text, ROWS, rounds), "ns");
        snprintf(name, sizeof(name), "expression_%s_alone_ns", measured[i].name);
        figure("expressions", name, cost(measured[i].text, 1, rounds * 100), "ns");
    }
    return 0;
}
