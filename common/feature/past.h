/* common/feature/past.h */
/*
 * past: what the features of one key remember, in the flat value of a state entry: a head of fixed layout, then pages.
 *
 * Shape    head: the time as of which the cursors stand, the pool of pages, and for each ring its ends, cursors and parts
 *          (docs/adr/0007). A place is a number of 8-byte words from the value's beginning, so that nothing is a pointer; 0 is none.
 *          A run is 2^order pages in one piece: a ring takes single ones, tables what they need.
 * Shrinks  once most of its pages are free (past_pack): what it has then moves together at its beginning.
 * Owner    the entry's value; past_take and past_pack move it: pointers into it are made anew afterwards.
 * Errors   past_take: 0, and `st` says why; whatever goes on then changes nothing that counts, for the task ends.
 */
#ifndef FEATURE_PAST_H
#define FEATURE_PAST_H

#include "feature/plan.h"
#include "state/state.h"

struct past {
    const struct plan *plan;
    uint8_t *base; /* the value */
    struct entry *entry;
    struct state *state;    /* NULL: a scratch value in the arena */
    struct arena *arena;
    size_t n_bytes;         /* of a scratch value */
    int64_t commit;
    struct error *err;
    enum status st;
};

/* A run that a part has. */
struct part_run {
    uint32_t place; /* 0: none */
    uint32_t order;
};

struct past_head {
    int64_t as_of; /* of the cursors but for the floors */
    uint32_t end;  /* what lies beyond was never taken */
    uint32_t used; /* pages that are taken */
    uint32_t free[]; /* the first free run of each order; its first word is the next one's place */
};

static inline uint32_t past_head_bytes(unsigned n_orders)
{
    return (uint32_t)((sizeof(struct past_head) + n_orders * sizeof(uint32_t) + 7) / 8 * 8);
}

/* Opens the entry's value, which is made when empty. */
void past_open(struct past *p, struct entry *e);
/* A value beside the state with empty rings and parts. */
void past_scratch(struct past *p, const struct past *of);

/* Asks for the memory of the page that is taken next. */
void past_expect(const uint8_t *value, const struct plan *plan);
uint32_t past_take(struct past *p, unsigned order); /* zeroed */
void past_give(struct past *p, uint32_t place, unsigned order);
void past_give_run(struct past *p, struct part_run *run); /* which is none then, too */
/* Gives memory back, if the value is of several chunks and three quarters of its pages are free (pack.c); */
void past_pack(struct past *p);
void past_move_together(struct past *p); /* whatever is free; */
void past_begin(struct past *p); /* for which a copy of its head begins without pages, */
void past_replace(struct past *p, const struct past *by); /* and takes its place */
/* bytes from `place` were or will be changed. The head needs no word. */
void past_dirty(struct past *p, uint32_t place, size_t n_bytes);

static inline void *past_at(const struct past *p, uint32_t place)
{
    return p->base + (size_t)place * 8;
}

static inline struct past_head *past_head(const struct past *p)
{
    return (struct past_head *)(void *)p->base;
}

static inline size_t run_bytes(const struct plan *plan, unsigned order)
{
    return (size_t)plan->page_bytes << order;
}

/* Of the smallest run that has so many. */
static inline unsigned run_order(const struct plan *plan, size_t n_bytes)
{
    unsigned order = 0;

    while (run_bytes(plan, order) < n_bytes)
        order++;
    return order;
}

#endif
