/* test/unit/test_pages.c: rows that are kept until they have run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/rand.h"
#include "stage/pages.h"

static const struct want want[] = {{"n", COL_INT}, {"t", COL_STRING}};

/* Row v: n is v, t the v-th byte of `text`; every third n is null. */
static const char text[] = "the bytes of records that are held";

static struct view letter(int64_t v)
{
    return view_of(text + v % (int64_t)(sizeof(text) - 1), 1);
}

static uint32_t keep(struct page *page, int64_t v)
{
    uint32_t row = page->n_rows;

    page->cols.cols[0].i64[row] = v;
    page->cols.cols[0].null[row] = v % 3 == 0;
    page->cols.cols[1].view[row] = letter(v);
    page->cols.cols[1].null[row] = 0;
    return page_keep(page);
}

static void expect(const struct batch *b, size_t row, int64_t v)
{
    assert_int_equal(b->cols[0].i64[row], v);
    assert_int_equal(b->cols[0].null[row], v % 3 == 0);
    assert_true(view_eq(b->cols[1].view[row], letter(v)));
}

struct held {
    struct page *page;
    uint32_t row;
    int64_t v;
};

/* Whatever is let go in whatever order, what is held stays as it was put. */
static void held_rows_stay_as_they_are(void **state)
{
    enum { HELD = PAGE_ROWS * 3 };
    static struct held held[HELD];
    struct arena a = ARENA_EMPTY;
    struct pages all;
    struct page *now = NULL;
    struct batch b;
    struct rand r;
    size_t n = 0;

    (void)state;
    rand_seed(&r, 20261126);
    print_message("seed 20261126\n");
    pages_init(&all, want, ARRAY_LEN(want));
    batch_init(&b, &a, 1);
    decode_begin(want, ARRAY_LEN(want), &b);
    for (int64_t v = 0; v < 40000; v++) {
        if (n == HELD || (n != 0 && rand_below(&r, 2))) {
            size_t i = (size_t)rand_below(&r, n);

            page_copy(held[i].page, held[i].row, 1, &b, 0);
            expect(&b, 0, held[i].v);
            page_let_go(held[i].page);
            held[i] = held[--n];
        }
        held[n].page = pages_room(&all, &now);
        assert_non_null(held[n].page);
        if (rand_below(&r, 4) == 0)
            continue; /* a record that does not decode: its row is the next one's */
        held[n].v = v;
        held[n].row = keep(held[n].page, v);
        n++;
    }
    while (n != 0)
        page_let_go(held[--n].page);
    page_close(&now);
    pages_done(&all);
    arena_done(&a);
}

static void a_stretch_is_copied_to_its_place(void **state)
{
    struct arena a = ARENA_EMPTY;
    struct pages all;
    struct page *now = NULL;
    struct batch b;

    (void)state;
    pages_init(&all, want, ARRAY_LEN(want));
    batch_init(&b, &a, 10);
    decode_begin(want, ARRAY_LEN(want), &b);
    for (int64_t v = 0; v < 8; v++)
        (void)keep(pages_room(&all, &now), v);
    page_copy(now, 3, 5, &b, 4);
    for (size_t i = 0; i < 5; i++)
        expect(&b, 4 + i, 3 + (int64_t)i);
    assert_null(b.cols[1].view[3].data);
    assert_null(b.cols[1].view[9].data);
    for (int64_t v = 0; v < 8; v++)
        page_let_go(now);
    page_close(&now);
    pages_done(&all);
    arena_done(&a);
}

static void pages_are_bounded_and_used_again(void **state)
{
    struct page *pages[PAGES_MAX];
    struct page *now = NULL;
    struct pages all;

    (void)state;
    pages_init(&all, want, ARRAY_LEN(want));
    for (size_t i = 0; i < PAGES_MAX; i++)
        for (int64_t v = 0; v < PAGE_ROWS; v++)
            (void)keep(pages[i] = pages_room(&all, &now), v);
    assert_null(pages_room(&all, &now));
    assert_null(pages_room(&all, &now));
    for (int64_t v = 0; v < PAGE_ROWS; v++)
        page_let_go(pages[7]);
    assert_ptr_equal(pages_room(&all, &now), pages[7]);
    assert_int_equal(now->n_rows, 0);
    page_close(&now);
    for (size_t i = 0; i < PAGES_MAX; i++)
        for (int64_t v = 0; v < PAGE_ROWS && i != 7; v++)
            page_let_go(pages[i]);
    assert_int_equal(all.n_pages, PAGES_MAX);
    pages_done(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_rows_stay_as_they_are),
        cmocka_unit_test(a_stretch_is_copied_to_its_place),
        cmocka_unit_test(pages_are_bounded_and_used_again),
    };

    return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
