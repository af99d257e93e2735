/*
 * common/model/flat.c: the trees of a model as one array of nodes, evaluated without branches.
 *
 * Node i: `feature`, `split`, `left`; the right child is left + 1. A row goes right when x >= split, or when x is NaN and
 * the node's default is right: x >= split is false for NaN, so right = (x >= split) | (x is NaN & missing_right).
 * A leaf has left = itself, split = NaN and missing_right = 0: a step there stays there.
 */
#include "model/flat.h"

#include <math.h>
#include <stdlib.h>

#include "model/lanes.h"

enum link { LINK_IDENTITY, LINK_SIGMOID, LINK_EXP };

struct flat_node {
    float split;
    uint32_t feature;
    uint32_t left;
    uint32_t missing_right;
};

struct flat_tree {
    uint32_t root;
    uint32_t depth;
    uint32_t output;
};

struct flat {
    size_t n_features;
    size_t n_outputs;
    size_t n_trees;
    enum link link;
    struct flat_tree *trees;
    struct flat_node *nodes;
    float *leaf;   /* by node */
    float *margin; /* by output: the base score behind the link */
    struct lanes *lanes; /* NULL: the trees are walked */
};

static enum link link_of(const char *objective)
{
    if (strcmp(objective, "binary:logistic") == 0 || strcmp(objective, "reg:logistic") == 0)
        return LINK_SIGMOID;
    if (strcmp(objective, "count:poisson") == 0 || strcmp(objective, "reg:gamma") == 0 ||
        strcmp(objective, "reg:tweedie") == 0)
        return LINK_EXP;
    return LINK_IDENTITY;
}

/* float32 throughout, as in libxgboost's regression_loss.h. */
float flat_margin(const char *objective, float base)
{
    if (link_of(objective) == LINK_SIGMOID)
        return -logf(1.0f / base - 1.0f);
    return link_of(objective) == LINK_EXP ? logf(base) : base;
}

/* libxgboost's Sigmoid(): the exponent is capped so that expf does not overflow. */
static float sigmoid(float x)
{
    float e = -x < 88.7f ? -x : 88.7f;

    return 1.0f / (expf(e) + 1.0f + 1e-16f);
}

/* Breadth first from the root, so that siblings get neighbouring places. Returns the next free place. */
static uint32_t lay_tree(struct flat *f, const struct ubj_tree *t, uint32_t next)
{
    uint32_t *queue = xmalloc(t->n_nodes * sizeof(*queue));
    uint32_t head = 0, tail = 0, root = next;

    queue[tail++] = 0;
    while (head < tail) {
        const struct ubj_node *from = &t->nodes[queue[head]];
        struct flat_node *to = &f->nodes[root + head];

        if (from->left < 0) {
            *to = (struct flat_node){.split = NAN, .left = root + head};
            f->leaf[root + head] = from->value;
        } else {
            *to = (struct flat_node){from->value, from->feature, root + tail, !from->default_left};
            queue[tail++] = (uint32_t)from->left;
            queue[tail++] = (uint32_t)from->right;
        }
        head++;
    }
    free(queue);
    return root + head;
}

struct flat *flat_new(const struct ubj_trees *t)
{
    struct flat *f = xcalloc(1, sizeof(*f));
    size_t n_nodes = 0;
    uint32_t next = 0;

    for (size_t i = 0; i < t->n_trees; i++)
        n_nodes += t->trees[i].n_nodes;
    f->n_features = t->n_features;
    f->n_outputs = t->n_outputs;
    f->n_trees = t->n_trees;
    f->link = link_of(t->objective);
    f->trees = xcalloc(t->n_trees + 1, sizeof(*f->trees));
    f->nodes = xcalloc(n_nodes + 1, sizeof(*f->nodes));
    f->leaf = xcalloc(n_nodes + 1, sizeof(*f->leaf));
    f->margin = xcalloc(t->n_outputs, sizeof(*f->margin));
    for (size_t i = 0; i < t->n_outputs; i++)
        f->margin[i] = flat_margin(t->objective, t->base_score[i]);
    for (size_t i = 0; i < t->n_trees; i++) {
        f->trees[i] = (struct flat_tree){next, t->trees[i].depth, t->trees[i].output};
        next = lay_tree(f, &t->trees[i], next);
    }
    f->lanes = lanes_new(t);
    return f;
}

void flat_free(struct flat *f)
{
    if (f == NULL)
        return;
    free(f->trees);
    free(f->nodes);
    free(f->leaf);
    free(f->margin);
    lanes_free(f->lanes);
    free(f);
}

static inline uint32_t step(const struct flat_node *nodes, uint32_t at, const float *row, bool nan)
{
    const struct flat_node *n = &nodes[at];
    float x = row[n->feature];
    uint32_t right = x >= n->split;

    if (nan)
        right |= (uint32_t)(x != x) & n->missing_right;
    return n->left + right;
}

/* n <= FLAT_ROWS rows down one tree; inlined with n and nan known for the full step. */
static inline __attribute__((always_inline)) void down(const struct flat *f, const struct flat_tree *t, const float *rows,
                                                       size_t n, bool nan, float *out)
{
    uint32_t at[FLAT_ROWS];

    for (size_t r = 0; r < n; r++)
        at[r] = t->root;
    for (uint32_t d = 0; d < t->depth; d++) {
#pragma GCC unroll 4
        for (size_t r = 0; r < n; r++)
            at[r] = step(f->nodes, at[r], rows + r * f->n_features, nan);
    }
    for (size_t r = 0; r < n; r++)
        out[r * f->n_outputs + t->output] += f->leaf[at[r]];
}

static bool has_nan(const float *x, size_t n)
{
    bool nan = false;

    for (size_t i = 0; i < n; i++)
        nan |= x[i] != x[i];
    return nan;
}

static void finish(const struct flat *f, float *scores, size_t n)
{
    if (f->link == LINK_SIGMOID) {
        for (size_t i = 0; i < n; i++)
            scores[i] = sigmoid(scores[i]);
    } else if (f->link == LINK_EXP) {
        for (size_t i = 0; i < n; i++)
            scores[i] = expf(scores[i]);
    }
}

static void begin(const struct flat *f, float *scores, size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++)
        memcpy(scores + r * f->n_outputs, f->margin, f->n_outputs * sizeof(*scores));
}

void flat_walk(const struct flat *f, const float *rows, size_t n_rows, float *ret_scores)
{
    begin(f, ret_scores, n_rows);
    for (size_t r = 0; r < n_rows; r += FLAT_ROWS) {
        size_t n = n_rows - r < FLAT_ROWS ? n_rows - r : FLAT_ROWS;
        const float *block = rows + r * f->n_features;
        float *out = ret_scores + r * f->n_outputs;
        bool full = n == FLAT_ROWS, nan = has_nan(block, n * f->n_features);

        for (size_t t = 0; t < f->n_trees; t++) {
            if (full && !nan)
                down(f, &f->trees[t], block, FLAT_ROWS, false, out);
            else if (full)
                down(f, &f->trees[t], block, FLAT_ROWS, true, out);
            else
                down(f, &f->trees[t], block, n, true, out);
        }
    }
    finish(f, ret_scores, n_rows * f->n_outputs);
}

void flat_predict(const struct flat *f, const float *rows, size_t n_rows, float *ret_scores)
{
    if (f->lanes == NULL) {
        flat_walk(f, rows, n_rows, ret_scores);
        return;
    }
    begin(f, ret_scores, n_rows);
    lanes_add(f->lanes, rows, n_rows, ret_scores);
    finish(f, ret_scores, n_rows * f->n_outputs);
}
