/* common/feature/aggregates.h */
/*
 * aggregates: the table of what a feature can be of a window: name, what it is about, the parts that it needs, how its value is made of them.
 *
 * A row is all that an aggregate is: features.c makes its parts, features_apply.c asks for its value, common/wiring reads its key, the documents are made
 * of its words. A new one is a new row and, if no part serves, a new part (parts.h).
 */
#ifndef FEATURE_AGGREGATES_H
#define FEATURE_AGGREGATES_H

#include "feature/parts.h"
#include "feature/ring.h"

enum takes {
    TAKES_TOPIC,  /* an input's name: its events */
    TAKES_NUMBER, /* an expression over its fields */
    TAKES_ANY,    /* the same, or text */
};

enum window_kind { WINDOW_TIME, WINDOW_LAST, WINDOW_GAP, WINDOW_EVER };

struct window {
    enum window_kind kind;
    int ring, head, tail; /* cursors; tail -1: since ever */
    int64_t ms;           /* of a window by time */
};

struct aggregate;

/* What is asked of every row: all that is the same for each. */
struct question {
    size_t made; /* the column */
    const struct aggregate *aggregate; /* NULL: a field of a join */
    const struct ring_def *ring;
    struct window window;
    uint32_t head_at, tail_at; /* cursors: bytes from the value's beginning */
    const struct part_def *parts[2];
    int64_t delay_ms;
    int value; /* column of the ring, or field of a join; -1: none */
    double parameter;
    int64_t within_ms; /* of a join: as old as this it is not there; 0: however old */
};

/* The commonest question, how many events a window with a tail has: two cursors' difference. */
struct count_asked {
    size_t made;
    uint32_t head_at, tail_at;
};

/* One row's question. */
struct asked {
    const struct past *past; /* whose parts count; */
    const struct past *rows; /* and whose rows, which is another one for a late row */
    const struct question *of;
    struct spot head, tail;
    int64_t as_of; /* the row's time, less the delay */
    double own;    /* the row's own value */
};

/* A window as written: "7d", "last10" (events), "gap30m" (a session), "ever"; false if it is none. */
bool features_span(const char *text, enum window_kind *ret_kind, int64_t *ret_ms, uint32_t *ret_n);

/* Whether "resolution" can be said of it. */
bool features_tiled(const struct aggregate *a);

struct aggregate {
    const char *name;
    enum takes takes;
    enum col_type type;
    const struct part_kind *parts[2]; /* of a window with a tail */
    const struct part_kind *ever[2];  /* since ever; NULL: the same */
    const struct part_kind *closed[2]; /* of a window that closes, of which no rows are kept; NULL: as since ever */
    const struct part_kind *tiled; /* of a window whose tail is kept as tiles; NULL: tiles of those since ever, if they can be */
    bool not_ever;     /* has no meaning since ever */
    bool only_latest;  /* looks at the last event alone: any window since ever is the last event */
    bool only_ever;    /* `over` is its half-life */
    bool others;       /* always without the event itself */
    bool is_own;       /* about the event's own value: its topic is the one that comes out */
    const char *parameter; /* its key in the pipeline file, or NULL */
    double parameter_min, parameter_max, parameter_default; /* NAN: required */
    double (*value)(const struct asked *a); /* NAN: null */
    /* for the documents: what it is; of the values x in the window, n of them not null; NULL: the value's unit, no error, one step when an
     * event comes and one when it leaves */
    const char *about, *formula, *unit, *error, *cost;
};

/* The last event of the window; NULL: it has none. */
const struct row *asked_last(const struct asked *a);

extern const struct aggregate aggregates[];
extern const size_t n_aggregates;

const struct aggregate *aggregate_find(const char *name); /* NULL: none */

#endif
