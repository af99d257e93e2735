/* common/stage/internal.h */
/*
 * internal: what the loop's parts share; nobody outside common/stage includes it.
 *
 *   intake.c     records taken from the log -> pending records of a task (probe: event time, channel, verdict)
 *   pages.c      rows of columns, from when a record is taken until it has run
 *   task.c       pending records -> the next run of rows, without repeats; progress, positions
 *   waits.c      who keeps a task waiting
 *   due.c        rows that no record makes, because it is time for them
 *   output.c     a transform's rows and marks -> encoded records, kept until the commit's outcome is known
 *   dead.c       records that could not be processed -> DeadLetter records
 *   changelog.c  a task's state and cursors -> State records; restore.c: and back (checkpoint.c: a checkpoint's record)
 *   file.c       the log as files (file_topic.c: one read, file_order.c: outputs in order); range.c: as a replay of past
 *                records into another topic; finite.c: what the two share
 *   run.c        a task's next records, through the worker, to what is put
 *   commit.c     outputs, state and positions together
 *   hold.c       records that are held back
 *   loop.c       the loop: turn after turn
 *   stage.c      the program: start, what a worker may ask, end
 */
#ifndef STAGE_INTERNAL_H
#define STAGE_INTERNAL_H

#include "kafka/kafka.h"
#include "kafka/log.h"
#include "ops/http.h"
#include "stage/merge.h"
#include "stage/pages.h"
#include "stage/stage.h"

#define INPUTS_MAX 8
#define FILES_MAX (INPUTS_MAX + 2) /* of a stage on one side: its topics, labels and models; or its topics and dead letters */
#define IDLE_AFTER_MS 250
#define TAKE_MAX 2000
#define CHECK_MAX (2 * INPUTS_MAX + 2)
#define CHANGELOG_BYTES ((size_t)128 * 1024)          /* of a task */
#define CHANGELOG_BYTES_MAX ((size_t)4 * 1024 * 1024) /* of all tasks of a process: they go with one commit */
#define CHANGELOG_COMMITS 32 /* in which what is dirty is to be written */
#define STATE_LAYOUT 2 /* of the bytes of a key's state: one more whenever a worker lays them out otherwise */

/* Cursor of one channel of one input: everything below `offset` is taken (or reflected). */
struct cursor {
    int input;
    int task;
    int64_t offset;
    int64_t at, record_at;
    bool idle;
};

struct positions {
    struct cursor *cursors;
    size_t n;
};

/* Where inputs stood when commit period `commit` began: how far back a key dirty since then needs its inputs. */
struct moment {
    int64_t commit;
    int64_t low[INPUTS_MAX];
    int64_t at;                    /* of the task */
    int epoch[INPUTS_MAX];         /* of the input's writer there */
    struct said *said[INPUTS_MAX]; /* by the channels in order, below `low`; one allocation, the first's */
};

struct task_input {
    struct merge merge;
    int64_t next_offset; /* one after the last fetched, or the partition's end */
    int64_t end_since_ms; /* wall clock since when the partition's end is reached; 0: it is not */
    int64_t replay_to;   /* restored: offsets below this may be replays */
    int64_t n_taken;
    int64_t committed;   /* as last committed; -1: none */
    int64_t committed_at; /* the `at` beside it */
    struct origins origins;   /* of what was taken */
    struct dropped dropped;   /* repeats at or above what a restore would read from */
    struct page *page;        /* that is filled now */
    bool paused;
};

/* For whom a task waits, and since when (wall clock; 0: it does not). */
struct wait {
    int input, task; /* task -1: for the input itself */
    int64_t at;      /* of the first record that waits */
    int64_t since_ms, taken;
};

#define SOURCE_CHARS 256

/* What is due by time alone: how far it is out, and the record behind which it comes, as one more output of it. */
struct due {
    int64_t at;         /* all up to there is out */
    size_t from;        /* of the moment after that, what is out */
    struct origin last; /* the last good record; index: how many outputs it has had */
    char topic[SOURCE_CHARS]; /* that record's source */
    int partition;
    int64_t offset;
    int64_t replay_at;  /* the task's `at` as of the record that is replayed */
};

