/* common/wire/frame.h */
/*
 * frame: which schema wrote these bytes.
 *
 * Confluent framing (0x00, 4-byte big-endian id) is what we write; Avro single-object encoding
 * (C3 01, 8-byte little-endian CRC-64-AVRO) is read as well.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "base/bytes.h"
#include "base/err.h"

#define FRAME_BYTES 5 /* 0x00 and the id: what stands before the body */

enum frame_kind { FRAME_ID, FRAME_FINGERPRINT };

struct frame {
    enum frame_kind kind;
    uint64_t id; /* schema id, or fingerprint */
    struct view body;
};

/* ERR_RECORD with the reason: too short, unknown magic. */
enum status frame_parse(struct view value, struct frame *ret_frame, struct error *err);
void frame_put(struct bytes *b, uint32_t schema_id);

#endif
