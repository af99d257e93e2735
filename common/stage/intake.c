/* common/stage/intake.c: what was taken from the log becomes a task's pending records. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"
#include "kafka/kafka.h"
#include "stage/internal.h"
#include "wire/frame.h"
#include "wire/text.h"

#define SCHEMA_WAIT_MS 5000
#define SCHEMA_AWAIT_EVERY_MS 60000

enum { PROBE_TIME, PROBE_TASKS, PROBE_AT, PROBE_EPOCH, PROBE_ORIGIN, PROBES = PROBE_ORIGIN + ORIGIN_COLS };

static const struct want lineage_wants[] = {
    {"lineage.source.topic", COL_STRING},  {"lineage.source.partition", COL_INT}, {"lineage.source.offset", COL_INT},
    {"lineage.task", COL_INT},             {"lineage.tasks", COL_INT},            {"lineage.epoch", COL_INT},
    {"lineage.at", COL_INT},               {"lineage.feature_set", COL_STRING},   {"lineage.model.name", COL_STRING},
    {"lineage.model.version", COL_INT},    {"lineage.routing", COL_INT},
};

static enum col_type leaf_type(const struct schema *s, const char *path, enum col_type otherwise)
{
    struct want w[WANTS_MAX];
    size_t n = schema_wants(s, w, WANTS_MAX);

    for (size_t i = 0; i < n && i < WANTS_MAX; i++)
        if (strcmp(w[i].path, path) == 0)
            return w[i].type;
    return otherwise;
}

/* The loop's own columns besides the worker's: time, key, lineage, and what outputs take over by name. */
static void want_own(struct stage *s, size_t i)
{
    struct input *in = &s->inputs[i];

    if (in->topic->time)
        stage_want(s, i, in->topic->time, COL_INT);
    if (in->topic->keyed_by)
        stage_want(s, i, in->topic->keyed_by, leaf_type(in->topic->schema, in->topic->keyed_by, COL_STRING));
    if (!in->outside)
        for (size_t k = 0; k < ARRAY_LEN(lineage_wants); k++)
            stage_want(s, i, lineage_wants[k].path, lineage_wants[k].type);
    if ((int)i != s->def->emit || s->def->tumbling) /* of an event's fields nothing is left in a window's row */
        return;
    for (size_t o = 0; o < s->n_outputs; o++)
        for (size_t k = 0; k < s->outputs[o].n_leaves; k++) {
            const struct want *leaf = &s->outputs[o].leaves[k];

            if (schema_at(in->topic->schema, leaf->path))
                stage_want(s, i, leaf->path, leaf->type);
        }
}

/* Where the wanted columns have what the probe wants. */
static void find_probe(struct stage *s, size_t input)
{
    struct input *in = &s->inputs[input];

    for (size_t k = 0; k < in->n_probe; k++) {
        stage_want(s, input, in->probe[k].path, in->probe[k].type);
        in->probe_wants[k] = -1;
        for (size_t i = 0; i < in->n_wants; i++)
            if (strcmp(in->wants[i].path, in->probe[k].path) == 0 && in->wants[i].type == in->probe[k].type)
                in->probe_wants[k] = (int)i;
        if (in->probe_wants[k] < 0)
            in->probe_wants[0] = -1;
    }
}

enum status intake_open(struct stage *s, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct input *in = &s->inputs[i];

        want_own(s, i);
        in->probe[PROBE_TIME] = (struct want){in->topic->time, COL_INT};
        in->n_probe = 1;
        if (!in->outside) {
            in->probe[PROBE_TASKS] = (struct want){"lineage.tasks", COL_INT};
            in->probe[PROBE_AT] = (struct want){"lineage.at", COL_INT};
            in->probe[PROBE_EPOCH] = (struct want){"lineage.epoch", COL_INT};
            for (size_t k = 0; k < ORIGIN_COLS; k++)
                in->probe[PROBE_ORIGIN + k] = (struct want){origin_cols[k], COL_INT};
            in->n_probe = PROBES;
        }
        batch_init(&in->probed, s->pipeline->arena, 1);
        decode_begin(in->probe, in->n_probe, &in->probed);
        in->probed.n_rows = 1;
        find_probe(s, i);
        pages_init(&in->pages, in->wants, in->n_wants);
    }
    return OK;
}

