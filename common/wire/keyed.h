/* common/wire/keyed.h */
/*
 * keyed: records of a topic that holds several schemas, in one container file: key and framed value, as on the topic.
 */
#ifndef WIRE_KEYED_H
#define WIRE_KEYED_H

#include "base/bytes.h"
#include "base/err.h"

#define KEYED_SCHEMA                                                                                                 \
    "{\"type\":\"record\",\"name\":\"Keyed\",\"namespace\":\"millrace\",\"fields\":["                                \
    "{\"name\":\"key\",\"type\":\"bytes\"},"                                                                         \
    "{\"name\":\"value\",\"type\":\"bytes\",\"doc\":\"in Confluent framing\"}]}"

void keyed_put(struct view key, struct view value, struct bytes *out);
/* Views into body. ERR_RECORD when it is cut. */
enum status keyed_get(struct view body, struct view *ret_key, struct view *ret_value, struct error *err);

#endif
