#include "workers/train/publish.h"

#include <math.h>

enum status publish_schemas_load(const struct pipeline *p, struct publish_schemas *ret_schemas, struct error *err)
{
    if (pipeline_schema(p, "Model", &ret_schemas->model, err) != OK ||
        pipeline_schema(p, "ModelPart", &ret_schemas->part, err) != OK ||
        pipeline_schema(p, "Routing", &ret_schemas->routing, err) != OK)
        return err->status;
    return pipeline_schema(p, "Verdict", &ret_schemas->verdict, err);
}

void publish_schemas_done(struct publish_schemas *s)
{
    schema_free(s->model);
    schema_free(s->part);
    schema_free(s->routing);
    schema_free(s->verdict);
}

struct putting {
    const struct publish_schemas *schemas;
    publish_fn *put;
    void *ctx;
    struct bytes key, body;
};

static enum status put_one(struct putting *p, const struct schema *schema, struct error *err)
{
    enum status st = p->put(p->ctx, view_of(p->key.data, p->key.n), schema, view_of(p->body.data, p->body.n), err);

    bytes_clear(&p->body);
    return st;
}

static enum status put_model(struct putting *p, struct job *j, const struct sign_key *key, struct error *err)
{
    struct view bytes = view_of(j->model.data, j->model.n);

    for (size_t i = 0; i < model_part_count(bytes.n); i++) {
        model_key_part(j->record.name, j->record.version, (int32_t)i, &p->key);
        model_part_encode(bytes, i, &p->body);
        if (put_one(p, p->schemas->part, err) != OK)
            return err->status;
    }
    model_key_record(j->record.name, j->record.version, &p->key);
    model_record_sign(&j->record, bytes, key, &p->body);
    return put_one(p, p->schemas->model, err);
}

static enum status put_all(struct putting *p, struct job *j, const struct sign_key *key, int64_t seq, int64_t created_ms,
                           struct error *err)
{
    bool single = j->span.boundary_ms == INT64_MIN;
    struct routing r = {.name = j->def->model, .seq = seq, .champion = j->record.version, .canary_version = -1,
                        .from_ms = j->span.as_of_ms + j->def->model_lag_ms, .created_ms = created_ms,
                        .reason = j->reason};
    struct verdict v = {.name = j->def->model, .boundary_ms = j->span.boundary_ms, .version = -1, .routing_seq = -1,
                        .outcome = job_outcome(j), .reason = j->reason, .created_ms = created_ms};

    if (j->trained) {
        if (put_model(p, j, key, err) != OK)
            return err->status;
        v.version = j->record.version;
        v.metrics = j->record.metrics;
        v.n_metrics = j->record.n_metrics;
    }
    if (j->trained && j->promoted) {
        model_key_routing(r.name, seq, &p->key);
        routing_sign(&r, key, &p->body);
        if (put_one(p, p->schemas->routing, err) != OK)
            return err->status;
        v.routing_seq = seq;
    }
    if (single)
        return OK;
    model_key_verdict(v.name, v.boundary_ms, &p->key);
    verdict_encode(&v, &p->body);
    return put_one(p, p->schemas->verdict, err);
}

enum status publish(struct job *j, const struct model_store *store, const struct sign_key *key,
                    const struct publish_schemas *schemas, int64_t created_ms, publish_fn *put, void *ctx, struct error *err)
{
    struct putting p = {.schemas = schemas, .put = put, .ctx = ctx};
    enum status st;

    if (j->trained && j->record.version == 0) {
        j->record.version = model_store_next_version(store, j->def->model);
        j->record.created_ms = created_ms;
    }
    st = put_all(&p, j, key, model_store_next_seq(store, j->def->model), created_ms, err);
    bytes_done(&p.key);
    bytes_done(&p.body);
    return st;
}
