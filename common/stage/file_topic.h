/* common/stage/file_topic.h */
/*
 * file_topic: an Avro container file read as the topic that it stands for.
 *
 * Partition and offset of a record are what they would be on the topic: murmur2 of its key field, and a count per
 * partition in the file's order. A record without a readable key goes to partition 0: its reader refuses it.
 * Owner    file_topic_close frees. Threads: one.
 */
#ifndef STAGE_FILE_TOPIC_H
#define STAGE_FILE_TOPIC_H

#include "kafka/log.h"
#include "wire/registry.h"
#include "wiring/pipeline.h"

struct file_topic;

/* The file's schema is added to the registry. path "-": standard input. */
enum status file_topic_open(const char *path, const struct topic *t, int n_partitions, struct registry *registry,
                            struct file_topic **ret_file, struct error *err);
void file_topic_close(struct file_topic *f);
/* The next record, bare; its value is good until the next call. value.data == NULL: the file's end. */
enum status file_topic_next(struct file_topic *f, struct log_record *ret, struct error *err);
/* How many of a partition have been read: one after the last offset. */
int64_t file_topic_offset(const struct file_topic *f, int partition);

#endif
