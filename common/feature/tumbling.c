/* common/feature/tumbling.c */
/*
 * A key's value: struct series, then n_windows slots, each struct slot and the parts of all rings, sorted by time. There is a slot
 * for each window with an event that may still change.
 */
#include "feature/tumbling.h"

#include <math.h>
#include <string.h>

#include "feature/features_made.h"

#define AHEAD 8 /* keys whose memory is asked for ahead */

struct tumbling {
    struct tumbling_def def;
    struct borders borders;
    uint32_t slot_bytes;
    struct slot *empty; /* a window without events */
    const double *fill; /* by value; NaN: none */
};

struct series {
    int64_t before_ms; /* the last event of windows that have no slot any more; INT64_MIN: none */
    uint64_t n_windows;
};

struct slot {
    struct period window;
    int64_t last_ms; /* of its events */
    int64_t revision;
    uint64_t parts[];
};

/* ---- from definitions ---- */

static const struct part_kind *const *kinds_of(const struct aggregate *a)
{
    return a->closed[0] ? a->closed : a->ever[0] ? a->ever : a->parts;
}

bool tumbling_takes(const struct aggregate *a)
{
    const struct part_kind *const *kinds = kinds_of(a);

    return kinds[0] && !kinds[0]->item_bytes && !kinds[0]->is_ordered && !a->others;
}

size_t tumbling_key_bytes(void)
{
    return sizeof(struct series);
}

size_t tumbling_window_bytes(void)
{
    return sizeof(struct slot);
}

static uint32_t slot_part_bytes(const struct part_kind *kind)
{
    return (uint32_t)(kind->bytes + 7) & ~7u;
}

size_t tumbling_value_bytes(const struct aggregate *a)
{
    size_t n = 0;

    for (int i = 0; i < 2 && kinds_of(a)[i]; i++)
        n += slot_part_bytes(kinds_of(a)[i]);
    return n;
}

static enum status add_value(struct features *f, const struct feature_def *d, struct error *err)
{
    struct part_def part = {.kind = &PART_EVENTS, .value = -1, .head = -1, .tail = -1, .base = -1, .factor = 1};
    struct found_aggregate found;
    struct made *m;

    if (features_find_aggregate(f, d, &found, err) != OK)
        return err->status;
    if (!tumbling_takes(found.aggregate))
        return err_set(err, ERR_FATAL, "feature '%s': %s has no meaning in a tumbling window", d->name, d->aggregate);
    m = features_add_made(f, d->name, NULL, found.aggregate->type);
    m->aggregate = found.aggregate;
    m->value = found.value;
    m->window = (struct window){.kind = WINDOW_EVER, .ring = found.ring, .head = -1, .tail = -1};
    m->parts[0] = m->parts[1] = -1;
    (void)plan_part(&f->plan, found.ring, part); /* the first of each ring: whether there was an event */
    part.value = found.value;
    part.factor = found.value < 0 ? 1 : f->plan.rings[found.ring].values[found.value].factor;
    for (int i = 0; i < 2 && kinds_of(m->aggregate)[i]; i++) {
        part.kind = kinds_of(m->aggregate)[i];
        if ((m->parts[i] = plan_part(&f->plan, found.ring, part)) < 0)
            return err_set(err, ERR_FATAL, "feature '%s': more than %d aggregates over one condition", d->name, PARTS_MAX);
    }
    return OK;
}

/* Where the parts lie in a slot. */
static void lay_out(struct features *f)
{
    struct tumbling *t = f->tumbling;
    uint32_t at = sizeof(struct slot);

    for (size_t i = 0; i < f->plan.n_rings; i++)
        for (size_t k = 0; k < f->plan.rings[i].n_parts; k++) {
            f->plan.rings[i].parts[k].at = at;
            at += slot_part_bytes(f->plan.rings[i].parts[k].kind);
        }
    t->slot_bytes = at;
    t->empty = arena_zalloc(&f->arena, at);
}

static enum status set_borders(struct features *f, const struct tumbling_def *def, struct bytes *ret_head, struct error *err)
{
    struct tumbling *t = f->tumbling = arena_zalloc(&f->arena, sizeof(*t));
    const char *version = NULL;

    t->def = *def;
    t->borders.every_ms = def->every_ms;
    if (def->zone && (zone_load(def->zone, &f->arena, &t->borders.zone, err) != OK || zone_version(&f->arena, &version, err) != OK))
        return err->status;
    bytes_printf(ret_head, "tumbling %lld %s %s allowed %lld fill for %lld\n", (long long)def->every_ms, def->zone ? def->zone : "",
                 version ? version : "", (long long)def->allowed_ms, (long long)def->fill_for_ms);
    return OK;
}

