/* common/feature/parts.h */
/*
 * parts: running aggregates of the events between two cursors.
 *
 * Shape    a part is bytes in the head of a past; tables have runs of pages besides. `add` takes an event in, wherever it lies between
 *          the others; `evict` takes the first one out, to the bit as if it had never been in.
 * Exact    sums are of integers at the declared scale; all but `PART_MEAN_OF_LATEST` are functions of the set of events.
 * Cost     O(1), amortised; min and max: O(1) in order; buckets: O(log n) and a move of what lies behind; counts: what counts.c says.
 */
#ifndef FEATURE_PARTS_H
#define FEATURE_PARTS_H

#include "feature/past_check.h"

struct event {
    int64_t ms;
    uint32_t pos;
    double v; /* NaN: null */
};

struct part_kind {
    const char *name;
    size_t bytes;
    bool takes_back; /* one event may be evicted wherever it lies: a late row's value is made from a copy */
    bool is_ordered; /* `add` must see the events in order */
    size_t item_bytes; /* of what it keeps in runs; 0: nothing */
    const char *item;  /* for the documents */
    uint32_t exact;    /* of what counts values: up to so many different ones */
    size_t n_runs, run_at[2]; /* its struct part_runs: bytes from its beginning */
    void (*add)(struct past *p, const struct part_def *def, const struct event *e);
    void (*evict)(struct past *p, const struct part_def *def, const struct event *e); /* NULL: only since ever */
    /* It has given up events that it needs again: empties itself to be shown all by `again`. False: nothing is to be shown. NULL: it never does. */
    bool (*fall)(struct past *p, const struct part_def *def);
    void (*again)(struct past *p, const struct part_def *def, const struct event *e);
    /* An event is put in at this position: those from there on move by one. NULL: knows no positions. */
    void (*shift)(struct past *p, const struct part_def *def, uint32_t pos);
    /* Takes in all of another one; NULL: a copy of its bytes does. */
    void (*merge)(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base);
    /* One from outside, whose runs are there: whether they are as it says; NULL: any bytes can be. */
    bool (*check)(const struct past *p, const struct part_def *def);
    /* Asks for the memory that the next event will look at; NULL: it lies in the head. */
    void (*expect)(const uint8_t *value, const struct plan *plan, const struct part_def *def);
    /* As the inner part of tiles: one part's events go into another's, or out of it. out NULL: only by adding up the rest anew. */
    void (*in)(void *to, const void *part);
    void (*out)(void *of, const void *part);
};

/* Events, also null ones. */
struct part_events {
    uint64_t n;
};
/* Of values that are not null. */
struct part_sum {
    uint64_t low, high; /* 128 bits, signed */
    uint64_t n;
};
struct part_squares {
    uint64_t word[4]; /* of the scaled values, 256 bits */
};
/* Candidates for the minimum or maximum, a ring of (position, value): each is better than all behind it. */
struct part_deque {
    struct part_run run;
    uint32_t first, n;
};
struct part_best {
    double v;
    uint64_t has;
};
/* The first event, or the latest. */
struct part_first {
    int64_t ms;
    double v;
    uint64_t has;
};
/* Exponentially weighted: of values and of weights, as of `ms`. */
struct part_decayed {
    int64_t ms;
    double sum, weight;
};
/* A hash table of struct counted, by value. */
struct part_table {
    struct part_run run;
    uint32_t n;
};
struct counted {
    double v;
    uint64_t n; /* 0: free */
};
/* Counts by value (counts.c). */
struct part_counts {
    struct part_table table;
    uint32_t level, above[2];
    struct part_run heavy; /* of PART_TOP */
};
struct part_distinct {
    struct part_table table;
    uint32_t is_sketch; /* its run holds registers (distinct.c) */
};
/* Counts by bucket of value, in order. */
struct part_buckets {
    struct part_run run;
    uint32_t n, unused;
    uint64_t n_events;
};
struct bucket {
    uint32_t id, n;
};
/* Aggregates by tile of time, in order, in a ring of one run (tiles.c). */
struct part_tiles {
    uint64_t total[4]; /* the inner part of all that are there */
    int64_t from;      /* tiles before this one are gone */
    struct part_run run;
    uint32_t first, n;
};
/* The latest values by tile of time, and what is known of more than those (recent.c). */
struct part_recent {
    struct part_run run, registers;
    uint32_t n, unused;
};

