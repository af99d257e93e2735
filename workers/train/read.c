#include "workers/train/read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kafka/kafka.h"
#include "ops/signals.h"
#include "stage/file_topic.h"
#include "stage/origin.h"
#include "wire/frame.h"
#include "wire/plan.h"

#define PLANS_MAX 64
#define PARTITIONS_MAX 1024

/* One topic's records as a batch of one row. */
struct scan {
    struct job *job;
    const struct topic *topic;
    const struct want *wants;
    size_t n_wants;
    size_t at; /* index of the column that nearly orders a partition: lineage.at, or the time of a topic from outside */
    size_t origin; /* index of the columns of origin.h; 0: none, in a topic from outside */
    struct origins origins[PARTITIONS_MAX];
    const char *path; /* read this file in the topic's place; NULL: from Kafka */
    struct reader *reader;
    struct arena arena;
    struct batch row;
    struct {
        uint64_t id;
        struct decode_plan *plan;
    } plans[PLANS_MAX];
    size_t n_plans;
    int n_partitions;
};

static enum status plan_of(struct scan *s, const struct frame *f, struct decode_plan **ret_plan, struct error *err)
{
    const struct schema *writer = f->kind == FRAME_ID ? registry_by_id(s->job->registry, (uint32_t)f->id)
                                                      : registry_by_fingerprint(s->job->registry, f->id);

    for (size_t i = 0; i < s->n_plans; i++)
        if (s->plans[i].id == f->id) {
            *ret_plan = s->plans[i].plan;
            return OK;
        }
    if (writer == NULL)
        return err_set(err, ERR_RECORD, "topic %s: schema id %" PRIu64 " is not known", s->topic->broker_name, f->id);
    if (s->n_plans == PLANS_MAX)
        return err_set(err, ERR_RECORD, "topic %s: more than %d schemas", s->topic->broker_name, PLANS_MAX);
    if (decode_plan_new(writer, s->topic->schema, s->wants, s->n_wants, ret_plan, err) != OK)
        return err->status;
    s->plans[s->n_plans].id = f->id;
    s->plans[s->n_plans++].plan = *ret_plan;
    return OK;
}

static bool decode_frame(struct scan *s, const struct frame *f)
{
    struct decode_plan *plan;
    struct error err;

    return plan_of(s, f, &plan, &err) == OK && decode_row(plan, f->body, &s->row, 0, &err) == OK &&
           !s->row.cols[0].null[0] && !s->row.cols[s->at].null[0];
}

/* A stage before wrote it twice: of the range that is read, the first one counts. */
static bool is_repeat(struct scan *s, int partition)
{
    struct origin o;
    struct error err;

    return s->origin && origin_get(&s->row.cols[s->origin], &o, &err) == OK && o.channel >= 0 &&
           !origins_pass(&s->origins[partition], &o);
}

/* False: no data (a mark, or what the stages before have dead-lettered). */
static bool decode(struct scan *s, const struct reader_msg *m)
{
    struct error err;
    struct frame f;

    return m->mark.data == NULL && m->value.data != NULL && frame_parse(m->value, &f, &err) == OK && decode_frame(s, &f);
}

static void begin_row(struct scan *s)
{
    batch_init(&s->row, &s->arena, 1);
    decode_begin(s->wants, s->n_wants, &s->row);
    s->row.n_rows = 1;
}

static enum status scan_open(struct scan *s, struct error *err)
{
    if (reader_new(s->job->brokers, s->job->pipeline, &s->reader, err) != OK ||
        reader_partitions(s->reader, s->topic->broker_name, &s->n_partitions, err) != OK)
        return err->status;
    if (s->n_partitions == 0 || s->n_partitions > PARTITIONS_MAX)
        return err_set(err, ERR_RETRY, "topic %s has %d partitions; expected 1 to %d ('millrace up' makes topics)",
                       s->topic->broker_name, s->n_partitions, PARTITIONS_MAX);
    begin_row(s);
    return OK;
}

static void scan_close(struct scan *s)
{
    for (size_t i = 0; i < s->n_plans; i++)
        decode_plan_free(s->plans[i].plan);
    for (int p = 0; p < PARTITIONS_MAX; p++)
        origins_done(&s->origins[p]);
    reader_free(s->reader);
    arena_done(&s->arena);
}

static bool at_of_record(void *ctx, const struct reader_msg *m, int64_t *ret_at)
{
    struct scan *s = ctx;

    if (!decode(s, m))
        return false;
    *ret_at = s->row.cols[s->at].i64[0];
    return true;
}

