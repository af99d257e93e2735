/* common/kafka/lanes.h */
/*
 * lanes: what the Kafka driver's files share: log_kafka.c (clients, putting), log_kafka_assign.c (lanes), log_kafka_take.c (records),
 * log_kafka_commit.c (outcomes), log_kafka_restore.c, slot.c (whose this instance's name is).
 */
#ifndef KAFKA_LANES_H
#define KAFKA_LANES_H

#include "kafka/conf.h"
#include "kafka/log_kafka.h"
#include "kafka/outbox.h"
#include "kafka/txn.h"

#define LANES_BATCH 4096
#define LANES_CALL_MS 10000

/* One partition of one input. */
struct lane {
    bool assigned; /* the group gave it to us */
    bool flowing;  /* the loop has said where it goes on */
    bool paused;
    int64_t next;      /* expected next; -1: its beginning */
    int64_t committed; /* as we know it, with its metadata; -1: none */
    char metadata[64];
};

struct input {
    const struct topic *topic;
    int n_lanes;
    struct lane *lanes;
};

struct log_kafka {
    struct log log;
    const struct pipeline *pipeline;
    const struct stage_def *def;
    char *brokers, *group, *id;
    rd_kafka_t *consumer;
    rd_kafka_t *asker; /* questions that the consumer cannot answer while it waits for its group, or for a transaction's end */
    rd_kafka_queue_t *queue;
    struct reader *restorer; /* NULL: made when one is asked for */
    char **members; /* what the group has called us; librdkafka forgets it before it joins again */
    size_t n_members;
    int session_ms; /* for so long the group keeps a member that it does not hear of */
    struct txn *txn;
    struct outbox *outbox; /* at least once: where outputs go; NULL: into the transaction */
    rd_kafka_consumer_group_metadata_t *first_group; /* for the mutant without M_GENERATION_NOW alone */
    size_t n_put; /* since the last commit or abort */
    struct input *inputs;
    size_t n_inputs;
    int *tasks;
    size_t n_tasks;
    bool changed;   /* to be reported */
    bool revoking;  /* revoked, but not yet given back: can still be committed */
    bool stale;     /* given back with a transaction open: that can only be aborted */
    bool repointed; /* lanes were sought: assign anew */
    bool lost;      /* the group may have given it to another; not yet given back: librdkafka does not join again before */
    bool down;
    bool fenced; /* librdkafka has given the consumer up, though the slot is ours: the next take makes another */
    int64_t undecided_ms; /* since when, and the last take, its group's offsets are undecided; 0: are not */
    int64_t probed_ms, said_ms;
    struct error fault; /* of a callback; status OK: none */
    rd_kafka_message_t *batch[LANES_BATCH];
};

static inline struct log_kafka *log_kafka_of(struct log *l)
{
    return (struct log_kafka *)l;
}

/* log_kafka_assign.c */

/* NULL: there is none. */
struct lane *lanes_at(struct log_kafka *k, int input, int partition);
/* -1: not an input of this stage. */
int lanes_input(const struct log_kafka *k, const char *topic);
/* Partitions of the input that has most. */
int lanes_max(const struct log_kafka *k);
/* The consumer's callback: takes an assignment over, without letting anything flow; or notes that one is going, or has gone. */
void lanes_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *log_kafka);
/* No lane is ours. A transaction that is open then can only be aborted. */
void lanes_forget(struct log_kafka *k);
void lanes_give_back(struct log_kafka *k);
/* Once it is given back, librdkafka joins again; after a session that was over it does so as nobody it knows, and would put out
 * who has our name meanwhile: this process was stopped, and another took its place. */
enum status lanes_give_back_lost(struct log_kafka *k, struct error *err);
/* Lets all lanes flow from where they were sought to. */
enum status lanes_repoint(struct log_kafka *k, struct error *err);
enum status log_kafka_seek(struct log *l, int input, int partition, int64_t offset, struct error *err);
enum status log_kafka_pause(struct log *l, int input, int partition, bool paused, struct error *err);

/* log_kafka_take.c */

/* The consumer's callback: what ends it is a fault, which the next take says. */
void take_error(rd_kafka_t *client, int code, const char *reason, void *log_kafka);
enum status log_kafka_take(struct log *l, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n,
                           struct log_assignment *ret_assignment, struct error *err);
void log_kafka_release(struct log *l, struct log_record *r);
size_t log_kafka_headers(struct log *l, const struct log_record *r, struct log_header *ret, size_t cap);

/* log_kafka.c: in the place of a consumer that was given up, once the loop was told that it has no task: no record of it is out. */
enum status log_kafka_renew(struct log_kafka *k, struct error *err);

/* log_kafka_commit.c */
enum status log_kafka_committed(struct log *l, int task, struct log_position *ret, struct error *err);
enum status log_kafka_commit(struct log *l, const struct log_position *at, size_t n, bool *ret_unmoved,
                             struct error *err);
enum status log_kafka_others(struct log *l, int64_t *ret_at, struct error *err);
enum status log_kafka_abort(struct log *l, struct error *err);

/* log_kafka_restore.c */
enum status log_kafka_restore(struct log *l, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                              struct error *err);

/* slot.c: whether the name of this instance is still ours in the group (txn_claim_fn); a consumer that was given up knows no better. */
enum status slot_is_ours(void *log_kafka, struct error *err);
void slot_joined(struct log_kafka *k);
void slot_forget(struct log_kafka *k); /* as the log closes */

#endif
