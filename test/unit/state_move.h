/* test/unit/state_move.h: what a restart does to state: all of it goes through chunks into a new one. */
#ifndef TEST_STATE_MOVE_H
#define TEST_STATE_MOVE_H

#include "feature/features_made.h"

static inline struct state *restored(struct state *s)
{
    struct state *to = state_new(SIZE_MAX);
    struct state_chunk chunk;
    struct error err;

    while (state_next_chunk(s, &chunk))
        assert_int_equal(state_restore(to, state_get(to, chunk.entry->key, &err), chunk.index, chunk.n_chunks, chunk.bytes, 1, &err), OK);
    state_free(s);
    return to;
}

/* What a value of several chunks does when most of its pages are free, and then whether it still is one. */
static inline void move_together(const struct features *f, struct state *s, struct view key)
{
    struct arena a = ARENA_EMPTY;
    struct error err;
    struct past p = {.plan = &f->plan, .state = s, .arena = &a, .commit = 1, .err = &err};

    if (state_find(s, key) == NULL)
        return;
    past_open(&p, state_find(s, key));
    past_move_together(&p);
    assert_int_equal(past_head(&p)->end * (size_t)8, p.plan->head_bytes + past_head(&p)->used * (size_t)p.plan->page_bytes);
    if (features_check(f, view_of(p.entry->value, p.entry->n_bytes), &err) != OK)
        fail_msg("moved together: %s", err.text);
    arena_done(&a);
}

/* What a commit does: what changed goes into the log. */
static inline void commit_to(struct state *log, struct state *s)
{
    struct state_chunk chunk;
    struct error err;

    while (state_next_chunk(s, &chunk))
        assert_int_equal(state_restore(log, state_get(log, chunk.entry->key, &err), chunk.index, chunk.n_chunks, chunk.bytes, 1, &err), OK);
}

/* Whether the log has the key as it is, but for what it has in reserve. */
static inline bool log_has(struct state *log, struct state *s, struct view key)
{
    const struct entry *there = state_find(log, key), *here = state_find(s, key);

    return there && here && there->n_bytes <= here->n_bytes && memcmp(there->value, here->value, there->n_bytes) == 0;
}

#endif