void intake_close(struct stage *s)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        for (size_t k = 0; k < s->inputs[i].n_readings; k++) {
            decode_plan_free(s->inputs[i].readings[k].probe);
            decode_plan_free(s->inputs[i].readings[k].plan);
            free(s->inputs[i].readings[k].refused);
        }
        free(s->inputs[i].readings);
        pages_done(&s->inputs[i].pages);
    }
}

static const struct schema *known_schema(struct stage *s, const struct frame *f)
{
    return f->kind == FRAME_ID ? registry_by_id(s->registry, (uint32_t)f->id) : registry_by_fingerprint(s->registry, f->id);
}

/*
 * A schema may be published some moments after its first record, and the schemas topic tells it. But garbage has an id of its
 * own each time: only once a minute is one awaited, and a record that came well before the last look needs none.
 */
static const struct schema *find_schema(struct stage *s, const struct frame *f, int64_t arrival_ms)
{
    const struct schema *schema = known_schema(s, f);
    int64_t began = clock_wall_ms(), now = began;
    bool wait = began - s->schema_awaited_ms > SCHEMA_AWAIT_EVERY_MS;
    struct error err;

    if (schema || s->is_file || (arrival_ms >= 0 && s->schemas_looked_ms > arrival_ms + SCHEMA_WAIT_MS))
        return schema;
    for (;; now = clock_wall_ms()) {
        s->schemas_looked_ms = now;
        if (schema_feed_look(s->schemas, s->registry, &err) != OK)
            log_warn("schemas", "reason=\"%s\"", err.text);
        schema = known_schema(s, f);
        if (schema || !wait || now - began > SCHEMA_WAIT_MS)
            break;
        clock_nap_ms(100);
    }
    if (wait && schema == NULL)
        s->schema_awaited_ms = now;
    return schema;
}

static void reading_make(struct input *in, const struct schema *writer, struct reading *r)
{
    struct error err;

    if (decode_plan_new(writer, in->topic->schema, in->probe, in->n_probe, &r->probe, &err) != OK ||
        decode_plan_new(writer, in->topic->schema, in->wants, in->n_wants, &r->plan, &err) != OK) {
        err_wrap(&err, "schema");
        r->refused = xstrdup(err.text);
    }
}

/* NULL: nobody knows the writer's schema. */
static struct reading *reading_of(struct stage *s, struct input *in, const struct frame *f, int64_t arrival_ms)
{
    uint32_t id = (uint32_t)(f->id & UINT32_MAX);
    const struct schema *writer;

    if (f->kind == FRAME_FINGERPRINT)
        id = (uint32_t)(f->id & 0x7fffffff); /* ids are the fingerprint's low bits */
    for (size_t k = 0; k < in->n_readings; k++)
        if (in->readings[k].id == id)
            return &in->readings[k];
    writer = find_schema(s, f, arrival_ms);
    if (writer == NULL)
        return NULL;
    in->readings = xrealloc(in->readings, (in->n_readings + 1) * sizeof(*in->readings));
    in->readings[in->n_readings] = (struct reading){.id = id};
    reading_make(in, writer, &in->readings[in->n_readings]);
    return &in->readings[in->n_readings++];
}

static enum status open_frame(struct stage *s, struct input *in, const struct log_record *r, struct view *ret_body,
                              struct reading **ret_reading, struct error *err)
{
    struct frame f = {FRAME_ID, r->schema_id, r->value};

    if (!r->bare && frame_parse(r->value, &f, err) != OK)
        return ERR_RECORD;
    *ret_reading = reading_of(s, in, &f, r->arrival_ms);
    *ret_body = f.body;
    if (*ret_reading == NULL)
        return err_set(err, ERR_RECORD, "schema: no schema of this id was published; publish it with the topic's declared "
                       "schema");
    if ((*ret_reading)->refused)
        return err_set(err, ERR_RECORD, "%s", (*ret_reading)->refused);
    return OK;
}

enum status intake_decode(struct stage *s, const struct pending *p, struct batch *cols, size_t row, struct error *err)
{
    struct reading *reading;
    struct view body;

    if (open_frame(s, &s->inputs[p->rec.input], &p->rec, &body, &reading, err) != OK)
        return ERR_RECORD;
    return decode_row(reading->plan, body, cols, row, err);
}

