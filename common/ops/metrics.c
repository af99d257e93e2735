#define _GNU_SOURCE
#include "ops/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"

#define UNSET INT64_MIN

static const char *const outcomes[] = {"taken", "put", "dead_letter", "repeat", "mark", "bad_mark"};
static const char *const reasons[] = {"framing", "schema",    "decode",  "range", "time",
                                      "late",    "partition", "refused", "other"};
static const char *const commits[] = {"committed", "aborted", "unknown"};
static const int64_t commit_us[] = {500,    1000,   2500,   5000,   10000,  15000,   20000,   25000,   35000,   50000,
                                    75000,  100000, 125000, 150000, 250000, 500000,  1000000, 2500000, 5000000, 10000000};
static const int64_t batch_records[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000};

_Static_assert(ARRAY_LEN(outcomes) == OUTCOMES_N, "a name for each outcome");
_Static_assert(ARRAY_LEN(reasons) == REASONS_N, "a name for each reason");
_Static_assert(ARRAY_LEN(commits) == COMMIT_OUTCOMES_N, "a name for each commit outcome");
/* A histogram's cells: one count per bound, one beyond the last, the sum. */
_Static_assert(ARRAY_LEN(commit_us) + 2 <= METRIC_CELLS_MAX, "room for the commit histogram");

#define ROW(name_, help_, kind_, unit_, per_)                                                      \
    .name = (name_), .help = (help_), .kind = METRIC_##kind_, .unit = (unit_), .per = (per_)
#define LABEL(name, values) .label = (name), .label_values = (values), .n_label_values = ARRAY_LEN(values)
#define BOUNDS(values) .bounds = (values), .n_bounds = ARRAY_LEN(values)

/* The list of docs/operations.md (test_metrics.c compares). */
static const struct metric_row rows[METRICS_N] = {
    [METRIC_RECORDS] = {ROW("millrace_records_total",
             "Records by what became of them: taken counts inputs, put counts outputs; of train the records of models, routings and verdicts.",
             COUNTER, "records", 1), LABEL("outcome", outcomes)},
    [METRIC_DEAD_LETTERS] = {ROW("millrace_dead_letters_total",
             "Records that could not be processed, by the class of the reason.",
             COUNTER, "records", 1), LABEL("reason", reasons)},
    [METRIC_LAG] = {ROW("millrace_lag_records",
             "Input records that are on the broker and not yet committed, over all tasks.",
             GAUGE, "records", 1)},
    [METRIC_EVENT_TIME] = {ROW("millrace_event_time_seconds",
             "Event-time progress: the smallest over the tasks, since 1970.",
             GAUGE, "milliseconds", 1000)},
    [METRIC_TASKS] = {ROW("millrace_tasks",
             "Tasks (partition indexes) that this process owns.",
             GAUGE, "tasks", 1)},
    [METRIC_REBALANCES] = {ROW("millrace_rebalances_total",
             "Changes of the partitions that this process owns.",
             COUNTER, "rebalances", 1)},
    [METRIC_COMMITS] = {ROW("millrace_commits_total",
             "Commits by outcome; unknown ones were settled from the committed offsets.",
             COUNTER, "commits", 1), LABEL("outcome", commits)},
    [METRIC_COMMIT_DURATION] = {ROW("millrace_commit_duration_seconds",
             "Time from the begin of a commit to its answer.",
             HISTOGRAM, "microseconds", 1000000), BOUNDS(commit_us)},
    [METRIC_BATCH_RECORDS] = {ROW("millrace_batch_records",
             "Records in a batch.",
             HISTOGRAM, "records", 1), BOUNDS(batch_records)},
    [METRIC_RESTORES] = {ROW("millrace_restores_total",
             "Tasks whose state was rebuilt from its changelog.",
             COUNTER, "restores", 1)},
    [METRIC_STATE_BYTES] = {ROW("millrace_state_bytes",
             "Memory that the state of all tasks takes.",
             GAUGE, "bytes", 1)},
    [METRIC_STATE_KEYS] = {ROW("millrace_state_keys",
             "Keys in the state of all tasks.",
             GAUGE, "keys", 1)},
    [METRIC_MODEL_VERSION] = {ROW("millrace_model_version",
             "Version of the model that decides (score) or was published last (train).",
             GAUGE, "version", 1)},
    [METRIC_VERDICTS_MISSED] = {ROW("millrace_verdicts_missed_total",
             "Boundaries of training whose verdict was due and had not come after `model.wait`: score went on by the former model.",
             COUNTER, "boundaries", 1)},
    [METRIC_WAITING] = {ROW("millrace_waiting_seconds",
             "How long a task has waited for an upstream task, an input or (score) a verdict of training, the longest of this process; 0: none waits.",
             GAUGE, "milliseconds", 1000)},
    [METRIC_READY] = {ROW("millrace_ready",
             "1 when /ready answers 200, else 0.",
             GAUGE, "", 1)},
};

