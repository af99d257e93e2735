/* test/sim/broker.h */
/*
 * broker: one Kafka broker as its clients can tell it: partitions with markers, the transaction coordinator (first protocol
 * version), the group coordinator (classic, eager, `range`, static members). What arrives here has arrived: loss, delay and
 * repetition are the wire's (client.h).
 *
 * Shape    all values are in one struct broker; the time is told by the caller (now_us).
 * Markers  take offsets. An EndTxn is answered when the outcome is decided; the markers are written afterwards, for each
 *          partition at its own time (broker_end's spread).
 * Owner    what records hold lives as long as the process: a schedule's memory goes with it.
 * Source   Kafka's TransactionCoordinator, GroupCoordinator and UnifiedLog, as far as docs/testing.md names them.
 */
#ifndef SIM_BROKER_H
#define SIM_BROKER_H

#include <librdkafka/rdkafka.h>

#include "base/bytes.h"

#define TOPICS_MAX 16
#define PARTITIONS_MAX 4
#define MEMBERS_MAX 4
#define GROUPS_MAX 4
#define TXNS_MAX 16
#define HEADERS_MAX 3

enum fate { FATE_OPEN, FATE_COMMITTED, FATE_ABORTED };
enum kind { KIND_DATA, KIND_COMMIT, KIND_ABORT };

struct header {
    const char *name;
    struct view value;
};

struct record {
    enum kind kind;
    enum fate fate;
    int pid, epoch; /* pid -1: written without a transaction */
    struct view key, value; /* data == NULL: null */
    struct header headers[HEADERS_MAX];
    size_t n_headers;
    int64_t arrival_ms;
    bool gone; /* compacted away */
};

struct partition {
    struct record *records; /* index = offset */
    int64_t n, cap;         /* n: the high watermark */
    int64_t lso;            /* the first open record, or n */
    int64_t seen;           /* told to broker->visible up to here */
};

struct topic_log {
    const char *name;
    bool compact;
    int n_partitions;
    struct partition partitions[PARTITIONS_MAX];
};

enum txn_state { TXN_EMPTY, TXN_ONGOING, TXN_PREPARED, TXN_COMPLETE };

struct offset {
    int64_t offset; /* -1: none */
    char metadata[64];
};

/* One value for each partition of each topic. */
struct offsets {
    struct offset at[TOPICS_MAX][PARTITIONS_MAX];
};

struct txn_log {
    char id[64];
    int pid, epoch;
    enum txn_state state;
    bool commit; /* PREPARED, COMPLETE: the outcome */
    bool in[TOPICS_MAX][PARTITIONS_MAX];
    bool in_group[GROUPS_MAX];
    int64_t began_us, timeout_us;
    int n_markers; /* not yet written */
    int32_t next_seq[TOPICS_MAX][PARTITIONS_MAX];
};

struct member {
    char instance[64];
    int id; /* member id; a rejoin of a static member gets a new one */
    bool joined;
    int64_t since_us, heard_us, session_us; /* since_us: when it got its id */
    bool topics[TOPICS_MAX];
    bool assigned[TOPICS_MAX][PARTITIONS_MAX];
};

enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_STABLE };

struct group {
    char name[64];
    enum group_state state;
    int generation;
    struct member members[MEMBERS_MAX];
    size_t n_members;
    int next_id;
    struct offsets committed;
    struct offsets pending[TXNS_MAX]; /* by transactional id */
    bool has_pending[TXNS_MAX];
    bool undecided[TOPICS_MAX][PARTITIONS_MAX]; /* held for pending until the next marker that moves it */
};

struct marker {
    int64_t at_us;
    int txn, topic, partition; /* topic -1: the group `partition` */
    int epoch;
    bool commit;
};

