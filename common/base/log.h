/* common/base/log.h */
/*
 * log: one line of key=value on stderr: level, time, event (a constant name to search for), coordinates.
 *
 * Never a key or a value of a record, never a line per record. `fmt` is key=value pairs; a text value
 * goes in double quotes. log_every_ms() says whether a repeated event's line is due again.
 * Threads  safe: a line is one write.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

/* Names this process in its lines (program and stage). Copied. */
void log_name(const char *name);

void log_info(const char *event, const char *fmt, ...) PRINTF(2, 3);
void log_warn(const char *event, const char *fmt, ...) PRINTF(2, 3);
void log_error(const char *event, const char *fmt, ...) PRINTF(2, 3);

/* True at the first call and again once `ms` have passed since the last true; *last begins at 0. */
bool log_every_ms(int64_t *last, int64_t ms);

#endif
