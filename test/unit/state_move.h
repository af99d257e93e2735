/* test/unit/state_move.h: what a restart does to state: all of it goes through chunks into a new one. */
#ifndef TEST_STATE_MOVE_H
#define TEST_STATE_MOVE_H

#include "state/state.h"

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
