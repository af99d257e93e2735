/* common/wire/text_read.h: what reading JSON (text_to.c) and CSV cells (text_csv.c) share; for these alone. */
#ifndef WIRE_TEXT_READ_H
#define WIRE_TEXT_READ_H

#include "wire/text_bytes.h"

struct text_reader {
    struct bytes *out;
    struct error *err;
};

/* ERR_RECORD: what the schema expects, and `what` was got. */
enum status text_differs(struct text_reader *r, const struct schema *s, const char *what);
enum status text_unknown_field(struct text_reader *r, const struct schema *s, const char *name);

enum status text_put_long(struct text_reader *r, const struct schema *s, int64_t v);
enum status text_put_time(struct text_reader *r, const struct schema *s, int64_t ms);
enum status text_put_double(struct text_reader *r, const struct schema *s, double v);
/* The field's default, or an error that there is none. */
enum status text_put_missing(struct text_reader *r, const struct schema_field *f);

/* A value that stands as text: a string, an enum's symbol, bytes, a time, a number that is none. */
enum status text_read_text(struct text_reader *r, const struct schema *s, struct view v);
enum status text_read_value(struct text_reader *r, const struct schema *s, const json_t *v);
/* NaN and the infinities. */
bool text_special_double(struct view v, double *ret);

#endif
