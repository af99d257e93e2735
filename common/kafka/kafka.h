/* common/kafka/kafka.h */
/*
 * kafka: everything about a broker that is not the loop: addresses, topics, plain reading and writing. For
 * workers' jobs (train reads ranges, score follows models) and the command (tail, up, models).
 *
 * Errors   one clear sentence that names the address and what to do: no Kafka there, no permission, ...
 * Threads  a reader or writer belongs to one thread; several may exist.
 */
#ifndef KAFKA_KAFKA_H
#define KAFKA_KAFKA_H

#include "base/bytes.h"
#include "base/err.h"
#include "wire/registry.h"
#include "wiring/pipeline.h"

#define MODELS_TOPIC "millrace.models"
#define SCHEMAS_TOPIC "millrace.schemas"

/* given, else $MILLRACE_BROKERS, else the first line of build/kafka/bootstrap, else "localhost:9092". */
const char *kafka_brokers(const char *given);

/* Partition of a key as Java clients choose it (murmur2). */
int kafka_partition(struct view key, int n_partitions);

/* ---- topics: the operator's command alone. p: for its "kafka" properties, or NULL, here and below ---- */
struct topic_spec {
    const char *name;
    int partitions;
    bool compact;
    int64_t retention_ms; /* 0: the broker's own; -1: for ever */
};
/* Makes what is missing; a topic with other partitions, message.timestamp.type or retention is an error that names both. */
enum status kafka_topics_ensure(const char *brokers, const struct pipeline *p, const struct topic_spec *specs, size_t n,
                                struct error *err);
/* The same without making any: one that is missing is an error. */
enum status kafka_topics_check(const char *brokers, const struct pipeline *p, const struct topic_spec *specs, size_t n,
                               struct error *err);
/* Names of all topics, NULL-terminated, in the arena. */
enum status kafka_topics(const char *brokers, const struct pipeline *p, struct arena *arena, const char ***ret_names,
                         struct error *err);

/* ---- reading ranges, committed records only ---- */
struct reader_msg {
    int partition; /* -1: nothing came within the timeout */
    int64_t offset;
    int64_t arrival_ms;
    struct view key, value; /* until the next read; data == NULL: null */
    struct view mark;       /* header millrace.mark; data == NULL: none */
    struct view subject;    /* header subject (of a schema); data == NULL: none */
};
struct reader;
enum status reader_new(const char *brokers, const struct pipeline *p, struct reader **ret_reader, struct error *err);
void reader_free(struct reader *r);
/* *ret_n = 0: there is no such topic. */
enum status reader_partitions(struct reader *r, const char *topic, int *ret_n, struct error *err);
enum status reader_bounds(struct reader *r, const char *topic, int partition, int64_t *ret_low, int64_t *ret_high,
                          struct error *err);
/* The first offset that arrived at or after arrival_ms; the partition's end when there is none. */
enum status reader_at_time(struct reader *r, const char *topic, int partition, int64_t arrival_ms, int64_t *ret_offset,
                           struct error *err);
/* Adds [from, to) of a partition; to -1: without end. All of one topic. Reading begins with the first reader_next;
 * later ranges may be added once *ret_end was seen (bisecting). */
enum status reader_add(struct reader *r, const char *topic, int partition, int64_t from, int64_t to, struct error *err);
/* The next record of any range; *ret_end when all are read. With timeout_ms < 0 it waits (60 s without progress is an
 * error). */
enum status reader_next(struct reader *r, int timeout_ms, struct reader_msg *ret_msg, bool *ret_end, struct error *err);
/* The same for up to cap of them that are there, without their headers. */
enum status reader_take(struct reader *r, int timeout_ms, struct reader_msg *ret, size_t cap, size_t *ret_n, bool *ret_end,
                        struct error *err);
/* Event-time progress of a record, which nearly orders its partition; false: it has none (a mark, bytes of no schema). */
typedef bool reader_at_fn(void *ctx, const struct reader_msg *m, int64_t *ret_at);
struct reader_span {
    int64_t from_ms, to_ms; /* [from, to); INT64_MIN, INT64_MAX: without bound */
    int64_t slack_ms;       /* how far out of order a partition may be */
};
/* Of each of n partitions the offsets [ret_from, ret_to), as narrow as cheaply found, outside of which nothing lies in the
 * span. Reads, as reader_next does: ranges may be added afterwards. */
enum status reader_between(struct reader *r, const char *topic, int n, const struct reader_span *span, reader_at_fn *at_of,
                           void *ctx, int64_t *ret_from, int64_t *ret_to, struct error *err);
/* For ranges without end: everything that was there at the first reader_next has been read. */
bool reader_caught_up(const struct reader *r);

/* Loads millrace.schemas into a registry, from its beginning to its end. No such topic: nothing to load. */
enum status kafka_schemas_load(const char *brokers, const struct pipeline *p, struct registry *reg, struct error *err);

/* Follows millrace.schemas: each look loads what came since the one before; one without anything new costs a question. */
struct schema_feed;
enum status schema_feed_new(const char *brokers, const struct pipeline *p, struct schema_feed **ret_feed, struct error *err);
enum status schema_feed_look(struct schema_feed *f, struct registry *reg, struct error *err);
void schema_feed_free(struct schema_feed *f);

/* ---- writing: one transaction from writer_new to writer_commit; more may follow ---- */
struct writer;
enum status writer_new(const char *brokers, const struct pipeline *p, const char *transactional_id,
                       struct writer **ret_writer, struct error *err);
enum status writer_put(struct writer *w, const char *topic, int partition, struct view key, struct view value,
                       struct error *err);
/* A schema to millrace.schemas: key the id, value the JSON, header `subject`. */
enum status writer_put_schema(struct writer *w, const char *subject, const struct schema *schema, struct error *err);
enum status writer_commit(struct writer *w, struct error *err);
void writer_free(struct writer *w); /* aborts what was not committed */

#endif
