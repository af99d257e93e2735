/*
 * heavy: which of very many values are the most frequent, and how often about.
 *
 * A cell counts the events whose values fall into it, and for each bit of a value those that have it set. In each of ROWS rows a value falls into
 * one of WIDTH cells by its hash. A value that has five eighths of a cell's events is read from it bit by bit; none is
 * more frequent than the least count, over its cells and bits, of events that agree with it. An event that comes adds one, one that leaves
 * takes one off, so what is here depends on which values are there, not on how they came. (Cormode and Muthukrishnan 2003, group testing.)
 *
 * Error    what else lies in the least of a value's cells: more than e / WIDTH = 1.1 % of all events in one of e^ROWS = 55 cases.
 *          A value of less than about 2 / WIDTH = 0.8 % of all events may be missed.
 */
#include "feature/heavy.h"

#include <math.h>
#include <string.h>

#define ROWS 4
#define WIDTH 252
#define BITS 64
#define FRACTION_BITS 52

struct cell {
    uint32_t n, set[BITS];
};

typedef struct cell cells[ROWS][WIDTH];

size_t heavy_bytes(void)
{
    return sizeof(cells);
}

static struct cell *cell_of(cells *all, unsigned row, double v)
{
    uint64_t h = part_mix(part_hash(v) + row);

    return &(*all)[row][(h >> 32) * WIDTH >> 32];
}

void heavy_change(struct past *p, uint32_t place, double v, uint32_t by)
{
    uint64_t bits = part_bits(v);

    for (unsigned row = 0; row < ROWS; row++) {
        struct cell *c = cell_of(past_at(p, place), row, v);

        c->n += by;
        for (unsigned i = 0; i < BITS; i++)
            c->set[i] += by & -(uint32_t)(bits >> i & 1);
        past_dirty(p, (uint32_t)(((uint8_t *)c - p->base) / 8), sizeof(*c) + 8);
    }
}

/* The value that has five eighths of the cell's events, and at_least so many; NaN where there is none, which mostly the first bits of the fraction tell. */
static double read_cell(const struct cell *c, uint32_t at_least)
{
    uint32_t least = c->n - c->n / 8 * 3;
    uint64_t bits = 0;
    double v;

    least = least > at_least ? least : at_least;
    for (unsigned k = 0; k < BITS; k++) {
        unsigned i = (FRACTION_BITS - 1 - k) % BITS;
        bool is_set = c->set[i] > c->n / 2;

        if ((is_set ? c->set[i] : c->n - c->set[i]) < least)
            return NAN;
        bits |= (uint64_t)is_set << i;
    }
    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* No value is more frequent than this. */
static uint32_t most(cells *all, double v)
{
    uint64_t bits = part_bits(v);
    uint32_t least = UINT32_MAX;

    for (unsigned row = 0; row < ROWS; row++) {
        const struct cell *c = cell_of(all, row, v);

        for (unsigned i = 0; i < BITS; i++) {
            uint32_t n = bits >> i & 1 ? c->set[i] : c->n - c->set[i];

            least = n < least ? n : least;
        }
    }
    return least;
}

static bool is_before(const struct counted *a, const struct counted *b)
{
    return a->n > b->n || (a->n == b->n && a->v < b->v);
}

/* Keeps the best ones, in order, each once. */
static size_t put(struct counted *best, size_t n, size_t n_max, struct counted c)
{
    size_t at = n;

    for (size_t i = 0; i < n; i++)
        if (best[i].v == c.v)
            return n;
    while (at > 0 && is_before(&c, &best[at - 1]))
        at--;
    if (at == n_max)
        return n;
    n += n < n_max;
    memmove(&best[at + 1], &best[at], (n - at - 1) * sizeof(*best));
    best[at] = c;
    return n;
}

double heavy_top(const struct past *p, uint32_t place, unsigned rank)
{
    cells *all = past_at(p, place);
    struct counted best[HEAVY_RANK_MAX];
    size_t n = 0;

    for (unsigned row = 0; row < ROWS; row++)
        for (unsigned i = 0; i < WIDTH; i++) {
            const struct cell *c = &(*all)[row][i];
            double v = read_cell(c, n < rank ? 1 : (uint32_t)best[rank - 1].n);

            if (!isnan(v) && cell_of(all, row, v) == c)
                n = put(best, n, rank, (struct counted){v, most(all, v)});
        }
    return n < rank ? NAN : best[rank - 1].v;
}
