/* test/sim/main.c: many schedules side by side, what they found, made short; the table of what struck where. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "test/sim/sim.h"

#define PIPELINE "test/sim/chain.json"
#define REGRESS "test/sim/regress"
#define PROCESSES 2
#define PER_CHILD 40 /* schedules: their memory goes with the process */
#define FAILURES_MAX 16
#define STORIES_MAX 2

struct failure {
    uint64_t seed;
    struct schedule schedule;
    char text[400];
};

/* Between the processes. */
struct shared {
    uint64_t at; /* the seed that it is at */
    uint64_t n;
    int64_t n_steps;
    int struck[N_STEPS][N_FAULTS];
    size_t n_failures;
    struct failure failures[FAILURES_MAX];
};

#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);

/* What an instance that is killed had goes with the process. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static int quiet_counts[STAGES_MAX][N_STEPS];

static bool run(const struct schedule *s, bool learn)
{
    sched_begin(s);
    check_begin(learn);
    world_begin();
    sched_run();
    if (sim.failure[0] == '\0')
        check_end();
    return sim.failure[0] == '\0';
}

static void *share(size_t n)
{
    return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* The quiet run of each world: what all others are compared with, and itself with the oracle. */
static bool learn(void)
{
    for (int w = 0; w < WORLDS; w++) {
        struct schedule quiet = {.world = w, .slots = {1, 1, 1, 1}, .changelog_bytes = (int)CHANGELOG_BYTES};

        if (run(&quiet, true))
            oracle_check();
        if (sim.failure[0]) {
            printf("not ok the quiet run of world %d: %s\n", w, sim.failure);
            return false;
        }
        for (int i = 0; i < STAGES_MAX; i++)
            for (int k = 0; k < N_STEPS; k++)
                quiet_counts[i][k] += sim.counts[i][k] / WORLDS;
    }
    printf("ok quiet runs of %d worlds, as the oracle says\n", WORLDS);
    return true;
}

