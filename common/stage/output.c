/* common/stage/output.c: rows become framed records with lineage; all puts are kept until the commit's outcome is known. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/log.h"
#include "base/mutant.h"
#include "kafka/kafka.h"
#include "stage/internal.h"
#include "wire/avro.h"
#include "wire/frame.h"

static size_t keep_view(struct stage *s, struct view v)
{
    size_t at = s->kept_bytes.n;

    if (v.data == NULL)
        return SIZE_MAX;
    bytes_append(&s->kept_bytes, v.data, v.n);
    return at;
}

static struct kept_put *keep(struct stage *s, const struct log_put *put)
{
    struct kept_put *k;

    if (s->n_kept == s->cap_kept) {
        s->cap_kept = s->cap_kept ? s->cap_kept * 2 : 1024;
        s->kept = xrealloc(s->kept, s->cap_kept * sizeof(*s->kept));
    }
    k = &s->kept[s->n_kept++];
    *k = (struct kept_put){.topic = put->topic, .partition = put->partition, .key_n = put->key.n, .value_n = put->value.n,
                           .traceparent_n = put->traceparent.n, .mark_n = put->mark.n, .atomic = put->atomic};
    k->key = keep_view(s, put->key);
    k->value = keep_view(s, put->value);
    k->traceparent = keep_view(s, put->traceparent);
    k->mark = keep_view(s, put->mark);
    return k;
}

enum status output_put(struct stage *s, const struct log_put *put, struct error *err)
{
    (void)keep(s, put);
    return s->log->ops->put(s->log, put, err);
}

static struct view kept_view(const struct stage *s, size_t at, size_t n)
{
    return at == SIZE_MAX ? view_of(NULL, 0) : view_of(s->kept_bytes.data + at, n);
}

static struct log_put kept_put(const struct stage *s, size_t i)
{
    const struct kept_put *k = &s->kept[i];

    return (struct log_put){.topic = k->topic, .partition = k->partition, .key = kept_view(s, k->key, k->key_n),
                            .value = kept_view(s, k->value, k->value_n),
                            .traceparent = kept_view(s, k->traceparent, k->traceparent_n),
                            .mark = kept_view(s, k->mark, k->mark_n), .atomic = k->atomic};
}

static struct view copy(struct arena *a, struct view v)
{
    return v.data == NULL ? v : view_of(arena_copy(a, v.data, v.n), v.n);
}

/* What the broker will never take would abort each try: a dead letter stands in its place from now on. */
static enum status replace(struct stage *s, size_t i, struct error *err)
{
    struct log_put put = kept_put(s, i), dead;
    struct put_source from = s->kept[i].from;
    struct bytes b = BYTES_EMPTY;
    struct kept_put instead;

    if (from.topic == NULL)
        return err_set(err, ERR_FATAL, "a record of %zu bytes for %s is larger than the broker takes: raise that topic's "
                       "max.message.bytes", put.value.n, put.topic);
    dead_refused(s, &put, &from, &b, &dead);
    dead.key = copy(&s->batch, dead.key); /* what is kept moves while it grows */
    dead.traceparent = copy(&s->batch, dead.traceparent);
    instead = *keep(s, &dead);
    s->kept[i] = instead;
    s->n_kept--;
    bytes_done(&b);
    return OK;
}

static enum status put_kept(struct stage *s, size_t i, struct error *err)
{
    struct log_put put = kept_put(s, i);

    return s->log->ops->put(s->log, &put, err);
}

static enum status put_all(struct stage *s, const struct log_put *puts, size_t n, size_t *ret_n, struct error *err)
{
    if (s->log->ops->put_all)
        return s->log->ops->put_all(s->log, puts, n, ret_n, err);
    for (*ret_n = 0; *ret_n < n; ++*ret_n)
        if (s->log->ops->put(s->log, &puts[*ret_n], err) != OK)
            return err->status;
    return OK;
}

/* Rows' records, which are kept from `first` on; in the place of one that is larger than the log takes, a dead letter. */
static enum status put_rows(struct stage *s, size_t first, const struct log_record *const *from, struct error *err)
{
    size_t n = s->n_kept - first, done = 0;
    struct log_put *puts = arena_alloc(&s->batch, (n + 1) * sizeof(*puts));

