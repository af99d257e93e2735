/* test/sim/check.c */
/*
 * What a reader of committed records sees, as it sees it: each channel (topic, partition, writer's task) must be a prefix of
 * what the quiet run put there, and in the end all of it, byte for byte. Only lineage's offsets in topics that stages write
 * depend on where markers lie: in their place stands the how-manieth record of its channel it was. And its epoch, which is what
 * the stage's pipeline file said when the record was written.
 *
 * A dead letter belongs to the channel of the record that it is about.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "test/sim/sim.h"
#include "wire/avro.h"
#include "wire/frame.h"

#define WORLDS_MAX 16
#define TASKS_MAX 4
#define PASSED_MAX 4096

struct line {
    struct view bytes;
    int64_t offset;
};

struct channel_log {
    struct line *lines;
    size_t n, cap;
};

struct expected {
    struct channel_log channels[TOPICS_MAX][PARTITIONS_MAX][TASKS_MAX * PARTITIONS_MAX];
};

static struct expected *expected[WORLDS_MAX];
static size_t seen[TOPICS_MAX][PARTITIONS_MAX][TASKS_MAX * PARTITIONS_MAX];
static int64_t marked_at[TOPICS_MAX][PARTITIONS_MAX][TASKS_MAX];
static int64_t record_at[TOPICS_MAX][PARTITIONS_MAX][TASKS_MAX];
static int word_epoch[TOPICS_MAX][PARTITIONS_MAX]; /* of the last record or mark */
static struct {
    int64_t *ordinals; /* by offset: which data record of its channel; -1: none */
    int64_t n;
} ordinals[TOPICS_MAX][PARTITIONS_MAX];
static int64_t passed_epoch[PARTITIONS_MAX][PASSED_MAX]; /* of the feature row of an enriched record, by that one's place */
static bool learning;
static struct decode_plan *plans[TOPICS_MAX];
static const struct want lineage_want[] = {{"lineage", COL_AVRO}};
static struct arena arena;

/* ---- one record, without what may differ ---- */

struct lineage {
    struct view topic; /* of the root event */
    int64_t partition, root_offset, task, offset, index, tasks, epoch, at;
    size_t offset_begin, offset_end, epoch_begin, epoch_end; /* in the lineage's bytes */
};

static bool parse_lineage(struct view v, struct lineage *l)
{
    struct avro_reader r = {v.data, v.data + v.n};
    bool ok = avro_get_bytes(&r, &l->topic) && avro_get_long(&r, &l->partition) && avro_get_long(&r, &l->root_offset) &&
              avro_get_long(&r, &l->task);

    l->offset_begin = (size_t)(r.p - v.data);
    ok = ok && avro_get_long(&r, &l->offset);
    l->offset_end = (size_t)(r.p - v.data);
    ok = ok && avro_get_long(&r, &l->index) && avro_get_long(&r, &l->tasks);
    l->epoch_begin = (size_t)(r.p - v.data);
    ok = ok && avro_get_long(&r, &l->epoch);
    l->epoch_end = (size_t)(r.p - v.data);
    return ok && avro_get_long(&r, &l->at);
}

/* The topic that the writer of an output took its record from; -1: one from outside, whose offsets are the same in each run. */
static int taken_from(int topic)
{
    const char *name = sim.broker->topics[topic].name;

    /* score passes on where its input stems from */
    return strcmp(name, "sim.features") == 0 || strcmp(name, "sim.scores") == 0 || strcmp(name, "sim.windows") == 0
               ? broker_topic(sim.broker, "sim.enriched") : -1;
}

static const struct schema *schema_of(int topic)
{
    size_t n;
    const struct pipeline *p = world_pipeline();

    for (n = 0; n < p->n_topics; n++)
        if (strcmp(p->topics[n].broker_name, sim.broker->topics[topic].name) == 0)
            return p->topics[n].schema;
    return NULL;
}

static bool find_lineage(int topic, struct view value, struct view *ret, struct error *err)
{
    struct frame f;
    struct batch row;

    if (plans[topic] == NULL &&
        decode_plan_new(schema_of(topic), schema_of(topic), lineage_want, 1, &plans[topic], err) != OK)
        return false;
    if (frame_parse(value, &f, err) != OK)
        return false;
    arena_reset(&arena);
    batch_init(&row, &arena, 1);
    decode_begin(lineage_want, 1, &row);
    row.n_rows = 1;
    if (decode_row(plans[topic], f.body, &row, 0, err) != OK)
        return false;
    *ret = row.cols[0].view[0];
    return true;
}