extern const struct part_kind PART_EVENTS, PART_SUM, PART_SQUARES, PART_MIN, PART_MAX, PART_LEAST, PART_MOST, PART_FIRST, PART_LATEST,
    PART_DECAYED, PART_COUNTS, PART_TOP, PART_DISTINCT, PART_BUCKETS, PART_TILES, PART_RECENT;

static inline void *part_of(const struct past *p, const struct part_def *def)
{
    return p->base + def->at;
}

static inline struct part_run *part_run_of(const struct past *p, const struct part_def *def, size_t i)
{
    return (struct part_run *)(void *)(p->base + def->at + def->kind->run_at[i]);
}

/* As if it had never seen an event. */
void part_clear(struct past *p, const struct part_def *def);
/* Of a part that is a copy of another past's: its runs become copies too. */
void part_move_runs(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base);

/* The value as an integer at its scale; exact and the same whoever asks. */
int128 scaled_of(double v, double factor);
int128 part_sum_of(const struct part_sum *s);
/* n * squares - sum^2, which is n^2 times the variance, as a number. */
double part_spread(const struct part_sum *s, const struct part_squares *q);
/* The best candidate, NaN without one. */
double part_deque_best(const struct past *p, const struct part_def *def);
/* Tiles that the window as of this moment does not reach leave. Whether there were some. */
bool part_tiles_expire(struct past *p, const struct part_def *def, int64_t as_of);
/* The tile of that length which a time lies in: (i * tile_ms, (i + 1) * tile_ms]. */
int64_t part_tile_of(int64_t ms, int64_t tile_ms);
/* Of the value alone: the same in every process (splitmix64). */
uint64_t part_hash(double v);
uint64_t part_mix(uint64_t x);
uint64_t part_bits(double v);
/* Of a part that begins with a table: how many slots that has; one event more, and whether its value is new; whether one from outside is none. */
uint32_t table_slots(const struct past *p, const struct part_table *t);
bool table_add(struct past *p, const struct part_def *def, double v);
bool table_check(const struct past *p, const struct part_table *t);
/* HyperLogLog's, of registers by rank: what they have seen; m: how many they are. */
double part_estimate(const uint32_t *by_rank, unsigned rank_max, uint32_t m);
/* How many different values in the window of PART_RECENT as of a moment; exact up to DISTINCT_EXACT, from there with a standard error of 3.3 %. */
double part_recent(const struct past *p, const struct part_def *def, int64_t as_of);
/* How many different values since ever; exact up to DISTINCT_EXACT, from there an estimate with a standard error of 1.6 %. */
#define DISTINCT_EXACT 256
double part_distinct_ever(const struct past *p, const struct part_def *def);
/* The same of PART_COUNTS; exact up to WINDOW_EXACT, from there with a standard error of 0.6 % at most. */
#define WINDOW_EXACT 65536
double part_distinct(const struct past *p, const struct part_def *def);
/* The rank-th most frequent value, 1 the first; of equally frequent ones the smallest. NaN: there are fewer. Exact up to TOP_EXACT different values,
 * from there as heavy.c says. */
#define TOP_EXACT 4096
double part_top(const struct past *p, const struct part_def *def, unsigned rank);
/* The value below or at which a share of the values lies, to within 0.4 % of it. NaN: none. */
double part_quantile(const struct past *p, const struct part_def *def, double share);
/* 2^-x for x >= 0, by sums and products alone: the same bits on every machine. */
double half_to(double x);

#endif
