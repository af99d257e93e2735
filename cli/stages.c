/* cli/stages.c */
#define _GNU_SOURCE
#include "cli/stages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "ops/signals.h"
#include "wire/container.h"

#define ARGS_MAX 600
#define LOG_LINE_MAX 4096

enum status stage_files_open(struct stage_files *f, const struct pipeline *p, struct error *err)
{
    const char *tmp = getenv("TMPDIR");

    f->p = p;
    snprintf(f->folder, sizeof(f->folder), "%s/millrace-test.XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (mkdtemp(f->folder) != NULL)
        return OK;
    f->folder[0] = '\0';
    return err_set(err, ERR_FATAL, "make a folder below %s: %s", tmp && tmp[0] ? tmp : "/tmp", strerror(errno));
}

void stage_files_close(struct stage_files *f)
{
    DIR *dir = f->folder[0] ? opendir(f->folder) : NULL;
    struct dirent *e;

    while (dir && (e = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    (void)rmdir(f->folder);
    f->folder[0] = '\0';
}

const char *stage_files_topic(const struct stage_files *f, const char *topic)
{
    return arena_printf(f->p->arena, "%s/%s.avro", f->folder, topic);
}

const char *stage_files_dead_letters(const struct stage_files *f, const struct stage_def *s)
{
    return arena_printf(f->p->arena, "%s/dead_letters.%s", f->folder, s->name);
}

enum status stage_files_write(const char *path, const struct schema *schema, const struct view *records, size_t n, struct error *err)
{
    struct container_writer *w = NULL;
    enum status st = container_create(path, schema, &w, err);
    struct error said;

    if (st != OK)
        return st;
    for (size_t i = 0; i < n && st == OK; i++)
        st = container_append(w, records[i], err);
    if (container_finish(w, &said) != OK && st == OK) {
        *err = said;
        st = said.status;
    }
    return st;
}

static enum status stage_args(const struct stage_files *f, const struct stage_def *s, char **args, struct error *err)
{
    struct arena *a = f->p->arena;
    size_t n = 0;

    args[n++] = arena_strdup(a, s->worker);
    args[n++] = arena_strdup(a, f->p->file);
    args[n++] = arena_strdup(a, s->name);
    for (size_t i = 0; i < s->n_from; i++) {
        const struct topic *t = &f->p->topics[s->from[i]];
        const char *path = stage_files_topic(f, t->name);

        if (access(path, F_OK) != 0 && stage_files_write(path, t->schema, NULL, 0, err) != OK)
            return err->status;
        args[n++] = arena_strdup(a, "--in");
        args[n++] = arena_printf(a, "%s=%s", t->broker_name, path);
    }
    if (s->model && f->models) {
        args[n++] = arena_strdup(a, strcmp(s->worker, "train") == 0 ? "--out" : "--in");
        args[n++] = arena_printf(a, "%s=%s", MODELS_TOPIC, f->models);
    }
    for (size_t i = 0; i < s->n_to; i++) {
        const struct topic *t = &f->p->topics[s->to[i]];

        args[n++] = arena_strdup(a, "--out");
        args[n++] = arena_printf(a, "%s=%s", t->broker_name, stage_files_topic(f, t->name));
    }
    if (strcmp(s->worker, "train") == 0) {
        args[n++] = arena_strdup(a, "--since");
        args[n++] = arena_printf(a, "%" PRId64, f->since_ms);
        args[n++] = arena_strdup(a, "--until");
        args[n++] = arena_printf(a, "%" PRId64, f->until_ms);
    }
    args[n++] = arena_strdup(a, "--out");
    args[n++] = arena_printf(a, "%s.dead_letters=%s", f->p->name, stage_files_dead_letters(f, s));
    args[n] = NULL;
    return OK;
}

/* alive: closed when the worker ends. */
static void become(const char *path, const char *log, char *const *args, int alive)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600), none = open("/dev/null", O_RDONLY);
    sigset_t nothing;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)fcntl(alive, F_SETFD, 0);
    sigemptyset(&nothing);
    sigprocmask(SIG_SETMASK, &nothing, NULL);
    if (none >= 0)
        dup2(none, STDIN_FILENO);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    execv(path, args);
    fprintf(stderr, "start %s: %s: build it with `make`\n", path, strerror(errno));
    _exit(EXIT_CALL);
}

/* What the worker said last, why it ended: the reason of its log's line, or the line. */
static void last_line(const char *log, char *ret, size_t cap)
{
    FILE *f = fopen(log, "r");
    char line[LOG_LINE_MAX];
    const char *reason;

    snprintf(ret, cap, "(it said nothing)");
    while (f && fgets(line, sizeof(line), f) != NULL)
        if (strstr(line, "event=ended") == NULL) {
            reason = strstr(line, "reason=");
            reason = reason ? reason + strlen("reason=") : line;
            snprintf(ret, cap, "%.*s", (int)strcspn(reason, "\n"), reason);
        }
    if (f)
        fclose(f);
}

enum status stage_files_each(const char *path, const struct schema *as, const struct want *wants, size_t n_wants, take_record_fn *take,
                             void *ctx, struct error *err)
{
    struct container_reader *file = NULL;
    struct decode_plan *plan = NULL;
    struct arena arena = ARENA_EMPTY;
    struct batch row;
    enum status st = container_open(path, &file, err);

    batch_init(&row, &arena, 1);
    decode_begin(wants, n_wants, &row);
    row.n_rows = 1;
    if (st == OK)
        st = decode_plan_new(container_schema(file), as ? as : container_schema(file), wants, n_wants, &plan, err);
    while (st == OK) {
        struct view body;

        st = signals_stopping() ? err_set(err, ERR_FATAL, "stopped") : container_next(file, &body, err);
        if (st != OK || body.data == NULL)
            break;
        st = decode_row(plan, body, &row, 0, err);
        if (st == OK)
            st = take(ctx, &row, err);
    }
    decode_plan_free(plan);
    container_close(file);
    arena_done(&arena);
    return st;
}

/* The worker's exit status. Where this process is to end, it ends at once: what it writes goes with the folder. */
static int wait_for(pid_t pid, int alive)
{
    struct pollfd fds[] = {{.fd = alive, .events = POLLIN}, {.fd = signals_fd(), .events = POLLIN}};
    int status = 0;

    while (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno == EINTR)
        continue;
    if (fds[1].revents)
        (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

enum status stage_files_run(const struct stage_files *f, const struct stage_def *s, struct error *err)
{
    char *args[ARGS_MAX], path[PATH_MAX], log[PATH_MAX], line[600];
    int status = 0, alive[2];
    pid_t pid;

    if (stage_args(f, s, args, err) != OK)
        return err->status;
    snprintf(path, sizeof(path), "%s/%s", cli_bin(), s->worker);
    snprintf(log, sizeof(log), "%s/log", f->folder);
    if (pipe2(alive, O_CLOEXEC) != 0)
        return err_set(err, ERR_FATAL, "start %s: %s", path, strerror(errno));
    pid = fork();
    if (pid == 0)
        become(path, log, args, alive[1]);
    close(alive[1]);
    if (pid > 0)
        status = wait_for(pid, alive[0]);
    close(alive[0]);
    if (pid < 0)
        return err_set(err, ERR_FATAL, "start %s: %s", path, strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return OK;
    last_line(log, line, sizeof(line));
    return err_set(err, ERR_FATAL, "stage '%s' ended with %s %d: %s", s->name,
                   WIFSIGNALED(status) ? "signal" : "exit status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), line);
}
