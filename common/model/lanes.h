/* common/model/lanes.h */
/*
 * lanes: shallow trees, sixteen rows at a time, by AVX2; for flat.c alone.
 *
 * Shape    each tree is completed to its depth: a leaf above the bottom stands for all that would lie below it. Then every node
 *          is compared for every row, and leaves are chosen from the bottom up by those masks: no row walks.
 * Order    each row's sum is in float32, in the order of the trees, as flat.h says.
 * Missing  a feature has two columns in a block of rows: NaN as it is, which no split sends right, and as infinity, which every
 *          split does. A node compares the one of its default direction.
 * Owner    lanes_free frees. Threads: immutable once made.
 */
#ifndef MODEL_LANES_H
#define MODEL_LANES_H

#include "model/ubj.h"

struct lanes;

/* NULL: this processor or this model (deep trees, hundreds of features) is better walked. */
struct lanes *lanes_new(const struct ubj_trees *t);
void lanes_free(struct lanes *l);

/* Adds every tree's leaf to margins. rows: n_rows x n_features, margins: n_rows x n_outputs. Allocates nothing. */
void lanes_add(const struct lanes *l, const float *rows, size_t n_rows, float *margins);

#endif
