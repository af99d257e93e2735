/* test/unit/test_state.c: the table, dirty chunks and restore, against plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rand.h"
#include "state/state.h"

#define KEYS 300
#define BYTES_MAX 200000

struct shadow {
    uint8_t *value;
    size_t n;
};

static struct view key_of(int k, char out[16])
{
    snprintf(out, 16, "key%d", k);
    return view_str(out);
}

static void change(struct state *s, struct shadow *sh, int k, struct rand *r, int64_t commit)
{
    struct error err;
    char name[16];
    struct entry *e = state_get(s, key_of(k, name), &err);
    size_t n = sh->n + rand_below(r, 20) * (k == 7 ? 5000 : 1);
    size_t at, len;

    if (n == 0 || n > BYTES_MAX)
        return;
    if (n != sh->n) {
        assert_int_equal(state_resize(s, e, n, &err), OK);
        memset(sh->value + sh->n, 0, n - sh->n);
        state_dirty(s, e, sh->n, n - sh->n, commit);
        sh->n = n;
    }
    at = rand_below(r, n);
    len = 1 + rand_below(r, n - at < 100 ? n - at : 100);
    for (size_t i = at; i < at + len && i < n; i++)
        sh->value[i] = e->value[i] = (uint8_t)rand_u64(r);
    state_dirty(s, e, at, len, commit);
}

/* What a changelog with compaction would hold is applied to a second state now and then: they must be equal. */
static void written_chunks_restore_the_same_bytes(void **state)
{
    struct state *s = state_new((size_t)1 << 30), *copy = state_new((size_t)1 << 30);
    struct shadow sh[KEYS];
    struct state_chunk c;
    struct error err;
    struct rand r;
    char name[16];
    int n_large = 0;

    (void)state;
    printf("seed 3\n");
    rand_seed(&r, 3);
    for (int k = 0; k < KEYS; k++)
        sh[k] = (struct shadow){calloc(1, BYTES_MAX), 0};
    for (int64_t commit = 0; commit < 400; commit++) {
        int64_t since = state_since_min(s);

        for (int i = 0; i < 50; i++) {
            int k = rand_below(&r, 5) ? (int)rand_below(&r, KEYS) : 7;

            change(s, &sh[k], k, &r, commit);
        }
        assert_true(state_since_min(s) <= since);
        for (int i = 0; i < 30 && state_next_chunk(s, &c); i++)
            assert_int_equal(state_restore(copy, state_get(copy, c.entry->key, &err), c.index, c.n_chunks, c.bytes, 1, &err), OK);
    }
    while (state_next_chunk(s, &c))
        assert_int_equal(state_restore(copy, state_get(copy, c.entry->key, &err), c.index, c.n_chunks, c.bytes, 1, &err), OK);
    assert_int_equal(state_since_min(s), INT64_MAX);
    assert_int_equal(state_restored(copy, NULL, NULL, &err), OK);
    for (int k = 0; k < KEYS; k++) {
        struct entry *a = state_find(s, key_of(k, name)), *b = state_find(copy, key_of(k, name));

        if (sh[k].n == 0)
            continue;
        assert_int_equal(a->n_bytes, sh[k].n);
        assert_memory_equal(a->value, sh[k].value, sh[k].n);
        assert_int_equal(b->n_bytes, sh[k].n);
        assert_memory_equal(b->value, sh[k].value, sh[k].n);
        n_large += sh[k].n > STATE_CHUNK_BYTES;
        free(sh[k].value);
        sh[k].value = NULL;
    }
    assert_true(n_large > 0);
    for (int k = 0; k < KEYS; k++)
        free(sh[k].value);
    state_free(s);
    state_free(copy);
}

/* What is resized, and changed from there on; what a restore makes of it. Room that nobody has used yet is not written, and nobody waits for it. */
static void a_value_that_grew_by_more_than_it_uses_is_restored_without_that(void **state)
{
    static const struct {
        size_t size, changed, restored;
    } steps[] = {
        {STATE_CHUNK_BYTES + 8, 0, STATE_CHUNK_BYTES},
        {9 * STATE_CHUNK_BYTES, 5 * STATE_CHUNK_BYTES, 6 * STATE_CHUNK_BYTES},
        {9 * STATE_CHUNK_BYTES, 0, 6 * STATE_CHUNK_BYTES},
        {8, 0, 8},
        {100 * STATE_CHUNK_BYTES, 70 * STATE_CHUNK_BYTES, 71 * STATE_CHUNK_BYTES},
    };
    struct state *s = state_new((size_t)1 << 30);
    struct state_chunk c, log[128] = {0}; /* all that was written; the bytes do not matter */
    struct error err;
    struct entry *e = state_get(s, view_str("k"), &err);
    static uint8_t bytes[STATE_CHUNK_BYTES];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct state *copy = state_new((size_t)1 << 30);

        assert_int_equal(state_resize(s, e, steps[i].size, &err), OK);
        state_dirty(s, e, steps[i].changed, 1, (int64_t)i);
        for (; state_next_chunk(s, &c); n++)
            log[n] = c;
        for (size_t k = 0; k < n; k++)
            assert_int_equal(state_restore(copy, state_get(copy, view_str("k"), &err), log[k].index, log[k].n_chunks,
                                           view_of(bytes, log[k].bytes.n), 1, &err), OK);
        if (state_restored(copy, NULL, NULL, &err) != OK)
            fail_msg("step %zu: %s", i, err.text);
        assert_int_equal(state_find(copy, view_str("k"))->n_bytes, steps[i].restored);
        state_free(copy);
    }
    state_free(s);
}

