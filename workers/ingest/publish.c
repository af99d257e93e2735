#include "workers/ingest/publish.h"

#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kafka/kafka.h"
#include "ops/signals.h"
#include "stage/stage.h"
#include "wire/container.h"
#include "wire/frame.h"
#include "wire/plan.h"
#include "wire/text.h"
#include "workers/ingest/source.h"

#define COMMIT_RECORDS 10000
#define COMMIT_MS 500
#define BAD_SHOWN 10
#define TIME_OLD_MS INT64_C(94694400000)  /* 1973: what is younger in seconds lies before it in milliseconds */
#define TIME_NEW_MS INT64_C(946684800000) /* 2000 */

struct publish {
    const char *brokers, *topic_name, *format_name, *source_name, *out;
    const char *pipeline_file, *stage, *given; /* given: the file's name */
    bool again, hinted;
    enum source_format format;
    char path[PATH_MAX], name[PATH_MAX], changelog[512];
    bool resumable, stopped;
    struct pipeline *pipeline;
    const struct topic *topic;
    struct schema *state_schema;
    struct source *source;
    struct writer *writer;
    struct container_writer *file; /* --out: in the broker's place */
    struct decode_plan *plan; /* key and time of a body */
    struct want wants[2];
    size_t n_wants;
    struct arena arena;
    struct batch row;
    struct position done;
    int64_t published, refused, in_txn, committed_ms;
    struct bytes value;
};

static int usage(void)
{
    fputs("usage: ingest PIPELINE STAGE --publish TOPIC FILE|-... [--format csv|jsonl|avro] [--source NAME] [--again]\n"
          "              [--brokers HOST:PORT | --out FILE]   (--out: an Avro container file in the topic's place; no broker)\n"
          "example: ingest pipelines/fraud.json intake --publish transactions tx.csv --out transactions.avro\n", stderr);
    return 2;
}

/* By --format, else by the name's ending, else JSON lines. */
static bool read_format(struct publish *p)
{
    const char *dot = strrchr(p->given, '.');
    const char *f = p->format_name ? p->format_name : dot ? dot + 1 : "jsonl";

    p->format = strcmp(f, "csv") == 0 ? SOURCE_CSV : strcmp(f, "avro") == 0 ? SOURCE_AVRO : SOURCE_JSONL;
    return p->format_name == NULL || p->format != SOURCE_JSONL || strcmp(f, "jsonl") == 0;
}

