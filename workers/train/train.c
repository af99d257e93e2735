#include "workers/train/train.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "kafka/kafka.h"
#include "ops/metrics.h"
#include "ops/signals.h"
#include "stage/models.h"
#include "workers/train/publish.h"
#include "workers/train/read.h"

#define ASK_EVERY_MS 100
#define AGAIN_MS 60000 /* a verdict that was put and is not seen by then was lost with its transaction */

struct train {
    const struct stage_def *def;
    struct models *models;
    struct sign_key *key;
    struct publish_schemas schemas;
    struct booster_param *params;
    int64_t at_min;
    int64_t next; /* the boundary that is decided next; INT64_MIN: not known yet */
    struct job *job;
    pthread_t thread;
    _Atomic bool finished;
    int64_t put_ms; /* 0: not put yet */
    int64_t retry_ms;
};

enum status train_check(const struct pipeline *p, const struct stage_def *def, struct error *err)
{
    const struct topic *t = &p->topics[def->from[0]];

    if (def->target == NULL && (def->label_from < 0 || def->label_on == NULL))
        return err_set(err, ERR_FATAL, "stage %s: expected \"label\" with \"from\" and \"on\"", def->name);
    if (def->n_model_features == 0)
        return err_set(err, ERR_FATAL, "stage %s: no features to learn from", def->name);
    for (size_t i = 0; def->target == NULL && i < def->n_model_features; i++)
        if (strcmp(def->model_features[i], t->time) == 0 || strcmp(def->model_features[i], def->label_on) == 0)
            return err_set(err, ERR_FATAL, "stage %s: '%s' is the time or the label's key and no feature", def->name,
                           def->model_features[i]);
    return OK;
}

void train_job(struct job *j, const struct pipeline *p, const struct stage_def *def, const struct model_store *store,
               struct booster_param *params)
{
    const struct routing *r = model_store_routing_last(store, def->model);
    const struct model_version *v = r ? model_store_version(store, def->model, r->champion) : NULL;

    *j = (struct job){.pipeline = p, .def = def, .params = params, .n_params = def->n_xgboost, .rounds = def->rounds};
    for (size_t i = 0; i < def->n_xgboost; i++)
        params[i] = (struct booster_param){def->xgboost[i].name, def->xgboost[i].value};
    if (v == NULL)
        return;
    bytes_append(&j->champion, v->bytes.data, v->bytes.n);
    j->champion_version = r->champion;
    j->champion_record = v->record;
}

enum status train_open(struct stage *s, void **ret_ctx, struct error *err)
{
    struct train *t = xcalloc(1, sizeof(*t));
    char path[4096];

    *ret_ctx = t;
    t->def = stage_def(s);
    t->at_min = t->next = INT64_MIN;
    if (train_check(stage_pipeline(s), t->def, err) != OK)
        return err->status;
    if (t->def->every_ms <= 0)
        return err_set(err, ERR_FATAL, "stage %s: expected \"every\", got none", t->def->name);
    t->params = xcalloc(t->def->n_xgboost + 1, sizeof(*t->params));
    models_key_path("secret", path, sizeof(path));
    if (stage_brokers(s) == NULL && models_keys_make(err) != OK) /* else the operator's command has made them */
        return err->status;
    if (sign_key_load(path, &t->key, err) != OK || publish_schemas_load(stage_pipeline(s), &t->schemas, err) != OK)
        return err->status;
    if ((stage_brokers(s) ? models_open(stage_brokers(s), stage_pipeline(s), t->def->model, NULL, &t->models, err)
                          : models_open_file(stage_file(s, MODELS_TOPIC), t->def->model, NULL, &t->models, err)) != OK)
        return err->status;
    return models_check_owner(t->models, stage_pipeline(s), t->def->model, err);
}

/* A row is taken for its `at` alone: a job reads rows from their topic, by offset. */
enum status train_transform(void *ctx, struct rows *in, struct out *outs, struct error *err)
{
    (void)ctx;
    (void)in;
    (void)outs;
    (void)err;
    return OK;
}

void train_progress(void *ctx, int64_t at_min)
{
    struct train *t = ctx;

    t->at_min = at_min;
}

static void *run_job(void *ctx)
{
    struct train *t = ctx;

    job_run(t->job);
    t->finished = true;
    return NULL;
}

static void drop_job(struct train *t)
{
    job_done(t->job);
    free(t->job);
    t->job = NULL;
    t->put_ms = 0;
}

static void describe_topics(struct job *j, struct stage *s)
{
    const struct pipeline *p = stage_pipeline(s);

    j->brokers = stage_brokers(s);
    j->registry = stage_registry(s);
    j->rows_file = stage_file(s, p->topics[j->def->from[0]].broker_name);
    if (j->def->target == NULL)
        j->labels_file = stage_file(s, p->topics[j->def->label_from].broker_name);
}

static enum status start_job(struct train *t, struct stage *s, struct error *err)
{
    t->job = xmalloc(sizeof(*t->job));
    train_job(t->job, stage_pipeline(s), t->def, models_store(t->models), t->params);
    describe_topics(t->job, s);
    t->job->span = schedule_span(t->def, t->next);
    t->finished = false;
    if (pthread_create(&t->thread, NULL, run_job, t) != 0) {
        drop_job(t);
        return err_set(err, ERR_FATAL, "stage %s: a thread for the training could not be started", t->def->name);
    }
    log_info("training", "model=%s boundary_ms=%" PRId64, t->def->model, t->next);
    return OK;
}