struct broker {
    struct topic_log topics[TOPICS_MAX];
    size_t n_topics;
    struct txn_log txns[TXNS_MAX];
    size_t n_txns;
    int32_t (*plain_seq)[TOPICS_MAX][PARTITIONS_MAX]; /* of producers without a transactional id */
    int n_plain;
    struct group groups[GROUPS_MAX];
    size_t n_groups;
    struct marker markers[256];
    size_t n_markers;
    int64_t now_us;
    int64_t wall_ms; /* at now_us 0 */
    int64_t swept_us, sweep_us; /* timed-out transactions are looked for each sweep_us */
    void (*visible)(int topic, int partition, int64_t offset, const struct record *r); /* in order, once each */
};

struct produced {
    int topic, partition;
    struct view key, value;
    struct header headers[HEADERS_MAX];
    size_t n_headers;
};

struct broker *broker_new(void); /* the one there is, empty */
int broker_topic(struct broker *b, const char *name); /* -1: there is none */
int broker_make_topic(struct broker *b, const char *name, int n_partitions, bool compact);
void broker_append(struct broker *b, const struct produced *p); /* from outside, without a transaction */
/* Timers and markers that are due; *ret_next_us: when the next is. */
void broker_tick(struct broker *b, int64_t now_us, int64_t *ret_next_us);
void broker_compact(struct broker *b);
bool broker_has_open(const struct broker *b); /* a transaction, a marker or pending offsets */

/* ---- an idempotent producer without transactions ---- */
int broker_init_plain(struct broker *b);
rd_kafka_resp_err_t broker_produce_plain(struct broker *b, int pid, int32_t seq, const struct produced *p, size_t n);

/* ---- the transaction coordinator; codes are the broker's ---- */
rd_kafka_resp_err_t broker_init(struct broker *b, const char *id, int64_t timeout_us, int *ret_pid, int *ret_epoch);
rd_kafka_resp_err_t broker_add_partition(struct broker *b, int pid, int epoch, int topic, int partition);
rd_kafka_resp_err_t broker_add_offsets(struct broker *b, int pid, int epoch, int group);
rd_kafka_resp_err_t broker_produce(struct broker *b, int pid, int epoch, int32_t seq, const struct produced *p, size_t n);
/* Markers are written spread_us apart. */
rd_kafka_resp_err_t broker_end(struct broker *b, int pid, int epoch, bool commit, int64_t spread_us);
void broker_time_out(struct broker *b, int txn); /* as if its transaction.timeout.ms had passed */
int broker_txn(const struct broker *b, const char *id); /* -1: there is none */

/* ---- the group coordinator ---- */
int group_of(struct broker *b, const char *name); /* made when new */
rd_kafka_resp_err_t group_join(struct broker *b, int group, const char *instance, const bool *topics, int64_t session_us,
                               int *member_id);
/* NO_ERROR: *ret_generation and assignment are given. REBALANCE_IN_PROGRESS: not yet. */
rd_kafka_resp_err_t group_sync(struct broker *b, int group, const char *instance, int member_id, int *ret_generation,
                               bool ret_assigned[TOPICS_MAX][PARTITIONS_MAX]);
rd_kafka_resp_err_t group_heartbeat(struct broker *b, int group, const char *instance, int member_id, int generation);
void group_expire(struct broker *b); /* members not heard of for their session */
void group_hear_all(struct broker *b); /* a coordinator that has just started gives each member its whole session */
const struct member *group_member(struct broker *b, int group, const char *instance); /* NULL: there is none */
void group_kick(struct broker *b, int group, const char *instance);
void group_ghost(struct broker *b, int group, const char *instance);
void group_forget(struct broker *b, int group); /* as if it had never been */
void group_hold(struct broker *b, int group);   /* its offsets for undecided */
rd_kafka_resp_err_t group_txn_commit(struct broker *b, int group, int pid, int epoch, const char *instance, int member_id,
                                     int generation, const struct offsets *offsets);
void group_marker(struct broker *b, int group, int txn, bool commit);
/* stable: UNSTABLE_OFFSET_COMMIT while a transaction's offset of that partition is undecided, or held for that. */
rd_kafka_resp_err_t group_fetch(const struct broker *b, int group, int topic, int partition, bool stable, struct offset *ret);

#endif
