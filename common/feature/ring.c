#include "feature/ring.h"

#include <string.h>

#include "feature/fields.h"
#include "feature/parts.h"

static int64_t minus(int64_t a, int64_t b)
{
    int64_t d;

    return __builtin_sub_overflow(a, b, &d) ? INT64_MIN : d;
}

/* Up to where a cursor by time has passed. */
static int64_t bound(const struct cursor_def *c, struct moments m)
{
    return minus(c->floor ? m.floor : m.as_of, c->ms);
}

static int32_t ahead(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static bool is_gap(int64_t later, int64_t earlier, int64_t gap)
{
    return (uint64_t)later - (uint64_t)earlier > (uint64_t)gap;
}

uint32_t ring_prev(const struct past *p, const struct ring_def *def, uint32_t row)
{
    uint32_t word = word_of(p, row), prev;

    if (word > 1)
        return row - def->row_words;
    prev = ((const struct page *)past_at(p, row - word))->prev;
    return prev ? prev + last_word(def) : 0;
}

static uint32_t before(const struct past *p, const struct ring_def *def, uint32_t row)
{
    return row ? ring_prev(p, def, row) : ring_of(p, def)->last_row;
}

static void take(struct past *p, const struct ring_def *def, int part, bool add, const struct event *e, const double *v)
{
    const struct part_def *d = &def->parts[part];
    struct event own = {e->ms, e->pos, d->value < 0 ? 0 : v[d->value]};

    if (add)
        d->kind->add(p, d, &own);
    else
        d->kind->evict(p, d, &own);
}

static void copy_values(const struct past *p, const struct ring_def *def, uint32_t row, double *v)
{
    const struct row *r = row_of(p, row);

    for (size_t i = 0; i < def->n_values; i++)
        v[i] = r->v[i];
}

/* The links' parts take in, or give up, the event that the cursor passes; turned: on its way back. */
static void run_links(struct past *p, const struct ring_def *def, int c, uint32_t row, uint32_t pos, bool turned)
{
    const struct cursor_def *d = &def->cursors[c];
    double v[VALUES_MAX];
    struct event e = {row_of(p, row)->ms, pos, 0};

    copy_values(p, def, row, v); /* a part may move the value */
    for (size_t i = 0; i < d->n_links; i++)
        take(p, def, d->links[i].part, d->links[i].add != turned, &e, v);
}

static void stand_at(struct past *p, const struct ring_def *def, int c, uint32_t row)
{
    struct cursor *s = cursor_of(p, def, c);

    s->next = row;
    s->ms = row ? row_of(p, row)->ms : INT64_MAX;
}

static void pass(struct past *p, const struct ring_def *def, int c)
{
    struct cursor *s = cursor_of(p, def, c);
    uint32_t row = s->next;

    if (def->cursors[c].n_links) {
        run_links(p, def, c, row, s->pos, false);
        s = cursor_of(p, def, c);
    }
    s->pos++;
    s->next = row = ring_next(p, def, row);
    s->ms = row ? row_of(p, row)->ms : INT64_MAX;
}

#define LEAVE_MIN 8 /* events: fewer are as soon taken out one by one */

/* A cursor that only takes events out and passes the newest leaves nothing behind: however many they are, none is looked at. */
static bool leave_all(struct past *p, const struct ring_def *def, int c, int64_t until)
{
    const struct cursor_def *d = &def->cursors[c];
    const struct ring *r = ring_of(p, def);

    if (r->end_pos - cursor_of(p, def, c)->pos < LEAVE_MIN || row_of(p, r->last_row)->ms > until)
        return false;
    for (size_t i = 0; i < d->n_links; i++)
        if (d->links[i].add)
            return false;
    for (size_t i = 0; i < d->n_links; i++) {
        const struct part_def *part = &def->parts[d->links[i].part];

        if (part->kind->item_bytes)
            part->kind->give_run(p, part);
        memset(part_of(p, part), 0, part->kind->bytes);
    }
    *cursor_of(p, def, c) = (struct cursor){INT64_MAX, r->end_pos, 0};
    return true;
}

/* Where the chain begins that ends at the head. Events before `known` were chained already. */
static uint32_t chain_begins(const struct past *p, const struct ring_def *def, int c, uint32_t known, int64_t until)
{
    const struct cursor *s = cursor_of(p, def, c), *h = cursor_of(p, def, def->cursors[c].head);
    uint32_t row = h->next, pos = h->pos;

    for (; pos != s->pos; pos--) {
        row = before(p, def, row);
        if (is_gap(until, row_of(p, row)->ms, def->cursors[c].ms))
            return pos;
        if (pos == known)
            break;
        until = row_of(p, row)->ms;
    }
    return s->pos;
}

bool ring_seek(struct past *p, const struct ring_def *def, struct moments m)
{
    uint32_t was[CURSORS_MAX];
    bool moved = false;

    for (size_t i = 0; i < def->n_tiled; i++) {
        const struct part_def *d = &def->parts[def->tiled[i]];

        moved |= part_tiles_expire(p, d, def->cursors[d->head].floor ? m.floor : m.as_of);
    }
    if (ring_of(p, def)->last_row == 0)
        return moved;
    for (size_t i = 0; i < def->n_by_time; i++) {
        int c = def->order[i];
        const struct cursor *s = cursor_of(p, def, c);
        int64_t until = bound(&def->cursors[c], m);

        was[c] = s->pos;
        if (s->ms > until)
            continue;
        if (s->next && !leave_all(p, def, c, until))
            for (; s->ms <= until && s->next; s = cursor_of(p, def, c))
                pass(p, def, c);
        moved |= cursor_of(p, def, c)->pos != was[c];
    }
    for (size_t i = def->n_by_time; i < def->n_cursors; i++) {
        int c = def->order[i];
        const struct cursor_def *d = &def->cursors[c];
        uint32_t begin = cursor_of(p, def, d->head)->pos - d->n;

        if (d->kind == CURSOR_GAP)
            begin = chain_begins(p, def, c, was[d->head], bound(&def->cursors[d->head], m));
        for (; ahead(begin, cursor_of(p, def, c)->pos) > 0; moved = true)
            pass(p, def, c);
    }
    return moved;
}

/* The row that a cursor will look at, and the next one. Behind a page lies mostly the one that was taken next. */
static void expect_row(const uint8_t *value, const struct plan *plan, const struct ring_def *def, uint32_t row)
{
    uint32_t word = (row - plan->head_bytes / 8) & (plan->page_bytes / 8 - 1);

    __builtin_prefetch(value + (size_t)row * 8);
    __builtin_prefetch(value + ((size_t)row + def->row_words) * 8);
    if (word >= last_word(def))
        __builtin_prefetch(value + (size_t)(row - word) * 8);
}

void ring_expect(const uint8_t *value, const struct plan *plan, const struct ring_def *def, int64_t as_of)
{
    const struct cursor *s = (const struct cursor *)(const void *)(value + def->cursors_at);
    uint32_t last = ((const struct ring *)(const void *)(value + def->at))->last_row;

    if (last == 0)
        return;
    expect_row(value, plan, def, last);
    for (size_t c = 0; c < def->n_cursors; c++)
        if (s[c].ms <= minus(as_of, def->cursors[c].ms))
            expect_row(value, plan, def, s[c].next);
    for (size_t i = 0; i < def->n_parts; i++)
        if (def->parts[i].kind->item_bytes && !def->parts[i].inner)
            __builtin_prefetch(value + (size_t)*(const uint32_t *)(const void *)(value + def->parts[i].at) * 8);
}

/* A free slot behind the newest row, which it then is. */
static uint32_t new_slot(struct past *p, const struct ring_def *def)
{
    struct ring *r = ring_of(p, def);
    uint32_t page;

    if (r->last_row && word_of(p, r->last_row) < last_word(def))
        return r->last_row += def->row_words;
    page = past_take(p, 0);
    if (page == 0)
        return 0;
    r = ring_of(p, def);
    ((struct page *)past_at(p, page))->prev = r->last;
    if (r->last) {
        ((struct page *)past_at(p, r->last))->next = page;
        past_dirty(p, r->last, sizeof(struct page));
    } else {
        r->first = page;
    }
    r->last = page;
    return r->last_row = page + 1;
}

/* Puts the row in place; those of later times move by one. Its position, or its place 0. */
static struct spot insert(struct past *p, const struct ring_def *def, int64_t ms, const double *v)
{
    struct spot s = {0, new_slot(p, def)};
    struct ring *r = ring_of(p, def);
    size_t bytes = def->row_words * 8;
    uint32_t prev;
    struct row *row;

    if (s.row == 0)
        return s;
    s.pos = r->end_pos++;
    while ((prev = ring_prev(p, def, s.row)) != 0 && row_of(p, prev)->ms > ms) {
        memcpy(row_of(p, s.row), row_of(p, prev), bytes);
        past_dirty(p, s.row, bytes);
        s.row = prev;
        s.pos--;
    }
    row = row_of(p, s.row);
    row->ms = ms;
    for (size_t i = 0; i + 1 < def->row_words; i++)
        row->v[i] = v[i];
    past_dirty(p, s.row, bytes);
    return s;
}

/* An event came in at s, and the cursor stands there or beyond: has it passed it? It stands where it stood among the others. */
static bool settle(struct past *p, const struct ring_def *def, int c, struct spot s, int64_t ms, struct moments m, const bool *passed)
{
    const struct cursor_def *d = &def->cursors[c];
    struct cursor *own = cursor_of(p, def, c);
    bool here = own->pos == s.pos, has = !here;

    if (here)
        has = d->kind == CURSOR_TIME ? ms <= bound(d, m) : d->kind == CURSOR_GAP && passed[d->head];
    if (has) {
        own->pos++;
        if (own->next)
            own->next = ring_next(p, def, own->next);
    } else {
        own->next = s.row;
        own->ms = ms;
    }
    return has;
}

/* A chain that the event has made longer at its beginning. */
static void reach_back(struct past *p, const struct ring_def *def, int c, struct moments m)
{
    const struct cursor_def *d = &def->cursors[c];

    for (;;) {
        const struct cursor *s = cursor_of(p, def, c), *h = cursor_of(p, def, d->head);
        int64_t until = s->pos == h->pos ? bound(&def->cursors[d->head], m) : s->ms;
        uint32_t row = before(p, def, s->next);

        if (row == 0 || is_gap(until, row_of(p, row)->ms, d->ms))
            return;
        cursor_of(p, def, c)->pos--;
        stand_at(p, def, c, row);
        run_links(p, def, c, row, cursor_of(p, def, c)->pos, /* turned= */ true);
    }
}

/* A part that must see its events in order sees those since the floor again. */
static void again(struct past *p, const struct ring_def *def, const struct part_def *d)
{
    const struct part_def *base = &def->parts[d->base];
    struct spot s = ring_spot(p, def, base->head);

    memcpy(part_of(p, d), part_of(p, base), d->kind->bytes);
    for (; s.pos != cursor_of(p, def, d->head)->pos; s.pos++) {
        double v[VALUES_MAX];
        struct event e = {row_of(p, s.row)->ms, s.pos, 0};

        copy_values(p, def, s.row, v);
        take(p, def, (int)(d - def->parts), true, &e, v);
        s.row = ring_next(p, def, s.row);
    }
}

void ring_put(struct past *p, const struct ring_def *def, struct moments m, int64_t ms, const double *v)
{
    bool passed[CURSORS_MAX], at_end;
    struct spot s = insert(p, def, ms, v);
    struct event e = {ms, s.pos, 0};

    if (s.row == 0)
        return;
    at_end = s.row == ring_of(p, def)->last_row;
    for (size_t i = 0; i < def->n_cursors; i++) {
        int c = def->order[i];

        passed[c] = ahead(cursor_of(p, def, c)->pos, s.pos) >= 0 && settle(p, def, c, s, ms, m, passed);
    }
    for (size_t i = 0; i < def->n_parts; i++) {
        const struct part_def *d = &def->parts[i];

        if (!at_end && d->kind->shift)
            d->kind->shift(p, d, s.pos);
        if (!passed[d->head] || (d->tail >= 0 && passed[d->tail]))
            continue;
        if (d->kind->is_ordered && d->base >= 0 && ahead(cursor_of(p, def, d->head)->pos, s.pos) > 1)
            again(p, def, d);
        else
            take(p, def, (int)i, true, &e, v);
    }
    for (size_t i = def->n_by_time; i < def->n_cursors; i++) {
        int c = def->order[i];
        const struct cursor_def *d = &def->cursors[c];

        if (d->kind == CURSOR_LAST)
            while (ahead(cursor_of(p, def, d->head)->pos, cursor_of(p, def, c)->pos) > (int32_t)d->n)
                pass(p, def, c);
        else if (d->kind == CURSOR_GAP && passed[c] && cursor_of(p, def, c)->pos == s.pos + 1)
            reach_back(p, def, c, m);
    }
}

/* The fields of rows behind all cursors, whose page may stay for a while. */
static void give_fields(struct past *p, const struct ring_def *def)
{
    const struct ring *r = ring_of(p, def);
    uint32_t n = r->end_pos - r->first_pos, row = n ? r->first + 1 : 0;

    for (size_t c = 0; c < def->n_cursors; c++)
        if (cursor_of(p, def, (int)c)->pos - r->first_pos < n)
            n = cursor_of(p, def, (int)c)->pos - r->first_pos;
    for (; n > 0; n--, row = ring_next(p, def, row)) {
        double *place = &row_of(p, row)->v[def->n_values];

        if (*place == 0)
            continue;
        fields_give(p, (uint32_t)*place);
        *place = 0;
        past_dirty(p, row, def->row_words * 8);
    }
}

void ring_trim(struct past *p, const struct ring_def *def)
{
    if (def->n_fields)
        give_fields(p, def);
    for (;;) {
        struct ring *r = ring_of(p, def);
        uint32_t page = r->first;

        if (page == 0 || (page == r->last && word_of(p, r->last_row) < last_word(def)))
            return;
        for (size_t c = def->n_cursors; c-- > 0;) /* the slowest is the last */
            if (ahead(cursor_of(p, def, (int)c)->pos, r->first_pos) < (int32_t)def->rows_per_page)
                return;
        if (page == r->last) {
            *r = (struct ring){.first_pos = r->end_pos, .end_pos = r->end_pos};
            past_give(p, page, 0);
            return;
        }
        r->first = ((const struct page *)past_at(p, page))->next;
        r->first_pos += def->rows_per_page;
        ((struct page *)past_at(p, r->first))->prev = 0;
        past_dirty(p, r->first, sizeof(struct page));
        past_give(p, page, 0);
    }
}

struct spot ring_back(const struct past *p, const struct ring_def *def, int c, int64_t as_of, const struct spot *spots)
{
    const struct cursor_def *d = &def->cursors[c];
    struct spot s = d->kind == CURSOR_GAP ? spots[d->head] : ring_spot(p, def, c);
    int64_t until = d->kind == CURSOR_TIME ? minus(as_of, d->ms) : d->kind == CURSOR_GAP ? minus(as_of, def->cursors[d->head].ms) : 0;

    for (uint32_t row = before(p, def, s.row); row != 0; row = before(p, def, row)) {
        int64_t ms = row_of(p, row)->ms;

        if (d->kind == CURSOR_TIME ? ms <= until
            : d->kind == CURSOR_LAST ? ahead(spots[d->head].pos, s.pos) >= (int32_t)d->n
                                     : is_gap(until, ms, d->ms))
            return s;
        until = d->kind == CURSOR_GAP ? ms : until;
        s = (struct spot){s.pos - 1, row};
    }
    return s;
}