/* Remembers which data record of its channel lies at an offset. */
static int64_t note(int topic, int partition, int64_t offset, int64_t ordinal)
{
    int64_t *n = &ordinals[topic][partition].n;

    if (offset >= *n) {
        int64_t cap = offset * 2 + 64;

        ordinals[topic][partition].ordinals = xrealloc(ordinals[topic][partition].ordinals, (size_t)cap * sizeof(int64_t));
        for (; *n < cap; ++*n)
            ordinals[topic][partition].ordinals[*n] = -1;
    }
    return ordinals[topic][partition].ordinals[offset] = ordinal;
}

static int64_t ordinal_of(int topic, int64_t partition, int64_t offset)
{
    return offset < 0 || offset >= ordinals[topic][partition].n ? -1 : ordinals[topic][partition].ordinals[offset];
}

static bool decode_all(int topic, struct view line, struct batch *row)
{
    static struct decode_plan *all[TOPICS_MAX];
    static struct want wants[TOPICS_MAX][64];
    static size_t n_wants[TOPICS_MAX];
    struct error err;
    struct frame f;
    size_t key = 0;

    while (key < line.n && line.data[key] != 0) /* the frame begins with a zero byte, keys are text */
        key++;
    if (schema_of(topic) == NULL || frame_parse(view_of(line.data + key, line.n - key), &f, &err) != OK)
        return false;
    if (all[topic] == NULL) {
        n_wants[topic] = schema_wants(schema_of(topic), wants[topic], 64);
        if (decode_plan_new(schema_of(topic), schema_of(topic), wants[topic], n_wants[topic], &all[topic], &err) != OK)
            return false;
    }
    batch_init(row, &arena, 1);
    decode_begin(wants[topic], n_wants[topic], row);
    row->n_rows = 1;
    return decode_row(all[topic], f.body, row, 0, &err) == OK;
}

static void print_cell(const struct col *c, struct bytes *out)
{
    if (c->null[0])
        bytes_printf(out, "null");
    else if (c->type == COL_DOUBLE)
        bytes_printf(out, "%.17g", c->f64[0]);
    else if (c->type < COL_STRING)
        bytes_printf(out, "%" PRId64, c->i64[0]);
    else
        bytes_printf(out, "'%.*s'", (int)c->view[0].n, (const char *)c->view[0].data);
}

/* Which fields of two records differ, and how. */
static const char *difference(int topic, struct view is, struct view want)
{
    struct batch a, b;
    struct bytes out = BYTES_EMPTY;

    if (!decode_all(topic, is, &a) || !decode_all(topic, want, &b))
        return "";
    for (size_t i = 0; i < a.n_cols; i++) {
        const struct col *x = &a.cols[i], *y = &b.cols[i];

        if (x->null[0] == y->null[0] && (x->null[0] || (x->type < COL_STRING ? x->i64[0] == y->i64[0] : view_eq(x->view[0], y->view[0]))))
            continue;
        bytes_printf(&out, " %s ", x->name);
        print_cell(x, &out);
        bytes_printf(&out, ", not ");
        print_cell(y, &out);
        bytes_printf(&out, ";");
    }
    bytes_append(&out, "", 1);
    return (const char *)out.data;
}

/* Returns which record of its channel it is. At least once, what was there may come again. */
static int64_t compare(int topic, int partition, int channel, int64_t offset, struct view bytes)
{
    struct channel_log *c = &expected[sim.schedule.world]->channels[topic][partition][channel];
    size_t k = seen[topic][partition][channel];

    for (size_t i = 0; i < k && !learning && sim.schedule.at_least_once; i++)
        if (view_eq(c->lines[i].bytes, bytes))
            return (int64_t)i;
    seen[topic][partition][channel]++;
    if (learning) {
        if (c->n == c->cap) {
            c->cap = c->cap ? 2 * c->cap : 32;
            c->lines = xrealloc(c->lines, c->cap * sizeof(*c->lines));
        }
        c->lines[c->n++] = (struct line){bytes, offset};
        return (int64_t)k;
    }
    if (k >= c->n) {
        fail("%s/%d, channel %d: record %zu at offset %" PRId64 " is one more than the quiet run has", sim.broker->topics[topic].name,
             partition, channel, k, offset);
        return (int64_t)k;
    }
    if (view_eq(c->lines[k].bytes, bytes))
        return (int64_t)k;
    for (size_t i = 0; i < c->n; i++)
        if (view_eq(c->lines[i].bytes, bytes)) {
            fail("%s/%d, channel %d: record %zu at offset %" PRId64 " is the quiet run's record %zu: %s", sim.broker->topics[topic].name,
                 partition, channel, k, offset, i, i < k ? "a repeat" : "one is missing or they are out of order");
            return (int64_t)k;
        }
    fail("%s/%d, channel %d: record %zu at offset %" PRId64 " has other values than the quiet run's at its offset %" PRId64 ":%s",
         sim.broker->topics[topic].name, partition, channel, k, offset, c->lines[k].offset, difference(topic, bytes, c->lines[k].bytes));
    return (int64_t)k;
}

