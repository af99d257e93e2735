/* common/base/fail.h */
/*
 * fail: named points at which a test makes a worker die, stop, halt or fail (test/fault).
 *
 * Shape    `if (FAIL("txn.before_commit", err) != OK) return err->status;` In a build without -DFAILPOINTS it is OK and nothing
 *          of it is left in the program; MODE=fault has it.
 * Control  MILLRACE_FAIL=point:hit:act[,...]: at the point's hit-th passage (0: at each one)
 *            kill      SIGKILL to itself          stop   SIGSTOP to itself
 *            delay=MS  go on after that long      error  ERR_RETRY, as if the world were bad there
 * Errors   ERR_RETRY by `error` alone. Where a point's caller drops the status, `error` does nothing.
 * Threads  any; points of one name are counted without a lock.
 */
#ifndef BASE_FAIL_H
#define BASE_FAIL_H

#include "base/err.h"

#ifdef FAILPOINTS
#define FAIL(point, err) fail_point(point, err)
enum status fail_point(const char *point, struct error *err);
#else
#define FAIL(point, err) OK
#endif

#endif
