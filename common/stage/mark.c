#include "stage/mark.h"

#include "wire/avro.h"

void mark_put(const struct mark *m, struct bytes *out)
{
    avro_put_long(out, m->epoch);
    avro_put_long(out, m->task);
    avro_put_long(out, m->tasks);
    avro_put_long(out, m->at);
    avro_put_bool(out, m->idle);
}

bool mark_get(struct view header, struct mark *ret_mark)
{
    struct avro_reader r = {header.data, header.data + header.n};
    int64_t epoch, task, tasks, at;
    bool idle;

    if (!avro_get_long(&r, &epoch) || !avro_get_long(&r, &task) || !avro_get_long(&r, &tasks) ||
        !avro_get_long(&r, &at) || !avro_get_bool(&r, &idle) || r.p != r.end)
        return false;
    if (epoch < 0 || epoch > INT32_MAX || tasks < 1 || tasks > MARK_TASKS_MAX || task < 0 || task >= tasks)
        return false;
    *ret_mark = (struct mark){(int)epoch, (int)task, (int)tasks, at, idle};
    return true;
}
