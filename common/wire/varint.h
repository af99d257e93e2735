/* common/wire/varint.h */
/*
 * varint: Avro's int and long (zig-zag, 7 bits a byte, lowest first), as fast as it goes.
 *
 * Shape    at most 10 bytes; the tenth holds one bit. A longer form than needed is accepted, as
 *          Java's reader does.
 * Errors   NULL: cut, or longer than 64 bits.
 */
#ifndef WIRE_VARINT_H
#define WIRE_VARINT_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VARINT_BYTES_MAX 10

/* In two registers; `next` NULL: wrong. */
struct varint {
    const uint8_t *next;
    uint64_t value;
};

/* Any length; apart, so that a caller's loop stays small. */
struct varint varint_read_any(const uint8_t *p, const uint8_t *end);

static inline int64_t zigzag_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline uint64_t zigzag_encode(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

/* Where the value ends, or NULL. */
static inline const uint8_t *varint_read(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
    struct varint got;

    if (p < end && *p < 0x80) {
        *ret = *p;
        return p + 1;
    }
    got = varint_read_any(p, end);
    *ret = got.value;
    return got.next;
}

static inline const uint8_t *varint_read_long(const uint8_t *p, const uint8_t *end, int64_t *ret)
{
    uint64_t v = 0;

    p = varint_read(p, end, &v);
    *ret = zigzag_decode(v);
    return p;
}

/* `p` has room for VARINT_BYTES_MAX. */
static inline uint8_t *varint_write(uint8_t *p, int64_t value)
{
    uint64_t v = zigzag_encode(value);

    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

#endif
