/* test/sim/sim.h */
/*
 * sim: the shipped loop and the shipped Kafka driver on a simulated librdkafka, one process, one thread, no clock but its own.
 *
 *   broker.c, group.c     the broker
 *   client*.c             librdkafka's functions, as far as common/kafka calls them
 *   sched.c               instances as coroutines, the clock, where faults strike
 *   schedule.c            a schedule: drawn from a seed, read from a text, made shorter
 *   records.c             what comes from outside: records in waves, decisions about models
 *   world.c               stages, slots; when all is quiet
 *   trainer.c             models, routings, verdicts; libxgboost's part
 *   check.c, oracle.c     what must hold
 *   main.c                many schedules, the table, regressions
 *
 * A schedule says which faults strike where; everything else follows from it, so that a run can be repeated and shortened.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <setjmp.h>
#include <ucontext.h>

#include "base/rand.h"
#include "stage/internal.h"
#include "test/sim/broker.h"

/* ---- schedule.c ---- */

/* Where an instance can be struck: a call of librdkafka, or a pause. */
enum step {
    STEP_ASK,       /* metadata, configurations, a partition's bounds */
    STEP_ENDS,      /* ListOffsets: up to where to restore */
    STEP_INIT,      /* init_transactions */
    STEP_COMMITTED, /* the group's offsets */
    STEP_ASSIGN,
    STEP_TAKE,      /* the loop takes records */
    STEP_READ,      /* a reader does: restore, schemas */
    STEP_FOLLOW,    /* a reader of the models topic does */
    STEP_SWAP,      /* a model is loaded, rows wait for it */
    STEP_PUT,       /* one record, into the client's queue */
    STEP_SEND,      /* the queue, to the broker */
    STEP_OFFSETS,   /* send_offsets_to_transaction */
    STEP_COMMIT,
    STEP_ABORT,
    STEP_NAP,
    STEP_CLOSE,
    N_STEPS
};

enum fault {
    FAULT_NONE,
    /* of the process */
    FAULT_KILL,       /* before the call takes effect; its slot starts again */
    FAULT_KILL_AFTER, /* after it took effect */
    FAULT_STOP,       /* for less than its session; how 3: for longer, and others take its tasks */
    FAULT_ZOMBIE,     /* stopped, its successor starts, then it goes on */
    FAULT_LEAVE,      /* asked to end (SIGTERM) */
    FAULT_JOIN,       /* another instance of the stage starts: a rebalance */
    FAULT_EPOCH,      /* all of the stage's end, and start by a pipeline file with one epoch more; of a stage without state, its writer's */
    /* at the broker */
    FAULT_KICK,        /* the group forgets the member */
    FAULT_FORGET,      /* the group is as new: without members, offsets and generation */
    FAULT_GHOST,       /* the group has the member's name for one that nobody stands for: a join whose answer was lost, or an older group */
    FAULT_UNDECIDED,   /* the group holds transactions over its offsets for open that have ended */
    FAULT_SESSION,     /* the member's session is over by its own clock alone; how 2, 3: it beats before the application has given back */
    FAULT_FENCE,       /* somebody else takes its transactional id */
    FAULT_TXN_TIMEOUT, /* transaction.timeout.ms passes */
    FAULT_COMPACT,
    FAULT_AWAY, /* nobody reaches it for some time; how 3: what is asked takes effect before */
    FAULT_DOWN, /* it stands still as long itself, and members' sessions begin anew when it is back */
    /* on the wire */
    FAULT_LOST_REQUEST,
    FAULT_LOST_ANSWER, /* it took effect */
    FAULT_LATE,        /* a second copy arrives later; the client sent again because its connection broke */
    FAULT_SLOW,        /* the answer takes 6 s */
    FAULT_TIMEOUT,     /* no answer within the call's time; it arrives not at all, at once, or later */
    FAULT_RETRIABLE,   /* an error after which the same is asked again */
    FAULT_ABORTABLE,   /* an error that ends the transaction */
    FAULT_MARKERS,     /* the markers of this EndTxn are written seconds apart */
    N_FAULTS
};

