/* common/stage/pages.h */
/*
 * pages: records as rows of columns from when they are taken until they have run, so that each is decoded once.
 *
 * Shape    a page holds the rows of one input of one task in the order in which they were taken: a batch copies a stretch of them
 *          column by column. A page is used again when all its rows are let go.
 * Bounds   PAGES_MAX pages of PAGE_ROWS an input; when they are full there is no room, and who takes a record decodes it again
 *          when it runs: many records may be held back.
 * Owner    pages_done frees all; no row may be kept then. Views of a row point into its record: it lives as long.
 * Threads  one.
 */
#ifndef STAGE_PAGES_H
#define STAGE_PAGES_H

#include "wire/plan.h"

#define PAGE_ROWS 256
#define PAGES_MAX 64

struct page {
    struct pages *of;
    struct batch cols;
    uint32_t n_rows; /* kept, also those that were let go */
    uint32_t n_live; /* kept and not let go; one more while it is filled */
    struct page *next; /* free */
};

struct pages {
    const struct want *wants; /* borrowed */
    size_t n_wants;
    struct arena arena; /* of all pages: none is given back before the end */
    size_t n_pages;
    struct page *free;
};

void pages_init(struct pages *all, const struct want *wants, size_t n_wants);
void pages_done(struct pages *all);

/* Room for a row behind those of *now, a page (NULL: none yet) that this call replaces when it is full. Its number is
 * page->n_rows. NULL: none is left. */
struct page *pages_room(struct pages *all, struct page **now);
/* The row just filled is kept, until page_let_go. */
uint32_t page_keep(struct page *page);
void page_let_go(struct page *page);
/* Nothing more is put behind the rows of *now, which becomes NULL. */
void page_close(struct page **now);

/* Rows first to first + n of a page become rows at to at + n of a batch of the same wants. */
void page_copy(const struct page *page, uint32_t first, size_t n, struct batch *to, size_t at);

#endif
