/* workers/ingest/source.h */
/*
 * source: a CSV, JSON lines or Avro file (or standard input) as records, with how much of it was consumed.
 *
 * Bounds   a record of text <= 16 MiB.
 * Resume   source_skip hashes the first `bytes` again and passes over them; other content is ERR_FATAL.
 * Errors   a bad record: SOURCE_BAD with line and reason, the next goes on. A file that cannot be read: ERR_FATAL.
 */
#ifndef WORKERS_INGEST_SOURCE_H
#define WORKERS_INGEST_SOURCE_H

#include "wire/schema.h"
#include "workers/ingest/position.h"

enum source_format { SOURCE_CSV, SOURCE_JSONL, SOURCE_AVRO };
enum source_outcome { SOURCE_RECORD, SOURCE_BAD, SOURCE_END, SOURCE_WAIT };

struct source;

enum status source_open(const char *path, enum source_format format, const struct schema *schema, struct source **ret_source,
                        struct error *err);
void source_close(struct source *s);
enum status source_skip(struct source *s, const struct position *p, struct error *err);
/* ret_body: the record by the topic's schema, until the next call. SOURCE_BAD: *ret_line and ret_why. SOURCE_WAIT: a pipe has
 * nothing for now; source_wait waits for more (or its end), or until wake_fd is readable. */
enum status source_next(struct source *s, enum source_outcome *ret_outcome, struct view *ret_body, int64_t *ret_line,
                        struct error *ret_why, struct error *err);
void source_wait(const struct source *s, int wake_fd);
/* What was consumed so far (records is the caller's). */
void source_position(const struct source *s, struct position *ret_position);

#endif
