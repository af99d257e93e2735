/* common/kafka/log.h */
/*
 * log: the seam between the loop and where records come from and go to.
 *
 * Drivers  kafka (librdkafka, transactions), file (Avro container files), sim (tests).
 * Shape    inputs are the stage's `from` topics by index, partitions by number; task p owns partition p of every input.
 * Owner    a taken record's views live until log->ops->release.
 * Errors   ERR_RETRY: the world is bad for now (abort, back off, again); ERR_FATAL: exit, be restarted.
 * Threads  one.
 */
#ifndef KAFKA_LOG_H
#define KAFKA_LOG_H

#include "base/bytes.h"
#include "base/err.h"

struct log_record {
    int input;
    int partition;
    int64_t offset;
    int64_t arrival_ms;      /* when the broker took it; -1: not known (files) */
    struct view key, value;  /* data == NULL: null */
    struct view traceparent; /* header, or data == NULL */
    struct view mark;        /* header millrace.mark, or data == NULL */
    bool bare;               /* value is a body without a frame, written by the registry's schema `schema_id` (files) */
    uint32_t schema_id;
    bool at_end;             /* no record: the partition's end was reached; offset is that end */
    void *handle;            /* the driver's */
};

struct log_put {
    const char *topic; /* broker name */
    int partition;
    struct view key, value;  /* data == NULL: null; value is framed */
    struct view traceparent; /* or data == NULL */
    struct view mark;        /* or data == NULL */
    bool atomic; /* with the positions or not at all, whatever the stage's guarantee: state, models */
    const struct log_record *from; /* the taken record that it stems from, or NULL */
};

#define LOG_HEADERS_MAX 32
#define LOG_RECORD_BYTES 400 /* of a taken record, about, that a driver has besides its key and value */

struct log_header {
    const char *name;
    struct view value; /* a null one is empty */
};

struct log_position {
    int input;
    int partition;
    int64_t offset;    /* lowest not taken; -1: none committed */
    char metadata[64]; /* {"taken":N,"at":M} */
};

/* What became of the assignment; tasks are partition numbers. */
struct log_assignment {
    bool changed;
    const int *tasks; /* the whole present assignment, owned by the log until the next take */
    size_t n_tasks;
};

struct log;
struct log_kept {
    int partition;
    struct view key, value;
};

typedef enum status log_restore_fn(void *ctx, const struct log_kept *kept, size_t n, struct error *err);

struct log_ops {
    /* Up to cap records and end marks, waiting at most timeout_ms for the first; and assignment changes. */
    enum status (*take)(struct log *l, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n,
                        struct log_assignment *ret_assignment, struct error *err);
    void (*release)(struct log *l, struct log_record *r);
    /* A taken record's headers, the first 32 and at most 8 KiB of them; until its release. NULL: it has none. */
    size_t (*headers)(struct log *l, const struct log_record *r, struct log_header *ret, size_t cap);
    /* Where task stands on each input (ret: one per input). */
    enum status (*committed)(struct log *l, int task, struct log_position *ret, struct error *err);
    /* Where the partition goes on; a pause ends there. */
    enum status (*seek)(struct log *l, int input, int partition, int64_t offset, struct error *err);
    enum status (*pause)(struct log *l, int input, int partition, bool paused, struct error *err);
    /* ERR_RECORD: this one is larger than the log takes and was not put; the rest goes on. At least once, what is not atomic
     * leaves at once, in the order in which it is put: after one that fails nothing more goes out until the next abort. */
    enum status (*put)(struct log *l, const struct log_put *put, struct error *err);
    /* Optional. The same for several, in their order; *ret_n of them were put, and the one behind these failed. */
    enum status (*put_all)(struct log *l, const struct log_put *puts, size_t n, size_t *ret_n, struct error *err);
    /* Outputs and positions together; at least once, positions and what is atomic, when all outputs are safe. *ret_unmoved with ERR_RETRY: nothing was committed, the assignment is as
     * before: put the same again. */
    enum status (*commit)(struct log *l, const struct log_position *at, size_t n, bool *ret_unmoved, struct error *err);
    /* After a commit that was *ret_unmoved: which of its puts, counted from 0, the log will never take (until the next
     * put). None may be said although one is refused: it is found when all is put again. NULL: it takes all. */
    size_t (*refused)(struct log *l, const size_t **ret_puts);
    /* Drops what was put since the last commit. */
    enum status (*abort)(struct log *l, struct error *err);
    /* Every committed record of a compacted topic's partitions, up to their high watermarks now, some at a time; each partition's in order. */
    enum status (*restore)(struct log *l, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                           struct error *err);
    /* Partitions of a topic that the stage writes. */
    enum status (*partitions)(struct log *l, const char *topic, int *ret_n, struct error *err);
    /* Optional. One after the partition's last record, as last heard of; -1: not yet. Asks nobody. */
    int64_t (*end)(struct log *l, int input, int partition);
    /* Optional. The least `at` among the stage's tasks that other processes hold and that have records left;
     * INT64_MAX: there is none. Asks the broker. */
    enum status (*others)(struct log *l, int64_t *ret_at, struct error *err);
    /* Everything that was put is safe (files: flushed and closed; a full disk is named). Before close, once. */
    enum status (*finish)(struct log *l, struct error *err);
    void (*close)(struct log *l);
};

struct log {
    const struct log_ops *ops;
};

#endif
