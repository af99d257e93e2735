/* common/stage/due.c: rows that no record makes, because it is time for them. */
/*
 * They come between two records of the task: after the last one whose `at` lies before their moment, and before the first whose
 * `at` does not. So they are a function of the records and their order, whenever it becomes known that their time has come: by the
 * record behind them or by a mark. In lineage they are further outputs of the record before them. How far they are out is part
 * of the checkpoint; a moment's rows may take any number of batches and commits.
 */
#include <limits.h>
#include <stdio.h>

#include "stage/internal.h"

int64_t due_time(const struct task *t)
{
    return t->at > t->due.at ? t->at : t->due.at;
}

int64_t due_after(const struct stage *s, const struct task *t, int64_t at)
{
    int64_t time = due_time(t);

    if (!s->timed)
        return INT64_MAX;
    time = at > time ? at : time;
    return time == INT64_MIN ? INT64_MIN : s->worker->due(s->ctx, time);
}

int64_t due_next(const struct stage *s, const struct task *t)
{
    return s->timed && state_n_keys(t->state) != 0 && due_time(t) != INT64_MIN ? due_after(s, t, INT64_MIN) : INT64_MAX;
}

int64_t due_before(const struct stage *s, const struct task *t)
{
    return !s->opt.into && task_replays(t, s->n_inputs) ? INT64_MAX : due_next(s, t);
}

int64_t due_at(const struct stage *s, struct task *t, const struct pending *p)
{
    if (!p->replay || s->opt.into) {
        t->woken |= s->timed && p->at < t->due.at;
        return due_time(t);
    }
    if (p->at > t->due.replay_at)
        t->due.replay_at = p->at;
    return t->due.replay_at;
}

/* As Kafka names topics: it stands in the checkpoint's JSON, and what a record says of its source is from outside. */
static bool is_topic_name(struct view name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = ((const char *)name.data)[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return name.n != 0 && name.n < SOURCE_CHARS;
}

static void remember_source(const struct stage *s, struct due *d, const struct rows *rows, const struct pending *p, size_t r)
{
    struct view topic;
    int64_t partition;

    if (s->inputs[rows->input].outside) {
        snprintf(d->topic, sizeof(d->topic), "%s", s->inputs[rows->input].topic->broker_name);
        d->partition = p->rec.partition;
        d->offset = p->rec.offset;
        return;
    }
    topic = batch_col(rows->cols, "lineage.source.topic")->view[r];
    partition = batch_col(rows->cols, "lineage.source.partition")->i64[r];
    d->offset = batch_col(rows->cols, "lineage.source.offset")->i64[r];
    d->partition = (int)partition;
    snprintf(d->topic, sizeof(d->topic), "%.*s", (int)topic.n, topic.n ? (const char *)topic.data : "");
    if (!is_topic_name(topic) || partition < 0 || partition > INT_MAX || d->offset < 0) { /* no stage can have written that */
        d->topic[0] = '\0';
        d->partition = 0;
        d->offset = 0;
    }
}

void due_behind(const struct stage *s, struct task *t, const struct rows *rows, const struct pending *pending, const int *n_outs)
{
    size_t r = rows->cols->n_rows;

    if (!s->timed || (rows->replay && !s->opt.into))
        return;
    while (r > 0 && rows->bad[r - 1])
        r--;
    if (r-- == 0)
        return;
    t->due.last = (struct origin){t->id, (int)rows->input, pending[r].task, pending[r].rec.offset, n_outs[r]};
    remember_source(s, &t->due, rows, &pending[r], r);
}

/* The record behind which they come, as a row. */
static void last_row(struct stage *s, const struct task *t, struct batch *cols, struct rows *rows)
{
    const struct due *d = &t->due;

    batch_init(cols, &s->batch, 1);
    cols->n_rows = 1;
    batch_add_col(cols, "lineage.source.topic", COL_STRING)->view[0] = view_str(d->topic);
    batch_add_col(cols, "lineage.source.partition", COL_INT)->i64[0] = d->partition;
    batch_add_col(cols, "lineage.source.offset", COL_INT)->i64[0] = d->offset;
    *rows = (struct rows){.input = (size_t)d->last.input, .task = t->id, .cols = cols, .state = t->state, .commit = s->commit};
}

/* outs: of the moment due_ms. */
static enum status put_due(struct stage *s, struct task *t, struct rows *rows, int64_t due_ms, const struct pending *head,
                           struct out *outs, struct error *err)
{
    bool silent = s->opt.into && (due_ms < s->opt.from_ms || due_ms >= s->opt.to_ms);
    struct pending last = {.rec = {.input = t->due.last.input, .partition = t->id, .offset = t->due.last.offset},
                           .task = t->due.last.channel};

    if (head)
        last.rec.handle = head->rec.handle; /* files: before the outputs of the next record */
    for (size_t o = 0; o < s->n_outputs; o++) {
        if (silent)
            t->due.last.index += (int)outs[o].cols.n_rows;
        else if (outs[o].cols.n_rows && output_rows(s, t, rows, &last, o, &outs[o], &t->due.last.index, err) != OK)
            return err->status;
    }
    return OK;
}

/* Behind the last record marks say how far time is; what they once said holds though all rest since, or the log ends there. */
static bool is_over(const struct stage *s, const struct task *t, int64_t due_ms, int64_t now_ms)
{
    if (!s->finite && task_awaits(s, t, now_ms) >= due_ms)
        return true;
    for (size_t i = 0; i < s->n_inputs; i++)
        if (!s->inputs[i].marked || merge_known(&t->inputs[i].merge) < due_ms)
            return false;
    return true;
}

enum status due_run(struct stage *s, struct task *t, int64_t now_ms, size_t *ret_n, struct error *err)
{
    int64_t next = due_before(s, t);
    struct out outs[INPUTS_MAX] = {0};
    struct pending *head;
    struct batch cols;
    struct rows rows;
    enum status st;
    bool all = false;
    int input;

    *ret_n = 0;
    if (next == INT64_MAX)
        return OK;
    head = task_head(s, t, now_ms, &input);
    if (head ? head->at < next : !is_over(s, t, next, now_ms))
        return OK;
    last_row(s, t, &cols, &rows);
    st = s->worker->make_due(s->ctx, &rows, next, s->opt.batch, &t->due.from, outs, &all, err);
    if (st == OK)
        st = put_due(s, t, &rows, next, head, outs, err);
    if (all) {
        t->due.at = next;
        t->due.from = 0;
    }
    t->changed = true;
    *ret_n = 1;
    arena_reset(&s->batch);
    return st;
}