/* What the process itself has: printed from /proc when asked. */
static const struct metric_row process_rows[] = {
    {ROW("process_resident_memory_bytes",
             "Resident memory.",
             GAUGE, "bytes", 1)},
    {ROW("process_cpu_seconds_total",
             "User and system CPU time.",
             COUNTER, "microseconds", 1000000)},
    {ROW("process_start_time_seconds",
             "Start of the process since 1970.",
             GAUGE, "milliseconds", 1000)},
    {ROW("process_open_fds",
             "Open file descriptors.",
             GAUGE, "descriptors", 1)},
    {ROW("process_max_fds",
             "Largest number of open file descriptors.",
             GAUGE, "descriptors", 1)},
    {ROW("millrace_build_info",
             "1; the labels name the build.",
             GAUGE, "", 1)},
};

const struct metric_row *metrics_row(enum metric metric)
{
    assert((unsigned)metric < METRICS_N);
    return &rows[metric];
}

void metrics_init(struct metrics *m, const char *pipeline, const char *stage)
{
    snprintf(m->pipeline, sizeof(m->pipeline), "%s", pipeline ? pipeline : "");
    snprintf(m->stage, sizeof(m->stage), "%s", stage ? stage : "");
    for (int i = 0; i < METRICS_N; i++)
        for (int j = 0; j < METRIC_CELLS_MAX; j++)
            atomic_init(&m->cell[i][j], rows[i].kind == METRIC_GAUGE ? UNSET : 0);
}

static void add(struct metrics *m, enum metric metric, size_t cell, int64_t n)
{
    atomic_fetch_add_explicit(&m->cell[metric][cell], n, memory_order_relaxed);
}

static int64_t get(const struct metrics *m, enum metric metric, size_t cell)
{
    return atomic_load_explicit(&m->cell[metric][cell], memory_order_relaxed);
}

static size_t n_cells(const struct metric_row *row)
{
    return row->label ? row->n_label_values : 1;
}

void metrics_add(struct metrics *m, enum metric metric, int label, int64_t n)
{
    const struct metric_row *row = metrics_row(metric);

    assert(row->kind == METRIC_COUNTER && n >= 0 && label >= 0 && (size_t)label < n_cells(row));
    add(m, metric, (size_t)label, n);
}

void metrics_set(struct metrics *m, enum metric metric, int64_t value)
{
    assert(metrics_row(metric)->kind == METRIC_GAUGE);
    atomic_store_explicit(&m->cell[metric][0], value, memory_order_relaxed);
}

void metrics_unset(struct metrics *m, enum metric metric)
{
    metrics_set(m, metric, UNSET);
}

void metrics_observe(struct metrics *m, enum metric metric, int64_t value)
{
    const struct metric_row *row = metrics_row(metric);
    size_t i = 0;

    assert(row->kind == METRIC_HISTOGRAM);
    while (i < row->n_bounds && value > row->bounds[i])
        i++;
    add(m, metric, i, 1);
    add(m, metric, row->n_bounds + 1, value);
}

int64_t metrics_get(const struct metrics *m, enum metric metric, int label)
{
    const struct metric_row *row = metrics_row(metric);
    int64_t n = 0;

    if (row->kind == METRIC_HISTOGRAM) {
        for (size_t i = 0; i <= row->n_bounds; i++)
            n += get(m, metric, i);
        return n;
    }
    assert(label >= 0 && (size_t)label < n_cells(row));
    n = get(m, metric, (size_t)label);
    return n == UNSET ? 0 : n;
}

/* 15 digits hold every time in milliseconds and every count that a worker reaches. */
static void print_value(struct bytes *out, int64_t value, int64_t per)
{
    if (per == 1)
        bytes_printf(out, "%" PRId64, value);
    else
        bytes_printf(out, "%.15g", (double)value / (double)per);
}

/* Backslash and newline are escaped everywhere, a quote in label values. */
static void print_escaped(struct bytes *out, const char *s, bool in_label)
{
    for (; *s; s++) {
        if (*s == '\n')
            bytes_append(out, "\\n", 2);
        else if (*s == '\\' || (in_label && *s == '"'))
            bytes_printf(out, "\\%c", *s);
        else
            bytes_append(out, s, 1);
    }
}

static const char *kind_name(enum metric_kind kind)
{
    static const char *const names[] = {"counter", "gauge", "histogram"};

    return names[kind];
}

static void print_head(struct bytes *out, const struct metric_row *row)
{
    bytes_printf(out, "# HELP %s ", row->name);
    print_escaped(out, row->help, false);
    bytes_printf(out, "\n# TYPE %s %s\n", row->name, kind_name(row->kind));
}

