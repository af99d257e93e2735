/* common/kafka/outbox.h */
/*
 * outbox: records that leave at once, without a transaction: an idempotent producer (acks=all) of no transactional id.
 *
 * Order    a partition's records arrive in the order in which they were put, without a gap: behind one that fails nothing
 *          more is taken or sent, until outbox_abort, or the flush that says so, has begun anew.
 * Errors   ERR_RETRY: put again (the log then holds some twice). ERR_RECORD: larger than message.max.bytes, not put.
 * Owner    outbox_free. o may be NULL: there is none, and all is well.
 * Threads  one.
 */
#ifndef KAFKA_OUTBOX_H
#define KAFKA_OUTBOX_H

#include "kafka/producer.h"

struct outbox;

enum status outbox_new(const char *brokers, const struct pipeline *p, struct outbox **ret_outbox, struct error *err);
void outbox_free(struct outbox *o); /* waits a while for what is under way */

/* number: what outbox_refused will name it by. */
enum status outbox_put(struct outbox *o, const struct log_put *put, size_t number, struct error *err);
/* All is delivered, or begun anew with *ret_again: whether it helps to put the same again, without what was refused. */
enum status outbox_flush(struct outbox *o, bool *ret_again, struct error *err);
/* What is still under way is delivered or dropped. */
enum status outbox_abort(struct outbox *o, struct error *err);
/* After a flush with *ret_again: the records that the broker refuses for their size; until the next put. */
size_t outbox_refused(const struct outbox *o, const size_t **ret_records);
void outbox_poll(struct outbox *o);

#endif