struct putting {
    struct train *train;
    struct stage *stage;
};

static enum status put_record(void *ctx, struct view key, const struct schema *schema, struct view body, struct error *err)
{
    const struct putting *p = ctx;

    /* Without a broker nobody else says what the models topic holds by now. */
    if (stage_brokers(p->stage) == NULL && models_add(p->train->models, key, body, err) != OK)
        return err->status;
    if (stage_put(p->stage, MODELS_TOPIC, key, schema, body, err) != OK)
        return err->status;
    return FAIL("train.publish", err);
}

/* A finished job's records go into the loop's transaction. */
static enum status put_job(struct train *t, struct stage *s, struct error *err)
{
    const struct job *j = t->job;
    int64_t created_ms = clock_wall_ms();
    struct putting putting = {t, s};

    if (t->put_ms == 0)
        pthread_join(t->thread, NULL);
    t->put_ms = created_ms;
    if (j->status == ERR_FATAL)
        return err_set(err, ERR_FATAL, "train %s: %s", t->def->model, j->err.text);
    if (j->status == ERR_RETRY) {
        if (!signals_stopping())
            log_warn("training_again", "model=%s reason=\"%s\"", t->def->model, j->err.text);
        t->retry_ms = created_ms + 1000;
        drop_job(t);
        return OK;
    }
    if (j->status == ERR_RECORD) { /* this boundary will never work: that is its verdict */
        t->job->reason = arena_strdup(&t->job->arena, j->err.text);
        t->job->trained = false;
        t->job->status = OK;
    }
    log_info("trained", "model=%s boundary_ms=%" PRId64 " outcome=%s rows=%" PRId64 " reason=\"%s\"", t->def->model, t->next,
             job_outcome(j), j->record.rows, j->reason);
    return publish(t->job, models_store(t->models), t->key, &t->schemas, created_ms, put_record, &putting, err);
}

/* By the topic's own beginning: a restart, wherever the loop stands then, leaves out no boundary. */
static enum status find_next(struct train *t, struct stage *s, struct error *err)
{
    struct job j = {.pipeline = stage_pipeline(s), .def = t->def};
    int64_t first_at;
    enum status st;

    describe_topics(&j, s);
    st = stage_brokers(s) ? stage_begins_at(s, &first_at, err) : read_first(&j, &first_at, err);
    job_done(&j);
    t->retry_ms = clock_wall_ms() + ASK_EVERY_MS;
    if (st != OK || first_at == INT64_MIN)
        return st;
    if (!stage_brokers(s) && stage_since(s) > first_at)
        first_at = stage_since(s) - 1;
    t->next = schedule_next(models_store(t->models), t->def->model, t->def->every_ms, first_at);
    return st;
}

enum status train_turn(void *ctx, struct stage *s, struct error *err)
{
    struct train *t = ctx;
    size_t n;

    if (stage_brokers(s) == NULL)
        return OK; /* train_finish */
    if (models_turn(t->models, &n, err) != OK || (n && models_check_owner(t->models, stage_pipeline(s), t->def->model, err) != OK))
        return err->status;
    if (t->job && !t->finished)
        return OK;
    if (t->job && t->put_ms && model_store_verdict(models_store(t->models), t->def->model, t->next)) {
        if (t->job->trained) /* decided, and everyone can see it */
            metrics_set(stage_metrics(s), METRIC_MODEL_VERSION, t->job->record.version);
        drop_job(t);
        t->next += t->def->every_ms;
    } else if (t->job && (t->put_ms == 0 || clock_wall_ms() - t->put_ms > AGAIN_MS)) {
        return put_job(t, s, err);
    }
    if (t->job || t->at_min == INT64_MIN || clock_wall_ms() < t->retry_ms)
        return OK;
    if (t->next == INT64_MIN && find_next(t, s, err) != OK)
        return err->status;
    return t->next != INT64_MIN && t->at_min >= t->next ? start_job(t, s, err) : OK;
}

/* Files: every boundary that the rows have passed and that is asked for, one after the other. */
enum status train_finish(void *ctx, struct stage *s, struct error *err)
{
    struct train *t = ctx;

    if (find_next(t, s, err) != OK)
        return err->status;
    while (!signals_stopping() && t->next != INT64_MIN && t->at_min >= t->next && t->next <= stage_until(s)) {
        if (start_job(t, s, err) != OK || put_job(t, s, err) != OK)
            return err->status;
        if (t->job == NULL) /* it came to nothing */
            continue;
        drop_job(t);
        t->next += t->def->every_ms;
    }
    return OK;
}

void train_close(void *ctx)
{
    struct train *t = ctx;

    if (t == NULL)
        return;
    if (t->job) {
        if (t->put_ms == 0)
            pthread_join(t->thread, NULL);
        drop_job(t);
    }
    models_free(t->models);
    sign_key_free(t->key);
    publish_schemas_done(&t->schemas);
    free(t->params);
    free(t);
}
