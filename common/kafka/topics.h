/* common/kafka/topics.h */
/*
 * topics: kafka_topics_check for who has a client already (kafka.h has the rest). Only common/kafka includes this header.
 */
#ifndef KAFKA_TOPICS_H
#define KAFKA_TOPICS_H

#include "kafka/conf.h"
#include "kafka/kafka.h"

enum status topics_check(rd_kafka_t *client, const char *brokers, const struct topic_spec *specs, size_t n, struct error *err);

#endif