/* Without a record's arrival (a file) whatever comes before this may be meant. */
#define TIME_FAR_MS INT64_C(4102444800000) /* 2100-01-01 */

/* A wrong unit is what a time far off mostly is. */
static enum status not_a_time(const struct topic *t, const struct log_record *r, int64_t event_ms, struct error *err)
{
    const char *unit = text_time_seems(event_ms, t->time_min_ms, r->arrival_ms >= 0 ? r->arrival_ms + t->time_ahead_ms : TIME_FAR_MS);
    const char *seems = unit ? ", it seems to be in " : "";

    if (event_ms < t->time_min_ms)
        return err_set(err, ERR_RECORD, "time: %s is before time.min; milliseconds since 1970 are expected%s%s", t->time, seems,
                       unit ? unit : "");
    return err_set(err, ERR_RECORD, "time: %s is %" PRId64 " ms after the record's arrival, time.ahead allows %" PRId64
                   "; milliseconds since 1970 are expected%s%s", t->time, event_ms - r->arrival_ms, t->time_ahead_ms, seems,
                   unit ? unit : "");
}

/* Whether event time may be believed: one record from a fast clock would make all honest ones late. */
static enum status judge_time(const struct topic *t, const struct log_record *r, int64_t event_ms, int64_t at,
                              struct error *err)
{
    if (event_ms < t->time_min_ms || (r->arrival_ms >= 0 && event_ms > r->arrival_ms + t->time_ahead_ms))
        return not_a_time(t, r, event_ms, err);
    if (at != INT64_MIN && event_ms < at - t->lateness_ms)
        return err_set(err, ERR_RECORD, "late: %s is %" PRId64 " ms behind the partition; lateness allows %" PRId64, t->time,
                       at - event_ms, t->lateness_ms);
    return OK;
}

static enum status time_there(const struct input *in, struct error *err)
{
    if (in->probed.cols[PROBE_TIME].null[0])
        return err_set(err, ERR_RECORD, "time: field '%s' is null", in->topic->time);
    return OK;
}

bool intake_at(struct stage *s, const struct log_record *r, int64_t *ret_at, int *ret_task)
{
    struct input *in = &s->inputs[r->input];
    struct reading *reading;
    struct origin from;
    struct error err;
    struct view body;

    if (r->mark.data || r->value.data == NULL || open_frame(s, in, r, &body, &reading, &err) != OK ||
        decode_row(reading->probe, body, &in->probed, 0, &err) != OK || time_there(in, &err) != OK)
        return false;
    *ret_at = in->probed.cols[in->outside ? PROBE_TIME : PROBE_AT].i64[0];
    *ret_task = in->outside || origin_get(&in->probed.cols[PROBE_ORIGIN], &from, &err) != OK ? -1 : from.task;
    return true;
}

/* All that is wanted, into a row of a page, and from there what the probe wants. False: it cannot be; decode it when it runs. */
static bool decode_now(struct input *in, struct task_input *ti, const struct reading *reading, struct view body, struct pending *p)
{
    struct page *page = in->probe_wants[0] < 0 ? NULL : pages_room(&in->pages, &ti->page);
    struct error err;

    if (page == NULL || decode_row(reading->plan, body, &page->cols, page->n_rows, &err) != OK)
        return false;
    for (size_t k = 0; k < in->n_probe; k++) {
        const struct col *from = &page->cols.cols[in->probe_wants[k]];

        in->probed.cols[k].null[0] = from->null[page->n_rows];
        in->probed.cols[k].i64[0] = from->i64[page->n_rows];
    }
    p->page = page;
    return true;
}

/* What a record of a topic from inside says of its writer. */
static enum status read_word(const struct col *cols, struct origin *ret_origin, struct mark *ret, struct error *err)
{
    int64_t tasks = cols[PROBE_TASKS].i64[0], epoch = cols[PROBE_EPOCH].i64[0];

