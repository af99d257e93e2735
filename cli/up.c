/* up: every stage of a pipeline as a process of its own, looked after until it is told to end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "ops/signals.h"
#include "stage/models.h"
#include "wire/text.h"

#define BACKOFF_MS_MIN 200
#define BACKOFF_MS_MAX 10000
#define HEALTHY_MS 30000 /* after that a death counts as the first */
#define STOP_MS 10000
#define STAGES_MAX 64

struct child {
    const char *name, *worker;
    char *log, *http_file;
    pid_t pid; /* 0: not running */
    int restarts;
    int64_t started_ms, again_ms, backoff_ms;
    bool refused; /* exit status 2: starting it again changes nothing */
    struct scrape last;
    double rate;
    int64_t looked_ms;
};

struct up {
    const char *file, *brokers;
    char folder[PATH_MAX / 2], pid_file[PATH_MAX];
    struct child children[STAGES_MAX];
    size_t n;
    size_t lines_shown;
};

static void run_child(const struct up *u, const struct child *c)
{
    char path[PATH_MAX];
    int fd = open(c->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* should we be killed, the stages end too */
    (void)setpgid(0, 0);                    /* Ctrl-C is ours to pass on, once */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    snprintf(path, sizeof(path), "%s/%s", cli_bin(), c->worker);
    execl(path, c->worker, u->file, c->name, "--brokers", u->brokers, "--http", "127.0.0.1:0", "--http-file",
          c->http_file, (char *)NULL);
    fprintf(stderr, "start %s: %s: build it with `make`\n", path, strerror(errno));
    _exit(EXIT_CALL);
}

static void start_child(struct up *u, struct child *c)
{
    (void)unlink(c->http_file);
    c->last = (struct scrape){0};
    c->pid = fork();
    c->started_ms = clock_mono_ms();
    if (c->pid == 0)
        run_child(u, c);
    if (c->pid < 0) {
        fprintf(stderr, "millrace up: start %s: %s\n", c->name, strerror(errno));
        c->pid = 0;
        c->again_ms = clock_mono_ms() + BACKOFF_MS_MAX;
    }
}

/* The last line of a stage's log, or "". */
static void last_line(const char *path, char *ret, size_t cap)
{
    FILE *f = fopen(path, "r");
    char line[1200];

    ret[0] = '\0';
    if (f == NULL)
        return;
    if (fseek(f, -4096, SEEK_END) != 0)
        rewind(f);
    while (fgets(line, sizeof(line), f) != NULL)
        snprintf(ret, cap, "%.*s", (int)strcspn(line, "\n"), line);
    fclose(f);
}

static void child_ended(struct child *c, int status)
{
    char line[1200];
    int64_t now = clock_mono_ms();

    c->pid = 0;
    last_line(c->log, line, sizeof(line));
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CALL) {
        c->refused = true;
        fprintf(stderr, "%s cannot start: %s\n", c->name, line);
        return;
    }
    if (now - c->started_ms > HEALTHY_MS)
        c->backoff_ms = 0;
    c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_MS_MIN : c->backoff_ms * 2;
    if (c->backoff_ms > BACKOFF_MS_MAX)
        c->backoff_ms = BACKOFF_MS_MAX;
    c->again_ms = now + c->backoff_ms;
    c->restarts++;
    fprintf(stderr, "%s ended (%s %d), starts again in %lld ms: %s\n", c->name,
            WIFSIGNALED(status) ? "signal" : "exit status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
            (long long)c->backoff_ms, line);
}

static void reap(struct up *u, bool stopping)
{
    for (size_t i = 0; i < u->n; i++) {
        struct child *c = &u->children[i];
        int status;

        if (c->pid == 0 || waitpid(c->pid, &status, WNOHANG) != c->pid)
            continue;
        if (stopping)
            c->pid = 0;
        else {
            u->lines_shown = 0; /* what is said now must not be drawn over */
            child_ended(c, status);
        }
    }
}

static void look(struct child *c)
{
    int64_t now = clock_mono_ms();
    double before = c->last.taken;

    scrape_worker(c->http_file, &c->last);
    c->rate = before >= 0 && c->last.taken >= before && now > c->looked_ms
                  ? (c->last.taken - before) * 1000 / (double)(now - c->looked_ms)
                  : 0;
    c->looked_ms = now;
}

static void show(struct up *u)
{
    bool terminal = isatty(STDOUT_FILENO);

    if (terminal && u->lines_shown > 0)
        printf("\033[%zuA\033[J", u->lines_shown);
    for (size_t i = 0; i < u->n; i++) {
        struct child *c = &u->children[i];
        char at[32] = "-", lag[24] = "-", port[40] = "-";

        look(c);
        if (c->last.event_time_s > 0)
            text_format_time((int64_t)(c->last.event_time_s * 1000), at);
        if (c->last.lag >= 0)
            snprintf(lag, sizeof(lag), "%.0f", c->last.lag);
        if (c->last.port)
            snprintf(port, sizeof(port), "http://127.0.0.1:%d", c->last.port);
        printf("%-14s %-9s lag %-8s %8.0f records/s  at %-24s restarts %d  %s%s%s\n", c->name,
               c->refused ? "refused" : c->pid == 0 ? "down" : c->last.ready ? "ready" : "not ready", lag, c->rate, at,
               c->restarts, port, c->last.ready || c->pid == 0 ? "" : "  ", c->last.ready || c->pid == 0 ? "" : c->last.why);
    }
    u->lines_shown = u->n;
    fflush(stdout);
}

