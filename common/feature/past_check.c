#include "feature/past_check.h"

#include <stdlib.h>

#include "feature/fields.h"
#include "feature/parts.h"
#include "feature/ring.h"

#define FEW_WORDS 16 /* of bits: as many pages as most values have */

struct claims {
    struct past past;
    size_t n_pages;
    uint64_t *bits; /* by page */
};

bool past_has(const struct claims *c, uint32_t place)
{
    size_t head = c->past.plan->head_bytes / 8, words = c->past.plan->page_bytes / 8;

    return place >= head && (place - head) % words == 0 && (place - head) / words < c->n_pages;
}

bool past_claim(struct claims *c, uint32_t place, unsigned order)
{
    size_t first;

    if (order >= c->past.plan->n_orders || !past_has(c, place))
        return false;
    first = (place - c->past.plan->head_bytes / 8) / (c->past.plan->page_bytes / 8);
    if (c->n_pages - first < (size_t)1 << order)
        return false;
    for (size_t i = first; i < first + ((size_t)1 << order); i++) {
        if (c->bits[i / 64] >> (i % 64) & 1)
            return false;
        c->bits[i / 64] |= (uint64_t)1 << (i % 64);
    }
    return true;
}

static uint32_t word_at(const struct past *p, uint32_t place)
{
    uint32_t next;

    memcpy(&next, past_at(p, place), sizeof(next));
    return next;
}

/* A list that comes back to itself claims a run twice. What is in no list is in use. */
static bool check_free(struct claims *c)
{
    size_t n_free = 0;

    for (unsigned order = 0; order < c->past.plan->n_orders; order++)
        for (uint32_t place = past_head(&c->past)->free[order]; place != 0; place = word_at(&c->past, place))
            if (!past_claim(c, place, order))
                return false;
            else
                n_free += (size_t)1 << order;
    return past_head(&c->past)->used == c->n_pages - n_free;
}

/* The cursors whose next event is on this page, the number-th of the ring. */
static bool check_cursors(const struct past *p, const struct ring_def *def, uint32_t page, uint32_t number)
{
    uint32_t first = ring_of(p, def)->first_pos;

    for (size_t i = 0; i < def->n_cursors; i++) {
        const struct cursor *s = cursor_of(p, def, (int)i);
        uint32_t k = s->pos - first;

        if (k / def->rows_per_page != number || s->pos == ring_of(p, def)->end_pos)
            continue;
        if (s->next != page + 1 + k % def->rows_per_page * def->row_words || s->ms != row_of(p, s->next)->ms)
            return false;
    }
    return true;
}

/* Where joins take fields: a row that no cursor is beyond has them, the others may. */
static bool check_fields(struct claims *c, const struct ring_def *def, uint32_t page, uint32_t first, uint32_t n)
{
    const struct past *p = &c->past;
    uint32_t passed = n;

    for (size_t i = 0; i < def->n_cursors; i++)
        if (cursor_of(p, def, (int)i)->pos - ring_of(p, def)->first_pos < passed)
            passed = cursor_of(p, def, (int)i)->pos - ring_of(p, def)->first_pos;
    for (uint32_t k = first; k < n && k < first + def->rows_per_page; k++) {
        double place = row_of(p, page + 1 + (k - first) * def->row_words)->v[def->n_values];

        if (place == 0 && k < passed)
            continue;
        if (!(place > 0 && place <= UINT32_MAX) || place != (uint32_t)place || !fields_check(p, def, (uint32_t)place, c))
            return false;
    }
    return true;
}

static bool check_ends(const struct past *p, const struct ring_def *def)
{
    const struct ring *r = ring_of(p, def);
    uint32_t n = r->end_pos - r->first_pos;

    for (size_t i = 0; i < def->n_cursors; i++) {
        const struct cursor *s = cursor_of(p, def, (int)i);
        const struct cursor_def *d = &def->cursors[i];
        uint32_t k = s->pos - r->first_pos;

        if (k > n || (k == n && (s->next != 0 || s->ms != INT64_MAX)))
            return false;
        if (d->kind != CURSOR_TIME && cursor_of(p, def, d->head)->pos - r->first_pos < k)
            return false;
    }
    return true;
}

