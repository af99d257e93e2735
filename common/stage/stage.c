/* common/stage/stage.c: the program around the loop: its start, what a worker may ask of it, its end. */
#include "stage/stage.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/kafka.h"
#include "kafka/log_kafka.h"
#include "ops/signals.h"
#include "stage/internal.h"
#include "wire/frame.h"

#define LARGE_BYTES (256 << 10)

const struct pipeline *stage_pipeline(const struct stage *s)
{
    return s->pipeline;
}

const struct stage_def *stage_def(const struct stage *s)
{
    return s->def;
}

struct metrics *stage_metrics(struct stage *s)
{
    return &s->metrics;
}

struct registry *stage_registry(struct stage *s)
{
    return s->registry;
}

int64_t stage_since(const struct stage *s)
{
    return s->opt.since_ms;
}

int64_t stage_until(const struct stage *s)
{
    return s->opt.until_ms;
}

const char *stage_model(const struct stage *s)
{
    return s->opt.model;
}

const char *stage_brokers(const struct stage *s)
{
    return s->is_file ? NULL : s->opt.brokers;
}

void stage_want(struct stage *s, size_t input, const char *name, enum col_type type)
{
    struct input *in = &s->inputs[input];

    for (size_t i = 0; i < in->n_wants; i++)
        if (strcmp(in->wants[i].path, name) == 0)
            return;
    assert(in->n_wants < WANTS_MAX);
    in->wants[in->n_wants++] = (struct want){name, type};
}

enum status stage_put(struct stage *s, const char *topic, struct view key, const struct schema *schema, struct view body,
                      struct error *err)
{
    struct bytes value = BYTES_EMPTY;
    struct log_put put = {.topic = topic, .key = key, .atomic = true};
    enum status st;
    int n;

    if (s->log->ops->partitions(s->log, topic, &n, err) != OK)
        return err->status;
    put.partition = kafka_partition(key, n);
    frame_put(&value, schema_id(schema));
    bytes_append(&value, body.data, body.n);
    put.value = view_of(value.data, value.n);
    st = output_put(s, &put, err);
    if (st == OK)
        metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_PUT, 1);
    bytes_done(&value);
    s->turn_changed = true;
    return st;
}

static int answer_registry(void *arg, const char *method, const char *path, struct view body, struct bytes *ret_json)
{
    return registry_http(arg, method, path, body, ret_json);
}

static enum status register_schemas(struct stage *s, struct error *err)
{
    const char *shared[] = {"State", "DeadLetter"};
    struct schema **to[] = {&s->state_schema, &s->dead_schema};
    const struct schema *kept;

    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        if (pipeline_schema(s->pipeline, shared[i], to[i], err) != OK)
            return err->status;
    }
    for (size_t i = 0; i < s->pipeline->n_topics; i++) {
        const struct topic *t = &s->pipeline->topics[i];
        char subject[300];

        snprintf(subject, sizeof(subject), "%s-value", t->broker_name);
        if (registry_add(s->registry, subject, view_str(schema_json(t->schema)), &kept, err) != OK)
            return err->status;
    }
    return OK;
}

/* The clients connect while the stage goes on: what comes later finds them ready. */
static enum status open_clients(struct stage *s, struct error *err)
{
    if (s->is_file)
        return OK;
    if (schema_feed_new(s->opt.brokers, s->pipeline, &s->schemas, err) != OK)
        return err->status;
    if (s->opt.into || s->n_inputs == 0)
        return OK;
    return log_kafka_new(s->pipeline, s->def, s->opt.brokers, s->opt.instance, s->has_changelog, &s->log, err);
}

/* And what others have published. */
static enum status load_schemas(struct stage *s, struct error *err)
{
    s->schemas_looked_ms = clock_wall_ms();
    return s->schemas ? schema_feed_look(s->schemas, s->registry, err) : OK;
}

/* Also where a stage that only passes on (score) stands between. */
static bool may_repeat(const struct pipeline *p, const struct topic *t)
{
    while (t->writer >= 0) {
        const struct stage_def *writer = &p->stages[t->writer];

        if (writer->at_least_once)
            return true;
        if (strcmp(writer->worker, "score") != 0)
            break;
        t = &p->topics[writer->from[0]];
    }
    return false;
}

