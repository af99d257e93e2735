/* common/wire/avro.h */
/*
 * avro: the primitives of Avro's binary encoding, for records that are written or read by hand.
 *
 * Bounds   a read never passes `end`; false means that the bytes are not what they should be.
 * Source   Avro specification 1.11, "Binary encoding".
 */
#ifndef WIRE_AVRO_H
#define WIRE_AVRO_H

#include "base/bytes.h"
#include "wire/varint.h"

/* int and long */
static inline void avro_put_long(struct bytes *b, int64_t v)
{
    uint8_t *p = bytes_reserve(b, VARINT_BYTES_MAX);

    b->n += (size_t)(varint_write(p, v) - p);
}

/* bytes and string */
static inline void avro_put_bytes(struct bytes *b, struct view v)
{
    avro_put_long(b, (int64_t)v.n);
    bytes_append(b, v.data, v.n);
}

void avro_put_double(struct bytes *b, double v);
void avro_put_bool(struct bytes *b, bool v);
void avro_put_str(struct bytes *b, const char *s);

struct avro_reader {
    const uint8_t *p;
    const uint8_t *end;
};

bool avro_get_long(struct avro_reader *r, int64_t *ret);
bool avro_get_double(struct avro_reader *r, double *ret);
bool avro_get_bool(struct avro_reader *r, bool *ret);
bool avro_get_bytes(struct avro_reader *r, struct view *ret);

/* The next block of an array or map: its item count, 0 at the end. Counts are bounded by the bytes left. */
bool avro_get_block(struct avro_reader *r, int64_t *ret_n);

/* Well-formed UTF-8 without a NUL: what a string of a record must be. */
bool avro_is_text(struct view v);

#endif
