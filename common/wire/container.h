/* common/wire/container.h */
/*
 * container: Avro object container files, read and written record by record.
 *
 * Codecs   null and deflate are read, null is written. The sync marker of a written file is derived
 *          from its schema, so the same records give the same bytes.
 * Bounds   a block <= 64 MiB after inflation; metadata <= 2 MiB.
 * Errors   ERR_FATAL naming the file, the block's offset and what was wrong; a full disk is named.
 */
#ifndef WIRE_CONTAINER_H
#define WIRE_CONTAINER_H

#include <stdio.h>

#include "wire/plan.h"

struct container_reader;
struct container_writer;

/* path "-": standard input. */
enum status container_open(const char *path, struct container_reader **ret_reader, struct error *err);
const struct schema *container_schema(const struct container_reader *r);
/* One record's body, good until the next call; ret_body->data == NULL at the end of the file. */
enum status container_next(struct container_reader *r, struct view *ret_body, struct error *err);
/* The same, and what the plan of the file's schema wants of it, in one look: into row 0. *ret_is_read: it could be read. */
enum status container_next_row(struct container_reader *r, const struct decode_plan *plan, struct batch *row, struct view *ret_body,
                               bool *ret_is_read, struct error *err);
void container_close(struct container_reader *r);

/* path "-": standard output. Written to the path itself; closed by container_finish, which flushes. */
enum status container_create(const char *path, const struct schema *schema, struct container_writer **ret_writer,
                             struct error *err);
enum status container_append(struct container_writer *w, struct view body, struct error *err);
enum status container_finish(struct container_writer *w, struct error *err); /* also frees, on failure too */

#endif