struct task {
    int id;
    int64_t at;
    int64_t emit_at; /* of the emitting input alone, since the start */
    bool anew;       /* the state is built anew: nothing is put out or committed before it reflects what was taken */
    bool idle;
    int64_t next_at; /* task_progress as of the last commit */
    int64_t marked_at; /* as the last marks said */
    bool marked_idle;
    struct state *state;
    struct task_input inputs[INPUTS_MAX];
    struct positions *restored; /* what restored keys reflect, by entry.reflects - 1 */
    size_t n_restored;
    struct moment *moments;
    size_t n_moments, cap_moments;
    struct moment present; /* as of the last task_need */
    bool changed; /* since the last commit */
    bool woken;   /* and a record came with an `at` that was over already: all that is dirty is written, for only now it is known */
    struct due due;
    struct wait wait;
};

/* A writer's schema as this stage reads it. */
struct reading {
    uint32_t id;
    struct decode_plan *probe;
    struct decode_plan *plan;
    char *refused; /* why this writer's records cannot be read */
};

struct input {
    const struct topic *topic;
    bool outside; /* one channel, own event time; else channels and `at` from lineage */
    int tasks, epoch; /* of the stage that writes it, as the pipeline says: its channels */
    bool repeats;     /* that stage is at_least_once: what it said may come again */
    bool marked;  /* its channels' marks say how far they are, and it is taken in order; else nobody waits for it for ever */
    struct want wants[WANTS_MAX];
    size_t n_wants;
    struct want probe[16];
    size_t n_probe;
    struct batch probed; /* one row: what was probed last */
    int probe_wants[16]; /* where wants has the probe's; -1: not as the probe wants it, records are decoded when they run */
    struct pages pages;
    struct reading *readings;
    size_t n_readings;
};

struct output {
    const struct topic *topic;
    int partitions;
    struct want leaves[WANTS_MAX]; /* of the schema, without lineage */
    size_t n_leaves;
    struct encode_plan *plan;
    uint8_t present[WANTS_MAX]; /* which leaves the plan has columns for */
};

/* The record that an output rests on. */
struct put_source {
    const char *topic; /* NULL: not a row's output */
    int partition;
    int64_t offset;
};

struct kept_put {
    const char *topic;
    int partition;
    size_t key, value, traceparent, mark; /* offsets into kept bytes; SIZE_MAX: null */
    size_t key_n, value_n, traceparent_n, mark_n;
    bool atomic;
    struct put_source from;
};

struct stage_options {
    const char *pipeline, *stage, *brokers, *http, *http_file, *instance;
    const char *in[FILES_MAX], *out[FILES_MAX];
    size_t n_in, n_out;
    size_t batch; /* records a batch at most */
    const char *model; /* --model NAME/VERSION: score by this one alone; NULL: by the routing */
    const char *into; /* replay: topic for the outputs; NULL: no replay */
    int64_t from_ms, to_ms; /* replay: event time [from, to) */
    int64_t since_ms, until_ms; /* of train on files: the first and the last boundary that it may decide */
};

