/* common/stage/stage.h */
/*
 * stage: the one loop: take a batch, decode, the worker's transform, encode, put, commit.
 *
 * A worker is a struct worker of callbacks. The loop owns Kafka, time, retries, restore, dead letters, lineage and
 * logs; callbacks are pure but for the state that they are handed. Every callback runs on the loop's one thread.
 */
#ifndef STAGE_STAGE_H
#define STAGE_STAGE_H

#include "base/batch.h"
#include "state/state.h"
#include "wire/plan.h"
#include "wire/registry.h"
#include "wiring/pipeline.h"

struct stage;
struct metrics;

#define ROW_SKIP ((const char *)1) /* in rows.bad: already reflected, pass over in silence */

/* Rows of one input of one task, in the order that the log decided. */
struct rows {
    size_t input;            /* index into the stage's `from` */
    int task;                /* partition number */
    struct batch *cols;      /* the columns that the worker wants, and the loop's own (lineage.*) */
    const struct view *keys; /* the records' keys */
    const int64_t *event_ms; /* event time per row */
    const int64_t *at;       /* the task's event-time progress as of each row, itself included */
    const char **bad;        /* NULL, or why the row is passed over: set it and the row becomes a dead letter */
    bool replay;             /* rebuilds state only: outputs are dropped */
    int64_t emit_at;         /* progress of the emitting input before the batch; INT64_MIN: since the start it has brought nothing */
    int64_t lateness_ms;     /* how far behind its progress a row of the emitting input may be */
    int64_t commit;          /* for state_dirty */
    struct state *state;
};

/* Rows for one output topic. The loop adds lineage, key and frame. A row rests on an input row; what is made of many (key is set)
 * has a key and an `at` of its own, and takes no model over. */
struct out {
    struct batch cols; /* columns by the output schema's field names; other fields of that schema are taken from the
                          parent row's columns of that name (wanted by the loop itself), else from the schema's default */
    uint32_t *parent;  /* per row: index of the input row that it rests on */
    struct view *key;  /* NULL: the parent's; or per row, */
    int64_t *at;       /* and how far the task was: never less than that of the row before */
    const char *model_name; /* of score on; NULL otherwise */
    int32_t *model_version; /* per row; -1: none */
    int64_t *routing;       /* per row; -1: none */
};

/* Makes room for cap rows: cols empty, parent, model_version and routing allocated. */
void out_begin(struct out *out, struct arena *arena, size_t cap);

struct worker {
    const char *name;
    bool stateless_order; /* takes records in log order, makes at most one of each; where it stems from, epoch, tasks, at and marks
                             go through unchanged */
    /* Called once: make *ret_ctx; say by stage_want which columns are needed. */
    enum status (*open)(struct stage *s, void **ret_ctx, struct error *err);
    /* outs[i] belongs to the stage's to[i]; all begin zeroed (out_begin those that get rows). */
    enum status (*transform)(void *ctx, struct rows *in, struct out *outs, struct error *err);
    /* Optional. Each turn of the loop: follow topics, look after a job, put records by stage_put. */
    enum status (*turn)(void *ctx, struct stage *s, struct error *err);
    /* Optional. Records of the task with `at` >= the result are not taken now (INT64_MAX: no limit). A replay, whose past is
     * over, does not ask. */
    int64_t (*limit)(void *ctx, int task, int64_t at_next);
    /* Optional. Since when `limit` has kept records from being taken, by the wall clock, and in a sentence for what; 0: it does not. */
    int64_t (*waits)(void *ctx, int64_t now_ms, char *ret_why, size_t cap);
    /* Optional. Rows that no record makes, because it is time for them. due: the first moment after `after_ms` at which there may be
     * some; INT64_MAX: never. A pure function: before a record whose `at` reaches that moment is taken, all rows of it are out; sooner,
     * where the inputs' marks say that no such record can come any more. */
    int64_t (*due)(void *ctx, int64_t after_ms);
    /* Those of that moment, of n keys at most, from the *from-th on (0 at first), which goes on. *ret_all: these were the last. `last` has
     * one row, the last record that was taken; nothing that a restore could not make again may be changed: the same call gives the same. */
    enum status (*make_due)(void *ctx, struct rows *last, int64_t due_ms, size_t n, size_t *from, struct out *outs, bool *ret_all,
                            struct error *err);
    /* Optional. The smallest `at` over all tasks that are not idle, when it rose. */
    void (*progress)(void *ctx, int64_t at_min);
    /* Optional. Files alone, once, when all inputs have ended: puts what still follows from them. */
    enum status (*finish)(void *ctx, struct stage *s, struct error *err);
    /* Optional. A key's state as the changelog gave it back, from outside: OK if `transform` may go on with it. */
    enum status (*check)(void *ctx, struct view value, struct error *err);
    void (*close)(void *ctx);
};

/* The program: `<worker> PIPELINE STAGE [options]`; returns the exit status. */
int stage_main(const struct worker *w, int argc, char **argv);

const struct pipeline *stage_pipeline(const struct stage *s);
const struct stage_def *stage_def(const struct stage *s);
struct registry *stage_registry(struct stage *s);
struct metrics *stage_metrics(struct stage *s); /* for what only the worker knows */
const char *stage_brokers(const struct stage *s); /* NULL with the file driver */
const char *stage_file(const struct stage *s, const char *topic); /* that a topic is read from; NULL: none */
const char *stage_model(const struct stage *s);   /* --model NAME/VERSION: this one alone, no routing, no waiting; or NULL */

int64_t stage_since(const struct stage *s); /* of train on files: it decides no boundary before this, */
int64_t stage_until(const struct stage *s); /* nor after this */

/* The least `at` in the stage's first input, a topic that a stage writes: where its data begins. INT64_MIN: not known yet, some task of
 * the writer may still bring a smaller one. Asks the broker: not for each record. */
enum status stage_begins_at(struct stage *s, int64_t *ret_at, struct error *err);

/* From open: this column of input i is needed. `name` is borrowed for the stage's life. */
void stage_want(struct stage *s, size_t input, const char *name, enum col_type type);

/* From turn: one record that is committed with the positions, whatever the guarantee: a model, a verdict and a routing are there
 * together or not at all, and who reads them knows no repeats. topic: broker name. */
enum status stage_put(struct stage *s, const char *topic, struct view key, const struct schema *schema,
                      struct view body, struct error *err);

#endif
