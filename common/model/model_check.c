#include "model/model_check.h"

#include <math.h>
#include <stdlib.h>

#include "base/rand.h"

#define ROWS_RANDOM 512
#define ROWS_PER_SPLIT 4
#define CHUNK_VALUES_MAX ((size_t)4 << 20) /* floats of rows at a time: 16 MiB */

struct check {
    const struct ubj_trees *t;
    struct rand rand;
    uint32_t *parent; /* of the present tree's nodes */
    float *lo, *hi;   /* by feature: what the way down demands */
    float *rows;
    size_t n_rows, cap_rows;
    size_t n_splits;
};

/* A split value of some node of the model, or one just beside it; missing one time in eight. */
static float some_value(struct check *c)
{
    const struct ubj_tree *tree = &c->t->trees[rand_below(&c->rand, c->t->n_trees)];
    const struct ubj_node *n = &tree->nodes[rand_below(&c->rand, tree->n_nodes)];

    switch (rand_below(&c->rand, 8)) {
    case 0: return NAN;
    case 1: return nextafterf(n->value, -INFINITY);
    case 2: return nextafterf(n->value, INFINITY);
    case 3: return (float)((rand_unit(&c->rand) - 0.5) * 2e6);
    case 4: return (float)(rand_unit(&c->rand) * 2 - 1);
    case 5: return rand_below(&c->rand, 2) ? 0.0f : -0.0f;
    default: return n->value;
    }
}

static float *new_row(struct check *c)
{
    float *row = c->rows + c->n_rows++ * c->t->n_features;

    for (size_t f = 0; f < c->t->n_features; f++) {
        row[f] = some_value(c);
        if (isinf(row[f]))
            row[f] = 0;
    }
    return row;
}

/* Sets a row's features so that it goes down to node i. */
static void lead_to(struct check *c, const struct ubj_tree *tree, uint32_t i, float *row)
{
    for (uint32_t n = i; n != 0; n = c->parent[n]) {
        const struct ubj_node *up = &tree->nodes[c->parent[n]];

        c->lo[up->feature] = -INFINITY;
        c->hi[up->feature] = INFINITY;
    }
    for (uint32_t n = i; n != 0; n = c->parent[n]) {
        const struct ubj_node *up = &tree->nodes[c->parent[n]];

        if (up->left == (int32_t)n)
            c->hi[up->feature] = fminf(c->hi[up->feature], up->value);
        else
            c->lo[up->feature] = fmaxf(c->lo[up->feature], up->value);
    }
    for (uint32_t n = i; n != 0; n = c->parent[n]) {
        uint32_t f = tree->nodes[c->parent[n]].feature;
        float x = isfinite(c->lo[f]) ? c->lo[f] : nextafterf(c->hi[f], -INFINITY);

        row[f] = isfinite(x) ? x : 0;
    }
}

static void rows_for_split(struct check *c, const struct ubj_tree *tree, uint32_t i)
{
    const struct ubj_node *n = &tree->nodes[i];
    float around[ROWS_PER_SPLIT] = {n->value, nextafterf(n->value, -INFINITY), nextafterf(n->value, INFINITY), NAN};

    for (size_t k = 0; k < ROWS_PER_SPLIT; k++) {
        float *row = new_row(c);

        lead_to(c, tree, i, row);
        row[n->feature] = isinf(around[k]) ? n->value : around[k];
    }
}

static enum status compare(struct check *c, const struct flat *flat, struct booster *booster, bool *agree,
                           struct error *err)
{
    size_t n = c->n_rows * c->t->n_outputs;
    float *ours = xmalloc(n * sizeof(*ours)), *theirs = xmalloc(n * sizeof(*theirs));
    enum status st = booster_predict(booster, c->rows, c->n_rows, theirs, err);

    if (st == OK) {
        flat_predict(flat, c->rows, c->n_rows, ours);
        *agree = *agree && memcmp(ours, theirs, n * sizeof(*ours)) == 0;
    }
    free(ours);
    free(theirs);
    c->n_rows = 0;
    return st;
}

static void find_parents(struct check *c, const struct ubj_tree *tree)
{
    for (uint32_t i = 0; i < tree->n_nodes; i++) {
        if (tree->nodes[i].left < 0)
            continue;
        c->parent[tree->nodes[i].left] = i;
        c->parent[tree->nodes[i].right] = i;
    }
}

static void begin(struct check *c)
{
    size_t n_nodes_max = 0, per_row = c->t->n_features;

    for (size_t k = 0; k < c->t->n_trees; k++) {
        const struct ubj_tree *tree = &c->t->trees[k];

        n_nodes_max = tree->n_nodes > n_nodes_max ? tree->n_nodes : n_nodes_max;
        for (uint32_t i = 0; i < tree->n_nodes; i++)
            c->n_splits += tree->nodes[i].left >= 0;
    }
    c->cap_rows = CHUNK_VALUES_MAX / per_row < ROWS_RANDOM ? ROWS_RANDOM : CHUNK_VALUES_MAX / per_row;
    if (c->cap_rows > MODEL_CHECK_ROWS_MAX)
        c->cap_rows = MODEL_CHECK_ROWS_MAX;
    c->rows = xmalloc(c->cap_rows * per_row * sizeof(*c->rows));
    c->parent = xcalloc(n_nodes_max, sizeof(*c->parent));
    c->lo = xmalloc(per_row * sizeof(*c->lo));
    c->hi = xmalloc(per_row * sizeof(*c->hi));
    rand_seed(&c->rand, c->n_splits);
}

static enum status run(struct check *c, const struct flat *flat, struct booster *booster, size_t *n_rows, bool *agree,
                       struct error *err)
{
    size_t splits_max = (MODEL_CHECK_ROWS_MAX - ROWS_RANDOM) / ROWS_PER_SPLIT;
    size_t stride = c->n_splits / splits_max + 1, seen = 0;

    for (size_t i = 0; i < ROWS_RANDOM; i++)
        new_row(c);
    *n_rows = c->n_rows;
    for (size_t k = 0; k < c->t->n_trees; k++) {
        const struct ubj_tree *tree = &c->t->trees[k];

        find_parents(c, tree);
        for (uint32_t i = 0; i < tree->n_nodes; i++) {
            if (tree->nodes[i].left < 0 || seen++ % stride != 0)
                continue;
            if (c->n_rows + ROWS_PER_SPLIT > c->cap_rows && compare(c, flat, booster, agree, err) != OK)
                return err->status;
            rows_for_split(c, tree, i);
            *n_rows += ROWS_PER_SPLIT;
        }
    }
    return compare(c, flat, booster, agree, err);
}

enum status model_check(const struct ubj_trees *t, const struct flat *flat, struct booster *booster, size_t *ret_n_rows,
                        bool *ret_agree, struct error *err)
{
    struct check c = {.t = t};
    bool agree = true;
    enum status st;

    begin(&c);
    st = run(&c, flat, booster, ret_n_rows, &agree, err);
    free(c.rows);
    free(c.parent);
    free(c.lo);
    free(c.hi);
    if (st == OK)
        *ret_agree = agree;
    return st;
}
