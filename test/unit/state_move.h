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

#endif