struct stage {
    const struct worker *worker;
    void *ctx;
    struct stage_options opt;
    struct pipeline *pipeline;
    struct stage_def *def;
    struct registry *registry;
    struct schema_feed *schemas; /* NULL: files */
    int64_t schemas_looked_ms, schema_awaited_ms;
    struct log *log;
    struct metrics metrics;
    struct ops *ops;
    bool is_file; /* no broker at all */
    bool finite;  /* files, or a replay: ends at the inputs' end, keeps nothing */
    bool has_changelog; /* of its state, or of its positions alone */
    bool stateful;      /* keeps something between records */
    bool contradicted, doubted; /* what the last restore read does not fit together; and is to be looked at again */
    bool by_key;   /* its state is by the records' keys */
    size_t changelog_bytes, changelog_bytes_max; /* of keys that a commit writes: for a task; for all of them; the rest waits for the next */
    int n_tasks_all; /* partitions of the inputs */
    int64_t ahead_ms; /* how far before its arrival no event time of this pipeline can lie: the largest `time.ahead` */
    struct input inputs[INPUTS_MAX];
    size_t n_inputs;
    struct output outputs[INPUTS_MAX];
    size_t n_outputs;
    char *changelog;    /* broker name of the topic, or NULL */
    char *dead_letters; /* broker name */
    struct schema *state_schema, *dead_schema;
    struct task **tasks;
    size_t n_tasks;
    int *assigned; /* task numbers, as the log said last */
    size_t n_assigned;
    struct log_record taken[TAKE_MAX];
    int64_t taken_ms; /* when the log was asked last */
    struct arena batch;   /* reset after each batch */
    struct arena scratch; /* of a commit */
    struct bytes kept_bytes;
    struct kept_put *kept;
    size_t n_kept, cap_kept;
    struct bytes body, lineage; /* reused for each encoding */
    int64_t commit;    /* number of the present commit period */
    int64_t committed_ms, marked_ms;
    int64_t at_min_told, lag_told_ms;
    int64_t others_at, others_ms; /* the slowest task of other processes, as heard at others_ms */
    int64_t n_dead, dead_logged_ms, bad_mark_logged_ms, n_repeats, repeats_logged_ms;
    bool turn_changed;
    bool timed;  /* the worker has rows that no record makes */
    bool rekeys; /* a stage of the wiring merges what its tasks write: they keep within `drift` of each other */
    bool held;   /* a task waits there for the slowest */
    bool waits;  /* for an upstream task, and it is said */
    int64_t waits_looked_ms, waits_logged_ms;
};

/* stage.c: the parts of stage_main. `worker` and `opt` are set. */
enum status stage_load(struct stage *s, struct error *err);  /* the pipeline and all that needs no broker */
enum status stage_start(struct stage *s, struct error *err); /* the rest; then loop_run */
void stage_end(struct stage *s);                             /* in any state; frees s */

/* loop.c */
enum status loop_run(struct stage *s, struct error *err);
void loop_drop_tasks(struct stage *s);

/* run.c: the next records of the task that is furthest behind and has something to do; *ret_n 0: none has. */
enum status run_next(struct stage *s, int64_t now_ms, size_t *ret_n, struct error *err);

/* commit.c */
bool commit_is_due(const struct stage *s, int64_t now_ms);
/* All tasks' outputs, marks, state and positions. ERR_RETRY: what became of it, the log says to a restore. */
enum status commit_all(struct stage *s, int64_t now_ms, struct error *err);
/* Between commits: how far the tasks are. Each says it in every partition: with many of them, less often. */
enum status commit_marks(struct stage *s, int64_t now_ms, struct error *err);
void commit_lag(struct stage *s, int64_t now_ms);

/* hold.c */
/* Holds a partition back when its records wait for another input; never when they wait for each other. */
enum status hold_regulate(struct stage *s, struct error *err);
/* What waits here costs memory, and more of it than what waits at the log. */
bool hold_has_plenty(const struct stage *s);

/* intake.c */
enum status intake_open(struct stage *s, struct error *err);
void intake_close(struct stage *s);
/* Takes over the record (releases it when it is done with it), but where it fails. */
enum status intake_record(struct stage *s, struct log_record *r, int64_t now_ms, struct error *err);
/* The `at` that the record itself says (its event time in a topic from outside), and its writer's task (-1: none said); false: it says
 * no `at`. */
bool intake_at(struct stage *s, const struct log_record *r, int64_t *ret_at, int *ret_task);
enum status intake_decode(struct stage *s, const struct pending *p, struct batch *cols, size_t row, struct error *err);

/* task.c */
struct task *task_new(const struct stage *s, int id);
void task_free(struct stage *s, struct task *t);
struct task *task_of(const struct stage *s, int id);
void task_release(void *stage, struct pending *p);
/* The next pending record of the task in order, or NULL (then *ret_why says what it waits for, arena-free text). */
struct pending *task_head(const struct stage *s, struct task *t, int64_t now_ms, int *ret_input);
/* Takes the head out. False: it was a repeat, and is dropped. */
bool task_take(struct stage *s, struct task *t, int input, struct pending *ret);
/* How far an input is: the least `at` that it may still bring. */
int64_t task_input_at(const struct stage *s, const struct task *t, size_t input, int64_t now_ms);
/* Nothing that the task takes from now on is smaller: `at`, or more where its inputs have nothing smaller any more, by their next
 * records and marks. Else a task with few keys would be waited for as long as its writers are busy. */
