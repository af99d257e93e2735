/* common/stage/file.c: the log as Avro container files: a worker as a Unix filter, no broker. */
/*
 * A record's partition and offset are what they would be on the topic: murmur2 of its key, and a count per partition;
 * so a run over files gives the same records as a run on Kafka over the same ones. Marks are not written; dead letters
 * go to the file named for `dead_letters`, if any.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "stage/internal.h"
#include "stage/kafka.h"
#include "wire/container.h"

struct file_input {
    struct container_reader *reader;
    const struct schema *schema; /* in the stage's registry */
    struct decode_plan *key_plan;
    struct want key;
    int64_t *offsets; /* next, per partition */
    bool ended, told;
    int n_paused;
};

struct file_output {
    const char *topic; /* broker name */
    struct container_writer *writer;
};

struct log_file {
    struct log log;
    struct stage *stage;
    struct file_input in[INPUTS_MAX];
    struct file_output out[INPUTS_MAX + 1];
    size_t n_out;
    int *tasks;
    bool assigned;
    struct arena scratch;
};

static enum status key_partition(struct log_file *l, size_t i, struct view body, int *ret, struct error *err)
{
    struct file_input *in = &l->in[i];
    struct batch row;
    char text[32];

    *ret = 0;
    if (in->key_plan == NULL)
        return OK;
    arena_reset(&l->scratch);
    batch_init(&row, &l->scratch, 1);
    decode_begin(&in->key, 1, &row);
    row.n_rows = 1;
    if (decode_row(in->key_plan, body, &row, 0, err) != OK || row.cols[0].null[0])
        return OK; /* the loop dead-letters it */
    if (row.cols[0].type >= COL_STRING) {
        *ret = kafka_partition(row.cols[0].view[0], l->stage->n_tasks_all);
    } else {
        snprintf(text, sizeof(text), "%" PRId64, row.cols[0].i64[0]);
        *ret = kafka_partition(view_str(text), l->stage->n_tasks_all);
    }
    return OK;
}

static enum status take_one(struct log_file *l, size_t i, struct log_record *r, bool *ret_got, struct error *err)
{
    struct file_input *in = &l->in[i];
    struct view body;
    int partition;

    *ret_got = false;
    if (container_next(in->reader, &body, err) != OK)
        return err->status;
    if (body.data == NULL) {
        in->ended = true;
        return OK;
    }
    if (key_partition(l, i, body, &partition, err) != OK)
        return err->status;
    *r = (struct log_record){.input = (int)i, .partition = partition, .arrival_ms = -1, .bare = true,
                             .schema_id = schema_id(in->schema), .offset = in->offsets[partition]++};
    r->handle = xmalloc(body.n + 1);
    memcpy(r->handle, body.data, body.n);
    r->value = view_of(r->handle, body.n);
    *ret_got = true;
    return OK;
}

static enum status file_take(struct log *log, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n,
                             struct log_assignment *a, struct error *err)
{
    struct log_file *l = (struct log_file *)log;
    struct stage *s = l->stage;
    size_t share = cap / s->n_inputs;
    size_t n = 0;

    (void)timeout_ms;
    if (!l->assigned) {
        *a = (struct log_assignment){true, l->tasks, (size_t)s->n_tasks_all};
        l->assigned = true;
    }
    for (size_t i = 0; i < s->n_inputs; i++) {
        bool got = !l->in[i].ended && l->in[i].n_paused == 0;

        for (size_t k = 0; got && k + (size_t)s->n_tasks_all < share; k++) {
            if (take_one(l, i, &ret[n], &got, err) != OK)
                return err->status;
            n += got;
        }
        for (int p = 0; l->in[i].ended && !l->in[i].told && p < s->n_tasks_all; p++)
            ret[n++] = (struct log_record){.input = (int)i, .partition = p, .at_end = true, .offset = l->in[i].offsets[p]};
        l->in[i].told = l->in[i].ended;
    }
    *ret_n = n;
    return OK;
}

static void file_release(struct log *log, struct log_record *r)
{
    (void)log;
    free(r->handle);
    r->handle = NULL;
}

static enum status file_committed(struct log *log, int task, struct log_position *ret, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < ((struct log_file *)log)->stage->n_inputs; i++)
        ret[i] = (struct log_position){.input = (int)i, .partition = task, .offset = -1};
    return OK;
}

static enum status file_seek(struct log *log, int input, int partition, int64_t offset, struct error *err)
{
    (void)log, (void)input, (void)partition, (void)offset, (void)err;
    return OK;
}

static enum status file_pause(struct log *log, int input, int partition, bool paused, struct error *err)
{
    (void)partition, (void)err;
    ((struct log_file *)log)->in[input].n_paused += paused ? 1 : -1;
    return OK;
}

static enum status file_put(struct log *log, const struct log_put *put, struct error *err)
{
    struct log_file *l = (struct log_file *)log;

    if (put->value.data == NULL)
        return OK;
    for (size_t i = 0; i < l->n_out; i++)
        if (strcmp(l->out[i].topic, put->topic) == 0)
            return container_append(l->out[i].writer, view_of(put->value.data + 5, put->value.n - 5), err);
    return OK;
}

