#include "stage/pages.h"

#include <assert.h>

void pages_init(struct pages *all, const struct want *wants, size_t n_wants)
{
    *all = (struct pages){.wants = wants, .n_wants = n_wants, .arena = ARENA_EMPTY};
}

void pages_done(struct pages *all)
{
    while (all->free) {
        struct page *page = all->free;

        all->free = page->next;
        all->n_pages--;
    }
    assert(all->n_pages == 0);
    arena_done(&all->arena);
}

static struct page *page_new(struct pages *all)
{
    struct page *page = arena_zalloc(&all->arena, sizeof(*page));

    page->of = all;
    batch_init(&page->cols, &all->arena, PAGE_ROWS);
    decode_begin(all->wants, all->n_wants, &page->cols);
    all->n_pages++;
    return page;
}

struct page *pages_room(struct pages *all, struct page **now)
{
    if (*now && (*now)->n_rows < PAGE_ROWS)
        return *now;
    page_close(now);
    if (all->free == NULL && all->n_pages == PAGES_MAX)
        return NULL;
    if (all->free) {
        *now = all->free;
        all->free = (*now)->next;
    } else {
        *now = page_new(all);
    }
    (*now)->n_rows = 0;
    (*now)->n_live = 1;
    return *now;
}

uint32_t page_keep(struct page *page)
{
    page->n_live++;
    return page->n_rows++;
}

void page_let_go(struct page *page)
{
    if (--page->n_live != 0)
        return;
    page->next = page->of->free;
    page->of->free = page;
}

void page_close(struct page **now)
{
    if (*now)
        page_let_go(*now);
    *now = NULL;
}

void page_copy(const struct page *page, uint32_t first, size_t n, struct batch *to, size_t at)
{
    assert(to->n_cols == page->cols.n_cols && first + n <= page->n_rows && at + n <= to->cap_rows);
    for (size_t i = 0; i < to->n_cols; i++) {
        const struct col *from = &page->cols.cols[i];
        struct col *c = &to->cols[i];

        memcpy(c->null + at, from->null + first, n);
        if (c->type >= COL_STRING)
            memcpy(c->view + at, from->view + first, n * sizeof(*c->view));
        else
            memcpy(c->i64 + at, from->i64 + first, n * sizeof(*c->i64));
    }
}