    if (origin_get(&cols[PROBE_ORIGIN], ret_origin, err) != OK)
        return ERR_RECORD;
    for (int i = PROBE_TASKS; i <= PROBE_EPOCH; i++)
        if (cols[i].null[0])
            return err_set(err, ERR_RECORD, "lineage: it does not say who wrote the record");
    if (ret_origin->task >= tasks || tasks > MARK_TASKS_MAX || epoch < 0 || epoch > INT32_MAX)
        return err_set(err, ERR_RECORD, "lineage: task %d of %" PRId64 " in epoch %" PRId64 " cannot be", ret_origin->task, tasks,
                       epoch);
    *ret = (struct mark){(int)epoch, ret_origin->task, (int)tasks, cols[PROBE_AT].i64[0], false};
    return OK;
}

/*
 * Whether a word (a record's lineage or a mark) may be believed. ERR_RECORD: it lies, and is passed over. ERR_FATAL: its writer
 * runs by another wiring than this stage; nothing after it could be put in order.
 */
static enum status judge_word(struct stage *s, struct task_input *ti, const struct log_record *r, const struct mark *w,
                              struct error *err)
{
    const struct input *in = &s->inputs[r->input];
    const struct merge *m = &ti->merge;

    if (w->tasks != in->tasks || w->epoch > in->epoch)
        return err_set(err, ERR_FATAL, "%s/%d/%" PRId64 ": its writer has %d tasks in epoch %d, the pipeline file says %d in epoch "
                       "%d: start this stage with the pipeline file that its writer runs by; where the partition count has "
                       "changed, make the pipeline under a new name", in->topic->broker_name, r->partition, r->offset, w->tasks,
                       w->epoch, in->tasks, in->epoch);
    if (w->epoch < m->epoch)
        return err_set(err, ERR_RECORD, "lineage: epoch %d has ended here, its task %d must not write any more: stop the "
                       "processes of the writing stage that run by an old pipeline file", w->epoch, w->task);
    if (r->arrival_ms >= 0 && w->at > r->arrival_ms + s->ahead_ms)
        return err_set(err, ERR_RECORD, "lineage: at is %" PRId64 " ms after the record's arrival: no event can be that far",
                       w->at - r->arrival_ms);
    return OK;
}

/* Whether its task has said already that nothing so small comes. A record may be smaller than a mark: what was idle upstream may
 * wake with old events. */
static bool is_behind(struct task_input *ti, const struct mark *w, bool record, int64_t *ret_said)
{
    const struct said *now = &merge_channel(&ti->merge, w->task)->now;

    *ret_said = record ? now->record_at : now->at;
    return w->at < *ret_said;
}

static enum status behind(const struct mark *w, int64_t said, struct error *err)
{
    return err_set(err, ERR_RECORD, "lineage: at %" PRId64 " is before %" PRId64 ", which task %d of its writer has said already: "
                   "is there a second writer?", w->at, said, w->task);
}

/* Event time, channel and progress of one record. */
static enum status probe(struct stage *s, struct task_input *ti, struct pending *p, struct error *err)
{
    struct input *in = &s->inputs[p->rec.input];
    const struct col *cols = in->probed.cols;
    int64_t before = merge_channel(&ti->merge, 0)->now.at; /* of a topic from outside: its one channel */
    struct reading *reading;
    struct view body;
    struct mark word;
    int64_t said;

    p->task = in->outside || s->worker->stateless_order ? 0 : CHANNEL_FOREIGN;
    p->at = in->outside ? before : INT64_MIN;
    if (p->rec.value.data == NULL)
        return err_set(err, ERR_RECORD, "null value: a record of this topic needs one");
    if (open_frame(s, in, &p->rec, &body, &reading, err) != OK)
        return ERR_RECORD;
    if (!decode_now(in, ti, reading, body, p) && decode_row(reading->probe, body, &in->probed, 0, err) != OK)
        return ERR_RECORD;
    if (time_there(in, err) != OK)
        return ERR_RECORD;
    p->event_ms = cols[PROBE_TIME].i64[0];
    if (in->outside) {
        if (judge_time(in->topic, &p->rec, p->event_ms, before, err) != OK)
            return ERR_RECORD;
        p->at = p->event_ms > before ? p->event_ms : before;
        return OK;
    }
    if (read_word(cols, &p->origin, &word, err) != OK || (in->marked && judge_word(s, ti, &p->rec, &word, err) != OK)) {
        p->origin.channel = -1; /* or the channel's true writer would be taken to repeat it */
        return err->status;
    }
    if (in->marked && word.epoch > ti->merge.epoch)
        merge_epoch(&ti->merge, word.epoch);
    p->at = word.at;
    p->task = s->worker->stateless_order ? 0 : word.task; /* there: one channel, the partition's own order */
    if (in->marked && is_behind(ti, &word, /* record= */ true, &said)) { /* in its place all the same: it may be a repeat, which is dropped there */
        p->at = said;
        return behind(&word, said, err);
    }
    return OK;
}