typedef enum status scan_fn(struct scan *s, const struct reader_msg *m, void *ctx, struct error *err);

static enum status scan_range(struct scan *s, int64_t from_ms, int64_t to_ms, scan_fn *each, void *ctx, struct error *err)
{
    const struct reader_span span = {from_ms, to_ms, pipeline_drift(s->job->pipeline, s->topic) + s->topic->lateness_ms};
    const char *topic = s->topic->broker_name;
    int64_t from[PARTITIONS_MAX], to[PARTITIONS_MAX];
    bool end = false;

    if (reader_between(s->reader, topic, s->n_partitions, &span, at_of_record, s, from, to, err) != OK)
        return err->status;
    for (int p = 0; p < s->n_partitions; p++)
        if (reader_add(s->reader, topic, p, from[p], to[p], err) != OK)
            return err->status;
    while (!end) {
        struct reader_msg m;

        if (reader_next(s->reader, -1, &m, &end, err) != OK)
            return err->status;
        if (signals_stopping())
            return err_set(err, ERR_RETRY, "stopped");
        if (!end && decode(s, &m) && !is_repeat(s, m.partition) && each(s, &m, ctx, err) != OK)
            return err->status;
    }
    return OK;
}

/* The whole file: what lies outside of a span is for `each` to see. */
static enum status scan_file(struct scan *s, scan_fn *each, void *ctx, struct error *err)
{
    struct file_topic *file;
    struct log_record r;
    enum status st;

    s->n_partitions = s->topic->partitions;
    if (s->n_partitions > PARTITIONS_MAX)
        return err_set(err, ERR_FATAL, "%d partitions; at most %d are supported", s->n_partitions, PARTITIONS_MAX);
    begin_row(s);
    st = file_topic_open(s->path, s->topic, s->n_partitions, s->job->registry, &file, err);
    if (st != OK)
        return st;
    while ((st = file_topic_next(file, &r, err)) == OK && r.value.data) {
        struct reader_msg m = {.partition = r.partition, .offset = r.offset};
        struct frame f = {FRAME_ID, r.schema_id, r.value};

        if (signals_stopping())
            st = err_set(err, ERR_RETRY, "stopped");
        else if (decode_frame(s, &f) && !is_repeat(s, m.partition))
            st = each(s, &m, ctx, err);
        if (st != OK)
            break;
    }
    file_topic_close(file);
    return st;
}

static struct view text_of(const struct col *c, char buf[32])
{
    if (c->type >= COL_STRING)
        return c->view[0];
    if (c->type == COL_DOUBLE)
        snprintf(buf, 32, "%.17g", c->f64[0]);
    else
        snprintf(buf, 32, "%" PRId64, c->i64[0]);
    return view_str(buf);
}

static enum col_type type_of(const struct topic *t, const char *path)
{
    struct want leaves[512];
    size_t n = schema_wants(t->schema, leaves, ARRAY_LEN(leaves));

    for (size_t i = 0; i < n && i < ARRAY_LEN(leaves); i++)
        if (strcmp(leaves[i].path, path) == 0)
            return leaves[i].type;
    return COL_STRING;
}

struct reading {
    struct data *data; /* of rows and labels; */
    struct series *series; /* of a target, with the indexes of its columns: key, value, features, fields */
    const size_t *cols;
    int64_t *first, *last; /* by partition, offsets of the rows used; last -1: none */
    int64_t time_max;
};

static double number_of(const struct col *c)
{
    if (c->null[0])
        return (double)NAN;
    return c->type == COL_DOUBLE ? c->f64[0] : (double)c->i64[0];
}

static void use(struct reading *r, const struct reader_msg *m)
{
    if (r->last[m->partition] < 0)
        r->first[m->partition] = m->offset;
    r->last[m->partition] = m->offset;
}

/* Columns: time, label key, at, then the features that are not among them. */
static enum status take_row(struct scan *s, const struct reader_msg *m, void *ctx, struct error *err)
{
    const struct col *c = s->row.cols;
    const struct span *span = &s->job->span;
    struct reading *r = ctx;
    int64_t t = c[0].i64[0];
    char buf[32];
    float *x;

    (void)err;
    if (t < span->from_ms || t >= span->holdout_to_ms || c[1].null[0])
        return OK;
    x = data_row(r->data, t, m->partition, m->offset, text_of(&c[1], buf));
    for (size_t f = 0; f < r->data->n_features; f++)
        x[f] = (float)number_of(&c[3 + f]);
    use(r, m);
    return OK;
}

