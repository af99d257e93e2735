/* common/feature/plan.h: what definitions become before any row: rings, cursors, parts (docs/adr/0007), and where they lie. */
#ifndef FEATURE_PLAN_H
#define FEATURE_PLAN_H

#include "base/attr.h"
#include "feature/expr.h"

#define RINGS_MAX 64
#define VALUES_MAX 16  /* different expressions of one ring */
#define CURSORS_MAX 65 /* of one ring */
#define PARTS_MAX 250  /* of one ring */
#define ORDERS_MAX 20
#define FIELDS_MAX 32 /* that joins take from one input and condition */
#define KEPT SIZE_MAX

enum cursor_kind {
    CURSOR_TIME, /* passes events with time <= as_of - ms */
    CURSOR_LAST, /* stays n events behind its head */
    CURSOR_GAP,  /* stays where the chain of events up to its head, none ms after the one before, begins */
};

struct link {
    uint16_t part;
    bool add; /* else evict */
};

struct cursor_def {
    enum cursor_kind kind;
    bool floor; /* as of the oldest row that may still come */
    int head;
    int64_t ms;
    uint32_t n;
    struct link *links; /* what its pass over an event does */
    size_t n_links;
};

/* What each row asks of a cursor by time. */
struct time_cursor {
    int64_t ms;
    uint32_t at; /* bytes from the value's beginning */
    uint8_t cursor;
    bool floor;
};

struct part_kind;

struct part_def {
    const struct part_kind *kind;
    int value; /* column; -1: none */
    int head, tail; /* cursors; tail -1: since ever */
    int base;  /* the same as of the floor, for parts that cannot take back; -1: none */
    double parameter, factor;
    const struct part_kind *inner; /* of tiles, each of tile_ms, back to as_of - span_ms */
    int64_t tile_ms, span_ms;
    uint32_t at; /* bytes from the value's beginning */
};

struct value {
    struct expr *expr;
    const char *text;
    double factor; /* 10^scale */
    bool is_text;  /* stands as its hash */
};

struct ring_def {
    size_t input;        /* KEPT: no input's, but what features_again keeps of the emitting one's rows */
    bool replaces;       /* a row takes the place of the one of its time */
    struct expr *where; /* NULL: every event */
    const char *where_text;
    struct expr *valid;  /* the time that a row is for, by which rows lie (ahead.h); NULL: they lie by their own */
    const char *valid_text;
    int64_t keep_ms;     /* there, the longest delay of what asks */
    struct value *values;
    size_t n_values;
    struct cursor_def *cursors;
    size_t n_cursors;
    uint8_t order[CURSORS_MAX]; /* heads before tails, those by time first */
    struct time_cursor *by_time; /* in that order */
    size_t n_by_time;
    struct part_def *parts;
    size_t n_parts;
    uint8_t tiled[PARTS_MAX]; /* those of tiles */
    size_t n_tiled;
    uint8_t sampled[PARTS_MAX]; /* those that may have to be shown the window's events again */
    size_t n_sampled;
    uint8_t far[PARTS_MAX]; /* those of which some lies outside the head */
    size_t n_far;
    const struct feature_col *fields; /* that joins take: their place stands in a row behind its values (fields.h), and behind it, with `valid`, the row's own time */
    size_t n_fields;
    bool keeps_all;    /* a part since ever takes in also what no window can ask for, and one of the last n may be as old as it likes */
    int64_t horizon_ms; /* the largest offset of a cursor by time */
    uint32_t row_words, rows_per_page;
    uint32_t last_word; /* of a page: where its last row begins */
    uint32_t at, cursors_at; /* bytes from the value's beginning */
};

struct plan {
    struct arena *arena; /* of all that it points to */
    struct ring_def rings[RINGS_MAX];
    size_t n_rings;
    uint32_t page_bytes, head_bytes;
    uint32_t page_mask, head_words; /* of 8 bytes; a place's word within its page is (place - head_words) & page_mask */
    unsigned n_orders;
    uint8_t *empty; /* a head without events */
};

/* Each finds or makes, which moves those of its kind; -1 when there are too many. */
int plan_ring(struct plan *p, size_t input, struct expr *where, const char *where_text, struct expr *valid, const char *valid_text);
int plan_value(struct plan *p, int ring, struct expr *e, const char *text, double factor, bool is_text);
int plan_cursor(struct plan *p, int ring, struct cursor_def c);
int plan_part(struct plan *p, int ring, struct part_def part);
int plan_field(struct plan *p, int ring, const struct feature_col *col, struct arena *arena);
/* Once all are there. */
void plan_layout(struct plan *p, struct arena *arena);

#endif