static void count_bad_mark(struct stage *s, const struct log_record *r, const char *why)
{
    metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_BAD_MARK, 1);
    if (log_every_ms(&s->bad_mark_logged_ms, 60000))
        log_warn("bad_mark", "topic=%s partition=%d offset=%" PRId64 " reason=\"%s\"", s->inputs[r->input].topic->broker_name,
                 r->partition, r->offset, why);
}

/* A mark that lies is passed over: readers wait longer than they need, and nothing wrong is put out. *ret_kept: it goes on. */
static enum status take_mark(struct stage *s, struct task *t, const struct log_record *r, bool *ret_kept, struct error *err)
{
    const struct input *in = &s->inputs[r->input];
    struct task_input *ti = &t->inputs[r->input];
    enum status st;
    struct mark m;
    int64_t said;

    t->changed = true;
    if (in->outside || !mark_get(r->mark, &m)) {
        count_bad_mark(s, r, in->outside ? "no stage writes this topic" : "it cannot be read");
        return OK;
    }
    metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_MARK, 1);
    if (s->worker->stateless_order) {
        const struct pending through = {.rec = *r, .at = INT64_MIN, .origin.channel = -1};

        merge_push(&ti->merge, &through);
        *ret_kept = true;
        return OK;
    }
    if (!in->marked)
        return OK;
    st = judge_word(s, ti, r, &m, err);
    if (st == OK && !in->repeats && is_behind(ti, &m, /* record= */ false, &said))
        st = behind(&m, said, err);
    if (st == ERR_RECORD)
        count_bad_mark(s, r, err->text);
    if (st != OK)
        return st == ERR_RECORD ? OK : st;
    if (m.epoch > ti->merge.epoch)
        merge_epoch(&ti->merge, m.epoch);
    merge_mark(&ti->merge, &m, r->offset);
    return OK;
}

static enum status take_record(struct stage *s, struct task_input *ti, const struct log_record *r, struct error *err)
{
    struct pending p = {.rec = *r, .at = INT64_MIN, .origin.channel = -1};
    enum status st = probe(s, ti, &p, err);

    if (st == ERR_FATAL)
        return st;
    if (st != OK)
        p.page = NULL; /* its row is the next one's */
    p.rec.mark = view_of(NULL, 0); /* with a value it is a record, whatever its headers say */
    if (st != OK)
        p.bad = xstrdup(err->text);
    p.replay = r->offset < merge_channel(&ti->merge, p.task)->next_offset;
    if (s->opt.into)
        p.replay = p.event_ms < s->opt.from_ms || p.event_ms >= s->opt.to_ms;
    if (p.replay && s->worker->stateless_order && s->opt.into) { /* no state, and nobody waits for it */
        p.page = NULL;
        task_release(s, &p);
        return OK;
    }
    if (p.page)
        p.row = page_keep(p.page);
    merge_push(&ti->merge, &p);
    return OK;
}

enum status intake_record(struct stage *s, struct log_record *r, int64_t now_ms, struct error *err)
{
    struct task *t = task_of(s, r->partition);
    struct task_input *ti;
    bool kept = false;
    enum status st;

    if (t == NULL) {
        s->log->ops->release(s->log, r);
        return OK;
    }
    ti = &t->inputs[r->input];
    if (r->at_end) {
        if (ti->next_offset != r->offset)
            t->changed = true;
        ti->next_offset = SAFE(M_POSITION) ? r->offset : ti->next_offset;
        ti->end_since_ms = ti->end_since_ms ? ti->end_since_ms : now_ms;
        if (s->finite)
            merge_end(&ti->merge);
        return OK;
    }
    ti->end_since_ms = 0;
    ti->next_offset = r->offset + 1;
    if (r->mark.data == NULL || r->value.data)
        return take_record(s, ti, r, err);
    st = take_mark(s, t, r, &kept, err);
    if (!kept && st == OK)
        s->log->ops->release(s->log, r);
    return st;
}