/* A sanitizer ends the process by a status. */
static bool has_crashed(int status, char ret_text[64])
{
    if (WIFSIGNALED(status))
        snprintf(ret_text, 64, "crash: signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        snprintf(ret_text, 64, "crash: exit status %d", WEXITSTATUS(status));
    return WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
}

/* One schedule in a process of its own; true: it holds. A story goes to standard output. */
static bool try_one(const struct schedule *s, bool tell, char ret_text[400])
{
    static char *text;
    int status;
    pid_t child;

    if (text == NULL)
        text = share(400);
    text[0] = '\0';
    fflush(stdout);
    child = fork();
    if (child == 0) {
        sim.story = tell;
        (void)run(s, false);
        memcpy(text, sim.failure, 400);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    (void)has_crashed(status, text);
    memcpy(ret_text, text, 400);
    return text[0] == '\0';
}

/* ---- shorter ---- */

static bool still_fails(const struct schedule *s)
{
    char text[400];

    return !try_one(s, false, text);
}

/* Drops what is not needed for the failure, one by one, until nothing more can go. */
static void shorten(struct schedule *s)
{
    for (bool shorter = true; shorter;) {
        struct schedule t = *s;

        shorter = false;
        for (size_t k = 0; k < s->n_items; k++) {
            t = *s;
            memmove(&t.items[k], &t.items[k + 1], (--t.n_items - k) * sizeof(t.items[0]));
            if (still_fails(&t)) {
                *s = t;
                shorter = true;
                k--;
            }
        }
        t = *s;
        t.jitter = 0;
        if (s->jitter && still_fails(&t)) {
            *s = t;
            shorter = true;
        }
        for (int i = 0; i < world_stages(); i++) {
            t = *s;
            t.slots[i] = 1;
            if (s->slots[i] != 1 && still_fails(&t)) {
                *s = t;
                shorter = true;
            }
        }
        for (size_t k = 0; k < s->n_items; k++) {
            t = *s;
            t.items[k].how = 0;
            if (s->items[k].how && still_fails(&t)) {
                *s = t;
                shorter = true;
            }
        }
    }
}

static void print_schedule(const struct schedule *s)
{
    struct bytes b = BYTES_EMPTY;

    schedule_print(s, &b);
    printf("  %.*s\n", (int)b.n, (const char *)b.data);
    bytes_done(&b);
}

static void tell(const struct failure *f, bool with_story)
{
    struct schedule s = f->schedule;
    char text[400];

    printf("not ok seed %" PRIu64 ": %s\n", f->seed, f->text);
    print_schedule(&s);
    if (!with_story)
        return;
    if (!still_fails(&s)) {
        printf("  alone it holds: the failure depends on the schedules before it in its process\n");
        return;
    }
    shorten(&s);
    (void)try_one(&s, false, text);
    printf("  shorter: %s\n", text);
    print_schedule(&s);
    printf("  its story:\n");
    (void)try_one(&s, true, text);
}

/* ---- many ---- */

static void note(struct shared *sh, uint64_t seed, const struct schedule *s, const char *text)
{
    if (sh->n_failures < FAILURES_MAX) {
        struct failure *f = &sh->failures[sh->n_failures];

        f->seed = seed;
        f->schedule = *s;
        snprintf(f->text, sizeof(f->text), "%s", text);
    }
    sh->n_failures++;
}

static void run_seed(struct shared *sh, uint64_t seed)
{
    struct schedule s;

    sh->at = seed;
    schedule_draw(seed, quiet_counts, &s);
    if (!run(&s, false))
        note(sh, seed, &s, sim.failure);
    sh->n++;
    sh->n_steps += sim.n_steps;
    for (int k = 0; k < N_STEPS; k++)
        for (int f = 0; f < N_FAULTS; f++)
            sh->struck[k][f] += sim.struck[k][f];
}

/* Seeds from, from + PROCESSES, ...; with first_only it ends at the first failure. */
static void run_share(struct shared *sh, uint64_t from, uint64_t to, bool first_only)
{
    while (from < to && !(first_only && sh->n_failures)) {
        pid_t child = fork();
        char text[64];
        int status;

        if (child == 0) {
            for (int i = 0; i < PER_CHILD && from < to && !(first_only && sh->n_failures); i++, from += PROCESSES)
                run_seed(sh, from);
            _exit(0);
        }
        waitpid(child, &status, 0);
        if (has_crashed(status, text)) {
            struct schedule s;

            schedule_draw(sh->at, quiet_counts, &s);
            note(sh, sh->at, &s, text);
            from = sh->at + PROCESSES;
        } else
            from += PER_CHILD * PROCESSES;
    }
}

static size_t run_many(uint64_t seed, uint64_t n, bool first_only, struct shared *sum)
{
    struct shared *sh = share(PROCESSES * sizeof(*sh));
    pid_t children[PROCESSES];

    fflush(stdout);
    for (int i = 0; i < PROCESSES; i++)
        if ((children[i] = fork()) == 0) {
            run_share(&sh[i], seed + (uint64_t)i, seed + n, first_only);
            _exit(0);
        }
    for (int i = 0; i < PROCESSES; i++) {
        waitpid(children[i], NULL, 0);
        sum->n += sh[i].n;
        sum->n_steps += sh[i].n_steps;
        for (size_t k = 0; k < sh[i].n_failures && k < FAILURES_MAX; k++)
            note(sum, sh[i].failures[k].seed, &sh[i].failures[k].schedule, sh[i].failures[k].text);
        if (sh[i].n_failures > FAILURES_MAX)
            sum->n_failures += sh[i].n_failures - FAILURES_MAX;
        for (int k = 0; k < N_STEPS; k++)
            for (int f = 0; f < N_FAULTS; f++)
                sum->struck[k][f] += sh[i].struck[k][f];
    }
    munmap(sh, PROCESSES * sizeof(*sh));
    return sum->n_failures;
}

/* Every fault at every step where it can be; false: one never struck. */
static bool print_table(const struct shared *sum)
{
    const char *reasons[N_STEPS * N_FAULTS];
    size_t n_reasons = 0;
    int empty = 0;

    printf("%-12s", "");
    for (int k = 0; k < N_STEPS; k++)
        printf("%10s", step_names[k]);
    printf("\n");
    for (int f = 1; f < N_FAULTS; f++) {
        printf("%-12s", fault_names[f]);
        for (int k = 0; k < N_STEPS; k++) {
            const char *why = schedule_cannot((enum step)k, (enum fault)f);
            size_t i = 0;

            while (why && i < n_reasons && strcmp(reasons[i], why) != 0)
                i++;
            if (why && i == n_reasons)
                reasons[n_reasons++] = why;
            if (why)
                printf("%9s%c", "", (char)('a' + i));
            else
                printf("%10d", sum->struck[k][f]);
            empty += why == NULL && sum->struck[k][f] == 0;
        }
        printf("\n");
    }
    for (size_t i = 0; i < n_reasons; i++)
        printf("  %c  cannot be: %s\n", (char)('a' + i), reasons[i]);
    printf(empty ? "not ok %d of the table's cells are empty\n" : "ok every fault struck at every step where it can\n", empty);
    return empty == 0;
}

/* The same seed gives the same run, step by step. */
static bool check_repeatable(uint64_t seed)
{
    for (uint64_t k = 0; k < 20; k++) {
        struct schedule s;
        uint64_t trace;

        schedule_draw(seed + k, quiet_counts, &s);
        (void)run(&s, false);
        trace = sim.trace;
        (void)run(&s, false);
        if (trace != sim.trace) {
            printf("not ok seed %" PRIu64 " gives two runs\n", seed + k);
            return false;
        }
    }
    printf("ok the same seed gives the same run\n");
    return true;
}

/* Each line of the file: a schedule that failed once. */
static bool run_regressions(void)
{
    FILE *f = fopen(REGRESS, "r");
    char line[1024], text[400];
    int n = 0, bad = 0;

    while (f && fgets(line, sizeof(line), f)) {
        struct schedule s;

        if (line[0] == '#' || line[0] == '\n')
            continue;
        n++;
        if (!schedule_parse(line, &s))
            printf("not ok " REGRESS ": not a schedule: %s", line);
        else if (!try_one(&s, false, text))
            printf("not ok what failed once fails again: %s\n  %s", text, line);
        else
            continue;
        bad++;
    }
    if (f)
        fclose(f);
    if (bad == 0)
        printf("ok %d schedules that failed once\n", n);
    return bad == 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--schedules N] [--seed N] [--first]   until the first failure: --first\n"
                    "       sim --story 'SCHEDULE'                    one schedule, told step by step\n");
    return 2;
}

