/* common/feature/tumbling.h */
/*
 * tumbling: aggregates of one input per key and window, where each window follows the one before it (borders.h).
 *
 * Shape    a window is closed at a moment `at` when it ends at or before it. A closed window comes out as revision 0, also an empty
 *          one: of a key from the window of its first event on, for fill_for_ms after its last event. An event of a closed
 *          window makes it come out again as one revision more, and those behind it that come into being by it as revision 0.
 * Late     an event of a window that ended allowed_ms or more before `at`: bad, with a reason that begins with "late".
 * Exact    what comes out is a function of the events and of their `at`, in their order; closing changes nothing that is kept. So
 *          windows may close in any number of steps, and a step that is repeated gives the same rows.
 * State    of a key the windows that may still change, and the time of the last event before them.
 * Null     a value of a window without an event for it (one that meets `where`) is `fill`, or what the aggregate gives of nothing.
 * Source   docs/adr/0008; test/unit/test_tumbling.c has the slow oracle.
 */
#ifndef FEATURE_TUMBLING_H
#define FEATURE_TUMBLING_H

#include "feature/borders.h"
#include "feature/feature.h"

/* The fields of a window's row beside its key's and its values. */
#define TUMBLING_START "start"
#define TUMBLING_TIME "end"
#define TUMBLING_REVISION "revision"

#define TUMBLING_KEPT_MAX 10000 /* windows that may still change, of one key */

struct aggregate;

struct tumbling_def {
    int64_t every_ms;
    const char *zone; /* NULL: UTC */
    int64_t allowed_ms;
    int64_t fill_for_ms; /* INT64_MAX: for good */
};

/* The result has features_cols (the values), features_needs and features_fingerprint, and the functions below instead of
 * features_apply. defs: aggregates without windows. */
enum status tumbling_new(const struct feature_input *input, const struct tumbling_def *def, const struct feature_def *defs,
                         size_t n_defs, struct features **ret_features, struct error *err);

/* Whether an aggregate may stand in a tumbling window: its parts are of fixed size and know no order. */
bool tumbling_takes(const struct aggregate *a);
/* For the documents: bytes of a key, of one of its windows that may still change, and there of one that may stand in it. */
size_t tumbling_key_bytes(void);
size_t tumbling_window_bytes(void);
size_t tumbling_value_bytes(const struct aggregate *a);

struct window_row {
    struct view key;  /* the state's, or the event's */
    uint32_t parent;  /* of tumbling_apply: the event's row */
    int32_t revision;
    struct period window;
    const double *v;  /* of features_cols; NaN: null */
};

/* Rows in the arena, in the order in which they come out. */
struct window_rows {
    struct arena *arena;
    struct window_row *rows;
    size_t n, cap;
};

/* Takes in events, all of whose `at` lie before the end of the window that closes next; ret: what comes out of closed windows. */
enum status tumbling_apply(const struct features *f, struct state *s, struct batch *in, const struct view *keys,
                           const int64_t *event_ms, const int64_t *at, const char **bad, int64_t commit,
                           struct window_rows *ret_rows, struct error *err);

/* features_check. */
enum status tumbling_check(const struct features *f, struct view value, struct error *err);

/* When the next windows close after a moment. */
int64_t tumbling_next(const struct features *f, int64_t after_ms);
/* The windows that end at end_ms, in the order of their keys: those of n keys from the *from-th on, which goes on. True: these were
 * the last. */
bool tumbling_close(const struct features *f, struct state *s, int64_t end_ms, size_t n, size_t *from, struct window_rows *ret_rows);

#endif
