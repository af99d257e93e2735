/*
 * common/model/ubj_model.c: the keys of an XGBoost model, and what must agree between them.
 *
 * {learner: {feature_names, feature_types, gradient_booster: {name: gbtree, model: {gbtree_model_param {num_trees,
 * num_parallel_tree}, iteration_indptr, tree_info, trees, cats}}, learner_model_param {base_score, num_class, num_feature,
 * num_target}, objective {name}}, version}. A tree: ubj_tree.c. Numbers in *_param are text.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "model/ubj_walk.h"

#define NAME_BYTES_MAX 4096

static const char *const objectives[] = {
    "binary:logistic", "reg:logistic", "binary:logitraw", "reg:squarederror", "reg:absoluteerror",
    "reg:quantileerror", "reg:pseudohubererror", "count:poisson", "reg:gamma", "reg:tweedie",
};

struct text_list {
    char **text;
    size_t n;
};

/* What is read before it can be compared with the rest. */
struct reading {
    struct ubj_trees *t;
    struct arena scratch;
    struct text_list names, types;
    char *booster;
    bool has_model, has_indptr, has_categories;
    int64_t *indptr, *info;
    size_t n_indptr, n_info;
    int64_t num_trees, num_parallel, num_feature, num_class, num_target;
    float base_score[UBJ_OUTPUTS_MAX];
    size_t n_base_score;
};

bool ubj_knows_objective(const char *objective)
{
    for (size_t i = 0; i < ARRAY_LEN(objectives); i++) {
        if (strcmp(objectives[i], objective) == 0)
            return true;
    }
    return false;
}

const char *ubj_objectives(void)
{
    return "binary:logistic, reg:logistic, binary:logitraw, reg:squarederror, reg:absoluteerror, reg:quantileerror, "
           "reg:pseudohubererror, count:poisson, reg:gamma, reg:tweedie";
}

static bool read_name(struct walk *w, struct arena *memory, char **ret)
{
    struct view text;

    if (!walk_text(w, &text))
        return false;
    if (text.n > NAME_BYTES_MAX || memchr(text.data, 0, text.n) != NULL)
        return walk_fail(w, "a name of %zu bytes; expected at most %d, none of them 0", text.n, NAME_BYTES_MAX);
    *ret = arena_zalloc(memory, text.n + 1);
    memcpy(*ret, text.data, text.n);
    return true;
}

#define READ_COUNT(name, max)                                                                                        \
    static bool name(struct walk *w, void *into)                                                                     \
    {                                                                                                                \
        return walk_count(w, max, &((struct reading *)into)->name);                                                  \
    }
READ_COUNT(num_trees, UBJ_TREES_MAX)
READ_COUNT(num_parallel, UBJ_TREES_MAX)
READ_COUNT(num_feature, UBJ_FEATURES_MAX)
READ_COUNT(num_class, UBJ_OUTPUTS_MAX)
READ_COUNT(num_target, UBJ_OUTPUTS_MAX)

static bool read_texts(struct walk *w, struct arena *memory, struct text_list *ret)
{
    struct walk_array a;
    int more;

    if (!walk_array(w, &a))
        return false;
    if (a.type != 0)
        return a.n == 0 || walk_fail(w, "expected an array of strings, got numbers");
    ret->text = arena_alloc(memory, UBJ_FEATURES_MAX * sizeof(*ret->text));
    while ((more = walk_next(w, &a)) > 0) {
        if (ret->n == UBJ_FEATURES_MAX)
            return walk_fail(w, "more than %d features", UBJ_FEATURES_MAX);
        if (!read_name(w, memory, &ret->text[ret->n++]))
            return false;
    }
    return more == 0;
}