enum status tumbling_new(const struct feature_input *input, const struct tumbling_def *def, const struct feature_def *defs,
                         size_t n_defs, struct features **ret_features, struct error *err)
{
    struct features *f = features_begin(input, 1, 0);
    double *fill = arena_alloc(&f->arena, (n_defs + 1) * sizeof(*fill));
    struct bytes head = BYTES_EMPTY;
    enum status st = set_borders(f, def, &head, err);

    for (size_t i = 0; i < n_defs && st == OK; i++) {
        st = add_value(f, &defs[i], err);
        fill[i] = defs[i].has_fill ? defs[i].fill : NAN;
    }
    if (st == OK) {
        lay_out(f);
        f->tumbling->fill = fill;
        bytes_append(&head, "", 1);
        features_set_fingerprint(f, (const char *)head.data, defs, n_defs);
        *ret_features = f;
    } else {
        features_free(f);
    }
    bytes_done(&head);
    return st;
}

/* ---- a key's windows ---- */

static struct slot *slot_at(const struct features *f, struct series *s, uint64_t i)
{
    return (struct slot *)(void *)((uint8_t *)(s + 1) + i * f->tumbling->slot_bytes);
}

/* The slot of the window, or the first behind it. */
static uint64_t place_of(const struct features *f, struct series *s, int64_t start)
{
    uint64_t i = s->n_windows;

    while (i > 0 && slot_at(f, s, i - 1)->window.start >= start)
        i--;
    return i;
}

static bool holds(const struct features *f, struct series *s, uint64_t place, int64_t start)
{
    return place < s->n_windows && slot_at(f, s, place)->window.start == start;
}

/* Whether a window whose place it is comes out: it has events, or follows some and is to be filled. */
static bool comes_out(const struct features *f, struct series *s, uint64_t place, int64_t start)
{
    int64_t last = place > 0 ? slot_at(f, s, place - 1)->last_ms : s->before_ms;

    if (holds(f, s, place, start))
        return true;
    return last != INT64_MIN && start - last <= f->tumbling->def.fill_for_ms;
}

static void put_values(const struct features *f, struct slot *slot, double *v)
{
    struct past past = {.plan = &f->plan, .base = (uint8_t *)slot};
    struct question q = {.window = {.kind = WINDOW_EVER, .tail = -1}};
    struct asked a = {.past = &past, .of = &q};

    for (size_t i = 0; i < f->n_made; i++) {
        const struct made *m = &f->made[i];
        const struct ring_def *ring = &f->plan.rings[m->window.ring];
        const struct part_events *events = part_of(&past, &ring->parts[0]);

        q.parts[0] = &ring->parts[m->parts[0]];
        q.parts[1] = m->parts[1] < 0 ? NULL : &ring->parts[m->parts[1]];
        v[i] = events->n == 0 && !isnan(f->tumbling->fill[i]) ? f->tumbling->fill[i] : m->aggregate->value(&a);
    }
}

static struct window_row *add_row(struct window_rows *rows, struct view key, uint32_t parent, struct period window, int32_t revision)
{
    if (rows->n == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 64;
        struct window_row *more = arena_alloc(rows->arena, cap * sizeof(*more));

        if (rows->n)
            memcpy(more, rows->rows, rows->n * sizeof(*more));
        rows->rows = more;
        rows->cap = cap;
    }
    rows->rows[rows->n] = (struct window_row){.key = key, .parent = parent, .revision = revision, .window = window};
    return &rows->rows[rows->n++];
}

static void row_values(const struct features *f, struct window_rows *rows, struct window_row *row, struct slot *slot)
{
    double *v = arena_alloc(rows->arena, f->n_made * sizeof(*v));

    put_values(f, slot, v);
    row->v = v;
}

/* ---- events ---- */

struct taking {
    const struct features *f;
    struct state *state;
    struct window_rows *rows;
    struct col *values[RINGS_MAX], where[RINGS_MAX];
    double *v[RINGS_MAX]; /* of the event in hand */
    bool takes[RINGS_MAX];
    int64_t commit;
};

/* Expressions over the batch. */
static enum status begin_taking(struct taking *t, const struct batch *in, struct error *err)
{
    for (size_t i = 0; i < t->f->plan.n_rings; i++) {
        const struct ring_def *def = &t->f->plan.rings[i];

        t->values[i] = arena_alloc(in->arena, (def->n_values + 1) * sizeof(**t->values));
        t->v[i] = arena_alloc(in->arena, (def->n_values + 1) * sizeof(**t->v));
        for (size_t v = 0; v < def->n_values; v++)
            if (expr_eval(def->values[v].expr, in, &t->values[i][v], err) != OK)
                return err->status;
        if (def->where && expr_eval(def->where, in, &t->where[i], err) != OK)
            return err->status;
    }
    return OK;
}

