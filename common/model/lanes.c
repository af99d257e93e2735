#include "model/lanes.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"

#define ROWS 16
#define DEPTH_MAX 6
#define FEATURES_MAX 128
#define OUTPUTS_MAX 16

/* Depth first: a node, all below it to the left, all below it to the right. */
struct cell {
    float split;
    uint32_t at; /* of its column in a block */
};

struct lane_tree {
    const struct cell *cells; /* 2^depth - 1 */
    const float *leaves;      /* 2^depth, from left to right */
    uint32_t depth;
    uint32_t output;
};

struct lanes {
    size_t n_features;
    size_t n_outputs;
    size_t n_trees;
    struct lane_tree *trees;
    struct cell *cells;
    float *leaves;
};

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline)) AVX2

struct pair {
    __m256 a, b;
};

INLINE struct pair choose(const struct cell *c, const float *block, struct pair left, struct pair right)
{
    __m256 split = _mm256_broadcast_ss(&c->split);
    __m256 a = _mm256_cmp_ps(_mm256_load_ps(block + c->at), split, _CMP_GE_OQ);
    __m256 b = _mm256_cmp_ps(_mm256_load_ps(block + c->at + 8), split, _CMP_GE_OQ);

    return (struct pair){_mm256_blendv_ps(left.a, right.a, a), _mm256_blendv_ps(left.b, right.b, b)};
}

INLINE struct pair below_0(const struct cell *c, const float *leaf, const float *block)
{
    __m256 v = _mm256_broadcast_ss(leaf);

    (void)c;
    (void)block;
    return (struct pair){v, v};
}

/* What lies below a node that has `depth` splits on each way down. */
#define BELOW(depth, under)                                                                                  \
    INLINE struct pair below_##depth(const struct cell *c, const float *leaf, const float *block)            \
    {                                                                                                        \
        struct pair left = below_##under(c + 1, leaf, block);                                                \
        struct pair right = below_##under(c + (1 << under), leaf + (1 << under), block);                     \
                                                                                                             \
        return choose(c, block, left, right);                                                                \
    }

BELOW(1, 0)
BELOW(2, 1)
BELOW(3, 2)
BELOW(4, 3)
BELOW(5, 4)
BELOW(6, 5)

INLINE struct pair leaves_of(const struct lane_tree *t, const float *block)
{
    switch (t->depth) {
    case 0: return below_0(t->cells, t->leaves, block);
    case 1: return below_1(t->cells, t->leaves, block);
    case 2: return below_2(t->cells, t->leaves, block);
    case 3: return below_3(t->cells, t->leaves, block);
    case 4: return below_4(t->cells, t->leaves, block);
    case 5: return below_5(t->cells, t->leaves, block);
    default: return below_6(t->cells, t->leaves, block);
    }
}

AVX2 static void add_block(const struct lanes *l, const float *block, float *sums)
{
    for (size_t t = 0; t < l->n_trees; t++) {
        struct pair v = leaves_of(&l->trees[t], block);
        float *sum = sums + l->trees[t].output * ROWS;

        _mm256_store_ps(sum, _mm256_add_ps(_mm256_load_ps(sum), v.a));
        _mm256_store_ps(sum + 8, _mm256_add_ps(_mm256_load_ps(sum + 8), v.b));
    }
}

static bool is_able(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
static void add_block(const struct lanes *l, const float *block, float *sums)
{
    (void)l;
    (void)block;
    (void)sums;
}

static bool is_able(void)
{
    return false;
}
#endif

static void transpose(const float *rows, size_t n, size_t n_features, float *block)
{
    for (size_t f = 0; f < n_features; f++) {
        float *left = block + f * 2 * ROWS, *right = left + ROWS;

        for (size_t r = 0; r < n; r++) {
            float x = rows[r * n_features + f];

            left[r] = x;
            right[r] = x != x ? INFINITY : x;
        }
    }
}

void lanes_add(const struct lanes *l, const float *rows, size_t n_rows, float *margins)
{
    _Alignas(32) float block[FEATURES_MAX * 2 * ROWS], sums[OUTPUTS_MAX * ROWS];
    size_t n_outputs = l->n_outputs;

    /* The lanes of a block that is not full hold whatever: nobody looks at them. */
    memset(block, 0, l->n_features * 2 * ROWS * sizeof(*block));
    memset(sums, 0, n_outputs * ROWS * sizeof(*sums));
    for (size_t first = 0; first < n_rows; first += ROWS) {
        size_t n = n_rows - first < ROWS ? n_rows - first : ROWS;
        float *out = margins + first * n_outputs;

        transpose(rows + first * l->n_features, n, l->n_features, block);
        for (size_t o = 0; o < n_outputs; o++)
            for (size_t r = 0; r < n; r++)
                sums[o * ROWS + r] = out[r * n_outputs + o];
        add_block(l, block, sums);
        for (size_t o = 0; o < n_outputs; o++)
            for (size_t r = 0; r < n; r++)
                out[r * n_outputs + o] = sums[o * ROWS + r];
    }
}

/* Node n and all below it, `depth` levels. A leaf's own stand for it everywhere below: which way they send does not matter. */
static void complete(const struct ubj_tree *t, uint32_t n, uint32_t depth, struct cell *cell, float *leaf)
{
    const struct ubj_node *node = &t->nodes[n];
    bool ends = node->left < 0;
    uint32_t half = depth ? 1u << (depth - 1) : 0;

    if (depth == 0) {
        *leaf = node->value;
        return;
    }
    *cell = ends ? (struct cell){0, 0} : (struct cell){node->value, (node->feature * 2 + !node->default_left) * ROWS};
    complete(t, ends ? n : (uint32_t)node->left, depth - 1, cell + 1, leaf);
    complete(t, ends ? n : (uint32_t)node->right, depth - 1, cell + half, leaf + half);
}

struct lanes *lanes_new(const struct ubj_trees *t)
{
    struct lanes *l;
    size_t n_leaves = 0;

    if (!is_able() || t->n_features > FEATURES_MAX || t->n_outputs > OUTPUTS_MAX)
        return NULL;
    for (size_t i = 0; i < t->n_trees; i++) {
        if (t->trees[i].depth > DEPTH_MAX)
            return NULL;
        n_leaves += (size_t)1 << t->trees[i].depth;
    }
    l = xcalloc(1, sizeof(*l));
    *l = (struct lanes){t->n_features, t->n_outputs, t->n_trees, xcalloc(t->n_trees + 1, sizeof(*l->trees)),
                        xcalloc(n_leaves + 1, sizeof(*l->cells)), xcalloc(n_leaves + 1, sizeof(*l->leaves))};
    n_leaves = 0;
    for (size_t i = 0; i < t->n_trees; i++) {
        l->trees[i] = (struct lane_tree){l->cells + n_leaves, l->leaves + n_leaves, t->trees[i].depth, t->trees[i].output};
        complete(&t->trees[i], 0, t->trees[i].depth, l->cells + n_leaves, l->leaves + n_leaves);
        n_leaves += (size_t)1 << t->trees[i].depth;
    }
    return l;
}

void lanes_free(struct lanes *l)
{
    if (l == NULL)
        return;
    free(l->trees);
    free(l->cells);
    free(l->leaves);
    free(l);
}
