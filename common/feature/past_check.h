/* common/feature/past_check.h */
/*
 * past_check: whether a key's value that comes from outside (a changelog) is one that this folder could have written.
 *
 * Checked  everything that becomes a place, an index or the end of a loop: the pages and who has which of them (each at most once), a
 *          ring's chain, its cursors' places and order, a part's run and what it says of it. Numbers that are only added up are not.
 * Cost     the head and a few words of each page; of a table, all of it.
 * Bounds   no byte outside the value is read, nothing is written; takes a bit for each page.
 * Source   docs/adr/0007; test/fuzz/fuzz_state.c garbles values, and goes on with those that pass.
 */
#ifndef FEATURE_PAST_CHECK_H
#define FEATURE_PAST_CHECK_H

#include "feature/past.h"

struct claims;

/* Whether a page begins at `place`. */
bool past_has(const struct claims *c, uint32_t place);
/* Whether `place` is a run of that order which nobody has claimed yet. */
bool past_claim(struct claims *c, uint32_t place, unsigned order);

enum status past_check(const struct plan *plan, struct view value, struct error *err);

#endif