static void wire_input(const struct stage *s, struct input *in, const struct topic *t)
{
    const struct stage_def *writer = pipeline_orders(s->pipeline, t);

    in->topic = t;
    in->outside = writer == NULL;
    if (writer == NULL)
        return;
    in->tasks = s->pipeline->topics[writer->from[0]].partitions;
    in->epoch = writer->epoch;
    in->repeats = may_repeat(s->pipeline, t);
    in->marked = t->ordered && !s->worker->stateless_order && !s->def->arrival_order;
}

static enum status wire_up(struct stage *s, struct error *err)
{
    s->n_inputs = s->def->n_from;
    s->n_outputs = s->def->n_to;
    if (s->n_inputs > INPUTS_MAX || s->n_outputs > INPUTS_MAX)
        return err_set(err, ERR_FATAL, "stage %s: at most %d topics in and out", s->def->name, INPUTS_MAX);
    for (size_t i = 0; i < s->n_inputs; i++)
        wire_input(s, &s->inputs[i], &s->pipeline->topics[s->def->from[i]]);
    for (size_t o = 0; o < s->n_outputs; o++) {
        s->outputs[o].topic = &s->pipeline->topics[s->def->to[o]];
        s->outputs[o].partitions = s->outputs[o].topic->partitions;
    }
    for (size_t i = 0; i < s->pipeline->n_topics; i++) {
        const struct topic *t = &s->pipeline->topics[i];

        s->ahead_ms = t->writer < 0 && t->time_ahead_ms > s->ahead_ms ? t->time_ahead_ms : s->ahead_ms;
    }
    s->n_tasks_all = s->n_inputs ? s->inputs[0].topic->partitions : 0;
    s->by_key = strcmp(s->worker->name, "preprocess") == 0;
    s->has_changelog = !s->finite && s->n_inputs != 0;
    s->stateful = s->has_changelog && !s->worker->stateless_order;
    for (size_t o = 0; o < s->n_outputs && !s->finite && !s->worker->stateless_order; o++)
        s->rekeys |= s->outputs[o].topic->ordered;
    s->changelog = arena_printf(s->pipeline->arena, "%s.%s.changelog", s->pipeline->name, s->def->name);
    s->dead_letters = arena_printf(s->pipeline->arena, "%s.dead_letters", s->pipeline->name);
    return OK;
}

static enum status load(struct stage *s, struct error *err)
{
    struct bytes faults = BYTES_EMPTY;

    if (pipeline_load(s->opt.pipeline, &s->pipeline, &faults, err) != OK) {
        fprintf(stderr, "%.*s", (int)faults.n, faults.n ? (const char *)faults.data : "");
        bytes_done(&faults);
        return ERR_FATAL;
    }
    bytes_done(&faults);
    s->def = pipeline_stage(s->pipeline, s->opt.stage);
    if (s->def == NULL)
        return err_set(err, ERR_FATAL, "%s has no stage '%s'", s->opt.pipeline, s->opt.stage);
    if (strcmp(s->def->worker, s->worker->name) != 0)
        return err_set(err, ERR_FATAL, "stage %s is for the worker %s, this is %s", s->def->name, s->def->worker, s->worker->name);
    return OK;
}

static enum status start_http(struct stage *s, struct error *err)
{
    FILE *f;

    ops_registry(s->ops, answer_registry, s->registry);
    if (s->opt.http == NULL)
        return OK;
    if (ops_http_start(s->ops, s->opt.http, NULL, err) != OK)
        return err->status;
    log_info("http", "port=%d", ops_http_port(s->ops));
    if (s->opt.http_file == NULL)
        return OK;
    f = fopen(s->opt.http_file, "w");
    if (f == NULL)
        return err_set(err, ERR_FATAL, "%s: cannot be written", s->opt.http_file);
    fprintf(f, "%d\n", ops_http_port(s->ops));
    return fclose(f) == 0 ? OK : err_set(err, ERR_FATAL, "%s: cannot be written: is the disk full?", s->opt.http_file);
}

