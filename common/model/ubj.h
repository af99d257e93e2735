/* common/model/ubj.h */
/*
 * ubj: XGBoost's model format (UBJSON), walked within bounds into plain trees.
 *
 * libxgboost does not check what it loads: a cycle, a child or a feature out of range, an absurd length crashes it.
 * So whatever comes from outside passes here first; what passes is safe to load.
 * Checks   every length against the bytes that are left; nesting <= 32; <= 64 MiB; <= 20,000 trees of <= 2^20 nodes
 *          and depth <= 256; children after their parent, each with one parent, both or none; feature in range;
 *          splits and leaves finite; no key twice, no field missing; counts that agree with each other.
 * Refused  with its name: a booster other than gbtree, an objective not among those of ubj_objectives, categorical splits,
 *          vector leaves.
 * Owner    ubj_trees_free frees; the names are copies.
 * Errors   ERR_RECORD "model bytes: byte N: <what was expected>" or "model bytes: tree N: ...".
 * Source   UBJSON draft 12; XGBoost doc/model.schema, src/tree/tree_model.cc, src/common/json.cc (1.6 to 3.2).
 */
#ifndef MODEL_UBJ_H
#define MODEL_UBJ_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#define UBJ_BYTES_MAX ((size_t)64 << 20)
#define UBJ_NESTING_MAX 32
#define UBJ_TREES_MAX 20000
#define UBJ_NODES_MAX (1 << 20)
#define UBJ_DEPTH_MAX 256
#define UBJ_FEATURES_MAX 4096
#define UBJ_OUTPUTS_MAX 256

struct ubj_node {
    int32_t left;  /* index of the left child, -1: a leaf */
    int32_t right;
    uint32_t feature;
    float value; /* split: left when less; leaf: its value */
    bool default_left;
    float hessian; /* how much of the training came through: a split's is above 0 */
};

struct ubj_tree {
    struct ubj_node *nodes; /* nodes[0] is the root; children lie behind their parent */
    uint32_t n_nodes;
    uint32_t depth;  /* splits on the longest way down */
    uint32_t output; /* which output it adds to */
};

struct ubj_trees {
    char *objective;
    char **features; /* NULL: the model has no feature names */
    size_t n_features;
    size_t n_outputs;
    float *base_score; /* n_outputs, as written (before the objective's link) */
    struct ubj_tree *trees;
    size_t n_trees;
    int32_t version[3]; /* of the library that wrote it */
    struct arena memory;
};

/* Objectives that can be served, and their list for messages. */
bool ubj_knows_objective(const char *objective);
const char *ubj_objectives(void);

enum status ubj_read(struct view bytes, struct ubj_trees **ret_trees, struct error *err);
void ubj_trees_free(struct ubj_trees *t);

#endif