/* An array of integers, typed or not. */
static bool read_ints(struct walk *w, struct arena *memory, size_t max, int64_t **ret, size_t *ret_n)
{
    struct walk_array a;
    size_t n = 0;
    int more;

    if (!walk_array(w, &a))
        return false;
    *ret = arena_alloc(memory, (max + 1) * sizeof(**ret));
    if (a.type == 'd' || a.type == 'D' || a.n > max)
        return walk_fail(w, "expected at most %zu integers", max);
    if (a.type != 0) {
        for (size_t i = 0; i < a.n; i++)
            (*ret)[n++] = walk_int_at(a.data + i * walk_type_bytes(a.type), a.type);
        *ret_n = n;
        return true;
    }
    while ((more = walk_next(w, &a)) > 0) {
        if (n == max)
            return walk_fail(w, "expected at most %zu integers", max);
        if (!walk_int(w, &(*ret)[n++]))
            return false;
    }
    *ret_n = n;
    return more == 0;
}

static bool model_trees(struct walk *w, void *into)
{
    struct reading *r = into;
    struct walk_array a;
    int more;

    if (!walk_array(w, &a))
        return false;
    if (a.type != 0 || a.n > UBJ_TREES_MAX)
        return walk_fail(w, "expected at most %d trees", UBJ_TREES_MAX);
    r->t->trees = arena_zalloc(&r->t->memory, (a.open ? UBJ_TREES_MAX : a.n) * sizeof(*r->t->trees));
    while ((more = walk_next(w, &a)) > 0) {
        uint32_t n_features;

        if (r->t->n_trees == UBJ_TREES_MAX)
            return walk_fail(w, "more than %d trees", UBJ_TREES_MAX);
        if (!ubj_tree_read(w, r->t->n_trees, &r->t->memory, &r->t->trees[r->t->n_trees], &n_features)) {
            err_wrap(w->err, "tree %zu", r->t->n_trees);
            return false;
        }
        /* Kept in `output` until the model's own count is known. */
        r->t->trees[r->t->n_trees++].output = n_features;
    }
    return more == 0;
}

static bool model_indptr(struct walk *w, void *into)
{
    struct reading *r = into;

    r->has_indptr = true;
    return read_ints(w, &r->scratch, UBJ_TREES_MAX + 1, &r->indptr, &r->n_indptr);
}

static bool model_info(struct walk *w, void *into)
{
    struct reading *r = into;

    return read_ints(w, &r->scratch, UBJ_TREES_MAX, &r->info, &r->n_info);
}

static bool no_items(struct walk *w, void *into)
{
    struct walk_array a;

    (void)into;
    if (!walk_array(w, &a))
        return false;
    if (a.type == 0 ? walk_next(w, &a) != 0 : a.n != 0)
        return walk_fail(w, "categories; expected numeric features only");
    return true;
}

static bool model_cats(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {
        {"enc", no_items, true}, {"feature_segments", no_items, true}, {"sorted_idx", no_items, true}};

    return walk_object(w, fields, ARRAY_LEN(fields), into);
}

static bool model_param(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {{"num_trees", num_trees, false}, {"num_parallel_tree", num_parallel, true}};

    return walk_object(w, fields, ARRAY_LEN(fields), into);
}

static bool booster_model(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {
        {"gbtree_model_param", model_param, false}, {"iteration_indptr", model_indptr, true},
        {"tree_info", model_info, false}, {"trees", model_trees, false}, {"cats", model_cats, true}};

    ((struct reading *)into)->has_model = true;
    return walk_object(w, fields, ARRAY_LEN(fields), into);
}

static bool booster_name(struct walk *w, void *into)
{
    struct reading *r = into;

    return read_name(w, &r->scratch, &r->booster);
}

static bool learner_booster(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {{"name", booster_name, false}, {"model", booster_model, true}};
    struct reading *r = into;

    if (!walk_object(w, fields, ARRAY_LEN(fields), into))
        return false;
    if (strcmp(r->booster, "gbtree") != 0)
        return walk_fail(w, "booster '%.40s'; expected 'gbtree'", r->booster);
    return r->has_model || walk_fail(w, "'model' is missing");
}

/* One number of base_score's text; *text moves behind it. */
static bool base_number(struct walk *w, struct reading *r, const char **text)
{
    char *end;
    float v = strtof(*text, &end);

    if (end == *text || isspace((unsigned char)**text) || !isfinite(v) || r->n_base_score == UBJ_OUTPUTS_MAX)
        return walk_fail(w, "base_score: expected finite numbers");
    r->base_score[r->n_base_score++] = v;
    *text = end;
    return true;
}