static int tell_one(const char *line)
{
    struct schedule s;
    char text[400];
    bool ok;

    if (!schedule_parse(line, &s))
        return usage();
    ok = try_one(&s, true, text);
    printf("%s%s\n", ok ? "ok" : "not ok ", text);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"schedules", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'},
                                          {"story", required_argument, NULL, 't'}, {"first", no_argument, NULL, 'f'}, {0}};
    struct shared *sum = xcalloc(1, sizeof(*sum));
    uint64_t n = 20000, seed = 1;
    const char *one = NULL;
    bool first = false, ok = true;
    struct error err;
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
        if (c == 'n')
            n = strtoull(optarg, NULL, 10);
        else if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 't')
            one = optarg;
        else if (c == 'f')
            first = true;
        else
            return usage();
    if (world_open(PIPELINE, &err) != OK) {
        printf("not ok the world: %s\n", err.text);
        return 1;
    }
    if (!learn())
        return 1;
    if (one)
        return tell_one(one);
    if (!first)
        ok = run_regressions() && check_repeatable(seed);
    (void)run_many(seed, n, first, sum);
    for (size_t i = 0; i < sum->n_failures && i < FAILURES_MAX; i++)
        tell(&sum->failures[i], i < STORIES_MAX && !first);
    if (!first && n >= 2000)
        ok &= print_table(sum) || n < 20000;
    ok &= sum->n_failures == 0;
    printf("%s %" PRIu64 " schedules, %" PRId64 " steps\n", sum->n_failures ? "not ok" : "ok", sum->n, sum->n_steps);
    printf("schedules %" PRIu64 "\nfailing %zu\n", sum->n, sum->n_failures);
    return ok ? 0 : 1;
}