    for (size_t i = 0; i < n; i++) {
        puts[i] = kept_put(s, first + i);
        puts[i].from = from[i];
    }
    while (done < n) {
        size_t put = 0;
        enum status st = put_all(s, puts + done, n - done, &put, err);

        metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_PUT, (int64_t)put);
        for (size_t i = 0; i < put && st == OK; i++)
            st = FAIL("stage.after_put", err);
        done += put;
        if (st == ERR_RECORD) {
            st = replace(s, first + done, err) == OK ? put_kept(s, first + done, err) : err->status;
            done++;
            for (size_t i = done; i < n; i++) { /* what is kept may have moved */
                puts[i] = kept_put(s, first + i);
                puts[i].from = from[i];
            }
        }
        if (st != OK)
            return st;
    }
    return OK;
}

enum status output_again(struct stage *s, struct error *err)
{
    const size_t *refused;
    size_t n = s->log->ops->refused ? s->log->ops->refused(s->log, &refused) : 0;

    for (size_t i = 0; i < n; i++)
        if (replace(s, refused[i], err) != OK)
            return err->status;
    for (size_t i = 0; i < s->n_kept; i++) {
        enum status st = put_kept(s, i, err);

        if (st == ERR_RECORD) /* behind a refused one nothing is looked at: this is its first time */
            st = replace(s, i, err) == OK ? put_kept(s, i, err) : err->status;
        if (st != OK)
            return st;
    }
    return OK;
}

void output_forget(struct stage *s)
{
    s->n_kept = 0;
    bytes_clear(&s->kept_bytes);
}

void output_open(struct stage *s)
{
    for (size_t o = 0; o < s->n_outputs; o++) {
        struct output *out = &s->outputs[o];
        struct want all[WANTS_MAX];
        size_t n = schema_wants(out->topic->schema, all, WANTS_MAX); /* no more: the wiring was checked */

        for (size_t i = 0; i < n; i++)
            if (strncmp(all[i].path, "lineage.", 8) != 0 && strcmp(all[i].path, "lineage") != 0)
                out->leaves[out->n_leaves++] = all[i];
    }
}

void output_close(struct stage *s)
{
    for (size_t o = 0; o < s->n_outputs; o++)
        encode_plan_free(s->outputs[o].plan);
    bytes_done(&s->kept_bytes);
    bytes_done(&s->body);
    bytes_done(&s->lineage);
    free(s->kept);
}

void out_begin(struct out *out, struct arena *arena, size_t cap)
{
    batch_init(&out->cols, arena, cap);
    out->parent = arena_zalloc(arena, cap * sizeof(*out->parent));
    out->model_version = arena_alloc(arena, cap * sizeof(*out->model_version));
    out->routing = arena_alloc(arena, cap * sizeof(*out->routing));
    for (size_t r = 0; r < cap; r++) {
        out->model_version[r] = -1;
        out->routing[r] = -1;
    }
}

/* A column of the parent rows, in the order of the output's rows. */
static void gather(struct batch *enc, const struct col *from, const struct out *out, size_t n)
{
    struct col *to = batch_add_col(enc, from->name, from->type);

    for (size_t r = 0; r < n; r++) {
        uint32_t p = out->parent[r];

        to->null[r] = from->null[p];
        if (from->type >= COL_STRING)
            to->view[r] = from->view[p];
        else
            to->i64[r] = from->i64[p];
    }
}

/* The input's own lineage, looked up once a batch: by name it cost more than the score. */
struct lineage_cols {
    const struct col *topic, *partition, *offset, *tasks, *epoch, *at, *feature_set, *model, *version, *routing;
};

static struct lineage_cols lineage_cols(const struct batch *b)
{
    return (struct lineage_cols){
        .topic = batch_col(b, "lineage.source.topic"),
        .partition = batch_col(b, "lineage.source.partition"),
        .offset = batch_col(b, "lineage.source.offset"),
        .tasks = batch_col(b, "lineage.tasks"),
        .epoch = batch_col(b, "lineage.epoch"),
        .at = batch_col(b, "lineage.at"),
        .feature_set = batch_col(b, "lineage.feature_set"),
        .model = batch_col(b, "lineage.model.name"),
        .version = batch_col(b, "lineage.model.version"),
        .routing = batch_col(b, "lineage.routing"),
    };
}

static int64_t in_int(const struct col *c, size_t row, int64_t otherwise)
{
    return c == NULL || c->null[row] ? otherwise : c->i64[row];
}

static struct view in_view(const struct col *c, size_t row)
{
    return c == NULL || c->null[row] ? view_of(NULL, 0) : c->view[row];
}

static void put_position(struct bytes *b, struct view topic, int64_t partition, int64_t offset)
{
    avro_put_bytes(b, topic);
    avro_put_long(b, partition);
    avro_put_long(b, offset);
}

static void put_optional_view(struct bytes *b, struct view v)
{
    avro_put_long(b, v.data != NULL);
    if (v.data)
        avro_put_bytes(b, v);
}

