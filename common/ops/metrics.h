/* common/ops/metrics.h */
/*
 * metrics: what a worker counts, in one table; the loop writes, the HTTP thread prints.
 *
 * Shape    one row per metric in metrics.c: name, help, kind, label. A label has a fixed list of values (an
 *          enum here), so a cell is an index and nothing is looked up or allocated while counting.
 *          Every millrace_* line also carries {pipeline, stage}.
 * Units    integers in the row's own unit (`metrics_row(m)->unit`); printed in base units (seconds, bytes).
 * Absent   a counter and a histogram print from 0; a gauge prints once it was set.
 * Owner    a plain value; names are copied.
 * Errors   none; an index beyond its table is a caller's bug and asserts.
 * Threads  safe: any thread writes, any thread prints, without locks (relaxed atomics). A print is not one
 *          instant: lines of one page may be a few records apart; a histogram's _count equals its +Inf.
 * Source   Prometheus text exposition format 0.0.4.
 */
#ifndef OPS_METRICS_H
#define OPS_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/bytes.h"

#ifndef MILLRACE_VERSION
#define MILLRACE_VERSION "0.1.0"
#endif

enum metric {
    METRIC_RECORDS,         /* counter, by enum outcome                            */
    METRIC_DEAD_LETTERS,    /* counter, by enum reason                             */
    METRIC_LAG,             /* gauge, records                                      */
    METRIC_EVENT_TIME,      /* gauge, milliseconds: the smallest `at` of the tasks */
    METRIC_TASKS,           /* gauge                                               */
    METRIC_REBALANCES,      /* counter                                             */
    METRIC_COMMITS,         /* counter, by enum commit_outcome                     */
    METRIC_COMMIT_DURATION, /* histogram, microseconds                             */
    METRIC_BATCH_RECORDS,   /* histogram, records                                  */
    METRIC_RESTORES,        /* counter                                             */
    METRIC_STATE_BYTES,     /* gauge, bytes                                        */
    METRIC_STATE_KEYS,      /* gauge                                               */
    METRIC_MODEL_VERSION,   /* gauge                                               */
    METRIC_VERDICTS_MISSED, /* counter                                             */
    METRIC_WAITING,         /* gauge, milliseconds                                 */
    METRIC_READY,           /* gauge, 0 or 1; ops_ready() sets it                  */
    METRICS_N,
};

/* What became of a record. `taken` counts every input record, the others say how it ended. */
enum outcome {
    OUTCOME_TAKEN,
    OUTCOME_PUT,         /* an output record */
    OUTCOME_DEAD_LETTER, /* also counted by reason */
    OUTCOME_REPEAT,      /* already reflected: skipped */
    OUTCOME_MARK,        /* how far an upstream task is: no data */
    OUTCOME_BAD_MARK,    /* a mark that cannot be believed: passed over */
    OUTCOMES_N,
};

/* Why a record was dead-lettered: a class; the sentence is in the dead letter. */
enum reason {
    REASON_FRAMING,   /* neither framing */
    REASON_SCHEMA,    /* the writer's schema is unknown or does not fit the reader's */
    REASON_DECODE,    /* the bytes are not what the schema says */
    REASON_RANGE,     /* NaN, a number out of range */
    REASON_TIME,      /* before time.min or beyond time.ahead */
    REASON_LATE,      /* older than the allowed lateness */
    REASON_PARTITION, /* the key belongs to another partition */
    REASON_REFUSED,   /* the broker or the codec refused the output */
    REASON_OTHER,
    REASONS_N,
};

enum commit_outcome {
    COMMIT_COMMITTED,
    COMMIT_ABORTED,
    COMMIT_UNKNOWN, /* timed out or lost: learned from the committed offsets */
    COMMIT_OUTCOMES_N,
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_row {
    const char *name, *help;
    enum metric_kind kind;
    const char *unit;               /* of the integers that metrics_add, _set and _observe take */
    int64_t per;                    /* that many of them are one printed unit */
    const char *label;              /* or NULL */
    const char *const *label_values;
    size_t n_label_values;
    const int64_t *bounds; /* histogram: upper bounds, in `unit` */
    size_t n_bounds;
};

#define METRIC_CELLS_MAX 24

struct metrics {
    char pipeline[64], stage[64];
    _Atomic int64_t cell[METRICS_N][METRIC_CELLS_MAX];
};

/* Before any other thread sees it. NULL pipeline or stage: "". */
void metrics_init(struct metrics *m, const char *pipeline, const char *stage);

/* `label` is a value of the row's enum; 0 for a metric without a label. */
void metrics_add(struct metrics *m, enum metric metric, int label, int64_t n); /* counters; n >= 0 */
void metrics_set(struct metrics *m, enum metric metric, int64_t value);        /* gauges */
void metrics_unset(struct metrics *m, enum metric metric);                     /* a gauge that says nothing now */
void metrics_observe(struct metrics *m, enum metric metric, int64_t value);    /* histograms */

/* The cell as written; a gauge that is not set gives 0; a histogram its number of observations. */
int64_t metrics_get(const struct metrics *m, enum metric metric, int label);

const struct metric_row *metrics_row(enum metric metric);

/* Appends the page that Prometheus reads: this process's metrics, its memory, CPU time and build. */
void metrics_print(const struct metrics *m, struct bytes *out);

/* Appends the table of docs/operations.md. */
void metrics_doc(struct bytes *out);

#endif
