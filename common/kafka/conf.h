/* common/kafka/conf.h */
/*
 * conf: how every client of a broker is made: addresses, the pipeline's "kafka" properties, secrets from the
 * environment, limits; and what of librdkafka's API is newer than Debian's header (the library is: deploy/deps).
 *
 * Order    our own settings, then the pipeline's "kafka" object, then MILLRACE_KAFKA_<PROPERTY> (dots as underscores,
 *          upper case): later ones win, but for what the guarantees rest on (conf_fix), which is set last.
 * Home     of librdkafka: only common/kafka includes this header.
 * Threads  a client's callbacks run on the thread that polls it.
 */
#ifndef KAFKA_CONF_H
#define KAFKA_CONF_H

#include <librdkafka/rdkafka.h>

#include "base/attr.h"
#include "base/err.h"
#include "wiring/pipeline.h"

DEFINE_AUTO(kerror, rd_kafka_error_t *, rd_kafka_error_destroy);
DEFINE_AUTO(tplist, rd_kafka_topic_partition_list_t *, rd_kafka_topic_partition_list_destroy);
DEFINE_AUTO(kgroup, rd_kafka_consumer_group_metadata_t *, rd_kafka_consumer_group_metadata_destroy);
DEFINE_AUTO(kqueue, rd_kafka_queue_t *, rd_kafka_queue_destroy);
DEFINE_AUTO(kevent, rd_kafka_event_t *, rd_kafka_event_destroy);
DEFINE_AUTO(koptions, rd_kafka_AdminOptions_t *, rd_kafka_AdminOptions_destroy);
DEFINE_AUTO(kheaders, rd_kafka_headers_t *, rd_kafka_headers_destroy);

#define START_TIMEOUT_MS 10000
#define PROGRESS_TIMEOUT_MS 60000

/* ---- newer than librdkafka 2.0.2's header (2.3: ListOffsets; 2.10: the generation) ---- */
#if RD_KAFKA_VERSION < 0x020a00ff
int32_t rd_kafka_consumer_group_metadata_generation_id(const rd_kafka_consumer_group_metadata_t *group);
#endif
#if RD_KAFKA_VERSION < 0x020300ff
typedef rd_kafka_event_t rd_kafka_ListOffsets_result_t;
typedef struct rd_kafka_ListOffsetsResultInfo_s rd_kafka_ListOffsetsResultInfo_t;
#define RD_KAFKA_OFFSET_SPEC_LATEST (-1)
const rd_kafka_ListOffsets_result_t *rd_kafka_event_ListOffsets_result(rd_kafka_event_t *event);
const rd_kafka_ListOffsetsResultInfo_t **
rd_kafka_ListOffsets_result_infos(const rd_kafka_ListOffsets_result_t *result, size_t *n);
const rd_kafka_topic_partition_t *
rd_kafka_ListOffsetsResultInfo_topic_partition(const rd_kafka_ListOffsetsResultInfo_t *info);
void rd_kafka_ListOffsets(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *partitions,
                          const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue);
#endif

enum conf_kind { CONF_CONSUMER, CONF_PRODUCER };

/* Collects settings; the first that is refused is reported by conf_client. */
struct conf {
    rd_kafka_conf_t *conf;
    char fault[512];
};

/* In this order: defaults, then what the user gave, then what we promise and nobody may change. */
void conf_begin(struct conf *c, enum conf_kind kind, const char *brokers);
/* A default; this library may have been built without it. */
void conf_try(struct conf *c, const char *property, const char *value);
/* What the clients that a stage works with have besides, within the memory that it has; whoever is to be compared with one takes the same. */
void conf_stage(struct conf *c, enum conf_kind kind, const struct memory *memory);
/* The pipeline's properties (p may be NULL) and the environment's. */
void conf_given(struct conf *c, const struct pipeline *p);
void conf_set(struct conf *c, const char *property, const char *value);
/* Makes the client; ends c in any case. */
enum status conf_client(struct conf *c, enum conf_kind kind, rd_kafka_t **ret_client, struct error *err);

/* A client for questions only (metadata, offsets, admin). group: whose committed offsets it can be asked for, also where a transaction is about
 * to move them, without joining; or NULL. */
enum status conf_asker(const char *brokers, const struct pipeline *p, const char *group, rd_kafka_t **ret_client, struct error *err);

#define CONF_WHY_CHARS 160
/* "Connect to ipv4#127.0.0.1:1 failed: Connection refused": why a connection of this process, or adding a
 * topic to a transaction, failed last. */
void conf_why(char ret_text[CONF_WHY_CHARS]);
/* "no Kafka answers at ...", "not allowed ...": a librdkafka error code as a sentence that says what to do. */
enum status conf_explain(struct error *err, rd_kafka_resp_err_t code, const char *brokers, const char *what);

/* Partitions of a topic; *ret_n = 0: there is none of that name. */
enum status conf_partitions(rd_kafka_t *client, const char *brokers, const char *topic, int timeout_ms, int *ret_n,
                            struct error *err);

/* Whether to ask again what gave `code`: the client asked one that leads a partition no more, or not yet, as after a broker's restart,
 * and has heard now who does. False from deadline_ms (monotonic) on. */
bool conf_again(rd_kafka_t *client, const char *brokers, const char *topic, rd_kafka_resp_err_t code, int64_t deadline_ms);

/* High watermarks (read uncommitted) of n partitions: the end of everything written, open transactions included. */
enum status conf_ends(rd_kafka_t *client, const char *brokers, const char *topic, const int *partitions, size_t n,
                      int64_t *ret_ends, struct error *err);

/* librdkafka takes what it only reads without const. */
static inline void *conf_unconst(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {.in = p};

    return u.out;
}

#endif
