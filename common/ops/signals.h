/* common/ops/signals.h */
/*
 * signals: SIGTERM or SIGINT asks the process to drain, commit and exit 0.
 *
 * Shape    signals_stopping() is a flag to read each turn; signals_fd() becomes readable at the first signal and
 *          stays so (for poll, or beside a queue that reports to a descriptor).
 * Again    the same signal a second time exits at once with 130. The same one, because Ctrl-C reaches the whole process group
 *          and a supervisor then sends SIGTERM to its children: those two are one wish.
 * SIGPIPE  is ignored: a closed socket or pipe is an error code.
 * Threads  process-wide; call signals_start once, before other threads.
 */
#ifndef OPS_SIGNALS_H
#define OPS_SIGNALS_H

#include <stdbool.h>

#include "base/err.h"

#define SIGNALS_EXIT 130 /* the exit status of what was stopped before its work was done */

enum status signals_start(struct error *err);
bool signals_stopping(void);
int signals_fd(void);
/* As if SIGTERM had come: a worker that decides to end. */
void signals_stop(void);

#endif
