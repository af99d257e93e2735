/* workers/ingest/position.h */
/*
 * position: how far a source was published, as a State record on the stage's changelog (key: the source's name).
 *
 * Its `data` is JSON: {"source","bytes","records","sha256"}; sha256 of the first `bytes` bytes, so that a source whose
 * content is another is refused instead of continued.
 */
#ifndef WORKERS_INGEST_POSITION_H
#define WORKERS_INGEST_POSITION_H

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/hash.h"

struct position {
    int64_t bytes, records; /* consumed; records: of them, published */
    char sha256[HASH_HEX_CHARS + 1];
};

/* The Avro body. */
void position_put(const char *source, const struct position *p, struct bytes *out);
enum status position_read(struct view body, struct position *ret_position, struct error *err);

#endif
