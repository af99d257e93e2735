/* common/wire/text.h */
/*
 * text: Avro bodies as JSON text and back, and CSV rows as Avro bodies: for people, never in the loop.
 *
 * JSON     plain: a union's value stands as itself (not {"string": ...}); timestamps (logicalType
 *          timestamp-millis/-micros) are ISO 8601 in UTC ("2018-07-25T10:00:00.000Z") when `iso` is set,
 *          else integers; bytes and fixed are base64 when not printable UTF-8... as documented in text.c.
 * To Avro  a timestamp field takes an integer (milliseconds) or ISO 8601 text; numbers may be quoted in CSV; an
 *          empty CSV cell is null where the field takes null, else the field's default, else an error.
 *          Unknown fields are an error naming the nearest field; missing ones take the default.
 * Errors   ERR_RECORD naming the field, what was expected and what type was got.
 */
#ifndef WIRE_TEXT_H
#define WIRE_TEXT_H

#include "wire/schema.h"

enum status text_from_avro(const struct schema *s, struct view body, bool iso, struct bytes *ret_json, struct error *err);
enum status text_to_avro(const struct schema *s, struct view json_line, struct bytes *ret_body, struct error *err);

/* columns[i] is the header's name of cells[i] (already unquoted). */
enum status text_csv_to_avro(const struct schema *s, const char *const *columns, const struct view *cells,
                             size_t n_cells, struct bytes *ret_body, struct error *err);

/* ISO 8601 date or date and time (UTC, "Z" optional) to epoch milliseconds; false if it is none. */
bool text_parse_time(struct view text, int64_t *ret_ms);
/* That, or milliseconds since 1970 of more than four characters (fewer are a year): what a command takes as a time. */
bool text_parse_moment(struct view text, int64_t *ret_ms);
void text_format_time(int64_t ms, char out[32]);
/* For a message: in which other unit a number taken for milliseconds would lie between two times, "seconds" (the first that does); NULL: in
 * none. */
const char *text_time_seems(int64_t ms, int64_t from_ms, int64_t to_ms);

#endif