static enum status take_series(struct scan *s, const struct reader_msg *m, void *ctx, struct error *err)
{
    const struct col *c = s->row.cols;
    const struct span *span = &s->job->span;
    struct reading *r = ctx;
    const size_t *features = r->cols + 2, n = r->series->n_features, *fields = features + n;
    struct series_row row = {c[0].i64[0], m->offset, m->partition, .value = number_of(&c[r->cols[1]])};
    int64_t *values;
    uint8_t *null;
    char buf[32];
    float *x;

    if (row.event_ms < span->from_ms || row.event_ms >= span->holdout_to_ms || c[s->at].i64[0] >= span->as_of_ms ||
        c[r->cols[0]].null[0])
        return OK;
    for (size_t f = 0; f < n; f++)
        if (isinf((float)number_of(&c[features[f]]))) /* score refuses it */
            return OK;
    if (series_add(r->series, &row, text_of(&c[r->cols[0]], buf), &x, &values, &null, err) != OK)
        return err->status;
    for (size_t f = 0; f < n; f++)
        x[f] = (float)number_of(&c[features[f]]);
    for (size_t f = 0; f < r->series->n_cols; f++) {
        values[f] = c[fields[f]].i64[0];
        null[f] = c[fields[f]].null[0];
    }
    use(r, m);
    if (series_bytes(r->series) > s->job->def->memory_bytes / 2)
        return err_set(err, ERR_RECORD, "%zu rows take more than half of the stage's memory, %zu MiB: raise \"memory\", or narrow \"where\" "
                       "or \"window\"", r->series->n, s->job->def->memory_bytes >> 20);
    return OK;
}

static enum status take_label(struct scan *s, const struct reader_msg *m, void *ctx, struct error *err)
{
    const struct col *c = s->row.cols;
    struct reading *r = ctx;
    char buf[32];

    if (c[0].i64[0] < s->job->span.from_ms || c[0].i64[0] > s->job->span.as_of_ms || c[1].null[0])
        return OK;
    r->time_max = c[0].i64[0] > r->time_max ? c[0].i64[0] : r->time_max;
    use(r, m);
    return data_label(r->data, text_of(&c[1], buf), err);
}

static void keep_lineage(struct job *j, const struct scan *s, const struct reading *r)
{
    struct model_record *m = &j->record;
    struct model_range *all = arena_alloc(&j->arena, (m->n_lineage + (size_t)s->n_partitions) * sizeof(*all));

    if (m->n_lineage)
        memcpy(all, m->lineage, m->n_lineage * sizeof(*all));
    m->lineage = all;
    for (int p = 0; p < s->n_partitions; p++)
        if (r->last[p] >= 0)
            all[m->n_lineage++] = (struct model_range){s->topic->broker_name, p, r->first[p], r->last[p] + 1};
}

static enum status run(struct job *j, struct scan *s, struct reading *r, int64_t from_ms, int64_t to_ms, scan_fn *each,
                       struct error *err)
{
    enum status st = s->path ? OK : scan_open(s, err);

    r->time_max = INT64_MIN;
    r->first = xcalloc(PARTITIONS_MAX, sizeof(*r->first));
    r->last = xmalloc(PARTITIONS_MAX * sizeof(*r->last));
    memset(r->last, 0xff, PARTITIONS_MAX * sizeof(*r->last));
    if (st == OK)
        st = s->path ? scan_file(s, each, r, err) : scan_range(s, from_ms, to_ms, each, r, err);
    if (st == OK)
        keep_lineage(j, s, r);
    scan_close(s);
    free(r->first);
    free(r->last);
    return st == OK ? OK : err_wrap(err, "read %s", s->topic->broker_name);
}

static enum status take_first(struct scan *s, const struct reader_msg *m, void *ctx, struct error *err)
{
    int64_t *least = ctx;

    (void)m;
    (void)err;
    if (s->row.cols[0].i64[0] < *least)
        *least = s->row.cols[0].i64[0];
    return OK;
}

enum status read_first(struct job *j, int64_t *ret_at, struct error *err)
{
    const struct topic *t = &j->pipeline->topics[j->def->from[0]];
    const struct want wants[] = {{"lineage.at", COL_INT}};
    struct scan *s = arena_zalloc(&j->arena, sizeof(*s));
    int64_t least = INT64_MAX;
    enum status st;

    *s = (struct scan){.job = j, .topic = t, .path = j->rows_file, .wants = wants, .n_wants = 1};
    st = scan_file(s, take_first, &least, err);
    scan_close(s);
    *ret_at = least == INT64_MAX ? INT64_MIN : least;
    return st == OK ? OK : err_wrap(err, "read %s", t->broker_name);
}

