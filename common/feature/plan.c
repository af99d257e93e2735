#include "feature/plan.h"

#include <string.h>

#include "feature/fields.h"
#include "feature/parts.h"
#include "feature/ring.h"

/* The items, with room for one more: twice as many when they are a power of two. */
static void *with_room(struct plan *p, const void *items, size_t n, size_t size)
{
    void *more;

    if (n & (n - 1))
        return (void *)(uintptr_t)items;
    more = arena_alloc(p->arena, (n ? 2 * n : 1) * size);
    return n ? memcpy(more, items, n * size) : more;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int plan_ring(struct plan *p, size_t input, struct expr *where, const char *where_text, struct expr *valid, const char *valid_text)
{
    for (size_t i = 0; i <= p->n_rings; i++) {
        const struct ring_def *r = &p->rings[i];

        if (i == RINGS_MAX || (i < p->n_rings && r->input == input && is_same(r->where_text, where_text) && is_same(r->valid_text, valid_text))) {
            expr_free(where);
            expr_free(valid);
            return i == RINGS_MAX ? -1 : (int)i;
        }
    }
    p->rings[p->n_rings] = (struct ring_def){.input = input, .where = where, .where_text = where_text, .valid = valid, .valid_text = valid_text};
    return (int)p->n_rings++;
}

int plan_value(struct plan *p, int ring, struct expr *e, const char *text, double factor, bool is_text)
{
    struct ring_def *r = &p->rings[ring];

    for (size_t i = 0; i < r->n_values; i++)
        if (strcmp(r->values[i].text, text) == 0) {
            expr_free(e);
            return (int)i;
        }
    if (r->n_values == VALUES_MAX) {
        expr_free(e);
        return -1;
    }
    r->values = with_room(p, r->values, r->n_values, sizeof(*r->values));
    r->values[r->n_values] = (struct value){e, text, factor, is_text};
    return (int)r->n_values++;
}

int plan_cursor(struct plan *p, int ring, struct cursor_def c)
{
    struct ring_def *r = &p->rings[ring];

    for (size_t i = 0; i < r->n_cursors; i++) {
        const struct cursor_def *o = &r->cursors[i];

        if (o->kind == c.kind && o->floor == c.floor && o->head == c.head && o->ms == c.ms && o->n == c.n)
            return (int)i;
    }
    if (r->n_cursors == CURSORS_MAX - 1) /* one is kept for the floor of all */
        return -1;
    if (c.kind == CURSOR_TIME && c.ms > r->horizon_ms)
        r->horizon_ms = c.ms;
    r->keeps_all = r->keeps_all || c.kind == CURSOR_LAST;
    r->cursors = with_room(p, r->cursors, r->n_cursors, sizeof(c));
    r->cursors[r->n_cursors] = c;
    return (int)r->n_cursors++;
}

int plan_part(struct plan *p, int ring, struct part_def part)
{
    struct ring_def *r = &p->rings[ring];

    for (size_t i = 0; i < r->n_parts; i++) {
        const struct part_def *o = &r->parts[i];

        if (o->kind == part.kind && o->value == part.value && o->head == part.head && o->tail == part.tail &&
            o->base == part.base && o->parameter == part.parameter && o->inner == part.inner && o->tile_ms == part.tile_ms &&
            o->span_ms == part.span_ms)
            return (int)i;
    }
    if (r->n_parts == PARTS_MAX)
        return -1;
    r->keeps_all = r->keeps_all || part.tail < 0;
    r->parts = with_room(p, r->parts, r->n_parts, sizeof(part));
    r->parts[r->n_parts] = part;
    if (part.inner)
        r->tiled[r->n_tiled++] = (uint8_t)r->n_parts;
    if (part.kind->fall)
        r->sampled[r->n_sampled++] = (uint8_t)r->n_parts;
    if (part.kind->n_runs)
        r->far[r->n_far++] = (uint8_t)r->n_parts;
    return (int)r->n_parts++;
}

int plan_field(struct plan *p, int ring, const struct feature_col *col, struct arena *arena)
{
    struct ring_def *r = &p->rings[ring];
    struct feature_col *more;

    for (size_t i = 0; i < r->n_fields; i++)
        if (strcmp(r->fields[i].name, col->name) == 0)
            return (int)i;
    if (r->n_fields == FIELDS_MAX)
        return -1;
    more = arena_alloc(arena, (r->n_fields + 1) * sizeof(*more));
    if (r->n_fields)
        memcpy(more, r->fields, r->n_fields * sizeof(*more));
    more[r->n_fields] = *col;
    r->fields = more;
    return (int)r->n_fields++;
}

/* Cursors by time, shorter offsets first, then those that follow them. */
static void put_in_order(struct ring_def *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_cursors; i++) {
        size_t k = n;

        if (r->cursors[i].kind != CURSOR_TIME)
            continue;
        for (; k > 0 && r->cursors[r->order[k - 1]].ms > r->cursors[i].ms; k--)
            r->order[k] = r->order[k - 1];
        r->order[k] = (uint8_t)i;
        n++;
    }
    r->n_by_time = n;
    for (size_t i = 0; i < r->n_cursors; i++)
        if (r->cursors[i].kind != CURSOR_TIME)
            r->order[n++] = (uint8_t)i;
}

