/* common/stage/dead.c: records that could not be processed, as DeadLetter records on <pipeline>.dead_letters. */
#include <inttypes.h>
#include <stdio.h>

#include "base/fail.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "stage/internal.h"
#include "wire/avro.h"
#include "wire/frame.h"

/* A dead letter must fit where its original did: the value is cut where the whole would not, and its hash kept. */
#define VALUE_MAX ((size_t)768 * 1024)
#define KEY_MAX ((size_t)64 * 1024)

struct letter {
    const char *topic;
    int partition;
    int64_t offset, arrival_ms;
    struct view key, value;
    struct log_header headers[LOG_HEADERS_MAX];
    size_t n_headers;
};

static enum reason class_of(const char *reason)
{
    static const struct {
        const char *begins;
        enum reason reason;
    } classes[] = {{"framing", REASON_FRAMING}, {"schema", REASON_SCHEMA}, {"avro", REASON_DECODE},   {"time", REASON_TIME},
                   {"late", REASON_LATE},     {"key", REASON_PARTITION}, {"range", REASON_RANGE}, {"refused", REASON_REFUSED}};

    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (strncmp(reason, classes[i].begins, strlen(classes[i].begins)) == 0)
            return classes[i].reason;
    return REASON_OTHER;
}

static void put_optional(struct bytes *b, struct view v)
{
    avro_put_long(b, v.data != NULL);
    if (v.data)
        avro_put_bytes(b, v);
}

/* A map has one value per name: of equal ones the last, as Kafka's own look-up. */
static bool is_last(const struct letter *d, size_t i)
{
    for (size_t j = i + 1; j < d->n_headers; j++)
        if (strcmp(d->headers[j].name, d->headers[i].name) == 0)
            return false;
    return avro_is_text(view_str(d->headers[i].name));
}

static void put_headers(const struct letter *d, struct bytes *b)
{
    int64_t n = 0;

    for (size_t i = 0; i < d->n_headers; i++)
        n += is_last(d, i);
    if (n)
        avro_put_long(b, n);
    for (size_t i = 0; i < d->n_headers; i++)
        if (is_last(d, i)) {
            avro_put_str(b, d->headers[i].name);
            avro_put_bytes(b, d->headers[i].value);
        }
    avro_put_long(b, 0);
}

static struct view cut(struct view v, size_t max)
{
    return view_of(v.data, v.n > max ? max : v.n);
}

/* DeadLetter, field by field as schemas/DeadLetter.avsc says: the original bytes, where they were, and why. */
static void encode(const struct stage *s, const struct letter *d, const char *reason, struct bytes *b)
{
    bool truncated = d->value.n > VALUE_MAX || d->key.n > KEY_MAX;
    uint8_t digest[HASH_BYTES];
    char hex[HASH_HEX_CHARS + 1];

    frame_put(b, schema_id(s->dead_schema));
    avro_put_str(b, d->topic);
    avro_put_long(b, d->partition);
    avro_put_long(b, d->offset);
    avro_put_str(b, reason);
    put_optional(b, cut(d->value, VALUE_MAX));
    put_optional(b, cut(d->key, KEY_MAX));
    put_headers(d, b);
    avro_put_long(b, d->arrival_ms);
    avro_put_str(b, s->def->name);
    avro_put_bool(b, truncated);
    hash_bytes(truncated ? d->value : view_of("", 0), digest);
    hash_to_hex(digest, sizeof(digest), hex);
    put_optional(b, truncated ? view_str(hex) : view_of(NULL, 0));
}

static void count(struct stage *s, const struct letter *d, const char *reason)
{
    metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_DEAD_LETTER, 1);
    metrics_add(&s->metrics, METRIC_DEAD_LETTERS, class_of(reason), 1);
    s->n_dead++;
    if (log_every_ms(&s->dead_logged_ms, 60000))
        log_warn("dead_letter", "topic=%s partition=%d offset=%" PRId64 " reason=\"%s\" so_far=%" PRId64, d->topic, d->partition,
                 d->offset, reason, s->n_dead);
}

enum status output_dead(struct stage *s, const struct pending *p, const char *reason, struct error *err)
{
    struct letter d = {.topic = s->inputs[p->rec.input].topic->broker_name, .partition = p->rec.partition,
                       .offset = p->rec.offset, .arrival_ms = p->rec.arrival_ms, .key = p->rec.key, .value = p->rec.value};
    struct log_put put = {.topic = s->dead_letters, .key = cut(p->rec.key, KEY_MAX), .traceparent = p->rec.traceparent,
                          .from = &p->rec};
    struct bytes b = BYTES_EMPTY;
    enum status st;

    if (s->log->ops->headers)
        d.n_headers = s->log->ops->headers(s->log, &p->rec, d.headers, ARRAY_LEN(d.headers));
    count(s, &d, reason);
    encode(s, &d, reason, &b);
    put.value = view_of(b.data, b.n);
    st = output_put(s, &put, err);
    bytes_done(&b);
    return st == OK ? FAIL("stage.dead_letter", err) : st;
}

/* An output that the broker will never take: it has no offset of its own, so the reason names what it rests on. */
void dead_refused(struct stage *s, const struct log_put *refused, const struct put_source *from, struct bytes *b,
                  struct log_put *ret_put)
{
    struct letter d = {.topic = refused->topic, .partition = refused->partition, .offset = -1, .arrival_ms = -1,
                       .key = refused->key, .value = refused->value};
    char reason[600];

    snprintf(reason, sizeof(reason),
             "refused: %zu bytes are more than the topic takes in one record (max.message.bytes); it rests on %s/%d/%" PRId64,
             refused->value.n, from->topic, from->partition, from->offset);
    count(s, &d, reason);
    encode(s, &d, reason, b);
    *ret_put = (struct log_put){.topic = s->dead_letters, .key = cut(refused->key, KEY_MAX), .value = view_of(b->data, b->n),
                                .traceparent = refused->traceparent};
}
