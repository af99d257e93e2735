/* common/json/json.h */
/*
 * json: the one door to jansson. Nobody else includes <jansson.h> or calls its json_load*.
 *
 * Shape    json_read takes the whole text; more than JSON_BYTES_MAX, a depth over JSON_DEPTH_MAX, a
 *          duplicate key, a NUL or anything after the value is refused with line and column.
 * Owner    the caller frees the result with json_decref, or declares it json_auto_t.
 * Errors   ERR_FATAL with the place; the caller wraps it with the file's or topic's name.
 * Threads  no shared state.
 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/err.h"

#define JSON_BYTES_MAX ((size_t)1024 * 1024)
#define JSON_DEPTH_MAX 64

enum status json_read(struct view text, json_t **ret_value, struct error *err);

/* The same for a file; err names it. */
enum status json_read_file(const char *path, json_t **ret_value, struct error *err);

#endif