int64_t task_progress(const struct stage *s, const struct task *t, int64_t now_ms);
/* The same of what it may still take, whatever is due. */
int64_t task_awaits(const struct stage *s, const struct task *t, int64_t now_ms);
/* How far a task that rests is known to be: its `at`, or more where a mark said more of an input. */
int64_t task_furthest(const struct stage *s, const struct task *t);
bool task_idle(const struct stage *s, const struct task *t, int64_t now_ms);
int64_t task_low(const struct task *t, size_t input);
/* Whether records that were taken before the restore are still to be taken again. */
bool task_replays(const struct task *t, size_t n_inputs);
void task_moment(struct task *t, int64_t commit, size_t n_inputs);
/* What the oldest dirty key needs; the present positions when all is written. Until the next call, or task_moment. */
const struct moment *task_need(struct task *t, size_t n_inputs);

/* waits.c */
bool waits_for(const struct stage *s, struct task *t, int64_t now_ms, struct wait *ret);
/* Each turn: says for whom the stage waits once that lasts. */
void waits_look(struct stage *s, int64_t now_ms);

/* due.c */
/* How far the task is: the largest `at` that it has taken, or more where all that is due by then is out. */
int64_t due_time(const struct task *t);
/* When rows may be due next; INT64_MAX: never, as far as is known. */
int64_t due_next(const struct stage *s, const struct task *t);
/* From where on a record waits for rows that are due before it. */
int64_t due_before(const struct stage *s, const struct task *t);
/* From where on records cannot be taken together with one of this `at`. */
int64_t due_after(const struct stage *s, const struct task *t, int64_t at);
/* The `at` of a row, whose record has been taken. */
int64_t due_at(const struct stage *s, struct task *t, const struct pending *p);
/* The last good record of what was taken, with so many outputs, is the one behind which the next rows come. */
void due_behind(const struct stage *s, struct task *t, const struct rows *rows, const struct pending *pending, const int *n_outs);
/* Puts some of the rows that are due before the next record; *ret_n 0: none is. */
enum status due_run(struct stage *s, struct task *t, int64_t now_ms, size_t *ret_n, struct error *err);

/* output.c */
void output_open(struct stage *s);
void output_close(struct stage *s);
enum status output_put(struct stage *s, const struct log_put *put, struct error *err);
enum status output_rows(struct stage *s, const struct task *t, struct rows *in, const struct pending *pending, size_t o,
                        struct out *out, int *n_outs, struct error *err);
/* A task whose progress rose, or that turned idle, says so in each partition of what is read in order. */
enum status output_marks(struct stage *s, struct task *t, int64_t progress, bool idle, struct error *err);
enum status output_mark_through(struct stage *s, int partition, struct view mark, struct error *err);
enum status output_again(struct stage *s, struct error *err);
void output_forget(struct stage *s);

/* dead.c */
enum status output_dead(struct stage *s, const struct pending *p, const char *reason, struct error *err);
/* The dead letter of an output; its bytes are in b. */
void dead_refused(struct stage *s, const struct log_put *refused, const struct put_source *from, struct bytes *b,
                  struct log_put *ret_put);

/* changelog.c */
const char *stage_set(const struct stage *s); /* the features' fingerprint, "" without any */
enum status changelog_write(struct stage *s, struct task *t, struct error *err);

/* restore.c */
enum status changelog_restore(struct stage *s, struct error *err); /* of all tasks */
/* What keys reflected when they were restored matters until nothing is replayed any more. */
void changelog_forget(struct task *t);
bool changelog_reflects(const struct task *t, const struct entry *e, int input, int task, int64_t offset);

/* check.c: the topics that must be there, as the pipeline says. */
size_t check_topics(const struct stage *s, struct topic_spec ret_specs[CHECK_MAX]);

/* options.c */
int options_read(const struct worker *w, int argc, char **argv, struct stage_options *o);

/* file.c */
enum status log_file_open(struct stage *s, struct log **ret_log, struct error *err);

/* range.c */
enum status log_range_open(struct stage *s, struct log **ret_log, struct error *err);

#endif
