/* common/feature/rings.h */
/*
 * rings: one key's past events, by input, in flat memory that a state entry holds.
 *
 * Shape    for each input with windows: events in (time, order of taking) order. An event has its time and, for each value column of
 *          the input, the sum and count of that column over all earlier events (exclusive prefix, modulo 2^128 and 2^64), so that
 *          any window is a difference of two prefixes: no history of adding and subtracting, no cursor to move back.
 * Cost     in order: O(1) to append, O(log n) a window; out of order: the events behind it are moved and summed again.
 * Bytes    8 for the time, 24 for each value column, a key: 16 + 24 a column for each input, to a power of two of events.
 * Owner    the entry's value; rings_open may move it. Layout is little-endian and has no pointers: it is the changelog's.
 */
#ifndef FEATURE_RINGS_H
#define FEATURE_RINGS_H

#include "base/attr.h"
#include "state/state.h"

#define RING_VALUES_MAX 8
#define RINGS_MAX 8

struct ring_shape {
    size_t n_values; /* value columns; 0: times alone */
};

struct rings {
    struct entry *entry;
    const struct ring_shape *shapes;
    size_t n;
};

struct ring_value {
    int128 scaled;
    bool is_null;
};

struct ring_sum {
    int64_t n_events;
    int64_t n_values; /* not null, of one column */
    int128 sum;
};

/* Adds an event; events with time <= expired are dropped from the front first. */
enum status rings_add(struct rings *r, size_t ring, int64_t event_ms, int64_t expired, const struct ring_value *values,
                      struct state *s, int64_t commit, struct error *err);

/* Over events with after < time <= until. value: a column, or SIZE_MAX for the count alone. */
struct ring_sum rings_sum(const struct rings *r, size_t ring, size_t value, int64_t after, int64_t until);

#endif
