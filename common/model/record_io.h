/* common/model/record_io.h */
/*
 * record_io: reading and writing the fields of a record, for record*.c alone.
 *
 * A reader keeps its first failure (err is set once) and gives harmless values after it, so that a decode is a plain list
 * of fields; take_end() says how it went.
 */
#ifndef MODEL_RECORD_IO_H
#define MODEL_RECORD_IO_H

#include "model/record.h"
#include "wire/avro.h"

/* The signature field: length 64 (zigzag varint), then the bytes. */
#define SIGNATURE_FIELD_BYTES (2 + SIGN_BYTES)
#define RECORD_TEXT_MAX 4096
#define RECORD_ITEMS_MAX 1024

struct take {
    struct avro_reader in;
    struct arena *arena;
    struct error *err;
    const char *record; /* "model record", for messages */
    bool failed;
};

struct take take_from(struct view body, struct arena *arena, const char *record, struct error *err);
void take_fail(struct take *t, const char *field, const char *why);
int64_t take_long(struct take *t, const char *field, int64_t min, int64_t max);
double take_double(struct take *t, const char *field);
struct view take_bytes(struct take *t, const char *field, size_t max);
const char *take_text(struct take *t, const char *field);
const char *take_name(struct take *t);                             /* field "name" */
int64_t take_long_or(struct take *t, const char *field, int64_t absent, int64_t min, int64_t max); /* null or a long */
double take_double_or_nan(struct take *t, const char *field);      /* null or a double */
void take_signature(struct take *t, uint8_t ret_signature[SIGN_BYTES]);
size_t take_left(const struct take *t); /* bytes */
enum status take_end(struct take *t);

/* An array: items are item_bytes each in *base, which grows in the arena. NULL at the end. */
struct take_items {
    int64_t left;
    size_t n, cap;
    void *base;
};
void *take_item(struct take *t, const char *field, struct take_items *items, size_t item_bytes, size_t max);

void take_metrics(struct take *t, struct model_metric **ret_metrics, size_t *ret_n);
void put_metrics(const struct model_metric *metrics, size_t n, struct bytes *out);
void put_double_or_nan(double v, struct bytes *out);
void put_long_or(int64_t v, int64_t absent, struct bytes *out);
void put_count(size_t n, struct bytes *out); /* before an array's items; end it with avro_put_long(out, 0) */

/* The bytes before the signature field of a body. False: the body does not end in 64 bytes of signature. */
bool signed_part(struct view body, struct view *ret_signed);

#endif