/* The files are argv[optind...]; false: the call is wrong. */
static bool read_options(struct publish *p, int argc, char **argv)
{
    static const struct option longs[] = {
        {"publish", required_argument, NULL, 'p'}, {"format", required_argument, NULL, 'f'},
        {"source", required_argument, NULL, 's'},  {"again", no_argument, NULL, 'a'},
        {"brokers", required_argument, NULL, 'b'}, {"out", required_argument, NULL, 'o'}, {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        const char **to = c == 'p' ? &p->topic_name : c == 'f' ? &p->format_name : c == 's' ? &p->source_name
                          : c == 'b' ? &p->brokers : c == 'o' ? &p->out : NULL;

        if (to)
            *to = optarg;
        else if (c == 'a')
            p->again = true;
        else
            return false;
    }
    if (argc - optind < 3 || p->topic_name == NULL || (argc - optind > 3 && (p->source_name || p->out)))
        return false;
    p->pipeline_file = argv[optind++];
    p->stage = argv[optind++];
    p->given = argv[optind];
    return read_format(p);
}

static enum status find_topic(struct publish *p, struct error *err)
{
    const struct stage_def *def = pipeline_stage(p->pipeline, p->stage);

    if (def == NULL || strcmp(def->worker, "ingest") != 0)
        return err_set(err, ERR_FATAL, "%s: no stage '%s' that ingests", p->pipeline_file, p->stage);
    snprintf(p->changelog, sizeof(p->changelog), "%s.%s.changelog", p->pipeline->name, def->name);
    for (size_t i = 0; i < def->n_to; i++) {
        const struct topic *t = &p->pipeline->topics[def->to[i]];

        if (strcmp(t->name, p->topic_name) == 0 || strcmp(t->broker_name, p->topic_name) == 0)
            p->topic = t;
    }
    if (p->topic == NULL)
        return err_set(err, ERR_FATAL, "stage %s publishes no topic '%s'", def->name, p->topic_name);
    return OK;
}

static enum status name_source(struct publish *p, struct error *err)
{
    bool in = strcmp(p->given, "-") == 0;

    snprintf(p->path, sizeof(p->path), "%s", p->given);
    p->resumable = !in || p->source_name;
    if (p->source_name)
        snprintf(p->name, sizeof(p->name), "%s", p->source_name);
    else if (in)
        snprintf(p->name, sizeof(p->name), "stdin");
    else if (realpath(p->given, p->name) == NULL)
        return err_set(err, ERR_FATAL, "%s: no such file, or it cannot be read", p->given);
    p->resumable = p->resumable && p->out == NULL;
    if (!p->resumable && p->out == NULL)
        fputs("ingest: standard input cannot be resumed after a kill; --source NAME makes it so\n", stderr);
    return OK;
}

/* The last position of this source on the changelog. */
static enum status find_position(struct publish *p, struct reader *r, struct error *err)
{
    int64_t low, high;
    bool end = false;

    if (reader_bounds(r, p->changelog, 0, &low, &high, err) != OK || low >= high)
        return low >= high ? OK : err->status;
    if (reader_add(r, p->changelog, 0, low, high, err) != OK)
        return err->status;
    while (!end) {
        struct reader_msg m;
        struct frame f;

        if (reader_next(r, -1, &m, &end, err) != OK)
            return err->status;
        if (end || m.partition < 0 || m.value.data == NULL || !view_eq(m.key, view_str(p->name)))
            continue;
        if (frame_parse(m.value, &f, err) != OK || position_read(f.body, &p->done, err) != OK)
            return err_wrap(err, "%s", p->changelog);
    }
    return OK;
}

static enum status open_broker(struct publish *p, struct error *err)
{
    uint8_t digest[HASH_BYTES];
    char hex[HASH_HEX_CHARS + 1], id[1024];
    struct reader *r = NULL;
    const struct topic_spec needed[] = {{p->topic->broker_name, p->topic->partitions, false, 0}, {p->changelog, 1, true, 0}};
    enum status st;

    /* One publisher of a source at a time: a second one fences the first, before it reads where that one stood. */
    hash_bytes(view_str(p->name), digest);
    hash_to_hex(digest, sizeof(digest), hex);
    snprintf(id, sizeof(id), "%s.%s.publish.%.16s", p->pipeline->name, p->stage, hex);
    if (kafka_topics_check(p->brokers, p->pipeline, needed, ARRAY_LEN(needed), err) != OK ||
        writer_new(p->brokers, p->pipeline, id, &p->writer, err) != OK || reader_new(p->brokers, p->pipeline, &r, err) != OK)
        return err->status;
    st = p->resumable && !p->again ? find_position(p, r, err) : OK;
    reader_free(r);
    return st;
}

static enum status open_topic(struct publish *p, struct error *err)
{
    return p->out ? container_create(p->out, p->topic->schema, &p->file, err) : open_broker(p, err);
}

static enum status open_plan(struct publish *p, struct error *err)
{
    struct want leaves[512];
    size_t n = schema_wants(p->topic->schema, leaves, ARRAY_LEN(leaves));

    for (size_t i = 0; i < n && i < ARRAY_LEN(leaves); i++) {
        bool is_key = p->topic->key && strcmp(leaves[i].path, p->topic->key) == 0;
        bool is_time = p->topic->time && strcmp(leaves[i].path, p->topic->time) == 0;

        if ((is_key || is_time) && p->n_wants < 2)
            p->wants[p->n_wants++] = leaves[i];
    }
    batch_init(&p->row, &p->arena, 1);
    decode_begin(p->wants, p->n_wants, &p->row);
    p->row.n_rows = 1;
    return decode_plan_new(p->topic->schema, p->topic->schema, p->wants, p->n_wants, &p->plan, err);
}

static enum status commit(struct publish *p, struct error *err)
{
    source_position(p->source, &p->done);
    p->done.records += p->in_txn;
    if (p->resumable) {
        bytes_clear(&p->value);
        frame_put(&p->value, schema_id(p->state_schema));
        position_put(p->name, &p->done, &p->value);
        if (writer_put(p->writer, p->changelog, 0, view_str(p->name), view_of(p->value.data, p->value.n), err) != OK)
            return err->status;
    }
    if (p->writer && writer_commit(p->writer, err) != OK)
        return err_wrap(err, "commit (run it again: it goes on where it had committed)");
    p->published += p->in_txn;
    p->in_txn = 0;
    p->committed_ms = clock_wall_ms();
    return OK;
}

static void refuse(struct publish *p, int64_t line, const char *why)
{
    if (++p->refused <= BAD_SHOWN)
        fprintf(stderr, "%s:%" PRId64 ": %s\n", p->path, line, why);
    else if (p->refused == BAD_SHOWN + 1)
        fputs("further refused records are only counted\n", stderr);
}

/* ERR_RECORD: where it does not lie, and what unit it seems to be in. Where time.min takes it, that is said once. */
static enum status check_time(struct publish *p, const struct col *time, struct error *err)
{
    const struct topic *t = p->topic;
    int64_t last_ms = clock_wall_ms() + t->time_ahead_ms;
    const char *unit, *where;

    if (time->null[0])
        return err_set(err, ERR_RECORD, "time: field '%s' is null", t->time);
    where = time->i64[0] < t->time_min_ms ? "lies before time.min" : time->i64[0] > last_ms ? "lies further ahead than time.ahead" : NULL;
    if (where == NULL && (p->hinted || time->i64[0] >= TIME_OLD_MS))
        return OK;
    unit = text_time_seems(time->i64[0], where ? t->time_min_ms : TIME_NEW_MS, last_ms);
    if (where)
        return err_set(err, ERR_RECORD, "time: field '%s' %s; milliseconds since 1970 are expected%s%s", t->time, where,
                       unit ? ", it seems to be in " : "", unit ? unit : "");
    if (unit)
        fprintf(stderr, "ingest: time: field '%s' lies before 1973, as time.min allows, and seems to be in %s: milliseconds since 1970 are "
                "expected\n", t->time, unit);
    p->hinted = unit != NULL;
    return OK;
}

/* ERR_RECORD: the record cannot be published, by err's text. */
static enum status put(struct publish *p, struct view body, struct error *err)
{
    const struct col *key, *time;
    char text[32];
    struct view k = view_of(NULL, 0);

    if (decode_row(p->plan, body, &p->row, 0, err) != OK)
        return err->status;
    key = p->topic->key ? batch_col(&p->row, p->topic->key) : NULL;
    time = p->topic->time ? batch_col(&p->row, p->topic->time) : NULL;
    if (time && check_time(p, time, err) != OK)
        return err->status;
    if (key && key->null[0])
        return err_set(err, ERR_RECORD, "key: field '%s' is null", p->topic->key);
    if (key && key->type >= COL_STRING) {
        k = key->view[0];
    } else if (key) {
        if (key->type == COL_DOUBLE)
            snprintf(text, sizeof(text), "%.17g", key->f64[0]);
        else
            snprintf(text, sizeof(text), "%" PRId64, key->i64[0]);
        k = view_str(text);
    }
    if (key && k.n == 0)
        return err_set(err, ERR_RECORD, "key: field '%s' is empty", p->topic->key);
    if (p->file)
        return container_append(p->file, body, err);
    bytes_clear(&p->value);
    frame_put(&p->value, schema_id(p->topic->schema));
    bytes_append(&p->value, body.data, body.n);
    return writer_put(p->writer, p->topic->broker_name, key ? kafka_partition(k, p->topic->partitions) : 0, k,
                      view_of(p->value.data, p->value.n), err);
}

static enum status run(struct publish *p, struct error *err)
{
    enum source_outcome o = SOURCE_RECORD;

    p->committed_ms = clock_wall_ms();
    while (!signals_stopping()) {
        struct view body;
        struct error why;
        int64_t line = 0;
        enum status st = OK;

        if (source_next(p->source, &o, &body, &line, &why, err) != OK)
            return err->status;
        if (o == SOURCE_END)
            return commit(p, err);
        if (o == SOURCE_WAIT) { /* nobody knows for how long: a transaction is not held open */
            if (p->in_txn && commit(p, err) != OK)
                return err->status;
            source_wait(p->source, signals_fd());
            continue;
        }
        if (o == SOURCE_RECORD)
            st = put(p, body, &why);
        if (o == SOURCE_BAD || st == ERR_RECORD) {
            refuse(p, line, why.text);
        } else if (st != OK) {
            *err = why;
            return st;
        } else {
            p->in_txn++;
        }
        if (p->in_txn >= COMMIT_RECORDS || (p->in_txn % 64 == 1 && clock_wall_ms() - p->committed_ms >= COMMIT_MS))
            if (commit(p, err) != OK)
                return err->status;
    }
    p->stopped = true;
    return commit(p, err);
}

static enum status close_file(struct publish *p, struct error *err)
{
    enum status st = p->file ? container_finish(p->file, err) : OK;

    p->file = NULL;
    return st;
}

static enum status start(struct publish *p, struct bytes *faults, struct error *err)
{
    const struct schema *s;

    if (pipeline_load(p->pipeline_file, &p->pipeline, faults, err) != OK || find_topic(p, err) != OK || name_source(p, err) != OK ||
        pipeline_schema(p->pipeline, "State", &p->state_schema, err) != OK)
        return err->status;
    s = p->topic->schema;
    p->brokers = kafka_brokers(p->brokers);
    if (source_open(p->path, p->format, s, &p->source, err) != OK || open_plan(p, err) != OK || open_topic(p, err) != OK ||
        signals_start(err) != OK)
        return err->status;
    return p->done.bytes ? source_skip(p->source, &p->done, err) : OK;
}

static void finish(struct publish *p)
{
    struct error ignored;

    (void)close_file(p, &ignored);
    source_close(p->source);
    writer_free(p->writer);
    decode_plan_free(p->plan);
    schema_free(p->state_schema);
    pipeline_free(p->pipeline);
    arena_done(&p->arena);
    bytes_done(&p->value);
    free(p);
}

static void report(const struct publish *p, enum status st, int64_t before, int64_t ms)
{
    if (st == OK && before && p->published == 0 && p->refused == 0)
        printf("already published: %" PRId64 " records\n", before);
    else if (st == OK || (p->published && p->out == NULL))
        fprintf(p->out ? stderr : stdout, "%" PRId64 " published, %" PRId64 " refused, %" PRId64 " records/s\n", p->published,
                p->refused, p->published * 1000 / (ms > 0 ? ms : 1));
}

/* One file; the exit status. *ret_st: whether to go on with the next. */
static int publish_file(const struct publish *call, enum status *ret_st)
{
    struct publish *p = xcalloc(1, sizeof(*p));
    struct bytes faults = BYTES_EMPTY;
    struct error err = {0};
    int64_t begun_ms = clock_wall_ms(), before;
    enum status st;
    int code;

    *p = *call;
    st = start(p, &faults, &err);
    before = p->done.records;
    if (st == OK)
        st = run(p, &err);
    if (st == OK)
        st = close_file(p, &err);
    if (faults.n)
        fwrite(faults.data, 1, faults.n, stderr);
    else if (st != OK)
        fprintf(stderr, "ingest: %s\n", err.text);
    report(p, st, before, clock_wall_ms() - begun_ms);
    if (st == OK && p->stopped)
        fprintf(stderr, "%s: stopped before its end%s\n", p->path, p->resumable ? "; the same call goes on from here" : "");
    code = st == OK && p->stopped ? SIGNALS_EXIT : st == OK && p->refused == 0 ? 0 : p->topic == NULL ? 2 : 1;
    bytes_done(&faults);
    finish(p);
    *ret_st = st;
    return code;
}

int publish_main(int argc, char **argv)
{
    struct publish call = {0};
    enum status st = OK;
    int code = 0;

    if (!read_options(&call, argc, argv))
        return usage();
    for (; st == OK && optind < argc && !signals_stopping(); optind++) {
        int one;

        call.given = argv[optind];
        if (!read_format(&call))
            return usage();
        one = publish_file(&call, &st);
        code = one > code ? one : code;
    }
    return code;
}