/* What the event is for each ring; *ret_any: some ring takes it. NULL, or why it cannot be taken. */
static const char *look_at(struct taking *t, size_t r, bool *ret_any)
{
    *ret_any = false;
    for (size_t i = 0; i < t->f->plan.n_rings; i++) {
        const struct ring_def *def = &t->f->plan.rings[i];

        t->takes[i] = def->where == NULL || (!t->where[i].null[r] && t->where[i].i64[r]);
        *ret_any |= t->takes[i];
        for (size_t k = 0; k < def->n_values; k++)
            if (!features_value(&def->values[k], &t->values[i][k], r, &t->v[i][k]))
                return arena_printf(t->rows->arena, "range: '%s' is not finite, or too large to be summed exactly", def->values[k].text);
    }
    return NULL;
}

static struct series *series_of(const struct entry *e)
{
    return (struct series *)(void *)e->value;
}

/* NULL: there is no memory for it. */
static struct entry *open_series(struct taking *t, struct view key, struct error *err)
{
    struct entry *e = state_get(t->state, key, err);

    if (e == NULL || e->n_bytes)
        return e;
    if (state_resize(t->state, e, sizeof(struct series), err) != OK)
        return NULL;
    series_of(e)->before_ms = INT64_MIN;
    return e;
}

static bool is_time(int64_t ms)
{
    return ms > INT64_MIN / 4 && ms < INT64_MAX / 4;
}

enum status tumbling_check(const struct features *f, struct view value, struct error *err)
{
    struct series *s = (struct series *)(uintptr_t)value.data;
    const struct slot *last = NULL;

    if (value.n == 0)
        return OK; /* made, and not begun */
    if (value.n < sizeof(*s) || s->n_windows > (value.n - sizeof(*s)) / f->tumbling->slot_bytes)
        return err_set(err, ERR_FATAL, "a key's value of %zu bytes has not all of its windows", value.n);
    if (s->before_ms != INT64_MIN && !is_time(s->before_ms))
        return err_set(err, ERR_FATAL, "a key's last event is at no time");
    for (uint64_t i = 0; i < s->n_windows; i++) {
        const struct slot *slot = slot_at(f, s, i);

        if (!is_time(slot->window.start) || !is_time(slot->window.end) || !is_time(slot->last_ms) ||
            slot->window.start >= slot->window.end || (last && last->window.start >= slot->window.start))
            return err_set(err, ERR_FATAL, "a key's windows are not in order");
        last = slot;
    }
    return OK;
}

/* Windows that no event can change any more leave. */
static void trim(const struct features *f, struct series *s, int64_t at)
{
    uint64_t n = 0;

    for (; n < s->n_windows && slot_at(f, s, n)->window.end + f->tumbling->def.allowed_ms <= at; n++)
        s->before_ms = slot_at(f, s, n)->last_ms;
    s->n_windows -= n;
    memmove(slot_at(f, s, 0), slot_at(f, s, n), s->n_windows * f->tumbling->slot_bytes);
}

/* The slot of the window, made when there is none; NULL: there is no memory for it. */
static struct slot *slot_for(struct taking *t, struct entry *e, uint64_t place, struct period window, struct error *err)
{
    const struct features *f = t->f;
    bool is_new = !holds(f, series_of(e), place, window.start);
    uint64_t n = series_of(e)->n_windows + is_new;
    struct series *s;

    if (state_resize(t->state, e, sizeof(*s) + n * f->tumbling->slot_bytes, err) != OK) /* trimmed ones leave too */
        return NULL;
    s = series_of(e);
    if (!is_new)
        return slot_at(f, s, place);
    memmove(slot_at(f, s, place + 1), slot_at(f, s, place), (s->n_windows - place) * f->tumbling->slot_bytes);
    s->n_windows = n;
    memset(slot_at(f, s, place), 0, f->tumbling->slot_bytes);
    slot_at(f, s, place)->window = window;
    slot_at(f, s, place)->last_ms = INT64_MIN;
    return slot_at(f, s, place);
}

static void add_event(const struct taking *t, struct slot *slot, int64_t event_ms)
{
    struct past past = {.plan = &t->f->plan, .base = (uint8_t *)slot};

    for (size_t i = 0; i < t->f->plan.n_rings; i++) {
        const struct ring_def *def = &t->f->plan.rings[i];

        for (size_t k = 0; t->takes[i] && k < def->n_parts; k++) {
            const struct part_def *part = &def->parts[k];
            struct event e = {event_ms, 0, part->value < 0 ? 0 : t->v[i][part->value]};

            part->kind->add(&past, part, &e);
        }
    }
    if (event_ms > slot->last_ms)
        slot->last_ms = event_ms;
}