/* The n_first columns of wants, and those that say where a record of a stage stems from. */
static void open_topic(struct scan *s, struct job *j, const struct topic *t, const char *path, struct want *wants, size_t n_first)
{
    *s = (struct scan){.job = j, .topic = t, .path = path, .wants = wants, .n_wants = n_first};
    if (t->writer < 0)
        return;
    s->origin = n_first;
    for (size_t i = 0; i < ORIGIN_COLS; i++)
        wants[s->n_wants++] = (struct want){origin_cols[i], COL_INT};
}

enum status read_rows(struct job *j, struct data *d, struct error *err)
{
    const struct topic *t = &j->pipeline->topics[j->def->from[0]];
    size_t n = 3 + j->def->n_model_features;
    struct want *wants = arena_zalloc(&j->arena, (n + ORIGIN_COLS) * sizeof(*wants));
    struct scan *s = arena_zalloc(&j->arena, sizeof(*s));

    wants[0] = (struct want){t->time, COL_INT};
    wants[1] = (struct want){j->def->label_on, type_of(t, j->def->label_on)};
    wants[2] = (struct want){"lineage.at", COL_INT};
    for (size_t i = 3; i < n; i++)
        wants[i] = (struct want){j->def->model_features[i - 3], type_of(t, j->def->model_features[i - 3])};
    if (t->writer < 0)
        return err_set(err, ERR_FATAL, "topic %s: train reads feature rows, which a stage of the pipeline writes", t->name);
    open_topic(s, j, t, j->rows_file, wants, n);
    s->at = 2;
    return run(j, s, &(struct reading){.data = d}, j->span.from_ms, j->span.holdout_to_ms, take_row, err);
}

/* Where a column stands among those that are wanted; it is put there. */
static size_t want_once(struct want *wants, size_t *n, const char *path, enum col_type type)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(wants[i].path, path) == 0)
            return i;
    wants[*n] = (struct want){path, type};
    return (*n)++;
}

enum status read_series(struct job *j, struct series *series, struct error *err)
{
    const struct topic *t = &j->pipeline->topics[j->def->from[0]];
    size_t n_features = j->def->n_model_features, n_cols = 2 + n_features + series->n_cols, n = 2, k = 2;
    struct want *wants = arena_zalloc(&j->arena, (2 + n_cols + ORIGIN_COLS) * sizeof(*wants));
    size_t *cols = arena_alloc(&j->arena, n_cols * sizeof(*cols));
    struct scan *s = arena_zalloc(&j->arena, sizeof(*s));

    if (t->writer < 0)
        return err_set(err, ERR_FATAL, "topic %s: train reads feature rows, which a stage of the pipeline writes", t->name);
    wants[0] = (struct want){t->time, COL_INT};
    wants[1] = (struct want){"lineage.at", COL_INT};
    cols[0] = want_once(wants, &n, t->keyed_by, type_of(t, t->keyed_by));
    cols[1] = want_once(wants, &n, j->def->target->value, type_of(t, j->def->target->value));
    for (size_t i = 0; i < n_features; i++)
        cols[k++] = want_once(wants, &n, j->def->model_features[i], type_of(t, j->def->model_features[i]));
    for (size_t i = 0; i < series->n_cols; i++)
        cols[k++] = want_once(wants, &n, series->cols[i].name, series->cols[i].type);
    open_topic(s, j, t, j->rows_file, wants, n);
    s->at = 1;
    return run(j, s, &(struct reading){.series = series, .cols = cols}, j->span.from_ms, j->span.as_of_ms, take_series, err);
}

enum status read_labels(struct job *j, struct data *d, struct error *err)
{
    const struct topic *t = &j->pipeline->topics[j->def->label_from];
    struct want *wants = arena_zalloc(&j->arena, (3 + ORIGIN_COLS) * sizeof(*wants));
    struct scan *s = arena_zalloc(&j->arena, sizeof(*s));
    struct reading r = {.data = d};
    bool own_at = t->writer >= 0;

    wants[0] = (struct want){t->time, COL_INT};
    wants[1] = (struct want){j->def->label_on, type_of(t, j->def->label_on)};
    wants[2] = (struct want){"lineage.at", COL_INT};
    open_topic(s, j, t, j->labels_file, wants, own_at ? 3 : 2);
    s->at = own_at ? 2 : 0;
    if (run(j, s, &r, j->span.from_ms, j->span.as_of_ms, take_label, err) != OK)
        return err->status;
    if (j->span.as_of_ms == INT64_MAX)
        j->span.as_of_ms = r.time_max == INT64_MIN ? j->span.holdout_to_ms : r.time_max;
    return OK;
}