static enum status file_commit(struct log *log, const struct log_position *at, size_t n, bool *ret_unmoved, struct error *err)
{
    (void)log, (void)at, (void)n, (void)err;
    *ret_unmoved = true;
    return OK;
}

static enum status file_abort(struct log *log, struct error *err)
{
    (void)log, (void)err;
    return OK;
}

static enum status file_restore(struct log *log, const char *topic, int partition, log_restore_fn *each, void *ctx,
                                struct error *err)
{
    (void)log, (void)topic, (void)partition, (void)each, (void)ctx, (void)err;
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
    enum status st = OK;

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
    struct error err;

    if (file_finish(log, &err) != OK)
        log_error("close", "reason=\"%s\"", err.text);
    for (size_t i = 0; i < l->stage->n_inputs; i++) {
        if (l->in[i].reader)
            container_close(l->in[i].reader);
        decode_plan_free(l->in[i].key_plan);
        free(l->in[i].offsets);
    }
    arena_done(&l->scratch);
    free(l->tasks);
    free(l);
}

static const struct log_ops ops = {
    .take = file_take, .release = file_release, .committed = file_committed, .seek = file_seek, .pause = file_pause,
    .put = file_put, .commit = file_commit, .abort = file_abort, .restore = file_restore, .partitions = file_partitions,
    .finish = file_finish, .close = file_close,
};

/* "TOPIC=FILE", or FILE alone for the i-th topic in the wiring's order. Returns the file, *ret_topic when named. */
static const char *split(const char *arg, struct arena *a, const char **ret_topic)
{
    const char *eq = strchr(arg, '=');
    const char *slash = strchr(arg, '/');

    *ret_topic = NULL;
    if (eq == NULL || (slash && slash < eq))
        return arg;
    *ret_topic = arena_printf(a, "%.*s", (int)(eq - arg), arg);
    return eq + 1;
}

static enum status open_input(struct log_file *l, size_t k, struct error *err)
{
    struct stage *s = l->stage;
    const char *name;
    const char *path = split(s->opt.in[k], s->pipeline->arena, &name);
    struct file_input *in;
    size_t i = k;

    for (size_t j = 0; name && j < s->n_inputs; j++)
        if (strcmp(s->inputs[j].topic->name, name) == 0 || strcmp(s->inputs[j].topic->broker_name, name) == 0) {
            i = j;
            name = NULL;
        }
    if (name || i >= s->n_inputs)
        return err_set(err, ERR_FATAL, "--in %s: stage %s reads no such topic", s->opt.in[k], s->def->name);
    in = &l->in[i];
    if (container_open(path, &in->reader, err) != OK ||
        registry_add(s->registry, NULL, view_str(schema_json(container_schema(in->reader))), &in->schema, err) != OK)
        return err->status;
    in->offsets = xcalloc((size_t)s->n_tasks_all, sizeof(*in->offsets));
    if (s->inputs[i].topic->key == NULL)
        return OK;
    for (size_t w = 0; w < s->inputs[i].n_wants; w++)
        if (strcmp(s->inputs[i].wants[w].path, s->inputs[i].topic->key) == 0)
            in->key = s->inputs[i].wants[w];
    return decode_plan_new(in->schema, s->inputs[i].topic->schema, &in->key, 1, &in->key_plan, err);
}

static enum status open_output(struct log_file *l, size_t k, struct error *err)
{
    struct stage *s = l->stage;
    const char *name;
    const char *path = split(s->opt.out[k], s->pipeline->arena, &name);
    struct file_output *out = &l->out[l->n_out];
    const struct schema *schema = NULL;

    if (name && (strcmp(name, "dead_letters") == 0 || strcmp(name, s->dead_letters) == 0)) {
        out->topic = s->dead_letters;
        schema = s->dead_schema;
    }
    for (size_t i = 0; i < s->n_outputs && schema == NULL; i++) {
        const struct topic *t = s->outputs[i].topic;

        if (name ? strcmp(t->name, name) == 0 || strcmp(t->broker_name, name) == 0 : i == k) {
            out->topic = t->broker_name;
            schema = t->schema;
        }
    }
    if (schema == NULL)
        return err_set(err, ERR_FATAL, "--out %s: stage %s writes no such topic", s->opt.out[k], s->def->name);
    if (container_create(path, schema, &out->writer, err) != OK)
        return err->status;
    l->n_out++;
    return OK;
}

enum status log_file_open(struct stage *s, struct log **ret_log, struct error *err)
{
    struct log_file *l = xcalloc(1, sizeof(*l));
    enum status st = OK;

    l->log.ops = &ops;
    l->stage = s;
    l->tasks = xcalloc((size_t)s->n_tasks_all, sizeof(*l->tasks));
    for (int p = 0; p < s->n_tasks_all; p++)
        l->tasks[p] = p;
    if (s->opt.n_in != s->n_inputs)
        st = err_set(err, ERR_FATAL, "stage %s reads %zu topics: give --in for each (an empty file will do)", s->def->name,
                     s->n_inputs);
    for (size_t k = 0; k < s->opt.n_in && st == OK; k++)
        st = open_input(l, k, err);
    for (size_t k = 0; k < s->opt.n_out && st == OK; k++)
        st = open_output(l, k, err);
    if (st != OK) {
        file_close(&l->log);
        return st;
    }
    *ret_log = &l->log;
    return OK;
}
