#include "model/model.h"

#include <stdlib.h>

#include "model/flat.h"
#include "model/model_check.h"
#include "model/shap.h"

#define REASONS_CHECKED 64

struct model {
    struct booster *booster;
    struct flat *flat; /* NULL: it did not agree with libxgboost */
    struct shap *shap; /* NULL: a tree is too large, or it did not agree with libxgboost */
    size_t n_reasons_checked;
    struct arena names;
    char **features; /* NULL: none */
    size_t n_features;
    size_t n_outputs;
    size_t n_rows_checked;
};

static void copy_names(struct model *m, const struct ubj_trees *t)
{
    if (t->features == NULL)
        return;
    m->features = arena_alloc(&m->names, t->n_features * sizeof(*m->features));
    for (size_t i = 0; i < t->n_features; i++)
        m->features[i] = arena_strdup(&m->names, t->features[i]);
}

static enum status fill(struct model *m, struct view bytes, const struct ubj_trees *t, struct error *err)
{
    bool agree = false;

    m->n_features = t->n_features;
    m->n_outputs = t->n_outputs;
    copy_names(m, t);
    if (booster_load_walked(bytes, t, &m->booster, err) != OK)
        return err->status;
    m->flat = flat_new(t);
    m->shap = shap_new(t);
    if (model_check(t, m->flat, m->booster, &m->n_rows_checked, &agree, err) != OK)
        return err_wrap(err, "self-check");
    if (!agree) {
        flat_free(m->flat);
        m->flat = NULL;
    }
    return OK;
}

enum status model_load(struct view bytes, struct model **ret_model, struct error *err)
{
    struct ubj_trees *t = NULL;
    struct model *m;
    enum status st = ubj_read(bytes, &t, err);

    if (st != OK)
        return st;
    m = xcalloc(1, sizeof(*m));
    st = fill(m, bytes, t, err);
    ubj_trees_free(t);
    if (st == OK)
        *ret_model = m;
    else
        model_free(m);
    return st;
}

void model_free(struct model *m)
{
    if (m == NULL)
        return;
    booster_free(m->booster);
    flat_free(m->flat);
    shap_free(m->shap);
    arena_done(&m->names);
    free(m);
}

size_t model_n_features(const struct model *m)
{
    return m->n_features;
}

size_t model_n_outputs(const struct model *m)
{
    return m->n_outputs;
}

const char *model_feature(const struct model *m, size_t i)
{
    return m->features && i < m->n_features ? m->features[i] : NULL;
}

bool model_is_flat(const struct model *m)
{
    return m->flat != NULL;
}

size_t model_rows_checked(const struct model *m)
{
    return m->n_rows_checked;
}

enum status model_expects(const struct model *m, const char *const *features, size_t n_features, struct error *err)
{
    if (m->n_features != n_features)
        return err_set(err, ERR_RECORD, "model: expected %zu features, it has %zu", n_features, m->n_features);
    if (m->features == NULL)
        return err_set(err, ERR_RECORD, "model: carries no feature names: their order cannot be checked");
    for (size_t i = 0; i < n_features; i++) {
        if (strcmp(features[i], m->features[i]) != 0)
            return err_set(err, ERR_RECORD, "model: feature %zu: expected '%.100s', it has '%.100s'", i, features[i],
                           m->features[i]);
    }
    return OK;
}

enum status model_predict(struct model *m, const float *rows, size_t n_rows, float *ret_scores, struct error *err)
{
    if (booster_rows_ok(rows, n_rows, m->n_features, err) != OK)
        return err->status;
    if (m->flat == NULL)
        return booster_predict(m->booster, rows, n_rows, ret_scores, err);
    flat_predict(m->flat, rows, n_rows, ret_scores);
    return OK;
}

/* The first rows that are explained are so by both, and shap goes if it differs in a bit. */
static enum status explain_checked(struct model *m, const float *rows, size_t n_rows, float *ret, struct error *err)
{
    size_t n = n_rows * m->n_outputs * (m->n_features + 1);
    float *ours;

    if (booster_contributions(m->booster, rows, n_rows, ret, err) != OK)
        return err->status;
    if (m->shap == NULL)
        return OK;
    ours = xmalloc((n + 1) * sizeof(*ours));
    shap_contributions(m->shap, rows, n_rows, ours);
    m->n_reasons_checked += n_rows;
    if (memcmp(ours, ret, n * sizeof(*ours)) != 0) {
        shap_free(m->shap);
        m->shap = NULL;
    }
    free(ours);
    return OK;
}

enum status model_contributions(struct model *m, const float *rows, size_t n_rows, float *ret_contributions,
                                struct error *err)
{
    if (m->shap == NULL || m->n_reasons_checked < REASONS_CHECKED)
        return explain_checked(m, rows, n_rows, ret_contributions, err);
    if (booster_rows_ok(rows, n_rows, m->n_features, err) != OK)
        return err->status;
    shap_contributions(m->shap, rows, n_rows, ret_contributions);
    return OK;
}
