/* tail: any topic's records for people and programs; schemas by id from millrace.schemas. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "ops/signals.h"
#include "wire/container.h"
#include "wire/frame.h"
#include "wire/keyed.h"
#include "wire/text.h"

#define LAST_MAX 1000000LL

struct tail {
    const char *topic, *brokers, *template;
    enum print_how how;
    struct reader *reader;
    struct registry *schemas;
    struct container_writer *file;
    const struct schema *file_schema;
    struct schema *keyed; /* of a topic whose records have several schemas */
    long long left; /* -1: no limit */
    bool piped_out; /* nobody reads any more */
    struct bytes json, text;
};

static const struct schema *schema_of(struct tail *t, const struct frame *f, struct error *err)
{
    for (int again = 0; again < 2; again++) {
        const struct schema *s = f->kind == FRAME_ID ? registry_by_id(t->schemas, (uint32_t)f->id)
                                                     : registry_by_fingerprint(t->schemas, f->id);

        if (s != NULL)
            return s;
        if (again == 0 && kafka_schemas_load(t->brokers, NULL, t->schemas, err) != OK)
            return NULL;
    }
    (void)err_set(err, ERR_RECORD, "its schema (id %llu) is not in %s", (unsigned long long)f->id, SCHEMAS_TOPIC);
    return NULL;
}

/* `| head -1` ends quietly; a full disk, which err says, does not. */
static enum status unless_gone(struct tail *t, struct error *err)
{
    if (errno != EPIPE)
        return err->status;
    t->piped_out = true;
    return OK;
}

static enum status failed(struct tail *t, struct error *err)
{
    (void)err_set(err, ERR_FATAL, "standard output: cannot be written: %s", strerror(errno));
    return unless_gone(t, err);
}

static enum status to_file(struct tail *t, const struct schema *schema, struct view body, struct error *err)
{
    if (t->file == NULL) {
        enum status s = container_create("-", schema, &t->file, err);

        if (s != OK)
            return s;
        t->file_schema = schema;
    }
    if (t->file_schema != schema)
        return err_set(err, ERR_FATAL, "%s holds records of two schemas: one Avro file takes one; use --output json",
                       t->topic);
    return container_append(t->file, body, err) == OK ? OK : unless_gone(t, err);
}

/* The models' records have several schemas: the file holds them with key and frame, for `score --in`. */
static enum status keyed_to_file(struct tail *t, const struct reader_msg *m, struct error *err)
{
    if (t->keyed == NULL && schema_parse(view_str(KEYED_SCHEMA), NULL, NULL, &t->keyed, err) != OK)
        return err->status;
    bytes_clear(&t->text);
    keyed_put(m->key, m->value, &t->text);
    return to_file(t, t->keyed, view_of(t->text.data, t->text.n), err);
}

static enum status print(struct tail *t, struct view text, struct error *err)
{
    return fwrite(text.data, 1, text.n, stdout) == text.n ? OK : failed(t, err);
}

/* A schema is JSON without a frame. */
static enum status print_raw(struct tail *t, struct view value, struct error *err)
{
    enum status s = print(t, value, err);

    return s == OK ? print(t, view_of("\n", 1), err) : s;
}

static enum status print_one(struct tail *t, const struct reader_msg *m, struct error *err)
{
    const struct schema *schema;
    struct frame frame;
    json_auto_t *record = NULL;
    enum status s;

    if (strcmp(t->topic, SCHEMAS_TOPIC) == 0)
        return print_raw(t, m->value, err);
    if (t->how == PRINT_AVRO && strcmp(t->topic, MODELS_TOPIC) == 0)
        return keyed_to_file(t, m, err);
    s = frame_parse(m->value, &frame, err);
    if (s != OK || (schema = schema_of(t, &frame, err)) == NULL)
        return err->status;
    if (t->how == PRINT_AVRO)
        return to_file(t, schema, frame.body, err);
    bytes_clear(&t->json);
    bytes_clear(&t->text);
    s = text_from_avro(schema, frame.body, /* iso= */ true, &t->json, err);
    if (s != OK)
        return s;
    if (t->how == PRINT_JSON && t->template == NULL) {
        bytes_append(&t->text, t->json.data, t->json.n);
        bytes_append(&t->text, "\n", 1);
    } else {
        s = json_read(view_of(t->json.data, t->json.n), &record, err);
        if (s != OK)
            return s;
        if (t->template != NULL)
            print_template(t->template, record, t->topic, m, &t->text);
        else {
            print_record(record, &t->text);
            bytes_append(&t->text, "\n", 1);
        }
    }
    return print(t, view_of(t->text.data, t->text.n), err);
}

