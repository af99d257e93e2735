/*
 * recent: how many different values a window has whose tail is kept as tiles of time (tiles.c), not as events.
 *
 * A value is in the window when the latest tile of its events is. What is kept:
 *   the DISTINCT_EXACT + 1 values whose latest tiles are the latest. While no more than DISTINCT_EXACT of them are in the window, those are all: exact;
 *   while that is one more, for each of 2^10 registers and each rank the latest tile of an event whose hash has them (HyperLogLog: the row of zeros that
 *   the hash begins with, plus one). A register counts as its greatest rank in the window; standard error 1.04 / sqrt(2^10) = 3.3 %.
 * A value that gives way to a later one has a tile no later than all that stay, so when one of these is out of the window it is too: what is
 * said depends on the events in the window, not on those before them, and the registers can go.
 */
#include "base/calendar.h"
#include "feature/parts.h"

#include <math.h>
#include <string.h>

#define REGISTER_BITS 10
#define REGISTERS ((uint32_t)1 << REGISTER_BITS)
#define RANK_MAX 31

struct recent {
    double v;
    int64_t tile;
};

/* [0]: the greatest rank ever; [rank]: the latest tile's number, as `stamp`; 0: none. */
typedef uint64_t registers[REGISTERS][RANK_MAX + 1];

static uint64_t stamp(int64_t tile)
{
    return (uint64_t)tile ^ (uint64_t)1 << 63;
}

static struct recent *values_of(const struct past *p, const struct part_recent *d)
{
    return past_at(p, d->run.place);
}

static void mark(struct past *p, const struct part_recent *d, uint32_t i)
{
    past_dirty(p, d->run.place + i * (uint32_t)(sizeof(struct recent) / 8), sizeof(struct recent));
}

/* Room for one more. */
static bool make_room(struct past *p, const struct part_def *def)
{
    struct part_recent *d = part_of(p, def), old = *d;
    unsigned order = old.run.place ? old.run.order + 1 : 0;
    uint32_t place;

    if (old.run.place && (old.n + 1) * sizeof(struct recent) <= run_bytes(p->plan, old.run.order))
        return true;
    place = past_take(p, order);
    if (place == 0)
        return false;
    d = part_of(p, def);
    d->run = (struct part_run){place, order};
    memcpy(past_at(p, place), past_at(p, old.run.place), old.n * sizeof(struct recent));
    past_give_run(p, &old.run);
    return true;
}

static void put_register(struct past *p, uint32_t run, double v, int64_t tile)
{
    uint64_t h = part_hash(v), rest = h << REGISTER_BITS, *r = (*(registers *)past_at(p, run))[h >> (64 - REGISTER_BITS)];
    unsigned rank = rest ? (unsigned)__builtin_clzll(rest) + 1 : RANK_MAX;

    rank = rank < RANK_MAX ? rank : RANK_MAX;
    r[0] = rank > r[0] ? rank : r[0];
    r[rank] = stamp(tile) > r[rank] ? stamp(tile) : r[rank];
    past_dirty(p, (uint32_t)(((uint8_t *)r - p->base) / 8), (RANK_MAX + 1) * sizeof(*r));
}

static void begin_registers(struct past *p, const struct part_def *def)
{
    unsigned order = run_order(p->plan, sizeof(registers));
    uint32_t place = past_take(p, order);
    struct part_recent *d = part_of(p, def);

    d->registers = (struct part_run){place, place ? order : 0};
    for (uint32_t i = 0; place && i < d->n; i++)
        put_register(p, place, values_of(p, d)[i].v, values_of(p, d)[i].tile);
}

static int64_t begins(const struct part_def *def, int64_t as_of)
{
    int64_t start;

    return floor_div(__builtin_sub_overflow(as_of, def->span_ms, &start) ? INT64_MIN : start, def->tile_ms);
}

/* Values that no window has any more which this event is in. */
static void purge(struct past *p, struct part_recent *d, int64_t from)
{
    struct recent *all = values_of(p, d);
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->n; i++)
        if (all[i].tile >= from)
            all[n++] = all[i];
    if (n < d->n)
        past_give_run(p, &d->registers);
    d->n = n;
    past_dirty(p, d->run.place, n * sizeof(*all));
}

