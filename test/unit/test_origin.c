/* test/unit/test_origin.c: which records are repeats, against a reader that remembers every one that it took. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rand.h"
#include "stage/origin.h"

enum { TASKS = 3, CHANNELS = 3, INPUTS = 2, PARTS = 2, PER_CHANNEL = 40, OUTS = 3 };

/* What a writer's task takes: per input and channel its records by rising offset. */
struct source {
    int64_t offset;
    int part[OUTS]; /* the partition that each of its outputs goes to; -1: there is none */
};

struct topic {
    struct origin *records;
    size_t n, cap;
};

static void append(struct topic *t, const struct origin *o)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->records = xrealloc(t->records, t->cap * sizeof(*t->records));
    }
    t->records[t->n++] = *o;
}

static void make_sources(struct rand *r, struct source in[INPUTS][CHANNELS][PER_CHANNEL])
{
    for (int i = 0; i < INPUTS; i++) {
        for (int64_t k = 0; k < (int64_t)CHANNELS * PER_CHANNEL; k++) { /* channels interleave in one partition */
            int c = (int)(k % CHANNELS);
            struct source *s = &in[i][c][k / CHANNELS];

            s->offset = k * 2 + (int64_t)rand_below(r, 2);
            for (int o = 0; o < OUTS; o++)
                s->part[o] = (int)rand_below(r, PARTS + 1) - 1;
        }
    }
}

/* One life of a task: from `begin` on it takes heads of its channels in an order that chance decides, as the clock may where
 * channels are idle; it ends anywhere, after having committed some time before. */
static void live(struct rand *r, int task, struct source in[INPUTS][CHANNELS][PER_CHANNEL], int begin[INPUTS][CHANNELS],
                 bool to_the_end, struct topic *out)
{
    int next[INPUTS][CHANNELS], committed[INPUTS][CHANNELS];
    uint64_t left = to_the_end ? UINT64_MAX : rand_below(r, 60);

    memcpy(next, begin, sizeof(next));
    memcpy(committed, begin, sizeof(committed));
    for (; left > 0; left--) {
        int open[INPUTS * CHANNELS], n = 0, pick, i, c;

        for (int k = 0; k < INPUTS * CHANNELS; k++)
            if (next[k / CHANNELS][k % CHANNELS] < PER_CHANNEL)
                open[n++] = k;
        if (n == 0)
            break;
        pick = open[rand_below(r, (uint64_t)n)];
        i = pick / CHANNELS;
        c = pick % CHANNELS;
        for (int o = 0; o < OUTS; o++) {
            const struct source *s = &in[i][c][next[i][c]];

            if (s->part[o] >= 0)
                append(&out[s->part[o]], &(struct origin){task, i, c, s->offset, o});
        }
        next[i][c]++;
        if (rand_below(r, 10) == 0)
            memcpy(committed, next, sizeof(committed));
    }
    memcpy(begin, committed, sizeof(committed));
}

static bool same(const struct origin *a, const struct origin *b)
{
    return a->task == b->task && a->input == b->input && a->channel == b->channel && a->offset == b->offset &&
           a->index == b->index;
}

/* The slow reader: has it seen this very record before? Also that the first comings are complete and in order. */
static size_t compare(const struct topic *t, size_t *ret_repeats)
{
    struct origins cursors = {0};
    size_t n_new = 0;

    for (size_t k = 0; k < t->n; k++) {
        bool seen = false;

        for (size_t j = 0; j < k && !seen; j++)
            seen = same(&t->records[j], &t->records[k]);
        assert_true(origins_pass(&cursors, &t->records[k]) == !seen);
        n_new += !seen;
        *ret_repeats += seen;
    }
    origins_done(&cursors);
    return n_new;
}

static void a_repeat_is_what_was_there_before_in_whichever_order_a_writer_takes_its_channels(void **state)
{
    static struct source in[TASKS][INPUTS][CHANNELS][PER_CHANNEL];
    const uint64_t seed = 11;
    size_t repeats = 0;
    struct rand r;

    (void)state;
    printf("seed %d\n", (int)seed);
    rand_seed(&r, seed);
    for (int round = 0; round < 40; round++) {
        struct topic out[PARTS] = {{0}};
        int begin[TASKS][INPUTS][CHANNELS] = {{{0}}};
        size_t want = 0, got = 0;

        for (int t = 0; t < TASKS; t++) {
            make_sources(&r, in[t]);
            for (int k = 0; k < INPUTS * CHANNELS * PER_CHANNEL * OUTS; k++)
                want += in[t][k / OUTS / PER_CHANNEL / CHANNELS][k / OUTS / PER_CHANNEL % CHANNELS][k / OUTS % PER_CHANNEL]
                            .part[k % OUTS] >= 0;
        }
        for (int lives = 0; lives < 12; lives++) {
            int t = (int)rand_below(&r, TASKS);

            live(&r, t, in[t], begin[t], false, out);
        }
        for (int t = 0; t < TASKS; t++)
            live(&r, t, in[t], begin[t], true, out);
        for (int p = 0; p < PARTS; p++) {
            got += compare(&out[p], &repeats);
            free(out[p].records);
        }
        assert_int_equal(got, want);
    }
    assert_true(repeats > 1000);
}

static void offsets_that_were_dropped_are_known_whatever_their_order(void **state)
{
    struct dropped d = {0};
    bool want[300] = {false};
    struct rand r;

    (void)state;
    rand_seed(&r, 3);
    for (int k = 0; k < 120; k++) {
        int64_t o = (int64_t)rand_below(&r, 300);

        if (!want[o])
            dropped_add(&d, o);
        want[o] = true;
    }
    dropped_trim(&d, 100);
    for (int64_t o = 0; o < 300; o++)
        assert_true(dropped_has(&d, o) == (want[o] && o >= 100));
    dropped_trim(&d, 300);
    assert_int_equal(d.n, 0);
    dropped_done(&d);
}

static void what_no_stage_can_have_written_is_refused(void **state)
{
    static const struct {
        int64_t v[ORIGIN_COLS];
        bool ok;
    } cases[] = {
        {{0, 0, -1, 0, 0}, true},    {{65535, 63, 65535, INT64_MAX, INT32_MAX}, true},
        {{-1, 0, 0, 0, 0}, false},   {{65536, 0, 0, 0, 0}, false},
        {{0, -1, 0, 0, 0}, false},   {{0, 64, 0, 0, 0}, false},
        {{0, 0, -2, 0, 0}, false},   {{0, 0, 65536, 0, 0}, false},
        {{0, 0, 0, -1, 0}, false},   {{0, 0, 0, 0, -1}, false},
        {{0, 0, 0, 0, INT64_C(1) << 32}, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct col cols[ORIGIN_COLS];
        int64_t v[ORIGIN_COLS];
        uint8_t null = 0;
        struct origin o;
        struct error err;

        for (size_t k = 0; k < ORIGIN_COLS; k++) {
            v[k] = cases[i].v[k];
            cols[k] = (struct col){.type = COL_INT, .null = &null, .i64 = &v[k]};
        }
        assert_int_equal(origin_get(cols, &o, &err), cases[i].ok ? OK : ERR_RECORD);
        null = 1;
        assert_int_equal(origin_get(cols, &o, &err), ERR_RECORD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_is_what_was_there_before_in_whichever_order_a_writer_takes_its_channels),
        cmocka_unit_test(offsets_that_were_dropped_are_known_whatever_their_order),
        cmocka_unit_test(what_no_stage_can_have_written_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
