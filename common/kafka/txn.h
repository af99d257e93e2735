/* common/kafka/txn.h */
/*
 * txn: one transactional producer: records, input offsets, one outcome.
 *
 * Outcome  TXN_UNKNOWN: a commit timed out, was fenced, took over 5 s or lost its coordinator. The producer is then a new one whose
 *          init_transactions has ended whatever was in flight (librdkafka may repeat an EndTxn that would end a
 *          later transaction), so what is committed now stays so: read the committed offsets to learn it.
 * Size     a broker refuses a batch as too large, and with it the transaction (producer.h).
 * Fenced   the broker ended a transaction that lasted too long, or another process took the id: a producer cannot tell which.
 *          With a claim the next abort asks it and takes a new producer (a commit's outcome is TXN_UNKNOWN then); without one
 *          it is ERR_FATAL.
 * Errors   ERR_RETRY: aborted, put it all again. ERR_RECORD: larger than message.max.bytes, not put. ERR_FATAL: another has
 *          the id, refused by the broker, or not to be healed here.
 * Threads  one.
 */
#ifndef KAFKA_TXN_H
#define KAFKA_TXN_H

#include "kafka/producer.h"

struct txn;

enum txn_outcome { TXN_COMMITTED, TXN_ABORTED, TXN_UNKNOWN };

/* The client begins to connect; then txn_start fences the id's former holder, and ends what it left open. */
enum status txn_new(const char *brokers, const struct pipeline *p, const char *id, struct txn **ret_txn,
                    struct error *err);
enum status txn_start(struct txn *t, struct error *err);
void txn_free(struct txn *t); /* aborts what is open */

/* Whether the id is still ours to take a new producer for: OK; ERR_RETRY: not known now; ERR_FATAL: another has it. */
typedef enum status txn_claim_fn(void *ctx, struct error *err);
void txn_claim(struct txn *t, txn_claim_fn *claim, void *ctx);

bool txn_is_open(const struct txn *t);
/* No new producer could be taken yet: only an abort may follow. */
bool txn_is_spent(const struct txn *t);
/* Begins a transaction when none is open. Blocks while the queue is full. number: what txn_refused will name it by. */
enum status txn_put(struct txn *t, const struct log_put *put, size_t number, struct error *err);
/* The same with one header more. */
enum status txn_put_with(struct txn *t, const struct log_put *put, size_t number, const char *header, struct view value,
                         struct error *err);
/* Many at once: producer_run, producer_put_run. */
size_t txn_run(const struct txn *t, const struct log_put *puts, size_t n);
enum status txn_put_run(struct txn *t, const struct log_put *puts, size_t n, size_t number, size_t *ret_n, struct error *err);
/* offsets and group: NULL, or what is to be committed with it. *ret_outcome is always written. */
enum status txn_commit(struct txn *t, const rd_kafka_topic_partition_list_t *offsets,
                       const rd_kafka_consumer_group_metadata_t *group, enum txn_outcome *ret_outcome,
                       struct error *err);
/* *ret_code of the last failure: what the group's coordinator or the broker said. */
rd_kafka_resp_err_t txn_code(const struct txn *t);
/* After a commit that was aborted: the numbers of the records that the broker refuses for their size; until the next begins. */
size_t txn_refused(const struct txn *t, const size_t **ret_records);
enum status txn_abort(struct txn *t, struct error *err);
/* Serves delivery reports. */
void txn_poll(struct txn *t);

/* writer.c's, for schemas.c: a record with one header. */
struct writer;
enum status writer_put_with(struct writer *w, const struct log_put *put, const char *header, struct view value,
                            struct error *err);

#endif