/* Of the values that are kept that of the earliest tile gives way, if this one is no earlier. */
static void give_way(struct past *p, struct part_recent *d, double v, int64_t tile)
{
    struct recent *all = values_of(p, d);
    uint32_t least = 0;

    for (uint32_t i = 1; i < d->n; i++)
        least = all[i].tile < all[least].tile ? i : least;
    if (all[least].tile > tile)
        return;
    all[least] = (struct recent){v, tile};
    mark(p, d, least);
}

static void put_value(struct past *p, const struct part_def *def, double v, int64_t tile, int64_t from)
{
    struct part_recent *d = part_of(p, def);
    struct recent *all = values_of(p, d);

    for (uint32_t i = 0; i < d->n; i++)
        if (all[i].v == v) {
            all[i].tile = tile > all[i].tile ? tile : all[i].tile;
            mark(p, d, i);
            return;
        }
    if (d->n >= DISTINCT_EXACT)
        purge(p, d, from);
    if (d->n > DISTINCT_EXACT) {
        give_way(p, d, v, tile);
    } else if (make_room(p, def)) {
        d = part_of(p, def);
        values_of(p, d)[d->n] = (struct recent){v, tile};
        mark(p, d, d->n++);
        if (d->n > DISTINCT_EXACT)
            begin_registers(p, def);
    }
}

static void add(struct past *p, const struct part_def *def, const struct event *e)
{
    int64_t tile = part_tile_of(e->ms, def->tile_ms);
    const struct part_recent *d;

    if (isnan(e->v))
        return;
    put_value(p, def, e->v, tile, begins(def, e->ms));
    d = part_of(p, def);
    if (d->registers.place)
        put_register(p, d->registers.place, e->v, tile);
}

/* Into an empty one. */
static void merge(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base)
{
    const struct part_recent *f = part_of(from, base);

    *(struct part_recent *)part_of(p, def) = *f;
    part_move_runs(p, def, from, base);
}

/* The register's greatest rank in the window. */
static unsigned rank_of(const uint64_t *r, uint64_t from)
{
    unsigned rank = (unsigned)r[0];

    while (rank > 0 && r[rank] < from)
        rank--;
    return rank;
}

double part_recent(const struct past *p, const struct part_def *def, int64_t as_of)
{
    const struct part_recent *d = part_of(p, def);
    const struct recent *all = values_of(p, d);
    int64_t from = begins(def, as_of);
    uint32_t n = 0, by_rank[RANK_MAX + 1] = {0};

    for (uint32_t i = 0; i < d->n; i++)
        n += all[i].tile >= from;
    if (n <= DISTINCT_EXACT || d->registers.place == 0)
        return n;
    for (uint32_t i = 0; i < REGISTERS; i++)
        by_rank[rank_of((*(registers *)past_at(p, d->registers.place))[i], stamp(from))]++;
    return part_estimate(by_rank, RANK_MAX, REGISTERS);
}

static bool check(const struct past *p, const struct part_def *def)
{
    const struct part_recent *d = part_of(p, def);

    if (d->run.place ? d->n > run_bytes(p->plan, d->run.order) / sizeof(struct recent) : d->n != 0)
        return false;
    if (d->registers.place == 0)
        return true;
    if (d->registers.order != run_order(p->plan, sizeof(registers)))
        return false;
    for (uint32_t i = 0; i < REGISTERS; i++)
        if ((*(registers *)past_at(p, d->registers.place))[i][0] > RANK_MAX)
            return false;
    return true;
}

const struct part_kind PART_RECENT = {.name = "recent", .bytes = sizeof(struct part_recent), .item_bytes = sizeof(struct recent),
                                      .n_runs = 2, .run_at = {offsetof(struct part_recent, run), offsetof(struct part_recent, registers)},
                                      .item = "of the latest 257 values", .add = add, .merge = merge, .check = check};
