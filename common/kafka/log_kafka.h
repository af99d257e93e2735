/* common/kafka/log_kafka.h */
/*
 * log_kafka: the driver of the log seam for Kafka: one consumer in the group <pipeline>.<stage>, one transactional
 * producer, both named <pipeline>.<stage>.<instance>, so that a restarted slot takes its place again at once.
 *
 * Start    log_kafka_new makes the clients, which connect while the caller does something else; log_kafka_begin asks, fences the
 *          slot's former holder and joins the group.
 * Assign   a partition delivers nothing until the loop has called seek for it (offset -1: from its beginning).
 *          A revoked assignment is reported by take as `changed` without tasks: until the next take it can still be
 *          committed; what is not is aborted. A stage without inputs has the one task 0.
 * Commit   refused (ERR_RETRY, not unmoved) for positions of an assignment that has gone since.
 * Limits   fetch queue 4 MiB, producer queue 64 MiB.
 */
#ifndef KAFKA_LOG_KAFKA_H
#define KAFKA_LOG_KAFKA_H

#include "kafka/kafka.h"
#include "kafka/log.h"

/* restores: the stage will ask for it. */
enum status log_kafka_new(const struct pipeline *p, const struct stage_def *def, const char *brokers, const char *instance,
                          bool restores, struct log **ret_log, struct error *err);
/* needed: topics that must be there as they are said to be. */
enum status log_kafka_begin(struct log *l, const struct topic_spec *needed, size_t n, struct error *err);

#endif
