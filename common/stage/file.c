/* common/stage/file.c: the log as Avro container files: a worker as a Unix filter, no broker. */
/*
 * A record's partition and offset are what they would be on the topic (file_topic.h), so a run over files gives the same
 * records as a run on Kafka over the same ones. Outputs come in the order of the emitting input's records, dead letters
 * in that of each input. Marks are not written. The topic of the models, whose records have several schemas, is a file
 * of keyed records (wire/keyed.h).
 */
#include <assert.h>
#include <stdlib.h>

#include "kafka/kafka.h"
#include "stage/file_order.h"
#include "stage/file_topic.h"
#include "stage/finite.h"
#include "wire/container.h"
#include "wire/frame.h"
#include "wire/keyed.h"

struct file_input {
    struct file_topic *file;
    struct file_order order;
};

struct file_output {
    const char *topic; /* broker name */
    struct container_writer *writer;
};

struct log_file {
    struct finite finite;
    struct file_input in[INPUTS_MAX];
    struct file_output out[FILES_MAX];
    size_t n_out;
    struct schema *keyed;
    struct bytes body;
};

/* ---- which file stands for which topic ---- */

/* The stage's topics in the order in which files without a name stand for them. */
static size_t input_topics(const struct stage *s, const char **ret, size_t *ret_needed)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        ret[n++] = s->inputs[i].topic->broker_name;
    if (s->def->label_from >= 0)
        ret[n++] = s->pipeline->topics[s->def->label_from].broker_name;
    *ret_needed = n;
    if (s->def->model)
        ret[n++] = MODELS_TOPIC;
    return n;
}

static size_t output_topics(const struct stage *s, const char **ret)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_outputs; i++)
        ret[n++] = s->outputs[i].topic->broker_name;
    if (s->def->model && n == 0)
        ret[n++] = MODELS_TOPIC;
    ret[n++] = s->dead_letters;
    return n;
}

/* By the broker's name of the topic, or by what follows its first dot. */
static bool is_named(const char *topic, struct view name)
{
    return view_eq(view_str(topic), name) || view_eq(view_str(strchr(topic, '.') + 1), name);
}

/* "TOPIC=FILE", or FILE alone for the k-th topic. The topic, or NULL; *ret_path in both cases. */
static const char *topic_of(const char *arg, size_t k, const char *const *topics, size_t n, const char **ret_path)
{
    const char *eq = strchr(arg, '='), *slash = strchr(arg, '/');

    *ret_path = arg;
    if (eq == NULL || (slash && slash < eq))
        return k < n ? topics[k] : NULL;
    *ret_path = eq + 1;
    for (size_t i = 0; i < n; i++)
        if (is_named(topics[i], view_of(arg, (size_t)(eq - arg))))
            return topics[i];
    return NULL;
}

const char *stage_file(const struct stage *s, const char *topic)
{
    const char *topics[FILES_MAX], *path, *of;
    size_t needed, n = input_topics(s, topics, &needed);

    for (size_t k = 0; k < s->opt.n_in; k++) {
        of = topic_of(s->opt.in[k], k, topics, n, &path);
        if (of && strcmp(of, topic) == 0)
            return path;
    }
    return NULL;
}

/* Every --in is a topic of the stage, no topic has two, and what is needed is there. */
static enum status check_inputs(const struct stage *s, struct error *err)
{
    const char *topics[FILES_MAX], *path;
    size_t needed, n = input_topics(s, topics, &needed), given[FILES_MAX] = {0};

    for (size_t k = 0; k < s->opt.n_in; k++) {
        const char *of = topic_of(s->opt.in[k], k, topics, n, &path);

        if (of == NULL)
            return err_set(err, ERR_FATAL, "--in %s: stage %s reads no such topic", s->opt.in[k], s->def->name);
        for (size_t i = 0; i < n; i++)
            if (topics[i] == of && given[i]++)
                return err_set(err, ERR_FATAL, "--in %s: a second file for %s", s->opt.in[k], of);
    }
    for (size_t i = 0; i < needed; i++)
        if (!given[i])
            return err_set(err, ERR_FATAL, "stage %s reads %s: give its file by --in (one without records will do)", s->def->name,
                           topics[i]);
    return OK;
}

/* ---- the log ---- */

static enum status write_out(void *log, int out, struct view value, struct error *err)
{
    struct log_file *l = log;

    return container_append(l->out[out].writer, value, err);
}

static enum status flush(struct log_file *l, struct error *err)
{
    for (size_t i = 0; i < l->finite.stage->n_inputs; i++)
        if (file_order_flush(&l->in[i].order, write_out, l, err) != OK)
            return err->status;
    return OK;
}

/* *ret_got false: the file has ended. */
static enum status take_one(struct log_file *l, size_t i, struct log_record *r, bool *ret_got, struct error *err)
{
    struct file_input *in = &l->in[i];
    uint64_t number;

    if (file_topic_next(in->file, r, err) != OK)
        return err->status;
    *ret_got = r->value.data != NULL;
    l->finite.in[i].ended = !*ret_got;
    if (!*ret_got)
        return OK;
    r->value = file_order_begin(&in->order, r->value, &number);
    r->handle = (void *)(uintptr_t)number;
    r->input = (int)i;
    return OK;
}

static enum status file_take(struct log *log, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n,
                             struct log_assignment *a, struct error *err)
{
    struct log_file *l = (struct log_file *)log;
    struct stage *s = l->finite.stage;
    size_t n = 0;

