/* common/feature/ring_rows.c: a ring's rows in their pages; cursors and parts are ring.c's. */
#include "feature/fields.h"
#include "feature/parts.h"
#include "feature/ring.h"

#include <string.h>

static int32_t ahead(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

uint32_t ring_prev(const struct past *p, const struct ring_def *def, uint32_t row)
{
    uint32_t word = word_of(p, row), prev;

    if (word > 1)
        return row - def->row_words;
    prev = ((const struct page *)past_at(p, row - word))->prev;
    return prev ? prev + def->last_word : 0;
}

/* A free slot behind the newest row, which it then is. */
static uint32_t new_slot(struct past *p, const struct ring_def *def)
{
    struct ring *r = ring_of(p, def);
    uint32_t page;

    if (r->last_row && word_of(p, r->last_row) < def->last_word)
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

struct spot ring_insert(struct past *p, const struct ring_def *def, int64_t ms, const double *v)
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

struct spot ring_find(const struct past *p, const struct ring_def *def, int64_t ms)
{
    struct spot s = {ring_of(p, def)->end_pos, 0};

    for (uint32_t row = ring_of(p, def)->last_row; row != 0 && row_of(p, row)->ms >= ms; row = ring_prev(p, def, row))
        s = (struct spot){s.pos - 1, row};
    return s.row && row_of(p, s.row)->ms == ms ? s : (struct spot){0, 0};
}

/* The newest row's slot, and its page where that holds no other. */
static void drop_last(struct past *p, const struct ring_def *def)
{
    struct ring *r = ring_of(p, def);
    uint32_t page = r->last, prev;

    r->end_pos--;
    if (word_of(p, r->last_row) > 1) {
        r->last_row -= def->row_words;
        return;
    }
    prev = ((const struct page *)past_at(p, page))->prev;
    if (prev) {
        r->last = prev;
        r->last_row = prev + def->last_word;
        ((struct page *)past_at(p, prev))->next = 0;
        past_dirty(p, prev, sizeof(struct page));
    } else {
        *r = (struct ring){.first_pos = r->end_pos, .end_pos = r->end_pos};
    }
    past_give(p, page, 0);
}

void ring_close(struct past *p, const struct ring_def *def, struct spot s)
{
    size_t bytes = def->row_words * 8;
    uint32_t next;

    if (def->n_fields && row_of(p, s.row)->v[def->n_values] != 0)
        fields_give(p, (uint32_t)row_of(p, s.row)->v[def->n_values]);
    for (; (next = ring_next(p, def, s.row)) != 0; s.row = next) {
        memcpy(row_of(p, s.row), row_of(p, next), bytes);
        past_dirty(p, s.row, bytes);
    }
    drop_last(p, def);
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

        if (page == 0 || (page == r->last && word_of(p, r->last_row) < def->last_word))
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