enum status stage_load(struct stage *s, struct error *err)
{
    s->is_file = s->opt.n_in != 0;
    s->finite = s->is_file || s->opt.into;
    if (load(s, err) != OK || wire_up(s, err) != OK)
        return err->status;
    s->pipeline->memory = memory_split(s->def->memory_bytes);
    log_name(arena_printf(s->pipeline->arena, "%s.%s", s->pipeline->name, s->def->name));
    if (!s->is_file)
        s->opt.brokers = kafka_brokers(s->opt.brokers);
    metrics_init(&s->metrics, s->pipeline->name, s->def->name);
    s->ops = ops_new(&s->metrics);
    s->registry = registry_new();
    s->changelog_bytes = CHANGELOG_BYTES;
    s->changelog_bytes_max = CHANGELOG_BYTES_MAX;
    if (register_schemas(s, err) != OK)
        return err->status;
    output_open(s);
    return OK;
}

enum status stage_start(struct stage *s, struct error *err)
{
    struct topic_spec needed[CHECK_MAX];

    if (open_clients(s, err) != OK)
        return err->status;
    if (s->worker->open && s->worker->open(s, &s->ctx, err) != OK)
        return err->status;
    s->timed = s->worker->due && s->worker->due(s->ctx, 0) != INT64_MAX;
    if (load_schemas(s, err) != OK || intake_open(s, err) != OK || start_http(s, err) != OK)
        return err->status;
    s->at_min_told = INT64_MIN;
    s->committed_ms = clock_wall_ms();
    if (s->n_inputs == 0)
        return s->finite ? OK : kafka_topics_check(s->opt.brokers, s->pipeline, needed, check_topics(s, needed), err);
    if (s->is_file)
        return log_file_open(s, &s->log, err);
    if (s->opt.into)
        return log_range_open(s, &s->log, err);
    return log_kafka_begin(s->log, needed, check_topics(s, needed), err);
}

/* A stage without inputs (ingest without a source): its port answers until it is stopped. */
static void serve(struct stage *s)
{
    ops_ready(s->ops, true, "no source of its own: publish with `millrace publish`");
    while (!signals_stopping()) {
        ops_beat(s->ops);
        clock_nap_ms(100);
    }
}

void stage_end(struct stage *s)
{
    if (s->log) {
        loop_drop_tasks(s);
        s->log->ops->close(s->log);
    }
    if (s->worker->close && s->ctx)
        s->worker->close(s->ctx);
    free(s->tasks);
    free(s->assigned);
    if (s->ops)
        ops_free(s->ops);
    schema_feed_free(s->schemas);
    intake_close(s);
    output_close(s);
    if (s->registry)
        registry_free(s->registry);
    schema_free(s->state_schema);
    schema_free(s->dead_schema);
    pipeline_free(s->pipeline);
    arena_done(&s->batch);
    arena_done(&s->scratch);
    free(s);
}

static void tell_memory(const struct memory *m)
{
    log_info("memory", "mib=%zu fetched=%zu to_send=%zu batches=%zu held=%zu state=%zu", m->all / MEMORY_MIB, m->fetch / MEMORY_MIB,
             m->producer / MEMORY_MIB, m->batches / MEMORY_MIB, m->held / MEMORY_MIB, m->state / MEMORY_MIB);
}

/* A record is allocated by one thread and freed by another: with a heap each, both pay for it in time and memory. What is large comes from
 * the system and goes back to it; by default glibc counts more and more as small once it was freed, and keeps it amid the heap. */
static void share_heap(void)
{
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, 4 * LARGE_BYTES);
}

int stage_main(const struct worker *w, int argc, char **argv)
{
    struct stage *s = xcalloc(1, sizeof(*s));
    struct error err = {0};
    enum status st;
    int code;

    share_heap();
    s->worker = w;
    code = options_read(w, argc, argv, &s->opt);
    if (code >= 0) {
        free(s);
        return code;
    }
    st = stage_load(s, &err);
    if (st == OK)
        st = signals_start(&err);
    if (st == OK)
        st = stage_start(s, &err);
    if (st == OK) {
        tell_memory(&s->pipeline->memory);
        log_info("started", "tasks_all=%d brokers=%s", s->n_tasks_all, s->is_file ? "none" : s->opt.brokers);
        if (s->n_inputs == 0)
            serve(s);
        else
            st = loop_run(s, &err);
    }
    if (st != OK && err.text[0])
        log_error("stopped", "reason=\"%s\"", err.text);
    if (s->finite && signals_stopping())
        code = SIGNALS_EXIT; /* not all of its input went through */
    else
        code = st == OK ? 0 : s->pipeline == NULL ? 2 : 1;
    stage_end(s);
    log_info("ended", "status=%d", code);
    return code;
}