/* "5E-1", or since 3.1 "[5.15E-1]" with one number an output. */
static bool base_text(struct walk *w, struct reading *r)
{
    char *copy = NULL;
    const char *s;

    if (!read_name(w, &r->scratch, &copy))
        return false;
    s = copy;
    if (*s != '[')
        return base_number(w, r, &s) && (*s == '\0' || walk_fail(w, "base_score: more than a number"));
    do {
        s++;
        if (!base_number(w, r, &s))
            return false;
    } while (*s == ',');
    return strcmp(s, "]") == 0 || walk_fail(w, "base_score: expected ']' at the end of its list");
}

static bool base_score(struct walk *w, void *into)
{
    struct reading *r = into;

    if (w->p < w->end && *w->p == 'S')
        return base_text(w, r);
    if (!walk_mark(w, 'd', "base_score as text or float"))
        return false;
    if (w->end - w->p < 4 || !isfinite(walk_float_at(w->p)))
        return walk_fail(w, "base_score: expected a finite float");
    r->base_score[r->n_base_score++] = walk_float_at(w->p);
    w->p += 4;
    return true;
}

static bool learner_param(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {{"base_score", base_score, false}, {"num_class", num_class, true},
                                               {"num_feature", num_feature, false}, {"num_target", num_target, true}};

    return walk_object(w, fields, ARRAY_LEN(fields), into);
}

static bool objective_name(struct walk *w, void *into)
{
    struct reading *r = into;

    return read_name(w, &r->t->memory, &r->t->objective);
}

static bool learner_objective(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {{"name", objective_name, false}};

    return walk_object(w, fields, ARRAY_LEN(fields), into);
}

static bool learner_names(struct walk *w, void *into)
{
    struct reading *r = into;

    return read_texts(w, &r->t->memory, &r->names);
}

static bool learner_types(struct walk *w, void *into)
{
    struct reading *r = into;

    if (!read_texts(w, &r->scratch, &r->types))
        return false;
    for (size_t i = 0; i < r->types.n; i++) {
        if (strcmp(r->types.text[i], "c") == 0 || strncmp(r->types.text[i], "categor", 7) == 0)
            return walk_fail(w, "feature %zu is categorical; expected numeric ones only", i);
    }
    return true;
}

static bool root_learner(struct walk *w, void *into)
{
    static const struct walk_field fields[] = {
        {"feature_names", learner_names, true}, {"feature_types", learner_types, true},
        {"gradient_booster", learner_booster, false}, {"learner_model_param", learner_param, false},
        {"objective", learner_objective, false}};

    return walk_object(w, fields, ARRAY_LEN(fields), into);
}

static bool root_version(struct walk *w, void *into)
{
    struct reading *r = into;
    int64_t *v = NULL;
    size_t n = 0;

    if (!read_ints(w, &r->scratch, 3, &v, &n))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (v[i] < -1 || v[i] > 1000)
            return walk_fail(w, "version: expected small numbers");
        r->t->version[i] = (int32_t)v[i];
    }
    return n == 3 || walk_fail(w, "version: expected 3 numbers, got %zu", n);
}

/* ---- what must agree between the parts ---- */

static bool check_rounds(struct walk *w, const struct reading *r)
{
    int64_t n = (int64_t)r->t->n_trees, each = r->num_parallel * (int64_t)r->t->n_outputs;

    if (r->num_trees != n || (int64_t)r->n_info != n || n == 0)
        return walk_fail(w, "num_trees %lld, tree_info of %zu, %lld trees; expected the same, at least one",
                         (long long)r->num_trees, r->n_info, (long long)n);
    if (each < 1 || n % each != 0)
        return walk_fail(w, "%lld trees are not a multiple of %lld a round", (long long)n, (long long)each);
    if (!r->has_indptr)
        return true;
    if (r->n_indptr < 2 || r->indptr[0] != 0 || r->indptr[r->n_indptr - 1] != n)
        return walk_fail(w, "iteration_indptr: expected 0 to %lld", (long long)n);
    for (size_t i = 1; i < r->n_indptr; i++) {
        if (r->indptr[i] <= r->indptr[i - 1])
            return walk_fail(w, "iteration_indptr: expected rising numbers");
    }
    return true;
}

