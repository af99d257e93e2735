/* common/wire/text_bytes.h: what both directions of text share; for common/wire alone. */
#ifndef WIRE_TEXT_BYTES_H
#define WIRE_TEXT_BYTES_H

#include "wire/schema.h"

#define TEXT_BASE64 "base64:"
#define TEXT_BASE64_N (sizeof(TEXT_BASE64) - 1)

/* Whether bytes stand in JSON as they are. */
bool text_is_plain(struct view v);

/* How many of a timestamp's units make a millisecond: 1 or 1000; 0: not a timestamp. */
int64_t text_time_unit(const struct schema *s);

#endif