    (void)timeout_ms;
    finite_take(&l->finite, a);
    if (flush(l, err) != OK)
        return err->status;
    for (size_t i = 0; i < s->n_inputs; i++) {
        size_t share = cap / s->n_inputs * (i + 1);
        bool got = finite_open(&l->finite, i);

        while (got && n < share) {
            if (take_one(l, i, &ret[n], &got, err) != OK)
                return err->status;
            n += got;
        }
        for (; n < share && finite_next_end(&l->finite, i, &ret[n]); n++)
            ret[n].offset = file_topic_offset(l->in[i].file, ret[n].partition);
    }
    *ret_n = n;
    return OK;
}

static void file_release(struct log *log, struct log_record *r)
{
    struct log_file *l = (struct log_file *)log;

    finite_moved(&l->finite);
    file_order_end(&l->in[r->input].order, (uint64_t)(uintptr_t)r->handle);
}

/* Records that stem from no other are those of the models. */
static enum status put_keyed(struct log_file *l, struct container_writer *to, const struct log_put *put, struct error *err)
{
    assert(strcmp(put->topic, MODELS_TOPIC) == 0);
    bytes_clear(&l->body);
    keyed_put(put->key, put->value, &l->body);
    return container_append(to, view_of(l->body.data, l->body.n), err);
}

static enum status file_put(struct log *log, const struct log_put *put, struct error *err)
{
    struct log_file *l = (struct log_file *)log;
    size_t i = 0;

    while (i < l->n_out && strcmp(l->out[i].topic, put->topic) != 0)
        i++;
    if (put->value.data == NULL || i == l->n_out)
        return OK;
    if (put->from == NULL)
        return put_keyed(l, l->out[i].writer, put, err);
    file_order_park(&l->in[put->from->input].order, (uint64_t)(uintptr_t)put->from->handle, (int)i,
                    view_of(put->value.data + FRAME_BYTES, put->value.n - FRAME_BYTES));
    return OK;
}

static enum status file_commit(struct log *log, const struct log_position *at, size_t n, bool *ret_unmoved, struct error *err)
{
    (void)log, (void)at, (void)n, (void)err;
    *ret_unmoved = true;
    return OK;
}

static enum status file_partitions(struct log *log, const char *topic, int *ret_n, struct error *err)
{
    (void)log, (void)topic, (void)err;
    *ret_n = 1;
    return OK;
}

static enum status file_finish(struct log *log, struct error *err)
{
    struct log_file *l = (struct log_file *)log;
    enum status st = flush(l, err);

    for (size_t i = 0; i < l->n_out; i++) {
        struct error one;

        if (container_finish(l->out[i].writer, &one) != OK && st == OK) {
            *err = one;
            st = one.status;
        }
    }
    l->n_out = 0;
    return st;
}

static void file_close(struct log *log)
{
    struct log_file *l = (struct log_file *)log;
    struct error said; /* by whatever kept the loop from finishing the log itself */

    if (l->n_out)
        (void)file_finish(log, &said);
    for (size_t i = 0; i < l->finite.stage->n_inputs; i++) {
        file_topic_close(l->in[i].file);
        file_order_done(&l->in[i].order);
    }
    schema_free(l->keyed);
    bytes_done(&l->body);
    finite_done(&l->finite);
    free(l);
}

static const struct log_ops ops = {
    .take = file_take, .release = file_release, .committed = finite_committed, .seek = finite_seek,
    .pause = finite_pause, .put = file_put, .commit = file_commit, .abort = finite_abort, .restore = finite_restore,
    .partitions = file_partitions, .finish = file_finish, .close = file_close,
};

static enum status open_input(struct log_file *l, size_t i, struct error *err)
{
    const struct stage *s = l->finite.stage;
    const struct topic *t = s->inputs[i].topic;

    return file_topic_open(stage_file(s, t->broker_name), t, s->n_tasks_all, s->registry, &l->in[i].file, err);
}

static const struct schema *schema_of(const struct log_file *l, const char *topic)
{
    const struct stage *s = l->finite.stage;

    if (strcmp(topic, MODELS_TOPIC) == 0)
        return l->keyed;
    if (strcmp(topic, s->dead_letters) == 0)
        return s->dead_schema;
    return pipeline_topic(s->pipeline, topic)->schema;
}

static enum status open_output(struct log_file *l, size_t k, struct error *err)
{
    const struct stage *s = l->finite.stage;
    const char *topics[FILES_MAX], *path, *topic;
    size_t n = output_topics(s, topics);

    topic = topic_of(s->opt.out[k], k, topics, n, &path);
    if (topic == NULL)
        return err_set(err, ERR_FATAL, "--out %s: stage %s writes no such topic", s->opt.out[k], s->def->name);
    for (size_t i = 0; i < l->n_out; i++)
        if (strcmp(l->out[i].topic, topic) == 0)
            return err_set(err, ERR_FATAL, "--out %s: a second file for %s", s->opt.out[k], topic);
    if (container_create(path, schema_of(l, topic), &l->out[l->n_out].writer, err) != OK)
        return err->status;
    l->out[l->n_out++].topic = topic;
    return OK;
}

enum status log_file_open(struct stage *s, struct log **ret_log, struct error *err)
{
    struct log_file *l = xcalloc(1, sizeof(*l));
    enum status st = check_inputs(s, err);

    finite_init(&l->finite, s, &ops);
    if (st == OK)
        st = schema_parse(view_str(KEYED_SCHEMA), NULL, NULL, &l->keyed, err);
    for (size_t i = 0; i < s->n_inputs && st == OK; i++)
        st = open_input(l, i, err);
    for (size_t k = 0; k < s->opt.n_out && st == OK; k++)
        st = open_output(l, k, err);
    if (st != OK) {
        file_close(&l->finite.log);
        return st;
    }
    *ret_log = &l->finite.log;
    return OK;
}
