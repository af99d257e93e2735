/* common/feature/items.h */
/*
 * items: the first items of a list of records, as columns of the row that has it.
 *
 * Shape    a column for each field and place; null where the list is shorter. Items beyond the last place are not looked at.
 * Errors   an item that cannot be read (a text that is none): its row is bad.
 */
#ifndef FEATURE_ITEMS_H
#define FEATURE_ITEMS_H

#include "wire/plan.h"

#define ITEMS_COLS_MAX 256 /* places */

/* One definition. Its columns are those of a field side by side. */
struct items {
    const char *list; /* the field */
    struct decode_plan *plan; /* of an item */
    const struct want *wants;
    size_t n_fields, n_items;
    size_t made; /* its first column */
};

/* Into columns that are cleared; cols: the definition's first one. Rows with bad[r] != NULL are passed over. */
void items_put(const struct items *d, const struct batch *in, const char **bad, struct col *cols);

#endif
