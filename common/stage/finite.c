#include "stage/finite.h"

#include <stdlib.h>

#include "base/arena.h"

void finite_init(struct finite *f, struct stage *s, const struct log_ops *ops)
{
    f->log.ops = ops;
    f->stage = s;
    f->tasks = xcalloc((size_t)s->n_tasks_all, sizeof(*f->tasks));
    for (int p = 0; p < s->n_tasks_all; p++)
        f->tasks[p] = p;
}

void finite_done(struct finite *f)
{
    free(f->tasks);
}

void finite_take(struct finite *f, struct log_assignment *ret)
{
    bool paused = false, open = false;

    for (size_t i = 0; i < f->stage->n_inputs; i++) {
        paused |= !f->in[i].ended && f->in[i].n_paused > 0;
        open |= !f->in[i].ended && f->in[i].n_paused == 0;
    }
    f->stalled = paused && !open && !f->moved;
    f->moved = false;
    if (!f->assigned)
        *ret = (struct log_assignment){true, f->tasks, (size_t)f->stage->n_tasks_all};
    f->assigned = true;
}

void finite_moved(struct finite *f)
{
    f->moved = true;
}

bool finite_open(const struct finite *f, size_t input)
{
    return !f->in[input].ended && (f->in[input].n_paused == 0 || f->stalled);
}

bool finite_next_end(struct finite *f, size_t input, struct log_record *ret)
{
    if (!f->in[input].ended || f->in[input].n_told == f->stage->n_tasks_all)
        return false;
    *ret = (struct log_record){.input = (int)input, .partition = f->in[input].n_told++, .at_end = true};
    return true;
}

enum status finite_committed(struct log *log, int task, struct log_position *ret, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < ((struct finite *)log)->stage->n_inputs; i++)
        ret[i] = (struct log_position){.input = (int)i, .partition = task, .offset = -1};
    return OK;
}

enum status finite_seek(struct log *log, int input, int partition, int64_t offset, struct error *err)
{
    (void)log, (void)input, (void)partition, (void)offset, (void)err;
    return OK;
}

enum status finite_pause(struct log *log, int input, int partition, bool paused, struct error *err)
{
    (void)partition, (void)err;
    ((struct finite *)log)->in[input].n_paused += paused ? 1 : -1;
    return OK;
}

enum status finite_abort(struct log *log, struct error *err)
{
    (void)log, (void)err;
    return OK;
}

enum status finite_restore(struct log *log, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                           struct error *err)
{
    (void)log, (void)topic, (void)partitions, (void)n, (void)each, (void)ctx, (void)err;
    return OK;
}
