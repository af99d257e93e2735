#include "model/shap.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "model/flat.h"

#define NODES_MAX (2 * SHAP_SPLITS_MAX + 1)
#define WAYS (1u << SHAP_SPLITS_MAX)
#define PATH_MAX (SHAP_SPLITS_MAX + 2)

struct shap_node {
    int left, right; /* -1: a leaf */
    int feature;
    int split; /* which of the tree's splits it is */
    int slot;  /* which of the tree's features */
    float value, hessian;
    bool default_left;
};

struct shap_tree {
    struct shap_node nodes[NODES_MAX];
    int splits[SHAP_SPLITS_MAX]; /* nodes */
    int features[SHAP_SPLITS_MAX];
    int n_splits, n_features;
    uint32_t output;
    float mean; /* what it gives by expectation: its part of the bias */
    bool known[WAYS];
    float *values; /* WAYS x SHAP_SPLITS_MAX, by slot; NULL: none is known */
};

struct shap {
    size_t n_features, n_outputs, n_trees;
    struct shap_tree *trees;
    float *margin;
};

/* One feature on the way down: which fraction of all ways, without it (zero) and with it (one), go on here. */
struct element {
    int slot;
    float zero, one, weight;
};

static void extend(struct element *path, unsigned depth, float zero, float one, int slot)
{
    path[depth] = (struct element){slot, zero, one, depth == 0 ? 1.0f : 0.0f};
    for (int i = (int)depth - 1; i >= 0; i--) {
        path[i + 1].weight += one * path[i].weight * (float)(i + 1) / (float)(depth + 1);
        path[i].weight = zero * path[i].weight * (float)((int)depth - i) / (float)(depth + 1);
    }
}

static void unwind(struct element *path, unsigned depth, unsigned index)
{
    float one = path[index].one, zero = path[index].zero;
    float next = path[depth].weight;

    for (int i = (int)depth - 1; i >= 0; i--) {
        if (one != 0) {
            float was = path[i].weight;

            path[i].weight = next * (float)(depth + 1) / ((float)(i + 1) * one);
            next = was - path[i].weight * zero * (float)((int)depth - i) / (float)(depth + 1);
        } else {
            path[i].weight = path[i].weight * (float)(depth + 1) / (zero * (float)((int)depth - i));
        }
    }
    for (unsigned i = index; i < depth; i++) {
        path[i].slot = path[i + 1].slot;
        path[i].zero = path[i + 1].zero;
        path[i].one = path[i + 1].one;
    }
}

static float unwound_sum(const struct element *path, unsigned depth, unsigned index)
{
    float one = path[index].one, zero = path[index].zero;
    float next = path[depth].weight;
    float total = 0;

    for (int i = (int)depth - 1; i >= 0; i--) {
        if (one != 0) {
            float part = next * (float)(depth + 1) / ((float)(i + 1) * one);

            total += part;
            next = path[i].weight - part * zero * ((float)((int)depth - i) / (float)(depth + 1));
        } else if (zero != 0) {
            total += (path[i].weight / zero) / ((float)((int)depth - i) / (float)(depth + 1));
        }
    }
    return total;
}

/* Where the walk stands: as libxgboost's TreeShap() has it, the parent's path with one element more. */
struct step {
    int node;
    unsigned depth;
    const struct element *path; /* the parent's */
    float zero, one;
    int slot; /* of the parent's split; -1: the root */
};

static void walk(const struct shap_tree *t, unsigned ways, struct step at, float *values)
{
    const struct shap_node *n = &t->nodes[at.node], *left, *right;
    struct element path[PATH_MAX];
    float zero = 1, one = 1;
    unsigned index = 0;
    bool to_right;

    if (at.depth != 0)
        memcpy(path, at.path, at.depth * sizeof(*path));
    extend(path, at.depth, at.zero, at.one, at.slot);
    if (n->left < 0) {
        for (unsigned i = 1; i <= at.depth; i++)
            values[path[i].slot] += unwound_sum(path, at.depth, i) * (path[i].one - path[i].zero) * n->value;
        return;
    }
    /* A feature that was split before: that is undone, and this split stands for both. */
    while (index <= at.depth && path[index].slot != n->slot)
        index++;
    if (index <= at.depth) {
        zero = path[index].zero;
        one = path[index].one;
        unwind(path, at.depth, index);
        at.depth--;
    }
    left = &t->nodes[n->left];
    right = &t->nodes[n->right];
    to_right = ways >> n->split & 1;
    walk(t, ways, (struct step){to_right ? n->right : n->left, at.depth + 1, path,
                                (to_right ? right : left)->hessian / n->hessian * zero, one, n->slot}, values);
    walk(t, ways, (struct step){to_right ? n->left : n->right, at.depth + 1, path,
                                (to_right ? left : right)->hessian / n->hessian * zero, 0, n->slot}, values);
}