static bool check_ring(struct claims *c, const struct ring_def *def)
{
    const struct past *p = &c->past;
    const struct ring *r = ring_of(p, def);
    uint32_t n = r->end_pos - r->first_pos, prev = 0, page = r->first;

    if (!check_ends(p, def))
        return false;
    if (n == 0)
        return page == 0 && r->last == 0 && r->last_row == 0;
    for (uint32_t number = 0; number <= (n - 1) / def->rows_per_page; number++) {
        if (number && prev == r->last)
            return false;
        if (!past_claim(c, page, 0) || ((const struct page *)past_at(p, page))->prev != prev || !check_cursors(p, def, page, number))
            return false;
        if (def->n_fields && !check_fields(c, def, page, number * def->rows_per_page, n))
            return false;
        prev = page;
        page = ((const struct page *)past_at(p, page))->next;
    }
    return r->last == prev && r->last_row == prev + 1 + (n - 1) % def->rows_per_page * def->row_words;
}

/* Each between its cursors, what it rests on before it. */
static bool check_parts(struct claims *c, const struct ring_def *def)
{
    const struct past *p = &c->past;
    uint32_t first = ring_of(p, def)->first_pos;

    for (size_t i = 0; i < def->n_parts; i++) {
        const struct part_def *d = &def->parts[i];
        uint32_t head = cursor_of(p, def, d->head)->pos - first;

        if (d->tail >= 0 && cursor_of(p, def, d->tail)->pos - first > head)
            return false;
        if (d->base >= 0 && cursor_of(p, def, def->parts[d->base].head)->pos - first > head)
            return false;
        for (size_t k = 0; k < d->kind->n_runs; k++) {
            const struct part_run *run = part_run_of(p, d, k);

            if (run->place ? !past_claim(c, run->place, run->order) : run->order != 0)
                return false;
        }
        if (d->kind->check && !d->kind->check(p, d))
            return false;
    }
    return true;
}

static const char *wrong(struct claims *c)
{
    const struct plan *plan = c->past.plan;

    if (!check_free(c))
        return "its free pages are none, or are listed twice";
    for (size_t i = 0; i < plan->n_rings; i++) {
        if (!check_ring(c, &plan->rings[i]))
            return "a ring's pages or cursors are not where they say";
        if (!check_parts(c, &plan->rings[i]))
            return "an aggregate is not what its ring says";
    }
    return NULL;
}

enum status past_check(const struct plan *plan, struct view value, struct error *err)
{
    struct claims c = {.past = {.plan = plan, .base = (uint8_t *)(uintptr_t)value.data}};
    uint64_t few[FEW_WORDS] = {0};
    const char *why;
    size_t bytes;

    if (value.n == 0 && plan->n_rings)
        return OK; /* made, and not begun */
    if (plan->n_rings == 0 || value.n < plan->head_bytes)
        return err_set(err, ERR_FATAL, "a key's value has %zu bytes, expected %u at least", value.n, plan->head_bytes);
    bytes = (size_t)past_head(&c.past)->end * 8;
    if (bytes < plan->head_bytes || bytes > value.n || (bytes - plan->head_bytes) % plan->page_bytes != 0)
        return err_set(err, ERR_FATAL, "a key's value of %zu bytes ends at %zu", value.n, bytes);
    c.n_pages = (bytes - plan->head_bytes) / plan->page_bytes;
    c.bits = c.n_pages > FEW_WORDS * 64 ? xcalloc((c.n_pages + 63) / 64, sizeof(*c.bits)) : few;
    why = wrong(&c);
    if (c.bits != few)
        free(c.bits);
    return why ? err_set(err, ERR_FATAL, "a key's value: %s", why) : OK;
}