/* Closed windows behind that of an event that come into being by it. */
static void add_followers(const struct taking *t, struct series *s, struct view key, uint32_t r, struct period window, int64_t event_ms,
                          int64_t at)
{
    const struct features *f = t->f;

    for (;;) {
        window = borders_find(&f->tumbling->borders, window.end);
        if (window.end > at || window.start - event_ms > f->tumbling->def.fill_for_ms)
            return;
        if (!comes_out(f, s, place_of(f, s, window.start), window.start))
            row_values(f, t->rows, add_row(t->rows, key, r, window, 0), f->tumbling->empty);
    }
}

static enum status take_event(struct taking *t, struct view key, uint32_t r, struct period window, int64_t event_ms, int64_t at,
                              struct error *err)
{
    const struct features *f = t->f;
    bool is_closed = window.end <= at;
    size_t first = t->rows->n;
    struct entry *e = open_series(t, key, err);
    struct series *series;
    struct slot *slot;
    bool was_out;
    uint64_t place;

    if (e == NULL)
        return ERR_FATAL;
    series = series_of(e);
    trim(f, series, at);
    place = place_of(f, series, window.start);
    was_out = is_closed && comes_out(f, series, place, window.start);
    if (is_closed) {
        (void)add_row(t->rows, key, r, window, 0);
        add_followers(t, series, key, r, window, event_ms, at);
    }
    slot = slot_for(t, e, place, window, err);
    if (slot == NULL)
        return ERR_FATAL;
    slot->revision += was_out;
    add_event(t, slot, event_ms);
    if (is_closed) {
        t->rows->rows[first].revision = (int32_t)slot->revision;
        row_values(f, t->rows, &t->rows->rows[first], slot);
    }
    state_dirty(t->state, e, 0, e->n_bytes, t->commit);
    return OK;
}

enum status tumbling_apply(const struct features *f, struct state *s, struct batch *in, const struct view *keys,
                           const int64_t *event_ms, const int64_t *at, const char **bad, int64_t commit,
                           struct window_rows *ret_rows, struct error *err)
{
    struct taking t = {.f = f, .state = s, .rows = ret_rows, .commit = commit};
    struct period window = {0, 0};
    bool any;

    if (begin_taking(&t, in, err) != OK)
        return err->status;
    for (size_t r = 0; r < in->n_rows; r++) {
        if (bad[r] || (bad[r] = look_at(&t, r, &any)) != NULL || !any)
            continue;
        if (event_ms[r] < window.start || event_ms[r] >= window.end)
            window = borders_find(&f->tumbling->borders, event_ms[r]);
        if (window.end <= at[r] && at[r] - window.end >= f->tumbling->def.allowed_ms)
            bad[r] = arena_printf(in->arena, "late: its window ended %lld ms before; allowed allows less than %lld",
                                  (long long)(at[r] - window.end), (long long)f->tumbling->def.allowed_ms);
        else if (take_event(&t, keys[r], (uint32_t)r, window, event_ms[r], at[r], err) != OK)
            return err->status;
    }
    return OK;
}

/* ---- closing ---- */

int64_t tumbling_next(const struct features *f, int64_t after_ms)
{
    return borders_find(&f->tumbling->borders, after_ms).end;
}

bool tumbling_close(const struct features *f, struct state *s, int64_t end_ms, size_t n, size_t *from, struct window_rows *ret_rows)
{
    struct period window = borders_find(&f->tumbling->borders, end_ms - 1);
    struct entry *const *entries;
    size_t n_keys;

    entries = state_in_order(s, &n_keys);
    for (; n > 0 && *from < n_keys; ++*from, n--) {
        struct series *series = series_of(entries[*from]);
        uint64_t place;

        if (*from + AHEAD < n_keys)
            __builtin_prefetch(entries[*from + AHEAD]->value);
        place = place_of(f, series, window.start);
        if (!comes_out(f, series, place, window.start))
            continue;
        if (holds(f, series, place, window.start))
            row_values(f, ret_rows, add_row(ret_rows, entries[*from]->key, 0, window, (int32_t)slot_at(f, series, place)->revision),
                       slot_at(f, series, place));
        else
            row_values(f, ret_rows, add_row(ret_rows, entries[*from]->key, 0, window, 0), f->tumbling->empty);
    }
    return *from >= n_keys;
}
