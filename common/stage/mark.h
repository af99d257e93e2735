/* common/stage/mark.h */
/*
 * mark: how far an upstream task is, said in the data's own partition where it wrote nothing.
 *
 * A mark is a record with null key and value and the header "millrace.mark": five Avro values: epoch int, task int,
 * tasks int, at long (event time, ms), idle boolean. Foreign readers skip null values.
 */
#ifndef STAGE_MARK_H
#define STAGE_MARK_H

#include "base/bytes.h"

#define MARK_HEADER "millrace.mark"
#define MARK_TASKS_MAX 65536

struct mark {
    int epoch;
    int task;
    int tasks;
    int64_t at;
    bool idle;
};

void mark_put(const struct mark *m, struct bytes *out);
/* False when the bytes are no mark (short, a task outside 0..tasks-1, more than 65,536 tasks). */
bool mark_get(struct view header, struct mark *ret_mark);

#endif