/* `| head -1` ends us although nothing more is written. */
static bool reader_gone(void)
{
    struct pollfd out = {.fd = 1, .events = 0};

    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

/* The next record that is there; what was printed is shown before it waits for one. */
static enum status next(struct tail *t, struct reader_msg *m, bool *ret_end, struct error *err)
{
    enum status s = reader_next(t->reader, 0, m, ret_end, err);

    if (s != OK || *ret_end || m->partition >= 0)
        return s;
    if (fflush(stdout) != 0 && (s = failed(t, err)) != OK)
        return s;
    return reader_next(t->reader, 200, m, ret_end, err);
}

static enum status follow(struct tail *t, bool until_end, struct error *err)
{
    while (t->left != 0 && !t->piped_out && !signals_stopping()) {
        struct reader_msg m;
        bool end;
        struct error bad;
        enum status s = next(t, &m, &end, err);

        if (s != OK)
            return s;
        if (end || (m.partition < 0 && until_end && reader_caught_up(t->reader)))
            break;
        if (m.partition < 0 && reader_gone())
            t->piped_out = true;
        if (m.partition < 0 || m.value.data == NULL)
            continue; /* a mark or a tombstone */
        s = print_one(t, &m, &bad);
        if (s == ERR_RECORD)
            fprintf(stderr, "%s/%d/%lld: %s\n", t->topic, m.partition, (long long)m.offset, bad.text);
        else if (s != OK) {
            *err = bad;
            return s;
        }
        if (t->left > 0)
            t->left--;
    }
    return fflush(stdout) == 0 || t->piped_out ? OK : failed(t, err);
}

/* Marks, and the transactions' own, take offsets too: the n-th last record is looked for. */
static enum status nth_last(struct tail *t, int p, int64_t low, int64_t high, int64_t n, int64_t *ret_from, struct error *err)
{
    struct reader *back = NULL;
    int64_t *last = xcalloc((size_t)n, sizeof(*last));
    enum status s = reader_new(t->brokers, NULL, &back, err);

    for (int64_t window = 2 * n + 16; s == OK; window *= 4) {
        int64_t from = high - window > low ? high - window : low, found = 0;
        bool end = false;

        s = reader_add(back, t->topic, p, from, high, err);
        while (s == OK && !end) {
            struct reader_msg m;

            s = reader_next(back, /* timeout_ms= */ -1, &m, &end, err);
            if (s == OK && !end && m.value.data != NULL)
                last[found++ % n] = m.offset;
        }
        *ret_from = found < n ? low : last[found % n];
        if (found >= n || from == low)
            break;
    }
    reader_free(back);
    free(last);
    return s;
}

struct place {
    enum { PLACE_NONE, PLACE_BEGINNING, PLACE_END, PLACE_OFFSET, PLACE_LAST, PLACE_SINCE, PLACE_UNTIL } kind;
    long long n;
};

static bool read_place(const char *o, struct place *ret)
{
    if (strcmp(o, "beginning") == 0 || strcmp(o, "end") == 0) {
        ret->kind = o[0] == 'b' ? PLACE_BEGINNING : PLACE_END;
        return true;
    }
    if (strncmp(o, "s@", 2) == 0 || strncmp(o, "e@", 2) == 0) {
        ret->kind = o[0] == 's' ? PLACE_SINCE : PLACE_UNTIL;
        return cli_number(o + 2, 0, LLONG_MAX, &ret->n);
    }
    if (!cli_number(o, -LAST_MAX, LLONG_MAX, &ret->n))
        return false;
    ret->kind = ret->n < 0 ? PLACE_LAST : PLACE_OFFSET;
    return true;
}

static enum status add_range(struct tail *t, const struct place *places, int p, bool until_end, struct error *err)
{
    int64_t low = 0, high = 0, from, to;
    enum status s = reader_bounds(t->reader, t->topic, p, &low, &high, err);

    from = low;
    to = until_end ? high : -1;
    for (int i = 0; i < 2 && s == OK; i++) {
        const struct place *o = &places[i];

        if (o->kind == PLACE_END)
            from = high;
        else if (o->kind == PLACE_OFFSET)
            from = o->n;
        else if (o->kind == PLACE_LAST)
            s = nth_last(t, p, low, high, -o->n, &from, err);
        else if (o->kind == PLACE_SINCE)
            s = reader_at_time(t->reader, t->topic, p, o->n, &from, err);
        else if (o->kind == PLACE_UNTIL)
            s = reader_at_time(t->reader, t->topic, p, o->n, &to, err);
    }
    return s == OK ? reader_add(t->reader, t->topic, p, from, to, err) : s;
}

static enum status add_ranges(struct tail *t, const struct place *places, int only, bool until_end, struct error *err)
{
    int n = 0;
    enum status s = reader_partitions(t->reader, t->topic, &n, err);

    if (s != OK)
        return s;
    if (n == 0)
        return err_set(err, ERR_FATAL, "topic %s does not exist at %s: `millrace up` makes it", t->topic, t->brokers);
    if (only >= n)
        return err_set(err, ERR_FATAL, "topic %s has %d partitions, there is no %d", t->topic, n, only);
    for (int p = 0; p < n && s == OK; p++)
        if (only < 0 || p == only)
            s = add_range(t, places, p, until_end, err);
    return s;
}

/* No record came: a file without records is a file, too. */
static enum status empty_file(struct tail *t, struct error *err)
{
    char subject[300];
    const struct schema *schema;

    snprintf(subject, sizeof(subject), "%s-value", t->topic);
    schema = registry_latest(t->schemas, subject);
    return schema == NULL ? OK : container_create("-", schema, &t->file, err);
}

int cli_tail(int argc, char **argv)
{
    struct tail t = {.left = -1};
    const char *brokers = NULL, *o[2] = {"end", NULL}, *count = NULL, *partition = NULL, *output = "text";
    bool until_end = false;
    const struct cli_option options[] = {
        {"--brokers", &brokers, NULL}, {"--output", &output, NULL}, {"-o", &o[0], NULL},         {"-o", &o[1], NULL},
        {"-c", &count, NULL},          {"-e", NULL, &until_end},    {"-p", &partition, NULL}, {"-f", &t.template, NULL},
    };
    struct place places[2] = {{.kind = PLACE_NONE}};
    long long only = -1;
    struct error err, ignored;
    size_t n_args;
    enum status s;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), &t.topic, 1, &n_args))
        return EXIT_CALL;
    if (n_args != 1)
        return cli_wrong("tail", "which topic?");
    for (int i = 0; i < 2; i++)
        if (o[i] != NULL && !read_place(o[i], &places[i]))
            return cli_wrong("tail", "-o %s: expected beginning, end, N, -N (at most %lld), s@MS or e@MS", o[i], LAST_MAX);
    if (count != NULL && !cli_number(count, 1, LLONG_MAX, &t.left))
        return cli_wrong("tail", "-c %s: expected a count", count);
    if (partition != NULL && !cli_number(partition, 0, INT_MAX, &only))
        return cli_wrong("tail", "-p %s: expected a partition's number", partition);
    if (strcmp(output, "text") != 0 && strcmp(output, "json") != 0 && strcmp(output, "avro") != 0)
        return cli_wrong("tail", "--output %s: expected text, json or avro", output);
    t.how = output[0] == 't' ? PRINT_TEXT : output[0] == 'j' ? PRINT_JSON : PRINT_AVRO;
    t.brokers = kafka_brokers(brokers);
    t.schemas = registry_new();
    s = signals_start(&err);
    if (s == OK)
        s = kafka_schemas_load(t.brokers, NULL, t.schemas, &err);
    if (s == OK)
        s = reader_new(t.brokers, NULL, &t.reader, &err);
    if (s == OK)
        s = add_ranges(&t, places, (int)only, until_end, &err);
    if (s == OK)
        s = follow(&t, until_end, &err);
    if (s == OK && t.how == PRINT_AVRO && t.file == NULL)
        s = empty_file(&t, &err);
    if (t.file != NULL && container_finish(t.file, s == OK ? &err : &ignored) != OK && s == OK)
        s = unless_gone(&t, &err);
    reader_free(t.reader);
    registry_free(t.schemas);
    schema_free(t.keyed);
    bytes_done(&t.json);
    bytes_done(&t.text);
    if (s != OK)
        return cli_failed("tail", &err);
    return signals_stopping() ? SIGNALS_EXIT : 0;
}