static void link_parts(struct ring_def *r, struct arena *arena)
{
    for (size_t c = 0; c < r->n_cursors; c++) {
        struct cursor_def *d = &r->cursors[c];

        d->links = arena_alloc(arena, (r->n_parts + 1) * sizeof(*d->links));
        for (size_t i = 0; i < r->n_parts; i++) {
            if (r->parts[i].head == (int)c)
                d->links[d->n_links++] = (struct link){(uint16_t)i, true};
            if (r->parts[i].tail == (int)c)
                d->links[d->n_links++] = (struct link){(uint16_t)i, false};
        }
    }
}

/* Once it has its place in the value. */
static void list_by_time(struct ring_def *r, struct arena *arena)
{
    r->by_time = arena_alloc(arena, r->n_by_time * sizeof(*r->by_time));
    for (size_t i = 0; i < r->n_by_time; i++) {
        const struct cursor_def *d = &r->cursors[r->order[i]];

        r->by_time[i] = (struct time_cursor){d->ms, r->cursors_at + r->order[i] * (uint32_t)sizeof(struct cursor), r->order[i], d->floor};
    }
}

static uint32_t take_bytes(uint32_t *at, size_t n)
{
    uint32_t was = *at;

    *at += (uint32_t)((n + 7) / 8 * 8);
    return was;
}

/* A page holds seven rows at least: then what links it is little beside them. */
static void size_rows(struct plan *p)
{
    p->page_bytes = 128;
    for (size_t i = 0; i < p->n_rings; i++) {
        struct ring_def *r = &p->rings[i];

        r->row_words = 1 + (uint32_t)r->n_values + (r->n_fields ? 1 : 0) + (r->valid ? 1 : 0);
        while (p->page_bytes < sizeof(struct page) + 7 * r->row_words * 8)
            p->page_bytes *= 2;
    }
    for (size_t i = 0; i < p->n_rings; i++) {
        struct ring_def *r = &p->rings[i];

        r->rows_per_page = (uint32_t)((p->page_bytes - sizeof(struct page)) / (r->row_words * 8));
        r->last_word = 1 + (r->rows_per_page - 1) * r->row_words;
    }
}

void plan_layout(struct plan *p, struct arena *arena)
{
    struct past_head *head;
    uint32_t at;

    p->n_orders = 1;
    for (size_t i = 0; i < p->n_rings; i++) {
        if (p->rings[i].n_fields && p->n_orders < FIELDS_ORDERS)
            p->n_orders = FIELDS_ORDERS;
        for (size_t k = 0; k < p->rings[i].n_parts; k++)
            if (p->rings[i].parts[k].kind->n_runs)
                p->n_orders = ORDERS_MAX;
    }
    at = past_head_bytes(p->n_orders);
    for (size_t i = 0; i < p->n_rings; i++) {
        struct ring_def *r = &p->rings[i];

        r->cursors = with_room(p, r->cursors, r->n_cursors, sizeof(*r->cursors));
        r->cursors[r->n_cursors++] = (struct cursor_def){.kind = CURSOR_TIME, .floor = true, .head = -1, .ms = r->horizon_ms};
        put_in_order(r);
        link_parts(r, arena);
        r->at = take_bytes(&at, sizeof(struct ring));
        r->cursors_at = take_bytes(&at, r->n_cursors * sizeof(struct cursor));
        list_by_time(r, arena);
        for (size_t k = 0; k < r->n_parts; k++)
            r->parts[k].at = take_bytes(&at, r->parts[k].kind->bytes);
    }
    size_rows(p);
    p->head_bytes = at;
    p->head_words = at / 8;
    p->page_mask = p->page_bytes / 8 - 1;
    p->empty = arena_zalloc(arena, at);
    head = (struct past_head *)(void *)p->empty;
    head->as_of = INT64_MIN;
    head->end = at / 8;
    for (size_t i = 0; i < p->n_rings; i++)
        for (size_t c = 0; c < p->rings[i].n_cursors; c++)
            ((struct cursor *)(void *)(p->empty + p->rings[i].cursors_at))[c].ms = INT64_MAX;
    for (size_t i = 0; i < p->n_rings; i++)
        for (size_t k = 0; k < p->rings[i].n_tiled; k++)
            ((struct part_tiles *)(void *)(p->empty + p->rings[i].parts[p->rings[i].tiled[k]].at))->from = INT64_MIN;
}