#define STAGES_MAX 4
#define SLOTS_MAX 3
#define ITEMS_MAX 6
#define INSTANCES_MAX 192 /* of a schedule: eight that give up each 10 s, through as many absences of the broker as it can have */
#define EPOCHS_MAX (ITEMS_MAX + 1)

/* At the nth such step of any instance of the stage. */
struct item {
    bool then; /* counted from where the item before it struck */
    enum fault fault;
    int stage;
    enum step step;
    int nth;
    int how; /* 0 to 3: how long, how late */
};

struct schedule {
    int world;            /* which records, in which waves */
    int slots[STAGES_MAX]; /* instances that run from the beginning */
    int changelog_bytes;
    uint64_t jitter; /* seed of latencies and fetch sizes; 0: none */
    bool at_least_once;   /* the stages' processing_guarantee */
    bool long_session;    /* members stay in their groups for longer than a producer asks for a commit's outcome */
    bool lazy_sweep; /* timed-out transactions are found only each 10 s */
    struct item items[ITEMS_MAX];
    size_t n_items;
};

extern const char *const step_names[N_STEPS];
extern const char *const fault_names[N_FAULTS];
/* NULL, or why this fault cannot strike there. */
const char *schedule_cannot(enum step step, enum fault fault);
/* counts: how often each step occurs in the quiet run. */
void schedule_draw(uint64_t seed, int counts[STAGES_MAX][N_STEPS], struct schedule *ret);
void schedule_print(const struct schedule *s, struct bytes *out);
bool schedule_parse(const char *line, struct schedule *ret);

/* ---- sched.c ---- */

struct rd_kafka_s;

enum life { LIFE_NONE, LIFE_RUNS, LIFE_STOPPED, LIFE_ENDED };

struct instance {
    enum life life;
    int stage, slot;
    char name[24];
    ucontext_t context; /* how it is entered first */
    bool entered;
    jmp_buf at; /* where it goes on */
    int64_t began_us, wake_us, resume_us, ended_us;
    bool started;     /* it is in its loop */
    bool stopping;    /* SIGTERM came */
    bool kill_after;
    int how_killed;
    int member_id;    /* what its group called it last; 0: it was in none yet */
    int64_t forgot_us, looked_us; /* when its client lost that; when it looked who is in the group */
    int n_empty_takes;
    struct stage *s;
    struct rd_kafka_s *clients;
    enum status status;
    struct error err;
};

/* What is on its way to the broker. */
struct request {
    rd_kafka_resp_err_t (*handle)(struct broker *b, struct request *r);
    int pid, epoch, topic, partition, group, member_id, generation;
    bool commit, question; /* a question changes nothing: none is on its way for long */
    bool stable; /* of offsets: none that a transaction is about to move */
    bool of_leader;        /* of a partition; `retriable` then: who is asked leads it no more */
    int64_t spread_us, timeout_us;
    int32_t seq;
    const char *id; /* transactional id, or the member's instance */
    const struct produced *records;
    size_t n_records;
    const struct offsets *offsets;
    void *list;
    int ret_pid, ret_epoch;
};

struct sim {
    struct schedule schedule;
    struct broker *broker;
    int64_t now_us, away_until_us;
    bool down; /* away because it stands still */
    struct instance *me; /* NULL: the world */
    int counts[STAGES_MAX][N_STEPS];
    int struck[N_STEPS][N_FAULTS];
    bool item_done[ITEMS_MAX];
    int item_from[ITEMS_MAX]; /* counts from here */
    struct rand jitter;
    int64_t n_steps;
    uint64_t trace; /* hash of all that happened: the same schedule gives the same */
    bool story;     /* print it */
    char failure[400]; /* what does not hold; empty: nothing */
};

extern struct sim sim;

void sched_begin(const struct schedule *s);
struct instance *sched_start(struct stage *s, int stage, int slot);
void sched_kill(struct instance *i);
/* Runs instances and timers until the world is done or failed. */
void sched_run(void);
void sched_post(const struct request *r, int64_t delay_us);
bool sched_in_flight(void);
struct instance *sched_instances(size_t *ret_n);