/* The Lineage record of one output row, field by field as schemas/Lineage.avsc says. */
static void put_lineage(struct stage *s, const struct task *t, const struct rows *in, const struct lineage_cols *c,
                        const struct pending *p, const struct out *out, size_t r, int index, struct bytes *b)
{
    const struct input *input = &s->inputs[in->input];
    size_t row = out->parent[r];
    bool through = s->worker->stateless_order && !input->outside;
    struct view model = out->key ? view_of(NULL, 0) : in_view(c->model, row);
    int64_t version = in_int(c->version, row, -1);
    int64_t routing = out->key ? -1 : in_int(c->routing, row, -1);
    struct origin from = through ? p->origin : (struct origin){t->id, (int)in->input, p->task, p->rec.offset, index};
    const char *own_set = s->def->compiled ? s->def->feature_set : NULL;

    if (input->outside)
        put_position(b, view_str(input->topic->broker_name), p->rec.partition, p->rec.offset);
    else
        put_position(b, in_view(c->topic, row), in_int(c->partition, row, 0), in_int(c->offset, row, 0));
    avro_put_long(b, from.task);
    avro_put_long(b, from.offset);
    avro_put_long(b, from.index);
    avro_put_long(b, through ? in_int(c->tasks, row, 1) : s->n_tasks_all);
    avro_put_long(b, through ? in_int(c->epoch, row, 0) : s->def->epoch);
    avro_put_long(b, through ? in_int(c->at, row, 0) : out->at ? out->at[r] : in->at[row]);
    if (s->n_inputs > 1) {
        avro_put_long(b, (int64_t)s->n_inputs - 1);
        for (size_t j = 0; j < s->n_inputs; j++)
            if (j != in->input)
                put_position(b, view_str(s->inputs[j].topic->broker_name), t->id,
                             merge_seen(&t->inputs[j].merge));
    }
    avro_put_long(b, 0);
    put_optional_view(b, own_set ? view_str(own_set) : in_view(c->feature_set, row));
    if (out->model_name) {
        model = view_str(out->model_name);
        version = out->model_version[r];
        routing = out->routing[r];
    }
    avro_put_long(b, model.data != NULL && version >= 0);
    if (model.data && version >= 0) {
        avro_put_bytes(b, model);
        avro_put_long(b, version);
    }
    avro_put_long(b, routing >= 0);
    if (routing >= 0)
        avro_put_long(b, routing);
    avro_put_long(b, from.input);
    avro_put_long(b, from.channel);
}

/* The batch that is encoded: the worker's columns, the parent's by name, lineage last. */
static void assemble(struct output *o, const struct rows *in, struct out *out, size_t n, uint8_t *present, struct batch *enc)
{
    batch_init(enc, out->cols.arena, n);
    enc->n_rows = n;
    for (size_t i = 0; i < o->n_leaves; i++) {
        const struct col *c = batch_col(&out->cols, o->leaves[i].path);

        present[i] = 0;
        if (c) {
            batch_share_col(enc, c);
            present[i] = (uint8_t)(1 + c->type);
            continue;
        }
        c = batch_col(in->cols, o->leaves[i].path);
        if (c) {
            gather(enc, c, out, n);
            present[i] = (uint8_t)(1 + c->type);
        }
    }
    batch_add_col(enc, "lineage", COL_AVRO);
}

static enum status plan_for(struct output *o, const struct batch *enc, const uint8_t *present, struct error *err)
{
    struct want cols[WANTS_MAX];

    if (o->plan && memcmp(present, o->present, o->n_leaves) == 0)
        return encode_bind(o->plan, enc, err);
    for (size_t i = 0; i < enc->n_cols; i++)
        cols[i] = (struct want){enc->cols[i].name, enc->cols[i].type};
    encode_plan_free(o->plan);
    o->plan = NULL;
    if (encode_plan_new(o->topic->schema, cols, enc->n_cols, &o->plan, err) != OK)
        return err_wrap(err, "topic %s", o->topic->broker_name);
    memcpy(o->present, present, o->n_leaves);
    return encode_bind(o->plan, enc, err);
}

/* The text of a key field; its bytes live in the arena. */
static struct view key_text(struct arena *a, const struct col *c, size_t row)
{
    char *text;

    if (c->null[row])
        return view_of(NULL, 0);
    if (c->type >= COL_STRING)
        return c->view[row];
    text = c->type == COL_DOUBLE ? arena_printf(a, "%.17g", c->f64[row]) : arena_printf(a, "%" PRId64, c->i64[row]);
    return view_str(text);
}

