/* common/kafka/producer.h */
/*
 * producer: one idempotent producer, of a transactional id or plain: what txn.c and outbox.c share.
 *
 * Fate     a record's delivery report is served by poll and flush: the first that fails is kept in `refused`, and the
 *          producer sends nothing more of a partition behind it.
 * Size     a broker refuses a batch as too large. A record as large as a batch may be is alone in its own: it is refused
 *          itself. Where only smaller ones were refused, the next batches are smaller (producer_shrink).
 * Errors   as log.h's put. Owner: producer_close frees the client alone, producer_done all.
 * Threads  one.
 */
#ifndef KAFKA_PRODUCER_H
#define KAFKA_PRODUCER_H

#include "kafka/conf.h"
#include "kafka/log.h"

#define PRODUCER_CALL_MS 10000     /* one call of librdkafka */
#define PRODUCER_DEADLINE_MS 30000 /* a call with its repeats */
#define PRODUCER_TOPICS_MAX 64

struct producer {
    const char *brokers;
    const struct pipeline *p;
    const char *id; /* transactional; NULL: plain */
    rd_kafka_t *client; /* NULL: closed */
    rd_kafka_topic_t *topics[PRODUCER_TOPICS_MAX]; /* handles, so that a record costs no look-up by name under a lock */
    size_t n_topics;
    bool lost; /* a broker's connection broke since it was last cleared */
    rd_kafka_resp_err_t code;    /* of the last failure */
    rd_kafka_resp_err_t refused; /* first delivery error */
    char refused_topic[256];
    size_t message_bytes; /* message.max.bytes */
    size_t batch_bytes; /* a batch is at most that large, but for one of a single record; 0: the default */
    size_t *too_large;  /* numbers of the records that the broker refuses for their own size */
    size_t n_too_large;
};

/* Keeps what was refused for its size: who opens it anew wants to know. */
enum status producer_open(struct producer *p, struct error *err);
void producer_close(struct producer *p); /* drops what was not sent */
void producer_done(struct producer *p);

/* Forgets the fate of what was put before. */
void producer_clear(struct producer *p);
/* number: what too_large will name it by. One header more: header NULL, or its name. Blocks while the queue is full. */
enum status producer_put(struct producer *p, const struct log_put *put, size_t number, const char *header, struct view value,
                         struct error *err);
/* How many of the puts, from the first on, one call hands over: of one partition, without headers, none near the size that is refused. */
size_t producer_run(const struct producer *p, const struct log_put *puts, size_t n);
/* The same for such a run, numbered from `number` on; *ret_n were put. As it hands over what stands behind one that fails, it is for
 * who drops all of them then: a transaction. */
enum status producer_put_run(struct producer *p, const struct log_put *puts, size_t n, size_t number, size_t *ret_n,
                             struct error *err);
void producer_poll(struct producer *p);
/* Waits until all is delivered, one is refused, or PRODUCER_CALL_MS are over (false). */
bool producer_settle(struct producer *p);
/* A record that the broker will never take: the same bytes would fail for ever. */
bool producer_is_refusal(rd_kafka_resp_err_t code);
/* What a failed record means: ERR_FATAL where the broker will never take it, ERR_RETRY else, also where it is too large (put the
 * rest again without it). */
enum status producer_refusal(struct producer *p, rd_kafka_resp_err_t code, const char *topic, struct error *err);
/* Batches of several records were refused: smaller ones show which record it was, or pass. From the next open on. */
void producer_shrink(struct producer *p);

#endif