static enum status put(struct state *s, int64_t index, int64_t n_chunks, size_t n, struct error *err)
{
    static uint8_t bytes[STATE_CHUNK_BYTES + 1];

    return state_restore(s, state_get(s, view_str("k"), err), index, n_chunks, view_of(bytes, n), 0, err);
}

static enum status count(void *ctx, struct view value, struct error *err)
{
    (void)err;
    *(size_t *)ctx += value.n;
    return OK;
}

static void chunks_that_are_missing_or_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *name;
        int64_t index, n_chunks;
        size_t n;
    } bad[] = {{"a number below 0", -1, 1, 8},        {"beyond the last", 3, 3, 8},
               {"none of none", 0, 0, 0},             {"more than a chunk", 0, 1, STATE_CHUNK_BYTES + 1},
               {"a short one amid others", 1, 3, 64}, {"chunks beyond 32 bits", 0, (int64_t)1 << 33, STATE_CHUNK_BYTES},
               {"beyond the limit", 1 << 20, (1 << 20) + 1, 8}};
    struct state *s = state_new((size_t)1 << 22);
    struct error err;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (put(s, bad[i].index, bad[i].n_chunks, bad[i].n, &err) != ERR_FATAL)
            fail_msg("%s: taken", bad[i].name);
    assert_int_equal(put(s, 2, 3, 100, &err), OK); /* compaction has left the older ones of a key before the newer ones */
    assert_int_equal(put(s, 0, 3, STATE_CHUNK_BYTES, &err), OK);
    assert_int_equal(state_restored(s, NULL, NULL, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "chunk 1 of the 3 of a key is missing"));
    assert_int_equal(put(s, 1, 3, STATE_CHUNK_BYTES, &err), OK);
    assert_int_equal(state_restored(s, count, &n, &err), OK);
    assert_int_equal(n, 2 * STATE_CHUNK_BYTES + 100);
    assert_int_equal(state_since_min(s), INT64_MAX);
    state_free(s);
}

static void over_the_limit_is_said_with_numbers(void **state)
{
    struct state *s = state_new(10000);
    struct error err = {0};
    struct entry *e = NULL;
    char name[16];
    int k = 0;

    (void)state;
    while ((e = state_get(s, key_of(k, name), &err)) != NULL)
        k++;
    assert_true(k > 10);
    assert_int_equal(err.status, ERR_FATAL);
    assert_non_null(strstr(err.text, "10000 are allowed"));
    state_free(s);
}

static void entries_come_in_the_order_of_their_keys(void **state)
{
    struct state *s = state_new((size_t)1 << 30);
    struct entry *const *all;
    struct error err;
    struct rand r;
    size_t n = 0;

    (void)state;
    rand_seed(&r, 5);
    assert_non_null(state_get(s, view_str("k"), &err));
    for (int round = 0; round < 40; round++) {
        for (uint64_t made = rand_below(&r, 30); made > 0; made--) {
            uint8_t key[3];
            size_t n_key = rand_below(&r, sizeof(key) + 1);

            for (size_t i = 0; i < n_key; i++)
                key[i] = (uint8_t)(rand_below(&r, 4) * 85);
            assert_non_null(state_get(s, view_of(key, n_key), &err));
        }
        all = state_in_order(s, &n);
        assert_int_equal(n, state_n_keys(s));
        for (size_t i = 1; i < n; i++) {
            struct view a = all[i - 1]->key, b = all[i]->key;
            int c = memcmp(a.data, b.data, a.n < b.n ? a.n : b.n);

            assert_true(c < 0 || (c == 0 && a.n < b.n));
        }
    }
    assert_true(n > 50);
    state_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_in_the_order_of_their_keys),
        cmocka_unit_test(written_chunks_restore_the_same_bytes),
        cmocka_unit_test(a_value_that_grew_by_more_than_it_uses_is_restored_without_that),
        cmocka_unit_test(chunks_that_are_missing_or_cannot_be_are_refused),
        cmocka_unit_test(over_the_limit_is_said_with_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