/* A record or a mark: behind one of a later epoch there is none of an earlier one. */
static void check_word(int topic, int partition, int epoch)
{
    if (epoch < word_epoch[topic][partition])
        fail("%s/%d: epoch %d behind epoch %d", sim.broker->topics[topic].name, partition, epoch, word_epoch[topic][partition]);
    for (int k = 0; k < TASKS_MAX && epoch > word_epoch[topic][partition]; k++)
        marked_at[topic][partition][k] = INT64_MIN; /* its channels begin anew */
    word_epoch[topic][partition] = epoch;
}

/* A stage's record has the epoch that its pipeline file said when it was written; a score has its feature row's. */
static void check_epoch(int topic, int partition, const struct record *r, const struct lineage *l)
{
    int64_t *passed = &passed_epoch[l->task][l->offset % PASSED_MAX];
    int writer = topic == ENRICHED ? CUSTOMER : topic == WINDOWS ? HOURLY : TERMINAL;
    int64_t want = topic == SCORES ? *passed : world_epoch_at(writer, r->arrival_ms);

    if (topic == FEATURES)
        *passed = l->epoch;
    if (sim.schedule.at_least_once) /* what was written before may arrive later, and come again */
        return;
    if (l->epoch != want)
        fail("%s/%d: a record of epoch %" PRId64 ", not %" PRId64, sim.broker->topics[topic].name, partition, l->epoch, want);
    check_word(topic, partition, (int)l->epoch);
}

static void check_mark(int topic, int partition, struct view header)
{
    struct mark m;

    if (mark_get(header, &m))
        story("%s/%d: task %d of %d is at %" PRId64 "%s", sim.broker->topics[topic].name, partition, m.task, m.tasks, m.at,
              m.idle ? " and idle" : "");
    if (sim.schedule.at_least_once)
        return; /* they come again too */
    if (!mark_get(header, &m) || m.task >= TASKS_MAX)
        fail("%s/%d has a mark that cannot be read", sim.broker->topics[topic].name, partition);
    else if (check_word(topic, partition, m.epoch), m.at < marked_at[topic][partition][m.task])
        fail("%s/%d: task %d marks less than before", sim.broker->topics[topic].name, partition, m.task);
    else
        marked_at[topic][partition][m.task] = m.at;
}

static void check_output(int topic, int partition, int64_t offset, const struct record *r)
{
    struct view lineage;
    struct lineage l;
    struct bytes b = BYTES_EMPTY;
    struct error err;
    int from = taken_from(topic);
    int64_t ordinal;

    if (!find_lineage(topic, r->value, &lineage, &err) || !parse_lineage(lineage, &l) || l.task < 0 || l.task >= TASKS_MAX) {
        fail("%s/%d offset %" PRId64 " cannot be read", sim.broker->topics[topic].name, partition, offset);
        return;
    }
    story("%s/%d offset %" PRId64 ": a record of task %" PRId64 " at %" PRId64, sim.broker->topics[topic].name, partition, offset,
          l.task, l.at);
    if (!sim.schedule.at_least_once && l.at < record_at[topic][partition][l.task])
        fail("%s/%d offset %" PRId64 ": a record of task %" PRId64 " has a smaller `at` than the one before it",
             sim.broker->topics[topic].name, partition, offset, l.task);
    check_epoch(topic, partition, r, &l);
    record_at[topic][partition][l.task] = l.at; /* behind a mark it may lie: of a channel that was idle upstream */
    ordinal = from < 0 ? l.offset : ordinal_of(from, l.task, l.offset);
    if (ordinal < 0)
        fail("%s/%d offset %" PRId64 " rests on a record that nobody can see", sim.broker->topics[topic].name, partition, offset);
    bytes_append(&b, r->key.data, r->key.n);
    bytes_append(&b, r->value.data, (size_t)(lineage.data - r->value.data) + l.offset_begin);
    avro_put_long(&b, ordinal);
    bytes_append(&b, lineage.data + l.offset_end, l.epoch_begin - l.offset_end);
    avro_put_long(&b, 0);
    bytes_append(&b, lineage.data + l.epoch_end, (size_t)(r->value.data + r->value.n - lineage.data) - l.epoch_end);
    note(topic, partition, offset, compare(topic, partition, (int)l.task, offset, view_of(b.data, b.n)));
    if (!learning)
        bytes_done(&b);
}

