/*
 * pack: a value whose pages are mostly free gives their memory back: what is in use moves together, in the order in which it is passed over.
 * A window that has emptied leaves a hundredth of a hot key's pages in use, anywhere among the others. Nothing that is said of a key changes by it.
 */
#include <stdlib.h>
#include <string.h>

#include "feature/fields.h"
#include "feature/parts.h"
#include "feature/ring.h"

#define USED_MIN 4 /* of that many pages one is in use, or it is packed: so what moves is less than what came before */

static void move_fields(struct past *to, const struct past *from, const struct ring_def *def, uint32_t row, uint32_t now)
{
    double *place = &row_of(to, now)->v[def->n_values];

    if (*place != 0)
        *place = fields_move(to, from, (uint32_t)row_of(from, row)->v[def->n_values]);
}

/* Who stood in that page stands in its copy. */
static void move_page(struct past *to, const struct past *from, const struct ring_def *def, uint32_t page, uint32_t now)
{
    uint32_t words = to->plan->page_bytes / 8, last = ring_of(from, def)->last_row;

    memcpy(past_at(to, now), past_at(from, page), to->plan->page_bytes);
    for (size_t i = 0; i < def->n_cursors; i++) {
        uint32_t next = cursor_of(from, def, (int)i)->next;

        if (next - page < words)
            cursor_of(to, def, (int)i)->next = now + next - page;
    }
    for (uint32_t word = 1; def->n_fields && word <= def->last_word; word += def->row_words)
        if (last - page >= words || word <= last - page)
            move_fields(to, from, def, page + word, now + word);
}

static void move_ring(struct past *to, const struct past *from, const struct ring_def *def)
{
    const struct ring *was = ring_of(from, def);
    struct ring *r = ring_of(to, def);
    uint32_t prev = 0, now = 0;

    for (uint32_t page = was->first; page != 0; page = ((const struct page *)past_at(from, page))->next) {
        now = past_take(to, 0);
        move_page(to, from, def, page, now);
        ((struct page *)past_at(to, now))->prev = prev;
        if (prev)
            ((struct page *)past_at(to, prev))->next = now;
        else
            r->first = now;
        if (page == was->last)
            r->last_row = now + was->last_row - page;
        prev = now;
    }
    r->last = now;
}

void past_pack(struct past *p)
{
    size_t n_bytes = (size_t)past_head(p)->end * 8;

    if (n_bytes > STATE_CHUNK_BYTES && (size_t)past_head(p)->used * p->plan->page_bytes < n_bytes / USED_MIN)
        past_move_together(p);
}

void past_move_together(struct past *p)
{
    struct past to = *p;

    to.state = NULL;
    to.n_bytes = p->plan->head_bytes + (size_t)past_head(p)->used * p->plan->page_bytes;
    to.base = xmalloc(to.n_bytes);
    memcpy(to.base, p->base, p->plan->head_bytes);
    past_begin(&to);
    for (size_t i = 0; i < p->plan->n_rings; i++) {
        const struct ring_def *def = &p->plan->rings[i];

        move_ring(&to, p, def);
        for (size_t k = 0; k < def->n_parts; k++)
            part_move_runs(&to, &def->parts[k], p, &def->parts[k]);
    }
    past_replace(p, &to);
    free(to.base);
}