/* Row r, which rests on p, encoded straight into what is kept; its key and partition are the put's. */
static enum status keep_row(struct stage *s, const struct output *to, size_t r, const struct pending *p, struct view key,
                            int partition, struct error *err)
{
    struct log_put put = {.topic = to->topic->broker_name, .partition = partition, .key = key, .traceparent = p->rec.traceparent};
    size_t at = s->kept_bytes.n, end;
    struct kept_put *k;

    frame_put(&s->kept_bytes, schema_id(to->topic->schema));
    if (encode_row(to->plan, r, &s->kept_bytes, err) != OK) {
        s->kept_bytes.n = at;
        return err->status;
    }
    end = s->kept_bytes.n;
    k = keep(s, &put);
    k->value = at;
    k->value_n = end - at;
    k->from = (struct put_source){s->inputs[p->rec.input].topic->broker_name, p->rec.partition, p->rec.offset};
    return OK;
}

enum status output_rows(struct stage *s, const struct task *t, struct rows *in, const struct pending *pending, size_t o,
                        struct out *out, int *n_outs, struct error *err)
{
    struct output *to = &s->outputs[o];
    const struct lineage_cols from = lineage_cols(in->cols);
    const struct log_record **records = arena_alloc(out->cols.arena, (out->cols.n_rows + 1) * sizeof(*records));
    uint8_t present[WANTS_MAX];
    struct batch enc;
    struct col *lineage, *key_col;
    size_t n = out->cols.n_rows, first = s->n_kept;
    struct error why;

    assemble(to, in, out, n, present, &enc);
    if (plan_for(to, &enc, present, err) != OK)
        return err->status;
    if (n && out->model_name && out->model_version[n - 1] >= 0)
        metrics_set(&s->metrics, METRIC_MODEL_VERSION, out->model_version[n - 1]);
    lineage = batch_col(&enc, "lineage");
    key_col = to->topic->key ? batch_col(&enc, to->topic->key) : NULL;
    for (size_t r = 0; r < n; r++) {
        uint32_t parent = out->parent[r];
        const struct pending *p = &pending[parent];
        struct view key = key_col ? key_text(out->cols.arena, key_col, r) : out->key ? out->key[r] : in->keys[parent];
        int partition = key_col && key.data ? kafka_partition(key, to->partitions) : t->id % to->partitions;

        bytes_clear(&s->lineage);
        put_lineage(s, t, in, &from, p, out, r, n_outs[parent]++, &s->lineage);
        lineage->view[r] = view_of(s->lineage.data, s->lineage.n);
        records[s->n_kept - first] = &p->rec;
        if (keep_row(s, to, r, p, key, partition, err) == OK)
            continue;
        if (err->status != ERR_RECORD)
            return err_wrap(err, "topic %s", to->topic->broker_name);
        why = *err;
        if (put_rows(s, first, records, err) != OK || output_dead(s, p, why.text, err) != OK)
            return err->status;
        first = s->n_kept;
    }
    return put_rows(s, first, records, err);
}

static enum status put_mark(struct stage *s, const struct output *o, int partition, struct view mark, struct error *err)
{
    struct log_put put = {.topic = o->topic->broker_name, .partition = partition, .mark = mark};

    return output_put(s, &put, err);
}

enum status output_marks(struct stage *s, struct task *t, int64_t progress, bool idle, struct error *err)
{
    struct bytes *b = &s->body;
    int64_t fetched = merge_channel(&t->inputs[0].merge, 0)->now.at;
    int64_t its = SAFE(M_MARK_TAKEN) || fetched < progress ? progress : fetched;
    int64_t at = its > t->marked_at ? its : t->marked_at;
    struct mark m = {s->def->epoch, t->id, s->n_tasks_all, at, idle};
    bool through = s->worker->stateless_order && !s->inputs[0].outside; /* its input's marks go through instead */

    if (through || (at == t->marked_at && idle == t->marked_idle))
        return OK;
    bytes_clear(b);
    mark_put(&m, b);
    for (size_t o = 0; o < s->n_outputs; o++)
        for (int p = 0; s->outputs[o].topic->ordered && p < s->outputs[o].partitions; p++)
            if (put_mark(s, &s->outputs[o], p, view_of(b->data, b->n), err) != OK)
                return err->status;
    t->marked_at = at;
    t->marked_idle = idle;
    t->changed = true; /* the checkpoint says what was marked */
    return OK;
}

enum status output_mark_through(struct stage *s, int partition, struct view mark, struct error *err)
{
    for (size_t o = 0; o < s->n_outputs; o++)
        if (s->outputs[o].topic->ordered && put_mark(s, &s->outputs[o], partition % s->outputs[o].partitions, mark, err) != OK)
            return err->status;
    return OK;
}