/* name<suffix>{pipeline="...",stage="..."  and the caller goes on. */
static void print_name(const struct metrics *m, struct bytes *out, const char *name, const char *suffix)
{
    bytes_printf(out, "%s%s{pipeline=\"", name, suffix);
    print_escaped(out, m->pipeline, true);
    bytes_append(out, "\",stage=\"", 9);
    print_escaped(out, m->stage, true);
    bytes_append(out, "\"", 1);
}

static void print_histogram(const struct metrics *m, enum metric metric, struct bytes *out)
{
    const struct metric_row *row = &rows[metric];
    int64_t n = 0;

    for (size_t i = 0; i <= row->n_bounds; i++) {
        n += get(m, metric, i);
        print_name(m, out, row->name, "_bucket");
        bytes_printf(out, ",le=\"");
        if (i < row->n_bounds)
            print_value(out, row->bounds[i], row->per);
        else
            bytes_printf(out, "+Inf");
        bytes_printf(out, "\"} %" PRId64 "\n", n);
    }
    print_name(m, out, row->name, "_sum");
    bytes_printf(out, "} ");
    print_value(out, get(m, metric, row->n_bounds + 1), row->per);
    bytes_printf(out, "\n");
    print_name(m, out, row->name, "_count");
    bytes_printf(out, "} %" PRId64 "\n", n);
}

static void print_metric(const struct metrics *m, enum metric metric, struct bytes *out)
{
    const struct metric_row *row = &rows[metric];

    if (row->kind == METRIC_GAUGE && get(m, metric, 0) == UNSET)
        return;
    print_head(out, row);
    if (row->kind == METRIC_HISTOGRAM) {
        print_histogram(m, metric, out);
        return;
    }
    for (size_t i = 0; i < n_cells(row); i++) {
        print_name(m, out, row->name, "");
        if (row->label)
            bytes_printf(out, ",%s=\"%s\"", row->label, row->label_values[i]);
        bytes_printf(out, "} ");
        print_value(out, get(m, metric, i), row->per);
        bytes_printf(out, "\n");
    }
}

static int64_t resident_bytes(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f == NULL)
        return 0;
    if (fscanf(f, "%*s %lld", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static int64_t cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

/* Boot time plus field 22 of /proc/self/stat (clock ticks since boot; the name before it may hold spaces). */
static int64_t start_ms(void)
{
    char text[1024] = "";
    FILE *f = fopen("/proc/self/stat", "re");
    struct timespec wall, boot;
    const char *p;
    unsigned long long ticks = 0;
    int64_t up_ms;

    if (f == NULL)
        return 0;
    (void)!fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    if (p)
        ticks = strtoull(p, NULL, 10);
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    up_ms = (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000 -
            (int64_t)ticks * 1000 / sysconf(_SC_CLK_TCK);
    return (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - up_ms;
}

static int64_t open_fds(void)
{
    int64_t n = -1; /* the directory's own */
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;

    if (d == NULL)
        return 0;
    while ((e = readdir(d)))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int64_t max_fds(void)
{
    struct rlimit r;

    return getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < INT64_MAX ? (int64_t)r.rlim_cur : INT64_MAX;
}

static void print_process(struct bytes *out)
{
    const int64_t values[] = {resident_bytes(), cpu_us(), start_ms(), open_fds(), max_fds(), 1};

    _Static_assert(ARRAY_LEN(values) == ARRAY_LEN(process_rows), "a value for each row");
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        print_head(out, &process_rows[i]);
        bytes_printf(out, "%s", process_rows[i].name);
        if (i == ARRAY_LEN(values) - 1)
            bytes_printf(out, "{version=\"%s\",compiler=\"%s\"}", MILLRACE_VERSION, __VERSION__);
        bytes_printf(out, " ");
        print_value(out, values[i], process_rows[i].per);
        bytes_printf(out, "\n");
    }
}

void metrics_print(const struct metrics *m, struct bytes *out)
{
    for (int i = 0; i < METRICS_N; i++)
        print_metric(m, (enum metric)i, out);
    print_process(out);
}

static void doc_row(struct bytes *out, const struct metric_row *row, const char *labels)
{
    bytes_printf(out, "| `%s` | %s | %s", row->name, kind_name(row->kind), labels);
    for (size_t i = 0; i < n_cells(row) && row->label; i++)
        bytes_printf(out, "%s%s%s", i ? ", " : row->label, i ? "" : ": ", row->label_values[i]);
    bytes_printf(out, " | %s |\n", row->help);
}

void metrics_doc(struct bytes *out)
{
    bytes_printf(out, "| metric | type | labels besides pipeline and stage | what it says |\n"
                      "|---|---|---|---|\n");
    for (int i = 0; i < METRICS_N; i++)
        doc_row(out, &rows[i], "");
    for (size_t i = 0; i < ARRAY_LEN(process_rows); i++)
        doc_row(out, &process_rows[i],
                i == ARRAY_LEN(process_rows) - 1 ? "version, compiler" : "");
}
