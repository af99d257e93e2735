/*
 * tiles: what is known of a window whose tail is kept as tiles of time, not as events.
 *
 * Tile i holds the events with times in (i * tile_ms, (i + 1) * tile_ms], as an inner part (a sum, a least value). The window as of t is
 * the tiles from floor((t - span_ms) / tile_ms) on: it begins at the last border at or before t - span_ms and holds every event from
 * there to its head. So a key has at most span_ms / tile_ms + 2 tiles however many events it has. The total over all tiles is kept; where
 * a part cannot take a tile out of it (the least, the greatest) and the one that goes held it, it is found anew among the others.
 */
#include "base/calendar.h"
#include "feature/parts.h"

#include <math.h>
#include <string.h>

struct tile {
    int64_t number;
    uint64_t inner[];
};

static size_t tile_bytes(const struct part_def *def)
{
    return sizeof(struct tile) + def->inner->bytes;
}

static struct tile *at(const struct past *p, const struct part_def *def, const struct part_tiles *t, uint32_t i)
{
    uint32_t cap = (uint32_t)(run_bytes(p->plan, t->run.order) / tile_bytes(def));

    i += t->first;
    return (struct tile *)(void *)((uint8_t *)past_at(p, t->run.place) + (i < cap ? i : i - cap) * tile_bytes(def));
}

int64_t part_tile_of(int64_t ms, int64_t tile_ms)
{
    return floor_div(ms, tile_ms) - (ms % tile_ms == 0);
}

static int64_t begins(const struct part_def *def, int64_t as_of)
{
    int64_t start;

    return floor_div(__builtin_sub_overflow(as_of, def->span_ms, &start) ? INT64_MIN : start, def->tile_ms);
}

/* Room for one more; the tiles then begin at the run's beginning. */
static bool make_room(struct past *p, const struct part_def *def)
{
    struct part_tiles *t = part_of(p, def), old = *t;
    unsigned order = old.run.place ? old.run.order + 1 : 0;
    uint32_t place;

    if (old.run.place && (old.n + 1) * tile_bytes(def) <= run_bytes(p->plan, old.run.order))
        return true;
    place = past_take(p, order);
    if (place == 0)
        return false;
    t = part_of(p, def);
    t->run = (struct part_run){place, order};
    t->first = 0;
    for (uint32_t i = 0; i < old.n; i++)
        memcpy(at(p, def, t, i), at(p, def, &old, i), tile_bytes(def));
    past_give_run(p, &old.run);
    return true;
}

static void mark(struct past *p, const struct part_def *def, const struct part_tiles *t, uint32_t from)
{
    for (; from < t->n; from++)
        past_dirty(p, (uint32_t)(((uint8_t *)at(p, def, t, from) - p->base) / 8), tile_bytes(def));
}

/* The event's tile, which may be a new one. Its index + 1; 0: no room. */
static uint32_t tile_for(struct past *p, const struct part_def *def, int64_t number)
{
    struct part_tiles *t = part_of(p, def);
    uint32_t i = t->n;

    while (i > 0 && at(p, def, t, i - 1)->number > number)
        i--;
    if (i > 0 && at(p, def, t, i - 1)->number == number)
        return i;
    if (!make_room(p, def))
        return 0;
    t = part_of(p, def);
    for (uint32_t k = t->n++; k > i; k--)
        memcpy(at(p, def, t, k), at(p, def, t, k - 1), tile_bytes(def));
    memset(at(p, def, t, i), 0, tile_bytes(def));
    at(p, def, t, i)->number = number;
    mark(p, def, t, i + 1);
    return i + 1;
}

static void add_to(struct past *p, const struct part_def *def, const void *inner, const struct event *e)
{
    struct part_def one = *def;

    one.at = (uint32_t)((const uint8_t *)inner - p->base);
    def->inner->add(p, &one, e);
}

static void add(struct past *p, const struct part_def *def, const struct event *e)
{
    const struct part_tiles *t = part_of(p, def);
    int64_t number = part_tile_of(e->ms, def->tile_ms);
    uint32_t i;

    if (number < t->from || isnan(e->v))
        return;
    i = tile_for(p, def, number);
    if (i == 0)
        return;
    t = part_of(p, def);
    add_to(p, def, at(p, def, t, i - 1)->inner, e);
    add_to(p, def, t->total, e);
    past_dirty(p, (uint32_t)(((uint8_t *)at(p, def, t, i - 1) - p->base) / 8), tile_bytes(def));
}

bool part_tiles_expire(struct past *p, const struct part_def *def, int64_t as_of)
{
    struct part_tiles *t = part_of(p, def);
    uint32_t cap, n = t->n;
    bool anew = false;

    t->from = begins(def, as_of) > t->from ? begins(def, as_of) : t->from;
    for (; t->n && at(p, def, t, 0)->number < t->from; t->n--) {
        if (def->inner->out)
            def->inner->out(t->total, at(p, def, t, 0)->inner);
        else
            anew = anew || memcmp(t->total, at(p, def, t, 0)->inner, def->inner->bytes) == 0;
        cap = (uint32_t)(run_bytes(p->plan, t->run.order) / tile_bytes(def));
        t->first = t->first + 1 < cap ? t->first + 1 : 0;
    }
    if (anew) {
        memset(t->total, 0, sizeof(t->total));
        for (uint32_t i = 0; i < t->n; i++)
            def->inner->in(t->total, at(p, def, t, i)->inner);
    }
    return t->n != n;
}

/* The total alone: of the tiles that the window reaches. */
static void merge(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base)
{
    const struct part_tiles *theirs = part_of(from, base);
    struct part_tiles *t = part_of(p, def);

    for (uint32_t i = 0; i < theirs->n; i++)
        if (at(from, base, theirs, i)->number >= t->from)
            def->inner->in(t->total, at(from, base, theirs, i)->inner);
}

static bool check(const struct past *p, const struct part_def *def)
{
    const struct part_tiles *t = part_of(p, def);
    size_t cap = run_bytes(p->plan, t->run.order) / tile_bytes(def);

    return t->run.place ? t->first < cap && t->n <= cap : t->n == 0;
}

/* Besides, each tile has its inner part. */
const struct part_kind PART_TILES = {.name = "tiles", .bytes = sizeof(struct part_tiles), .item_bytes = sizeof(struct tile), .item = "tile",
                                     .n_runs = 1, .run_at = {offsetof(struct part_tiles, run)},
                                     .add = add, .merge = merge, .check = check};