/* An instance reaches a step; returns a fault of the wire, or FAULT_NONE. *ret_how: its item's. May not return. */
enum fault step_begin(enum step step, int64_t cost_us, int *ret_how);
/* The step took effect, its answer is on the way. */
void step_end(int64_t cost_us);
void step_wait(int64_t us);
uint64_t jitter_below(uint64_t n); /* 0 without jitter */

void story(const char *fmt, ...) PRINTF(1, 2);
void fail(const char *fmt, ...) PRINTF(1, 2);

/* client.c: what librdkafka does on its own threads; returns when next. */
int64_t client_tick(struct rd_kafka_s *rk);
void client_lost(struct rd_kafka_s *rk); /* its connections broke */
void client_beat(struct rd_kafka_s *rk); /* its next heartbeat is due */
void client_forget(struct rd_kafka_s *rk); /* its session is over by its own clock */
const char *client_group_instance(const struct rd_kafka_s *rk); /* NULL: in no group */
const char *client_txn_id(const struct rd_kafka_s *rk);         /* NULL: none */
int client_group(const struct rd_kafka_s *rk);

/* ---- records.c ---- */
#define PARTITIONS 3
#define WORLDS 6
#define WAVES_MAX 40
#define DECISIONS_MAX 32
#define RECORDS_MAX 128
#define BASE_MS INT64_C(1700000000000)

/* The broker's first topics, and the pipeline's, in their order. */
enum { TRANSACTIONS, LABELS, ENRICHED, FEATURES, SCORES, WINDOWS };

/* How a boundary of the training schedule ends. */
struct decision {
    int64_t boundary_ms, from_ms;
    int32_t version; /* 0: nothing to train */
    bool garbled;    /* its bytes are no model */
    size_t wave;     /* the wave that brings it about */
    int64_t delay_us;
};

struct wave {
    size_t begin, end; /* of the world's records */
    bool last;         /* it comes after the restart */
};

struct records {
    struct produced records[RECORDS_MAX];
    int64_t ts[RECORDS_MAX];
    struct decision decisions[DECISIONS_MAX];
    size_t n_decisions;
    size_t n;
    struct wave waves[WAVES_MAX];
    size_t n_waves;
};

void records_open(void);
const struct records *records_now(void); /* of the schedule's world */
/* What was decided by event time: version, seq (the same); 0: no model. */
int32_t records_version_at(int64_t event_ms);
/* `at` of the first record behind the re-keys; what the trainer decides first follows from it. */
bool records_begin_at(int64_t first_at);

/* ---- world.c ---- */
enum status world_open(const char *pipeline, struct error *err);
enum { CUSTOMER, TERMINAL, SCORE, HOURLY };

int world_stages(void);
const char *world_stage_name(int stage);
const struct pipeline *world_pipeline(void);
void world_begin(void);
int64_t world_tick(void); /* returns when next */
bool world_done(void);
const char *world_why(void); /* it is not */
void world_struck(struct instance *i, enum fault fault, int how); /* faults of the process */
void world_ended(struct instance *i);
/* FAULT_EPOCH at one of its steps; true: it is killed as well. */
bool world_new_epoch(struct instance *by, int how);
/* Of the stage's state, in what was written then. */
int world_epoch_at(int stage, int64_t arrival_ms);

/* ---- trainer.c ---- */
#define TRAINER_MODEL "m"
#define TRAINER_FEATURES 6

enum status trainer_open(const char *feature_set, struct error *err);
void trainer_publish(const struct decision *d);
double trainer_predict(int32_t version, const double row[TRAINER_FEATURES]);

/* ---- check.c ---- */
void check_begin(bool learning); /* learning: this is the quiet run, it makes what others are compared with */
void check_visible(int topic, int partition, int64_t offset, const struct record *r);
void check_end(void);
size_t check_count(const char *topic); /* data records that the quiet run put there */
/* Of the quiet run's record of an event; NaN: null. */
bool check_value(const char *topic, int64_t tx_id, const char *name, double *ret);
/* Of the quiet run's i-th record of a task in the partition of its number; false: there is none. */
bool check_line(const char *topic, int task, size_t i, const char *name, double *ret, struct view *ret_key);

/* ---- oracle.c: the quiet run that has just ended, against what follows from the records alone ---- */
void oracle_check(void);

#endif