static float mean_of(const struct shap_tree *t, int node)
{
    const struct shap_node *n = &t->nodes[node];
    float mean;

    if (n->left < 0)
        return n->value;
    mean = mean_of(t, n->left) * t->nodes[n->left].hessian;
    mean += mean_of(t, n->right) * t->nodes[n->right].hessian;
    return mean / n->hessian;
}

static int slot_of(struct shap_tree *t, int feature)
{
    int i = 0;

    while (i < t->n_features && t->features[i] != feature)
        i++;
    if (i == t->n_features)
        t->features[t->n_features++] = feature;
    return i;
}

static bool fill(struct shap_tree *to, const struct ubj_tree *from)
{
    if (from->n_nodes > NODES_MAX)
        return false;
    to->output = from->output;
    for (uint32_t i = 0; i < from->n_nodes; i++) {
        const struct ubj_node *n = &from->nodes[i];

        to->nodes[i] = (struct shap_node){n->left, n->right, (int)n->feature, 0, 0, n->value, n->hessian, n->default_left};
        if (n->left < 0)
            continue;
        to->nodes[i].slot = slot_of(to, (int)n->feature);
        to->nodes[i].split = to->n_splits;
        to->splits[to->n_splits++] = (int)i;
    }
    to->mean = mean_of(to, 0);
    return true;
}

struct shap *shap_new(const struct ubj_trees *t)
{
    struct shap *s = xcalloc(1, sizeof(*s));

    *s = (struct shap){t->n_features, t->n_outputs, t->n_trees, xcalloc(t->n_trees + 1, sizeof(*s->trees)),
                       xcalloc(t->n_outputs, sizeof(*s->margin))};
    for (size_t i = 0; i < t->n_outputs; i++)
        s->margin[i] = flat_margin(t->objective, t->base_score[i]);
    for (size_t i = 0; i < t->n_trees; i++)
        if (!fill(&s->trees[i], &t->trees[i])) {
            shap_free(s);
            return NULL;
        }
    return s;
}

void shap_free(struct shap *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_trees; i++)
        free(s->trees[i].values);
    free(s->trees);
    free(s->margin);
    free(s);
}

/* Bit k: at split k the row goes right. */
static unsigned ways_of(const struct shap_tree *t, const float *row)
{
    unsigned ways = 0;

    for (int k = 0; k < t->n_splits; k++) {
        const struct shap_node *n = &t->nodes[t->splits[k]];
        float x = row[n->feature];

        ways |= (unsigned)(isnan(x) ? !n->default_left : x >= n->value) << k;
    }
    return ways;
}

static const float *values_of(struct shap_tree *t, unsigned ways)
{
    float *values;

    if (t->values == NULL)
        t->values = xcalloc(WAYS * SHAP_SPLITS_MAX, sizeof(*t->values));
    values = t->values + ways * SHAP_SPLITS_MAX;
    if (!t->known[ways])
        walk(t, ways, (struct step){.zero = 1, .one = 1, .slot = -1}, values);
    t->known[ways] = true;
    return values;
}

void shap_contributions(struct shap *s, const float *rows, size_t n_rows, float *ret)
{
    size_t n_cols = s->n_features + 1;

    memset(ret, 0, n_rows * s->n_outputs * n_cols * sizeof(*ret));
    for (size_t i = 0; i < s->n_trees; i++) { /* in the order of the trees for each row */
        struct shap_tree *t = &s->trees[i];

        for (size_t r = 0; r < n_rows; r++) {
            const float *values = values_of(t, ways_of(t, rows + r * s->n_features));
            float *out = ret + (r * s->n_outputs + t->output) * n_cols;

            for (int k = 0; k < t->n_features; k++)
                out[t->features[k]] += values[k];
            out[s->n_features] += t->mean;
        }
    }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t o = 0; o < s->n_outputs; o++)
            ret[(r * s->n_outputs + o) * n_cols + s->n_features] += s->margin[o];
}
