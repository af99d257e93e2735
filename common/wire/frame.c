#include "wire/frame.h"

#include <endian.h>

#define FINGERPRINT_BYTES 10 /* C3 01, fingerprint */

enum status frame_parse(struct view value, struct frame *ret_frame, struct error *err)
{
    uint32_t id;
    uint64_t fingerprint;

    if (value.n == 0)
        return err_set(err, ERR_RECORD, "framing: an empty value; expected 0x00 and a schema id, or C3 01");
    if (value.data[0] == 0x00) {
        if (value.n < FRAME_BYTES)
            return err_set(err, ERR_RECORD, "framing: %zu bytes; 0x00 and a schema id take %d", value.n, FRAME_BYTES);
        memcpy(&id, value.data + 1, sizeof(id));
        *ret_frame = (struct frame){FRAME_ID, be32toh(id), view_of(value.data + FRAME_BYTES, value.n - FRAME_BYTES)};
        return OK;
    }
    if (value.data[0] != 0xc3)
        return err_set(err, ERR_RECORD,
                       "framing: first byte 0x%02x; expected 0x00 and a schema id, or C3 01", value.data[0]);
    if (value.n < FINGERPRINT_BYTES)
        return err_set(err, ERR_RECORD, "framing: %zu bytes; C3 01 and a fingerprint take %d", value.n,
                       FINGERPRINT_BYTES);
    if (value.data[1] != 0x01)
        return err_set(err, ERR_RECORD, "framing: C3 %02X; the version that is known is C3 01", value.data[1]);
    memcpy(&fingerprint, value.data + 2, sizeof(fingerprint));
    *ret_frame = (struct frame){FRAME_FINGERPRINT, le64toh(fingerprint),
                                view_of(value.data + FINGERPRINT_BYTES, value.n - FINGERPRINT_BYTES)};
    return OK;
}

void frame_put(struct bytes *b, uint32_t schema_id)
{
    uint8_t *p = bytes_reserve(b, FRAME_BYTES);
    uint32_t id = htobe32(schema_id);

    p[0] = 0x00;
    memcpy(p + 1, &id, sizeof(id));
    b->n += FRAME_BYTES;
}
