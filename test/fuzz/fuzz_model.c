/*
 * test/fuzz/fuzz_model.c: valid models, edited by seeded chance, through the walk; what passes goes on into libxgboost.
 *
 * A run fails by a crash, a sanitizer's report, a status other than OK and ERR_RECORD, or a difference: what the walk lets
 * pass must load, predict and explain without a crash, and predict the same bits by both ways or be seen by the self-check.
 * Usage: fuzz_model [runs [seed]]; 10,000 runs by default. The failing seed and run are the last line on stderr.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "model/model.h"
#include "test/unit/model_make.h"

static const struct make_case bases[] = {
    {"binary:logistic", "exact", "0.3", "3", {NULL}, 3, 200},
    {"binary:logistic", "exact", "0.3", "4", {"gamma", "2", NULL}, 3, 200},
    {"reg:squarederror", "hist", "0.1", "2", {NULL}, 4, 200},
    {"count:poisson", "hist", "0.7", "3", {NULL}, 2, 200},
    {"reg:quantileerror", "hist", "0.4", "2", {"quantile_alpha", "[0.1,0.9]", NULL}, 2, 200},
};

static char where[96];

static void died(int sig)
{
    if (write(STDERR_FILENO, where, strlen(where)) < 0)
        _exit(3);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* Big-endian numbers that are interesting as a child, a count or a float. */
static uint32_t interesting(struct rand *r)
{
    static const uint32_t values[] = {0, 1, 2, 5, 7, 14, 15, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7f800000,
                                      0xff800000, 0x7fc00000, 0x00000001, 0x7f7fffff, 0x01000000, 0x4c000000};

    return values[rand_below(r, ARRAY_LEN(values))];
}

static void edit(struct rand *r, struct bytes *b)
{
    size_t at = rand_below(r, b->n), n = 1 + rand_below(r, 12), from;
    uint32_t v;

    switch (rand_below(r, 8)) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << rand_below(r, 8));
        break;
    case 1:
        b->data[at] = (uint8_t)rand_u64(r);
        break;
    case 2:
    case 3:
        v = interesting(r);
        for (size_t i = 0; i < 4 && at + i < b->n; i++)
            b->data[at + i] = (uint8_t)(v >> (24 - 8 * i));
        break;
    case 4: /* cut out */
        n = n < b->n - at ? n : b->n - at;
        memmove(b->data + at, b->data + at + n, b->n - at - n);
        b->n -= n;
        break;
    case 5: /* put in a piece of itself */
        n = n < b->n ? n : b->n - 1;
        from = rand_below(r, b->n - n + 1);
        bytes_reserve(b, n);
        memmove(b->data + at + n, b->data + at, b->n - at);
        memmove(b->data + at, b->data + (from < b->n - n ? from : 0), n);
        b->n += n;
        break;
    case 6:
        if (rand_below(r, 8) == 0)
            b->n = at + 1;
        break;
    default: /* type marks */
        b->data[at] = (uint8_t)"[]{}$#SLlIiUdDTFZNCH"[rand_below(r, 20)];
    }
}

/* Into libxgboost: 0: refused, 1: loaded, 2: and both ways agree. */
static int use(struct view bytes)
{
    float rows[8 * MAKE_FEATURES], labels[8];
    struct model *m = NULL;
    struct error err;
    float *out;
    int flat;

    if (model_load(bytes, &m, &err) != OK)
        return 0; /* a clean refusal by the library is fine */
    make_rows(5, 8, rows, labels, 1);
    if (model_n_features(m) == MAKE_FEATURES) {
        out = malloc(8 * model_n_outputs(m) * (MAKE_FEATURES + 1) * sizeof(*out));
        if (model_predict(m, rows, 8, out, &err) != OK) {
            fprintf(stderr, "%s: %s\n", where, err.text);
            exit(1);
        }
        (void)model_contributions(m, rows, 8, out, &err); /* may refuse odd hessians, must not crash */
        free(out);
    }
    flat = model_is_flat(m);
    model_free(m);
    return 1 + flat;
}

int main(int argc, char **argv)
{
    long runs = argc > 1 ? atol(argv[1]) : 10000, passed = 0, used[3] = {0};
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    struct bytes base[ARRAY_LEN(bases)] = {{0}};
    struct error err;

#ifndef __SANITIZE_ADDRESS__ /* it reports by itself */
    signal(SIGSEGV, died);
#endif
    signal(SIGABRT, died);
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        if (make_model(&bases[i], i, &base[i], &err) != OK)
            return fprintf(stderr, "%s\n", err.text), 1;
    }
    for (long run = 0; run < runs; run++) {
        struct bytes b = BYTES_EMPTY;
        struct ubj_trees *t = NULL;
        const struct bytes *from;
        struct rand r;
        uint8_t *exact;

        snprintf(where, sizeof(where), "fuzz_model: seed %llu run %ld\n", (unsigned long long)seed, run);
        rand_seed(&r, seed * 1000003 + (uint64_t)run);
        from = &base[rand_below(&r, ARRAY_LEN(bases))];
        bytes_append(&b, from->data, from->n);
        for (uint64_t k = 1 + rand_below(&r, 3); k > 0 && b.n > 0; k--)
            edit(&r, &b);
        exact = malloc(b.n + 1); /* no slack behind the last byte, for the sanitizer */
        memcpy(exact + 1, b.data, b.n);
        err.status = OK;
        if (ubj_read(view_of(exact + 1, b.n), &t, &err) == OK) {
            passed++;
            used[use(view_of(exact + 1, b.n))]++;
        } else if (err.status != ERR_RECORD) {
            return fprintf(stderr, "%s: status %d\n", where, err.status), 1;
        }
        ubj_trees_free(t);
        free(exact);
        bytes_done(&b);
    }
    printf("fuzz_model: %ld runs from seed %llu: %ld passed the walk, %ld of these refused by libxgboost, %ld flat, %ld not\n",
           runs, (unsigned long long)seed, passed, used[0], used[2], used[1]);
    for (size_t i = 0; i < ARRAY_LEN(bases); i++)
        bytes_done(&base[i]);
    return passed > 0 ? 0 : 1;
}