static void stop_all(struct up *u)
{
    int64_t deadline = clock_mono_ms() + STOP_MS;
    bool any = true;

    for (size_t i = 0; i < u->n; i++)
        if (u->children[i].pid > 0)
            kill(u->children[i].pid, SIGTERM);
    while (any) {
        any = false;
        reap(u, true);
        for (size_t i = 0; i < u->n; i++) {
            if (u->children[i].pid == 0)
                continue;
            any = true;
            if (clock_mono_ms() > deadline)
                kill(u->children[i].pid, SIGKILL);
        }
        if (any)
            (void)poll(NULL, 0, 50);
    }
}

static void watch(struct up *u)
{
    int64_t shown = 0, every = isatty(STDOUT_FILENO) ? 1000 : 10000;
    struct pollfd stop = {.fd = signals_fd(), .events = POLLIN};

    while (!signals_stopping()) {
        (void)poll(&stop, 1, 100);
        reap(u, false);
        for (size_t i = 0; i < u->n; i++) {
            struct child *c = &u->children[i];

            if (c->pid == 0 && !c->refused && clock_mono_ms() >= c->again_ms && !signals_stopping())
                start_child(u, c);
        }
        if (clock_mono_ms() - shown >= every && !signals_stopping()) {
            shown = clock_mono_ms();
            show(u);
        }
    }
}

/* The file is locked for as long as we live, however we end: a process id in it may be anybody's after that. */
static int claim(struct up *u, const char *name)
{
    int fd = open(u->pid_file, O_RDWR | O_CREAT | O_CLOEXEC, 0644), pid = cli_up_pid(u->pid_file);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        fprintf(stderr, "millrace up: %s is already up as process %d: `millrace down %s` ends it\n", name, pid, name);
        close(fd);
        return 1;
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        fprintf(stderr, "millrace up: write %s: %s\n", u->pid_file, strerror(errno));
        return 1;
    }
    return 0;
}

static int prepare(struct up *u, const struct pipeline *p, const char *log_dir)
{
    snprintf(u->folder, sizeof(u->folder), "build/run/%s", p->name);
    (void)mkdir("build", 0755);
    (void)mkdir("build/run", 0755);
    if (mkdir(u->folder, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "millrace up: make the folder %s: %s\n", u->folder, strerror(errno));
        return 1;
    }
    if (log_dir != NULL && mkdir(log_dir, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "millrace up: make the folder %s: %s\n", log_dir, strerror(errno));
        return 1;
    }
    snprintf(u->pid_file, sizeof(u->pid_file), "%s/up.pid", u->folder);
    for (size_t i = 0; i < p->n_stages && u->n < STAGES_MAX; i++)
        u->children[u->n++] = (struct child){
            .name = p->stages[i].name,
            .worker = p->stages[i].worker,
            .log = arena_printf(p->arena, "%s/%s.log", log_dir == NULL ? u->folder : log_dir, p->stages[i].name),
            .http_file = arena_printf(p->arena, "%s/%s.http", u->folder, p->stages[i].name),
        };
    return claim(u, p->name);
}

int cli_up(int argc, char **argv)
{
    static struct up u;
    const char *brokers = NULL, *log_dir = NULL, *file = NULL;
    const struct cli_option options[] = {{"--brokers", &brokers, NULL}, {"--log-dir", &log_dir, NULL}};
    struct error err;
    struct pipeline *p;
    size_t n_args;
    int status = 0;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), &file, 1, &n_args))
        return EXIT_CALL;
    if (n_args != 1)
        return cli_wrong("up", "which pipeline file?");
    p = cli_pipeline(file);
    if (p == NULL)
        return EXIT_CALL;
    u.file = file;
    u.brokers = kafka_brokers(brokers);
    if (signals_start(&err) != OK || models_keys_make(&err) != OK || cli_setup_topics(p, u.brokers, &err) != OK)
        status = cli_failed("up", &err);
    else if ((status = prepare(&u, p, log_dir)) == 0) {
        printf("%s on %s: %zu stages, logs in %s\n", p->name, u.brokers, u.n, log_dir == NULL ? u.folder : log_dir);
        fflush(stdout);
        watch(&u);
        stop_all(&u);
        (void)unlink(u.pid_file);
        printf("%s is down\n", p->name);
    }
    pipeline_free(p);
    return status;
}

int cli_topics(int argc, char **argv)
{
    const char *brokers = NULL, *file = NULL;
    const struct cli_option options[] = {{"--brokers", &brokers, NULL}};
    struct error err;
    struct pipeline *p;
    size_t n_args;
    enum status s;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), &file, 1, &n_args))
        return EXIT_CALL;
    if (n_args != 1)
        return cli_wrong("topics", "which pipeline file?");
    p = cli_pipeline(file);
    if (p == NULL)
        return EXIT_CALL;
    s = cli_setup_topics(p, kafka_brokers(brokers), &err);
    pipeline_free(p);
    return s == OK ? 0 : cli_failed("topics", &err);
}
