/* common/feature/ring.h */
/*
 * ring: the events of one key and ring in (time, order of taking) order, and the cursors that pass over them.
 *
 * Shape    pages of rows, linked both ways: a row is its time and a number for each value (NaN: null).
 *          Where joins take fields (fields.h), the number behind the values is their place.
 *          A position counts the ring's events from its beginning, modulo 2^32; pages hold [first_pos, end_pos).
 * Late     ring_put inserts in place; cursors beyond that place have passed the event, and parts take it in. ring_remove undoes that.
 * Source   docs/adr/0007; test/unit/test_window.c and test_aggregates.c have the slow oracle.
 */
#ifndef FEATURE_RING_H
#define FEATURE_RING_H

#include "feature/past.h"

struct row {
    int64_t ms;
    double v[];
};

struct page {
    uint32_t next, prev;
    uint64_t rows[];
};

struct ring {
    uint32_t first, last; /* pages */
    uint32_t first_pos, end_pos;
    uint32_t last_row; /* place of the newest row; 0: none */
    uint32_t unused;
};

struct cursor {
    int64_t ms;    /* by time: of the next event, INT64_MAX at the end */
    uint32_t pos;
    uint32_t next; /* place of the next event's row, 0 at the end */
};

/* A position and the row there; 0 at the end. */
struct spot {
    uint32_t pos, row;
};

/* The moments as of which cursors stand. */
struct moments {
    int64_t as_of, floor;
};

static inline struct ring *ring_of(const struct past *p, const struct ring_def *def)
{
    return (struct ring *)(void *)(p->base + def->at);
}

static inline struct cursor *cursor_of(const struct past *p, const struct ring_def *def, int c)
{
    return (struct cursor *)(void *)(p->base + def->cursors_at) + c;
}

static inline struct row *row_of(const struct past *p, uint32_t place)
{
    return past_at(p, place);
}

/* A row's word within its page; the first is 1. */
static inline uint32_t plan_word_of(const struct plan *plan, uint32_t row)
{
    return (row - plan->head_words) & plan->page_mask;
}

static inline uint32_t word_of(const struct past *p, uint32_t row)
{
    return plan_word_of(p->plan, row);
}

/* The next row's place; 0 at the end. */
static inline uint32_t ring_next(const struct past *p, const struct ring_def *def, uint32_t row)
{
    uint32_t word = word_of(p, row);

    if (row == ring_of(p, def)->last_row)
        return 0;
    if (word < def->last_word)
        return row + def->row_words;
    return ((const struct page *)past_at(p, row - word))->next + 1;
}

/* Moves the cursors on to the moments, which never go back. Whether one passed an event. */
bool ring_seek(struct past *p, const struct ring_def *def, struct moments m);
/* Asks for the memory that a row of this time will look at. */
void ring_expect(const uint8_t *value, const struct plan *plan, const struct ring_def *def, int64_t as_of);
/* Puts an event in. v: the ring's values, and behind them the place of its fields where it has some. */
void ring_put(struct past *p, const struct ring_def *def, struct moments m, int64_t ms, const double *v);
/* Takes the row of this time out again, from cursors and parts too, if no floor lies beyond it. False: there is none. */
bool ring_remove(struct past *p, const struct ring_def *def, struct moments m, int64_t ms);
/* The same of the row there. */
void ring_remove_at(struct past *p, const struct ring_def *def, struct moments m, struct spot s);

/* ---- ring_rows.c ---- */
/* Drops the pages that lie behind all cursors. */
void ring_trim(struct past *p, const struct ring_def *def);
/* Puts a row in its place; those of later times move by one. Its place is 0 where there is no room. Cursors and parts are the caller's. */
struct spot ring_insert(struct past *p, const struct ring_def *def, int64_t ms, const double *v);
/* Takes it out; those of later times move back. */
void ring_close(struct past *p, const struct ring_def *def, struct spot s);
/* The row of this time; its place is 0 where there is none. */
struct spot ring_find(const struct past *p, const struct ring_def *def, int64_t ms);

uint32_t ring_prev(const struct past *p, const struct ring_def *def, uint32_t row); /* 0 at the beginning */
static inline struct spot ring_spot(const struct past *p, const struct ring_def *def, int c)
{
    const struct cursor *s = cursor_of(p, def, c);

    return (struct spot){s->pos, s->next};
}

/* Where a cursor stood, or would have, as of an earlier moment. spots: of the cursors that it rests on. */
struct spot ring_back(const struct past *p, const struct ring_def *def, int c, int64_t as_of, const struct spot *spots);

#endif
