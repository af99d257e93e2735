/*
 * common/model/ubj_tree.c: one tree of an XGBoost model.
 *
 * Parallel arrays, one entry a node: left_children, right_children (-1: leaf), parents, split_indices, split_conditions (a
 * leaf's value), default_left; and counts that must agree with them.
 */
#include <math.h>
#include <stdlib.h>

#include "model/ubj_walk.h"

#define NO_PARENT INT32_MAX
#define DELETED INT32_MAX /* split index of a node that pruning removed */

struct raw_tree {
    struct walk_array left, right, parents, index, condition, to_left, hessian, loss, weight, type, categories;
    struct arena *memory;
    struct ubj_tree *out;
    int64_t num_nodes, num_feature, leaf_vector, id;
};

#define READ_COUNT(name, max)                                                                                        \
    static bool tree_##name(struct walk *w, void *into)                                                              \
    {                                                                                                                \
        return walk_count(w, max, &((struct raw_tree *)into)->name);                                                 \
    }
READ_COUNT(num_nodes, UBJ_NODES_MAX)
READ_COUNT(num_feature, UBJ_FEATURES_MAX)
READ_COUNT(leaf_vector, UBJ_OUTPUTS_MAX)

static bool typed(struct walk *w, const char *types, struct walk_array *ret)
{
    if (!walk_array(w, ret))
        return false;
    if (ret->type == 0 || strchr(types, ret->type) == NULL)
        return walk_fail(w, "expected a typed array of '%s'", types);
    return true;
}

#define READ_TYPED(name, types)                                                                                      \
    static bool tree_##name(struct walk *w, void *into)                                                              \
    {                                                                                                                \
        return typed(w, types, &((struct raw_tree *)into)->name);                                                    \
    }
READ_TYPED(left, "l")
READ_TYPED(right, "l")
READ_TYPED(parents, "l")
READ_TYPED(index, "lL")
READ_TYPED(condition, "d")
READ_TYPED(to_left, "U")
READ_TYPED(hessian, "d")
READ_TYPED(loss, "d")
READ_TYPED(weight, "d")
READ_TYPED(type, "U")

static bool tree_id(struct walk *w, void *into)
{
    return walk_int(w, &((struct raw_tree *)into)->id);
}

static bool tree_categories(struct walk *w, void *into)
{
    struct raw_tree *t = into;

    if (!typed(w, "lL", &t->categories))
        return false;
    return t->categories.n == 0 || walk_fail(w, "categorical splits; expected numeric ones only");
}

static bool tree_param(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {
        {"num_nodes", tree_num_nodes, false},
        {"num_feature", tree_num_feature, false},
        {"size_leaf_vector", tree_leaf_vector, false},
    };

    return walk_object(w, fields, ARRAY_LEN(fields), into);
}

static const struct walk_field tree_fields[] = {
    {"id", tree_id, false},
    {"left_children", tree_left, false},
    {"right_children", tree_right, false},
    {"parents", tree_parents, false},
    {"split_indices", tree_index, false},
    {"split_conditions", tree_condition, false},
    {"default_left", tree_to_left, false},
    {"sum_hessian", tree_hessian, false},
    {"loss_changes", tree_loss, false},
    {"base_weights", tree_weight, false},
    {"split_type", tree_type, true},
    {"categories", tree_categories, true},
    {"categories_nodes", tree_categories, true},
    {"categories_segments", tree_categories, true},
    {"categories_sizes", tree_categories, true},
    {"tree_param", tree_param, false},
};

static int64_t int_of(const struct walk_array *a, size_t i)
{
    return walk_int_at(a->data + i * walk_type_bytes(a->type), a->type);
}

static bool sizes_agree(struct walk *w, const struct raw_tree *t)
{
    const struct walk_array *all[] = {&t->left, &t->right, &t->parents, &t->index, &t->condition, &t->to_left,
                                      &t->hessian, &t->loss, &t->weight};

    if (t->num_nodes < 1)
        return walk_fail(w, "a tree of no nodes");
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i]->n != (size_t)t->num_nodes)
            return walk_fail(w, "num_nodes says %lld, but an array of the tree holds %zu", (long long)t->num_nodes, all[i]->n);
    }
    if (t->type.n != 0 && t->type.n != (size_t)t->num_nodes)
        return walk_fail(w, "num_nodes says %lld, but split_type holds %zu", (long long)t->num_nodes, t->type.n);
    for (size_t i = 0; i < t->type.n; i++) {
        if (t->type.data[i] != 0)
            return walk_fail(w, "node %zu: a categorical split; expected numeric ones only", i);
    }
    return t->leaf_vector <= 1 || walk_fail(w, "vector leaves of %lld; expected one value a leaf", (long long)t->leaf_vector);
}