static bool check_features(struct walk *w, const struct reading *r)
{
    struct ubj_trees *t = r->t;

    t->n_features = (size_t)r->num_feature;
    if (t->n_features == 0)
        return walk_fail(w, "num_feature is 0");
    if ((r->names.n != 0 && r->names.n != t->n_features) || (r->types.n != 0 && r->types.n != t->n_features))
        return walk_fail(w, "num_feature %zu, but %zu names and %zu types", t->n_features, r->names.n, r->types.n);
    t->features = r->names.n ? r->names.text : NULL;
    for (size_t i = 0; i < t->n_trees; i++) {
        if (t->trees[i].output != t->n_features)
            return walk_fail(w, "tree %zu: num_feature %u, the model's is %zu", i, t->trees[i].output, t->n_features);
        if (r->info[i] < 0 || r->info[i] >= (int64_t)t->n_outputs)
            return walk_fail(w, "tree %zu: output %lld of %zu", i, (long long)r->info[i], t->n_outputs);
        t->trees[i].output = (uint32_t)r->info[i];
    }
    return true;
}

static bool check_whole(struct walk *w, struct reading *r)
{
    struct ubj_trees *t = r->t;
    bool sigmoid;

    if (!ubj_knows_objective(t->objective))
        return walk_fail(w, "objective '%.60s'; expected one of %s", t->objective, ubj_objectives());
    if (r->num_class > 1)
        return walk_fail(w, "%lld classes; expected none", (long long)r->num_class);
    t->n_outputs = r->num_target > 1 ? (size_t)r->num_target : 1;
    if (r->n_base_score != 1 && r->n_base_score != t->n_outputs)
        return walk_fail(w, "base_score of %zu numbers, %zu outputs", r->n_base_score, t->n_outputs);
    sigmoid = strcmp(t->objective, "binary:logistic") == 0 || strcmp(t->objective, "reg:logistic") == 0;
    t->base_score = arena_alloc(&t->memory, t->n_outputs * sizeof(*t->base_score));
    for (size_t i = 0; i < t->n_outputs; i++) {
        t->base_score[i] = r->base_score[r->n_base_score == 1 ? 0 : i];
        if (sigmoid && !(t->base_score[i] > 0 && t->base_score[i] < 1))
            return walk_fail(w, "base_score: expected a probability for %s", t->objective);
    }
    return check_rounds(w, r) && check_features(w, r);
}

enum status ubj_read(struct view bytes, struct ubj_trees **ret_trees, struct error *err)
{
    static const struct walk_field fields[] = {{"learner", root_learner, false}, {"version", root_version, false}};
    struct walk w = {.begin = bytes.data, .p = bytes.data, .end = bytes.data + bytes.n, .err = err};
    struct reading r = {.num_parallel = 1};
    bool ok;

    if (bytes.n > UBJ_BYTES_MAX)
        return err_set(err, ERR_RECORD, "model bytes: expected at most %zu bytes, got %zu", UBJ_BYTES_MAX, bytes.n);
    r.t = xcalloc(1, sizeof(*r.t));
    ok = walk_object(&w, fields, ARRAY_LEN(fields), &r) &&
         (w.p == w.end || walk_fail(&w, "expected the end, got %zu more bytes", (size_t)(w.end - w.p))) && check_whole(&w, &r);
    arena_done(&r.scratch);
    if (!ok) {
        ubj_trees_free(r.t);
        return ERR_RECORD;
    }
    *ret_trees = r.t;
    return OK;
}

void ubj_trees_free(struct ubj_trees *t)
{
    if (t == NULL)
        return;
    arena_done(&t->memory);
    free(t);
}
