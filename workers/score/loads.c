#include "workers/score/loads.h"

#include <string.h>

#include "base/fail.h"
#include "base/log.h"

static void unload(struct loaded *l)
{
    model_free(l->model);
    forecaster_free(l->forecaster);
    l->model = NULL;
    l->forecaster = NULL;
}

static enum status load_score(const struct loads *c, const struct model_version *v, struct loaded *l, struct error *err)
{
    if (v->record->target)
        return err_set(err, ERR_RECORD, "expected a model of one score a row, it gives forecasts");
    if (model_try(v->bytes, err) != OK || model_load(v->bytes, &l->model, err) != OK ||
        model_expects(l->model, v->record->features, v->record->n_features, err) != OK)
        return err->status;
    if (model_n_outputs(l->model) != 1)
        return err_set(err, ERR_RECORD, "expected one output, got %zu", model_n_outputs(l->model));
    log_info("model_loaded", "model=%s version=%d flat=%d rows_checked=%zu", c->def->model, l->version, model_is_flat(l->model),
             model_rows_checked(l->model));
    return OK;
}

/* Its outputs are those of the rows' schema. */
static enum status load_forecaster(const struct loads *c, const struct model_version *v, struct loaded *l, struct error *err)
{
    const struct stage_def *def = c->def;
    const struct model_record *m = v->record;
    bool same = m->target && m->n_outputs == def->n_outputs && (m->target->lead_time > 0) == (def->target->lead_time > 0);

    for (size_t i = 0; same && i < m->n_outputs; i++)
        same = strcmp(m->outputs[i].name, def->outputs[i].name) == 0;
    if (!same)
        return err_set(err, ERR_RECORD, "expected the outputs of the pipeline's train stage, it has others: train it again");
    if (forecaster_load(m, v->bytes, c->numbers, c->n_numbers, /* tries= */ true, &l->forecaster, err) != OK)
        return err->status;
    log_info("model_loaded", "model=%s version=%d outputs=%zu flat=%d", def->model, l->version, m->n_outputs,
             forecaster_is_flat(l->forecaster));
    return OK;
}

const struct loaded *loads_get(struct loads *c, const struct model_store *store, int32_t version)
{
    const struct model_version *v;
    struct loaded *l = &c->all[0];
    struct error err = {0};

    if (c->last && c->last->version == version) {
        c->last->used = ++c->uses;
        return c->last;
    }
    for (size_t i = 0; i < LOADS_MAX; i++) {
        if (c->all[i].version == version) {
            c->all[i].used = ++c->uses;
            return c->last = &c->all[i];
        }
        if (c->all[i].used < l->used)
            l = &c->all[i];
    }
    v = model_store_version(store, c->def->model, version);
    if (v == NULL)
        return NULL;
    unload(l);
    *l = (struct loaded){.version = version, .record = v->record, .used = ++c->uses};
    (void)FAIL("score.model_swap", &err);
    if ((c->def->target ? load_forecaster(c, v, l, &err) : load_score(c, v, l, &err)) == OK)
        return l;
    log_warn("model_refused", "model=%s version=%d reason=\"%s\"", c->def->model, version, err.text);
    unload(l);
    return l;
}

void loads_done(struct loads *c)
{
    for (size_t i = 0; i < LOADS_MAX; i++)
        unload(&c->all[i]);
}
