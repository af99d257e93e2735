/* common/base/err.h */
/*
 * err: what went wrong, and who must act.
 *
 * Shape    a status to branch on, a text to read: outermost context first, expected and got.
 * Owner    struct error is a plain value on the caller's stack; written only on failure.
 * Content  a field's name, type or size; never a key or value of a record.
 * Threads  no shared state.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/attr.h"

enum status {
    OK = 0,
    ERR_RECORD, /* this record will never work: dead-letter it, go on with the next    */
    ERR_RETRY,  /* the world is bad for now: abort the batch, back off, take it again  */
    ERR_FATAL,  /* nothing here can heal it: exit non-zero, the orchestrator restarts  */
};

struct error {
    enum status status;
    char text[1024];
};

/* Sets err and returns status, so that a caller writes `return err_set(...)`. */
enum status err_set(struct error *err, enum status status, const char *fmt, ...) PRINTF(3, 4);

/* Puts "context: " before the text and returns err's status. */
enum status err_wrap(struct error *err, const char *fmt, ...) PRINTF(2, 3);

#endif
