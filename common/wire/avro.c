#include "wire/avro.h"

#include "wire/varint.h"

static struct varint read_slow(const uint8_t *p, const uint8_t *end)
{
    uint64_t v = 0;

    for (int shift = 0; shift < 70 && p < end; shift += 7) {
        uint8_t b = *p++;

        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return (struct varint){p, v};
    }
    return (struct varint){NULL, 0};
}

struct varint varint_read_any(const uint8_t *p, const uint8_t *end)
{
    uint64_t w, stop;

    if (end - p < 8)
        return read_slow(p, end);
    memcpy(&w, p, 8);
    w = le64toh(w);
    stop = ~w & 0x8080808080808080u;
    if (stop == 0)
        return read_slow(p, end);
    /* Keep the bytes up to the first one without its high bit, then close the gaps: 7, 14, 28 bits. */
    w &= stop ^ (stop - 1);
    w = (w & 0x007f007f007f007fu) | (w & 0x7f007f007f007f00u) >> 1;
    w = (w & 0x00003fff00003fffu) | (w & 0x3fff00003fff0000u) >> 2;
    w = (w & 0x000000000fffffffu) | (w & 0x0fffffff00000000u) >> 4;
    return (struct varint){p + (__builtin_ctzll(stop) >> 3) + 1, w};
}

void avro_put_double(struct bytes *b, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    bits = htole64(bits);
    bytes_append(b, &bits, sizeof(bits));
}

void avro_put_bool(struct bytes *b, bool v)
{
    uint8_t byte = v;

    bytes_append(b, &byte, 1);
}

void avro_put_str(struct bytes *b, const char *s)
{
    avro_put_bytes(b, view_str(s));
}

bool avro_get_long(struct avro_reader *r, int64_t *ret)
{
    int64_t v;
    const uint8_t *p = varint_read_long(r->p, r->end, &v);

    if (p == NULL)
        return false;
    r->p = p;
    *ret = v;
    return true;
}

bool avro_get_double(struct avro_reader *r, double *ret)
{
    uint64_t bits;

    if (r->end - r->p < (ptrdiff_t)sizeof(bits))
        return false;
    memcpy(&bits, r->p, sizeof(bits));
    bits = le64toh(bits);
    memcpy(ret, &bits, sizeof(bits));
    r->p += sizeof(bits);
    return true;
}

bool avro_get_bool(struct avro_reader *r, bool *ret)
{
    if (r->p == r->end || *r->p > 1)
        return false;
    *ret = *r->p++ != 0;
    return true;
}

bool avro_get_bytes(struct avro_reader *r, struct view *ret)
{
    struct avro_reader at = *r;
    int64_t n;

    if (!avro_get_long(&at, &n) || n < 0 || n > at.end - at.p)
        return false;
    *ret = view_of(at.p, (size_t)n);
    r->p = at.p + n;
    return true;
}

bool avro_get_block(struct avro_reader *r, int64_t *ret_n)
{
    struct avro_reader at = *r;
    int64_t n, n_bytes;

    if (!avro_get_long(&at, &n) || n == INT64_MIN)
        return false;
    if (n < 0) {
        n = -n;
        if (!avro_get_long(&at, &n_bytes) || n_bytes < 0 || n_bytes > at.end - at.p)
            return false;
    }
    /* An item of no bytes is no use to those who read by hand: so a count has as many bytes. */
    if (n > at.end - at.p)
        return false;
    *r = at;
    *ret_n = n;
    return true;
}

/* The bytes of the character at p, 0 if they are none (Unicode 15, table 3-7). */
static size_t utf8_char(const uint8_t *p, const uint8_t *end)
{
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t n;

    if (p[0] < 0x80)
        return p[0] != 0;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if ((size_t)(end - p) < n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    if (p[0] == 0xed)
        high = 0x9f;
    if (p[0] == 0xf0)
        low = 0x90;
    if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* No high bit, and no zero byte: subtracting 1 of each borrows into no high bit. */
static inline bool is_ascii(uint64_t w)
{
    return ((w | (w - 0x0101010101010101u)) & 0x8080808080808080u) == 0;
}

/* The last word may lie over the one before it. False: it may be text all the same. */
static inline bool is_plain(const uint8_t *p, size_t n)
{
    uint64_t w = 0x0101010101010101u;
    uint32_t head, tail;

    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) {
            memcpy(&w, p + i, 8);
            if (!is_ascii(w))
                return false;
        }
        memcpy(&w, p + n - 8, 8);
    } else if (n >= 4) {
        memcpy(&head, p, 4);
        memcpy(&tail, p + n - 4, 4);
        w = (uint64_t)head << 32 | tail;
    } else {
        for (size_t i = 0; i < n; i++)
            w = w << 8 | p[i];
    }
    return is_ascii(w);
}

bool avro_is_text(struct view v)
{
    const uint8_t *p = v.data;
    const uint8_t *end = p + v.n;

    if (is_plain(p, v.n))
        return true;
    while (p < end) {
        size_t n = utf8_char(p, end);

        if (n == 0)
            return false;
        p += n;
    }
    return true;
}