/* Which record, why, and its bytes; not when it arrived. */
static void check_dead(int topic, int partition, int64_t offset, const struct record *r)
{
    struct frame f;
    struct avro_reader in;
    struct view name, reason;
    int64_t from_partition, from_offset;
    struct bytes b = BYTES_EMPTY;
    struct error err;
    int from;

    if (frame_parse(r->value, &f, &err) != OK) {
        fail("dead letter %" PRId64 " cannot be read", offset);
        return;
    }
    in = (struct avro_reader){f.body.data, f.body.data + f.body.n};
    if (!avro_get_bytes(&in, &name) || !avro_get_long(&in, &from_partition) || !avro_get_long(&in, &from_offset) ||
        !avro_get_bytes(&in, &reason)) {
        fail("dead letter %" PRId64 " cannot be read", offset);
        return;
    }
    bytes_append(&b, name.data, name.n);
    bytes_append(&b, "", 1);
    from = broker_topic(sim.broker, (const char *)b.data);
    bytes_printf(&b, "/%" PRId64 "/%" PRId64 " %.*s", from_partition, from_offset, (int)reason.n, (const char *)reason.data);
    (void)compare(topic, partition, from * PARTITIONS_MAX + (int)from_partition, offset, view_of(b.data, b.n));
}

void check_visible(int topic, int partition, int64_t offset, const struct record *r)
{
    const char *name = sim.broker->topics[topic].name;

    for (size_t i = 0; i < r->n_headers; i++)
        if (strcmp(r->headers[i].name, "millrace.mark") == 0) {
            check_mark(topic, partition, r->headers[i].value);
            return;
        }
    if (topic == ENRICHED || taken_from(topic) >= 0)
        check_output(topic, partition, offset, r);
    else if (strcmp(name, "sim.dead_letters") == 0)
        check_dead(topic, partition, offset, r);
}

void check_begin(bool learn)
{
    learning = learn;
    memset(seen, 0, sizeof(seen));
    memset(word_epoch, 0, sizeof(word_epoch));
    for (int t = 0; t < TOPICS_MAX; t++)
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            for (int64_t i = 0; i < ordinals[t][p].n; i++)
                ordinals[t][p].ordinals[i] = -1;
            for (int k = 0; k < TASKS_MAX; k++)
                marked_at[t][p][k] = record_at[t][p][k] = INT64_MIN;
        }
    if (expected[sim.schedule.world] == NULL)
        expected[sim.schedule.world] = xcalloc(1, sizeof(struct expected));
}

void check_end(void)
{
    const struct expected *e = expected[sim.schedule.world];

    for (int t = 0; t < TOPICS_MAX; t++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            for (int k = 0; k < TASKS_MAX * PARTITIONS_MAX; k++)
                if (seen[t][p][k] != e->channels[t][p][k].n)
                    fail("%s/%d, channel %d: %zu records, the quiet run has %zu", sim.broker->topics[t].name, p, k, seen[t][p][k],
                         e->channels[t][p][k].n);
}

/* ---- what the oracle asks of the quiet run ---- */

size_t check_count(const char *topic)
{
    int t = broker_topic(sim.broker, topic);
    size_t n = 0;

    for (int p = 0; p < PARTITIONS_MAX; p++)
        for (int k = 0; k < TASKS_MAX * PARTITIONS_MAX; k++)
            n += expected[sim.schedule.world]->channels[t][p][k].n;
    return n;
}

static bool cell(const struct batch *row, const char *name, double *ret)
{
    const struct col *c = batch_col(row, name);

    if (c == NULL || c->type >= COL_STRING)
        return false;
    *ret = c->null[0] ? (double)NAN : c->type == COL_DOUBLE ? c->f64[0] : (double)c->i64[0];
    return true;
}

bool check_value(const char *topic, int64_t tx_id, const char *name, double *ret)
{
    int t = broker_topic(sim.broker, topic);

    for (int p = 0; p < PARTITIONS_MAX; p++)
        for (int k = 0; k < TASKS_MAX * PARTITIONS_MAX; k++) {
            const struct channel_log *c = &expected[sim.schedule.world]->channels[t][p][k];

            for (size_t i = 0; i < c->n; i++) {
                struct batch row;
                double id;

                arena_reset(&arena);
                if (decode_all(t, c->lines[i].bytes, &row) && cell(&row, "tx_id", &id) && (int64_t)id == tx_id)
                    return cell(&row, name, ret);
            }
        }
    return false;
}

bool check_line(const char *topic, int task, size_t i, const char *name, double *ret, struct view *ret_key)
{
    int t = broker_topic(sim.broker, topic);
    const struct channel_log *c = &expected[sim.schedule.world]->channels[t][task][task];
    struct batch row;

    if (i >= c->n)
        return false;
    arena_reset(&arena);
    *ret_key = view_of(c->lines[i].bytes.data, strnlen((const char *)c->lines[i].bytes.data, c->lines[i].bytes.n));
    return decode_all(t, c->lines[i].bytes, &row) && cell(&row, name, ret);
}
