/*
 * distinct: how many different values since ever: a table (counts.c) up to DISTINCT_EXACT of them, then 2^12 registers (HyperLogLog: the longest row of
 * zeros among the hashes of a register; standard error 1.04 / sqrt(2^12) = 1.6 %). It only takes in.
 */
#include "feature/parts.h"

#include <math.h>
#include <string.h>

#define REGISTER_BITS 12
#define REGISTERS ((uint32_t)1 << REGISTER_BITS)

static void registers_add(uint8_t *registers, double v)
{
    uint64_t h = part_hash(v);
    uint64_t rest = h << REGISTER_BITS;
    uint8_t rank = rest ? (uint8_t)(__builtin_clzll(rest) + 1) : 64 - REGISTER_BITS + 1;
    uint8_t *r = &registers[h >> (64 - REGISTER_BITS)];

    *r = rank > *r ? rank : *r;
}

static void to_sketch(struct past *p, const struct part_def *def)
{
    unsigned order = run_order(p->plan, REGISTERS);
    uint32_t place = past_take(p, order);
    struct part_distinct *d = part_of(p, def), old = *d;

    if (place == 0)
        return;
    for (uint32_t i = 0; i < table_slots(p, &old.table); i++) {
        const struct counted *s = (struct counted *)past_at(p, old.table.run.place) + i;

        if (s->n)
            registers_add(past_at(p, place), s->v);
    }
    *d = (struct part_distinct){{{place, order}, old.table.n}, 1};
    past_give_run(p, &old.table.run);
}

static void add(struct past *p, const struct part_def *def, const struct event *e)
{
    const struct part_distinct *d = part_of(p, def);

    if (isnan(e->v))
        return;
    if (!d->is_sketch) {
        table_add(p, def, e->v);
        d = part_of(p, def);
        if (d->table.n > DISTINCT_EXACT)
            to_sketch(p, def);
        return;
    }
    registers_add(past_at(p, d->table.run.place), e->v);
    past_dirty(p, d->table.run.place, REGISTERS);
}

static void merge(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base)
{
    const struct part_distinct was = *(const struct part_distinct *)part_of(from, base), *f = &was; /* which may move, where it is p's */
    const struct part_distinct *d = part_of(p, def);

    if (f->is_sketch && !d->is_sketch)
        to_sketch(p, def);
    d = part_of(p, def);
    for (uint32_t i = 0; f->is_sketch && i < REGISTERS; i++) {
        const uint8_t *theirs = past_at(from, f->table.run.place);
        uint8_t *ours = past_at(p, d->table.run.place);

        ours[i] = theirs[i] > ours[i] ? theirs[i] : ours[i];
    }
    for (uint32_t i = 0; !f->is_sketch && i < table_slots(from, &f->table); i++) {
        const struct counted *s = (struct counted *)past_at(from, f->table.run.place) + i;

        if (s->n)
            add(p, def, &(struct event){.v = s->v});
    }
}

/* by_rank: how many of m registers have each rank. */
double part_estimate(const uint32_t *by_rank, unsigned rank_max, uint32_t m)
{
    double sum = 0, estimate;

    for (unsigned rank = rank_max + 1; rank-- > 0;)
        sum += ldexp(by_rank[rank], -(int)rank);
    estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    if (estimate <= 2.5 * m && by_rank[0])
        estimate = m * log((double)m / by_rank[0]);
    return floor(estimate + 0.5);
}

double part_distinct_ever(const struct past *p, const struct part_def *def)
{
    const struct part_distinct *d = part_of(p, def);
    const uint8_t *registers = past_at(p, d->table.run.place);
    uint32_t by_rank[256] = {0};

    if (!d->is_sketch)
        return d->table.n;
    for (uint32_t i = 0; i < REGISTERS; i++)
        by_rank[registers[i]]++;
    return part_estimate(by_rank, 64, REGISTERS);
}

static bool check(const struct past *p, const struct part_def *def)
{
    const struct part_distinct *d = part_of(p, def);

    if (d->is_sketch == 0)
        return table_check(p, &d->table);
    return d->is_sketch == 1 && d->table.run.place && run_bytes(p->plan, d->table.run.order) >= REGISTERS;
}

const struct part_kind PART_DISTINCT = {.name = "distinct", .bytes = sizeof(struct part_distinct), .item_bytes = sizeof(struct counted),
                                        .item = "different value", .n_runs = 1, .run_at = {offsetof(struct part_distinct, table.run)},
                                        .add = add, .merge = merge, .check = check};