static bool check_node(struct walk *w, const struct raw_tree *t, size_t i, struct ubj_node *ret)
{
    int64_t n = t->num_nodes, left = int_of(&t->left, i), right = int_of(&t->right, i), parent = int_of(&t->parents, i);
    int64_t index = int_of(&t->index, i);
    bool leaf = left == -1 && right == -1;

    if (i == 0 ? parent != NO_PARENT && parent != -1 : parent < 0 || parent >= (int64_t)i)
        return walk_fail(w, "node %zu: parent %lld; expected one before it", i, (long long)parent);
    if (!leaf && (left <= (int64_t)i || right <= (int64_t)i || left >= n || right >= n || left == right))
        return walk_fail(w, "node %zu of %lld: children %lld and %lld; expected two behind it, or -1 and -1", i, (long long)n,
                         (long long)left, (long long)right);
    if (!leaf && (int_of(&t->parents, (size_t)left) != (int64_t)i || int_of(&t->parents, (size_t)right) != (int64_t)i))
        return walk_fail(w, "node %zu: its children name another parent", i);
    if ((index < 0 || index >= t->num_feature) && !(leaf && index == DELETED))
        return walk_fail(w, "node %zu: feature %lld of %lld", i, (long long)index, (long long)t->num_feature);
    ret->left = (int32_t)left;
    ret->right = (int32_t)right;
    ret->feature = leaf ? 0 : (uint32_t)index;
    ret->value = walk_float_at(t->condition.data + 4 * i);
    ret->default_left = t->to_left.data[i] != 0;
    ret->hessian = walk_float_at(t->hessian.data + 4 * i);
    if (!isfinite(ret->value) || !isfinite(ret->hessian))
        return walk_fail(w, "node %zu: a split, leaf or hessian that is not finite", i);
    if (ret->hessian < 0 || (!leaf && ret->hessian == 0)) /* contributions divide by a split's */
        return walk_fail(w, "node %zu: hessian %g; expected one above 0", i, (double)ret->hessian);
    if (t->to_left.data[i] > 1)
        return walk_fail(w, "node %zu: default_left %d; expected 0 or 1", i, t->to_left.data[i]);
    return true;
}

static bool build(struct walk *w, struct raw_tree *t)
{
    size_t n = (size_t)t->num_nodes;
    struct ubj_node *nodes = arena_alloc(t->memory, n * sizeof(*nodes));
    uint32_t *depth = xmalloc(n * sizeof(*depth));
    bool ok = true;

    t->out->nodes = nodes;
    t->out->n_nodes = (uint32_t)n;
    t->out->depth = 0;
    depth[0] = 0;
    for (size_t i = 0; i < n && ok; i++) {
        ok = check_node(w, t, i, &nodes[i]);
        if (ok && i > 0)
            depth[i] = depth[int_of(&t->parents, i)] + 1;
        if (ok && depth[i] > UBJ_DEPTH_MAX)
            ok = walk_fail(w, "node %zu: deeper than %d", i, UBJ_DEPTH_MAX);
        if (ok && depth[i] > t->out->depth)
            t->out->depth = depth[i];
    }
    free(depth);
    return ok;
}

/* libxgboost puts a tree where its id says: one id twice leaves another place empty, and it dies at the first row. */
static bool in_place(struct walk *w, const struct raw_tree *t, size_t i)
{
    return t->id == (int64_t)i || walk_fail(w, "id %lld; expected %zu, its place", (long long)t->id, i);
}

bool ubj_tree_read(struct walk *w, size_t place, struct arena *memory, struct ubj_tree *ret_tree, uint32_t *ret_n_features)
{
    struct raw_tree raw = {.memory = memory, .out = ret_tree};

    if (!walk_object(w, tree_fields, ARRAY_LEN(tree_fields), &raw) || !in_place(w, &raw, place) || !sizes_agree(w, &raw) ||
        !build(w, &raw))
        return false;
    *ret_n_features = (uint32_t)raw.num_feature;
    return true;
}
