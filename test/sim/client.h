/* test/sim/client.h: what the files of the simulated librdkafka share. */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "test/sim/sim.h"

#define OPS_MAX 64

struct rd_kafka_conf_s {
    char group[64], instance[96], txn_id[96];
    int session_ms, heartbeat_ms, txn_timeout_ms;
    bool eof, committed_only;
    void (*delivery)(rd_kafka_t *, const rd_kafka_message_t *, void *);
    void (*error)(rd_kafka_t *, int, const char *, void *);
    void (*rebalance)(rd_kafka_t *, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t *, void *);
    void *opaque;
};

struct rd_kafka_error_s {
    rd_kafka_resp_err_t code;
    bool fatal, retriable, abortable;
    char text[200];
};

struct rd_kafka_topic_s {
    rd_kafka_t *rk; /* of a producer's handle */
    int topic;
    char name[96];
};

struct rd_kafka_queue_s {
    rd_kafka_t *rk;
    struct rd_kafka_op_s *event;
};

/* What waits for the application to poll. */
struct op {
    enum { OP_ERROR, OP_ASSIGN, OP_REVOKE, OP_MESSAGE_ERROR } kind;
    rd_kafka_resp_err_t code;
};

struct fetched {
    int topic, partition;
    int64_t pos, eof_at;
    bool paused, failed;
};

struct sent {
    struct produced record;
    void *opaque;
    bool is_sent;
    rd_kafka_resp_err_t code;
};

enum txn_phase { PHASE_NEW, PHASE_READY, PHASE_IN, PHASE_ABORTABLE, PHASE_FATAL };
enum membership { OUTSIDE, WAITING, STEADY, REVOKING, GIVEN_UP };

struct rd_kafka_s {
    struct rd_kafka_s *next; /* first: sched.c walks the list by it */
    struct instance *owner;
    struct rd_kafka_conf_s conf;
    bool is_producer, is_plain; /* plain: without transactions */
    struct op ops[OPS_MAX];
    size_t n_ops;
    rd_kafka_resp_err_t fatal; /* NO_ERROR: not */
    int64_t tick_us;
    bool is_behind;    /* it asks one that leads no more, until it hears metadata */
    int n_asked_behind;
    /* producer */
    enum txn_phase phase;
    int pid, epoch;
    bool asked; /* something of this transaction may have reached the broker */
    bool bump;  /* what was sent may still arrive: abort takes a new epoch */
    rd_kafka_resp_err_t abortable;
    struct sent *queue;
    size_t n_queue, cap_queue;
    int32_t seq[TOPICS_MAX][PARTITIONS_MAX];
    /* consumer */
    int group, member_id, generation;
    bool subscribed[TOPICS_MAX];
    enum membership membership;
    int64_t heard_us; /* its group's last answer */
    bool lost;
    bool assigned[TOPICS_MAX][PARTITIONS_MAX]; /* by the group */
    bool has_assignment;
    struct fetched *fetched;
    size_t n_fetched, turn;
};

/*
 * Sends r and waits for the answer, as the schedule's fault for this step has it; asks again where librdkafka does.
 * Returns the broker's code, or __TIMED_OUT.
 */
rd_kafka_resp_err_t client_rpc(rd_kafka_t *rk, enum step step, struct request *r, int timeout_ms);
void client_op(rd_kafka_t *rk, int kind, rd_kafka_resp_err_t code);
/* Calls the application's callbacks; error messages of the consumer are appended to ret. */
void client_serve(rd_kafka_t *rk);
rd_kafka_error_t *client_error(rd_kafka_resp_err_t code, bool fatal, bool retriable, bool abortable, const char *text);
rd_kafka_message_t *client_message(int topic, int partition, int64_t offset, rd_kafka_resp_err_t code, const struct record *r);
int64_t consumer_tick(rd_kafka_t *rk);
bool client_down(void);
void client_member(const rd_kafka_consumer_group_metadata_t *m, struct request *r);

#endif
